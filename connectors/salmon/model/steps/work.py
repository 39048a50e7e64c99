"""
One fold under way: the draft of a state, and what is put out with it. The rules are in fold, life and outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Final

from salmon.model.change import Change, Value, Write
from salmon.model.policies import Conflict, Contest, Edit, Policy
from salmon.model.rules import Rules
from salmon.model.state import NEVER, Park, Sent, SideState, State, Version
from salmon.model.steps.breaker import Breaker


class Fact(StrEnum):
    """What a fold has to report besides its output: for metrics, logs and a record's story."""

    ACKNOWLEDGED = "ACKNOWLEDGED"  # a write of ours came back
    CREATED = "CREATED"
    EDITED = "EDITED"  # an edit became canonical
    DELETED = "DELETED"
    FIRST_CONTACT = "FIRST_CONTACT"  # both sides had a value: `initial` decided
    OVERRULED = "OVERRULED"  # an edit of a field that its side may not set
    TWIN = "TWIN"  # a second record of the same key: not folded
    PARKED = "PARKED"
    OSCILLATING = "OSCILLATING"  # two automations undo each other: the field is parked on both sides
    MISFIT = "MISFIT"  # a side holds a value that could not be taken
    RETRIED = "RETRIED"  # an operator had it sent again
    REPEATED = "REPEATED"  # old news
    ELSEWHERE = "ELSEWHERE"  # of a document whose place is not known yet: a row will say what is there
    CONSEQUENCE = "CONSEQUENCE"  # a side did that by itself as it carried out a write of ours
    RESTORED = "RESTORED"  # the side's history went back: it showed an older value, and gets the agreed one


@dataclass(frozen=True, slots=True)
class Report:
    fact: Fact
    side: str
    fields: tuple[str, ...] = ()
    committed_at: int = 0  # ACKNOWLEDGED: of the change that caused the write, in ms; 0 where it is not known


class Published(Enum):
    """What becomes of the key in `records`."""

    UNCHANGED = "unchanged"
    ROW = "row"
    TOMBSTONE = "tombstone"


@dataclass(slots=True)
class Folded:
    """What one change gave. *writes*: side -> a write, or None for a tombstone; sides not named get nothing."""

    state: State
    writes: dict[str, Write | None] = field(default_factory=dict)
    published: Published = Published.UNCHANGED
    conflicts: list[Conflict] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    to_read: set[str] = field(default_factory=set)  # sides that should read the record again


class Unknown(Enum):
    UNKNOWN = "unknown"  # not reported; which is not null


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Answer:
    """Which write of ours a change answers, and what is known by that. Step 2 gives it; nothing changes it afterwards."""

    # That write. Of a row, with all that is ours in a record that carries its marker, whichever write up to it set that.
    ours: Sent | None = None
    late: bool = False  # no write that is on its way, but the repetition of one that was answered before
    answered: Sent | None = None  # that write by itself
    # Of each field, the last write up to it that set the field; earlier ones were perhaps never carried out.
    set_by: Mapping[str, int] = field(default_factory=dict)
    up_to_it: tuple[Sent, ...] = ()  # a row: the writes that it may show, ascending, that one included
    made: bool = False  # whether that write made the record
    # Our creations that may have come before it, by their seqs.
    made_before: Mapping[int, Sent] = field(default_factory=dict)
    # What the side had reported about the record before that change.
    told_before: frozenset[str] = frozenset()


NO_ANSWER: Final = Answer()


@dataclass(slots=True)
class Work:
    """One fold under way: the draft of the new state and what is put out with it."""

    out: Folded
    change: Change
    object: str
    key: str
    rules: Rules
    at: int = 0  # ms: when the log took the change; 0 where that is not known
    answer: Answer = NO_ANSWER
    # Whether the side did it by itself as it carried out a write of ours to another record: that is nobody's edit.
    is_consequence: bool = False

    @property
    def state(self) -> State:
        return self.out.state

    @property
    def x(self) -> SideState:
        """The state of the side that reports the change."""
        return self.state.sides[self.change.origin]

    @property
    def breaker(self) -> Breaker:
        return Breaker(self.state, self.rules, self.at)

    @property
    def version(self) -> Version:
        return Version(self.change.committed_at, self.change.origin, self.state.seq)

    @property
    def baseline(self) -> Version:
        """The version of what was merely found there."""
        return Version(self.change.committed_at, self.change.origin, self.state.seq, baseline=True)

    def exists(self) -> None:
        """The side has the record."""
        self.x.exists = True
        if self.change.native_id is not None:
            self.x.native_id = self.change.native_id

    def begin(self, version: Version) -> None:
        """A life begins; canonical starts with nothing but what only a side that is still there can report."""
        self.state.canonical, self.state.versions = {}, {}
        for name, side in self.state.sides.items():
            for field_name in self.rules.known_only_to(name) & side.shadow.keys():
                self.state.canonical[field_name] = side.shadow[field_name]
                self.state.versions[field_name] = version
        self.state.lives, self.state.life = True, version
        self.state.unpublished = True
        self.report(Fact.CREATED)

    def report(self, fact: Fact, *fields: str, committed_at: int = 0) -> None:
        self.out.reports.append(Report(fact, self.change.origin, fields, committed_at))

    def shadow(self, name: str) -> Value | Unknown:
        return UNKNOWN if name in self.x.unknown else self.x.shadow.get(name)

    def set_shadow(self, name: str, value: Value) -> None:
        _put(self.x.shadow, name, value)
        self.x.misfits.pop(name, None)

    def take(self, name: str, value: Value, version: Version) -> None:
        """Make *value* canonical. What was refused together with it may be tried again."""
        standing = self.state.versions.get(name, NEVER)
        self._agree(name, value, version)
        if self.breaker.taken(name, standing, version):
            self.report(Fact.OSCILLATING, name)

    def make(self, name: str, value: Value) -> None:
        """Let what was made from other values be agreed on. It is nobody's edit, and so no turn of two automations."""
        self._agree(name, value, self.version)

    def _agree(self, name: str, value: Value, version: Version) -> None:
        _put(self.state.canonical, name, value)
        self.state.versions[name] = version
        self.state.unpublished = True
        for side in self.state.sides.values():
            _unpark(side, name)

    def keep(self, name: str, value: Value) -> None:
        """The side has *value* in a field that is on hold, by what it did itself: that is what it keeps."""
        self.x.parked[name] = replace(self.x.parked[name], keeps=value)

    def contest(
        self, name: str, policy: Policy, standing: Edit, challenger: Edit, *, tell: bool = True
    ) -> Edit | None:
        contest = Contest(self.object, self.key, name, standing, challenger, self.rules.ties)
        conflict = policy(contest)
        if tell:
            self.out.conflicts.append(conflict)
        return conflict.winner


def _put(values: dict[str, Value], name: str, value: Value) -> None:
    if value is None:
        values.pop(name, None)
    else:
        values[name] = value


def _unpark(side: SideState, name: str) -> None:
    """An edit of a parked field frees all that was refused with it; a held field waits for its resolution."""
    parked = side.parked.get(name)
    if parked is None or parked.why in (Park.HELD, Park.OSCILLATING):
        return
    for other in [n for n, p in side.parked.items() if p.group == parked.group and p.why is parked.why]:
        del side.parked[other]
