"""
Checks one object: records whose digests differ are read again until nothing changes any more, and repaired on request.

In a running sync some records always differ for a moment. So a difference counts only after nothing has changed for a
while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol

from salmon.model.change import SALESFORCE, Value
from salmon.model.state import State
from salmon.salesforce.wire.batches import batches
from salmon.verify.comparing import (
    NOTHING,
    Finding,
    ObjectVerdict,
    ParkedFields,
    Seen,
    Terms,
    Why,
    excused,
    findings,
    shown,
    staying,
    withheld,
)
from salmon.verify.ledger import RECORDS, Ledger
from salmon.verify.reading import Progress, compares_ids
from salmon.verify.sides import Side

# How many records are looked at again together: their rows and states are in memory, and each look costs API calls.
ROUND_MAX: Final = 10_000
# How many differences are named; the rest are only counted. If there are so many, the first are enough to find the cause.
NAMED_MAX: Final = 10_000
_LOOK_MAX: Final = 1_000  # records of both sides that are in memory together
_FIRST_PAUSE_S: Final = 0.25
_PAUSE_MAX_S: Final = 2.0
REPAIR: Final = "repair"

__all__ = ["NAMED_MAX", "RECORDS", "REPAIR", "ROUND_MAX", "Check", "Patience", "Progress"]


class Agreement(Protocol):
    """What this module needs of Agreed."""

    def watch(self, keys: Collection[str]) -> None: ...
    def row(self, key: str) -> Mapping[str, Value] | None: ...
    def state(self, key: str) -> State | None: ...
    def follow(self) -> bool: ...


class Asking(Protocol):
    """What this module needs of Sources: to have records read again."""

    def ask(
        self, name: str, records: Sequence[tuple[str, str | None]], sides: Collection[str], progress: Progress
    ) -> frozenset[str]:
        """Ask for (key, Id if known) and wait for the answers; return the sides that have not answered."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to look again: until nothing has changed for *quiet_s*, at most *most_s*."""

    most_s: float = 30.0
    quiet_s: float = 5.0


# From the sources' answer until merge has folded it and the sinks have carried out the writes.
REPAIR_PATIENCE: Final = Patience(most_s=120.0, quiet_s=10.0)


@dataclass(frozen=True, slots=True)
class Look:
    """One record as both sides and `records` have it at about the same moment."""

    found: Mapping[str, Finding]
    there: frozenset[str]
    shown: bytes  # digest of all three: it changes if one of them does
    native_id: str | None

    @property
    def differs(self) -> bool:
        return any(found.differs for found in self.found.values())

    @property
    def later(self) -> bool:
        return any(found.later for found in self.found.values())


