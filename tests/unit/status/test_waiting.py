"""What waits for a person now, counted in Kafka and not since a process started."""

from __future__ import annotations

from collections.abc import Callable
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
from salmon.model.state import Park, Parked
from salmon.status import waiting
from salmon.status.counting import Count
from salmon.status.waiting import parked, undealt
from support.dead_letters import Desk
from support.registries import MemoryRegistry
from support.stories import in_step, rules

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


class Log:
    """A state topic."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.codec = States(rules(), MemoryRegistry(), "crm.state.Account")
        self.records: list[tuple[bytes, bytes | None]] = []
        self.sync = cast("Sync", SimpleNamespace(state_codec=lambda _: self.codec, kafka={}, admin=None))
        place = (self.codec.topic, 0)
        monkeypatch.setattr(scans, "all_places", lambda *_: [place])
        monkeypatch.setattr(scans, "scan", self._scan)
        monkeypatch.setattr(waiting, "extents_of", lambda *_: {place: Extent(0, len(self.records))})

    def _scan(self, *args: Any, **_: Any) -> None:
        take: Callable[[Message], None] = args[3]
        for key, value in self.records:
            take(cast("Message", SimpleNamespace(key=lambda key=key: key, value=lambda value=value: value)))


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
    assert parked(log.sync, "Account") == {**dict.fromkeys(waiting.WHY, 0), "refused": 1, "held": 1}


def test_too_many_states_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the counters of merge have to do."""
    log = Log(monkeypatch)
    monkeypatch.setattr(waiting, "STATES_READ_MAX", 1)
    log.records = [(b"a", None)] * 2
    assert parked(log.sync, "Account") is None
