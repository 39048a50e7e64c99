"""
Finds out which of two instances of a process is the newer one, and whether that one still runs.

Each process writes its name into `<name>.offsets` when it starts, before it takes anything over; the log's order says who
came last. A process that Kafka has shut out restarts under the same name and looks there first. If its own name is
the last one, nobody has replaced it, and it continues. If another name is there, and its owner is in the consumer group,
this instance ends for good.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final

import structlog

from salmon.errors import Stopping, Superseded
from salmon.kafka import clients, cluster
from salmon.kafka.kept import KeptAdmin
from salmon.kafka.offsets import OffsetStore
from salmon.ops.health import Health

log = structlog.get_logger(__name__)

ENTRIES: Final = "instances"  # in the place of a connector's name
# A sink may need so long to load its tables before it joins its group. If it has not joined by then, it does not run.
JOIN_MAX_S: Final = 60.0
_MARGIN_S: Final = 2.0
_LOOK_S: Final = 0.5


def new_name() -> str:
    """Make a name for a process that starts now. It keeps the name when it restarts by itself."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Newest:
    """
    Args:
        group: The connector's consumer group; *instance_id* is this instance's membership in it.
        name: Name of this process, from new_name().
        session_s: How long the group keeps a member that sends no heartbeats.
    """

    kafka: Mapping[str, Any] = field(repr=False)
    admin: KeptAdmin
    entries: OffsetStore
    connector: str
    ordinal: int
    group: str
    instance_id: str
    name: str
    health: Health
    stop: Event
    session_s: float = 6.0
    join_max_s: float = JOIN_MAX_S

    def sign_in(self) -> None:
        """
        Write our name, so that this instance is the newest one from now on.

        Raises:
            Unavailable, SetupError: the brokers or the registry do not answer, or refuse us.
        """
        signature = {
            "name": self.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "at_ms": int(time.time() * 1000),
        }
        key, value = self.entries.record(ENTRIES, self._entry, signature)
        clients.write(self.kafka, self.instance_id, self.entries.topic, key, value)

    def check(self) -> None:
        """
        Continue under our name, if no newer instance runs.

        Raises:
            Superseded: a newer instance runs.
            Unavailable, SetupError: the brokers or the registry do not answer, or refuse us.
            Stopping: the process was asked to stop meanwhile.
        """
        found = self.entries.load(ENTRIES).get(self._entry)
        if found is None or found["name"] == self.name:
            return
        if self._newer_one_runs():
            raise Superseded(
                f"{self.instance_id}: a newer instance has taken its place (process {found['pid']} on "
                f"{found['host']}). This one ends, and writes nothing more."
            )
        log.warning("newer_instance_gone", instance=self.instance_id, host=found["host"], pid=found["pid"])
        self.sign_in()

    @property
    def _entry(self) -> str:
        return f"{self.connector}/{self.ordinal}"

    def _newer_one_runs(self) -> bool:
        """
        Whether another instance holds our membership of the group.

        At first we may still be the member ourselves, from before the restart. So we wait until the group has dropped
        a member without heartbeats, and only then look.
        """
        self.health.starting("finding out whether a newer instance of this process runs")
        began = time.monotonic()
        while (waited_s := time.monotonic() - began) < self.join_max_s:
            if waited_s > self.session_s + _MARGIN_S and self._is_member():
                return True
            if self.stop.wait(_LOOK_S):
                raise Stopping
        return False

    def _is_member(self) -> bool:
        # A consumer has the same name as its instance (runtime.instance).
        members = self.admin.ask(lambda admin: cluster.members(admin, self.group))
        return any(member.client_id == self.instance_id for member in members)
