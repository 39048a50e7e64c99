"""
Compares one record on one side with the agreed record. Pure.

How records are read, and when a difference counts, is in checking.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from salmon.model.change import MONGODB, PLACE, SALESFORCE, SALESFORCE_ID, SIDES, Value, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.state import Parked, SideState, State
from salmon.model.views import View
from salmon.salesforce.ids import id18

# The path of merge's own property in a document.
SALESFORCE_ID_SHOWN: Final = "_salmon.salesforce_id"
MISFIT: Final = "MISFIT"
UNWANTED: Final = "UNWANTED"
_SETTING: Final = (WriteOp.CREATE, WriteOp.UPDATE)


UNREADABLE: Final = "(a value that does not fit its field's type)"


@dataclass(frozen=True, slots=True)
class Seen:
    """
    A record as one side shows it: its fields without nulls, and the names of the fields that could not be read.

    UNREADABLE among these names means that the whole record could not be read.
    """

    key: str
    fields: Mapping[str, Value]
    unreadable: frozenset[str] = frozenset()
    native_id: str | None = None  # Salesforce: its Id


@dataclass(frozen=True, slots=True)
class Terms:
    """Which fields of an object's records are compared with `records` on one side, and how."""

    compared: frozenset[str]
    # Fields that may differ for now: stamps come with the next write, refreshed fields with the next read.
    later: frozenset[str]
    extra_counts: bool  # whether a record that `records` lacks is a difference
    # References (an Id of 15 characters is the same as one of 18), and decimals that the side shows as doubles.
    ids: frozenset[str] = frozenset()
    doubles: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()  # without these, the side refuses a new record
    view: View | None = None  # its filter and masks
    keeps: bool = False  # whether records that are deleted elsewhere stay there
    # The target of a one-way object: what records of one kind cannot be given, and what lookups point to, is not told back.
    one_way: Rules | None = None

    def expected(self, row: Mapping[str, Value]) -> Mapping[str, Value] | None:
        """Return the agreed record as the side is to hold it; None if its filter does not want it, but not if it cannot say."""
        if self.view is None:
            return row
        record = _without_nulls(row)
        if self.view.admits(record) is False:
            return None
        seen = self.view.of(record)
        place = self.view.place(record)
        return seen if place is None else {**seen, PLACE: place}

    def is_undecided(self, row: Mapping[str, Value]) -> bool:
        """Whether the side's filter cannot say if it wants the agreed record: it may be there or not."""
        return self.view is not None and self.view.admits(_without_nulls(row)) is None

    def comparable(self, name: str, value: Value) -> Value:
        """Return the value in a form that is the same for all equal values of the field."""
        if isinstance(value, str) and name in self.ids:
            # A lookup to several objects says of which it is.
            type_, separator, key = value.rpartition(":")
            key = id18(key) or key
            return key if self.one_way is not None else f"{type_}{separator}{key}"
        if isinstance(value, Decimal) and name in self.doubles:
            return float(value)
        return value

    def not_given(self, fields: Mapping[str, Value]) -> frozenset[str]:
        """What a record with these values cannot be given, because it is a person or a business, and so is not compared."""
        if self.one_way is None or not self.one_way.schema.has_kinds:
            return frozenset()
        own = self.one_way.of_record(fields).schema.by_name
        return frozenset(name for name, field in own.items() if field.only and not field.settable)


