"""
The org's event bus: what was published in the last 72 hours, in order, and the position of each subscription.

It publishes the org's commits, and platform events. gRPC is in salmon.simulator.events.pubsub, the content of events in
salmon.simulator.events.cdc, and faults on request in salmon.simulator.events.event_faults.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from salmon.simulator.events.bus_org import BusOrg
from salmon.simulator.events.cdc import events_of
from salmon.simulator.events.cdc_schema import EventSchema, can_be_selected, event_name_of
from salmon.simulator.events.enriching import BusEvent, as_delivered
from salmon.simulator.events.event_faults import EventFaults
from salmon.simulator.events.platform_schema import PlatformSchema
from salmon.simulator.events.schemas import Schemas
from salmon.simulator.org.objects.platform_events import PREFIX, Published
from salmon.simulator.org.transaction import Row, Transaction

ALL_CHANGES: Final = "/data/ChangeEvents"
RETENTION_S: Final = 72 * 3600  # Pub/Sub API, Event Message Durability

_FIRST_NUMBER: Final = 10_963_000  # a real bus is never new
_RENUMBERING: Final = 1_000_000_000
# Expired entries are dropped in portions: cutting the head off a list moves all the rest.
_TRIM_AT: Final = 4096
_PUBLISHED_KEPT: Final = 10_000  # of each platform event, for the control API
_MARK_EVERY_MS: Final = 1000


class Preset(Enum):
    """Where a subscription starts."""

    LATEST = "latest"
    EARLIEST = "earliest"
    CUSTOM = "custom"


class TopicNotFound(Exception):
    """The topic does not exist, or its object is not selected for Change Data Capture."""


class ReplayIdCorrupted(Exception):
    """The replay id does not belong to this bus, or is older than what the bus keeps."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event and the position after it."""

    replay_id: bytes
    event: BusEvent


@dataclass(frozen=True, slots=True)
class _Entry:
    at_ms: int  # the org's clock
    # None: some other org's event, of which subscribers see that the positions moved on.
    event: BusEvent | None


class Subscription:
    """One open stream's place in the log. Its methods may be called from any thread."""

    def __init__(self, bus: EventBus, topic: str, cursor: int) -> None:
        self.topic = topic
        self.cut = False  # to be ended at once, as a broken connection would
        self._bus = bus
        self._cursor = cursor  # ordinal of the entry to look at next
        self._part = 0  # of the events that this one entry is delivered as, so many were taken already

    def take(self, events_max: int, bytes_max: int) -> list[Delivery]:
        """Return the next events, if there are any: at most *bytes_max* of payload, unless the first event alone has more."""
        with self._bus.changed:
            taken: list[Delivery] = []
            size = 0
            for ordinal, event in self._bus.read(self._cursor):
                if self._bus.is_on(self.topic, event):
                    replay_id = self._bus.replay_id(ordinal)
                    for part, shown in enumerate(self._bus.shown_on(self.topic, event)):
                        if part < self._part or shown is None:
                            continue
                        size += len(shown.payload)
                        if len(taken) == events_max or (taken and size > bytes_max):
                            self._cursor, self._part = ordinal, part
                            self._bus.count_delivered(len(taken))
                            return taken
                        taken.append(Delivery(replay_id, shown))
                self._cursor, self._part = ordinal + 1, 0
            self._bus.count_delivered(len(taken))
            return taken

    def is_behind(self) -> bool:
        """Whether there is an event for this stream now."""
        with self._bus.changed:
            return any(self._bus.is_on(self.topic, event) for _, event in self._bus.read(self._cursor))

    def position(self) -> bytes:
        """The replay id up to which this stream has been given everything; it moves on in an idle org, too."""
        with self._bus.changed:
            if not self.is_behind():
                self._cursor = self._bus.tip() + 1
            return self._bus.replay_id(self._cursor - 1)

    def go_back(self, events: int) -> None:
        """Go back to before the last *events* of this topic."""
        with self._bus.changed:
            for ordinal, event in self._bus.read_back(self._cursor):
                if events == 0:
                    break
                if self._bus.is_on(self.topic, event):
                    events -= 1
                    self._cursor, self._part = ordinal, 0

    def close(self) -> None:
        """Forget this stream. Idempotent."""
        self._bus.forget(self)


