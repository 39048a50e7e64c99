"""What the fold knows about an object: its sides, which side may set which field, what events contain, which policy decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

from salmon.model.change import (
    ERROR,
    MONGODB,
    OWNED_BY_MERGE,
    PLACE,
    SALESFORCE,
    SALESFORCE_ID,
    SIDES,
    Change,
    Op,
    Value,
    WriteOp,
)
from salmon.model.people import BUSINESS, FLAG, JOINED, LAST_NAME, NAME, PARTS, PERSON
from salmon.model.policies import LAST_WRITER_WINS, Policy
from salmon.model.schema import Kind, ObjectSchema
from salmon.model.state import Sent
from salmon.model.views import Compute, View

# Most writes of one side and key without an answer since its last row; beyond that, the next answer emits all that is owed.
IN_FLIGHT_MAX: Final = 8
# Most writes of one side and key that are remembered because their echo may still come: if a sink is down for a month while
# rows are read again and again, the state must not grow. An older echo is judged by its values.
SENT_MAX: Final = 64
# Most notes of one side and key about writes that rows have shown before their events came: if a stream lags by hours while
# rows are read again and again, the state must not grow.
OVERWRITTEN_MAX: Final = 64
# The marker is a number(18,0). This is far below its largest value, so that seqs have room to rise.
SEQ_MAX: Final = 10**17


@dataclass(frozen=True)
class Rules:
    """The rules of one object: all settings that the fold depends on, and nothing else."""

    schema: ObjectSchema
    initial: str = SALESFORCE  # whose value counts if both sides have one before the sync begins
    policy: Policy = LAST_WRITER_WINS
    field_policies: Mapping[str, Policy] = field(default_factory=dict)
    ties: str = SALESFORCE  # which side wins if two edits have the same time
    on_reject: Literal["keep", "revert"] = "keep"
    stamps_always: bool = False  # whether a new audit stamp alone causes a write
    breaker_rounds: int = 5  # how often two sides may undo each other's value of a field ...
    breaker_window_ms: int = 600_000  # ... within this time
    one_way_to: str | None = None  # the side that only receives writes; its own edits are not read
    sides: tuple[str, ...] = SIDES
    guarded: frozenset[str] = frozenset({MONGODB})  # sides whose sink cannot overwrite with an older write
    eventless: frozenset[str] = frozenset()  # sides that tell by rows alone, and never by events
    views: Mapping[str, View] = field(default_factory=dict)  # side -> its filter and masks; others get all
    # Sides whose records stay when they are deleted elsewhere -> the checkbox that marks such a record; empty: none.
    keeps: Mapping[str, str] = field(default_factory=dict)
    # Lookups to objects that have a filter for Salesforce: as such a record leaves, the org clears them, or deletes what has them.
    parents_leave: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        assert self.one_way_to is None or self.one_way_to in self.sides
        assert self.ties in self.sides

    def of_record(self, fields: Mapping[str, Value]) -> Rules:
        """
        The rules for a record with these values, where records are of two kinds: what one of its kind cannot be given, only
        Salesforce sets. Before Salesforce has reported its kind, what it would be created as counts: a last name makes a person.
        """
        if not self.schema.has_kinds:
            return self
        flag = fields.get(FLAG)
        if flag is None:
            if NAME not in self.schema.by_name:
                return self  # a new contact is nobody's
            flag = fields.get(LAST_NAME) is not None or (
                fields.get(NAME) is None and any(fields.get(part) is not None for part in PARTS)
            )
        return self._kinds[PERSON if flag else BUSINESS]

    @cached_property
    def _kinds(self) -> Mapping[str, Rules]:
        return {kind: replace(self, schema=self.schema.of_kind(kind)) for kind in (PERSON, BUSINESS)}

    @cached_property
    def name_parts(self) -> frozenset[str]:
        """The parts of which Salesforce puts Name together; empty for records whose Name is written, or not synced."""
        name = self.schema.by_name.get(NAME)
        is_put_together = name is not None and name.only == BUSINESS and not name.settable
        return JOINED & self.schema.by_name.keys() if is_put_together else frozenset()

    @cached_property
    def names(self) -> Mapping[str, frozenset[str]]:
        """Side -> all fields of a record there, including merge's own properties of a document."""
        every = frozenset(self.schema.by_name)
        own = {SALESFORCE: every - self.schema.computed, MONGODB: every | {SALESFORCE_ID, ERROR}}
        if self.is_placed:
            own[MONGODB] |= {PLACE}
        return {side: own.get(side, every) for side in self.sides}

    @cached_property
    def is_placed(self) -> bool:
        """Whether documents may be in several collections."""
        view = self.views.get(MONGODB)
        return view is not None and view.places is not None

    @cached_property
    def live(self) -> Mapping[str, frozenset[str]]:
        """Side -> the fields whose changes come as events; the others are refreshed by rows."""
        in_events = frozenset(field.name for field in self.schema.of_org.fields if field.live)
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
        """Fields that Salesforce lets be set when a record is created, and never afterwards."""
        return self._settable[WriteOp.CREATE] - self._settable[WriteOp.UPDATE]

    @cached_property
    def decimals(self) -> frozenset[str]:
        return frozenset(field.name for field in self.schema.fields if field.kind is Kind.DECIMAL)

    @cached_property
    def never_empty(self) -> Mapping[str, Value]:
        """
        Fields that must not be empty in Salesforce -> what it means if they are missing in a document: a missing checkbox is
        false. The others are null, which means: not mentioned, because nobody can have wanted to clear them.
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

    def clears(self, side: str, sent: Sent, name: str) -> bool:
        """
        Whether the write clears the field if it is carried out over a record that an earlier creation of ours has made. On a
        guarded side, a creation does that to all fields that it knows and does not name.
        """
        if sent.op is not WriteOp.CREATE or side not in self.guarded:
            return False
        return name not in sent.fields and name not in sent.lacks and name not in OWNED_BY_MERGE

    def seen_by(self, side: str, record: Mapping[str, Value]) -> Mapping[str, Value]:
        """The agreed record as *side* is to hold it."""
        view = self.views.get(side)
        seen = record if view is None else view.of(record)
        return self.had_by(side, seen)

    def had_by(self, side: str, record: Mapping[str, Value]) -> Mapping[str, Value]:
        """The record without the fields that *side* does not have."""
        if side != SALESFORCE or not self.schema.computed:
            return record
        return {name: value for name, value in record.items() if name not in self.schema.computed}

    @cached_property
    def computed(self) -> Mapping[str, Compute]:
        """Field -> how its value is made from the agreed ones."""
        made = {name: of for view in self.views.values() for name, of in view.computed.items()}
        return {name: of for name, of in made.items() if name in self.schema.computed}

    def shown_to(self, side: str, name: str, value: Value) -> Value:
        """What *side* is to hold in the field if *value* is agreed on."""
        view = self.views.get(side)
        return value if view is None else view.shows(name, value)

    def masked(self, side: str) -> Collection[str]:
        """The fields that *side* holds in another form. It cannot set them."""
        view = self.views.get(side)
        return () if view is None else view.masks.keys()

    @cached_property
    def views_digest(self) -> str:
        """Says by which filters and masks records are judged, and what is made of them; empty if there are none."""
        return " ".join(f"{side}={view.digest}" for side, view in sorted(self.views.items()))

    @cached_property
    def masked_somewhere(self) -> frozenset[str]:
        return frozenset(name for view in self.views.values() for name in view.masks)

    def may_win(self, side: str, name: str, *, known_to_salesforce: bool) -> bool:
        """Whether an edit of the field on *side* can ever become the agreed value."""
        if name in self.masked(side):
            return False
        if side == SALESFORCE:
            return True
        if self.one_way_to is not None and side == self.one_way_to:
            return False
        updatable = name in self._settable[WriteOp.UPDATE]
        return updatable or (not known_to_salesforce and name in self._settable[WriteOp.CREATE])

    def cannot_clear(self, side: str, name: str) -> bool:
        """Whether a field that is missing on *side* is not meant as cleared; `never_empty` says what it means instead."""
        return side != SALESFORCE and name in self.never_empty

    def says_nothing(self, side: str, name: str, value: Value) -> bool:
        """Whether *value* stands for no value at all: the field is missing, and nobody can have meant anything by that."""
        return value is None and self.cannot_clear(side, name) and self.never_empty[name] is None

    def only_of(self, side: str) -> frozenset[str]:
        """The fields that only *side* can set: its values always count, and are never a conflict."""
        return self._only_of[side]

    @cached_property
    def _only_of(self) -> Mapping[str, frozenset[str]]:
        every = frozenset(self.schema.by_name)
        nobody: frozenset[str] = frozenset()
        if self.one_way_to is not None:
            return {side: nobody if side == self.one_way_to else every for side in self.sides}
        read_only = every - self._settable[WriteOp.CREATE] - self._settable[WriteOp.UPDATE]
        return {side: read_only if side == SALESFORCE else nobody for side in self.sides}

    def known_only_to(self, side: str) -> frozenset[str]:
        """The fields whose agreed values only *side* can show: those that only it sets, or that all others hold masked."""
        hidden = [
            frozenset(self.masked(other)) for other in self.sides if other != side and self.masked_somewhere
        ]
        shown_here = frozenset.intersection(*hidden) - frozenset(self.masked(side)) if hidden else frozenset()
        return self._only_of[side] | shown_here

    def settable_by_others(self, side: str) -> frozenset[str]:
        """The fields that can be edited on another side than *side*. Nobody edits formulas, roll-ups and stamps."""
        if self.one_way_to is not None and side != self.one_way_to:
            return frozenset()
        return (self._settable[WriteOp.CREATE] | self._settable[WriteOp.UPDATE]) - self.stamps

    def policy_of(self, name: str) -> Policy:
        return self.field_policies.get(name, self.policy)

    def spoken(self, change: Change) -> frozenset[str]:
        """The fields that a change reports. It says nothing about any other field, even if that is null in it."""
        side = change.origin
        if change.changed is not None:
            reported = change.changed & self.names[side]
        else:
            reported = self.names[side] if change.op is Op.ROW else self.live[side]
        return reported if change.knows is None else reported & change.knows
