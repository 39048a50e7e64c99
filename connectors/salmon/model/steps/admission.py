"""
A part of step 7 of the fold: which sides are to have the record, where they have filters (salmon.model.views).

A record enters a side when it begins to match the side's filter: the side gets it as a whole. It leaves when it ceases to
match: we take it off that side alone. That is our own write and nobody's deletion: the record lives on elsewhere, its
deletion there is expected and folded as ours, and nothing of it is a conflict. The rest follows from the rules for all
records:

* An edit on the side that it is about to leave is judged first, like any other. With its value the filter is asked again.
* A user's deletion is one, whether or not the filter wants the record there: it is deleted everywhere. (If our own removal is
  on its way already, nobody can tell the two apart; then the record lives on elsewhere.)
* A record that was born on a side, or found there at the beginning, and has never matched its filter stays there. Its edits
  go to the other sides, and nothing is written to it: not even what others have edited since.
* With another filter, or other masks, each record is judged again when it is folded next. Merge sees to it that each is.
"""

from __future__ import annotations

from salmon.model.change import WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.state import Park, SideState, State
from salmon.model.steps.work import Fact, Work


def begin(state: State, rules: Rules) -> None:
    """A key of which nothing was known: no side has had the record from before its filter."""
    for name, view in rules.views.items():
        state.sides[name].viewed_by = view.digest


def settle(state: State, rules: Rules, *, whole: bool) -> None:
    """
    Work out on which sides the record has entered.

    Args:
        whole: Whether all that have it have reported the whole record. Before that, no filter can say what it is.
    """
    for name, view in rules.views.items():
        side = state.sides[name]
        if side.viewed_by != view.digest:
            if not side.viewed_by:
                side.entered = side.exists is True or side.awaits(WriteOp.CREATE)
            side.viewed_by = view.digest
            # Nobody decides on a field any more that the side cannot set.
            ended = [n for n in view.masks if side.holds(n)]
            side.parked = {n: p for n, p in side.parked.items() if n not in ended}
            if state.lives and is_wanted(state, name, rules):
                _ask_again(side)
        if not (state.lives and whole):
            continue
        if is_wanted(state, name, rules):
            side.entered = True
        elif side.exists is not True and not side.in_flight and not _may_show(side, WriteOp.CREATE):
            side.entered = False
    for name, side in state.sides.items():
        if side.viewed_by and name not in rules.views:
            # What we were about to take away by the former filter may still end there.
            side.viewed_by, side.entered = "", _may_show(side, WriteOp.DELETE)
            if state.lives:
                _ask_again(side)


def _ask_again(side: SideState) -> None:
    """
    By another view the side is to have the record. It had refused to let the record go, which nobody wants any more; or to take it,
    and it may have another form now.
    """
    refused = side.parked.get(EXISTENCE)
    if refused is not None and refused.why is Park.REFUSED:
        side.parked = {n: p for n, p in side.parked.items() if p != refused}


def _may_show(side: SideState, op: WriteOp) -> bool:
    """Whether a write of this kind may have been carried out there that the side has not reported; its outcome does not say so."""
    return any(sent.op is op for sent in side.sent.values())


def is_wanted(state: State, name: str, rules: Rules) -> bool:
    """Whether the side *name* is to have the record, which lives. While its filter cannot say, it is as it was."""
    view = rules.views.get(name)
    if view is None:
        return True
    admitted = view.admits(state.canonical)
    return state.sides[name].entered if admitted is None else admitted


def stays_unwanted(state: State, name: str, rules: Rules) -> bool:
    """Whether the side has the record although its filter does not want it, and keeps it: it was born there."""
    side = state.sides[name]
    return state.lives and side.exists is True and not (side.entered or is_wanted(state, name, rules))


def stay(work: Work) -> None:
    """A person has decided that what we were about to take off a side stays there."""
    for name, side in work.state.sides.items():
        if side.awaits(WriteOp.DELETE) and not is_wanted(work.state, name, work.rules):
            side.entered = False
            work.report(Fact.EDITED, EXISTENCE)


def is_current(state: State, rules: Rules) -> bool:
    """Whether the record was judged by the filters and masks that there are now."""
    digests = {name: view.digest for name, view in rules.views.items()}
    return all(side.viewed_by == digests.get(name, "") for name, side in state.sides.items())
