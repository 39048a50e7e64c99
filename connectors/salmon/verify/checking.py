"""
One object: read all three, then look again at what differed, until nothing moves any more.

A sync at work always differs somewhere for a moment. So a difference is believed when nothing has changed for a
while, or when the patience is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Value
from salmon.model.state import State
from salmon.salesforce.ids import id18
from salmon.verify.comparing import (
    Finding,
    ObjectVerdict,
    Seen,
    Terms,
    Waiting,
    excused,
    finding,
    shown,
)
from salmon.verify.sides import Side

# More differences than these are no race, and looking at each again would cost the org's API calls.
SUSPECTS_MAX: Final = 5_000
RECORDS: Final = "records"
_FIRST_PAUSE_S: Final = 0.25
_PAUSE_MAX_S: Final = 2.0

# What is being read, how many of how many records.
Progress = Callable[[str, int, int], None]


class Agreement(Protocol):
    """What is asked of Agreed."""

    @property
    def keys(self) -> Collection[str]: ...
    def row(self, key: str) -> Mapping[str, Value] | None: ...
    def state(self, key: str) -> State | None: ...
    def follow(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to look again: until nothing has changed for *quiet_s*, at most *most_s*."""

    most_s: float = 30.0
    quiet_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """One record as all three have it at about one moment."""

    agreed: Mapping[str, Value] | None
    seen: Mapping[str, Seen | None]


