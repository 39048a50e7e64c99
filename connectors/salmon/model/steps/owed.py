"""
Step 7 of the fold: what each side is owed, and whether a write must be sent.

Each write says everything that its side is still owed, never a delta to an earlier write, because in a compacted
topic the newest is all there is. When nothing is owed and nothing in flight, a tombstone clears the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from salmon.model.change import (
    ERROR,
    MONGODB,
    OWNED_BY_MERGE,
    PLACE,
    SALESFORCE,
    SALESFORCE_ID,
    Value,
    Write,
    WriteOp,
)
from salmon.model.policies import EXISTENCE
from salmon.model.rules import IN_FLIGHT_MAX, SENT_MAX, Rules
from salmon.model.state import Park, Sent, SideState, State
from salmon.model.steps.admission import is_wanted
from salmon.model.steps.misfits import lacks_required, left_alone, sentences
from salmon.model.steps.work import Folded


@dataclass(frozen=True, slots=True)
class Owed:
    """What would bring a side up to date."""

    op: WriteOp
    fields: Mapping[str, Value]
    expected: int = 0
    lacks: frozenset[str] = frozenset()  # a creation: fields that it must not clear, although it knows them
    differs: frozenset[str] | None = (
        None  # a creation: what it changes in a record that an earlier one has made
    )


def told_in_part(state: State, rules: Rules) -> list[str]:
    """
    The sides that have the record, and answer, but have not reported all of it that comes by events. As long as there is
    one, nothing is emitted for the record.
    """
    return [
        name
        for name, side in state.sides.items()
        if side.exists is True and name != rules.one_way_to and not side.unknown.isdisjoint(rules.live[name])
    ]


def emit(out: Folded, rules: Rules, *, whole: bool, committed_at: int, correlation: str) -> None:
    """
    Put into *out* the write that each side needs now, or the tombstone that says it needs nothing.

    Args:
        whole: Whether no side has told_in_part().
        committed_at, correlation: For the writes.
    """
    state = out.state
    for name, side in state.sides.items():
        if rules.one_way_to is not None and name != rules.one_way_to:
            continue  # the origin of a one-way object is never written to
        owed = owed_to(state, name, rules) if whole or not state.lives else None
        if owed is None:
            if whole and side.standing and not side.in_flight and rules.one_way_to is None:
                side.standing = False
                out.writes[name] = None
        elif _must_be_told(side, owed):
            out.writes[name] = _send(
                state, side, owed, rules, committed_at=committed_at, correlation=correlation
            )


def _must_be_told(side: SideState, owed: Owed) -> bool:
    if side.burst >= IN_FLIGHT_MAX:
        return False  # the next ack, row or outcome emits all that is owed
    in_flight = side.in_flight
    if not in_flight or side.row_since_write:
        return True
    newest = in_flight[max(in_flight)]
    return (newest.op, newest.fields) != (owed.op, owed.fields)


def _send(
    state: State, side: SideState, owed: Owed, rules: Rules, *, committed_at: int, correlation: str
) -> Write:
    write = Write(
        seq=state.seq,
        op=owed.op,
        expected=owed.expected,
        native_id=side.native_id,
        fields=owed.fields,
        committed_at=committed_at,
        correlation=correlation,
        knows=frozenset(rules.schema.by_name) - owed.lacks | OWNED_BY_MERGE if owed.lacks else None,
        differs=owed.differs,
    )
    side.standing = True
    if rules.one_way_to is not None:
        side.exists, side.marker = owed.op is not WriteOp.DELETE, state.seq
        side.settled = side.settled if side.exists else state.seq
        side.shadow = {n: v for n, v in owed.fields.items() if v is not None}
        side.unknown = frozenset(side.parked)  # what was left out: it may hold any value there
        return write
    side.sent[state.seq] = Sent(
        owed.op,
        owed.fields,
        committed_at,
        owed.lacks,
        expected=owed.expected if owed.op is WriteOp.CREATE else 0,
        differs=owed.differs,
    )
    while len(side.sent) > SENT_MAX:
        del side.sent[min(side.sent)]
    side.burst += 1
    side.row_since_write = False
    return write


def owe_all(side: SideState, names: frozenset[str]) -> None:
    """Let the target of a one-way object be sent the whole record again, or its deletion."""
    side.exists, side.shadow, side.unknown = True, {}, names


def owed_to(state: State, name: str, rules: Rules) -> Owed | None:
    """What *name* lacks to hold the agreed record; None for nothing, or for nothing that may be sent now."""
    side = state.sides[name]
    if side.held and rules.one_way_to is None:
        return None
    if PLACE in side.misfits:
        return None  # nobody can say which of several documents is the record
    if not state.lives and name in rules.keeps:
        return _owed_a_mark(side, rules.keeps[name], rules.live[name])
    if not state.lives:
        if name != rules.one_way_to:
            return _owed_a_death(side, whole=side.unknown.isdisjoint(rules.live[name]))
        return Owed(WriteOp.DELETE, {}) if side.exists is True and EXISTENCE not in side.parked else None
    if not is_wanted(state, name, rules):
        return _owed_to_leave(name, side, rules)
    agreed = agreed_on(state, name, rules)
    if side.exists is not True and lacks_required(state, name, rules):
        return None
    if rules.one_way_to is not None:
        may_set = rules.sink_may_set(name, WriteOp.CREATE) | rules.sink_may_set(name, WriteOp.UPDATE)
        return _owed_one_way(side, agreed, may_set, rules)
    if side.exists is not True:
        return _owed_a_creation(name, side, agreed, rules)
    return _owed_an_update(state, name, agreed, rules)


def agreed_on(state: State, name: str, rules: Rules) -> Mapping[str, Value]:
    """
    The canonical record as *name* should hold it: a document also has its Salesforce Id and what was refused, and what is
    masked is in its other form.
    """
    agreed = rules.seen_by(name, state.canonical)
    if name != MONGODB or SALESFORCE not in state.sides:
        return agreed
    salesforce = state.sides[SALESFORCE]
    told = (_refusals(salesforce), *sentences(state))
    own = {SALESFORCE_ID: salesforce.native_id, ERROR: " ".join(t for t in told if t) or None}
    if rules.is_placed:
        # Where no collection is for it, or none can be named, it stays where it is.
        own[PLACE] = rules.views[MONGODB].place(state.canonical) or _place_of(state.sides[MONGODB])
    return {**agreed, **{n: v for n, v in own.items() if v is not None}}


def _place_of(side: SideState) -> str | None:
    place = side.shadow.get(PLACE)
    return place if isinstance(place, str) else None


_TOLD: Final = frozenset({Park.REFUSED, Park.OSCILLATING})


def _refusals(side: SideState) -> str | None:
    """What Salesforce refused of the record, or undoes for ever, in words for the person who looks at the document."""
    refused = [(p.group, n, p) for n, p in side.parked.items() if p.why in _TOLD]
    if not refused:
        return None
    newest = max(group for group, _, _ in refused)
    latest = next(p for group, _, p in refused if group == newest)
    return f"{latest.code}: {latest.reason}".strip(": ") or "refused"


def _owed_a_death(side: SideState, *, whole: bool) -> Owed | None:
    if EXISTENCE in side.parked:
        return None
    if side.exists is True:
        # What has been reported only in part is read before it is deleted.
        return Owed(WriteOp.DELETE, {}, side.marker) if whole else None
    in_flight = side.in_flight
    alive = [seq for seq, sent in in_flight.items() if sent.op is not WriteOp.DELETE]
    if alive:
        # Only what our creation made may be deleted: a record without its marker is one that nobody has read.
        return Owed(WriteOp.DELETE, {}, min(alive))
    return None


def _owed_a_mark(side: SideState, mark: str, live: frozenset[str]) -> Owed | None:
    """The record is deleted elsewhere, and stays here: on its own from now on, and marked if there is a field for that."""
    if side.exists is not True or not mark or mark in side.parked or not side.unknown.isdisjoint(live):
        return None
    return None if side.shadow.get(mark) is True else Owed(WriteOp.UPDATE, {mark: True}, side.marker)


def _owed_to_leave(name: str, side: SideState, rules: Rules) -> Owed | None:
    """
    The side has a record that its filter does not want. It is taken away if it has come through that filter; if it was
    born there and never matched, it stays, and nothing is written to it.
    """
    if rules.one_way_to is not None:
        return Owed(WriteOp.DELETE, {}) if side.exists is True and EXISTENCE not in side.parked else None
    in_flight = side.in_flight.values()
    if side.entered or any(map(_creates, in_flight)):
        return _owed_a_death(side, whole=side.unknown.isdisjoint(rules.live[name]))
    if side.exists is True and any(sent.op is WriteOp.DELETE for sent in in_flight):
        return Owed(WriteOp.UPDATE, {}, side.marker)  # a person has decided since that it stays
    return None


def _owed_one_way(
    side: SideState, agreed: Mapping[str, Value], may_set: frozenset[str], rules: Rules
) -> Owed | None:
    """
    The whole record, nulls included, as a creation: the target may have missed every earlier write. As an update
    where somebody else's record is there (it is *held*). What was refused is left out until it is edited again.
    """
    if EXISTENCE in side.parked:
        return None
    may_set -= side.parked.keys()
    differs = {n for n in may_set if n in side.unknown or agreed.get(n) != side.shadow.get(n)}
    if side.exists is True and not (differs if rules.stamps_always else differs - rules.stamps):
        return None
    op = WriteOp.UPDATE if side.held else WriteOp.CREATE
    return Owed(op, {n: agreed.get(n) for n in sorted(may_set)})


def _owed_a_creation(name: str, side: SideState, agreed: Mapping[str, Value], rules: Rules) -> Owed | None:
    # A conflict may have come up while the record was off the side, which gets its own value back.
    kept = {n: v for n, v in side.kept.items() if v is not None}
    parked = side.parked.keys() - kept.keys()
    if EXISTENCE in side.parked or not rules.required.isdisjoint(parked):
        return None  # refused, or a parent that it cannot do without is not there yet
    if any(p.why is Park.DEFERRED and n in rules.set_once for n, p in side.parked.items()):
        return None  # without that parent now would be without it for ever
    settable = rules.sink_may_set(name, WriteOp.CREATE)
    fields = {n: v for n, v in {**agreed, **kept}.items() if n in settable and n not in parked}
    owed = Owed(WriteOp.CREATE, fields, lacks=_perhaps_set_unheard(side) - fields.keys())
    in_flight = side.in_flight
    if name not in rules.guarded or not in_flight or not all(map(_creates, in_flight.values())):
        return owed
    differs = frozenset(
        n for n in rules.names[name] if any(_says_other(sent, n, fields) for sent in in_flight.values())
    )
    own = OWNED_BY_MERGE & rules.names[name]
    return replace(owed, expected=min(in_flight), differs=differs | own)


def _creates(sent: Sent) -> bool:
    return sent.op is WriteOp.CREATE


def _says_other(sent: Sent, name: str, fields: Mapping[str, Value]) -> bool:
    """Whether a creation that sets *fields* says something else of the field than *sent*, an earlier one."""
    return sent.fields.get(name) != fields.get(name) or (name in sent.lacks and name in fields)


def _perhaps_set_unheard(side: SideState) -> frozenset[str]:
    """
    Fields that the sync did not know yet when an earlier creation was sent. That one has perhaps made the record, and somebody
    has set them there, which a source that does not know them either never reports.
    """
    return frozenset(n for sent in side.sent.values() if sent.op is WriteOp.CREATE for n in sent.lacks)


def _owed_an_update(state: State, name: str, agreed: Mapping[str, Value], rules: Rules) -> Owed | None:
    side = state.sides[name]
    # While a conflict is on hold, the side is owed its own value: an earlier write of ours may have overwritten it.
    if kept := side.kept:
        agreed = {**agreed, **kept}
    may_set = rules.sink_may_set(name, WriteOp.UPDATE)
    in_flight, differs = side.in_flight.values(), set[str]()
    if agreed != side.shadow:
        differs = {n for n in agreed.keys() | side.shadow.keys() if agreed.get(n) != side.shadow.get(n)}
    contradicted = {
        n
        for sent in in_flight
        for n, v in sent.fields.items()
        if v != agreed.get(n) and not _is_spared(side, sent, n)
    }
    if side.marker:  # a creation of ours has made the record, and a later one may still be on its way
        contradicted |= {
            n
            for sent in in_flight
            for n in agreed
            if rules.clears(name, sent, n) and not _is_spared(side, sent, n)
        }
    alone = left_alone(state, side)
    differs |= side.misfits.keys() - alone
    owed = {
        n
        for n in differs | contradicted
        if n in may_set
        and n not in side.unknown
        and n not in alone
        and (n in kept or n not in side.parked)
        and _is_decided(state, name, n, rules)
    }
    revived = any(sent.op is WriteOp.DELETE for sent in in_flight)
    if not (revived or (owed if rules.stamps_always else owed - rules.stamps)):
        return None
    return Owed(WriteOp.UPDATE, {n: agreed.get(n) for n in sorted(owed)}, side.marker)


def _is_spared(side: SideState, sent: Sent, name: str) -> bool:
    """Whether a creation that is on its way leaves the field alone in the record that the side has."""
    return sent.spares(name) and side.marker >= sent.expected


def _is_decided(state: State, name: str, field: str, rules: Rules) -> bool:
    """A field that only Salesforce sets is not cleared elsewhere before Salesforce has reported it."""
    if field in rules.masked(name) and field not in state.canonical:
        others = [each for side, each in state.sides.items() if field not in rules.masked(side)]
        return any(each.exists is not None and field not in each.unknown for each in others)
    if name == SALESFORCE or SALESFORCE not in state.sides or field not in rules.schema.by_name:
        return True
    salesforce = state.sides[SALESFORCE]
    if field in state.canonical or rules.schema.by_name[field].settable or field in rules.computed:
        return True
    return salesforce.exists is not None and field not in salesforce.unknown
