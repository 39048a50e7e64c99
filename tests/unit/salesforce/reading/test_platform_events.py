"""Platform events in: positions, lost positions, poison, schemas that change; each kind by itself."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import fastavro
import pytest

from salmon.errors import PositionLost, RequestRejected, SchemaOutdated, SetupError, Unavailable
from salmon.salesforce.reading.platform_events import Gathered, PlatformEvents
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Received, Start

EVENT = "Order_Shipped__e"
TOPIC = f"/event/{EVENT}"


def avro(*custom: Mapping[str, Any]) -> dict[str, Any]:
    """The event's schema as an org has it."""
    return {
        "type": "record",
        "name": EVENT,
        "namespace": "com.sforce.eventbus",
        "fields": [
            {"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
            {"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
            *custom,
        ],
    }


NUMBER = {"name": "Number__c", "type": ["null", "string"], "doc": "Data:Text:00NX", "default": None}
DAY = {"name": "Day__c", "type": ["null", "long"], "doc": "Data:DateOnly:00NY", "default": None}
NEW = {"name": "New__c", "type": ["null", "double"], "doc": "Data:Double:00NZ", "default": None}


class Stream:
    """A subscription of which a test says what comes."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self.items: list[Received | Ended] = []
        self.closed = False

    def peek(self) -> Received | Ended | None:
        return self.items[0] if self.items else None

    def pop(self) -> None:
        self.items.pop(0)

    def waiting(self) -> tuple[float, str] | None:
        return None

    def close(self) -> None:
        self.closed = True


class Org:
    """The Pub/Sub API and the streams that were opened on it."""

    def __init__(self) -> None:
        self.texts: dict[str, Mapping[str, Any]] = {"one": avro(NUMBER, DAY)}
        self.now: dict[str, str] = {TOPIC: "one"}
        self.trouble: Exception | None = None
        self.streams: list[Stream] = []
        self.org_id = "00D1"
        self.time_s = 0.0
        self.today_s = 1_790_000_000.0

    def schema_of_topic(self, topic: str) -> Mapping[str, Any]:
        if topic not in self.now:
            raise RequestRejected(f"{topic}: not found.", code="topic.not.found")
        return self.schema_text(self.now[topic])

    def schema_text(self, schema_id: str) -> Mapping[str, Any]:
        if self.trouble is not None:
            raise self.trouble
        if schema_id not in self.texts:
            raise RequestRejected("no such schema.", code="schema.validation.failed")
        return self.texts[schema_id]

    def whose(self) -> str:
        if self.trouble is not None:
            raise self.trouble
        return self.org_id

    def open(self, topic: str, start: Start) -> Stream:
        self.streams.append(Stream(start))
        return self.streams[-1]

    def events(self, *names: str, positions: Mapping[str, Any] | None = None) -> PlatformEvents:
        found = PlatformEvents(
            names or (EVENT,),
            self,
            self.open,
            org_id=self.whose,
            clock=lambda: self.time_s,
            today=lambda: self.today_s,
        )
        found.look()
        found.use(found.schemas(), {})
        found.start(positions or {})
        return found

    def event(
        self, number: int, uuid: str = "", *, schema: str = "one", payload: bytes | None = None, **fields: Any
    ) -> Any:
        """One event as it comes, with the replay id *number*."""
        if payload is None:
            buffer = io.BytesIO()
            datum = {"CreatedDate": 1_700_000_000_000, "CreatedById": "005", **fields}
            fastavro.schemaless_writer(buffer, fastavro.parse_schema(dict(self.texts[schema])), datum)
            payload = buffer.getvalue()
        event = SimpleNamespace(id=uuid or f"uuid-{number}", schema_id=schema, payload=payload)
        return SimpleNamespace(event=event, replay_id=bytes([number]))

    def bring(self, *events: Any, latest: bytes = b"\x63") -> None:
        self.streams[-1].items.append(Received(events, latest))


@pytest.fixture
def org() -> Org:
    return Org()


def uuids(gathered: Gathered) -> list[str]:
    return [each.key for each in gathered.events]


def test_an_event_is_reported_with_its_fields_and_the_position_after_it(org: Org) -> None:
    """Dates and times by the doc of the field; the position is that of the last event of the response."""
    events = org.events()
    assert org.streams[0].start is Preset.EARLIEST, "never LATEST"
    org.bring(org.event(1, Number__c="7", Day__c=1_653_955_200_000), org.event(2))
    gathered = events.take()
    assert uuids(gathered) == ["uuid-1", "uuid-2"]
    assert gathered.events[0].fields == {
        "EventUuid": "uuid-1",
        "ReplayId": "01",
        "CreatedDate": 1_700_000_000_000,
        "CreatedById": "005",
        "Number__c": "7",
        "Day__c": 19_143,
    }
    position = gathered.positions[f"events/{EVENT}"]
    assert position == {"replay_id": "02", "org_id": "00D1", "known": ["uuid-1", "uuid-2"]}


def test_a_restart_goes_on_after_the_position_and_knows_what_came_before(org: Org) -> None:
    """What an org delivers twice is reported once, also across a restart; a keepalive moves the position."""
    first = org.events()
    org.bring(org.event(1))
    positions = first.take().positions
    second = org.events(positions=positions)
    assert org.streams[-1].start == b"\x01"
    org.bring(org.event(1), org.event(2), org.event(2))
    assert uuids(second.take()) == ["uuid-2"]
    org.bring(latest=b"\x09")
    position = second.take().positions[f"events/{EVENT}"]
    assert position is not None
    assert position["replay_id"] == "09"


def test_a_lost_position_is_reported_and_answered_with_the_earliest_event(org: Org) -> None:
    """What the process remembers is not reported again; the note says that something may be lost."""
    events = org.events()
    org.bring(org.event(1))
    events.take()
    org.streams[-1].items.append(Ended(PositionLost("the stored position has expired.")))
    assert uuids(events.take()) == []
    assert org.streams[-1].start is Preset.EARLIEST
    assert EVENT in events.note()
    org.bring(org.event(1), org.event(3))
    assert uuids(events.take()) == ["uuid-3"]


def test_a_position_of_another_org_is_none(org: Org) -> None:
    """A refreshed sandbox may take the replay id of its predecessor, and skip events."""
    positions = {f"events/{EVENT}": {"replay_id": "07", "org_id": "00D0", "known": []}}
    events = org.events(positions=positions)
    assert org.streams[-1].start is Preset.EARLIEST
    assert "another org" in events.note()


def test_a_kind_of_which_nothing_has_come_has_a_position_from_its_first_start_on(org: Org) -> None:
    """It is stored with the first batch, says since when, and a restart begins at the beginning again: nothing has expired yet."""
    positions = org.events().take().positions
    assert positions == {
        f"events/{EVENT}": {"replay_id": "", "org_id": "00D1", "known": [], "began_s": 1_790_000_000}
    }
    org.today_s += 23 * 3600
    again = org.events(positions=positions)
    assert org.streams[-1].start is Preset.EARLIEST
    assert not again.take(), "it is stored already"
    assert again.note() == ""
    org.bring(latest=b"\x63")
    position = again.take().positions[f"events/{EVENT}"]
    assert position == {"replay_id": "63", "org_id": "00D1", "known": []}, "a keepalive is a position"


def test_events_that_expired_before_the_first_came_are_reported_as_lost_once(org: Org) -> None:
    """A process that stood still, or an event that was hidden from the user, for longer than the org surely keeps events."""
    org.now.clear()  # the user may not read it
    positions = org.events().take().positions
    assert positions, "it is noted since when it is wanted"
    org.now[TOPIC] = "one"
    org.today_s += 25 * 3600
    again = org.events(positions=positions)
    assert org.streams[-1].start is Preset.EARLIEST
    assert "25 hours ago" in again.note()
    positions = again.take().positions
    assert org.events(positions=positions).note() == "", "it has been reported"


def test_a_stream_that_never_stood_is_reported_when_its_beginning_is_too_old(org: Org) -> None:
    """Within one process, too: the subscription says that its beginning is no longer good."""
    events = org.events()
    events.take()
    org.streams[-1].items.append(Ended(PositionLost("the stream has been silent.")))
    events.take()
    assert events.note() == "", "nothing has expired in so short a time"
    org.today_s += 25 * 3600
    org.streams[-1].items.append(Ended(PositionLost("the stream has been silent.")))
    events.take()
    assert EVENT in events.note()
    assert org.streams[-1].start is Preset.EARLIEST


def test_a_poison_event_is_set_aside_and_stops_no_other(org: Org) -> None:
    """Bytes that are not of the schema, bytes behind the event, and a schema that the org does not know."""
    events = org.events()
    longer = org.event(2)
    longer.event.payload += b"\x00"
    stranger = org.event(3)
    stranger.event.schema_id = "gone"
    org.bring(org.event(1, payload=b"\x01"), longer, stranger, org.event(4))
    gathered = events.take()
    assert uuids(gathered) == ["uuid-4"]
    assert [each.key for each in gathered.dead_letters] == ["uuid-1", "uuid-2", "uuid-3"]
    assert gathered.dead_letters[0].original == b"\x01"
    assert gathered.positions[f"events/{EVENT}"]["replay_id"] == "04"  # type: ignore[index]


def test_an_outage_of_the_schemas_holds_up_this_kind_alone(org: Org) -> None:
    """No event of the response is passed over, and the others go on."""
    org.texts["other"], org.now["/event/Other__e"] = avro(), "other"
    events = org.events(EVENT, "Other__e")
    mine, other = org.streams
    mine.items.append(Received((org.event(1),), b""))
    other.items.append(Received((org.event(2, schema="other"),), b""))
    org.texts["two"] = org.texts["one"]
    mine.items.append(Received((org.event(3, schema="two"),), b""))
    assert uuids(events.take()) == ["uuid-1", "uuid-3", "uuid-2"]
    org.texts["three"] = org.texts["one"]
    mine.items.append(Received((org.event(4, schema="three"),), b""))
    other.items.append(Received((org.event(5, schema="other"),), b""))
    org.trouble = Unavailable("away.")
    assert uuids(events.take()) == ["uuid-5"]
    assert events.waiting() == [], "no news for people yet"
    org.time_s += 20
    events.take()
    assert [each.object for each in events.waiting()] == [EVENT]
    org.trouble = None
    org.time_s += 60
    assert uuids(events.take()) == ["uuid-4"]
    assert events.waiting() == []


def test_an_org_that_cannot_be_asked_loses_no_event_that_has_come(org: Org) -> None:
    """What was taken from the stream is reported, with its position."""
    events = org.events()
    org.bring(org.event(1))
    events.take()
    org.bring(org.event(2))
    org.trouble = Unavailable("away.")
    gathered = events.take()
    assert uuids(gathered) == ["uuid-2"]
    assert gathered.positions


def test_an_event_that_the_org_does_not_have_waits_alone_until_it_does(org: Org) -> None:
    """Then the process restarts, which registers its schema."""
    events = org.events(EVENT, "Later__e")
    assert events.schemas().keys() == {EVENT}
    assert "topic.not.found" not in events.note()
    assert [each.object for each in events.waiting()] == ["Later__e"]
    org.bring(org.event(1))
    assert uuids(events.take()) == ["uuid-1"]
    org.texts["later"], org.now["/event/Later__e"] = avro(), "later"
    org.time_s += 61
    with pytest.raises(SchemaOutdated):
        events.take()


def test_an_event_that_the_registry_refuses_waits_until_the_org_changes_it(org: Org) -> None:
    """It is not tried with the schema that was refused."""
    events = org.events()
    events.use({}, {EVENT: "Number__c has another type than before."})
    org.time_s += 61
    assert uuids(events.take()) == []
    assert "another type" in events.waiting()[0].sentence
    org.texts["one"] = avro(DAY)
    org.time_s += 61
    with pytest.raises(SchemaOutdated):
        events.take()


def test_a_new_field_restarts_the_process_and_no_event_is_passed_over(org: Org) -> None:
    """The schema is registered first; the event comes again, because its position was not reported."""
    events = org.events()
    org.texts["two"], org.now[TOPIC] = avro(NUMBER, DAY, NEW), "two"
    org.bring(org.event(1, schema="two", New__c=1.5))
    with pytest.raises(SchemaOutdated):
        events.take()
    again = org.events()
    org.bring(org.event(1, schema="two", New__c=1.5))
    assert again.take().events[0].fields["New__c"] == 1.5


def test_a_field_that_the_event_has_no_longer_does_not_restart_without_end(org: Org) -> None:
    """Events of the last days may still have it: the rest is read, and the whole is in the dead letter queue."""
    org.texts["old"] = avro(NUMBER, DAY, NEW)
    events = org.events()
    org.bring(org.event(1, schema="old", Number__c="7", New__c=1.5))
    gathered = events.take()
    assert gathered.events[0].fields["Number__c"] == "7"
    assert "New__c" in str(gathered.dead_letters[0].error)


def test_a_refused_subscription_waits_and_is_tried_again(org: Org) -> None:
    """A right that is missing is for a person; nothing else stops."""
    events = org.events()
    org.streams[-1].items.append(Ended(SetupError("no access. Grant it.")))
    assert uuids(events.take()) == []
    assert "Grant it" in events.waiting()[0].sentence
    org.time_s += 61
    events.take()
    assert len(org.streams) == 2
    org.bring(org.event(1))
    assert uuids(events.take()) == ["uuid-1"]
    assert events.waiting() == []


def test_what_avro_has_no_single_type_for_is_kept_as_text(org: Org) -> None:
    """Standard events may have records and lists."""
    parts = {"name": "Parts", "type": ["null", {"type": "array", "items": "string"}], "default": None}
    org.texts["one"] = avro(parts)
    events = org.events()
    org.bring(org.event(1, Parts=["b", "a"]))
    assert events.take().events[0].fields["Parts"] == '["b", "a"]'
