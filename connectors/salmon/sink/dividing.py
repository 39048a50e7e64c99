"""
One record that makes a whole call fail, though it says nothing about the record, must not hold up all others.

A trigger, or a proxy that dislikes a value, may answer a call of 200 records with an error for the whole call. It looks the
same as an outage. So a batch that keeps failing is tried with single records. If one of them is carried out, the side works:
the batch is divided into halves until each record that fails is found. Such a record is sent alone from then on, after all
others, and is DEFERRED if it fails alone again and again while others are carried out. It is never refused: it may be an
outage after all.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from salmon.errors import Unavailable
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.commands import Key

log = structlog.get_logger(__name__)

CALL_FAILED: Final = "CALL_FAILED"  # ours: the side has no word for it
# What fails more briefly is an outage, or an error that has passed.
TRIES_MIN: Final = 3
FAILING_MIN_S: Final = 10.0
_SAMPLES: Final = 3  # single records that are tried to see whether the side carries out anything
_PUTS_MAX: Final = 24  # for one batch: enough to find two records among 1,000
_ALONE_MAX: Final = 5  # suspects that are tried in one batch, each in a call of its own
_FAILURES_MIN: Final = 3  # alone, until a record is deferred
_AGAIN_S: Final = 60.0
_SUSPECTS_MAX: Final = 1_000
_WORKED_WITHIN_S: Final = (
    60.0  # if nothing was carried out for longer, it is an outage and not a record's fault
)

_NOT_TRIED: Final = Outcome(
    OutcomeKind.RETRY_LATER, code=CALL_FAILED, reason="Too many records fail alone to try all of them now."
)


class Puts(Protocol):
    """What is asked of a sink task."""

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]: ...


@dataclass(slots=True)
class _Streak:
    """Failures of a record in a row: of batches with it, or alone."""

    since_s: float
    last_s: float
    failures: int = 0


class Dividing:
    """
    Puts batches of a sink task. Threads may share it, as long as no key is in two calls.

    Args:
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, task: Puts, *, rng: random.Random, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._task, self._rng, self._clock = task, rng, clock
        self._lock = threading.Lock()
        self._worked_s = -math.inf  # when something was last carried out
        self._failing: dict[Key, _Streak] = {}  # with others
        self._suspects: OrderedDict[Key, _Streak] = OrderedDict()  # alone

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        """
        Put *records*, and return one outcome for each, in their order.

        Raises as the task does; Unavailable only if nothing shows that it is the fault of single records.
        """
        outcomes: dict[Key, Outcome] = {}
        suspects = [record for record in records if record.id in self._suspects]
        others = [record for record in records if record.id not in self._suspects]
        if others:
            began_s = self._worked_s
            try:
                self._carry_out(others, outcomes)
            except Unavailable as error:
                lasts, last_s = self._failed(others)
                if not lasts:
                    raise
                self._divide(others, error, outcomes, is_side_up=began_s > last_s)
        self._try_suspects(suspects, outcomes)
        return [outcomes[record.id] for record in records]

    def _carry_out(self, records: Sequence[SinkRecord], outcomes: dict[Key, Outcome]) -> None:
        for record, outcome in zip(records, self._task.put(records), strict=True):
            outcomes[record.id] = outcome
        self._worked_s = self._clock()
        with self._lock:
            for record in records:
                self._failing.pop(record.id, None)
                self._suspects.pop(record.id, None)

    def _fails(self, records: Sequence[SinkRecord], outcomes: dict[Key, Outcome]) -> Unavailable | None:
        try:
            self._carry_out(records, outcomes)
        except Unavailable as error:
            return error
        return None

    def _failed(self, records: Sequence[SinkRecord]) -> tuple[bool, float]:
        """
        Count a batch that failed. Returns whether batches with one of these records have failed for so long that it may be
        a record's fault, and when the last of them failed.
        """
        now_s = self._clock()
        with self._lock:
            streaks = [self._failing.setdefault(record.id, _Streak(now_s, now_s)) for record in records]
            last_s = max(streak.last_s for streak in streaks)
            for streak in streaks:
                streak.failures, streak.last_s = streak.failures + 1, now_s
            lasts = any(
                streak.failures >= TRIES_MIN and now_s - streak.since_s >= FAILING_MIN_S for streak in streaks
            )
        return lasts, last_s

    def _divide(
        self,
        records: Sequence[SinkRecord],
        error: Unavailable,
        outcomes: dict[Key, Outcome],
        *,
        is_side_up: bool,
    ) -> None:
        """
        Find the records at fault. What is not decided within a number of calls is to be tried again.

        Args:
            error: What the batch failed with. It is raised if not even a single record is carried out: that is an outage.
            is_side_up: Whether other batches were carried out meanwhile.
        """
        failed: dict[Key, tuple[SinkRecord, Unavailable]] = {}
        for record in self._rng.sample(records, min(_SAMPLES, len(records))) if len(records) > 1 else ():
            if (trouble := self._fails([record], outcomes)) is None:
                break
            failed[record.id] = record, trouble
        if not outcomes and not is_side_up:
            raise error
        log.warning("batch_divided", records=len(records), reason=str(error))
        rest = [record for record in records if record.id not in outcomes.keys() | failed.keys()]
        parts, puts = [rest] if rest else [], 0
        while parts and puts < _PUTS_MAX:
            part, puts = parts.pop(), puts + 1
            if (trouble := self._fails(part, outcomes)) is None:
                continue
            if len(part) == 1:
                failed[part[0].id] = part[0], trouble
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
        for key, (record, trouble) in failed.items():
            log.warning("record_fails_alone", object=record.object, key=record.key)
            outcomes[key] = self._outcome(record, trouble)
        outcomes |= {record.id: _later(error) for part in parts for record in part}

    def _try_suspects(self, records: Sequence[SinkRecord], outcomes: dict[Key, Outcome]) -> None:
        """Put each alone, after the others; if they are many, the rest of them next time."""
        for record in records[:_ALONE_MAX]:
            if (trouble := self._fails([record], outcomes)) is None:
                continue
            if self._clock() - self._worked_s > _WORKED_WITHIN_S:
                raise trouble
            outcomes[record.id] = self._outcome(record, trouble)
        outcomes |= dict.fromkeys((record.id for record in records[_ALONE_MAX:]), _NOT_TRIED)

    def _outcome(self, record: SinkRecord, trouble: Unavailable) -> Outcome:
        """Count a failure of a record alone. Returns what becomes of its write for now."""
        now_s = self._clock()
        with self._lock:
            streak = self._suspects.setdefault(record.id, _Streak(now_s, now_s))
            streak.failures, streak.last_s = streak.failures + 1, now_s
            failures = streak.failures
            while len(self._suspects) > _SUSPECTS_MAX:
                self._suspects.popitem(last=False)
        if failures < _FAILURES_MIN:
            return _later(trouble)
        reason = (
            f"each call with this record fails, while other records are written: {str(trouble).rstrip('.')}"
        )
        return Outcome(OutcomeKind.DEFERRED, code=CALL_FAILED, reason=reason, again_s=_AGAIN_S)


def _later(error: Unavailable) -> Outcome:
    return Outcome(OutcomeKind.RETRY_LATER, code=CALL_FAILED, reason=str(error))
