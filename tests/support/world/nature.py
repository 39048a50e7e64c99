"""What every part of the World shares: its time, its chance, what kind of schedule it is, and who wrote what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from salmon.model.change import MONGODB, SALESFORCE, SIDES, Value
from salmon.model.policies import POLICIES
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from support.world.views import CHANGES, LABEL, views_of

OBJECT = "Account"
THIRD = "third"
EDITABLE = ("Name", "Phone", "City")
ADDED = "Extra"  # a field that the sync begins to know while it runs
RANK = "Rank"  # a field that the org never lets be empty
LINK = "BossId"  # a lookup, which the org clears by itself as its target is deleted


def _text(name: str, **told: bool) -> FieldSchema:
    return FieldSchema(name=name, type="string", kind=Kind.STRING, **told)  # type: ignore[arg-type]


FIELDS = (
    _text("Name"),
    _text("Phone"),  # a trigger may tidy it
    _text("City"),
    FieldSchema(name=LINK, type="reference", kind=Kind.STRING, reference_to=("Boss",)),
    _text(RANK, nillable=False),
    _text("Shout", create=False, update=False),  # derived from Name by the org
    _text("Rollup", create=False, update=False, live=False),  # derived too, but no event carries it
    FieldSchema("LastModifiedDate", "datetime", Kind.DATETIME, create=False, update=False),
)
SCHEMA = ObjectSchema(OBJECT, FIELDS, "001")
GROWN = ObjectSchema(OBJECT, (*FIELDS, _text(ADDED)), "001")
_LABEL = _text(LABEL, create=False, update=False, live=False, computed=True)


@dataclass
class Knobs:
    """What kind of schedule it is."""

    normalise: bool = False  # Salesforce stores Phone in upper case
    insists: bool = False  # an application stores Phone in lower case, whenever our sink has set it otherwise
    keep_city: bool = False  # Salesforce silently keeps its City where the new one begins with "k"
    refuse_city: bool = False  # Salesforce refuses a City that begins with "r"
    names_fault: bool = True  # and says that it is the City's fault
    refuse_deletes: bool = False  # Salesforce keeps records whose Name begins with "r"
    repeats: float = 0.1  # sources tell again what they told, late
    crashes: float = 0.05  # sinks and sources die, before and after the write, before the commit
    rows: float = 0.1
    holes: float = 0.0  # events are lost, and everything is read anew
    deletes: float = 0.05
    undeletes: float = 0.0
    follows: float = (
        0.0  # as our sink deletes a record, the org clears a lookup, or deletes another record with it
    )
    restores: float = 0.0  # documents are restored, or copied with their markers
    bursts: float = 0.1
    on_both: bool = False
    grows: bool = False  # the sync begins to know another field while it runs
    staggers: bool = False  # and its processes one after the other
    parting: bool = False  # and just before, somebody deletes a document, while the sink of the org is down
    overlaps: bool = (
        False  # and just before, a creation of ours is on its way to a document that an earlier one has made
    )
    fades: bool = False  # and later knows it no more
    policy: str = "last_writer_wins"
    initial: str = SALESFORCE
    on_reject: Literal["keep", "revert"] = "keep"
    one_way_to: str | None = None
    early: bool = False  # MongoDB's events may come before the first rows of their documents
    restarts: float = 0.02  # merge starts anew from what its topic holds
    operator: float = 0.0  # an operator edits records, and resolves what is held
    unfit: float = 0.0  # users of the database set a field to what is no text
    retries: float = 0.0  # an operator has what was refused sent again
    fills: bool = (
        False  # Salesforce has a default for Phone, which it gives to what our sink creates without one
    )
    locks: float = 0.0  # our writes find records of Salesforce locked, by an approval or by somebody at work
    ranks: bool = False  # users set a field that Salesforce fills in at a creation, and never lets be empty
    goes_back: str | None = None  # a side that once shows again what was true some time ago
    polled: bool = False  # the org tells no events: its source polls it
    third: bool = False  # a further side takes part, another database
    filters: str | None = None  # a side that does not want every record
    masks: str | None = None  # a side that holds a field in another form
    views_change: str = ""  # how filter and mask change while the sync runs; see support.world.views
    keeps: str | None = None  # a side that keeps what is deleted on the other
    computes: bool = False  # documents have a field that is made of others, which users set as well
    parts: bool = False  # the org is read in ranges of Ids, each by itself
    places: bool = False  # MongoDB has the records in two collections, by their names
    leaves: bool = (
        False  # the configuration once names another collection, which has not all of the documents
    )


def any_knobs(random: Random) -> Knobs:
    """A kind of schedule, at random."""

    def one_in(count: int) -> bool:
        return random.random() * count < 1

    knobs = Knobs(
        normalise=one_in(3),
        keep_city=one_in(4),
        refuse_city=one_in(4),
        names_fault=one_in(2),
        refuse_deletes=one_in(8),
        repeats=random.choice((0, 0.1, 0.4)),
        crashes=random.choice((0, 0.05, 0.2)),
        rows=random.choice((0, 0.1, 0.4)),
        holes=random.choice((0, 0, 0.05)),
        deletes=random.choice((0, 0, 0.1)),
        bursts=random.choice((0, 0.2)),
        on_both=one_in(3),
        grows=one_in(6),
        policy=random.choice(("last_writer_wins", SALESFORCE, MONGODB)),
        initial=random.choice((SALESFORCE, MONGODB)),
        on_reject=random.choice(("keep", "revert")),
        one_way_to=random.choice((None, None, None, None, None, None, MONGODB, SALESFORCE)),
        restarts=random.choice((0, 0.05)),
    )
    if knobs.one_way_to:  # its target does not answer, so what it made of a write is not known
        knobs.normalise = knobs.keep_city = False
    if knobs.deletes:
        knobs.undeletes = random.choice((0, 0.1))
        knobs.restores = random.choice((0, 0, 0.1))
    _add_aside(knobs, random)
    return knobs


def _add_aside(knobs: Knobs, random: Random) -> None:
    """Drawn aside, so that all other stories go on as they were told before there were these knobs."""
    aside = Random()
    aside.setstate(random.getstate())
    operator, holds = aside.choice((0, 0, 0, 0.05)), aside.random() < 0.15
    if not knobs.one_way_to:
        knobs.operator = operator
        knobs.policy = "hold" if holds else knobs.policy
    knobs.fades = knobs.grows and aside.random() < 0.3
    follows = aside.choice((0, 0, 0.5))
    if knobs.deletes and not knobs.one_way_to:
        knobs.follows = follows
    knobs.early = aside.random() < 0.3
    knobs.staggers = knobs.grows and aside.random() < 0.5
    knobs.overlaps = knobs.grows and not knobs.one_way_to and aside.random() < 0.5
    knobs.parting = knobs.grows and bool(knobs.deletes) and not knobs.one_way_to and aside.random() < 0.5
    knobs.unfit, knobs.retries = aside.choice((0, 0, 0.15)), aside.choice((0, 0.05))
    knobs.fills = not knobs.one_way_to and aside.random() < 0.25
    goes_back, which = aside.random() < 0.06, aside.choice(SIDES)
    # Left out: a default that an org gives to what it is sent twice, before and after it was refreshed. By the row of it,
    # somebody may have edited the first one's. And what the history of a one-way object's origin means is not said.
    defaults = knobs.fills and which == SALESFORCE
    if goes_back and not (knobs.one_way_to or defaults):
        knobs.goes_back = which
    knobs.locks = aside.choice((0, 0, 0, 0.15))
    knobs.ranks = not (knobs.one_way_to or knobs.goes_back) and aside.random() < 0.25
    knobs.polled = not (knobs.one_way_to or knobs.goes_back) and aside.random() < 0.15
    _add_views(knobs, aside)
    knobs.parts = aside.random() < 0.3
    # Left out: several collections, where a look that comes after a later deletion may take the end of a copy for ours (seed 1309).
    knobs.leaves = not (knobs.one_way_to or knobs.goes_back or knobs.places) and aside.random() < 0.1
    keeps, which = aside.random() < 0.2, aside.choice(SIDES)
    if keeps and knobs.deletes:
        knobs.keeps = knobs.one_way_to or which


def _add_views(knobs: Knobs, random: Random) -> None:
    targets = SIDES if knobs.one_way_to is None else (knobs.one_way_to,)
    filters, masks = random.choice(targets), random.choice(targets)
    knobs.filters = filters if random.random() < 0.15 else None
    knobs.masks = masks if random.random() < 0.1 else None
    knobs.views_change = random.choice(CHANGES) if knobs.filters or knobs.masks else ""
    knobs.computes = knobs.one_way_to != SALESFORCE and random.random() < 0.15
    if knobs.computes and not knobs.views_change and random.random() < 0.3:
        knobs.views_change = "another"
    if knobs.filters == SALESFORCE:
        knobs.follows = 0  # what the org does by itself as a record leaves is told in another place
    if knobs.masks == SALESFORCE:
        knobs.normalise = False  # a trigger that tidies what is masked, and is overruled, is an oscillation
    knobs.places = knobs.one_way_to != SALESFORCE and random.random() < 0.12
    if knobs.places and not knobs.views_change and random.random() < 0.3:
        knobs.views_change = "another"


@dataclass
class Time:
    """The World's one clock, and the number of everything that was ever committed."""

    ms: int = 1_700_000_000_000
    count: int = 0

    def next(self) -> int:
        self.count += 1
        return self.count


