"""
The platform events of the configuration: can they be read, can they be published, have they the fields that are to be filled.

Source: Pub/Sub API, "GetTopic RPC Method": it says for the user who asks whether it may subscribe and publish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from salmon.config.events import EventConfig
from salmon.doctor.checks import Check, Line, fail, ok
from salmon.doctor.salesforce import SIGN_IN
from salmon.errors import RequestRejected, UnfitServer
from salmon.model.event_schema import event_schema


class Topics(Protocol):
    """What is asked of the Pub/Sub API."""

    def topic(self, name: str) -> Any: ...
    def schema_text(self, schema_id: str) -> Mapping[str, Any]: ...


class EventChecks:
    """The check of one platform event."""

    def __init__(self, name: str, config: EventConfig, pubsub: Topics) -> None:
        self._event, self._config, self._pubsub = name, config, pubsub
        self._name, self._what = f"events.{name}", f"Platform event {name}"

    def checks(self) -> Sequence[Check]:
        return (Check(self._name, self._what, self._look, after=SIGN_IN),)

    def _look(self) -> Iterator[Line]:
        published = self._config.direction == "to_salesforce"
        does = "create" if published else "read"
        try:
            topic = self._pubsub.topic(f"/event/{self._event}")
            schema = event_schema(self._event, self._pubsub.schema_text(topic.schema_id))
        except (RequestRejected, UnfitServer) as error:
            mend = f"Correct its name under `events`, or let the integration user {does} it."
            yield fail(
                self._name, self._what, f"The org has no such event, or hides it from the user: {error}", mend
            )
            return
        if not (topic.can_publish if published else topic.can_subscribe):
            yield fail(
                self._name,
                self._what,
                f"The integration user may not {does} it.",
                f"Give the user the right to {does} {self._event}, in its permission set.",
            )
        elif missing := sorted(self._config.fields.keys() - schema.by_name.keys()):
            yield fail(
                self._name,
                self._what,
                f"The event has no field {', '.join(missing)}.",
                f"Correct events.{self._event}.fields, or create the field in the org.",
            )
        else:
            yield ok(self._name, self._what, f"It can be {'published' if published else 'read'} by the user.")
