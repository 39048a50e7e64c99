"""Calls at the same time: which records may be in which, how many there are, and what an error does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salmon.calls import Calls, Peer
from salmon.errors import Unavailable
from salmon.salesforce.wire.rest import COLLECTION_ROWS
from salmon.salesforce.writing.lanes import Lanes, divided

_MAX_S = 30.0


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(4)


TOUCHED = st.lists(st.lists(st.integers(0, 300), max_size=3), max_size=900)


@given(TOUCHED, st.integers(1, 8))
def test_no_two_lanes_touch_the_same_record(touched: list[list[int]], width: int) -> None:
    """Each record is in one lane, in order; the lanes have no record and no parent in common, and are no more than allowed."""
    lanes = divided(touched, width)
    assert sorted(chain(*lanes)) == list(range(len(touched)))
    assert all(lane == sorted(lane) for lane in lanes)
    assert len(lanes) <= width
    things = [{thing for place in lane for thing in touched[place]} for lane in lanes]
    assert sum(map(len, things)) == len(set().union(*things))


@pytest.mark.parametrize("rows", [1, 200, 201, 999, 1000])
def test_lanes_cost_no_more_calls_than_one_would(rows: int) -> None:
    """Calls count: they are full, where nothing keeps records together."""
    lanes = divided([[]] * rows, 5)
    assert sum(-(-len(lane) // COLLECTION_ROWS) for lane in lanes) == -(-rows // COLLECTION_ROWS)


def test_families_cost_one_more_call_at_most() -> None:
    """Three contacts of each account: what does not fit into full calls shares one."""
    lanes = divided([[place // 3] for place in range(999)], 5)
    assert sum(-(-len(lane) // COLLECTION_ROWS) for lane in lanes) <= 6
    assert len(lanes) == 5


def test_the_children_of_one_parent_go_one_call_after_the_other() -> None:
    """They would wait for each other in the org, and some be refused."""
    assert [len(lane) for lane in divided([["the parent"]] * 1000, 5)] == [1000]


def test_calls_of_different_lanes_are_under_way_at_the_same_time(lanes: Lanes) -> None:
    """Each of them waits until the other is there, too."""
    both = threading.Barrier(2, timeout=_MAX_S)

    def call(name: str) -> Callable[[], str]:
        return lambda: f"{name}{both.wait() * 0}"

    assert lanes.along([[call("a"), call("b")], [call("c"), call("d")]]) == [["a0", "b0"], ["c0", "d0"]]


def test_who_waits_for_the_lanes_does_not_hang(lanes: Lanes) -> None:
    """An org that takes a minute for each of several calls is waited for, as for one; the watchdog must not end the process."""
    calls, waiting = Calls(), threading.get_ident()

    def call() -> float:
        with calls.calling(Peer.SALESFORCE, "PATCH /composite/sobjects"):
            return calls.attended(waiting)

    assert min(chain(*lanes.along([[call], [call]]))) > 0


def test_an_error_is_raised_when_no_call_is_under_way_any_more(lanes: Lanes) -> None:
    """Older writes must not come after newer ones; what was not begun is not begun any more."""
    both, failed = threading.Barrier(2, timeout=_MAX_S), threading.Event()
    done: list[str] = []

    def fails() -> None:
        both.wait()
        failed.set()
        raise Unavailable("no answer")

    def slow() -> None:
        both.wait()
        assert failed.wait(_MAX_S)
        done.append("the call that was under way")

    def never() -> None:
        done.append("a call that was not")

    with pytest.raises(Unavailable):
        lanes.along([[fails, never], [slow]])
    assert done == ["the call that was under way"]


def test_nobody_but_the_caller_waits_for_a_call_that_gets_no_answer(lanes: Lanes) -> None:
    """An org that hangs does not hold up the end of the process: the threads are none that the interpreter joins."""
    under_way, answered = threading.Barrier(3, timeout=_MAX_S), threading.Event()

    def hangs() -> bool:
        under_way.wait()
        return answered.wait(_MAX_S)

    caller = threading.Thread(target=lambda: lanes.along([[hangs], [hangs]]), daemon=True)
    caller.start()
    under_way.wait()
    threads = [each for each in threading.enumerate() if each.name.startswith("salesforce-write")]
    assert [each.daemon for each in threads] == [True, True]
    answered.set()
    caller.join(_MAX_S)
    assert not any(each.is_alive() for each in threads), "and none is left behind"


def test_locks_halve_the_calls_at_once_and_calm_brings_them_back(lanes: Lanes) -> None:
    """A trigger may lock more than we can know."""
    widths: list[int] = []
    for locks in chain([True] * 3, [False] * 60):
        lanes.met(locks=locks)
        widths.append(lanes.width)
    assert widths[:3] == [2, 1, 1]
    assert widths[-1] == 4
    assert lanes.batch_max == 4 * COLLECTION_ROWS
