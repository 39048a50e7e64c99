"""
What the feed takes from the stream: responses, their events decoded, and the parents that these refer to known by their keys.

An event of a newer schema may show that the org has a field that it did not have at the start. Then the process restarts, which
registers the field and reads the object again, because what the field has held since has been reported by no event. So it does if a
field has another type, which the event of such a conversion does not say (Change Data Capture Developer Guide, "Change Events for
Custom Field Type Conversions").

Some responses are taken ahead of the feed, so that one query asks for the parents of all of them. The stream's place does not move
by that: the feed moves it, response by response.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from salmon.errors import RequestRejected, SalmonError, SchemaOutdated
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.ids import names_no_record
from salmon.salesforce.reading.parents import Parents
from salmon.salesforce.reading.stream.subscription import Ended, Received, Stream
from salmon.salesforce.wire.pubsub_api.pubsub import EventSchema

log = structlog.get_logger(__name__)

EVENTS_A_POLL: Final = 500
LOOK_AGAIN_S: Final = 600.0  # for a field that our user may not see: perhaps it was made a moment ago
# A gap event has many causes. It is looked for other types at most so often, for each object.
TYPES_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """An event of a synced object. *payload* is None if its bytes are not of its schema."""

    event: Any  # ConsumerEvent
    schema: EventSchema
    payload: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Response:
    """One response of the stream. *place*: see Received."""

    events: Sequence[Decoded]
    received: int  # with those of other objects
    place: bytes


class Intake:
    """
    Takes responses from a stream. For one thread.

    Args:
        objects: As they were described at the start.
        is_heard: Those whose events are reported.
        fields_of: Returns the fields that an object has now, as far as our user may see them, each with its type.
    """

    def __init__(
        self,
        objects: Mapping[str, SyncedObject],
        is_heard: Container[str],
        schema_of: Callable[[str], EventSchema],
        fields_of: Callable[[str], Mapping[str, str]],
        parents: Parents,
    ) -> None:
        self._objects, self._is_heard = objects, is_heard
        self._schema_of, self._fields_of, self._parents = schema_of, fields_of, parents
        # Schema ids that were compared with the start's -> until when that holds.
        self._seen: dict[str, float] = {}
        self._types_due_s: dict[str, float] = {}  # object -> from when on a gap event is looked into again
        self._types_owed: set[str] = set()  # objects with a gap event that came before that
        self._taken: deque[Response] = deque()

    def peek(self, stream: Stream, *, keys_are_due: bool) -> Response | Ended | None:
        """
        The next response, the stream's end, or None. The same one until `pop`.

        Args:
            keys_are_due: Whether those of all records are to be read; then no parent is asked for.

        Raises:
            SchemaOutdated: the next event has a field that the org did not have at the start; or a field has another type than then.
            Other errors: as for a schema that cannot be had now.
        """
        if self._taken:
            return self._taken[0]
        for name in sorted(filter(self._is_due, self._types_owed)):
            self._look_at_types(name)
        events, end = 0, None
        while events < EVENTS_A_POLL:
            received = stream.peek()
            if received is None or isinstance(received, Ended):
                end = received
                break
            try:
                self._taken.append(self._response(received))
            except SalmonError:
                if not self._taken:
                    raise
                break  # the next call meets it again
            stream.pop()
            events += len(received.events)
        if not self._taken:
            return end  # and no second look: a response may have come since
        if not keys_are_due:
            self._parents.ask(
                (each.schema.layout.object, each.payload)
                for response in self._taken
                for each in response.events
                if each.payload is not None
            )
        return self._taken[0]

    def pop(self) -> None:
        """Go on to the next response."""
        self._taken.popleft()

    def _response(self, received: Received) -> Response:
        schema_ids = dict.fromkeys(each.event.schema_id for each in received.events)
        schemas = {schema_id: self._schema_of(schema_id) for schema_id in schema_ids}
        events = []
        for each in received.events:
            schema = schemas[each.event.schema_id]
            if schema.layout.object in self._is_heard:
                self._compare(each.event.schema_id, schema)
                payload = _payload(each, schema)
                if payload is not None:
                    self._compare_types(schema.layout.object, payload["ChangeEventHeader"])
                events.append(Decoded(each, schema, payload))
        return Response(events, len(received.events), received.place)

    def _compare(self, schema_id: str, schema: EventSchema) -> None:
        name = schema.layout.object
        synced = self._objects[name]
        if time.monotonic() < self._seen.get(schema_id, 0.0):
            return
        # Events may name fields that our user may not see, and members of compounds that this org does not have.
        new = schema.layout.live - synced.heard - synced.names if synced.heard else frozenset()
        try:
            if new and not new.isdisjoint(self._fields_of(name)):
                raise SchemaOutdated(
                    f"{name}: the org has a field that it did not have before. The process restarts to register it, and reads the"
                    " object again."
                )
        except RequestRejected as error:
            log.info("fields_not_shown", object=name, code=error.code)
        self._seen[schema_id] = time.monotonic() + LOOK_AGAIN_S if new else math.inf

    def _compare_types(self, name: str, header: Mapping[str, Any]) -> None:
        """Raise SchemaOutdated if the event may be that of a conversion, and a field that is synced has another type."""
        # What the registry refuses is not asked for: the process would restart again and again.
        if not self._objects[name].heard:
            return
        if any(map(names_no_record, header["recordIds"])):
            self._look_at_types(name)
        elif header["changeType"] == "GAP_UPDATE":
            if self._is_due(name):
                self._look_at_types(name)
            else:
                self._types_owed.add(name)

    def _is_due(self, name: str) -> bool:
        return time.monotonic() >= self._types_due_s.get(name, 0.0)

    def _look_at_types(self, name: str) -> None:
        now_s = time.monotonic()
        try:
            types = self._fields_of(name)
        except RequestRejected as error:
            log.info("fields_not_shown", object=name, code=error.code)
            types = {}
        if other := [
            each.name
            for each in self._objects[name].schema.fields
            if types.get(each.name, each.type) != each.type
        ]:
            raise SchemaOutdated(
                f"{name}: {', '.join(other)} has another type in the org than before. The process restarts to register it, and reads"
                " the object again."
            )
        # Only now: an error above may be met by a later call, which must look as well.
        self._types_due_s[name] = now_s + TYPES_EVERY_S
        self._types_owed.discard(name)


def _payload(event: Any, schema: EventSchema) -> Mapping[str, Any] | None:
    try:
        return schema.read(event.event.payload)
    except Exception as error:  # noqa: BLE001 (fastavro raises whatever the bytes make of it)
        name, replay_id = schema.layout.object, event.replay_id.hex()
        log.warning("event_not_readable", object=name, replay_id=replay_id, error=type(error).__name__)
        return None
