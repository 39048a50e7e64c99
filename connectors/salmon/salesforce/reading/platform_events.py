"""
Platform events in: each kind by a subscription, a position and a schema of its own.

An event that cannot be read is set aside, with its bytes; one kind that cannot be read waits, is tried again each minute, and
holds up no other. The first start, and a position that the org has lost, begin with the earliest event that the org still
has: never with the latest. An event that comes again is recognized by its EventUuid.

A kind of which nothing was ever received has a position, too: that it is heard from its beginning on, and since when. It is stored
with the first batch, so a kill at any moment leaves either nothing read or a position. The first response, be it a keepalive
without events, gives it a replay id. If that takes longer than the org surely keeps events (as when the event was hidden from the
user, or the process stood still), what was published first may have expired: it is reported, as any lost position is.
Sources: Platform Events Developer Guide, "Subscribe with Pub/Sub API", "Event Bus, Retention and Replay" (72 hours).
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from salmon.errors import (
    DataError,
    FatalError,
    PositionLost,
    RequestRejected,
    RetriableError,
    SchemaOutdated,
)
from salmon.model.event_schema import CREATED, event_schema, fields_of
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import DeadLetter, EventRecord, Position, WaitingObject
from salmon.salesforce.reading.stream.payloads import PayloadReader
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Received, Start, Stream

log = structlog.get_logger(__name__)

PREFIX: Final = "events/"  # of the partitions of the source's position that are these
AGAIN_S: Final = 60.0
_FAILING_AGAIN_S: Final = 5.0
WAITS_MIN_S: Final = 20.0  # what is over sooner is no news for people
EVENTS_A_POLL: Final = 500
# Remembered while the process runs, and in the position: what an org repeats, it repeats soon.
_KNOWN_MAX: Final = 20_000
_KNOWN_STORED: Final = 20
# Events of high volume are kept for 72 hours, others for 24.
BEGINNING_KEPT_S: Final = 86_400.0


class Bus(Protocol):
    """What is needed of the Pub/Sub API."""

    def schema_of_topic(self, topic: str) -> Mapping[str, Any]: ...
    def schema_text(self, schema_id: str) -> Mapping[str, Any]: ...


class EventStream(Stream, Protocol):
    """A subscription that also says for how long it has not stood."""

    def waiting(self) -> tuple[float, str] | None: ...


OpenStream = Callable[[str, Start], EventStream]


@dataclass(slots=True)
class Gathered:
    """What one poll brought of all kinds."""

    events: list[EventRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    positions: dict[str, Position | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.events or self.dead_letters or self.positions)


class PlatformEvents:
    """The platform events that are read. One thread calls it; the streams fill their queues from theirs."""

    def __init__(
        self,
        names: Sequence[str],
        bus: Bus,
        open_stream: OpenStream,
        *,
        org_id: Callable[[], str],
        again_s: float = AGAIN_S,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            names: API names of the events.
            open_stream: Subscribes to a topic, from a position on.
            org_id: The Id of the org: a position of another org is none.
            again_s: How long a kind waits until it is tried again.
            today: Seconds since 1970; it says only whether something may have been lost, and decides nothing.
        """
        self._kinds = {
            name: _Kind(name, bus, open_stream, org_id=org_id, again_s=again_s, clock=clock, today=today)
            for name in names
        }

    def look(self) -> None:
        """Ask the org for each event's schema. One that cannot be had waits."""
        for kind in self._kinds.values():
            kind.look()

    def schemas(self) -> dict[str, ObjectSchema]:
        """The schemas that the org has."""
        return {name: kind.schema for name, kind in self._kinds.items() if kind.schema is not None}

    def use(self, schemas: Mapping[str, ObjectSchema], refused: Mapping[str, str]) -> None:
        """Take the registered schemas; an event that the registry refuses waits."""
        for name, kind in self._kinds.items():
            if name in schemas:
                kind.schema = schemas[name]
            elif name in refused:
                kind.refuse(refused[name])

    def start(self, positions: Mapping[str, Position]) -> None:
        """Go on after *positions*, as they were stored."""
        for name, kind in self._kinds.items():
            kind.start(positions.get(f"{PREFIX}{name}"))

    def take(self) -> Gathered:
        """
        What came since the last call, perhaps nothing. No outage raises: a kind that fails waits.

        Raises:
            SchemaOutdated: an event has fields that its registered schema lacks. A restart registers them.
        """
        gathered = Gathered()
        for kind in self._kinds.values():
            kind.take(gathered)
        return gathered

    def waiting(self) -> list[WaitingObject]:
        """The kinds that wait, and why."""
        return [found for kind in self._kinds.values() if (found := kind.waiting()) is not None]

    def note(self) -> str:
        """What was lost, if anything was."""
        return " ".join(kind.lost for kind in self._kinds.values() if kind.lost)

    def close(self) -> None:
        """End all streams; return at once. From any thread."""
        for kind in self._kinds.values():
            kind.close()


