"""The delete guard at work: approvals reach it, what it holds is told, and how large an object is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from salmon.config.sections.deletions import DeleteGuardConfig
from salmon.errors import SetupError, Unavailable
from salmon.kafka.offsets import OffsetStore
from salmon.plugin.contract import Signal, SignalKind
from salmon.sink.buffer import SinkBuffer
from salmon.sink.guard import guard_watch
from salmon.sink.guard.delete_guard import Delete
from salmon.sink.guard.guard_watch import GuardWatch
from support.at_hand.memory_sync import MemorySync
from support.runtime import OBJECT

CONNECTOR = "mongodb-sink"
_MOMENT_MS = 1_700_000_000_000
LIMITS = DeleteGuardConfig(deletes_max=2, share_floor=2)


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync(partitions=1)


@pytest.fixture(autouse=True)
def _look_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_watch, "LOOK_EVERY_S", 0.0)


class Watch:
    """A guard of one object, and the buffer of its sink with partition 0 of `writes`."""

    def __init__(self, sync: MemorySync) -> None:
        self.instance = sync.instance(CONNECTOR)
        self.instance.health.running()
        self.place = (sync.writes(), 0)
        self.buffer = SinkBuffer()
        self.buffer.open(self.place, 0)
        entries = OffsetStore(sync.clients, sync.topics, sync.registry)
        self.watch = GuardWatch(self.instance, {OBJECT: LIMITS}, self.buffer, entries)
        self.watch.start()
        self.watch.take(entries.load(CONNECTOR), [(OBJECT, 0)])

    def deletes(self, count: int, at: int = 0, meanwhile: Callable[[], None] = lambda: None) -> int:
        """
        So many deletes come in one moment; how many of them are held back.

        Args:
            meanwhile: What another thread does before the buffer has them back.
        """
        self.buffer.renew(self.buffer.now())
        for offset in range(at, at + count):
            self.buffer.add(self.place, offset, (OBJECT, f"k{offset}"), b"x")
        commands = self.buffer.take(count) or []
        asked = [
            Delete(OBJECT, each.key[1], each.offset + 1, 0, each.offset, at=_MOMENT_MS) for each in commands
        ]
        held = {each.offset for each in self.watch.guard.held_back(asked)}
        meanwhile()
        self.buffer.hold(each for each in commands if each.offset in held)
        self.buffer.done(each for each in commands if each.offset not in held)
        return len(held)

    @property
    def said(self) -> str:
        return self.instance.health.report().message


def approve(sync: MemorySync, until: int) -> None:
    """What `salmon guard approve` sends."""
    sync.signal(CONNECTOR, Signal(0, SignalKind.APPROVE, OBJECT, reason="by a test", until=(until,)))


def test_what_it_holds_is_said_in_health_with_what_mends_it(sync: MemorySync) -> None:
    """How many, of what, and which command decides."""
    it = Watch(sync)
    assert it.deletes(2) == 0, "as many as are believed"
    assert it.deletes(5, at=2) == 5
    it.watch.turn(settled=False)
    assert f"{OBJECT}: 5 deletes are held back" in it.said
    assert "salmon guard list" in it.said


def test_an_approval_lets_go_what_waits_and_ends_the_pause(sync: MemorySync) -> None:
    """It is heard within a turn; what was held is given out again."""
    it = Watch(sync)
    it.deletes(5)
    it.watch.turn(settled=False)
    approve(sync, 5)
    it.watch.turn(settled=False)
    assert it.buffer.held() == {}
    assert it.watch.guard.paused == frozenset()
    it.watch.turn(settled=False)
    assert "held back" not in it.said


def test_an_approval_that_comes_as_deletes_are_put_back_lets_them_go_all_the_same(sync: MemorySync) -> None:
    """They were judged before it, and the buffer has them after it: nobody would ask for them again."""
    it = Watch(sync)

    def approved() -> None:
        approve(sync, 5)
        it.watch.turn(settled=False)

    assert it.deletes(5, meanwhile=approved) == 5
    it.watch.turn(settled=False)
    assert it.buffer.held() == {}
    assert len(it.buffer.take(5) or ()) == 5, "they are given out again"


def test_an_approval_of_another_object_changes_nothing(sync: MemorySync) -> None:
    """Nor does a signal that is no approval, nor one that cannot be read."""
    it = Watch(sync)
    it.deletes(5)
    sync.signal(CONNECTOR, Signal(0, SignalKind.APPROVE, "Other", reason="by a test", until=(5,)))
    sync.signal(CONNECTOR, Signal(0, SignalKind.SNAPSHOT, OBJECT, reason="by a test"))
    sync.produce(sync.topics.signals(CONNECTOR), "x", b"foreign")
    it.watch.turn(settled=False)
    assert sum(it.buffer.held().values()) == 5


def test_an_approval_from_before_a_restart_counts_still(sync: MemorySync) -> None:
    """It names offsets: what it let go stays let go, and what came later is judged."""
    approve(sync, 5)
    it = Watch(sync)
    assert it.deletes(5) == 0
    assert it.deletes(5, at=5) == 5


def test_what_it_holds_survives_a_restart(sync: MemorySync) -> None:
    """Its counts are kept with the sink's entries: the next instance is as suspicious as this one."""
    first = Watch(sync)
    first.deletes(5)
    first.watch.turn(settled=False)
    for output in first.watch.outputs().values():
        sync.produce(output.topic, output.key or b"", output.value)
    assert Watch(sync).watch.guard.paused == {OBJECT}


def test_the_pause_is_over_when_nothing_is_held_any_more(sync: MemorySync) -> None:
    """What was held was superseded: there is nothing left to decide."""
    it = Watch(sync)
    it.deletes(5)
    it.watch.turn(settled=True)
    assert it.watch.guard.paused == {OBJECT}
    it.buffer.close([it.place])
    it.buffer.forget([it.place])
    it.watch.turn(settled=True)
    assert it.watch.guard.paused == frozenset()


def test_the_size_of_an_object_is_the_number_of_its_records(sync: MemorySync) -> None:
    """A share of the records is believed, too: deleted ones do not count."""
    topic = sync.topics.records(OBJECT)
    for key, value in (("a", b"1"), ("b", b"1"), ("a", b"2"), ("b", None)):
        sync.produce(topic, key, value)
    assert Watch(sync).watch._size(OBJECT) == 1


def test_what_is_too_large_to_be_counted_has_no_size(
    sync: MemorySync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of it is more than anybody would allow by number."""
    monkeypatch.setattr(guard_watch, "RECORDS_READ_MAX", 1)
    sync.produce(sync.topics.records(OBJECT), "a", b"1")
    assert Watch(sync).watch._size(OBJECT) is None


def test_a_broker_that_is_away_is_no_end(sync: MemorySync) -> None:
    """It is the worker who tries again."""
    it = Watch(sync)
    with sync.broker.outage(), pytest.raises(Unavailable):
        it.watch._size(OBJECT)


def test_without_its_topic_it_says_what_is_missing(sync: MemorySync) -> None:
    """Somebody deleted it: the sentence names it."""
    topic = sync.topics.signals(CONNECTOR)
    del sync.broker.topics[topic]
    with pytest.raises(SetupError, match=topic):
        Watch(sync)
