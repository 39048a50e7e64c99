"""
Stories of one record: what each side tells, in plain words, and what merge makes of it.

A Story folds through the product's own `fold` and nothing else. It keeps what the topics would hold: the newest
command to each side, every conflict and report. Clocks and orders move by themselves; name them only where they
are what the story is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from salmon.model.change import (
    MONGODB,
    OPERATOR,
    SALESFORCE,
    SINCE,
    Change,
    Misfit,
    Op,
    Value,
    Write,
    WriteOp,
)
from salmon.model.fold import Fact, Folded, Published, fold
from salmon.model.policies import EXISTENCE, Conflict
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import Parked, State, new_state
from salmon.model.views import View, Wants

OTHER_ID = "0015g00000Abc34AAA"
KEY = "0015g00000Xyz12AAA"
SECOND = 1_000  # ms


def text(name: str, **told: Any) -> FieldSchema:
    """A text field; settable by everybody and told by events, unless *told* says otherwise."""
    return FieldSchema(name=name, type=told.pop("type", "string"), kind=Kind.STRING, **told)


SCHEMA = ObjectSchema(
    "Account",
    (
        text("Name", required=True),
        text("Phone", type="phone"),
        text("City"),
        text("ParentId", type="reference", reference_to=("Account",), relationship="Parent"),
        text("Source", update=False),  # may be set by an insert only
        text("Shout", create=False, update=False),  # derived by the org, and told by its events
        text("Rollup", create=False, update=False, live=False),  # derived too, but only reading shows it
        FieldSchema("LastModifiedDate", "datetime", Kind.DATETIME, create=False, update=False),
    ),
    "001",
)


def rules(**settings: Any) -> Rules:
    """The rules of Account, with *settings* of `Rules`."""
    return Rules(SCHEMA, **settings)


@dataclass
class Story:
    """One record's story. `story.salesforce.edits(Phone="555 0101")` tells; `story.writes` is what comes of it."""

    rules: Rules = field(default_factory=rules)
    key: str = KEY
    clock_ms: int = 1_700_000_000_000
    offset: int = 100
    timed: bool = False  # whether the log's records have timestamps, without which no oscillation is seen

    def __post_init__(self) -> None:
        self.state: State = new_state(self.rules.names)
        self.changes: list[Change] = []
        self.last: Folded = Folded(self.state)
        self.writes: dict[str, Write] = {}  # the newest command in each side's topic; none after a tombstone
        self.record: dict[str, Value] | None = None  # what `records` holds
        self.conflicts: list[Conflict] = []
        self.seen: Counter[Fact] = Counter()  # every fact that was ever reported
        self.salesforce = Teller(self, SALESFORCE)
        self.mongodb = Teller(self, MONGODB)

    def tell(self, change: Change) -> Folded:
        """Fold *change* and keep what the topics would hold after it."""
        self.clock_ms += SECOND
        self.offset += 1
        self.changes.append(change)
        self.last = fold(
            self.state,
            change,
            object="Account",
            key=self.key,
            offset=self.offset,
            rules=self.rules,
            at=self.clock_ms if self.timed else 0,
        )
        self.state = self.last.state
        for side, write in self.last.writes.items():
            if write is None:
                del self.writes[side]  # a tombstone for what was never written would be a mistake
            else:
                self.writes[side] = write
        if self.last.published is not Published.UNCHANGED:
            self.record = dict(self.state.canonical) if self.state.lives else None
        self.conflicts += self.last.conflicts
        self.seen.update(report.fact for report in self.last.reports)
        return self.last

    def tell_again(self) -> Folded:
        """The source repeats its last report, as after a crash."""
        return self.tell(self.changes[-1])

    def edit_of_an_operator(self, told: Mapping[str, Value] | None = None, /, **named: Value) -> Folded:
        """An operator decides what the agreed values are."""
        fields = {**(told or {}), **named}
        return self.tell(
            Change(
                OPERATOR,
                Op.EDIT,
                committed_at=self.clock_ms,
                changed=frozenset(fields),
                fields=_without_nulls(fields),
            )
        )

    def operator_keeps_it(self) -> Folded:
        """An operator decides that a record whose life is contested lives."""
        return self.tell(
            Change(OPERATOR, Op.EDIT, committed_at=self.clock_ms, changed=frozenset({EXISTENCE}))
        )

    def tell_retry(self, seq: int) -> Folded:
        """An operator has what was refused of the write *seq* sent again."""
        return self.tell(Change(OPERATOR, Op.RETRY, committed_at=self.clock_ms, ack=seq))

    def judge_again(self) -> Folded:
        """Merge has each record judged again after its filters or masks have changed."""
        return self.tell(Change(OPERATOR, Op.RETRY, committed_at=self.clock_ms))

    def operator_deletes_it(self) -> Folded:
        """An operator decides that a record whose life is contested is deleted."""
        return self.tell(Change(OPERATOR, Op.DELETE, committed_at=self.clock_ms))

    def come_to_rest(self) -> None:
        """Let both sides carry out what they are told, until there is nothing more to say."""
        for _ in range(10):
            if not self.writes:
                return
            for side in (self.salesforce, self.mongodb):
                if side.name in self.writes:
                    side.acks(self.writes[side.name])
        raise AssertionError(f"it does not come to rest: {self.writes}")

    def facts(self) -> list[Fact]:
        """What the last fold reported."""
        return [report.fact for report in self.last.reports]


