"""
The World: both sides, their sources, their sinks and merge, in one process, under one seed and one virtual clock.

It drives the product's own fold. Users edit, create and delete on both sides at once; triggers derive, normalise
and refuse; sources repeat and lag, and show rows at any moment; sinks repeat, coalesce and lag. It watches for
what must never happen: sides that differ when all is drained, an edit beaten by a value that its author had
seen, a conflict between edits that knew of each other, and writes that nobody needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from salmon.model.change import (
    ERROR,
    MONGODB,
    OWNED_BY_MERGE,
    SALESFORCE,
    SALESFORCE_ID,
    Change,
    Op,
    Value,
    Write,
    WriteOp,
)
from salmon.model.fold import Fact, Folded, Published, fold
from salmon.model.policies import EXISTENCE, POLICIES, Conflict
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import State, new_state

KEYS = ("001A", "001B")
EDITABLE = ("Name", "Phone", "City")


def _text(name: str, **told: bool) -> FieldSchema:
    return FieldSchema(name=name, type="string", kind=Kind.STRING, **told)  # type: ignore[arg-type]


SCHEMA = ObjectSchema(
    "Account",
    (
        _text("Name"),
        _text("Phone"),  # a trigger may tidy it
        _text("City"),
        _text("Shout", create=False, update=False),  # derived from Name by the org
        _text("Rollup", create=False, update=False, live=False),  # derived too, but no event carries it
        FieldSchema("LastModifiedDate", "datetime", Kind.DATETIME, create=False, update=False),
    ),
    "001",
)


@dataclass
class Record:
    """A record on one side, as that side stores it."""

    native_id: str
    fields: dict[str, Value]
    marker: int = 0


@dataclass
class Side:
    """A side's own store and its log of events."""

    name: str
    skew_ms: int
    records: dict[str, Record] = field(default_factory=dict)
    log: list[tuple[str, Change]] = field(default_factory=list)
    told: int = 0  # events that its source has delivered
    queue: dict[str, Write] = field(default_factory=dict)  # newest command of each key, as the sink coalesces
    done: dict[str, Write] = field(default_factory=dict)  # the last one carried out, which a crash may repeat
    writes: int = 0


@dataclass
class Knobs:
    """What kind of schedule it is."""

    normalise: bool = False  # Salesforce stores Phone in upper case
    keep_city: bool = False  # Salesforce silently keeps its City where the new one begins with "k"
    refuse_city: bool = False  # Salesforce refuses a City that begins with "r"
    whole_seconds: bool = True
    repeats: float = 0.1
    rows: float = 0.1
    deletes: float = 0.05
    on_both: bool = False
    policy: str = "last_writer_wins"
    initial: str = SALESFORCE
    on_reject: str = "keep"


