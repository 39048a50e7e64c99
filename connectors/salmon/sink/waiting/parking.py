"""
Writes that a side cannot take now, while it takes others: since when each is tried, and which have been tried for long enough.

A parked write holds up only later writes of its own record. If no other write was carried out meanwhile, the side may be in trouble
as a whole, and then nothing is given up. Pure; the putters' threads share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord, WaitingObject

GIVEN_UP: Final = "RETRY_TIMEOUT"
_SHOWN_AFTER_S: Final = 60.0  # what is over sooner is no news for people


@dataclass(frozen=True, slots=True)
class _Parked:
    seq: int
    since: float
    code: str


class Parking:
    """
    Args:
        timeout_s: How long a write is tried; None: without end. It may be changed meanwhile.
        clock: In seconds; one that also counts while the machine is suspended.
    """

    def __init__(self, timeout_s: float | None, clock: Callable[[], float]) -> None:
        self.timeout_s, self._clock = timeout_s, clock
        self._lock = Lock()
        self._parked: dict[tuple[str, str], _Parked] = {}
        self._applied_at = float("-inf")

    def judged(self, record: SinkRecord, outcome: Outcome) -> Outcome:
        """Note the outcome of a write, and return it; a refusal in its place if the write has been tried for long enough."""
        key, now = record.id, self._clock()
        with self._lock:
            if outcome.kind is not OutcomeKind.RETRY_LATER:
                self._parked.pop(key, None)
                if outcome.kind is OutcomeKind.APPLIED:
                    self._applied_at = now
                return outcome
            parked = self._parked.get(key)
            if parked is None or parked.seq != record.write.seq:
                parked = _Parked(record.write.seq, now, outcome.code)
            self._parked[key] = replace(parked, code=outcome.code)
            waited_s = now - parked.since
            timeout_s = self.timeout_s
            if timeout_s is None or waited_s < timeout_s or self._applied_at <= parked.since:
                return outcome
            del self._parked[key]
        reason = (
            f"it was tried for {waited_s:.0f} s (errors.retry.timeout); last {outcome.code}: {outcome.reason}"
        )
        return Outcome(OutcomeKind.REFUSED, outcome.fields, GIVEN_UP, reason, outcome.native_id)

    def forget(self, key: tuple[str, str]) -> None:
        """The record's writes are another instance's now, or none is owed any more."""
        with self._lock:
            self._parked.pop(key, None)

    def records(self) -> tuple[tuple[str, str], ...]:
        """The records of the parked writes: object and key."""
        with self._lock:
            return tuple(self._parked)

    @property
    def oldest_s(self) -> float:
        """For how long the oldest of them has been tried; 0 if there is none."""
        with self._lock:
            return max((self._clock() - each.since for each in self._parked.values()), default=0.0)

    def waiting(self, side: str) -> list[WaitingObject]:
        """One sentence for each object whose writes have waited for some time."""
        now = self._clock()
        with self._lock:
            objects: dict[str, list[_Parked]] = {}
            for (name, _), each in self._parked.items():
                objects.setdefault(name, []).append(each)
        found = []
        for name, parked in sorted(objects.items()):
            since_s = now - min(each.since for each in parked)
            if since_s >= _SHOWN_AFTER_S:
                codes = ", ".join(sorted({each.code for each in parked} - {""}))
                writes = f"{len(parked):,} {'write waits' if len(parked) == 1 else 'writes wait'}"
                sentence = (
                    f"{name}: {writes} for the next try, because {side} could not take "
                    f"{'it' if len(parked) == 1 else 'them'} yet{f' ({codes})' if codes else ''}. All other records go on."
                )
                found.append(WaitingObject(name, since_s, sentence))
        return found
