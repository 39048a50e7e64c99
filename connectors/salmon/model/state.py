"""
What merge remembers about one record: the agreed values, what each side holds, and which writes are on their way to it.

The fold copies a state before it changes it, so a failed transaction changes nothing.
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
    baseline: bool = False  # it was there before the sync began; Salmon has not seen the edit


NEVER: Final = Version(committed_at=0, origin="", seq=0, baseline=True)


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that its side has not acknowledged yet."""

    op: WriteOp
    fields: Mapping[str, Value]
    committed_at: int = 0  # ms, of the change that caused it
    # Fields that the sync did not know yet when it was written, or an earlier creation that it may have been carried out over.
    lacks: frozenset[str] = frozenset()
    # Of a creation, as in the write: what it changes in a record that has this marker or a newer one. None: all.
    expected: int = 0
    differs: frozenset[str] | None = None

    def spares(self, name: str) -> bool:
        """Whether it leaves the field alone in a record that an earlier creation, which said the same of it, has made."""
        return self.differs is not None and name not in self.differs


class Park(StrEnum):
    """Why a difference is not sent to a side."""

    REFUSED = "REFUSED"  # until one field of its group is edited again
    DEFERRED = "DEFERRED"  # until the record that it refers to exists
    HELD = "HELD"  # until a person resolves the conflict
    OSCILLATING = "OSCILLATING"  # two automations undo each other; see salmon.model.steps.breaker


@dataclass(frozen=True, slots=True)
class Parked:
    """A field (or EXISTENCE) that is not sent to a side for now. Fields that were refused together have the same *group*."""

    why: Park
    group: int  # the seq of the write or change that parked it
    code: str = ""  # the side's error code
    reason: str = ""
    keeps: Value = (
        None  # HELD: the side's own value; the side keeps it, or gets it back if our write replaced it
    )


EMPTIED: Final = -1
TAKEN_AWAY: Final = -2


@dataclass(frozen=True, slots=True)
class Overwritten:
    """
    A note about one field: a row has shown what our write set, while earlier events of the field may still be on their way.

    An example. Salesforce holds 1. A user there sets 2. Our write, made without knowing of that, sets 3. Then a row is read:
    it carries the marker of our write and shows 3. The event of the user's 2 is still on its way. When it arrives, it is
    older than the row, and old news is not judged, so the 2 would be lost silently. Therefore the row leaves this note:
    "write 7 set the field; before, it was 1". The late event of 2 goes into `edit`. Then the event of write 7 arrives, which
    shows that 2 was the last value before it. Only now is 2 judged, as an edit whose author saw 1. If instead the row shows
    2, because the user set 2 after our 3, that value goes into `later`: the late event of 2 is then nothing new.

    A row that shows a field as empty which never is (Rules.says_nothing) leaves a note as well: what was there before it was
    emptied is reported by late events only. No write of ours is in that one.

    A look that did not find a record which we have taken off a side leaves a note for each field: the record lives on elsewhere,
    so what somebody has edited there before that counts (salmon.model.steps.taken_away).

    A note is dropped as soon as an event comes that is newer than the rows.
    """

    name: str
    seq: int  # of our write; EMPTIED: the row shows the field as empty; TAKEN_AWAY: the record was not found
    before: Value  # what the side held before, by its last report
    since: int  # as_of of the row that reported it, by the side's commit clock; -1 for none
    edited: bool = False  # whether events from before our write have reported edits
    edit: Value = None  # the last of these edits
    edited_at: int = 0  # its committed_at; TAKEN_AWAY: the as_of of the look
    # What the last row has shown instead of the write's value: an edit that came after the write.
    later: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Turns:
    """When the sides have lately undone each other's value of one field; see salmon.model.steps.breaker."""

    # The log's time of each turn, in ms, ascending. After the breaker has tripped: of the last edit.
    times: tuple[int, ...]
    tripped: bool = False  # whether the breaker has tripped and the field is parked