def terms_of(rules: Rules, further: Collection[str] = ()) -> Mapping[str, Terms]:
    """
    Return what is compared on each side: Salesforce, MongoDB, and those *further* sides whose plugins can show their records.

    The target of a one-way object may have records of its own. If Salesforce is that target, only the fields that can be
    set there are compared.
    """
    every = frozenset(rules.schema.by_name)
    settable = frozenset(name for op in _SETTING for name in rules.sink_may_set(SALESFORCE, op))
    compared = {
        SALESFORCE: settable if rules.one_way_to == SALESFORCE else every - rules.schema.computed,
        MONGODB: every if rules.one_way_to == SALESFORCE else every | {SALESFORCE_ID},
    }
    if rules.is_placed:
        compared[MONGODB] |= {PLACE}
    later = {SALESFORCE: rules.stamps | (every - rules.live[SALESFORCE]), MONGODB: rules.stamps}
    ids = frozenset(field.name for field in rules.schema.references)
    doubles = {SALESFORCE: rules.decimals, MONGODB: frozenset[str]()}
    required = {SALESFORCE: rules.required, MONGODB: frozenset[str]()}
    own = {
        side: Terms(
            compared[side],
            later[side],
            extra_counts=rules.one_way_to != side,
            ids=ids,
            doubles=doubles[side],
            required=required[side],
            view=rules.views.get(side),
            keeps=side in rules.keeps,
            one_way=rules if rules.one_way_to == side == SALESFORCE else None,
        )
        for side in SIDES
    }
    return own | {
        side: Terms(
            every,
            rules.stamps,
            extra_counts=True,
            ids=ids,
            view=rules.views.get(side),
            keeps=side in rules.keeps,
        )
        for side in rules.sides
        if side in further and side not in own
    }


@dataclass(frozen=True, slots=True)
class Finding:
    """How one record on one side differs. If only `later` is set, that is not a difference."""

    missing: bool = False  # agreed, but not there
    extra: bool = False  # there, but not agreed
    fields: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()

    @property
    def differs(self) -> bool:
        return self.missing or self.extra or bool(self.fields)


NOTHING: Final = Finding()


def finding(agreed: Mapping[str, Value] | None, seen: Seen | None, terms: Terms) -> Finding:
    """
    Compare a record as a side shows it with the agreed record.

    Args:
        agreed: The row of `records`, with or without nulls; None if there is none.
        seen: None if the side has no such record.
    """
    if agreed is None:
        counts = seen is not None and terms.extra_counts and not terms.keeps
        return Finding(extra=True) if counts else NOTHING
    if seen is None:
        return Finding(missing=True)
    if UNREADABLE in seen.unreadable or PLACE in seen.unreadable:
        return Finding(fields=seen.unreadable)  # the record as a whole, or there are several documents
    differing = {
        name
        for name in terms.compared - terms.not_given(agreed)
        if name in seen.unreadable
        or terms.comparable(name, agreed.get(name)) != terms.comparable(name, seen.fields.get(name))
    }
    return Finding(fields=frozenset(differing - terms.later), later=frozenset(differing & terms.later))


def findings(
    key: str,
    agreed: Mapping[str, Value] | None,
    seen: Mapping[str, Seen | None],
    terms: Mapping[str, Terms],
) -> dict[str, Finding]:
    """
    Compare a record as all sides show it with the agreed record.

    Args:
        seen: Side -> the record there; None if there is none.
    """
    in_org, document = seen.get(SALESFORCE), seen.get(MONGODB)
    if agreed is None:
        return {side: finding(None, seen.get(side), its) for side, its in terms.items()}
    expected = {side: its.expected(agreed) for side, its in terms.items()}
    wanted = expected[MONGODB]
    if wanted is not None and document is not None:
        # If the org does not have the record, that is the difference, and not the Id that the document still has.
        native_id = document.fields.get(SALESFORCE_ID) if in_org is None else in_org.native_id or id18(key)
        expected[MONGODB] = {**wanted, SALESFORCE_ID: native_id}
    found = {
        side: _unwanted(seen.get(side), terms[side])
        if (record := expected[side]) is None
        else finding(record, seen.get(side), terms[side])
        for side in terms
    }
    undecided = [side for side, its in terms.items() if found[side].differs and its.is_undecided(agreed)]
    return found | {side: _values_of(found[side]) for side in undecided}


def _without_nulls(row: Mapping[str, Value]) -> Mapping[str, Value]:
    return {name: value for name, value in row.items() if value is not None}


