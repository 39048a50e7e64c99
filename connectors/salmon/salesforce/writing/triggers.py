"""
Calls that fail as a whole in a trigger or flow, though most or all of their records would pass in smaller calls.

A trigger that was not made for many records at a time exceeds a limit of Apex, and one that throws at a single record takes
all others of the call with it. So the records that failed are sent again by halves, and none is refused before it has failed
alone. Nothing of them was carried out: Salesforce has rolled them back.

The calls for this are bounded: for each call that failed, for each batch, and by the hour. What has only failed in company when
they end is tried again later, apart from all others, and with fewer records than before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from salmon.plugin.contract import Outcome, OutcomeKind
from salmon.salesforce.wire.codes import ROLLED_BACK, WRAPPERS, Verdict, verdict_of
from salmon.salesforce.wire.rest import RowError, RowResult
from salmon.salesforce.writing.outcomes import AGAIN_S
from salmon.salesforce.writing.references import RecordId

# Enough to find one bad record among 200, or to come down to calls of 25.
_CALLS_MAX: Final = 16
_APART_MAX: Final = 32  # in one batch, for the records that have failed in company before
# A trigger that fails for good should not use up the day's allowance as well.
_CALLS_AN_HOUR_MAX: Final = 2_000
_HOUR_S: Final = 3_600.0
_SUSPECTS_MAX: Final = 20_000  # to forget one costs calls

# Of a record that has failed in company only.
IN_COMPANY: Final = RowResult(False, None, (RowError(ROLLED_BACK),))


class Allowance:
    """How many calls may still be made for one purpose. They count for the hour, too."""

    def __init__(self, calls: SmallerCalls, left: int) -> None:
        self._calls, self._left = calls, left

    def take(self) -> bool:
        """Whether one more call may be made."""
        if not self._left or not self._calls.count():
            return False
        self._left -= 1
        return True


class SmallerCalls:
    """
    What a sink knows, from batch to batch, of records that have failed in company. For one thread.

    Args:
        clock: Seconds that only ever grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._suspects: OrderedDict[RecordId, int] = (
            OrderedDict()
        )  # -> how many records its next call may have
        self._hour_began_s, self._made = clock(), 0

    def for_a_call(self) -> Allowance:
        return Allowance(self, _CALLS_MAX)

    def for_suspects(self) -> Allowance:
        """For all of one batch."""
        return Allowance(self, _APART_MAX)

    def count(self) -> bool:
        """Count a call. Returns False, and counts none, if no more may be made in this hour."""
        if self._used_up:
            return False
        self._made += 1
        return True

    def apart(self, ids: Sequence[RecordId]) -> list[list[int]]:
        """The places of the suspects among *ids*, as they may be together in a call; first those that may have the least company."""
        places = [place for place, each in enumerate(ids) if each in self._suspects]
        groups: list[list[int]] = []
        room = 0
        for place in sorted(places, key=lambda place: self._suspects[ids[place]]):
            if not room:
                room = self._suspects[ids[place]]
                groups.append([])
            groups[-1].append(place)
            room -= 1
        return groups

    def settled(
        self,
        ids: Sequence[RecordId],
        results: Sequence[RowResult],
        send: Callable[[Sequence[int]], Sequence[RowResult]],
        allowance: Allowance,
    ) -> list[RowResult]:
        """
        The results of a call; those of a trigger's failure from smaller calls.

        Args:
            ids: Of the call's records.
            send: Sends the records at these places once more.
        """
        settled = list(results)
        todo = _halves(_failed(range(len(ids)), results))
        while todo and allowance.take():
            part = todo.pop()
            answers = send(part)
            for place, answer in zip(part, answers, strict=True):
                settled[place] = answer
            todo += _halves(_failed(part, answers))
        for each in ids:
            self._suspects.pop(each, None)
        for part in todo:
            for place in part:
                settled[place] = IN_COMPANY
                self._suspects[ids[place]] = len(part)
        while len(self._suspects) > _SUSPECTS_MAX:
            self._suspects.popitem(last=False)
        return settled

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome of a write; where it has failed in company only, and the hour's calls are used up, it waits aside."""
        if outcome.kind is not OutcomeKind.RETRY_LATER or outcome.code != ROLLED_BACK or not self._used_up:
            return outcome
        reason = (
            "a trigger or flow fails for calls with this record and others, and the calls of this hour that look for the record "
            "at which it fails are used up. See the emails that Salesforce sends about Apex and flow errors."
        )
        return Outcome(OutcomeKind.DEFERRED, code=outcome.code, reason=reason, again_s=AGAIN_S)

    @property
    def _used_up(self) -> bool:
        now_s = self._clock()
        if now_s - self._hour_began_s >= _HOUR_S:
            self._hour_began_s, self._made = now_s, 0
        return self._made >= _CALLS_AN_HOUR_MAX


def _failed(places: Sequence[int], results: Sequence[RowResult]) -> list[int]:
    return [place for place, result in zip(places, results, strict=True) if _of_a_trigger(result)]


def _halves(places: list[int]) -> list[list[int]]:
    """Of two or more records that have failed together; the first half is the last, which is sent first."""
    middle = len(places) // 2
    return [places[middle:], places[:middle]] if middle else []


def _of_a_trigger(result: RowResult) -> bool:
    """Whether a trigger or flow failed, and not because a row was locked."""
    return any(
        error.code in WRAPPERS and verdict_of(error.code, error.message) is Verdict.NEVER
        for error in result.errors
    )
