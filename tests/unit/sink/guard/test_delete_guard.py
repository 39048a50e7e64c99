"""The guard against mass deletes: what it counts, when it pauses, and what survives a restart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from salmon.config.sections.deletions import DeleteGuardConfig
from salmon.errors import Unavailable
from salmon.sink.guard.delete_guard import Delete, DeleteGuard

MINUTE = 60_000  # ms
NOW = 1_700_000_000_000
OBJECT = "Account"


def guard(
    *,
    size: Callable[[str], int | None] = lambda _: None,
    owned: Sequence[int] = (0, 1),
    partitions: int = 2,
    tripped: list[tuple[str, int]] | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    **limits: Any,
) -> DeleteGuard:
    """A guard of two objects that has its partitions."""
    seen = [] if tripped is None else tripped
    settings = DeleteGuardConfig(**{"deletes_max": 10, "share_floor": 3, **limits})
    it = DeleteGuard(
        {OBJECT: settings, "Contact": settings},
        size_of=size,
        tripped=lambda name, count: seen.append((name, count)),
        clock=clock,
    )
    it.own([(name, number) for name in (OBJECT, "Contact") for number in owned], {}, partitions=partitions)
    return it


def deletes(
    count: int, *, first: int = 0, at: int = NOW, name: str = OBJECT, partition: int | None = None
) -> list[Delete]:
    """So many deletes of as many records, spread over two partitions."""
    numbers = range(first, first + count)
    return [Delete(name, f"k{n}", n, n % 2 if partition is None else partition, n, at) for n in numbers]


def test_up_to_the_limit_deletes_are_carried_out() -> None:
    """Ten in ten minutes are everyday work."""
    it = guard()
    assert it.held_back(deletes(10)) == []
    assert it.paused == frozenset()


def test_what_passes_the_limit_waits_and_so_does_all_that_follows() -> None:
    """However long after: a pause ends when a person decides, not by itself."""
    tripped: list[tuple[str, int]] = []
    it = guard(tripped=tripped)
    it.held_back(deletes(10))
    (held,) = it.held_back(deletes(1, first=10))
    assert held.key == "k10"
    assert it.paused == {OBJECT}
    assert len(it.held_back(deletes(1, first=11, at=NOW + 60 * MINUTE))) == 1
    assert tripped == [(OBJECT, 11)], "and it is told once"


def test_deletes_that_come_together_are_judged_together() -> None:
    """Of a dropped collection not even the first ten are deleted, where they come in one batch."""
    it = guard()
    assert len(it.held_back(deletes(30))) == 30


def test_other_objects_go_on() -> None:
    """The pause is of one object."""
    it = guard()
    it.held_back(deletes(30))
    assert it.held_back(deletes(5, name="Contact")) == []


def test_the_window_slides_by_the_time_of_the_commits() -> None:
    """Ten an hour ago and ten now, carried out in one go after an outage, are no mass delete."""
    it = guard()
    for hour in range(5):
        assert it.held_back(deletes(10, first=100 * hour, at=NOW + hour * 60 * MINUTE)) == []


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_in_which_they_come_does_not_matter(order: int) -> None:
    """One a second, told forwards or backwards, is more than ten in ten minutes."""
    it = guard()
    times = [NOW + 1000 * n for n in range(12)][::order]
    held = [it.held_back(deletes(1, first=n, at=at)) for n, at in enumerate(times)]
    assert [len(each) for each in held] == [0] * 10 + [1, 1]


def test_a_delete_that_is_tried_again_counts_once() -> None:
    """A lock or an outage: the same command is put until it lands."""
    it = guard()
    for _ in range(5):
        assert it.held_back(deletes(10)) == []
    for each in deletes(10):
        it.landed(each.object, each.key)
    assert len(it.held_back(deletes(1))) == 1, "once it has landed, another delete of the key is another one"


def test_a_share_of_the_records_is_a_limit_too() -> None:
    """Six of fifty-two records are more than a tenth."""
    it = guard(size=lambda _: 46)
    assert it.held_back(deletes(5)) == []
    assert len(it.held_back(deletes(1, first=5))) == 1


def test_a_few_may_go_however_few_there_are() -> None:
    """Two of ten records are a fifth, and nothing to be afraid of."""
    it = guard(size=lambda _: 8)
    assert it.held_back(deletes(3)) == []
    assert len(it.held_back(deletes(1, first=3))) == 1


def test_records_are_counted_only_when_their_share_may_matter_and_once_a_minute() -> None:
    """To count them means to read a topic."""
    asked, now = [], [0.0]

    def size(name: str) -> int:
        asked.append(name)
        return 1000

    it = guard(size=size, clock=lambda: now[0])
    it.held_back(deletes(3))
    assert asked == []
    for number in range(4):
        it.held_back(deletes(1, first=3 + number))
    assert asked == [OBJECT]
    now[0] = 61.0
    it.held_back(deletes(1, first=8))
    assert asked == [OBJECT, OBJECT]


def test_nothing_is_carried_out_while_the_records_cannot_be_counted() -> None:
    """Kafka is away: the same deletes are asked for again, and counted once."""

    def size(_: str) -> int:
        raise Unavailable("no broker")

    it = guard(size=size)
    with pytest.raises(Unavailable):
        it.held_back(deletes(4))
    assert it.held_back(deletes(3)) == []


def test_alert_carries_them_out_and_tells_once() -> None:
    """`beyond: alert`: told when the limit is passed, and again only after it was kept meanwhile."""
    tripped: list[tuple[str, int]] = []
    it = guard(beyond="alert", tripped=tripped)
    for number in range(15):
        assert it.held_back(deletes(1, first=number)) == []
    assert tripped == [(OBJECT, 11)]
    it.held_back(deletes(1, first=20, at=NOW + 60 * MINUTE))
    it.held_back(deletes(11, first=30, at=NOW + 60 * MINUTE))
    assert len(tripped) == 2


def test_allow_counts_nothing() -> None:
    """`beyond: allow`: the operator has switched it off."""
    it = guard(beyond="allow")
    assert it.held_back(deletes(1000)) == []
    assert it.entries({}) == {}


def test_an_approval_lets_exactly_those_go_that_it_names() -> None:
    """What was written before it, by partition; what comes later is counted anew."""
    it = guard()
    held = it.held_back(deletes(20))
    it.approve(OBJECT, [20, 20], is_new=True)
    assert it.held_back(held) == []
    assert it.paused == frozenset()
    assert it.held_back(deletes(10, first=20)) == []
    assert len(it.held_back(deletes(1, first=30))) == 1


def test_an_approval_that_is_read_again_at_a_start_does_not_begin_the_count_anew() -> None:
    """Else each restart within a week would let the limit through once more."""
    it = guard()
    it.held_back(deletes(10))
    it.approve(OBJECT, [5, 5], is_new=False)
    assert len(it.held_back(deletes(1, first=10))) == 1


def restarted(
    it: DeleteGuard, kept: dict[str, Any], owned: Sequence[int] = (0, 1), **limits: Any
) -> DeleteGuard:
    """Another instance, which knows what this one has kept."""
    kept.update(it.entries({}))
    other = guard(owned=(), **limits)
    other.own([(OBJECT, number) for number in owned], kept, partitions=2)
    return other


def test_a_restart_does_not_let_the_limit_through_once_more() -> None:
    """Counts and pauses are kept."""
    it = guard()
    kept: dict[str, Any] = {}
    it.held_back(deletes(8))
    it = restarted(it, kept)
    assert it.held_back(deletes(2, first=8)) == []
    it = restarted(it, kept)
    assert len(it.held_back(deletes(1, first=10))) == 1
    it = restarted(it, kept)
    assert it.paused == {OBJECT}
    assert len(it.held_back(deletes(1, first=11, at=NOW + 60 * MINUTE))) == 1


def test_what_kafka_did_not_take_is_said_again() -> None:
    """Before any offset is committed that stands on it."""
    it = guard()
    it.held_back(deletes(2))
    entries = it.entries({})
    assert it.entries({}) == {}
    it.keep(entries)
    assert it.entries({}) == entries


def test_an_instance_has_the_share_of_the_limit_that_its_partitions_are() -> None:
    """Two instances with one partition each: five deletes a window for each of them."""
    it = guard(owned=(0,))
    assert it.held_back(deletes(5, partition=0)) == []
    assert len(it.held_back(deletes(1, first=5, partition=0))) == 1


def test_counts_move_with_their_partition() -> None:
    """Whoever takes a partition over knows how much was deleted in it."""
    one = guard(owned=(0,))
    kept: dict[str, Any] = {}
    one.held_back(deletes(5, partition=0))
    other = restarted(one, kept, owned=(0, 1))
    assert other.held_back(deletes(5, first=10, partition=1)) == []
    assert len(other.held_back(deletes(1, first=20, partition=1))) == 1


def test_a_pause_ends_when_nothing_is_held_any_more() -> None:
    """Everything that waited was discarded, or undone by the users themselves: deletes are counted again."""
    it = guard()
    it.held_back(deletes(11))
    it.resume(OBJECT)
    assert it.held_back(deletes(3, first=20)) == []
    assert it.entries({(OBJECT, 0): 2})[f"guard/{OBJECT}/0"]["paused"] is False


def test_what_is_kept_is_small_however_many_are_deleted() -> None:
    """Sixty buckets a window, and nothing of older windows."""
    it = guard(deletes_max=100_000)
    for number in range(5_000):
        it.held_back(deletes(1, first=number, at=NOW + number * 1000, partition=0))
    assert len(it.entries({})[f"guard/{OBJECT}/0"]["counts"]) <= 61


def test_an_approval_outlives_that_partitions_come_in_steps() -> None:
    """Heard at the start; at first we own another object's partitions only, and this one's a rebalance later."""
    it = guard()
    it.approve(OBJECT, [50, 50], is_new=False)
    it.own([("Contact", 0)], {}, partitions=2)
    it.own([("Contact", 0), (OBJECT, 0), (OBJECT, 1)], {}, partitions=2)
    assert it.held_back(deletes(40)) == []


def test_what_an_object_counted_before_it_left_is_not_told_by_us() -> None:
    """Its partitions are another's now; that there was something to tell troubles nobody."""
    it = guard()
    it.held_back(deletes(3))
    it.own([("Contact", 0)], {}, partitions=2)
    assert it.entries({}) == {}


