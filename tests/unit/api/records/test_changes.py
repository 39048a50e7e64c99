"""The stream of changes: its end, its bounds, and who has how many, without Kafka."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.api.records import changes
from salmon.api.records.changes import _Stream
from support.api_room import api_of


class Reading:
    """In place of salmon.kafka.reader.Reader: a step lasts until it may end."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.steps, self.begun, self.may_end = 0, Event(), Event()
        self.may_end.set()
        self.reads, self.closed_meanwhile, self.closed = False, False, False

    def step(self, *_: Any) -> bool:
        assert not self.closed, "a closed consumer of librdkafka must not be touched"
        self.steps += 1
        self.reads = True
        self.begun.set()
        self.may_end.wait(10)
        self.reads = False
        return False

    def close(self) -> None:
        self.closed, self.closed_meanwhile = True, self.reads


class Topics:
    """In place of a Lookup: no partition has anything."""

    def __init__(self, *_: Any) -> None:
        self.topics = SimpleNamespace(records=lambda name: f"records.{name}")
        self.admin = self.kafka = self.registry = None
        self.closed = 0

    def rules(self, _: str) -> None:
        return None

    schema = rules

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    """What streams read from."""
    found = Reading()
    monkeypatch.setattr(changes, "Lookup", Topics)
    monkeypatch.setattr(changes, "Reader", lambda *_, **__: found)
    monkeypatch.setattr(changes, "Records", lambda *_: None)
    monkeypatch.setattr(changes, "partition_counts", lambda _: {})
    monkeypatch.setattr(changes, "extents_of", lambda *_, **__: {})
    return found


def test_a_stream_is_not_closed_while_it_is_read(reading: Reading) -> None:
    """The client is gone while a thread waits for Kafka: closing the consumer under it ends the whole process."""
    stream = _Stream(api_of("Car__c"), ["Car__c"], None)
    reading.may_end.clear()
    with ThreadPoolExecutor(2) as pool:
        step = pool.submit(stream.step)
        assert reading.begun.wait(10)
        close = pool.submit(stream.close)
        with pytest.raises(TimeoutError):
            close.result(timeout=0.2)
        assert not reading.closed
        reading.may_end.set()
        assert step.result(10) == []
        close.result(10)
    assert reading.closed
    assert not reading.closed_meanwhile


def test_a_stream_that_is_closed_reads_no_more(reading: Reading) -> None:
    """The thread that was about to read comes after the close; closing twice closes once."""
    stream = _Stream(api_of("Car__c"), ["Car__c"], None)
    stream.close()
    stream.close()
    assert stream.step() == []
    assert reading.steps == 0