@dataclass
class History:
    """Who wrote what, having seen what. Nobody ever writes a value that somebody wrote before."""

    parents: dict[Value, Value] = field(default_factory=dict)  # a value -> the one that its author saw
    authored: set[Value] = field(default_factory=set)
    places: dict[Value, str] = field(default_factory=dict)  # a value -> the field it was written to
    records: dict[Value, str] = field(
        default_factory=dict
    )  # a value -> the key of the record that it was written to
    emptied: set[tuple[str, str]] = field(default_factory=set)  # key and field that somebody has cleared
    derived: set[Value] = field(default_factory=set)  # by a trigger
    cleared: set[Value] = field(default_factory=set)  # by somebody who saw them
    unfit: dict[Value, tuple[str, str]] = field(
        default_factory=dict
    )  # what is no text -> key and field in whose value's place somebody has put it
    filled: set[Value] = field(default_factory=set)  # by the org, into what our sink created
    found: set[Value] = field(default_factory=set)  # there before the sync began
    unsure: dict[Value, str] = field(
        default_factory=dict
    )  # edits of what their side had not told -> that side
    chosen: set[Value] = field(default_factory=set)  # by an operator, who may take an old value again
    # A value in the org -> key and seq of the writes of ours that went over it.
    beaten: dict[Value, set[tuple[str, int]]] = field(default_factory=dict)
    beaten_late: set[Value] = field(
        default_factory=set
    )  # by a call of a dead sink that was carried out once more

    # What was written where its side's history was lost before anybody heard of it, or where nobody can tell it from what
    # that history shows: until the first row of a record after it.
    unheard: set[Value] = field(default_factory=set)

    # Side and key of records that somebody, or a trigger, has created or edited there since the sync began.
    touched: set[tuple[str, str]] = field(default_factory=set)
    # Side and key of records that somebody has deleted there, or the org by itself; or our sink twice, where somebody had
    # brought it back meanwhile: no event says which of our deletions it tells of.
    ended: set[tuple[str, str]] = field(default_factory=set)
    # Keys of records that somebody has deleted in a document that showed all that anybody had edited, and nobody has edited since.
    mourned: set[str] = field(default_factory=set)
    # Side and key of records that somebody has created or brought back there.
    born: set[tuple[str, str]] = field(default_factory=set)

    def wrote(self, value: str, name: str, seen: Value) -> str:
        self.authored.add(value)
        self.parents.setdefault(value, seen)
        self.places[value] = name
        return value

    def ancestors(self, value: Value) -> Iterator[Value]:
        """All that the author of *value* had seen, or that the authors of that had."""
        while value is not None and (value := self.parents.get(value)) is not None:
            yield value


