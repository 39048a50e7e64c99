"""
What Salmon may use of an allowance that the org counts over 24 hours: API calls, or event deliveries.

Who is about to use some asks first. The less is left, the more waits, and edits wait last:

    left of the budget   refreshed fields, comparisons   first loads, polls, asked readings   edits, and what they wait for
    half and more        go on                           go on                                go on
    less than half       are spread                      are spread                           go on
    less than a fifth    stand still                     are spread                           go on
    less than a tenth    stand still                     stand still                          are spread
    nothing              stand still                     stand still                          stand still

Spread means: as fast as can go on for 24 hours without using up the budget. That is known exactly, because the org's window rolls:
what was used 23 hours ago is free again in an hour. So who uses it is noted by quarters of an hour, by this process and, as they
report it, by the other processes of the sync. What everybody else uses, the org says with each answer.
Sources: REST API Developer Guide, "Limit Info Header", "Limits"; "API Request Limits and Allocations" (a rolling 24 hours).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

from salmon.errors import RateLimited
from salmon.plugin.contract import BudgetState, WaitingObject
from salmon.salesforce.config import Budget as Terms
from salmon.salesforce.config import SalesforceConfig

SLOT_S: Final = 900
DAY_S: Final = 86_400
_SLOTS: Final = DAY_S // SLOT_S
# While others have used up what there was, one call in so long sees whether that is over.
LOOK_AGAIN_S: Final = 300.0
NAP_MAX_S: Final = 5.0  # of an edit that is spread: a stop is heard between two calls
_FORECAST_FROM_S: Final = 3600.0  # by what was used in the last hour
_FORECAST_LEAST_S: Final = 300.0
_SAMPLE_EVERY_S: Final = 60.0


class Urgency(IntEnum):
    """How long something can wait."""

    SPARE = 0  # refreshed fields, comparisons: tomorrow is soon enough
    LATER = 1  # first loads, polls, readings that somebody has asked for
    NOW = 2  # edits, and what they wait for


class Level(IntEnum):
    """How much is left of a budget."""

    FREE = 0
    HALF = 1
    FIFTH = 2
    TENTH = 3
    NOTHING = 4


_LEFT: Final = ((Level.NOTHING, 0.0), (Level.TENTH, 0.1), (Level.FIFTH, 0.2), (Level.HALF, 0.5))
_SPREAD_FROM: Final = {Urgency.SPARE: Level.HALF, Urgency.LATER: Level.HALF, Urgency.NOW: Level.TENTH}
_STILL_FROM: Final = {Urgency.SPARE: Level.FIFTH, Urgency.LATER: Level.TENTH, Urgency.NOW: Level.NOTHING}
_WHAT_WAITS: Final = {
    Level.FIFTH: "Fields that no event reports are not refreshed, and polls and loads are slowed down.",
    Level.TENTH: "Polls, loads and refreshes stand still, and edits are synced slowly.",
    Level.NOTHING: "Nothing is synced from or to Salesforce that takes any.",
}

_urgency: ContextVar[Urgency] = ContextVar("urgency", default=Urgency.NOW)


class OverBudget(RateLimited):
    """We do not use what is left for this now. Nothing is wrong with the org."""


@contextmanager
def during(urgency: Urgency) -> Iterator[None]:
    """What this thread asks for meanwhile is of this urgency."""
    before = _urgency.set(urgency)
    try:
        yield
    finally:
        _urgency.reset(before)


def asked_as() -> Urgency:
    """How urgent what this thread asks for is."""
    return _urgency.get()


class Ledger:
    """How much was used in the last 24 hours, by quarters of an hour. A time is in seconds since 1970."""

    def __init__(self, slots: Mapping[int, int] | None = None) -> None:
        self._slots = dict(slots or {})

    @classmethod
    def from_position(cls, position: Mapping[str, Any] | None) -> Ledger:
        """The inverse of to_position; empty for what is none."""
        stored = (position or {}).get("slots")
        pairs = stored.items() if isinstance(stored, Mapping) else ()
        return cls({int(slot): count for slot, count in pairs if isinstance(count, int)})

    def to_position(self, now_s: float) -> dict[str, Any]:
        """As JSON."""
        self._forget(now_s)
        return {"slots": {str(slot): count for slot, count in sorted(self._slots.items())}}

    def add(self, amount: int, now_s: float) -> None:
        slot = int(now_s // SLOT_S)
        self._slots[slot] = self._slots.get(slot, 0) + amount

    def total(self, now_s: float) -> int:
        """What was used in the last 24 hours."""
        self._forget(now_s)
        return sum(self._slots.values())

    def freed(self, now_s: float) -> Iterator[int]:
        """Of each slot from the oldest on: what is free again once it has left the 24 hours."""
        oldest = int(now_s // SLOT_S) - _SLOTS
        for slot in range(oldest + 1, oldest + 1 + _SLOTS):
            yield self._slots.get(slot, 0)

    def _forget(self, now_s: float) -> None:
        oldest = int(now_s // SLOT_S) - _SLOTS
        # A clock that was set back must not keep what is in the future for ever.
        gone = [slot for slot in self._slots if not oldest < slot <= oldest + _SLOTS + 1]
        for slot in gone:
            del self._slots[slot]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the org has said: how much is used by everybody, and how much may be."""

    used: int
    allowed: int
    at_s: float


