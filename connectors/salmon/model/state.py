"""
What merge remembers of one record: the agreed values, what each side holds, and what is on its way to it.

A state is a value: the fold copies before it changes, so that a transaction that fails leaves no trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import Final

from salmon.model.change import Misfit, Value, WriteOp


@dataclass(frozen=True, slots=True)
class Version:
    """Where an agreed value came from."""

    committed_at: int  # ms, the origin's wall clock; 0 where it is not known
    origin: str  # a side, or "operator"
    seq: int  # of the change that made it canonical
    baseline: bool = False  # found there at first contact, not edited under our eyes


NEVER: Final = Version(committed_at=0, origin="", seq=0, baseline=True)


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that its side has not acknowledged yet."""

    op: WriteOp
    fields: Mapping[str, Value]
    committed_at: int = 0  # ms, of the change that caused it
    lacks: frozenset[str] = frozenset()  # fields that the sync did not know when it was written


class Park(StrEnum):
    """Why something that differs is not sent."""

    REFUSED = "REFUSED"  # until one of its group is edited again
    DEFERRED = "DEFERRED"  # until the record it refers to is there
    HELD = "HELD"  # until somebody resolves the conflict
    OSCILLATING = "OSCILLATING"  # two automations undo each other; see salmon.model.steps.breaker


@dataclass(frozen=True, slots=True)
class Parked:
    """A field (or EXISTENCE) that a side is not sent for now. Fields refused together share their *group*."""

    why: Park
    group: int  # seq of the write or of the change that parked it
    code: str = ""  # the side's error code
    reason: str = ""
    keeps: Value = (
        None  # HELD: the side's own value, which it keeps, or gets back where a write of ours took it
    )


@dataclass(frozen=True, slots=True)
class Overwritten:
    """
    A field of which a row has shown what our write set, before the events of that time came.

    An example. Salesforce holds 1. A user there sets 2, and our write, which knows nothing of that, sets 3. A row is read
    next: it carries the marker of our write and shows 3. The event of the user's 2 is still on its way; when it comes it
    is older than the row, and old news is not judged. So that 2 does not vanish without a word, the row leaves this note:
    "write 7 set the field; before, it was 1". The late event of 2 goes into `edit`. The event of write 7 itself says that
    2 was the last before it: only now is it judged, as an edit whose author saw 1. If instead the row showed 2, typed after
    our 3, that is `later`: the late event tells what is known.

    A note is dropped as soon as an event comes that is newer than the rows.
    """

    name: str
    seq: int  # of our write
    before: Value  # what the side held before, as far as it has told
    since: int  # as_of of the row that told it, on the side's commit clock; -1 for none
    edited: bool = False  # whether events of the time before our write have told of edits
    edit: Value = None  # the last of them
    edited_at: int = 0  # its committed_at
    # What the last row has shown instead of the write's: an edit that came after it.
    later: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Turns:
    """How often the sides have lately undone each other's value of one field; see salmon.model.steps.breaker."""

    times: tuple[
        int, ...
    ]  # ms, the log's time of each turn, ascending; of the last edit, once it has tripped
    tripped: bool = False  # the field is parked


@dataclass(slots=True)
class SideState:
    """What one side holds, as far as it has told."""

    exists: bool | None = None  # None: it has never told
    native_id: str | None = None
    shadow: dict[str, Value] = field(default_factory=dict)  # without nulls
    unknown: frozenset[str] = frozenset()  # names of which it has told nothing; unknown is not null
    order: bytes = b""  # of its last event
    commit_time: int = 0  # of its last event
    as_of: int = -1  # of its last row
    marker: int = 0  # the seq that its record carries
    settled: int = 0  # the highest seq it has answered
    # seq -> write that has not come back, ascending. One up to `settled` is done with, by the outcome of a later
    # one, and kept only until its echo or a row comes: an outcome overtakes events.
    sent: dict[int, Sent] = field(default_factory=dict)
    burst: int = 0  # writes sent since its last row and not answered
    row_since_write: bool = False
    standing: bool = False  # a write, not a tombstone, is the newest in its topic
    held: bool = False  # GONE or EXISTS: nothing goes there until it has told what it has
    overwritten: tuple[Overwritten, ...] = ()  # oldest first, until the events have caught up with the rows
    parked: dict[str, Parked] = field(default_factory=dict)
    history: str = ""  # that of the last change it told; see Change.history
    misfits: dict[str, Misfit] = field(default_factory=dict)  # what it holds that could not be taken

    @property
    def in_flight(self) -> dict[int, Sent]:
        """The writes that nobody has answered."""
        return {seq: sent for seq, sent in self.sent.items() if seq > self.settled}

    def holds(self, name: str) -> bool:
        """Whether the side keeps its own value of the field until somebody resolves the conflict."""
        return name in self.parked and self.parked[name].why is Park.HELD

    @property
    def kept(self) -> dict[str, Value]:
        """What the side keeps of its own while conflicts are on hold."""
        if not self.parked:
            return {}  # of most records, in every fold
        return {name: p.keeps for name, p in self.parked.items() if p.why is Park.HELD}

    def copy(self) -> SideState:
        copied = SideState(*_all_of(self))
        copied.shadow, copied.sent, copied.parked = dict(self.shadow), dict(self.sent), dict(self.parked)
        copied.misfits = dict(self.misfits)
        return copied


# dataclasses.replace takes five times as long, and every fold copies every side.
_all_of: Final = attrgetter(*(each.name for each in fields(SideState)))


@dataclass(slots=True)
class State:
    """All that merge knows of one key."""

    sides: dict[str, SideState]
    canonical: dict[str, Value] = field(default_factory=dict)  # the agreed values, without nulls
    versions: dict[str, Version] = field(default_factory=dict)  # of every field anybody has ever set
    lives: bool = False
    life: Version = NEVER  # of `lives`: the creation or the deletion
    seq: int = 0  # the last one given
    unpublished: bool = False  # canonical has changed since `records` was told
    turns: dict[str, Turns] = field(default_factory=dict)  # of the few fields that two sides set in turn

    def copy(self) -> State:
        return State(
            {name: side.copy() for name, side in self.sides.items()},
            dict(self.canonical),
            dict(self.versions),
            self.lives,
            self.life,
            self.seq,
            self.unpublished,
            dict(self.turns),
        )


def new_state(names: Mapping[str, frozenset[str]]) -> State:
    """The state of a key that nobody has told of. *names*: side -> what a record there consists of."""
    return State(sides={side: SideState(unknown=fields) for side, fields in names.items()})