@dataclass
class Nature:
    """Time, chance and kind."""

    random: Random
    knobs: Knobs
    time: Time = field(default_factory=Time)
    history: History = field(default_factory=History)
    views_changed: bool = False

    @property
    def sides(self) -> tuple[str, ...]:
        return (*SIDES, THIRD) if self.knobs.third else SIDES

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pass_ms(self, ms: int | None = None) -> None:
        self.time.ms += self.random.randint(1, 1500) if ms is None else ms

    def token(self, name: str, seen: Value) -> str:
        """A new value for the field *name*, by somebody who saw *seen*."""
        letter = self.random.choice("akr")
        return self.history.wrote(f"{letter}{len(self.history.authored)}", name, seen)

    def unfit(self, seen: Value) -> int:
        """A new value that is no text, by somebody who saw *seen*."""
        value = 1_000 + len(self.history.parents)
        self.history.parents[value] = seen
        return value

    def rules(self, schema: ObjectSchema) -> Rules:
        knobs = self.knobs
        if knobs.computes:
            schema = schema.with_computed((_LABEL,))
        if knobs.polled:
            schema = replace(schema, fields=tuple(replace(each, live=True) for each in schema.fields))
        return Rules(
            schema,
            initial=knobs.initial,
            policy=POLICIES[knobs.policy],
            on_reject=knobs.on_reject,
            one_way_to=knobs.one_way_to,
            eventless=frozenset({SALESFORCE}) if knobs.polled else frozenset(),
            sides=self.sides,
            guarded=frozenset(self.sides) - {SALESFORCE},
            views=views_of(knobs, changed=self.views_changed),
            keeps={knobs.keeps: ""} if knobs.keeps else {},
        )


def other(side: str) -> str:
    return MONGODB if side == SALESFORCE else SALESFORCE