@dataclass(slots=True)
class Check:
    """The comparison of one object. *asking*: repairs differences; None: no repair."""

    name: str
    agreement: Agreement
    sides: Mapping[str, Side]
    terms: Mapping[str, Terms]
    patience: Patience = Patience()
    asking: Asking | None = None
    repair_patience: Patience = REPAIR_PATIENCE
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep

    def whole(self, ledger: Ledger, without_key: int, progress: Progress) -> ObjectVerdict:
        """
        Compare what a ledger has read.

        Raises:
            SalmonError: a side or Kafka could not be read, so there is no result.
        """
        verdict = ObjectVerdict(self.name, without_key=without_key)
        verdict.counts = {side: ledger.sums[side].total for side in self.terms} | {RECORDS: len(ledger)}
        later = 0

        def count(_key: str) -> None:
            nonlocal later
            later += 1

        unequal = 0
        suspects = ledger.differing(self.terms, with_ids=compares_ids(self.terms), later=count)
        for some in batches(suspects, ROUND_MAX):
            if verdict.named >= NAMED_MAX:
                verdict.not_looked_at += len(some)
                unequal += sum(RECORDS in each.there for each in some)
            else:
                unequal += self._round(verdict, {each.key: each.there for each in some}, progress)
        verdict.refreshed_later += later
        verdict.equal = verdict.counts[RECORDS] - unequal
        return verdict.in_order()

    def some(self, keys: Iterable[str], progress: Progress) -> ObjectVerdict:
        """Compare only these records. Raises the same errors as `whole`."""
        verdict = ObjectVerdict(self.name, counts=dict.fromkeys((*self.terms, RECORDS), 0))
        unequal = 0
        verdict.exist = frozenset()
        for piece in batches(keys, ROUND_MAX):
            unequal += self._round(verdict, dict.fromkeys(piece, frozenset()), progress)
        verdict.equal = verdict.counts[RECORDS] - unequal
        return verdict.in_order()

    def _round(self, verdict: ObjectVerdict, before: Mapping[str, frozenset[str]], progress: Progress) -> int:
        """Look at some records again, and add the result to *verdict*. Returns how many of `records` are not equal."""
        self.agreement.watch(before)
        self.agreement.follow()
        looks, moving = self._settled(before, self.patience)
        reasons: dict[str, Why] = {}
        if self.asking is not None:
            asked, reasons = self._ask(self.asking, verdict, looks, moving, progress)
            again, still_moving = self._settled(asked, self.repair_patience)
            looks |= again
            moving = (moving - asked) | still_moving
            verdict.repaired += sum(not self._remains(key, looks[key]) for key in asked)
        unequal = 0
        for key, look in looks.items():
            for where in verdict.counts:
                verdict.counts[where] += (where in look.there) - (where in before[key])
            verdict.refreshed_later += look.later
            if verdict.exist is not None and look.there:
                verdict.exist |= {key}
            if look.differs:
                unequal += RECORDS in look.there
                self._report(verdict, key, look, is_moving=key in moving)
                if self.asking is not None and self._remains(key, look):
                    why = Why.EDITED if key in moving else reasons.get(key, self._why(key, look))
                    verdict.remains[key] = why
        return unequal

    # Looking again until nothing changes.

    def _settled(self, keys: Collection[str], patience: Patience) -> tuple[dict[str, Look], frozenset[str]]:
        """
        Look at records until they do not differ, or until nothing changes.

        Returns:
            The last look at each record; and the records that were still changing at the end, of which nothing is known.
        """
        began = moved_at = self.clock()
        pause_s = 0.0
        looks: dict[str, Look] = {}
        still_since: dict[str, float] = {}
        suspects = list(keys)
        while suspects:
            moved = self.agreement.follow()
            fresh = self._looks(suspects)
            now = self.clock()
            moved_at = now if moved else moved_at
            suspects = [key for key, look in fresh.items() if look.differs]
            still_since = {
                key: still_since[key] if key in still_since and looks[key].shown == fresh[key].shown else now
                for key in suspects
            }
            looks |= fresh
            quiet_since = max([moved_at, *still_since.values()])
            if now - quiet_since >= patience.quiet_s or not self._unexplained(suspects, looks):
                break  # Nothing changes any more, or all that differs is parked.
            if now - began >= patience.most_s:
                return looks, frozenset(
                    key for key, since in still_since.items() if now - since < patience.quiet_s
                )
            pause_s = min(_PAUSE_MAX_S, pause_s * 2 or _FIRST_PAUSE_S)
            self.pause(pause_s)
        return looks, frozenset()

    def _looks(self, keys: Collection[str]) -> dict[str, Look]:
        looks = {}
        for piece in batches(keys, _LOOK_MAX):
            seen = {side: self.sides[side].read(piece) for side in self.terms}
            for key in piece:
                looks[key] = self._look(key, {side: seen[side].get(key) for side in self.terms})
        return looks

    def _look(self, key: str, seen: Mapping[str, Seen | None]) -> Look:
        agreed = self.agreement.row(key)
        there = {side for side in self.terms if seen[side] is not None} | (
            {RECORDS} if agreed is not None else set()
        )
        all_three = [_sorted(agreed)] + [
            (_sorted(one.fields), sorted(one.unreadable)) if one else None for one in seen.values()
        ]
        in_org = seen[SALESFORCE]
        return Look(
            findings(key, agreed, seen, self.terms),
            frozenset(there),
            blake2b(repr(all_three).encode(), digest_size=16).digest(),
            in_org.native_id if in_org is not None else None,
        )

    def _unexplained(self, keys: Iterable[str], looks: Mapping[str, Look]) -> bool:
        return any(self._remains(key, looks[key]) for key in keys)

    def _remains(self, key: str, look: Look) -> bool:
        """Whether the record has a difference that is not parked."""
        return look.differs and any(rest.differs for rest, _ in self._excused(key, look).values())

    def _excused(self, key: str, look: Look) -> dict[str, tuple[Finding, tuple[ParkedFields, ...]]]:
        state = self.agreement.state(key)
        return {
            side: self._excused_on(key, side, found, state)
            for side, found in look.found.items()
            if found.differs
        }

    def _excused_on(
        self, key: str, side: str, found: Finding, state: State | None
    ) -> tuple[Finding, tuple[ParkedFields, ...]]:
        if (waiting := withheld(key, side, found, state, self.terms[side])) is not None:
            return NOTHING, (waiting,)
        if (stays := staying(key, side, found, state)) is not None:
            return NOTHING, (stays,)
        return excused(key, side, found, state.sides.get(side) if state else None)

    # Repairing: the sources read the records again, and the fold decides.

    def _ask(
        self,
        asking: Asking,
        verdict: ObjectVerdict,
        looks: Mapping[str, Look],
        moving: Collection[str],
        progress: Progress,
    ) -> tuple[frozenset[str], dict[str, Why]]:
        """Have the sources read again what differs. Returns those keys; and key -> why a record cannot be repaired now."""
        sources = [side for side, its in self.terms.items() if its.extra_counts]
        asked: list[tuple[str, str | None]] = []
        reasons: dict[str, Why] = {}
        for key in sorted(looks):
            look = looks[key]
            if key in moving or not self._remains(key, look):
                continue
            rests = self._excused(key, look)
            if any(rest.differs for side, (rest, _) in rests.items() if side in sources):
                asked.append((key, look.native_id or self._known_id(key)))
            else:
                reasons[key] = Why.ONE_WAY
        keys = frozenset(key for key, _ in asked)
        verdict.asked += len(asked)
        if asked and (unanswered := asking.ask(self.name, asked, sources, progress)):
            verdict.unanswered |= unanswered
            reasons |= dict.fromkeys(keys, Why.NOT_ANSWERED)
        return keys, reasons

    def _known_id(self, key: str) -> str | None:
        state = self.agreement.state(key)
        return state.sides[SALESFORCE].native_id if state is not None and SALESFORCE in state.sides else None

    def _why(self, key: str, look: Look) -> Why:
        """Return why a record still differs after both sides were read again."""
        state = self.agreement.state(key)
        differing = [side for side, found in look.found.items() if found.differs]
        if state is not None and any(
            state.sides[side].in_flight for side in differing if side in state.sides
        ):
            return Why.ON_ITS_WAY
        return Why.LEFT

    # Reporting.

    def _report(self, verdict: ObjectVerdict, key: str, look: Look, *, is_moving: bool) -> None:
        differs: dict[str, Finding] = {}
        for side, (rest, waiting) in self._excused(key, look).items():
            verdict.parked.extend(waiting)
            if rest.differs:
                differs[side] = rest
        if not differs:
            return
        if is_moving:
            verdict.moving.append(key)
            return
        for side, one in differs.items():
            if one.missing:
                verdict.missing_in.setdefault(side, []).append(key)
        if any(one.extra for one in differs.values()):
            verdict.missing_in[RECORDS].append(key)
        if fields := {s: tuple(sorted(map(shown, one.fields))) for s, one in differs.items() if one.fields}:
            verdict.different[key] = fields
        if self.asking is None and not any(self.terms[side].extra_counts for side in differs):
            verdict.never_read += 1  # a repair names each with its reason
        state = self.agreement.state(key)
        if state is not None and any(state.sides[side].in_flight for side in differs if side in state.sides):
            verdict.on_their_way += 1


def _sorted(fields: Mapping[str, Value] | None) -> list[tuple[str, Value]] | None:
    return None if fields is None else sorted(fields.items())
