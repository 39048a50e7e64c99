"""
How long a sink waits for a unique value that another record still has.

A value belongs to the other record for good only if no write has been owed to that record for a while: merge may not have
processed the change that frees it yet. As long as a write is owed to it, nothing is refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from salmon.backoff import Backoff
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord

FINAL_AFTER_S: Final = 5.0
_AGAIN: Final = Backoff(first_s=0.1, max_s=5.0)
_CLASHES_MAX: Final = 10_000


def nothing_owed(_object: str, _key: str) -> None:
    """Where nobody has said how to look it up."""


class Clashes:
    """
    Safe between threads that have no record in common.

    Args:
        code: The side's error code of a unique value.
        final_after_s: How long nothing must be owed to the record that holds the value, before it is refused.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, code: str, clock: Callable[[], float], *, final_after_s: float = FINAL_AFTER_S
    ) -> None:
        self._code, self._final_after_s, self._clock = code, final_after_s, clock
        # Record -> seq of its write, how often it was kept away, and since when nothing is owed to the holder.
        self._of: OrderedDict[tuple[str, str], tuple[int, int, float | None]] = OrderedDict()

    def judged(self, record: SinkRecord, outcome: Outcome) -> Outcome:
        """The outcome, and when to put again what a unique value keeps away; final only after a while."""
        seq, tries, since = self._of.pop(record.id, (record.write.seq, 0, None))
        if outcome.code != self._code:
            return outcome
        if seq != record.write.seq:
            tries, since = 0, None
        now = self._clock()
        if outcome.kind is OutcomeKind.REFUSED:
            since = now if since is None else since
            if now - since >= self._final_after_s:
                return outcome
        else:
            since = None
        self._of[record.id] = record.write.seq, tries + 1, since
        if len(self._of) > _CLASHES_MAX:
            self._of.popitem(last=False)
        return replace(outcome, kind=OutcomeKind.RETRY_LATER, again_s=_AGAIN.bound_s(tries + 1))
