"""What waits for a person now, counted in Kafka and not since a process started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Message

from salmon.app.sync import Sync
from salmon.dlq.letters import LetterFilter
from salmon.dlq.replaying import discard
from salmon.kafka import scans
from salmon.kafka.extents import Extent
from salmon.merge.states import States
from salmon.model.change import MONGODB
from salmon.model.rules import Rules
from salmon.model.state import Park, Parked
from salmon.model.views import View
from salmon.status import waiting
from salmon.status.counting import Count
from salmon.status.waiting import in_states, undealt
from support.at_hand.dead_letters import Desk
from support.at_hand.registries import MemoryRegistry
from support.at_hand.stories import in_step, rules

SINK = "salesforce-sink"


def test_a_letter_that_was_dealt_with_is_not_counted() -> None:
    """It stays in its queue for 30 days, and `salmon dlq list` does not show it either."""
    desk = Desk()
    for number, key in enumerate("abc"):
        desk.refused(key, number + 1)
    discard(desk, LetterFilter(key="b"), by="me")
    queues = {SINK: Count(3), "merge": Count(0)}
    assert undealt(desk, queues, marks_exist=True) == {SINK: Count(2), "merge": Count(0)}
    assert undealt(desk, queues, marks_exist=False) == queues
    many = {SINK: Count(50_000, exact=False)}
    assert undealt(desk, many, marks_exist=True) == {SINK: Count(49_999, exact=False)}


def placed() -> Rules:
    """A record is in the collection of its city's name."""
    view = View(
        "by city", places=lambda record: str(record["City"]), collections=frozenset({"Oslo", "Bergen"})
    )
    return rules(views={MONGODB: view})


class Log:
    """A state topic."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *places: str) -> None:
        self.codec = States(placed() if places else rules(), MemoryRegistry(), "crm.state.Account")
        self.records: list[tuple[bytes, bytes | None]] = []
        config = SimpleNamespace(objects={"Account": SimpleNamespace(places=places or ("accounts",))})
        known = SimpleNamespace(state_codec=lambda _: self.codec, kafka={}, admin=None, config=config)
        self.sync = cast("Sync", known)
        place = (self.codec.topic, 0)
        monkeypatch.setattr(scans, "all_places", lambda *_: [place])
        monkeypatch.setattr(scans, "scan", self._scan)
        monkeypatch.setattr(waiting, "extents_of", lambda *_: {place: Extent(0, len(self.records))})

    @property
    def places(self) -> Mapping[str, Count]:
        seen = in_states(self.sync, "Account")
        assert seen is not None
        return seen.places

    def _scan(self, *args: Any, **_: Any) -> None:
        take: Callable[[Message], None] = args[3]
        for key, value in self.records:
            place = {"topic": lambda: self.codec.topic, "partition": lambda: 0, "offset": lambda: 0}
            told = SimpleNamespace(key=lambda key=key: key, value=lambda value=value: value, **place)
            take(cast("Message", told))


def test_fields_are_counted_that_wait_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of a former state, of a deleted record, or of before the process started."""
    log = Log(monkeypatch)
    clear, refused = in_step().state, in_step().state
    side = refused.sides["salesforce"]
    side.parked |= {
        "Phone": Parked(Park.REFUSED, 7, "STRING_TOO_LONG"),
        "Name": Parked(Park.HELD, 8),
    }
    bad, good = log.codec.encode(refused), log.codec.encode(clear)
    log.records = [(b"a", bad), (b"b", bad), (b"c", bad), (b"c", good), (b"b", None)]
    seen = in_states(log.sync, "Account")
    assert seen is not None
    assert seen.waiting == {**dict.fromkeys(waiting.WHY, 0), "refused": 1, "held": 1}


def test_a_foreign_record_hides_nothing_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is passed over: the field still waits, and the document still is where it was (case L7)."""
    log = Log(monkeypatch, "Oslo", "Bergen")
    refused = in_step(placed(), City="Oslo").state
    refused.sides["salesforce"].parked["Phone"] = Parked(Park.REFUSED, 7, "STRING_TOO_LONG")
    log.records = [(b"a", log.codec.encode(refused)), (b"a", b'{"a":1}'), (b"a", b"REFUSED")]
    seen = in_states(log.sync, "Account")
    assert seen is not None
    assert seen.waiting["refused"] == 1
    assert seen.places == {"Oslo": Count(1), "Bergen": Count(0)}


def test_too_many_states_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the counters of merge have to do."""
    log = Log(monkeypatch)
    monkeypatch.setattr(waiting, "STATES_READ_MAX", 1)
    log.records = [(b"a", None)] * 2
    assert in_states(log.sync, "Account") is None


def test_documents_are_counted_in_each_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are by merge's newest state: neither where they were, nor those that are deleted."""
    log = Log(monkeypatch, "Oslo", "Bergen")
    oslo, bergen = (log.codec.encode(in_step(placed(), City=city).state) for city in ("Oslo", "Bergen"))
    log.records = [(b"a", oslo), (b"b", oslo), (b"c", oslo), (b"c", None), (b"b", bergen)]
    assert log.places == {"Oslo": Count(1), "Bergen": Count(1)}
    log.records += [(b"a", bergen)]
    assert log.places == {"Oslo": Count(0), "Bergen": Count(2)}


def test_of_many_documents_some_are_counted_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which ones, their keys decide: so a state that follows another one is of the same document."""
    monkeypatch.setattr(waiting, "PLACES_READ_MAX", 500)
    log = Log(monkeypatch, "Oslo", "Bergen")
    oslo = log.codec.encode(in_step(placed(), City="Oslo").state)
    log.records = [(f"k{number}".encode(), oslo) for number in range(1_000)]
    found = log.places["Oslo"]
    assert not found.exact
    assert 800 < found.records < 1_200


def test_an_object_with_one_collection_has_no_counts_of_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many records there are, is said anyway; no state is decoded for it."""
    log = Log(monkeypatch)
    log.records = [(b"a", b"no state at all")]
    assert log.places == {}