@dataclass
class Teller:
    """
    One side: its source that tells what happened there, and its sink that tells what became of a write.

    Fields are told by name; those that have no such name in Python, or are at hand, as a mapping before them.
    """

    story: Story
    name: str
    native_id: str | None = None
    now: int = 0  # the side's commit clock
    history: str = ""

    def __post_init__(self) -> None:
        self.native_id = KEY

    # The source: events.

    def creates(
        self,
        told: Mapping[str, Value] | None = None,
        /,
        *,
        ack: int | None = None,
        at: int | None = None,
        native_id: str | None = None,
        knows: frozenset[str] | None = None,
        misfits: Collection[str] = (),
        **fields: Value,
    ) -> Folded:
        """
        A creation; it shows every live field (that its source *knows*), those not named as nulls.

        *misfits*: what cannot be taken.
        """
        changed = self.story.rules.names[self.name] - frozenset(misfits) if misfits else None
        return self._event(
            Op.CREATE,
            changed,
            {**(told or {}), **fields},
            ack=ack,
            at=at,
            native_id=native_id,
            knows=knows,
            misfits=misfits,
        )

    def edits(
        self,
        told: Mapping[str, Value] | None = None,
        /,
        *,
        ack: int | None = None,
        at: int | None = None,
        native_id: str | None = None,
        misfits: Collection[str] = (),
        **fields: Value,
    ) -> Folded:
        """An update that tells of just these fields; None clears. *misfits*: those set to what cannot be taken."""
        fields = {**(told or {}), **fields}
        return self._event(
            Op.UPDATE, frozenset(fields), fields, ack=ack, at=at, native_id=native_id, misfits=misfits
        )

    def deletes(self, *, at: int | None = None) -> Folded:
        return self._event(Op.DELETE, None, {}, at=at)

    def edits_as_we_write(
        self, told: Mapping[str, Value] | None = None, /, *, at: int | None = None, **fields: Value
    ) -> Folded:
        """An update by our own user that is no write of ours: the side, or a flow, did it as it carried one out."""
        fields = {**(told or {}), **fields}
        return self._event(Op.UPDATE, frozenset(fields), fields, at=at, by_us=True)

    def deletes_as_we_write(self, *, at: int | None = None) -> Folded:
        """A deletion that cascades from one of ours."""
        return self._event(Op.DELETE, None, {}, at=at, by_us=True)

    def acks(self, write: Write, **instead: Value) -> Folded:
        """
        The echo of *write*, carried out. *instead*: what the side made of fields in the same transaction.

        An UPDATE's echo tells of what it set and of *instead*.
        """
        fields = {**write.fields, **instead}
        if write.op is WriteOp.DELETE:
            return self.deletes()
        if write.op is WriteOp.CREATE:
            return self.creates(fields, ack=write.seq)
        return self.edits(fields, ack=write.seq)

    def acks_without(self, write: Write, *silent: str, knows: frozenset[str] | None = None) -> Folded:
        """
        The echo of the UPDATE *write*, which does not mention the fields *silent*: they did not change, or its source
        only *knows* others.
        """
        told = {n: v for n, v in write.fields.items() if n not in silent}
        return self._event(Op.UPDATE, frozenset(told), told, ack=write.seq, knows=knows)

    # The source: rows.

    def row(
        self,
        told: Mapping[str, Value] | None = None,
        /,
        *,
        marker: int | None = None,
        as_of: int | None = None,
        at: int | None = None,
        native_id: str | None = None,
        knows: frozenset[str] | None = None,
        by_us: bool = False,
        misfits: Collection[str] = (),
        **fields: Value,
    ) -> Folded:
        """
        The record is read; fields not named are empty there. *as_of* is now, unless it is said.

        *knows*: the fields of the source's schema, where that is older than merge's. *by_us*: whether our user was the
        last who modified it. *misfits*: those whose value cannot be taken.
        """
        change = Change(
            self.name,
            Op.ROW,
            committed_at=self.story.clock_ms if at is None else at,
            as_of=self.moment() if as_of is None else as_of,
            native_id=native_id or self.native_id,
            ack=marker,
            changed=self.story.rules.names[self.name] - frozenset(misfits) if misfits else None,
            fields=_without_nulls({**(told or {}), **fields}),
            misfits=_misfits(misfits),
            knows=knows,
            by_us=by_us,
            history=self.history,
        )
        return self.story.tell(change)

    def absent(
        self,
        *,
        as_of: int | None = None,
        at: int | None = None,
        since: int | None = None,
        others: Iterable[str] = (),
    ) -> Folded:
        """The record is looked for and not found. *since*, *others*: see salmon.model.change.SINCE."""
        change = Change(
            self.name,
            Op.ABSENT,
            committed_at=self.story.clock_ms if at is None else at,
            as_of=self.moment() if as_of is None else as_of,
            source={} if since is None else {SINCE: "\0".join([str(since), *others])},
            history=self.history,
        )
        return self.story.tell(change)

    def goes_back(self, to: str = "restored") -> None:
        """Its history is another from now on; its clock begins anew."""
        self.history, self.now = to, 0

    # The sink: what became of a write that did not simply succeed.

    def refuses(self, write: Write, *at_fault: str, code: str = "INVALID", reason: str = "") -> Folded:
        return self._outcome(Op.REFUSED, write, at_fault, code=code, reason=reason)

    def finds_it_gone(self, write: Write) -> Folded:
        return self._outcome(Op.GONE, write, ())

    def finds_it_there(self, write: Write, *, code: str = "", native_id: str | None = None) -> Folded:
        return self._outcome(Op.EXISTS, write, (), native_id=native_id, code=code)

    def defers(self, write: Write, *fields: str, code: str = "", reason: str = "") -> Folded:
        return self._outcome(Op.DEFERRED, write, fields, code=code, reason=reason)

    def retries(self, write: Write, *fields: str) -> Folded:
        return self._outcome(Op.RETRY, write, fields)

    # What merge knows of it.

    @property
    def holds(self) -> dict[str, Value]:
        """What the side holds, as far as merge knows."""
        return self.story.state.sides[self.name].shadow

    @property
    def parked(self) -> dict[str, Parked]:
        """What is not sent there for now."""
        return self.story.state.sides[self.name].parked

    @property
    def misfits(self) -> set[str]:
        """The fields in which it holds what could not be taken."""
        return set(self.story.state.sides[self.name].misfits)

    @property
    def in_flight(self) -> list[int]:
        """The seqs of the writes that it has not answered."""
        return list(self.story.state.sides[self.name].in_flight)

    def moment(self) -> int:
        """The next moment of the side's commit clock; events and rows take one each."""
        self.now += 1
        return self.now

    def _event(
        self,
        op: Op,
        changed: frozenset[str] | None,
        fields: dict[str, Value],
        *,
        ack: int | None = None,
        at: int | None = None,
        native_id: str | None = None,
        knows: frozenset[str] | None = None,
        by_us: bool = False,
        misfits: Collection[str] = (),
    ) -> Folded:
        moment = self.moment()
        change = Change(
            self.name,
            op,
            committed_at=self.story.clock_ms if at is None else at,
            commit_time=moment,
            order=moment.to_bytes(8, "big"),
            native_id=native_id or self.native_id,
            ack=ack,
            changed=changed,
            fields=_without_nulls(fields),
            misfits=_misfits(misfits),
            knows=knows,
            by_us=by_us,
            history=self.history,
        )
        return self.story.tell(change)

    def _outcome(
        self, op: Op, write: Write, fields: tuple[str, ...], *, native_id: str | None = None, **source: str
    ) -> Folded:
        named = frozenset(fields) or None
        change = Change(self.name, op, native_id=native_id, ack=write.seq, changed=named, source=source)
        return self.story.tell(change)


