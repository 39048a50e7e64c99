"""The event bus without any wire: retention, positions, and schemas that change while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from salmon.simulator.events.eventbus import EventBus, Preset, ReplayIdCorrupted, Subscription, TopicNotFound
from salmon.simulator.org.channels import Channels
from salmon.simulator.org.clock import OrgClock
from salmon.simulator.org.faults import FaultRegistry
from salmon.simulator.org.objects.platform_events import PlatformEvents
from salmon.simulator.org.settings import Settings
from salmon.simulator.org.transaction import RecordChange, Row, Transaction
from salmon.simulator.org.usage import Usage

NOTES = "/data/Note__ChangeEvent"
ALL = "/data/ChangeEvents"


def describe(*fields: str) -> dict[str, Any]:
    return {"name": "Note__c", "fields": [{"name": name, "type": "string"} for name in fields]}


class SmallOrg:
    """An org with one object, whose commits are made by hand."""

    def __init__(self) -> None:
        self.clock = OrgClock()
        self.faults = FaultRegistry()
        self.usage = Usage(self.clock)
        self.objects = ("Note__c",)
        self.channels = Channels()
        self.settings = Settings()
        self.platform_events = PlatformEvents({}, self.clock, self.usage)
        self.note: dict[str, Any] = describe("Name")
        self._commits = 0
        self._listeners: list[Callable[[Transaction], None]] = []

    def describe(self, name: str) -> Mapping[str, Any]:
        assert name == "Note__c"
        return self.note

    def get(self, object_name: str, record_id: str, *, with_deleted: bool = False) -> Row | None:
        raise AssertionError("no channel of this org asks for a record")

    def add_listener(self, listener: Callable[[Transaction], None]) -> None:
        self._listeners.append(listener)

    def create(self, name: str) -> None:
        self._commits += 1
        change = RecordChange("Note__c", f"a00{self._commits:015}", "CREATE", None, {"Name": name})
        commit = Transaction(f"key-{self._commits}", self._commits, 1_700_000_000_000, "005", "x", (change,))
        for listener in self._listeners:
            listener(commit)


def take(subscription: Subscription, events_max: int = 1_000_000) -> list[bytes]:
    return [delivery.replay_id for delivery in subscription.take(events_max, 1_000_000_000)]


def test_old_events_are_dropped_and_every_position_stays_what_it_was() -> None:
    """10,000 events of four days ago, one of yesterday, one of now: the two are left, under their own ids."""
    org = SmallOrg()
    bus = EventBus(org)
    behind = bus.subscribe(NOTES, Preset.EARLIEST)
    for _ in range(10_000):
        org.create("old")
    old = take(bus.subscribe(NOTES, Preset.EARLIEST))
    assert len(old) == 10_000
    org.clock.advance(73 * 3600)
    org.create("yesterday")
    (yesterday,) = take(bus.subscribe(NOTES, Preset.EARLIEST))
    org.clock.advance(24 * 3600)
    org.create("now")

    kept = take(bus.subscribe(NOTES, Preset.EARLIEST))
    assert kept[0] == yesterday
    assert take(bus.subscribe(NOTES, Preset.CUSTOM, yesterday)) == kept[1:]
    for replay_id in (old[0], old[-1]):
        with pytest.raises(ReplayIdCorrupted):
            bus.subscribe(NOTES, Preset.CUSTOM, replay_id)
    assert take(behind)[-2:] == kept, "one who was far behind goes on with what is left"


def test_consecutive_events_have_consecutive_ids_of_ten_bytes() -> None:
    """As recorded: a counter in eight bytes, and two zero bytes."""
    org = SmallOrg()
    bus = EventBus(org)
    for name in ("a", "b", "c"):
        org.create(name)
    ids = take(bus.subscribe(ALL, Preset.EARLIEST))
    numbers = [int.from_bytes(replay_id[:8]) for replay_id in ids]
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    assert all(replay_id[8:] == b"\0\0" and len(replay_id) == 10 for replay_id in ids)


def test_going_back_further_than_there_are_events_is_going_back_to_the_first() -> None:
    """Repeat five of two: two come again."""
    org = SmallOrg()
    bus = EventBus(org)
    subscription = bus.subscribe(NOTES, Preset.LATEST)
    org.create("a")
    org.create("b")
    seen = take(subscription)
    bus.repeat(5)
    assert take(subscription) == seen


def test_a_response_is_bounded_in_bytes_but_never_empty_for_it() -> None:
    """Each event is larger than the bound: they come one by one."""
    org = SmallOrg()
    bus = EventBus(org)
    subscription = bus.subscribe(NOTES, Preset.LATEST)
    org.create("a" * 1000)
    org.create("b" * 1000)
    assert [len(subscription.take(100, 500)) for _ in range(3)] == [1, 1, 0]


def test_a_field_that_is_added_while_running_makes_events_of_a_new_schema() -> None:
    """The old schema stays known: its events are still on the bus."""
    org = SmallOrg()
    bus = EventBus(org)
    org.create("before")
    org.note = describe("Name", "Text__c")
    org.create("after")
    before, after = (d.event.schema_id for d in bus.subscribe(NOTES, Preset.EARLIEST).take(2, 1_000_000))
    assert before != after == bus.schema_id_of(NOTES)
    before_text, after_text = bus.schema_text(before), bus.schema_text(after)
    assert before_text is not None
    assert after_text is not None
    assert ("Text__c" in before_text, "Text__c" in after_text) == (False, True)


def test_an_object_that_was_not_selected_has_no_topic_and_no_events() -> None:
    """Selection is the admin's; the channel of all changes is there, and empty."""
    org = SmallOrg()
    bus = EventBus(org, entities=())
    org.create("unheard")
    with pytest.raises(TopicNotFound):
        bus.subscribe(NOTES, Preset.EARLIEST)
    assert take(bus.subscribe(ALL, Preset.EARLIEST)) == []


def test_a_replay_id_of_eight_bytes_is_the_same_position() -> None:
    """Orgs gave ids of eight bytes before they gave ten; a client that stored one goes on where it was."""
    org = SmallOrg()
    bus = EventBus(org)
    for name in ("A", "B", "C"):
        org.create(name)
    ids = take(bus.subscribe(NOTES, Preset.EARLIEST))
    assert take(bus.subscribe(NOTES, Preset.CUSTOM, ids[0][:8])) == ids[1:]
    for wrong in (ids[0][:7], ids[0] + b"\0", ids[0][:8] + b"\0\1"):
        with pytest.raises(ReplayIdCorrupted):
            bus.subscribe(NOTES, Preset.CUSTOM, wrong)