def test_the_loop_goes_on_while_the_records_are_counted() -> None:
    """To count may take minutes; whoever else asks the guard meanwhile is answered (case S13)."""
    counting, go_on = threading.Event(), threading.Event()

    def size(_: str) -> int:
        counting.set()
        assert go_on.wait(30)
        return 1000

    it = guard(size=size)
    held: list[Delete] = []
    putter = threading.Thread(target=lambda: held.extend(it.held_back(deletes(4))), daemon=True)
    putter.start()
    assert counting.wait(30)

    def ask() -> None:
        assert it.paused == frozenset()
        it.entries({})
        it.approve(OBJECT, [0], is_new=True)

    loop = threading.Thread(target=ask, daemon=True)
    loop.start()
    loop.join(10)
    assert not loop.is_alive(), "the loop is not held up"
    go_on.set()
    putter.join(10)
    assert held == []


def test_deletes_of_two_putters_are_counted_together_while_one_of_them_counts_the_records() -> None:
    """What another putter lets go in between counts, too: five of forty records are more than a tenth."""
    others: list[Delete] = deletes(2, first=10)

    def size(_: str) -> int:
        while others:
            assert it.held_back([others.pop()]) == []
        return 34

    it = guard(size=size)
    assert len(it.held_back(deletes(4))) == 4