class _Kind:
    """One kind of event."""

    def __init__(
        self,
        name: str,
        bus: Bus,
        open_stream: OpenStream,
        *,
        org_id: Callable[[], str],
        again_s: float,
        clock: Callable[[], float],
        today: Callable[[], float],
    ) -> None:
        self.name, self.lost = name, ""
        self.schema: ObjectSchema | None = None
        self._topic = f"/event/{name}"
        self._bus, self._open_stream, self._org_id = bus, open_stream, org_id
        self._again_s, self._clock, self._today = again_s, clock, today
        self._stream: EventStream | None = None
        self._place: bytes | None = None  # None: nothing was received since the beginning
        self._began_s = 0.0  # when it was first heard from there
        self._is_stored = False
        self._known: OrderedDict[str, None] = OrderedDict()
        self._readers: dict[str, Any] = {}  # schema id -> fastavro's form
        # Why it waits, since when, and until when.
        self._trouble: tuple[str, float, float] | None = None
        self._needs_person = False
        self._org = ""
        self._refused: ObjectSchema | None = None  # by the registry

    # Its schema.

    def look(self) -> None:
        try:
            self.schema = event_schema(self.name, self._bus.schema_of_topic(self._topic))
            self._trouble, self._needs_person = None, False
        except RetriableError as error:
            self._wait(str(error), self._again_s)
        except (DataError, FatalError) as error:
            why = f"{error} Correct the name, or let the integration user read {self.name}."
            self._wait(why, self._again_s)

    def refuse(self, why: str) -> None:
        self._refused, self.schema = self.schema, None
        self._wait(why, self._again_s)

    def _look_again(self) -> None:
        """An event that could not be had at the start: is it there now?"""
        since_s = self._trouble[1] if self._trouble is not None else self._clock()
        why = self._trouble[0] if self._trouble is not None else ""
        self.look()
        if self.schema is None:
            return
        if self.schema == self._refused:
            self.schema = None
            self._trouble = (why, since_s, self._clock() + self._again_s)
            return
        raise SchemaOutdated(f"{self.name}: the org has this event now. The process restarts to read it.")

    # Its stream.

    def start(self, position: Position | None) -> None:
        self.close()
        self._org = self._org_id()  # now, because it may have to be asked for; another one ends the process
        self._place, self._began_s, self._is_stored = None, self._today(), False
        self._known.clear()
        if position is not None:
            self._known.update(dict.fromkeys(position.get("known", ())))
            if position.get("org_id", "") in ("", self._org):
                self._place = bytes.fromhex(position["replay_id"]) or None
                self._began_s, self._is_stored = position.get("began_s", self._began_s), True
                self._look_how_long()
            else:
                self._lose("it is of another org, as after the refresh of a sandbox.")
        if self.schema is not None:
            self._open()

    def close(self) -> None:
        if (stream := self._stream) is not None:
            stream.close()

    def _open(self) -> None:
        self._stream = self._open_stream(self._topic, Preset.EARLIEST if self._place is None else self._place)

    def _look_how_long(self) -> None:
        """The stream is about to be taken from its beginning again: how old is that?"""
        now_s = self._today()
        if self._place is None and now_s - self._began_s > BEGINNING_KEPT_S:
            self._lose(
                f"nothing has come since it was first listened for, {(now_s - self._began_s) / 3600:.0f} hours ago."
            )
            self._began_s, self._is_stored = now_s, False  # reported once

    def take(self, gathered: Gathered) -> None:
        self._listen(gathered)
        if not self._is_stored:
            gathered.positions[f"{PREFIX}{self.name}"] = {
                "replay_id": "" if self._place is None else self._place.hex(),
                "org_id": self._org,
                "known": list(self._known)[-_KNOWN_STORED:],
            } | ({"began_s": round(self._began_s)} if self._place is None else {})
            self._is_stored = True

    def _listen(self, gathered: Gathered) -> None:
        if self._trouble is not None and self._clock() < self._trouble[2]:
            return
        if self.schema is None:
            self._look_again()
            return
        if self._stream is None:
            self._open()
        taken = 0
        while taken < EVENTS_A_POLL and self._stream is not None:
            received = self._stream.peek()
            if received is None:
                break
            if isinstance(received, Ended):
                self._ended(received.error)
                break
            try:
                self._take_response(received, gathered)
            except RetriableError as error:  # of asking for a schema; none of the response was taken
                self._wait(str(error), _FAILING_AGAIN_S)
                break
            self._trouble, self._needs_person = None, False
            self._stream.pop()
            taken += len(received.events)
            if (place := received.place) and place != self._place:
                self._place, self._is_stored = place, False

    def _ended(self, error: Exception) -> None:
        self._stream = None
        if isinstance(error, PositionLost):
            if self._place is not None:
                self._lose(str(error))
                self._place, self._began_s, self._is_stored = None, self._today(), False
            else:
                self._look_how_long()
            self._open()
        elif isinstance(error, FatalError | RetriableError):
            self._wait(str(error), self._again_s)
        else:
            raise error

    def _lose(self, why: str) -> None:
        self.lost = (
            f"The position in the events {self.name} was lost: {why} They are read again from the earliest one that the org "
            f"still has. What is older, and was not read before, is lost: look at the times in its topic."
        )
        log.error("event_position_lost", kind=self.name, reason=why)

    # Events.

    def _take_response(self, received: Received, gathered: Gathered) -> None:
        # Before the first of them is taken: asking may fail.
        readers = {each.event.schema_id: self._reader(each.event.schema_id) for each in received.events}
        for each in received.events:
            self._take_event(each, readers[each.event.schema_id], gathered)

    def _take_event(self, received: Any, reader: PayloadReader | DataError, gathered: Gathered) -> None:
        event = received.event
        uuid = event.id or received.replay_id.hex()
        if uuid in self._known:
            log.debug("event_came_again", kind=self.name, event_uuid=uuid)
            return
        self._known[uuid] = None
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)
        assert self.schema is not None
        try:
            if isinstance(reader, DataError):
                raise reader
            payload = reader.read(event.payload)
            fields = fields_of(
                self.schema, payload, event_uuid=uuid, replay_id=received.replay_id, as_text=_json
            )
        except DataError as error:
            gathered.dead_letters.append(DeadLetter(self.name, uuid, event.payload, error))
            return
        created = payload.get(CREATED)
        gathered.events.append(
            EventRecord(self.name, uuid, fields, event.payload, created if isinstance(created, int) else 0)
        )
        if lacking := reader.names - self.schema.by_name.keys():
            gone = DataError(
                f"{self.name} {uuid}: it was published with {', '.join(sorted(lacking))}, which the event no longer has. The "
                f"other fields were read."
            )
            gathered.dead_letters.append(DeadLetter(self.name, uuid, event.payload, gone))

    def _reader(self, schema_id: str) -> PayloadReader | DataError:
        """
        What reads payloads of a schema; or why none can be read.

        Raises:
            RetriableError: the schema cannot be asked for now. SchemaOutdated: it has fields that ours lacks.
        """
        if schema_id not in self._readers:
            try:
                text = self._bus.schema_text(schema_id)
                self._check_fields(text)
                self._readers[schema_id] = PayloadReader(self.name, text)
            except DataError as error:  # the org does not know it, or it is no schema
                self._readers[schema_id] = error
            except FatalError as error:
                raise _Unreadable(str(error)) from error
        found: PayloadReader | DataError = self._readers[schema_id]
        return found

    def _check_fields(self, text: Mapping[str, Any]) -> None:
        """Another version of the event: if it has fields that are new, they must be registered first."""
        assert self.schema is not None
        ours = self.schema.by_name.keys()
        if event_schema(self.name, text).by_name.keys() <= ours:
            return
        try:
            now = event_schema(self.name, self._bus.schema_of_topic(self._topic))
        except RequestRejected as error:
            raise _Unreadable(str(error)) from error
        if not now.by_name.keys() <= ours:
            raise SchemaOutdated(
                f"{self.name}: the org's event has other fields than before. The process restarts to read them."
            )

    # Waiting.

    def _wait(self, why: str, again_s: float) -> None:
        since_s = self._trouble[1] if self._trouble is not None else self._clock()
        if self._trouble is None or self._trouble[0] != why:
            log.warning("event_waits", kind=self.name, reason=why)
        self._trouble = (why, since_s, self._clock() + again_s)
        self._needs_person = again_s >= self._again_s

    def waiting(self) -> WaitingObject | None:
        trouble, stream = self._trouble, None if self._stream is None else self._stream.waiting()
        if trouble is not None:
            since_s, why = self._clock() - trouble[1], trouble[0]
        elif stream is not None:
            since_s, why = stream
        else:
            return None
        if since_s < WAITS_MIN_S and not self._needs_person:
            return None
        return WaitingObject(
            self.name,
            since_s,
            f"events.{self.name}: {why} It is tried again, and goes on where it stopped. Salesforce keeps events for 72 hours.",
        )


class _Unreadable(RetriableError):
    """The schema of an event cannot be had, for a reason that a person can mend."""


def _json(shown: Any) -> str:
    return json.dumps(shown, sort_keys=True, default=str, ensure_ascii=False)


def is_position_of_events(partition: str) -> bool:
    """Whether a partition of the source's position is one of these."""
    return partition.startswith(PREFIX)