def in_step(told: Rules | None = None, **fields: Value) -> Story:
    """A record that both sides hold alike and nothing is owed: born in Salesforce, unless the story says more."""
    story = Story(told or rules())
    story.salesforce.row(fields)
    story.come_to_rest()
    story.conflicts.clear()
    return story


def born_in_mongodb(told: Rules | None = None, **fields: Value) -> Story:
    """A document that somebody has just inserted; Salesforce is owed the record."""
    story = Story(told or rules(), key="65f0c0ffee")
    story.mongodb.native_id = story.key
    story.mongodb.creates(fields)
    return story


# Filters: records of Oslo alone go to one side.


def only_oslo(side: str = MONGODB, digest: str = "oslo", wants: Wants | None = None) -> Rules:
    """Records of Oslo alone go to *side*."""
    return Rules(SCHEMA, views={side: View(digest, wants or (lambda record: record.get("City") == "Oslo"))})


def teller(story: Story, side: str) -> Teller:
    return story.salesforce if side == SALESFORCE else story.mongodb


def in_oslo(side: str = MONGODB, **fields: Value) -> Story:
    """A record that both sides have, and that *side* has by its filter; born on the other."""
    if side == MONGODB:
        return in_step(only_oslo(), City="Oslo", **fields)
    story = born_in_mongodb(only_oslo(SALESFORCE), City="Oslo", **fields)
    story.salesforce.native_id = OTHER_ID
    story.come_to_rest()
    return story


def _misfits(names: Collection[str]) -> dict[str, Misfit]:
    return {name: Misfit("NOT_OF_TYPE", f"{name}: it is not of its type.") for name in names}


def _without_nulls(fields: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if value is not None}
