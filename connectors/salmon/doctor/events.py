"""
The platform events of the configuration: can they be read, can they be published, have they the fields that are to be filled,
has the object the fields that fill them, and does every event get what the org insists on.

Sources: Pub/Sub API, "GetTopic RPC Method": it says for the user who asks whether it may subscribe and publish; REST API
Developer Guide, "sObject Describe": it alone says which fields of an event may not be empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from salmon.config.events import EventConfig
from salmon.config.models import ObjectConfig
from salmon.doctor.checks import Check, Line, fail, ok
from salmon.doctor.salesforce import SIGN_IN
from salmon.errors import ConfigError, RequestRejected, UnfitServer
from salmon.model.event_schema import event_schema
from salmon.model.schema import schema_of_describe

# Filled by the publisher or by the org, whatever a describe says of them.
_OF_THE_ENVELOPE: Final = frozenset({"ReplayId", "EventUuid", "CreatedDate", "CreatedById"})


class Topics(Protocol):
    """What is asked of the Pub/Sub API."""

    def topic(self, name: str) -> Any: ...
    def schema_text(self, schema_id: str) -> Mapping[str, Any]: ...


class Describes(Protocol):
    """What is asked of the REST API."""

    def describe(self, name: str) -> Mapping[str, Any]: ...


class EventChecks:
    """The check of one platform event. *of*: the settings of the object whose changes are published, if they are."""

    def __init__(
        self, name: str, config: EventConfig, pubsub: Topics, rest: Describes, of: ObjectConfig | None
    ) -> None:
        self._event, self._config, self._pubsub = name, config, pubsub
        self._rest, self._of = rest, of
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
            yield from self._filled()

    def _filled(self) -> Iterator[Line]:
        """Whether the object has the fields that fill the event, and the event gets all that it needs."""
        if self._of is None:
            return
        try:
            describe = self._rest.describe(str(self._config.object))
            chosen = self._of.fields
            synced = schema_of_describe(describe, include=chosen.include, exclude=chosen.exclude).by_name
        except (RequestRejected, ConfigError):
            return  # the lines of the object say so
        taken = {name for name in self._config.fields.values() if not name.startswith("$")}
        if missing := sorted(taken - synced.keys()):
            yield fail(
                f"{self._name}.fields",
                f"{self._what}: fields",
                f"{self._config.object} has no field {', '.join(missing)} that is synced, so the event's fields stay empty.",
                f"Correct events.{self._event}.fields, or sync the field (objects.{self._config.object}.fields).",
            )
        if needed := sorted(self._needed() - self._config.fields.keys()):
            yield fail(
                f"{self._name}.required",
                f"{self._what}: required fields",
                f"{', '.join(needed)}: the org refuses the event without them, and nothing fills them.",
                f"Name them in events.{self._event}.fields, or give them a default value in the org.",
            )

    def _needed(self) -> set[str]:
        """The fields of the event that may not be empty; none where its describe is not shown."""
        try:
            describe = self._rest.describe(self._event)
        except RequestRejected:
            return set()
        return {
            str(field["name"])
            for field in describe["fields"]
            if field.get("createable")
            and not field.get("nillable", True)
            and not field.get("defaultedOnCreate")
        } - _OF_THE_ENVELOPE