class World:
    """One seed is one story: `World(seed).run()` plays it, settles it and checks it."""

    def __init__(self, seed: int, knobs: Knobs | None = None) -> None:
        self.random = Random(seed)
        self.knobs = knobs or self._any_knobs()
        self.clock_ms = 1_700_000_000_000
        self.sequence = 0
        skews = (0, 0, 3_600_000, -3_600_000)
        self.sides = {s: Side(s, self.random.choice(skews)) for s in (SALESFORCE, MONGODB)}
        self.rules = Rules(
            SCHEMA,
            initial=self.knobs.initial,
            policy=POLICIES[self.knobs.policy],
            on_reject="revert" if self.knobs.on_reject == "revert" else "keep",
        )
        self.log: list[tuple[str, Change]] = []  # the changes topic
        self.states: dict[str, State] = {}
        self.published: dict[str, dict[str, Value] | None] = {}
        self.conflicts: list[Conflict] = []
        self.parents: dict[Value, Value] = {}  # an edit's value -> the value that its author saw
        self.authored: set[Value] = set()
        self.lives = 0  # ids given so far
        self.to_read: list[tuple[str, str]] = []
        self.rejections = 0

    def _any_knobs(self) -> Knobs:
        pick = self.random.random
        return Knobs(
            normalise=pick() < 0.3,
            keep_city=pick() < 0.25,
            refuse_city=pick() < 0.25,
            repeats=self.random.choice((0, 0.1, 0.4)),
            rows=self.random.choice((0, 0.1, 0.4)),
            deletes=self.random.choice((0, 0, 0.1)),
            on_both=pick() < 0.3,
            policy=self.random.choice(("last_writer_wins", SALESFORCE, MONGODB)),
            initial=self.random.choice((SALESFORCE, MONGODB)),
            on_reject=self.random.choice(("keep", "revert")),
        )

    # The sides.

    def tick(self, ms: int | None = None) -> None:
        self.clock_ms += self.random.randint(1, 1500) if ms is None else ms

    def _commit_time(self, side: Side) -> int:
        """Salesforce's clock knows whole seconds, MongoDB's counts."""
        if side.name == MONGODB:
            return self.sequence
        return self.clock_ms // 1000 * 1000

    def _event(
        self, side: Side, key: str, op: Op, record: Record, changed: frozenset[str] | None, ack: int | None
    ) -> None:
        self.sequence += 1
        live = {n: v for n, v in record.fields.items() if n in self.rules.live[side.name]}
        fields = {n: v for n, v in live.items() if changed is None or n in changed}
        change = Change(
            side.name,
            op,
            committed_at=(self.clock_ms + side.skew_ms) // 1000 * 1000,
            commit_time=self._commit_time(side),
            order=self.sequence.to_bytes(8, "big"),
            native_id=record.native_id,
            ack=ack,
            changed=changed,
            fields={} if op is Op.DELETE else fields,
        )
        side.log.append((key, change))

    def edit(
        self, name: str, key: str, fields: dict[str, Value], *, ack: int | None = None, replace: bool = False
    ) -> None:
        """Store fields as the side does: triggers run, stamps move, and an event tells what changed."""
        side, record = self.sides[name], self.sides[name].records[key]
        before = dict(record.fields)
        for n, v in fields.items():
            record.fields[n] = v
        if name == SALESFORCE:
            self._triggers(record, before, fields)
        changed = frozenset(
            n for n in record.fields.keys() | before.keys() if record.fields.get(n) != before.get(n)
        )
        if ack is not None:
            record.marker = ack
        if changed or ack is not None:
            self._event(side, key, Op.UPDATE, record, changed & self.rules.live[name], ack)

    def create(self, name: str, key: str, fields: dict[str, Value], *, ack: int | None = None) -> None:
        self.lives += 1
        record = Record(key if name == MONGODB else f"{key}#{self.lives}", dict(fields), ack or 0)
        self.sides[name].records[key] = record
        if name == SALESFORCE:
            self._triggers(record, {}, fields)
        self._event(self.sides[name], key, Op.CREATE, record, None, ack)

    def delete(self, name: str, key: str) -> None:
        record = self.sides[name].records.pop(key)
        self._event(self.sides[name], key, Op.DELETE, record, None, None)

    def _triggers(self, record: Record, before: dict[str, Value], fields: dict[str, Value]) -> None:
        knobs = self.knobs
        phone, city = record.fields.get("Phone"), record.fields.get("City")
        if knobs.normalise and isinstance(phone, str) and phone != phone.upper():
            self.parents.setdefault(phone.upper(), phone)
            self.authored.add(phone.upper())
            record.fields["Phone"] = phone.upper()
        if (
            knobs.keep_city
            and "City" in fields
            and isinstance(city, str)
            and city.startswith("k")
            and city != before.get("City")
        ):
            record.fields["City"] = before.get("City")
        name = record.fields.get("Name")
        record.fields["Shout"] = f"{name}!" if name else None
        record.fields["Rollup"] = f"{name}?" if name else None
        record.fields["LastModifiedDate"] = self.clock_ms // 1000 * 1000

    # The users.

    def user(self, name: str) -> None:
        side, key = self.sides[name], self.random.choice(KEYS)
        if key not in side.records:
            if self.random.random() < 0.3 and self.sides[_other(name)].records.get(key) is None:
                self.create(name, key, {n: self._token(None) for n in EDITABLE})
            return
        if self.random.random() < self.knobs.deletes:
            self.delete(name, key)
            return
        record, n = side.records[key], self.random.choice(EDITABLE)
        value = self._token(record.fields.get(n)) if self.random.random() < 0.9 else None
        self.edit(name, key, {n: value})

    def _token(self, seen: Value) -> str:
        """A value that nobody else ever writes, so that every value has one author."""
        token = f"{self.random.choice('akr')}{len(self.authored)}"
        self.authored.add(token)
        self.parents[token] = seen
        return token

    def ancestors(self, value: Value) -> Iterator[Value]:
        while value is not None and (value := self.parents.get(value)) is not None:
            yield value

    # The sources.

    def deliver(self, name: str) -> None:
        side = self.sides[name]
        if side.told < len(side.log):
            if self.random.random() < self.knobs.repeats and side.told:
                for key, change in side.log[max(0, side.told - 3) : side.told]:
                    self.fold(key, change)
            self.fold(*side.log[side.told])
            side.told += 1

    def row(self, name: str, key: str) -> None:
        """Show the record as it is, at a moment of which it is certain that every earlier commit is in the row."""
        side = self.sides[name]
        while side.told < len(side.log):  # in the stream's order: first what was committed before
            self.deliver(name)
        if name == SALESFORCE:
            self.tick(2000)  # the source waits until the org's clock has passed the last event
        self.sequence += 1
        as_of = self._commit_time(side) - (1000 if name == SALESFORCE else 0)
        record = side.records.get(key)
        if record is None:
            change = Change(name, Op.ABSENT, committed_at=self.clock_ms + side.skew_ms, as_of=as_of)
        else:
            change = Change(
                name,
                Op.ROW,
                committed_at=self.clock_ms + side.skew_ms if name == SALESFORCE else 0,
                as_of=as_of,
                native_id=record.native_id,
                ack=record.marker or None,
                fields={n: v for n, v in record.fields.items() if v is not None},
            )
        # The row may be late: newer events overtake it.
        if self.random.random() < 0.3:
            self.deliver(name)
            self.user(name)
            self.tick(2000)
            self.deliver(name)
        self.fold(key, change)

    # Merge.

    def fold(self, key: str, change: Change) -> None:
        offset = len(self.log)
        self.log.append((key, change))
        state = self.states.get(key) or new_state(self.rules.names)
        out = fold(state, change, object="Account", key=key, offset=offset, rules=self.rules)
        self.states[key] = out.state
        for name, write in out.writes.items():
            if write is None:
                self.sides[name].queue.pop(key, None)
            else:
                self.sides[name].queue[key] = write
        self.conflicts += out.conflicts
        self.rejections += sum(report.fact is Fact.PARKED for report in out.reports)
        self.to_read += [(name, key) for name in out.to_read]
        self._publish(key, out)

    def _publish(self, key: str, out: Folded) -> None:
        if out.published is Published.ROW:
            self.published[key] = dict(out.state.canonical)
        elif out.published is Published.TOMBSTONE:
            self.published[key] = None

    # The sinks.

    def sink(self, name: str) -> None:
        side = self.sides[name]
        if not side.queue:
            return
        if (
            side.done and self.random.random() < self.knobs.repeats
        ):  # it died before its commit, and says it again
            key = self.random.choice(sorted(side.done))
            if side.name == SALESFORCE or key in side.records:
                self._write(side, key, side.done[key])
        key = self.random.choice(sorted(side.queue))
        write = side.queue.pop(key)
        side.done[key] = write
        side.writes += 1
        self._write(side, key, write)

    def _write(self, side: Side, key: str, write: Write) -> None:
        record = side.records.get(key)
        if side.name == MONGODB and record is not None and record.marker >= write.seq:
            return  # the guard
        match write.op:
            case WriteOp.CREATE if record is not None:
                if record.marker == 0 or record.marker > write.seq:
                    self._outcome(side, key, Op.EXISTS, write)
                else:
                    self._apply(side, key, write)
            case WriteOp.CREATE:
                if not self._refuses(side, key, write):
                    self.create(
                        side.name,
                        key,
                        {n: v for n, v in write.fields.items() if v is not None},
                        ack=write.seq,
                    )
            case WriteOp.UPDATE if record is None or (
                side.name == SALESFORCE and record.native_id != write.native_id
            ):
                self._outcome(side, key, Op.GONE, write)
            case WriteOp.UPDATE:
                self._apply(side, key, write)
            case WriteOp.DELETE if record is None:
                self._outcome(side, key, Op.GONE, write)
            case WriteOp.DELETE if record is not None and record.marker < write.expected:
                self._outcome(side, key, Op.EXISTS, write)
            case WriteOp.DELETE:
                self.delete(side.name, key)

    def _apply(self, side: Side, key: str, write: Write) -> None:
        if not self._refuses(side, key, write):
            self.edit(side.name, key, dict(write.fields), ack=write.seq)

    def _refuses(self, side: Side, key: str, write: Write) -> bool:
        city = write.fields.get("City")
        if (
            side.name == SALESFORCE
            and self.knobs.refuse_city
            and isinstance(city, str)
            and city.startswith("r")
        ):
            self._outcome(side, key, Op.REFUSED, write, frozenset({"City"}))
            return True
        return False

    def _outcome(
        self, side: Side, key: str, op: Op, write: Write, fields: frozenset[str] = frozenset()
    ) -> None:
        self.fold(key, Change(side.name, op, ack=write.seq, changed=fields or None, source={"code": "NO"}))
        if op in (Op.GONE, Op.EXISTS):
            self.to_read.append((side.name, key))

    # The play.

    def run(self, steps: int = 40) -> World:
        self.prepare()
        for _ in range(steps):
            self.tick()
            name = self.random.choice((SALESFORCE, MONGODB))
            act = self.random.random()
            if act < 0.3:
                self.user(name)
            elif act < 0.3 + self.knobs.rows * 0.3:
                self.row(name, self.random.choice(KEYS))
            elif act < 0.7:
                self.deliver(name)
            else:
                self.sink(name)
        self.settle()
        return self

    def prepare(self) -> None:
        """Before the sync began: records on one side, or on both and not quite alike."""
        for key in KEYS:
            fields: dict[str, Value] = {n: self._token(None) for n in EDITABLE}
            first = self.random.choice((SALESFORCE, MONGODB))
            self._found(first, key, fields)
            if self.knobs.on_both:
                other = {n: v if self.random.random() < 0.6 else self._token(None) for n, v in fields.items()}
                self._found(
                    _other(first), key, {n: v for n, v in other.items() if self.random.random() < 0.8}
                )
        self.tick(5000)
        order = [(name, key) for name in self.sides for key in self.sides[name].records]
        self.random.shuffle(order)
        for name, key in order:
            self.row(name, key)

    def _found(self, name: str, key: str, fields: dict[str, Value]) -> None:
        self.create(name, key, fields)
        self.sides[name].log.clear()

    def settle(self, rounds: int = 400) -> None:
        """Drain everything; a finite number of edits must come to rest."""
        for _ in range(rounds):
            self.tick()
            busy = False
            for name, side in self.sides.items():
                while side.told < len(side.log):
                    self.deliver(name)
                    busy = True
                while side.queue:
                    self.knobs.repeats = 0
                    self.sink(name)
                    busy = True
            while self.to_read:
                name, key = self.to_read.pop(0)
                if self.sides[name].told == len(self.sides[name].log):
                    self.row(name, key)
                else:
                    self.to_read.append((name, key))
                    break
                busy = True
            if not busy:
                return
        raise AssertionError("it does not come to rest")

    # What must hold.

    def differences(self) -> list[str]:
        found = []
        for key in KEYS:
            state = self.states.get(key)
            records = {name: side.records.get(key) for name, side in self.sides.items()}
            if state is None:
                found += [
                    f"{key}: {name} has a record that merge never heard of"
                    for name, r in records.items()
                    if r
                ]
                continue
            for name, record in records.items():
                found += [f"{key} {name}: {text}" for text in self._differs(state, name, record)]
            if self.published.get(key) != (dict(state.canonical) if state.lives else None):
                found.append(f"{key}: the published record is not the agreed one")
        return found

    def _differs(self, state: State, name: str, record: Record | None) -> Iterator[str]:
        parked = state.sides[name].parked
        if EXISTENCE in parked:
            return
        if (record is not None) != state.lives:
            yield f"exists {record is not None}, agreed {state.lives}"
        elif record is not None:
            for n in self.rules.schema.by_name:
                if n in self.rules.stamps or n not in self.rules.live[SALESFORCE] or n in parked:
                    continue
                if record.fields.get(n) != state.canonical.get(n):
                    yield f"{n} {record.fields.get(n)!r}, agreed {state.canonical.get(n)!r}"
            if name == MONGODB:
                salesforce = self.sides[SALESFORCE].records
                wanted: set[str | None] = {
                    r.native_id for k, r in salesforce.items() if self.states.get(k) is state
                }
                if record.fields.get(SALESFORCE_ID) not in (wanted or {None}):
                    yield "its Salesforce Id is wrong"
                refused = any(p.why == "REFUSED" for p in state.sides[SALESFORCE].parked.values())
                if (record.fields.get(ERROR) is not None) != refused:
                    yield "its error is wrong"

    def lost_edits(self) -> list[str]:
        """Agreed values that somebody had seen and then changed: their edit was beaten by what they had seen."""
        changed = {seen for value in self.authored for seen in self.ancestors(value)}
        return [
            f"{key}.{n}: {state.canonical[n]!r} is agreed though somebody who saw it changed it"
            for key, state in self.states.items()
            for n in EDITABLE
            if n not in self._restored() and state.canonical.get(n) in changed and not self._parked(state, n)
        ]

    def _restored(self) -> set[str]:
        """Fields that a trigger, a refusal or a record's second life may set back to a value that was there before."""
        if self.knobs.deletes:
            return set(EDITABLE)
        return {"City"} if self.knobs.keep_city or self.knobs.refuse_city else set()

    @staticmethod
    def _parked(state: State, name: str) -> bool:
        return any(name in side.parked for side in state.sides.values())

    def false_conflicts(self) -> list[str]:
        """Conflicts between two values of which one's author had seen the other."""
        return [
            f"{c.contest.key}.{c.contest.field}: {c.contest.standing.value!r} / {c.contest.challenger.value!r}"
            for c in self.conflicts
            if c.contest.field not in {EXISTENCE, *self._restored()}
            and (
                c.contest.standing.value in set(self.ancestors(c.contest.challenger.value))
                or c.contest.challenger.value in set(self.ancestors(c.contest.standing.value))
            )
        ]

    def replayed(self) -> dict[str, State]:
        """The same log again, from nothing."""
        states: dict[str, State] = {}
        for offset, (key, change) in enumerate(self.log):
            state = states.get(key) or new_state(self.rules.names)
            states[key] = fold(
                state, change, object="Account", key=key, offset=offset, rules=self.rules
            ).state
        return states


def _other(name: str) -> str:
    return MONGODB if name == SALESFORCE else SALESFORCE


__all__ = ["EDITABLE", "KEYS", "OWNED_BY_MERGE", "SCHEMA", "Knobs", "World"]
