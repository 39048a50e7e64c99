"""
What a side holds and cannot be taken: a value of another type, or one that is too large. It has a place in the state.

Such a value is nobody's edit: it is never agreed on, never taken for null, and never overwritten unasked. It stays where
it is, beside the agreed value that the other side keeps, and the record goes on without it. It is over when its side
reports a value that can be taken. An edit of the field that is folded after it is sent there as any other; a value in a
field that its side may not set is put right at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from salmon.model.change import SALESFORCE, Value
from salmon.model.rules import Rules
from salmon.model.state import NEVER, SideState, State
from salmon.model.steps.work import Fact, Work

_OVERRULED: Final = -1  # as `since`: whatever is agreed takes its place
_SENTENCES_MAX: Final = 3


def note(work: Work, among: Collection[str] | None = None) -> None:
    """Remember what the change could not report for its value; of the fields *among*, where they are given."""
    x, told = work.x, work.change.misfits
    names = [n for n in told if n in work.rules.names[work.change.origin] and (among is None or n in among)]
    fresh = []
    for name in sorted(names):
        if work.change.is_row and name in x.misfits and name not in _set_by_ours(work):
            continue  # the side still holds what we knew
        since = work.state.seq if _may_win(work, name) else _OVERRULED
        x.misfits[name] = replace(told[name], since=since)
        fresh.append(name)
    x.unknown -= frozenset(names)
    if fresh:
        work.report(Fact.MISFIT, *fresh)


def note_what_was_seen(work: Work) -> None:
    """What stands where our write has set a value was put there since: who did that, or corrects it, has seen our value."""
    for name, value in _set_by_ours(work).items():
        if (misfit := work.x.misfits.get(name)) is not None and name in work.change.misfits:
            work.set_shadow(name, value)
            work.x.misfits[name] = misfit


def _set_by_ours(work: Work) -> Mapping[str, Value]:
    """What the write has set that the change answers."""
    answered = work.answer.answered
    if answered is None:
        return {}
    return {n: v for n, v in answered.fields.items() if not answered.spares(n)}


def overrule(x: SideState, names: Iterable[str]) -> list[str]:
    """What is agreed takes the place of what the side holds in these fields."""
    overruled = sorted(x.misfits.keys() & set(names))
    for name in overruled:
        x.misfits[name] = replace(x.misfits[name], since=_OVERRULED)
    return overruled


def stays_there(work: Work, name: str) -> None:
    """What the side holds in the field was put there after the edit that has just been agreed on: that is no reason to overwrite it."""
    misfit = work.x.misfits.get(name)
    if (
        misfit is not None
        and misfit.since != _OVERRULED
        and _edited_since(work.state, name, work.state.seq - 1)
    ):
        work.x.misfits[name] = replace(misfit, since=work.state.seq)


def _may_win(work: Work, name: str) -> bool:
    knows = SALESFORCE in work.state.sides and work.state.sides[SALESFORCE].exists is True
    return work.rules.may_win(work.change.origin, name, known_to_salesforce=knows)


def left_alone(state: State, side: SideState) -> frozenset[str]:
    """The fields of *side* that are not written there, because of what it holds in them."""
    if not side.misfits:
        return frozenset()  # of most records, in every fold
    return frozenset(
        name
        for name, misfit in side.misfits.items()
        if misfit.since != _OVERRULED and not _edited_since(state, name, misfit.since)
    )


def _edited_since(state: State, name: str, since: int) -> bool:
    version = state.versions.get(name, NEVER)
    return version.seq > since and not version.baseline


def lacks_required(state: State, name: str, rules: Rules) -> frozenset[str]:
    """What Salesforce needs of a new record, and another side has no value for that could be taken."""
    if name != SALESFORCE:
        return frozenset()
    unfit = {n for other, side in state.sides.items() if other != name for n in side.misfits}
    return frozenset(n for n in unfit & rules.required if n not in state.canonical)


def sentences(state: State) -> Iterator[str]:
    """What the sides hold that could not be taken, for the person who looks at the document."""
    told = [
        side.misfits[name].reason for side in state.sides.values() for name in sorted(left_alone(state, side))
    ]
    yield from told[:_SENTENCES_MAX]
    if len(told) > _SENTENCES_MAX:
        yield f"{len(told) - _SENTENCES_MAX} more fields could not be taken; `salmon why` names them."
