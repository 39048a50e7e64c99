"""The faults that the control API sets, in words: GET / and `salmon simulator --help` show them. What each does is for org.faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Fault -> its parameters, and what it does. `api` is one of APIS.
FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "latency": ("api, ms", "Calls of the API take so much longer."),
    "http": (
        "api, status, error_code, retry_after_s, containing, times",
        "Calls (those whose body contains this text, if it is given) fail with this status (503), as JSON with an error_code, as "
        "HTML without; retry_after_s: with this header.",
    ),
    "grpc": (
        "rpc, code, status, times",
        "Calls of the Pub/Sub API end with this code (service.unavailable) and gRPC status (UNAVAILABLE). Open streams stay.",
    ),
    "refuse_publish": (
        "topic, times",
        "Events that Publish and PublishStream bring are refused, each by an error in its own result.",
    ),
    "exhaust_api": ("", "The daily API requests are used up (REQUEST_LIMIT_EXCEEDED)."),
    "revoke_sessions": ("", "All access tokens end now."),
    "lock_rows": (
        "object, ids, approval",
        "These records are locked: by another transaction, or with approval: true by an approval process.",
    ),
    "hide": ("object, fields", "The integration user does not see these fields, or the whole object."),
    "view_all": (
        "object, ids",
        "The integration user loses View All of the object, and its queries do not show these records, or without ids none.",
    ),
    "change_schema": ("object, add, remove, retype", "Fields come, go or get another type, for good."),
    "clock_skew": ("s", "The org's clock is fast by so many seconds; slow, if it is negative."),
    "cdc": ("object, on", "Select the object for Change Data Capture (true), or deselect it (false)."),
    "cut_streams": ("", "All open event streams break now."),
    "silence": ("s", "Event streams send nothing for so many seconds, not even keepalives."),
    "repeat_events": ("count", "The last events are delivered again."),
    "lose_events": ("object, count", "The next events never come."),
    "gap": ("object, count", "The next events come as gap events: they name a record, but not what changed."),
    "wildcard": ("object, count", "The next events name all records of the object at once (001*)."),
    "overflow": ("object, count", "The next events come as gap events of a whole transaction (overflow)."),
    "expire_replay": ("", "All events so far leave the retention window."),
    "corrupt_replay": ("", "All events get new replay ids; the old ones are unknown."),
}
