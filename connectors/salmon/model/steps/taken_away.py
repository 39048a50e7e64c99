"""
A part of the fold: what comes after we have taken a record off a side while it lives on elsewhere.

*What a repetition makes again.* A sink that was killed carries out once more what it had not noted as done: first a creation, which
makes the record again, and then the deletion that takes it away again. The creation's echo carries a marker that was answered before.
That is no new record of a user's, so its values are nobody's edits, and its end is nobody's deletion. We take it away once more,
because a newer command may have replaced the deletion in the sink meanwhile.

*What was edited before.* A look that does not find the record overtakes the events of the time before. Of a record that is
deleted, they say nothing that still counts. Here they do: an edit of that time is an edit of the record. So the look leaves a note
for each field of what the side held by then, and the late events are judged by these, until one comes that is newer than the look.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from salmon.model.change import Change, Op, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.state import TAKEN_AWAY, Overwritten, Sent
from salmon.model.steps.values import UNSENT, fold_unseen_value
from salmon.model.steps.work import Work


def notes(work: Work, ours: Sent | None) -> tuple[Overwritten, ...]:
    """The notes that are left by the end of a record on a side. *ours*: the write of ours that it answers."""
    change, x, rules = work.change, work.x, work.rules
    told_by_row = change.op is Op.ABSENT and change.origin not in rules.eventless
    if not (told_by_row and work.state.lives):
        return ()
    assert change.as_of is not None
    # Of an edit that a write of ours went over before a row came, the event of that write is still to report.
    of_writes = tuple(each for each in x.overwritten if each.seq > 0)
    if x.exists is False:
        # Another look. The first one has answered our deletion.
        known = tuple(each for each in x.overwritten if each.seq == TAKEN_AWAY)
        return (*of_writes, *(replace(each, edited_at=change.as_of) for each in known)) if known else ()
    if not _is_filtered(work) or ours is None or ours.op is not WriteOp.DELETE:
        return ()
    names = sorted(
        each.name for each in rules.schema.fields if each.settable and each.name in rules.live[change.origin]
    )
    held = (Overwritten(n, TAKEN_AWAY, x.shadow.get(n), x.as_of, edited_at=change.as_of) for n in names)
    return (*of_writes, *held)


def is_told_of(change: Change, away: tuple[Overwritten, ...]) -> bool:
    """Whether the change, an old event, is of the time before a look that did not find the record. *away*: what that has noted."""
    return any(each.since < change.commit_time <= each.edited_at for each in away)


def tell(work: Work, away: tuple[Overwritten, ...], *, but: Collection[str]) -> tuple[Overwritten, ...]:
    """See above. Return the notes after that. *but*: fields that are judged otherwise."""
    change, ours = work.change, work.answer.ours
    if change.op is Op.DELETE:
        # Perhaps not the last one: what we made again before the look is reported by then, too.
        return tuple(replace(each, before=None) for each in away)
    # What a write of ours has set that was answered before is nobody's edit.
    is_nobodys = work.is_consequence or (change.ack is not None and ours is None)
    is_edited = change.op is Op.UPDATE and work.state.lives and not is_nobodys
    told, after = work.rules.spoken(change) - set(but), list[Overwritten]()
    for known in away:
        if known.name not in told:
            after.append(known)
            continue
        value = change.fields.get(known.name)
        is_edit = is_edited and value != known.before
        if is_edit and not work.rules.says_nothing(change.origin, known.name, value):
            sent = UNSENT if ours is None else ours.fields.get(known.name, UNSENT)
            fold_unseen_value(work, known.name, known.before, sent)
        after.append(replace(known, before=value))
    return tuple(after)


def removals(work: Work, ours: Sent | None) -> dict[int, Sent]:
    """As a record ends on a side: our deletions that are finished and perhaps repeated. *ours*: the write that the change answers."""
    x = work.x
    if not (work.state.lives and _is_filtered(work)):
        return {}
    finished = {seq: sent for seq, sent in x.sent.items() if sent.op is WriteOp.DELETE and seq <= x.settled}
    if work.change.op is Op.DELETE and ours is not None and ours.op is WriteOp.DELETE:
        finished[x.settled] = ours
    return finished


def forget(work: Work) -> None:
    """Somebody makes another record on a side that has none: that one is not what we took away, and who deletes it means it."""
    x = work.x
    if x.exists is False and _is_filtered(work):
        x.sent = {s: sent for s, sent in x.sent.items() if s > x.settled or sent.op is not WriteOp.DELETE}


def is_made_again(work: Work) -> bool:
    """Whether the change shows what a sink has made by a creation of before, in place of what we have taken away since."""
    change, x, seq = work.change, work.x, work.change.ack or 0
    if change.op not in (Op.CREATE, Op.ROW) or not work.state.lives or EXISTENCE in x.parked:
        return False
    # If the filter has ended, what is on its way by now takes nothing away that lives on.
    newest = max(x.sent, default=0) if _is_filtered(work) else x.settled
    taken = any(seq < s <= newest and sent.op is WriteOp.DELETE for s, sent in x.sent.items())
    # The second: a row has shown it, and its event follows.
    is_away = x.exists is False or (change.op is Op.CREATE and seq == x.marker)
    return taken and is_away and 0 < seq <= x.settled


def _is_filtered(work: Work) -> bool:
    """Whether our deletions on that side may take records away that live on. The filter, or the whole view, may have ended since."""
    return work.change.origin in work.rules.views or work.x.entered
