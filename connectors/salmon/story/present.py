"""The present state of a record, and one plain sentence that says why it did not sync. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from salmon.model.change import SIDES, Value
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.state import NEVER, Park, Parked, SideState, State
from salmon.model.steps.admission import is_wanted
from salmon.model.steps.misfits import lacks_required, left_alone
from salmon.model.steps.owed import agreed_on, owed_to, told_in_part
from salmon.story.evidence import Evidence
from salmon.story.filtered import filtered, views_of
from salmon.story.formatting import MASKED, because, called, quoted, shown, side_named, span


@dataclass(frozen=True, slots=True)
class Present:
    """*settled*: nothing waits. *sentence*: it is in sync, or what it waits for, why, and what to do."""

    settled: bool
    sentence: str
    lives: bool | None
    sides: Mapping[str, Mapping[str, Any]]
    row: Mapping[str, Any] | None  # of `records`, without nulls

    def as_dict(self) -> dict[str, Any]:
        """As `salmon why --json` prints it."""
        return {
            "settled": self.settled,
            "says": self.sentence,
            "lives": self.lives,
            "sides": {side: dict(held) for side, held in self.sides.items()},
            "record": self.row,
        }


def present(
    evidence: Evidence, rules: Rules, *, unmerged: int, now_ms: int, hidden: Collection[str] = ()
) -> Present:
    """
    Work out the present state.

    Args:
        hidden: The fields whose values are not shown.
        unmerged: How many changes of the record merge has not folded yet.
    """
    state = evidence.state
    schema = rules.schema.by_name
    row = evidence.row and {
        name: MASKED if name in hidden else shown(value, schema.get(name))
        for name, value in evidence.row.items()
        if value is not None
    }
    if state is None:
        record = f"{evidence.object} {evidence.key}"
        if unmerged:
            sentence = f"{record} waits for merge, which has not processed its changes yet: check that merge runs (salmon status)."
        else:
            sentence = (
                f"Salmon does not know {record}: check the key, and that both sources run (salmon status)."
            )
        return Present(False, sentence, None, {}, row)
    waits = [*_waits(evidence, state, rules, unmerged, now_ms, hidden=hidden)]
    if waits:
        sentence = " ".join(
            [f"{evidence.object} {evidence.key} {waits[0]}.", *(f"Also, it {w}." for w in waits[1:])]
        )
    elif rules.one_way_to is not None:
        sentence = _sent_one_way(evidence, lives=state.lives is True, target=rules.one_way_to)
    elif state.lives and (apart := [*filtered(state, rules)]):
        sentence = f"{evidence.object} {evidence.key} {' Also, it '.join(apart)}"
    elif state.lives:
        sentence = f"{evidence.object} {evidence.key} is in sync: {_all(state)} have the agreed values."
    else:
        keepers = [name for name, side in state.sides.items() if name in rules.keeps and side.exists is True]
        sentence = f"{evidence.object} {evidence.key} is deleted on {_all(state)}."
        if keepers:
            sentence = (
                f"{evidence.object} {evidence.key} is deleted, and no longer synced; {side_named(keepers[0])} keeps its record "
                f"(`deletes`), and edits of that stay there."
            )
    sides = {name: _side(state, name, rules, hidden) for name in state.sides}
    return Present(not waits, sentence, state.lives, sides, row)


def _all(state: State) -> str:
    return "both sides" if len(state.sides) == len(SIDES) else "all sides"


def _other(state: State, name: str, origin: str) -> str:
    """The side that *name* disagrees with: the one that what is agreed comes from, or any."""
    others = [side for side in state.sides if side != name]
    return origin if origin in others else others[0]


def _sent_one_way(evidence: Evidence, *, lives: bool, target: str) -> str:
    record, there = f"{evidence.object} {evidence.key}", side_named(target)
    if lives:
        sent = f"All values of {record} were sent to {there}"
    else:
        sent = f"{record} is deleted at its source, and its deletion was sent to {there}"
    return (
        f"{sent}. The object is synced in one direction and its target is never read, so what {there} holds now is not "
        f"known here: `salmon verify --object {evidence.object} --keys '{evidence.key}'` compares it."
    )


def _side(state: State, name: str, rules: Rules, hidden: Collection[str]) -> dict[str, Any]:
    side, schema = state.sides[name], rules.schema.by_name
    agreed = agreed_on(state, name, rules)
    differs = {
        n: {
            "holds": MASKED if n in hidden else shown(side.shadow.get(n), schema.get(n)),
            "agreed": MASKED if n in hidden else shown(agreed.get(n), schema.get(n)),
        }
        for n in sorted(agreed.keys() | side.shadow.keys())
        if side.exists
        and state.lives  # of a deleted record nothing is agreed
        and n
        not in side.unknown
        | rules.stamps
        | side.misfits.keys()  # stamps are only written together with other fields
        and agreed.get(n) != side.shadow.get(n)
    }
    owed = owed_to(state, name, rules)
    return {
        "has_it": side.exists,
        "is_read": name != rules.one_way_to,
        "native_id": side.native_id,
        "marker": side.marker,
        "differs": differs,
        "not_told_yet": sorted(side.unknown) if side.exists else [],
        "owed": None if owed is None else {"op": owed.op.value, "fields": sorted(owed.fields)},
        "in_flight": [
            {"seq": seq, "op": sent.op.value, "fields": sorted(sent.fields)}
            for seq, sent in side.in_flight.items()
        ],
        "parked": [
            {"field": n, "why": p.why.value, "since_seq": p.group, "code": p.code, "reason": p.reason}
            for n, p in sorted(side.parked.items())
        ],
        "misfits": [
            {"field": n, "since_seq": m.since, "code": m.code, "reason": m.reason}
            for n, m in sorted(side.misfits.items())
        ],
        "waits_to_be_read": side.held,
        **views_of(state, name, rules),
    }


# What it waits for, the most serious first. Each continues a sentence that begins with "Account 001... ".


def _waits(
    evidence: Evidence, state: State, rules: Rules, unmerged: int, now_ms: int, *, hidden: Collection[str]
) -> Iterator[str]:
    for name, side in state.sides.items():
        yield from _parked(evidence, state, name, side, rules, hidden=hidden)
    if state.lives:
        yield from _misfits(state, rules)
    for name, side in state.sides.items():
        gone = not state.lives or not is_wanted(state, name, rules)
        if gone and name in evidence.guarded and EXISTENCE not in side.parked:
            yield _guarded(evidence, name, rules)
        elif side.held and rules.one_way_to is None:
            yield (
                f"waits until it has been read again in {side_named(name)}, because a write found a different record there "
                f"than expected: check that {name}-source runs (salmon status)"
            )
        elif side.in_flight and EXISTENCE not in side.parked:
            yield from _in_flight(evidence, name, side, now_ms)
        elif state.lives and told_in_part(state, rules):
            if side.exists and not side.unknown.isdisjoint(rules.live[name]):
                yield f"waits until all its fields have been read in {side_named(name)}: check that {name}-source runs (salmon status)"
        elif rules.one_way_to is None and owed_to(state, name, rules) is not None:
            yield f"waits for an answer from {side_named(name)}; until then no further write is sent"
    if unmerged:
        yield f"waits for merge, which has not processed its last {unmerged} changes yet: check that merge runs (salmon status)"


def _in_flight(evidence: Evidence, name: str, side: SideState, now_ms: int) -> Iterator[str]:
    seq = max(side.in_flight)
    began = next((item.at_ms for item in evidence.changes if item.offset == seq), 0)
    ago = f", sent {span(max(0, now_ms - began))} ago" if began else ""
    yield (
        f"waits for {side_named(name)} to carry out write {seq} ({side.in_flight[seq].op.value}{ago}), which has not been "
        f"confirmed yet: check that {name}-sink and {name}-source run (salmon status)"
    )


def _guarded(evidence: Evidence, name: str, rules: Rules) -> str:
    deletes = evidence.guarded[name]
    which = f"--object {evidence.object} --side {name}"
    if rules.one_way_to is None:
        keep = f"`salmon guard discard {which}` keeps these records"
    else:
        keep = "to keep a record, restore it at its source"
    many = "1 delete waits" if deletes == 1 else f"{deletes:,} deletes wait"
    return (
        f"waits for a decision, because the delete guard holds its deletion in {side_named(name)} ({many} there): "
        f"`salmon guard approve {which}` deletes all of them; {keep}"
    )


def _parked(
    evidence: Evidence, state: State, name: str, side: SideState, rules: Rules, *, hidden: Collection[str]
) -> Iterator[str]:
    groups: dict[Parked, list[str]] = {}
    for field, parked in sorted(side.parked.items()):
        alike = Parked(parked.why, parked.group, parked.code, parked.reason)
        groups.setdefault(alike, []).append(field)
    for parked, fields in groups.items():
        what = ", ".join(called(field) for field in fields if field != EXISTENCE) or "the whole record"
        match parked.why:
            case Park.REFUSED:
                yield _refused(evidence, state, name, parked, what, whole=EXISTENCE in fields)
            case Park.DEFERRED if parked.code:
                yield (
                    f"cannot be written to {side_named(name)} now ({what}): {because(parked.code, parked.reason)}; "
                    f"Salmon tries again by itself"
                )
            case Park.DEFERRED:
                yield (
                    f"cannot be written to {side_named(name)} yet ({what}), because the record that it refers to does not "
                    f"exist there: it continues by itself as soon as that record exists; if it never will, correct "
                    f"{what} in {side_named(next(side for side in state.sides if side != name))}"
                )
            case Park.OSCILLATING:
                yield (
                    f"is not synced in {what} for now, because two automations keep undoing each other's value "
                    f"({parked.reason}): correct one of them; then edit the field again, or use `salmon conflicts resolve`"
                )
            case Park.HELD:
                yield _held(evidence, state, name, fields, rules, hidden=hidden)
            case other:
                why = f" ({parked.code} {parked.reason})".replace("( )", "").rstrip()
                yield f"is not synced in {what} to {side_named(name)}, {other.value.lower()}{why}: edit it to try again"


def _misfits(state: State, rules: Rules) -> Iterator[str]:
    """Values of a side that cannot be synced; the reasons name the fields and what to do."""
    for name, side in state.sides.items():
        alone = left_alone(state, side)
        if alone:
            fields = ", ".join(sorted(alone))
            reasons = " ".join(side.misfits[field].reason for field in sorted(alone)).rstrip(".")
            yield f"has a value in {side_named(name)} that cannot be synced in {fields}; all other fields are synced: {reasons}"
    for name, side in state.sides.items():
        if side.exists is not True and (
            lacking := lacks_required(state, name, rules.of_record(state.canonical))
        ):
            yield (
                f"waits to be created in {side_named(name)}, because {rules.schema.name} needs a value in "
                f"{', '.join(sorted(lacking))}"
            )


def _refused(evidence: Evidence, state: State, name: str, parked: Parked, told: str, *, whole: bool) -> str:
    other = _other(state, name, state.life.origin)
    cause = because(parked.code or "no code", parked.reason)
    retry = f"salmon retry --object {evidence.object} --key '{evidence.key}'"
    if whole and not state.lives:
        return (
            f"is deleted in {side_named(other)}, and its deletion was refused by {side_named(name)}: {cause}; remove "
            f"the reason, then delete it there or try again: {retry}"
        )
    if whole and state.sides[name].exists is True:
        return (
            f"no longer matches the filter of {side_named(name)}, which refused to have it deleted there: {cause}; "
            f"after the reason is removed, run: {retry}"
        )
    what = "as a new record" if whole else f"in {told}"
    return (
        f"was refused by {side_named(name)} {what}: {cause}; correct it in {side_named(other)} and Salmon tries "
        f"again, or, after the reason in {side_named(name)} is removed, run: {retry}"
    )


def _held(
    evidence: Evidence, state: State, name: str, fields: list[str], rules: Rules, *, hidden: Collection[str]
) -> str:
    decided = state.life if EXISTENCE in fields else state.versions.get(fields[0], NEVER)
    other = _other(state, name, decided.origin)
    command = f"salmon conflicts resolve {evidence.object} '{evidence.key}'"
    if EXISTENCE in fields:
        return (
            f"waits for a decision, because it was deleted in {side_named(name)} and edited in {side_named(other)} at the same time: "
            f"{command} '{EXISTENCE}' --take {other} keeps it, --take {name} deletes it"
        )
    schema, kept = rules.schema.by_name, state.sides[name].kept

    def value(field: str, values: Mapping[str, Value]) -> str:
        return MASKED if field in hidden else quoted(values.get(field), schema.get(field))

    values = "; ".join(
        f"{field} is {value(field, kept)} in {side_named(name)} and {value(field, state.canonical)} in {side_named(other)}"
        for field in fields
    )
    return (
        f"waits for a decision, because it was edited on more than one side at the same time: {values}; decide with {command} "
        f"{' '.join(fields)} --take {'|'.join(state.sides)}|VALUE"
    )
