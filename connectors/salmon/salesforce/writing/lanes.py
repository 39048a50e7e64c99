"""
Several Collections calls at the same time, none of which touches a record that another one touches.

At 200 ms a call, one call after the other carries 1,000 records a second at most. But an org locks a record, and the parents that
it refers to, until the call's transaction ends, and refuses others that wait for longer (UNABLE_TO_LOCK_ROW). So the records of a
batch are divided into lanes: those that share a record or a parent are in one lane, whose calls come one after the other. Triggers
may lock more than that. So where locks are met nevertheless, fewer lanes are used, and slowly more again when none are met.
Source: Apex Developer Guide, "Locking Statements"; "Record Locking Cheat Sheet" (which parents a write locks).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Final, TypeVar

import structlog

from salmon.calls import on_behalf_of
from salmon.salesforce.wire.rest import COLLECTION_ROWS

log = structlog.get_logger(__name__)
T = TypeVar("T")

_CALM: Final = 20  # batches without a lock, until one more lane is tried


class Lanes:
    """
    How many lanes there are now. For one putting thread; `batch_max` from any.

    Args:
        most: The most calls at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = self._width = most
        self._calm = 0

    @property
    def width(self) -> int:
        """The most calls at the same time, by the locks that were met lately."""
        return self._width

    @property
    def batch_max(self) -> int:
        """As many records as fill all lanes once."""
        return COLLECTION_ROWS * self._width

    def met(self, *, locks: bool) -> None:
        """A batch is carried out; *locks*: whether the org refused a record of it because of one."""
        if locks and self._width > 1:
            self._width, self._calm = max(1, self._width // 2), 0
            log.info("fewer_calls_at_once", calls=self._width, why="row locks")
        elif not locks and self._width < self._most:
            self._calm += 1
            if self._calm >= _CALM:
                self._width, self._calm = self._width + 1, 0

    def along(self, lanes: Sequence[Sequence[Callable[[], T]]]) -> list[list[T]]:
        """
        Make the calls of each lane one after the other, and all lanes at the same time. Returns what they gave.

        The process can end while a call is under way: nobody but the caller waits for it.

        Raises the first error, when no call is under way any more; lanes end at their next call then.
        """
        if len(lanes) == 1:
            return [[call() for call in lanes[0]]]
        given: list[list[T]] = [[] for _ in lanes]
        errors: list[BaseException] = []
        waiting = threading.get_ident()

        def go(calls: Sequence[Callable[[], T]], answers: list[T]) -> None:
            with on_behalf_of(waiting):
                go_on(calls, answers)

        def go_on(calls: Sequence[Callable[[], T]], answers: list[T]) -> None:
            for call in calls:
                if errors:
                    break
                try:
                    answers.append(call())
                except BaseException as error:  # noqa: BLE001 - raised again by the caller
                    errors.append(error)

        # Not a pool: the interpreter would wait for its threads, and for what they wait for, before it ends.
        threads = [
            threading.Thread(target=go, args=each, name=f"salesforce-write-{number}", daemon=True)
            for number, each in enumerate(zip(lanes, given, strict=True))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return given


def divided(touched: Sequence[Sequence[Hashable]], width: int) -> list[list[int]]:
    """
    Divide records into lanes, by their places in *touched*: for each record, what it touches.

    Records that touch the same are in one lane, in their order. There are *width* lanes at most, and no more than there are full
    calls, because each call counts.
    """
    lanes: list[list[int]] = [[] for _ in range(min(width, -(-len(touched) // COLLECTION_ROWS)))]
    if len(lanes) < 2:
        return [list(range(len(touched)))] if touched else []
    for group in sorted(_related(touched), key=len, reverse=True):
        with_room = [lane for lane in lanes if _room(lane) >= len(group)]
        lane = min(with_room, key=_room) if with_room else min(lanes, key=len)
        lane.extend(group)
    return [sorted(lane) for lane in lanes if lane]


def _room(lane: Sequence[int]) -> int:
    """For how many more there is room without one more call; an empty lane has its first."""
    return COLLECTION_ROWS if not lane else -len(lane) % COLLECTION_ROWS


def _related(touched: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """The places of records that touch the same, directly or by way of others, together."""
    leader = list(range(len(touched)))

    def leader_of(place: int) -> int:
        while leader[place] != place:
            leader[place] = place = leader[leader[place]]
        return place

    first: dict[Hashable, int] = {}
    for place, things in enumerate(touched):
        for thing in things:
            leader[leader_of(place)] = leader_of(first.setdefault(thing, place))
    groups: dict[int, list[int]] = {}
    for place in range(len(touched)):
        groups.setdefault(leader_of(place), []).append(place)
    return list(groups.values())
