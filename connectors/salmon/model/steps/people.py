"""
Records of two kinds in one object: which rules hold for this one, and what a person is called.

Salesforce's events never carry a person's Name. They name the parts that have changed, and not the others. So Name follows
from what the org has reported about all parts, in the order in which it has put the name together so far. Where it did that in
another way, the record is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from salmon.model.change import SALESFORCE, Change, Op, Value, WriteOp
from salmon.model.people import FLAG, NAME, PARTS, name_after
from salmon.model.rules import Rules
from salmon.model.state import State
from salmon.model.steps.work import Work

_TELLS: Final = frozenset({FLAG, NAME}) | PARTS
_SPEAKS: Final = frozenset({Op.CREATE, Op.UPDATE, Op.ROW, Op.EDIT})


def rules_for(rules: Rules, state: State, change: Change) -> Rules:
    """The rules for the record of *state*, as it is with *change*."""
    if not rules.schema.has_kinds:
        return rules
    return rules.of_record(_known(rules, state, change))


def _known(rules: Rules, state: State, change: Change) -> Mapping[str, Value]:
    """What shows the record's kind."""
    known: dict[str, Value] = {}
    if state.lives:
        known = {name: state.canonical[name] for name in _TELLS & state.canonical.keys()}
    else:
        # It may come back as a side still has it. A new record on a side has nothing of a former one.
        for name, side in state.sides.items():
            if side.exists is True and (name != change.origin or change.op is Op.UPDATE):
                known |= {each: side.shadow[each] for each in _TELLS & side.shadow.keys()}
    if FLAG not in known and (made_as := _made_as(state)) is not None:
        known[FLAG] = made_as
    if change.op in _SPEAKS:
        is_side = change.origin in rules.sides
        spoken = rules.spoken(change) if is_side else change.changed or frozenset(change.fields)
        if not (is_side and FLAG in rules.only_of(change.origin)):
            spoken -= {FLAG}  # the org alone says what is there
        known |= {name: change.fields.get(name) for name in _TELLS & spoken}
    return known


def _made_as(state: State) -> bool | None:
    """Whether a creation that is on its way to Salesforce makes a person: edits that come after it do not change that."""
    if (salesforce := state.sides.get(SALESFORCE)) is None:
        return None
    for sent in salesforce.sent.values():
        if sent.op is WriteOp.CREATE and not _TELLS.isdisjoint(sent.fields):
            return NAME not in sent.fields
    return None


def with_name(work: Work) -> None:
    """Let an event that reports parts of a person's name report the name."""
    change, x, parts = work.change, work.x, work.rules.name_parts
    if change.origin != SALESFORCE or change.op not in (Op.CREATE, Op.UPDATE):
        return
    said = parts & work.rules.spoken(change)
    if not said or (change.op is Op.UPDATE and x.exists is not True):
        return
    if change.op is Op.CREATE:
        name = name_after(change.fields, name_before=None, before={})
    elif not x.unknown.isdisjoint(parts | {NAME}):
        name = None
    else:
        now = x.shadow | {part: change.fields.get(part) for part in said}
        name = name_after(now, name_before=x.shadow.get(NAME, ""), before=x.shadow)
    if name is None:
        work.out.to_read.add(SALESFORCE)
        return
    named = None if change.changed is None else change.changed | {NAME}
    work.change = replace(change, changed=named, fields={**change.fields, NAME: name or None})