@dataclass(slots=True)
class SideState:
    """What one side holds, as far as it has reported."""

    exists: bool | None = None  # None: it has not reported yet
    native_id: str | None = None
    shadow: dict[str, Value] = field(default_factory=dict)  # without nulls
    unknown: frozenset[str] = frozenset()  # fields that it has not reported yet; unknown is not null
    order: bytes = b""  # of its last event
    commit_time: int = 0  # of its last event
    as_of: int = -1  # of its last row
    marker: int = 0  # the seq that its record carries
    settled: int = 0  # the highest seq it has answered; of a one-way object's target, that of the last deletion sent to it
    # seq -> a write whose echo has not come yet, ascending. A write up to `settled` is finished, by the outcome of a later
    # one. It is kept until its echo or a row comes, because outcomes can overtake events. So is what took the record off a side
    # that is filtered: it is perhaps carried out once more (salmon.model.steps.taken_away).
    sent: dict[int, Sent] = field(default_factory=dict)
    burst: int = 0  # writes that were sent since its last row and are not answered
    row_since_write: bool = False
    standing: bool = False  # whether the newest record in its topic is a write, not a tombstone
    held: bool = False  # after GONE or EXISTS: nothing is sent there until it has reported what it has
    overwritten: tuple[Overwritten, ...] = ()  # oldest first, until the events have caught up with the rows
    parked: dict[str, Parked] = field(default_factory=dict)
    history: str = ""  # of the last change that it reported; see Change.history
    misfits: dict[str, Misfit] = field(default_factory=dict)  # its values that cannot be synced
    viewed_by: str = ""  # digest of the side's view by which `entered` was worked out; see salmon.model.views
    # The record has come to the side through its filter, or was there before that: when it ceases to match, it is taken away.
    # Not so a record that was born there and has never matched: it stays. If the side has no view: whether we were about to take
    # the record away as its last one ended.
    entered: bool = False

    @property
    def in_flight(self) -> dict[int, Sent]:
        """The writes that have no answer yet."""
        return {seq: sent for seq, sent in self.sent.items() if seq > self.settled}

    @property
    def sent_since_row(self) -> frozenset[int]:
        """The writes that were sent since its last row and have no answer yet. Answers come to the oldest first."""
        return frozenset(sorted(self.in_flight, reverse=True)[: self.burst])

    def awaits(self, op: WriteOp) -> bool:
        """Whether a write of this kind has no answer yet."""
        return any(sent.op is op for sent in self.in_flight.values())

    def holds(self, name: str) -> bool:
        """Whether the side keeps its own value of the field until a person resolves the conflict."""
        return name in self.parked and self.parked[name].why is Park.HELD

    @property
    def kept(self) -> dict[str, Value]:
        """The values that the side keeps while conflicts are on hold."""
        if not self.parked:
            return {}  # the usual case, and this runs in every fold
        return {name: p.keeps for name, p in self.parked.items() if p.why is Park.HELD}

    def copy(self) -> SideState:
        copied = SideState(*_all_of(self))
        copied.shadow, copied.sent, copied.parked = dict(self.shadow), dict(self.sent), dict(self.parked)
        copied.misfits = dict(self.misfits)
        return copied


# Used instead of dataclasses.replace, which takes five times as long: every fold copies every side.
_all_of: Final = attrgetter(*(each.name for each in fields(SideState)))


@dataclass(slots=True)
class State:
    """All that merge knows about one key."""

    sides: dict[str, SideState]
    canonical: dict[str, Value] = field(default_factory=dict)  # the agreed values, without nulls
    versions: dict[str, Version] = field(default_factory=dict)  # of every field that was ever set
    lives: bool = False
    life: Version = NEVER  # of the creation or deletion that set `lives`
    seq: int = 0  # the last one used
    unpublished: bool = False  # whether canonical has changed since it was written to `records`
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
    """Return the state of a key that no side has reported yet. *names*: side -> the fields of a record there."""
    return State(sides={side: SideState(unknown=fields) for side, fields in names.items()})
