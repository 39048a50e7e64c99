"""
A part of the fold: what was edited on a side before we took a record off it that lives on elsewhere.

A look that does not find the record overtakes the events of the time before. Of a record that is deleted, they say nothing that
still counts. Here they do: an edit of that time is an edit of the record. So the look leaves a note for each field of what the
side held by then, and the late events are judged by these, until one comes that is newer than the look.
"""

from __future__ import annotations

from dataclasses import replace

from salmon.model.change import Op, WriteOp
from salmon.model.state import TAKEN_AWAY, Overwritten, Sent
from salmon.model.steps.values import UNSENT, fold_unseen_value
from salmon.model.steps.work import Work


def notes(work: Work, ours: Sent | None) -> tuple[Overwritten, ...]:
    """The notes that are left by the end of a record on a side. *ours*: the write of ours that it answers."""
    change, x, rules = work.change, work.x, work.rules
    is_ours = ours is not None and ours.op is WriteOp.DELETE
    told_by_row = change.op is Op.ABSENT and change.origin not in rules.eventless
    if not (change.origin in rules.views and is_ours and told_by_row and work.state.lives):
        return ()
    assert change.as_of is not None
    if x.exists is False:
        return tuple(
            replace(each, edited_at=change.as_of) for each in x.overwritten if each.seq == TAKEN_AWAY
        )
    names = sorted(
        each.name for each in rules.schema.fields if each.settable and each.name in rules.live[change.origin]
    )
    return tuple(
        Overwritten(name, TAKEN_AWAY, x.shadow.get(name), x.as_of, edited_at=change.as_of) for name in names
    )


def is_told_of(work: Work) -> bool:
    """Whether the change, an old event, is of the time before a look that did not find the record."""
    at = work.change.commit_time
    return any(each.seq == TAKEN_AWAY and each.since < at <= each.edited_at for each in work.x.overwritten)


def tell(work: Work) -> None:
    """See above."""
    change, x, ours = work.change, work.x, work.answer.ours
    if change.op is Op.DELETE:
        # Perhaps not the last one: what we made again before the look is told by then, too.
        x.overwritten = tuple(replace(each, before=None) for each in x.overwritten)
        return
    spoken, after = work.rules.spoken(change), list[Overwritten]()
    for each in x.overwritten:
        known = each
        if known.seq == TAKEN_AWAY and known.name in spoken:
            value = change.fields.get(known.name)
            known = replace(known, before=value)
            is_edit = change.op is Op.UPDATE and not work.is_consequence and value != each.before
            if is_edit and not work.rules.says_nothing(change.origin, known.name, value):
                sent = UNSENT if ours is None else ours.fields.get(known.name, UNSENT)
                fold_unseen_value(work, known.name, each.before, sent)
        after.append(known)
    x.overwritten = tuple(after)
