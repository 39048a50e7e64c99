"""
Carries out a person's decision about a conflict: writes an operator's edit into `changes` and waits for merge.

The edit is causal by definition. What merge cannot accept is refused before anything is written: an unknown or read-only
field, a value that does not fit the field's type, a record that does not exist.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final
from uuid import uuid4

from confluent_kafka import Message

from salmon.errors import ConfigError, DataError
from salmon.kafka import clients, scans, tables
from salmon.kafka.codecs.serdes import Changes, Offsets
from salmon.kafka.extents import extents_of
from salmon.kafka.foreign import decoded
from salmon.kafka.reader import Place
from salmon.model.change import OPERATOR, SALESFORCE, SIDES, Change, Op, Value
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.schema import Kind
from salmon.model.state import State
from salmon.story.conflicts import ConflictFilter, ListedConflict, held_value, listed
from salmon.story.formatting import side_named
from salmon.story.lookup import Lookup
from salmon.story.typed import require_holdable
from salmon.transforms.exact import from_text_exactly

_LOOK_S: Final = 0.2
_CONNECTOR: Final = "merge"
_CONFLICTS_MAX: Final = 1_000  # most conflicts that are read


class From(Enum):
    """Where the chosen value comes from."""

    SIDE = "side"  # a side's value; the text is the side's name
    TEXT = "text"  # the value that the person types


@dataclass(frozen=True, slots=True)
class Take:
    """The value that a person chooses: a side's value, or one of their own."""

    source: From
    text: str

    @classmethod
    def of(cls, take: str | None, value: str | None, sides: Collection[str] = SIDES) -> Take:
        """
        Make a choice from the options --take and --value. A side's name after --take means that side; after --value it is
        the value itself.

        Raises:
            ConfigError: both options are given, or neither.
        """
        if (take is None) == (value is None):
            raise ConfigError("Give either --take (a side or a value) or --value VALUE.")
        if take is not None and take in sides:
            return cls(From.SIDE, take)
        return cls(From.TEXT, take if take is not None else value or "")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decides about one record. *lives*: whether it is kept, if that is what the conflict is about."""

    object: str
    key: str
    fields: Mapping[str, Value]
    lives: bool | None
    settles: tuple[ListedConflict, ...]  # the conflicts that it decides, if the topic still has them

    def change(self, *, by: str, reason: str, correlation: str, now_ms: int) -> Change:
        """Return the change that is written to `changes`."""
        source = {
            "by": by,
            "reason": reason,
            "settles": ",".join(each.id for each in self.settles),
            "correlation": correlation,
        }
        kept = {name: text for name, text in source.items() if text}
        if self.lives is False:
            return Change(OPERATOR, Op.DELETE, committed_at=now_ms, source=kept)
        return Change(
            OPERATOR,
            Op.EDIT,
            committed_at=now_ms,
            changed=frozenset(self.fields) | ({EXISTENCE} if self.lives else frozenset()),
            fields={name: value for name, value in self.fields.items() if value is not None},
            source=kept,
        )


@dataclass(frozen=True, slots=True)
class Resolved:
    """The result of a decision. *after* is None if merge has not folded it in time."""

    decision: Decision
    after: State | None

    @property
    def done(self) -> bool:
        """Whether the decision is the agreed state now."""
        if self.after is None:
            return False
        if self.decision.lives is False:
            return not self.after.lives
        return self.after.lives and all(
            self.after.canonical.get(name) == value
            and not any(side.holds(name) for side in self.after.sides.values())
            for name, value in self.decision.fields.items()
        )


def decide(
    lookup: Lookup,
    name: str,
    text: str,
    fields: Sequence[str],
    take: Take,
    *,
    progress: tables.Progress | None = None,
) -> Decision:
    """
    Work out what a person's choice means for the record that *text* stands for, and refuse what is not possible.

    Raises:
        ConfigError: the sync does not have the object or the field, the field cannot be set, or there is no value to take.
        SchemaMismatch: the value does not fit the field's type.
        DataError: the record does not exist, or there is no conflict about its existence.
    """
    _check(lookup, name, fields)
    key, state = lookup.key_and_state(name, text, progress=progress)
    found = listed(lookup, ConflictFilter(object=name, key=key), limit=_CONFLICTS_MAX).conflicts
    newest: dict[str, ListedConflict] = {}
    for each in found:
        newest.setdefault(each.conflict.contest.field, each)
    return _decision(lookup, name, key, state, fields=fields, take=take, newest=newest)


def decide_all(
    lookup: Lookup, asked: ConflictFilter, take: Take, *, progress: tables.Progress | None = None
) -> list[Decision]:
    """
    Do the same for all matching conflicts that wait for a person: either for all of them, or for none.

    Raises:
        The same errors as decide().
    """
    waiting: dict[tuple[str, str], dict[str, ListedConflict]] = {}
    for entry in listed(lookup, asked, limit=_CONFLICTS_MAX, progress=progress).conflicts:
        contest = entry.conflict.contest
        if entry.waits:
            waiting.setdefault((contest.object, contest.key), {}).setdefault(contest.field, entry)
    objects = sorted({name for name, _ in waiting})
    states = {
        name: lookup.states(name, [key for of, key in waiting if of == name], progress=progress)
        for name in objects
    }
    decisions = []
    for (name, key), newest in waiting.items():
        # Whether the record exists is decided on its own. Its fields can be decided afterwards.
        fields = [EXISTENCE] if EXISTENCE in newest else sorted(newest)
        _check(lookup, name, fields)
        decisions.append(
            _decision(lookup, name, key, states[name].get(key), fields=fields, take=take, newest=newest)
        )
    return decisions


def enter(
    lookup: Lookup,
    decisions: Sequence[Decision],
    *,
    by: str,
    reason: str,
    wait_s: float,
    now: Callable[[], float] = time.time,
) -> list[Resolved]:
    """
    Write the decisions to `changes`, all of them or none, and wait at most *wait_s* until merge has folded them.

    Raises:
        Unavailable, SetupError: Kafka or the registry cannot be used; nothing was written.
    """
    if not decisions:
        return []
    correlation = f"operator-{uuid4()}"
    now_ms = int(now() * 1000)
    codecs = {
        each.object: Changes(lookup.schema(each.object), lookup.registry, lookup.topics.changes(each.object))
        for each in decisions
    }
    entered = [
        (
            lookup.place(codecs[each.object].topic, each.key),
            each,
            codecs[each.object].encode(
                each.change(by=by, reason=reason, correlation=correlation, now_ms=now_ms)
            ),
        )
        for each in decisions
    ]
    found = extents_of(lookup.admin, dict.fromkeys(place for place, _, _ in entered))
    begins = {place: extent.end for place, extent in found.items()}
    with lookup.producer(correlation) as producer, producer.transaction() as transaction:
        for (topic, _), each, encoded in entered:
            transaction.produce(topic, each.key, encoded)
    last = _last_offsets(lookup, codecs, begins, correlation)
    if not _folded(lookup, last, time.monotonic() + wait_s):
        return [Resolved(each, None) for each in decisions]
    after = {
        name: lookup.states(name, [each.key for each in decisions if each.object == name], since_ms=now_ms)
        for name in codecs
    }
    return [Resolved(each, after[each.object].get(each.key)) for each in decisions]


def _check(lookup: Lookup, name: str, fields: Collection[str]) -> None:
    rules = lookup.rules(name)
    if rules.one_way_to is not None:
        raise ConfigError(
            f"{name} is synced in one direction only, so it has no conflicts. Edit the record in {_origin(rules)}."
        )
    for field in fields:
        if field != EXISTENCE:
            lookup.check_field(name, field)


def _decision(
    lookup: Lookup,
    name: str,
    key: str,
    state: State | None,
    *,
    fields: Sequence[str],
    take: Take,
    newest: Mapping[str, ListedConflict],
) -> Decision:
    if state is None:
        raise DataError(f"{name} {key}: Salmon does not know this record. Check its key.")
    if not state.lives:
        raise DataError(f"{name} {key} is deleted, so there is nothing to decide.")
    settles = tuple(newest[each] for each in fields if each in newest)
    if EXISTENCE not in fields:
        rules = lookup.rules(name)
        values = {each: _value(rules, state, each, take, newest.get(each)) for each in fields}
        return Decision(name, key, values, None, settles)
    if len(fields) > 1:
        raise ConfigError(
            f"{EXISTENCE}: first decide on its own whether the record is kept, then decide about its fields."
        )
    return Decision(name, key, {}, _life(name, key, state, take), settles)


def _origin(rules: Rules) -> str:
    return side_named(next(side for side in rules.sides if side != rules.one_way_to))


def _life(name: str, key: str, state: State, take: Take) -> bool:
    without = {side for side, held in state.sides.items() if held.holds(EXISTENCE)}
    if not without:
        raise DataError(
            f"{name} {key}: no decision about its deletion is open. To delete it, delete it on either side."
        )
    if take.source is From.SIDE:
        return take.text not in without
    if take.text not in {"true", "false"}:
        raise ConfigError(
            f"{EXISTENCE}: give a side that is right, or true (keep the record) or false (delete it)."
        )
    return take.text == "true"


def _value(rules: Rules, state: State, field: str, take: Take, newest: ListedConflict | None) -> Value:
    knows = state.sides[SALESFORCE].exists is True
    if not rules.may_win(OPERATOR, field, known_to_salesforce=knows):
        raise ConfigError(
            f"{field}: only Salesforce itself sets this field of {rules.schema.name}, so a decision cannot be written there. "
            f"If it is calculated, change the fields that it is calculated from."
        )
    if take.source is From.TEXT:
        value = from_text_exactly(rules.schema.by_name[field], take.text)
        require_holdable(rules.schema.by_name[field], value)
        return value
    if any(side.holds(field) for side in state.sides.values()):
        return held_value(state, take.text, field)
    if newest is not None:
        contest = newest.conflict.contest
        for edit in (contest.challenger, contest.standing):
            if edit.side == take.text:
                return _typed(rules, field, edit.value)
    raise ConfigError(
        f"{field}: no conflict has a value from {side_named(take.text)}. Give the value itself: --value VALUE."
    )


def _typed(rules: Rules, field: str, value: Value) -> Value:
    """Convert a conflict's value: the topic has decimals as text."""
    is_decimal = rules.schema.by_name[field].kind is Kind.DECIMAL
    return Decimal(value) if is_decimal and isinstance(value, str) else value