def _values_of(found: Finding) -> Finding:
    """What was found of a record's values, and neither whether the side has it nor in which collection."""
    return Finding(fields=found.fields - {PLACE}, later=found.later)


def _unwanted(seen: Seen | None, terms: Terms) -> Finding:
    """Compare a record that the side's filter does not want."""
    return Finding(fields=frozenset({EXISTENCE})) if seen is not None and terms.extra_counts else NOTHING


@dataclass(frozen=True, slots=True)
class ParkedFields:
    """
    A difference that merge knows about. It is parked until a person edits or decides, or the parent record exists; or the
    side has a value that cannot be synced until a person corrects it.
    """

    key: str
    side: str
    why: str  # REFUSED, DEFERRED, HELD, MISFIT or UNWANTED
    fields: tuple[str, ...]  # empty: the record as a whole
    code: str = ""


def excused(
    key: str, side: str, found: Finding, state: SideState | None
) -> tuple[Finding, tuple[ParkedFields, ...]]:
    """Split what was found on a side into what merge does not know about, and what is parked there."""
    parked = state.parked if state is not None else {}
    misfits = state.misfits if state is not None else {}
    if not parked and not misfits:
        return found, ()
    if found.missing or found.extra:
        if not parked:
            return found, ()
        # A record waits as a whole, or because a field that it cannot be created without is parked.
        cause = parked.get(EXISTENCE) or next(iter(parked.values()))
        waits_whole = EXISTENCE in parked or (
            found.missing and state is not None and state.exists is not True
        )
        return (NOTHING, (_waiting(key, side, cause, ()),)) if waits_whole else (found, ())
    known: dict[Parked, list[str]] = {}
    for name in found.fields & parked.keys():
        known.setdefault(parked[name], []).append(name)
    waiting = [_waiting(key, side, why, sorted(names)) for why, names in known.items()]
    waiting += [
        ParkedFields(key, side, MISFIT, (name,), misfits[name].code)
        for name in sorted((found.fields & misfits.keys()) - parked.keys())
    ]
    return Finding(fields=found.fields - parked.keys() - misfits.keys(), later=found.later), tuple(waiting)


def staying(key: str, side: str, found: Finding, state: State | None) -> ParkedFields | None:
    """Return why a record is on *side* that its filter does not want: it was born there, or a person has kept it."""
    if EXISTENCE not in found.fields or state is None or side not in state.sides:
        return None
    held = state.sides[side]
    stays = state.lives and held.exists is True and bool(held.viewed_by) and not held.entered
    return ParkedFields(key, side, UNWANTED, ()) if stays else None


def withheld(key: str, side: str, found: Finding, state: State | None, terms: Terms) -> ParkedFields | None:
    """Return why a record cannot be created on *side*: another side has a value that cannot be synced in a required field."""
    if state is None or not found.missing:
        return None
    for other, held in state.sides.items():
        for name in sorted(terms.required & held.misfits.keys() - state.canonical.keys()):
            return ParkedFields(key, other, MISFIT, (name,), held.misfits[name].code)
    return None


def _waiting(key: str, side: str, parked: Parked, fields: tuple[str, ...] | list[str]) -> ParkedFields:
    return ParkedFields(key, side, parked.why.value, tuple(map(shown, fields)), parked.code)


def shown(name: str) -> str:
    """A field's name as people know it."""
    return SALESFORCE_ID_SHOWN if name == SALESFORCE_ID else name


class Why(StrEnum):
    """Why a record still differs after a repair."""

    NOT_ANSWERED = "NOT_ANSWERED"  # a source has not read it: it does not run, or cannot reach its side
    ON_ITS_WAY = "ON_ITS_WAY"  # a write to a side that differs has not been confirmed yet
    ONE_WAY = "ONE_WAY"  # the target of a one-way object is not read: edit the record at its source
    EDITED = "EDITED"  # it was edited again and again meanwhile
    LEFT = "LEFT"  # both sides were read, and merge found nothing to do