class Budget:
    """
    What this process knows of one allowance. Threads may share it.

    Args:
        name: For metrics, e.g. api_calls.
        of: What is counted, in words.
        key: The configuration's key of the terms.
        terms: None: nothing ever waits, and it is noted all the same.
        clock: Seconds since 1970.
        nap: Waits for so many seconds.
        patient: What is spread is waited for, however long, as a command does that has nothing else to do.
    """

    def __init__(
        self,
        name: str,
        of: str,
        key: str,
        terms: Terms | None,
        *,
        clock: Callable[[], float] = time.time,
        nap: Callable[[float], object] = time.sleep,
        patient: bool = False,
    ) -> None:
        self.name, self._of, self._key, self._is_patient = name, of, key, patient
        self._terms, self._clock, self._nap = terms, clock, nap
        self._lock = threading.Lock()
        self._ours = Ledger()
        self._fellows: dict[str, Ledger] = {}
        self._seen: _Seen | None = None
        self._used_since = 0  # by this process, since the org said so
        self._next_s = 0.0  # when the next of what is spread may be used
        self._since: tuple[Level, float] = (Level.FREE, clock())
        self._samples: deque[tuple[float, int]] = deque()
        self._stored: dict[str, Any] | None = None
        self._was_restored = False

    def take_settings(self, settings: SalesforceConfig) -> None:
        """See TakesSettings."""
        if self._terms is not None:
            self._terms = getattr(settings, self._key.rpartition(".")[2])

    # What is used.

    def use(self, amount: int = 1) -> None:
        """So much was used by this process."""
        with self._lock:
            self._ours.add(amount, self._clock())
            self._used_since += amount

    def saw(self, used: int, allowed: int) -> None:
        """The org says how much is used by everybody, and how much may be; of an allowance of nothing, there is no budget."""
        if allowed <= 0:
            return
        with self._lock:
            now_s = self._clock()
            self._seen, self._used_since = _Seen(used, allowed, now_s), 0
            if not self._samples or now_s - self._samples[-1][0] >= _SAMPLE_EVERY_S:
                self._samples.append((now_s, self._left(now_s)))
            while len(self._samples) > 1 and now_s - self._samples[0][0] > _FORECAST_FROM_S:
                self._samples.popleft()

    @property
    def usage(self) -> tuple[int, int] | None:
        """What everybody has used, and the allowance, as the org said last."""
        seen = self._seen
        return None if seen is None else (seen.used, seen.allowed)

    # What is stored, so that a restart knows it, and so do the other processes.

    def restore(self, position: Mapping[str, Any] | None) -> None:
        """Take what an earlier process has stored, once, in addition to what this one has used."""
        with self._lock:
            if self._was_restored:
                return
            self._was_restored = True
            for slot, count in Ledger.from_position(position)._slots.items():
                self._ours.add(count, slot * SLOT_S)

    def take(self, process: str, used: Mapping[str, Any] | None) -> None:
        """See SharedBudget."""
        if not process:
            self.restore(used)
            return
        with self._lock:
            self._fellows[process] = Ledger.from_position(used)

    def to_store(self) -> dict[str, Any] | None:
        """What this process has used, if it is not what was stored last."""
        with self._lock:
            position = self._ours.to_position(self._clock())
            if position == self._stored or (self._stored is None and not position["slots"]):
                return None
            self._stored = position
            return position

    # Asking.

    def ask(self) -> None:
        """
        Called before some is used. Waits for a moment where an edit is spread.

        Raises OverBudget where it must wait for longer: it says for how long.
        """
        urgency = asked_as()
        with self._lock:
            now_s = self._clock()
            level = self._noted_level(now_s)
            if level >= _STILL_FROM[urgency]:
                if not self._may_look(urgency, now_s):
                    raise OverBudget(self._sentence(level, now_s), retry_after_s=self._freed_in_s(now_s))
                assert self._seen is not None
                self._seen = replace(self._seen, at_s=now_s)  # nobody else looks for now
                return
            if level < _SPREAD_FROM[urgency]:
                return
            wait_s = max(0.0, self._next_s - now_s)
            if wait_s > 0 and urgency is not Urgency.NOW and not self._is_patient:
                raise OverBudget(
                    f"Calls are spread, because {self._left(now_s):,} {self._of} are left of {self._key}. The next is made in"
                    f" {wait_s:.0f} s.",
                    retry_after_s=wait_s,
                )
            wait_s = wait_s if self._is_patient else min(wait_s, NAP_MAX_S)
            self._next_s = now_s + wait_s + 1 / max(self._pace(now_s), 1 / DAY_S)
        if wait_s:
            self._nap(wait_s)

    def may(self, urgency: Urgency) -> bool:
        """Whether something of this urgency need not stand still now."""
        with self._lock:
            now_s = self._clock()
            return self._noted_level(now_s) < _STILL_FROM[urgency] or self._may_look(urgency, now_s)

    @property
    def left(self) -> int | None:
        """How much may be used now; None: the org has not said."""
        with self._lock:
            return None if self._seen is None else self._left(self._clock())

    @property
    def level(self) -> Level:
        with self._lock:
            return self._noted_level(self._clock())

    @property
    def forecast_s(self) -> float | None:
        """In how many seconds nothing is left, if it goes on as in the last hour; None: that is not in sight."""
        with self._lock:
            return self._forecast_s(self._clock())

    # What people see.

    def states(self) -> list[BudgetState]:
        """How the budget stands; empty before the org has said anything."""
        with self._lock:
            now_s, seen = self._clock(), self._seen
            if seen is None:
                return []
            return [
                BudgetState(
                    self.name,
                    allowed=seen.allowed,
                    used=seen.used,
                    ours=self._total_of_ours(now_s),
                    left=max(0, self._left(now_s)),
                    level=self._noted_level(now_s),
                    exhausted_in_s=self._forecast_s(now_s),
                )
            ]

    def waiting(self) -> list[WaitingObject]:
        """What waits for it, if anything does."""
        with self._lock:
            now_s = self._clock()
            level = self._noted_level(now_s)
            if level not in _WHAT_WAITS:
                return []
            return [WaitingObject(self._of, now_s - self._since[1], self._sentence(level, now_s))]

    def note(self) -> str:
        """What a person should know though nothing stands still: that it will not last."""
        with self._lock:
            now_s = self._clock()
            level, exhausted_s = self._noted_level(now_s), self._forecast_s(now_s)
            if level in _WHAT_WAITS or exhausted_s is None or exhausted_s > DAY_S / 4:
                return ""
            return (
                f"At the pace of the last hour, {self._key} is used up in {_time(exhausted_s)}: {self._left(now_s):,} {self._of} are"
                " left of it."
            )

    # With the lock.

    def _total_of_ours(self, now_s: float) -> int:
        return self._ours.total(now_s) + sum(each.total(now_s) for each in self._fellows.values())

    def _left(self, now_s: float) -> int:
        assert self._seen is not None
        of_ours, of_all = self._parts(self._seen, now_s)
        return min(of_ours, of_all)

    def _parts(self, seen: _Seen, now_s: float) -> tuple[int, int]:
        """What is left of our share, and of what is not left to others."""
        used = seen.used + self._used_since
        if self._terms is None:
            return seen.allowed - used, seen.allowed - used
        of_ours = int(seen.allowed * self._terms.share) - self._total_of_ours(now_s)
        return of_ours, seen.allowed - self._terms.floor - used

    def _noted_level(self, now_s: float) -> Level:
        level = self._level(now_s)
        before, since_s = self._since
        if level is not before:
            # What waits for it has waited since the first of these levels.
            self._since = level, since_s if {level, before} <= _WHAT_WAITS.keys() else now_s
        return level

    def _level(self, now_s: float) -> Level:
        seen, terms = self._seen, self._terms
        if seen is None or terms is None:
            return Level.FREE
        of_ours, of_all = self._parts(seen, now_s)
        of_others = _level_at(of_all / max(1, seen.allowed - terms.floor))
        return max(of_others, _level_of_share(of_ours, seen, terms))

    def _may_look(self, urgency: Urgency, now_s: float) -> bool:
        """Whether what the org said last is so old that one call is worth it. Of our share, we know it ourselves."""
        seen, terms = self._seen, self._terms
        if seen is None or terms is None:
            return True
        of_ours, _ = self._parts(seen, now_s)
        is_old = now_s - seen.at_s >= LOOK_AGAIN_S
        return is_old and _level_of_share(of_ours, seen, terms) < _STILL_FROM[urgency]

    def _pace(self, now_s: float) -> float:
        """So many a second can go on for 24 hours."""
        left, slowest = self._left(now_s), float("inf")
        into_slot_s = now_s % SLOT_S
        ledgers = [self._ours, *self._fellows.values()]
        for number, freed in enumerate(map(sum, zip(*(each.freed(now_s) for each in ledgers), strict=True))):
            # Up to the end of each slot: what it frees comes at its end.
            slowest = min(slowest, max(0, left) / ((number + 1) * SLOT_S - into_slot_s))
            left += freed
        return slowest

    def _freed_in_s(self, now_s: float) -> float:
        """When to ask again: soon, because the org may say otherwise by then."""
        return min(LOOK_AGAIN_S, SLOT_S - now_s % SLOT_S)

    def _forecast_s(self, now_s: float) -> float | None:
        if self._seen is None or not self._samples:
            return None
        first_s, first = self._samples[0]
        left, lasted_s = self._left(now_s), now_s - first_s
        if left <= 0:
            return 0.0
        if lasted_s < _FORECAST_LEAST_S or left >= first:
            return None
        return left / ((first - left) / lasted_s)

    def _sentence(self, level: Level, now_s: float) -> str:
        seen, terms = self._seen, self._terms
        if seen is None or terms is None:
            return ""
        if terms.floor >= seen.allowed:
            return (
                f"{self._key}.floor leaves {terms.floor:,} {self._of} to others, and the org allows {seen.allowed:,} in 24 hours: Salmon"
                f" may use none. Set {self._key}.floor to less than that."
            )
        exhausted_s = self._forecast_s(now_s)
        soon = f", and lasts for {_time(exhausted_s)} at the pace of the last hour" if exhausted_s else ""
        return (
            f"{max(0, self._left(now_s)):,} {self._of} are left of {self._key}{soon}: in the last 24 hours, this sync has used"
            f" {self._total_of_ours(now_s):,} of the {int(seen.allowed * terms.share):,} that it may, and everybody together"
            f" {seen.used:,} of {seen.allowed:,}, of which {terms.floor:,} are kept for others."
            f" {_WHAT_WAITS.get(level, '')} It goes on by itself as what was used leaves the 24 hours. See what else uses the org's"
            f" allowance, or set {self._key}.share higher or .floor lower."
        )


def _level_at(part: float) -> Level:
    return next((level for level, limit in _LEFT if part < limit or part <= 0), Level.FREE)


def _level_of_share(left: int, seen: _Seen, terms: Terms) -> Level:
    return _level_at(left / max(1.0, seen.allowed * terms.share))


def of_api_calls(terms: Terms | None, *, patient: bool = False) -> Budget:
    """The budget of API calls."""
    return Budget("api_calls", "API calls", "salesforce.api_budget", terms, patient=patient)


def of_deliveries(terms: Terms | None) -> Budget:
    """The budget of event deliveries."""
    return Budget("event_deliveries", "event deliveries", "salesforce.event_budget", terms)


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