@dataclass(slots=True)
class Check:
    """The comparison of one object. `run` once."""

    name: str
    agreement: Agreement
    sides: Mapping[str, Side]
    terms: Mapping[str, Terms]
    patience: Patience = Patience()
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep
    _there: dict[str, set[str]] = field(default_factory=dict)  # Side or records -> keys
    _ids: dict[str, str] = field(default_factory=dict)  # key -> Id, of records whose key is not their Id
    _later: set[str] = field(default_factory=set)
    _moving: set[str] = field(default_factory=set)

    def run(self, progress: Progress) -> ObjectVerdict:
        """
        Compare. *progress* is told of each page.

        Raises:
            SalmonError: a side or Kafka could not be read; so nothing can be said.
        """
        self._there[RECORDS] = set(self.agreement.keys)
        suspects: dict[str, dict[str, Finding]] = {}
        for side in SIDES:  # Salesforce first: it tells the Ids of records that were born in MongoDB
            for key, found in self._differing(side, progress).items():
                suspects.setdefault(key, {})[side] = found
        return self._verdict(self._settled(suspects))

    def _differing(self, side: str, progress: Progress) -> Mapping[str, Finding]:
        """Read a whole side; what differs there from `records`."""
        differing: dict[str, Finding] = {}
        there = self._there[side] = set()
        total = len(self._there[RECORDS])
        progress(side, 0, total)
        for page in self.sides[side].pages():
            for seen in page:
                there.add(seen.key)
                found = self._found(side, seen.key, self.agreement.row(seen.key), seen)
                if found.differs:
                    differing[seen.key] = found
            progress(side, len(there), total)
        missing = Finding(missing=True)
        differing.update((key, missing) for key in self._there[RECORDS] - there)
        return differing

    def _found(self, side: str, key: str, agreed: Mapping[str, Value] | None, seen: Seen | None) -> Finding:
        if side == SALESFORCE and seen is not None and seen.native_id not in (None, key):
            self._ids[key] = str(seen.native_id)
        if side == MONGODB and agreed is not None and seen is not None:
            # Where the org has no such record, that is what is wrong, and not the Id that the document still has.
            in_org = key in self._there[SALESFORCE]
            native_id = (self._ids.get(key) or id18(key)) if in_org else seen.fields.get(SALESFORCE_ID)
            agreed = {**agreed, SALESFORCE_ID: native_id}
        found = finding(agreed, seen, self.terms[side])
        if found.later:
            self._later.add(key)
        return found

    def _settled(self, suspects: dict[str, dict[str, Finding]]) -> dict[str, dict[str, Finding]]:
        """
        Look again at what differed until it does not, or until nothing moves; what still differs then.

        What is still edited when the patience is over is noted as moving: of that nothing can be said.
        """
        if not suspects:
            return suspects
        began = moved_at = self.clock()
        pause_s = 0.0
        before: Mapping[str, Look] = {}
        still_since: dict[str, float] = {}
        self.agreement.follow()
        while suspects and len(suspects) <= SUSPECTS_MAX:
            moved = self.agreement.follow()
            looks = self._looks(suspects)
            now = self.clock()
            moved_at = now if moved else moved_at
            suspects = {key: found for key, look in looks.items() if (found := self._again(key, look))}
            still_since = {
                key: still_since[key] if looks[key] == before.get(key) else now for key in suspects
            }
            quiet_since = max([moved_at, *still_since.values()])
            if now - quiet_since >= self.patience.quiet_s or not self._unexplained(suspects):
                break  # Nothing moves any more, or all of it is parked.
            if now - began >= self.patience.most_s:
                self._moving = {
                    key for key, since in still_since.items() if now - since < self.patience.quiet_s
                }
                break
            before = looks
            pause_s = min(_PAUSE_MAX_S, pause_s * 2 or _FIRST_PAUSE_S)
            self.pause(pause_s)
        return suspects

    def _looks(self, keys: Collection[str]) -> Mapping[str, Look]:
        seen = {side: self.sides[side].read(keys) for side in SIDES}
        return {
            key: Look(self.agreement.row(key), {side: seen[side].get(key) for side in SIDES}) for key in keys
        }

    def _again(self, key: str, look: Look) -> dict[str, Finding]:
        self._note(RECORDS, key, there=look.agreed is not None)
        self._later.discard(key)
        found = {}
        for side in SIDES:
            seen = look.seen[side]
            self._note(side, key, there=seen is not None)
            one = self._found(side, key, look.agreed, seen)
            if one.differs:
                found[side] = one
        return found

    def _note(self, where: str, key: str, *, there: bool) -> None:
        (self._there[where].add if there else self._there[where].discard)(key)

    def _unexplained(self, suspects: Mapping[str, Mapping[str, Finding]]) -> bool:
        return any(
            rest.differs
            for key, by_side in suspects.items()
            for rest, _ in self._excused(key, by_side).values()
        )

    def _excused(
        self, key: str, by_side: Mapping[str, Finding]
    ) -> dict[str, tuple[Finding, tuple[Waiting, ...]]]:
        state = self.agreement.state(key)
        return {
            side: excused(key, side, found, state.sides.get(side) if state else None)
            for side, found in by_side.items()
        }

    def _verdict(self, suspects: Mapping[str, Mapping[str, Finding]]) -> ObjectVerdict:
        verdict = ObjectVerdict(self.name)
        for key in sorted(suspects):
            rest_by_side: dict[str, Finding] = {}
            for side, (rest, waiting) in self._excused(key, suspects[key]).items():
                verdict.parked.extend(waiting)
                rest_by_side[side] = rest
            self._add(verdict, key, rest_by_side)
        verdict.counts = {where: len(self._there[where]) for where in (*SIDES, RECORDS)}
        verdict.equal = len(self._there[RECORDS] - suspects.keys())
        verdict.refreshed_later = len(self._later)
        verdict.without_key = self.sides[MONGODB].without_key
        return verdict

    def _add(self, verdict: ObjectVerdict, key: str, found: Mapping[str, Finding]) -> None:
        differs = {side: one for side, one in found.items() if one.differs}
        if not differs:
            return
        if key in self._moving:
            verdict.moving.append(key)
            return
        for side, one in differs.items():
            if one.missing:
                verdict.missing_in[side].append(key)
        if any(one.extra for one in differs.values()):
            verdict.missing_in[RECORDS].append(key)
        if fields := {s: tuple(sorted(map(shown, one.fields))) for s, one in differs.items() if one.fields}:
            verdict.different[key] = fields
        state = self.agreement.state(key)
        if state is not None and any(state.sides[side].in_flight for side in differs if side in state.sides):
            verdict.on_their_way += 1