@dataclass(slots=True)
class ObjectVerdict:
    """The result for one object. Lists are sorted by key."""

    name: str
    counts: dict[str, int] = field(default_factory=dict)  # of each side, and `records`: how many there are
    equal: int = 0  # records that are the same on all sides and in `records`
    different: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)  # key -> side -> fields
    missing_in: dict[str, list[str]] = field(
        default_factory=lambda: {SALESFORCE: [], MONGODB: [], "records": []}
    )
    moving: list[str] = field(default_factory=list)  # edited again and again, so that there is no result
    parked: list[ParkedFields] = field(default_factory=list)
    not_looked_at: int = 0  # records that differed when they were read, and were not looked at again
    refreshed_later: int = 0  # records with stamps or refreshed fields that differ for now
    without_key: int = 0  # documents whose _id cannot be a record key
    keyless: Sequence[tuple[str, str]] = ()  # the first of them: the _id, and why
    on_their_way: int = 0  # of the records that differ: those with an unconfirmed write
    never_read: int = (
        0  # of these: those that differ only in the target of a one-way object; only without a repair
    )
    exist: frozenset[str] | None = None  # if only some keys are compared: those that exist anywhere
    # The result of a repair: how many records the sources were asked to read, and how many of these are in sync now.
    asked: int = 0
    repaired: int = 0
    remains: dict[str, Why] = field(default_factory=dict)  # key -> why it still differs
    unanswered: frozenset[str] = frozenset()  # sides whose source has not answered

    @property
    def differs(self) -> bool:
        """Whether anything differs that is not parked, refreshed later or still moving."""
        return bool(self.different or any(self.missing_in.values()) or self.without_key)

    @property
    def all_equal(self) -> bool:
        """Whether every record was compared and nothing differs."""
        return not (self.differs or self.moving or self.not_looked_at)

    @property
    def summary(self) -> dict[str, int]:
        """
        How many records differ, are missing somewhere, or wait. Each record is counted once, by the first of these: one may be
        missing on two sides, or differ on one and wait on another.
        """
        missing = {key for keys in self.missing_in.values() for key in keys} - self.different.keys()
        waiting = {each.key for each in self.parked} - missing - self.different.keys() - set(self.moving)
        return {"different": len(self.different), "missing": len(missing), "parked": len(waiting)}

    @property
    def named(self) -> int:
        """How many differences are named."""
        return len(self.different) + sum(map(len, self.missing_in.values()))

    def in_order(self) -> ObjectVerdict:
        """Sort the lists by key, because the order of the buckets has no meaning. Returns itself."""
        self.different = dict(sorted(self.different.items()))
        self.remains = dict(sorted(self.remains.items()))
        for keys in (*self.missing_in.values(), self.moving):
            keys.sort()
        self.parked.sort(key=lambda waiting: (waiting.key, waiting.side))
        return self

    def as_dict(self) -> dict[str, object]:
        """As `salmon verify --json` prints it."""
        return {
            **self.counts,
            "equal": self.equal,
            "summary": self.summary,
            "different": [
                {"key": key, "fields": {side: list(names) for side, names in sides.items()}}
                for key, sides in self.different.items()
            ],
            "missing_in": self.missing_in,
            "moving": self.moving,
            "parked": [
                {"key": w.key, "side": w.side, "why": w.why, "fields": list(w.fields), "code": w.code}
                for w in self.parked
            ],
            "not_looked_at": self.not_looked_at,
            "refreshed_later": self.refreshed_later,
            "without_key": self.without_key,
            "keyless": [{"_id": shown, "why": why} for shown, why in self.keyless],
            "on_their_way": self.on_their_way,
            "never_read": self.never_read,
            "repair": {
                "asked": self.asked,
                "repaired": self.repaired,
                "remains": [{"key": key, "why": why} for key, why in self.remains.items()],
                "unanswered": sorted(self.unanswered),
            },
        }