class EventBus:
    """
    The bus of one org. *changed* is notified when something happens here.

    Args:
        org: Its commits are published from now on.
        entities: The objects that are selected for Change Data Capture; None for all of the org's that can be.
        retention_s: How long events are kept, by the org's clock.
    """

    def __init__(
        self, org: BusOrg, *, entities: Iterable[str] | None = None, retention_s: float = RETENTION_S
    ) -> None:
        self.changed = threading.Condition()
        self._org = org
        self._entities = None if entities is None else frozenset(entities)
        self._deselected: set[str] = set()
        self._retention_ms = round(retention_s * 1000)
        self._entries: list[_Entry] = []
        self._head = 0  # ordinal of the first entry; ordinals are ours and never change
        self._base = _FIRST_NUMBER  # ordinal + base = the number in the replay id
        self._expired_below = 0  # ordinals below are out of the window, whatever their age
        self._schemas = Schemas(org.describe, org.platform_events.describe)
        self._subscriptions: set[Subscription] = set()
        self._published: dict[str, deque[tuple[str, str, bytes]]] = defaultdict(
            lambda: deque(maxlen=_PUBLISHED_KEPT)
        )
        self._silent_until_s = 0.0  # time.monotonic()
        self._go_back_next = 0  # events, for the next stream that opens
        self._faults = EventFaults(self, org.faults, lambda: org.objects)
        self.tip()
        org.add_listener(self.publish)
        org.platform_events.add_listener(self._publish_event)
        org.channels.listeners.append(self._wake)

    # The publisher's view.

    def publish(self, transaction: Transaction) -> None:
        """Put the change events of *transaction* onto the bus, and notify *changed*."""
        with self.changed:
            now_ms = self._org.clock.now_ms()
            settings = self._org.settings
            for event in events_of(
                transaction,
                self._schema_if_carried,
                text_diffs=settings.text_diffs,
                changes_max=settings.cdc_changes_max,
            ):
                if (spared := self._faults.strike(event)) is not None:
                    entity, payload = spared.schema.entity, spared.payload()
                    topic, standard = topic_of(entity), self._is_selected(entity)
                    self._append(
                        now_ms, BusEvent(spared.id, topic, spared.schema.schema_id, payload, standard)
                    )
            self._trim(now_ms)
            self.changed.notify_all()

    def publish_payload(self, topic: str, event_id: str, schema_id: str, payload: bytes) -> bytes:
        """Put a platform event onto the bus as it is, and notify *changed*; its replay id."""
        with self.changed:
            now_ms = self._org.clock.now_ms()
            self._append(now_ms, BusEvent(event_id, topic, schema_id, payload))
            self._published[topic].append((event_id, schema_id, payload))
            replay_id = self.replay_id(self._head + len(self._entries) - 1)
            self._trim(now_ms)
            self.changed.notify_all()
            return replay_id

    def published(self, name: str) -> list[dict[str, Any]]:
        """
        The last events of a platform event that anybody has published, the oldest first, also those that have expired: EventUuid
        and fields of each. Raises TopicNotFound.
        """
        with self.changed:
            self.platform_schema(PREFIX + name)
            return [
                {"EventUuid": event_id, **self._schemas.fields_of(schema_id, payload)}
                for event_id, schema_id, payload in self._published[PREFIX + name]
            ]

    def platform_schema(self, topic: str) -> PlatformSchema:
        """The schema that the events of a platform event's topic have now. Raises TopicNotFound."""
        name = topic.removeprefix(PREFIX)
        with self.changed:
            if topic == name or name not in self._org.platform_events.names:
                raise TopicNotFound(topic)
            return self._schemas.of_event(name)

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _publish_event(self, event: Published) -> None:
        with self.changed:
            topic = PREFIX + event.name
            schema = self.platform_schema(topic)
            self.publish_payload(topic, event.event_id, schema.schema_id, schema.payload(event))

    # The subscribers' view.

    def schema_id_of(self, topic: str) -> str:
        """
        The id of the schema that a topic's events have now; empty for a channel of several objects.

        Raises:
            TopicNotFound: There is no such topic.
        """
        if topic == ALL_CHANGES or topic in self._org.channels.custom:
            return ""
        if topic.startswith(PREFIX):
            return self.platform_schema(topic).schema_id
        with self.changed:
            for entity in self._org.objects:
                if topic == topic_of(entity) and self._is_selected(entity):
                    return self._schemas.of_changes(entity).schema_id
        raise TopicNotFound(topic)

    def schema_id_for(self, topic: str) -> str | None:
        """The same; None if there is no such topic."""
        try:
            return self.schema_id_of(topic)
        except TopicNotFound:
            return None

    def schema_text(self, schema_id: str) -> str | None:
        """The Avro schema with this id, if any event or topic ever had it."""
        return self._schemas.text(schema_id)

    def subscribe(self, topic: str, preset: Preset, replay_id: bytes = b"") -> Subscription:
        """
        Open a subscription at the end of the log, at its beginning, or after *replay_id*.

        Raises:
            TopicNotFound: There is no such topic.
            ReplayIdCorrupted: With CUSTOM, the bus does not have the id, or no longer has it.
        """
        with self.changed:
            self.schema_id_of(topic)
            match preset:
                case Preset.LATEST:
                    cursor = self.tip() + 1
                case Preset.EARLIEST:
                    cursor = self._first_kept()
                case Preset.CUSTOM:
                    cursor = self._ordinal_of(replay_id) + 1
            subscription = Subscription(self, topic, cursor)
            subscription.go_back(self._go_back_next)
            self._go_back_next = 0
            self._subscriptions.add(subscription)
            return subscription

    def has(self, replay_id: bytes) -> bool:
        """Whether a subscription could start after this id now."""
        with self.changed:
            try:
                self._ordinal_of(replay_id)
            except ReplayIdCorrupted:
                return False
            return True

    def silent_s(self) -> float:
        """Return for how many more seconds no subscriber gets anything; 0 without a fault."""
        return max(0.0, self._silent_until_s - time.monotonic())

    @property
    def streams(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    # Faults, used by event_faults.

    def cut_streams(self) -> None:
        """End every open stream at once, as a broken connection would."""
        with self.changed:
            for subscription in self._subscriptions:
                subscription.cut = True
            self.changed.notify_all()

    def silence(self, seconds: float) -> None:
        """Send nothing on any stream for this long, not even keepalives. Streams stay open, and new ones can be opened."""
        with self.changed:
            self._silent_until_s = time.monotonic() + seconds
            self.changed.notify_all()

    def repeat(self, events: int) -> None:
        """Deliver the last *events* again on every open stream; if none is open, on the next one."""
        with self.changed:
            for subscription in self._subscriptions:
                subscription.go_back(events)
            self._go_back_next = 0 if self._subscriptions else events
            self.changed.notify_all()

    def expire(self) -> None:
        """Move everything that is on the bus now out of the retention window."""
        with self.changed:
            self._expired_below = self._head + len(self._entries)

    def renumber(self) -> None:
        """Give everything new replay ids, as the move of an org does: the events are there, the old ids unknown."""
        with self.changed:
            self._base += _RENUMBERING

    def select(self, entity: str, *, on: bool) -> None:
        """Select an object for Change Data Capture, or deselect it."""
        with self.changed:
            if on:
                self._deselected.discard(entity)
            else:
                self._deselected.add(entity)

    # For Subscription; all with *changed* held.

    def read(self, cursor: int) -> Iterator[tuple[int, BusEvent]]:
        """Events from the ordinal *cursor* on, each with its own."""
        start = max(cursor - self._head, 0)
        for index in range(start, len(self._entries)):
            if (event := self._entries[index].event) is not None:
                yield self._head + index, event

    def read_back(self, cursor: int) -> Iterator[tuple[int, BusEvent]]:
        """Events before the ordinal *cursor*, the newest first."""
        for index in range(min(cursor - self._head, len(self._entries)) - 1, -1, -1):
            if (event := self._entries[index].event) is not None:
                yield self._head + index, event

    def is_on(self, topic: str, event: BusEvent) -> bool:
        """Whether an event belongs to a topic or channel; a filter is not asked."""
        if event.topic == topic:
            return event.standard
        if topic == ALL_CHANGES:
            return event.standard and event.topic.startswith("/data/")
        return event.topic in self._org.channels.custom.get(topic, ())

    def shown_on(self, topic: str, event: BusEvent) -> Iterable[BusEvent | None]:
        """What subscribers of a topic get of an event that belongs to it; None in place of what they do not get."""
        member = self._org.channels.custom.get(topic, {}).get(event.topic)
        if member is None or event.topic.startswith(PREFIX):
            return (event,)
        return as_delivered(event, member, self._schemas.known(event.schema_id), self._row_of)

    def replay_id(self, ordinal: int) -> bytes:
        """Eight bytes of a counter, big-endian, and two zero bytes, as recorded ones have them."""
        return (self._base + ordinal).to_bytes(8) + b"\0\0"

    def tip(self) -> int:
        """
        The ordinal of the last entry, fresh enough to be good for the whole retention from now.

        The real bus is shared by many orgs, so positions move on while nothing happens in ours; without that, an
        idle subscriber's position would grow old and be refused after 72 hours.
        """
        with self.changed:
            now_ms = self._org.clock.now_ms()
            last = self._head + len(self._entries) - 1
            if (
                not self._entries
                or last < self._expired_below
                or abs(now_ms - self._entries[-1].at_ms) > _MARK_EVERY_MS
            ):
                self._append(now_ms, None)
                last += 1
            return last

    def count_delivered(self, events: int) -> None:
        """Count *events* as delivered to a subscriber; an event that is delivered twice counts twice."""
        if events:
            self._org.usage.count_events(events)

    def deliveries_left(self) -> int:
        """How many events the org's subscribers may still get today (Platform Event Allocations)."""
        return self._org.usage.deliveries_left()

    def forget(self, subscription: Subscription) -> None:
        """Take a stream off the list."""
        with self.changed:
            self._subscriptions.discard(subscription)

    # The log.

    def _append(self, now_ms: int, event: BusEvent | None) -> None:
        self._entries.append(_Entry(now_ms, event))

    def _first_kept(self) -> int:
        horizon_ms = self._org.clock.now_ms() - self._retention_ms
        start = max(self._expired_below - self._head, 0)
        for index in range(start, len(self._entries)):
            if self._entries[index].at_ms >= horizon_ms:
                return self._head + index
        return self._head + len(self._entries)

    def _trim(self, now_ms: int) -> None:
        horizon_ms = now_ms - self._retention_ms
        while len(self._entries) > _TRIM_AT and self._entries[_TRIM_AT].at_ms < horizon_ms:
            del self._entries[:_TRIM_AT]
            self._head += _TRIM_AT

    def _ordinal_of(self, replay_id: bytes) -> int:
        """Of an id of ten bytes, or of eight: the counter alone, as orgs had it before."""
        ordinal = int.from_bytes(replay_id[:8]) - self._base
        ours = len(replay_id) in {8, 10} and replay_id[8:] in {b"", b"\0\0"}
        if not ours or not self._first_kept() <= ordinal < self._head + len(self._entries):
            raise ReplayIdCorrupted
        return ordinal

    def _row_of(self, entity: str, record_id: str) -> Row | None:
        return self._org.get(entity, record_id, with_deleted=True)

    def _is_selected(self, entity: str) -> bool:
        """Whether the standard channel has the object's changes."""
        chosen = self._entities is None or entity in self._entities
        return chosen and entity not in self._deselected and can_be_selected(entity)

    def _schema_if_carried(self, entity: str) -> EventSchema | None:
        """The object's schema if any channel has its changes."""
        carried = self._is_selected(entity) or (
            self._org.channels.carries(topic_of(entity)) and can_be_selected(entity)
        )
        return self._schemas.of_changes(entity) if carried else None


def topic_of(entity: str) -> str:
    """The topic of one object's change events: /data/AccountChangeEvent, /data/My__ChangeEvent."""
    return f"/data/{event_name_of(entity)}"
