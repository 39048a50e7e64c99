"""What the fold knows of an object: its sides, who may set which field, what a side's events carry, who decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from salmon.model.change import ERROR, MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Change, Op, Value, WriteOp
from salmon.model.policies import LAST_WRITER_WINS, Policy
from salmon.model.schema import Kind, ObjectSchema

# What is unacknowledged on one side and key since its last row; beyond it, the next answer emits all that is owed.
IN_FLIGHT_MAX: Final = 8
# What is remembered of writes that may still come back, on one side and key: a sink that is down for a month while
# rows are read again and again must not make the state grow. An echo older than that is judged by its values.
SENT_MAX: Final = 64
# What is remembered of our writes that rows have shown before any event did, on one side and key: a stream that lags
# by hours while rows are read again and again must not make the state grow.
OVERWRITTEN_MAX: Final = 64
# The marker is a number(18,0); far below its end, so that seqs have room to rise.
SEQ_MAX: Final = 10**17


@dataclass(frozen=True)
class Rules:
    """The rules of one object. All settings that the fold obeys are here, and nothing else is."""

    schema: ObjectSchema
    initial: str = SALESFORCE  # whose value holds when both sides have one at first contact
    policy: Policy = LAST_WRITER_WINS
    field_policies: Mapping[str, Policy] = field(default_factory=dict)
    ties: str = SALESFORCE  # who wins when two edits have the same time
    on_reject: Literal["keep", "revert"] = "keep"
    stamps_always: bool = False  # audit stamps cause writes of their own
    breaker_rounds: int = 5  # so often two sides may undo each other's value of a field ...
    breaker_window_ms: int = 600_000  # ... within so long
    one_way_to: str | None = None  # the side that only receives, and does not answer
    sides: tuple[str, ...] = SIDES
    guarded: frozenset[str] = frozenset({MONGODB})  # sides whose sink cannot repeat an older write

    def __post_init__(self) -> None:
        assert self.one_way_to is None or self.one_way_to in self.sides
        assert self.ties in self.sides

    @cached_property
    def names(self) -> Mapping[str, frozenset[str]]:
        """Side -> all that a record there consists of, merge's own properties of a document included."""
        own = frozenset(self.schema.by_name)
        return {side: own | {SALESFORCE_ID, ERROR} if side == MONGODB else own for side in self.sides}

    @cached_property
    def live(self) -> Mapping[str, frozenset[str]]:
        """Side -> the fields whose changes come as events; the others are refreshed by rows."""
        in_events = frozenset(field.name for field in self.schema.fields if field.live)
        return {side: in_events if side == SALESFORCE else self.names[side] for side in self.sides}

    @cached_property
    def stamps(self) -> frozenset[str]:
        return frozenset(field.name for field in self.schema.fields if field.is_stamp)

    @cached_property
    def required(self) -> frozenset[str]:
        """Fields without which Salesforce refuses a new record."""
        return frozenset(field.name for field in self.schema.fields if field.required)

    @cached_property
    def set_once(self) -> frozenset[str]:
        """Fields that Salesforce takes as a record is created, and never again."""
        return self._settable[WriteOp.CREATE] - self._settable[WriteOp.UPDATE]

    @cached_property
    def decimals(self) -> frozenset[str]:
        return frozenset(field.name for field in self.schema.fields if field.kind is Kind.DECIMAL)

    @cached_property
    def never_empty(self) -> Mapping[str, Value]:
        """
        Fields that Salesforce does not let be empty -> what their absence in a document means: a checkbox that is missing
        is false; for the others null, since nobody can have meant to clear them.
        """
        return {
            field.name: False if field.kind is Kind.BOOLEAN else None
            for field in self.schema.fields
            if not field.nillable
        }

    @cached_property
    def _settable(self) -> Mapping[WriteOp, frozenset[str]]:
        return {
            WriteOp.CREATE: frozenset(field.name for field in self.schema.fields if field.create),
            WriteOp.UPDATE: frozenset(field.name for field in self.schema.fields if field.update),
            WriteOp.DELETE: frozenset(),
        }

    def sink_may_set(self, side: str, op: WriteOp) -> frozenset[str]:
        """The fields that a write to *side* may set."""
        return self._settable[op] if side == SALESFORCE else self.names[side]

    def may_win(self, side: str, name: str, *, known_to_salesforce: bool) -> bool:
        """Whether an edit of the field on *side* can ever become the agreed value."""
        if side == SALESFORCE:
            return True
        if self.one_way_to is not None and side == self.one_way_to:
            return False
        updatable = name in self._settable[WriteOp.UPDATE]
        return updatable or (not known_to_salesforce and name in self._settable[WriteOp.CREATE])

    def cannot_clear(self, side: str, name: str) -> bool:
        """Whether a field that is missing on *side* is no wish to clear it: `never_empty` says what it means."""
        return side != SALESFORCE and name in self.never_empty

    def only_of(self, side: str) -> frozenset[str]:
        """The fields that nobody but *side* ever sets: what it tells of them is so, and never a conflict."""
        return self._only_of[side]

    @cached_property
    def _only_of(self) -> Mapping[str, frozenset[str]]:
        every = frozenset(self.schema.by_name)
        nobody: frozenset[str] = frozenset()
        if self.one_way_to is not None:
            return {side: nobody if side == self.one_way_to else every for side in self.sides}
        read_only = every - self._settable[WriteOp.CREATE] - self._settable[WriteOp.UPDATE]
        return {side: read_only if side == SALESFORCE else nobody for side in self.sides}

    def settable_by_others(self, side: str) -> frozenset[str]:
        """The fields that somebody other than *side* may edit; formulas, roll-ups and stamps are nobody's edit."""
        if self.one_way_to is not None and side != self.one_way_to:
            return frozenset()
        return (self._settable[WriteOp.CREATE] | self._settable[WriteOp.UPDATE]) - self.stamps

    def policy_of(self, name: str) -> Policy:
        return self.field_policies.get(name, self.policy)

    def spoken(self, change: Change) -> frozenset[str]:
        """The names that a change speaks of; null in any other says nothing."""
        side = change.origin
        if change.changed is not None:
            told = change.changed & self.names[side]
        else:
            told = self.names[side] if change.op is Op.ROW else self.live[side]
        return told if change.knows is None else told & change.knows