def _last_offsets(
    lookup: Lookup, codecs: Mapping[str, Changes], begins: Mapping[Place, int], correlation: str
) -> dict[Place, int]:
    """Return the offset of our last edit in each partition of `changes`."""
    by_topic = {codec.topic: codec for codec in codecs.values()}
    found: dict[Place, int] = {}

    def take(message: Message) -> None:
        topic, partition, offset = clients.place_of(message)
        if message.value() is None or (change := decoded(message, by_topic[topic].decode)) is None:
            return
        if change.origin == OPERATOR and change.source.get("correlation") == correlation:
            found[topic, partition] = offset

    scans.scan(lookup.kafka, lookup.admin, list(begins), take, begins=begins)
    return found


def _folded(lookup: Lookup, last: Mapping[Place, int], deadline: float) -> bool:
    """Wait until merge's positions are after these offsets. A position and its results are in the same transaction."""
    codec = Offsets(lookup.registry, lookup.topics.offsets)
    with tables.Table(lookup.kafka, codec.topic, codec.decode) as offsets:
        offsets.load()
        while True:
            places = {
                (topic, partition): offsets.rows.get(f"{_CONNECTOR}/{topic}/{partition}")
                for topic, partition in last
            }
            if all(
                position is not None and int(position["offset"]) > last[place]
                for place, position in places.items()
            ):
                return True
            if time.monotonic() >= deadline:
                return False
            offsets.follow(_LOOK_S)
