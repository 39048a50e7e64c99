"""What waits for its echo: how long the oldest has waited, and which edit came back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from salmon.kafka.codecs.serdes import Writes
from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import SinkRecord
from salmon.sink.waiting.unanswered import Unanswered
from salmon.sink.worker import SinkWorker
from support.at_hand.memory_sync import MemorySync
from support.runtime import OBJECT, SCHEMA, Sink, running
from support.waiting import until

TOPIC = "crm.writes.mongodb.Account"
PLACE = (TOPIC, 0)
OTHER = (TOPIC, 1)


class Message:
    """A record of `writes`, as far as it is looked at."""

    def __init__(self, at_ms: int, value: bytes | None = b"command", offset: int = 0) -> None:
        self._at_ms, self._value, self._offset = at_ms, value, offset

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes | None:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, self._at_ms


class Box:
    """What is tested, with the words of a story."""

    def __init__(self, **more: Any) -> None:
        self.unanswered = Unanswered({TOPIC: "Account"}, **more)
        self.offset = 0  # of the last command

    def sent(self, key: str, at_ms: int, place: tuple[str, int] = PLACE) -> None:
        self.offset += 1
        self.unanswered.read(place, ("Account", key), cast("Any", Message(at_ms, offset=self.offset)))

    def came_back(self, key: str) -> None:
        self.unanswered.read(PLACE, ("Account", key), cast("Any", Message(0, None)))

    def carried_out(self, key: str, offset: int | None = None) -> None:
        write = Write(1, WriteOp.UPDATE, correlation="mongodb-1-1", committed_at=1)
        at = self.offset if offset is None else offset
        self.unanswered.carried_out(PLACE, at, SinkRecord("Account", key, write))

    @property
    def oldest(self) -> int:
        return self.unanswered.since_ms()["Account"]


@pytest.fixture
def followed() -> Iterator[None]:
    """The trail is read."""
    trail = logging.getLogger("salmon.ops.trail")
    trail.setLevel(logging.DEBUG)
    yield
    trail.setLevel(logging.NOTSET)


def test_the_oldest_write_counts_until_it_comes_back() -> None:
    """Whether it was carried out or not: only the echo ends the wait."""
    box = Box()
    assert box.oldest == 0
    box.sent("a", 1_000)
    box.carried_out("a")
    box.sent("b", 2_000)
    assert box.oldest == 1_000
    box.came_back("a")
    assert box.oldest == 2_000
    box.came_back("b")
    assert box.oldest == 0


def test_a_write_to_what_nobody_reads_waits_until_it_is_carried_out() -> None:
    """The target of a one-way object tells nobody of it: no echo comes. A newer write that was read meanwhile still waits."""
    box = Box(unread=["Account"])
    box.sent("a", 1_000)
    first = box.offset
    box.sent("a", 5_000)
    box.carried_out("a", offset=first)
    assert box.oldest == 5_000
    box.carried_out("a")
    assert box.oldest == 0


def test_a_write_that_is_replaced_before_it_was_carried_out_keeps_its_age() -> None:
    """The side has lacked the record's values since the first of them."""
    box = Box()
    box.sent("a", 1_000)
    box.sent("a", 5_000)
    assert box.oldest == 1_000


def test_a_record_that_is_edited_all_the_time_is_no_old_write() -> None:
    """Each of its writes was carried out; the echo of the last one is on its way."""
    box = Box()
    for at_ms in (1_000, 2_000, 3_000):
        box.sent("a", at_ms)
        box.carried_out("a")
    box.sent("b", 3_500)
    box.sent("a", 4_000)
    assert box.oldest == 3_500


def test_a_command_that_was_read_while_the_one_before_was_carried_out_is_what_is_owed() -> None:
    """The side lacks its values since then, and not since the one before."""
    box = Box()
    box.sent("a", 1_000)
    box.sent("a", 5_000)
    box.carried_out("a", offset=1)
    assert box.oldest == 5_000
    box.sent("a", 9_000)
    assert box.oldest == 5_000


def test_partitions_that_went_to_another_instance_are_forgotten() -> None:
    """That one knows about them now."""
    box = Box()
    box.sent("a", 1_000)
    box.sent("b", 2_000, OTHER)
    box.unanswered.keep([OTHER])
    assert box.oldest == 2_000


def test_of_very_many_writes_the_oldest_are_remembered() -> None:
    """Memory is bounded, and the age of the oldest is still right."""
    box = Box(most=2)
    for number, key in enumerate("abc", start=1):
        box.sent(key, number * 1_000)
    box.came_back("c")
    assert box.oldest == 1_000
    box.came_back("a")
    box.sent("d", 4_000)
    box.came_back("b")
    assert box.oldest == 4_000


@pytest.mark.usefixtures("followed")
def test_a_write_and_its_echo_are_lines_with_the_correlation_of_the_edit() -> None:
    """The sink says what it wrote, and that it came back, in the words of the source's line; no value is in them."""
    sync = MemorySync(partitions=1)
    worker = SinkWorker(sync.instance("mongodb-sink"), Sink(), {OBJECT: SCHEMA}, [OBJECT])
    with capture_logs() as lines, running(worker) as (run,):
        write = Write(7, WriteOp.UPDATE, fields={"Name": "a value"}, correlation="mongodb-5-1")
        sync.produce(sync.writes(), "k1", Writes(SCHEMA, sync.registry, sync.writes()).encode(write))
        until(lambda: [each for each in lines if each["event"] == "write_finished"])
        sync.write("k1", None)
        until(lambda: [each for each in lines if each["event"] == "write_came_back"])
        run.stop()
    steps = [each for each in lines if each["event"] in {"write_finished", "write_came_back"}]
    assert [(each["key"], each["seq"], each["correlation"]) for each in steps] == [
        ("k1", 7, "mongodb-5-1")
    ] * 2
    assert "a value" not in str(lines)


@pytest.mark.usefixtures("followed")
def test_an_echo_that_overtakes_the_outcome_is_a_line_all_the_same() -> None:
    """The side reports a write before it answers us; what was taken back before it was carried out never came back."""
    box = Box()
    with capture_logs() as lines:
        box.sent("a", 1_000)
        box.came_back("a")
        assert (box.oldest, lines) == (0, [])
        box.carried_out("a")
        assert [(each["event"], each["key"]) for each in lines] == [("write_came_back", "a")]
        box.sent("b", 1_000)
        box.came_back("b")
        box.sent("b", 2_000)
        box.carried_out("b")
    assert len(lines) == 1
    assert box.oldest == 2_000


def test_nobody_pays_for_lines_that_nobody_reads() -> None:
    """Without debug lines no step is built."""
    sync = MemorySync(partitions=1)
    sink = Sink()
    worker = SinkWorker(sync.instance("mongodb-sink"), sink, {OBJECT: SCHEMA}, [OBJECT])
    with capture_logs() as lines, running(worker) as (run,):
        sync.write("k1", 7, Name="a value")
        until(lambda: sink.written)
        run.stop()
    assert [each for each in lines if each["event"] == "write_finished"] == []
