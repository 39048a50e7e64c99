"""
Calls that fail as a whole in a trigger or flow, though most or all of their records would pass in smaller calls.

A trigger that was not made for many records at a time exceeds a limit of Apex, and one that throws at a single record takes
all others of the call with it. So the records that failed are sent again by halves, before any of them is refused. Nothing
of them was carried out: Salesforce has rolled them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from salmon.salesforce.wire.codes import WRAPPERS, Verdict, verdict_of
from salmon.salesforce.wire.rest import RowResult

# Enough to find one bad record among 200, or to come down to calls of 25. A trigger that fails for good costs no more.
_CALLS_MAX: Final = 16


class SmallerCalls:
    """Those of one batch. Made for it, used once."""

    def __init__(self) -> None:
        self._left = _CALLS_MAX

    def settled(
        self,
        bodies: Sequence[Any],
        results: Sequence[RowResult],
        send: Callable[[Sequence[Any]], Sequence[RowResult]],
    ) -> Sequence[RowResult]:
        """The results; those of a trigger's failure from smaller calls. *send* asks here again in turn."""
        failed = [index for index, result in enumerate(results) if _of_a_trigger(result)]
        if len(failed) < 2 or self._left < 2:
            return results
        self._left -= 2
        settled = list(results)
        middle = len(failed) // 2
        for half in (failed[:middle], failed[middle:]):
            for index, result in zip(half, send([bodies[index] for index in half]), strict=True):
                settled[index] = result
        return settled


def _of_a_trigger(result: RowResult) -> bool:
    """Whether a trigger or flow failed, and not because a row was locked."""
    return any(
        error.code in WRAPPERS and verdict_of(error.code, error.message) is Verdict.NEVER
        for error in result.errors
    )
