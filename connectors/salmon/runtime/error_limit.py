"""
When to stop setting records aside.

A few records that cannot be processed are the records' fault, and wait in the dead letter queue. If nearly all fail, something else is
wrong: a rule of the org, a schema, a release. Then nothing more is set aside. A sink tries single records, until what was wrong is
gone; a source and merge restart, and read the same records again. Pure, but for a lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Final, Self

ENTRY: Final = (
    "limit"  # of a connector, in `offsets`: what was counted, so that a restart does not begin at 0
)
_ENOUGH: Final = 64  # so many records in a row that are processed show that the cause is gone


@dataclass(slots=True)
class Tolerance:
    """
    What is tolerated of records that fail. All that count share one, so that a change of the settings counts at once.

    Args:
        tolerates: False: not one is set aside.
        consecutive: Most failures with no success between them; 0: no limit.
        ratio: Most failures, as a share of the last records; 1: no limit.
        window: How many records those are, at least.
        retry_timeout_s: How long a record is tried again before it has failed for good; None: without end.
        retry_delay_max_s: The longest wait between two tries of a record.
    """

    tolerates: bool = True
    consecutive: int = 1_000
    ratio: float = 0.5
    window: int = 2_000
    retry_timeout_s: float | None = None
    retry_delay_max_s: float = 60.0

    def take(self, other: Tolerance) -> None:
        """Tolerate from now on what *other* does. From any thread."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted: failures in a row; successes and failures in this window and in the one before."""

    consecutive: int = 0
    good: int = 0
    failed: int = 0
    good_before: int = 0
    failed_before: int = 0

    def after(self, good: int, failed: int, *, window: int) -> Counts:
        """Count one batch more. Within a batch the order is not known: one success ends the failures in a row."""
        base = self
        if self.good + self.failed >= window:
            base = replace(self, good=0, failed=0, good_before=self.good, failed_before=self.failed)
        consecutive = 0 if good else base.consecutive + failed
        return replace(base, consecutive=consecutive, good=base.good + good, failed=base.failed + failed)

    def position(self) -> Mapping[str, Any] | None:
        """The entry in `offsets`; None if there was no failure lately."""
        if not (self.consecutive or self.failed or self.failed_before):
            return None
        return {
            "consecutive": self.consecutive,
            "window": [self.good, self.failed],
            "before": [self.good_before, self.failed_before],
        }

    @classmethod
    def of(cls, position: Mapping[str, Any] | None) -> Self:
        """The inverse of position()."""
        if position is None:
            return cls()
        return cls(position["consecutive"], *position["window"], *position["before"])

    @property
    def failures(self) -> tuple[int, int, int]:
        return self.consecutive, self.failed, self.failed_before


class ErrorLimit:
    """Counts, and decides whether what fails may be set aside. Any thread may use it."""

    def __init__(self, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self._lock = Lock()
        self._counts = self._saved = Counts()
        self._trial = 0  # how many records may be tried at once; 0: not stopped
        self._passed = 0  # of these, how many in a row were processed
        self._why = ""
        # When it stopped: by which settings, and what was counted. Others may allow it.
        self._stopped_by, self._too_many = replace(tolerance), Counts()

    def restore(self, position: Mapping[str, Any] | None) -> None:
        """Go on with what was counted before a restart."""
        with self._lock:
            self._counts = self._saved = Counts.of(position)

    def allows(self, good: int, failed: int) -> bool:
        """
        Whether the failed records of a batch may be set aside. If not, they must be tried again.

        Args:
            good: How many records of the batch were processed.
        """
        with self._lock:
            if self._trial and self._is_allowed_now():
                self._trial, self._passed, self._why = 0, 0, ""
            if self._trial:
                return self._tried(good, failed)
            counts = self._counts.after(good, failed, window=self.tolerance.window)
            if failed and (why := self._exceeded(counts)):
                self._trial, self._passed, self._why = 1, 0, why
                self._stopped_by, self._too_many = replace(self.tolerance), counts
                return False
            self._counts = counts
            return True

    def nothing_left(self) -> bool:
        """No record waits any more. Returns whether that ends a stop: what was tried last was processed, and so were all others."""
        with self._lock:
            if ends := bool(self._trial and self._passed):
                self._go_on()
            return ends

    def at_most(self, count: int) -> int:
        """How many of *count* records may be tried at once."""
        return min(count, self._trial) if self._trial else count

    @property
    def stopped(self) -> bool:
        return bool(self._trial)

    @property
    def why(self) -> str:
        """Why nothing more is set aside, and what to do, in sentences."""
        return (
            f"{self._why} So it is not the records alone, and nothing more goes to the dead letter queue: they wait, and are tried again. "
            f"`salmon dlq list` shows why the last ones failed. Remove the cause. If they are to be set aside all the same, set "
            f"errors.limit.consecutive or errors.limit.ratio higher, or errors.tolerance to all, and send SIGHUP."
        )

    @property
    def counts(self) -> Counts:
        return self._counts

    def recount(self, counts: Counts) -> None:
        """Forget what was counted since *counts*: those records are processed once more."""
        with self._lock:
            self._counts = counts

    # What outlives a restart.

    def unsaved(self) -> Counts | None:
        """What is to be stored; None if no failure was counted, or forgotten, since saved()."""
        return self._counts if self._counts.failures != self._saved.failures else None

    def saved(self, counts: Counts) -> None:
        """*counts* are stored."""
        self._saved = counts

    def _tried(self, good: int, failed: int) -> bool:
        if failed:
            self._trial, self._passed = 1, 0
            return False
        self._passed += good
        if self._passed >= _ENOUGH:
            self._go_on()
        elif good:
            self._trial = min(self._trial * 2, _ENOUGH)
        return True

    def _is_allowed_now(self) -> bool:
        """Whether the settings have been changed since the stop, and allow what was too much then."""
        return self._stopped_by != self.tolerance and not self._exceeded(self._too_many)

    def _go_on(self) -> None:
        self._trial, self._passed, self._why, self._counts = 0, 0, "", Counts()

    def _exceeded(self, counts: Counts) -> str:
        tolerance = self.tolerance
        if not tolerance.tolerates:
            return "A record cannot be processed, and errors.tolerance is none."
        if tolerance.consecutive and counts.consecutive > tolerance.consecutive:
            return f"More than {tolerance.consecutive:,} records in a row could not be processed."
        failed = counts.failed + counts.failed_before
        total = failed + counts.good + counts.good_before
        if tolerance.ratio < 1 and total >= tolerance.window and failed > tolerance.ratio * total:
            return f"More than {tolerance.ratio:.0%} of the last {total:,} records could not be processed."
        return ""
