"""What `salmon retry` finds: what is parked in merge's states, whatever else lies in their topic."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Message

from salmon.kafka import scans
from salmon.merge.states import States
from salmon.story.lookup import Lookup
from salmon.story.retrying import RefusalFilter, refusals
from support.at_hand.registries import MemoryRegistry
from support.at_hand.stories import KEY, in_step, rules

TOPIC = "crm.state.Account"


class Log:
    """The state topic: records in the order in which they were written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.codec = States(rules(), MemoryRegistry(), TOPIC)
        self.records: list[Message] = []
        self.lookup = SimpleNamespace(
            config=SimpleNamespace(objects={"Account": None}),
            rules=lambda _: rules(),
            state_codec=lambda _: self.codec,
            kafka={},
            admin=None,
        )
        monkeypatch.setattr(scans, "all_places", lambda *_: [(TOPIC, 0)])
        monkeypatch.setattr(scans, "scan", self._scan)

    def _scan(self, *args: Any, **_: Any) -> None:
        take: Callable[[Message], None] = args[3]
        for record in self.records:
            take(record)

    def wrote(self, key: bytes, value: bytes | None) -> None:
        offset = len(self.records)
        record = SimpleNamespace(
            key=lambda: key,
            value=lambda: value,
            topic=lambda: TOPIC,
            partition=lambda: 0,
            offset=lambda: offset,
        )
        self.records.append(cast("Message", record))

    def found(self) -> list[str]:
        return [each.key for each in refusals(cast("Lookup", self.lookup), RefusalFilter())]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(monkeypatch)


def refused_state(log: Log) -> bytes:
    story = in_step(rules(), Name="Acme", Phone="1")
    story.mongodb.edits(Phone="2")
    story.salesforce.refuses(story.writes["salesforce"], "Phone")
    return log.codec.encode(story.state)


@pytest.mark.parametrize("foreign", [b"REFUSED", b"\0REFUSED", b"{}", b"\0\0\0\0\1", b""])
def test_a_foreign_record_among_the_states_is_passed_over(log: Log, foreign: bytes) -> None:
    """It neither ends the command, nor hides what is refused of the record whose key it has (case L7)."""
    log.wrote(KEY.encode(), refused_state(log))
    log.wrote(KEY.encode(), foreign)
    log.wrote(b"\xff\xfe", foreign)
    assert log.found() == [KEY]


def test_what_is_refused_no_more_is_not_found(log: Log) -> None:
    """Neither by a newer state, nor by a tombstone."""
    story = in_step(rules(), Name="Acme")
    for newer in (log.codec.encode(story.state), None):
        log.wrote(KEY.encode(), refused_state(log))
        log.wrote(KEY.encode(), newer)
        assert log.found() == []
