"""
An event that a row has overtaken: what it reports that the row could not show.
"""

from __future__ import annotations

from dataclasses import replace

from salmon.model.change import OWNED_BY_MERGE, Op, Value
from salmon.model.state import EMPTIED, NEVER, TAKEN_AWAY, Overwritten, Version
from salmon.model.steps import taken_away
from salmon.model.steps.misfits import stays_there
from salmon.model.steps.values import fold_hidden_value, fold_unseen_value
from salmon.model.steps.work import NO_ANSWER, Work


def overtaken(work: Work) -> None:
    """
    Fold an event that a row has overtaken. The row has already shown its result, unless one of our writes overwrote an edit
    before a row or event had shown it. The event of that write shows which edit it was: the last one before it. What was hidden
    from the row is folded after that.
    """
    change, x = work.change, work.x
    x.order = change.order
    spoken = work.rules.spoken(change)
    away = tuple(known for known in x.overwritten if known.seq == TAKEN_AWAY)
    x.overwritten = tuple(known for known in x.overwritten if known.seq != TAKEN_AWAY)
    waiting = {k.name for k in x.overwritten if k.seq != EMPTIED and k.since < change.commit_time}
    is_of_the_time_before = taken_away.is_told_of(change, away)
    noted = _judge_notes(work, spoken) if waiting or not is_of_the_time_before else set()
    if is_of_the_time_before:
        if change.op is Op.DELETE:
            _judge_what_is_left(work, away)
        # What our write went over is judged at the event of that write, by the note of it.
        x.overwritten += taken_away.tell(work, away, but=waiting if change.ack is None else set())
        return
    x.overwritten += away
    if change.op is not Op.DELETE:
        for name in sorted(spoken - noted):
            if _is_hidden(work, name):
                fold_hidden_value(work, name)


def _judge_notes(work: Work, spoken: frozenset[str]) -> set[str]:
    """Judge what the event shows to have been overwritten; return the fields of which it is still not known."""
    change, x = work.change, work.x
    if change.ack is not None and (change.op is Op.CREATE or change.ack == x.marker < x.settled):
        _nobodys_edits(work, spoken, change.ack)
    after: list[Overwritten] = []
    # Overwritten edits are judged at the event of our write, if a row has shown that write; else at that of an earlier write.
    told = [known for known in x.overwritten if known.seq == change.ack]
    judged = {known.name for known in told}
    judge_overwritten(work, *told)
    notes = tuple(known for known in x.overwritten if known.seq != EMPTIED)
    x.overwritten = tuple(known for known in x.overwritten if known.seq == EMPTIED)
    for known in notes:
        if change.ack is not None and known.seq <= change.ack:
            if known.name in spoken and known.name not in judged:
                judge_overwritten(work, known)
                judged.add(known.name)
            elif known.name not in judged and _hides_an_edit(work, known):
                fold_hidden_value(_as_of_the_edit(work, known), known.name)  # no write of ours went over it
                judged.add(known.name)
            # If this event does not mention the write and the record does not show it, the write never happened. If the
            # record shows it, it was a later call of a sink that has died since, and its event is still to come.
            if known.seq == x.marker != change.ack:
                before = change.fields.get(known.name) if known.name in spoken else known.before
                after.append(replace(known, edited=False, before=before))
            continue
        if known.name in spoken and change.commit_time > known.since and change.op is not Op.DELETE:
            known = _told_before(work, known, judged)  # noqa: PLW2901
        after.append(known)
    x.overwritten += tuple(after)
    for known in notes:
        if known.name in spoken:
            _judge_again(work, known)
            _contest_after_all(work, known)
    return {known.name for known in after}  # these are judged at the event of our write


def _judge_what_is_left(work: Work, away: tuple[Overwritten, ...]) -> None:
    """The record was taken away, and the events of our writes have not come: those were reported before, or never will be."""
    seen = {known.name: known.before for known in away}
    for known in work.x.overwritten:
        if known.edited and work.state.lives:
            edit = replace(_as_of_the_edit(work, known), answer=NO_ANSWER)  # not of our deletion
            fold_unseen_value(edit, known.name, seen.get(known.name))
    work.x.overwritten = ()


def _told_before(work: Work, known: Overwritten, judged: set[str]) -> Overwritten:
    """The note after an event has reported its field, and our write was perhaps carried out after that."""
    change, value = work.change, work.change.fields.get(known.name)
    if work.is_consequence:
        return replace(known, edited=False, before=value)
    if change.op is Op.UPDATE and change.ack is None:
        if work.rules.says_nothing(change.origin, known.name, value):
            return known
        # A value that a row has shown since came after the write. The write's own event may never come.
        is_before = (value,) != known.later and not _was_told(known, value)
        return replace(known, edited=is_before, edit=value, edited_at=change.committed_at)
    # A creation, or an earlier write of ours: the author of a later edit had seen it.
    if known.name not in judged:
        judge_overwritten(work, known)
        judged.add(known.name)
    return replace(known, edited=False, before=value)


def _was_told(known: Overwritten, value: Value) -> bool:
    """
    Whether the event reports what a row had shown before our write was sent: whoever made that has seen it. Where our write was
    sent before the row came, the note begins as edited.
    """
    return value == known.before and not (known.edited and known.edit == value)


def _hides_an_edit(work: Work, known: Overwritten) -> bool:
    """Whether events have reported an edit that no row has shown, because of what came after it."""
    return known.edited and known.edit != known.before and _is_hidden(work, known.name)


def _is_hidden(work: Work, name: str) -> bool:
    """Whether rows show nothing of what was in the field before: it holds what cannot be taken, or is empty where that says nothing."""
    x = work.x
    if name in x.misfits:
        return True
    told = x.exists is True and name not in x.unknown
    return told and work.rules.says_nothing(work.change.origin, name, x.shadow.get(name))


def _nobodys_edits(work: Work, spoken: frozenset[str], ours: int) -> None:
    """
    The late event of our creation reports what the org set as it carried that out; the one of a write that its sink repeated
    after a newer one was answered, what that has set again. Where the row could not tell which of our writes made the record,
    or what was repeated, that looked like an edit; now it is known that nobody has made one. What was agreed on before the
    write *ours* was sent is what it said itself; what a trigger made of that is as much of an edit as that is.
    """
    change, state = work.change, work.state
    said = {known.name for known in work.x.overwritten if known.seq == ours}
    for name in spoken - OWNED_BY_MERGE - said:
        standing, value = state.versions.get(name, NEVER), change.fields.get(name)
        is_since = standing.origin == change.origin and standing.seq > ours
        if is_since and value is not None and value == state.canonical.get(name):
            state.versions[name] = replace(standing, baseline=True)


def judge_overwritten(work: Work, *told: Overwritten) -> None:
    """
    Judge edits that our writes overwrote: the events of the writes in *told* have arrived, so the edits are known now. So is
    an edit that set what our write was to set after it: the row took that for ours, but our write has changed nothing.
    """
    spoken = work.rules.spoken(work.change)
    for known in told:
        set_the_same = not known.later and known.name not in spoken
        # Any other value that the side holds now was shown by its rows, whenever it was set.
        if work.state.lives and known.edited and (known.edit != work.shadow(known.name) or set_the_same):
            fold_unseen_value(_as_of_the_edit(work, known), known.name, known.before)
            stays_there(work, known.name)


def _judge_again(work: Work, known: Overwritten) -> None:
    """
    Judge again what a row has shown: the event of an earlier write of ours reports only now that it was carried out before
    that. Newer writes left the field alone, so the row did not say so. If our value still stands, its author had seen it.
    """
    change, x, state, name = work.change, work.x, work.state, known.name
    if change.ack is None or known.later != (work.shadow(name),) or known.seq == x.marker or x.holds(name):
        return
    stands = change.fields.get(name) == state.canonical.get(name)
    if state.lives and stands and state.versions.get(name, NEVER).seq <= change.ack:
        shown = replace(change, fields={name: known.later[0]}, ack=None)
        fold_unseen_value(replace(work, change=shown), name, state.canonical.get(name))


def _contest_after_all(work: Work, known: Overwritten) -> None:
    """
    The opposite case: our write went over an edit of the side, as its event reports only now, and somebody has set the field
    after that. The row looked as if this author had seen that edit, which gave way without a word. Now both are reported, and the
    policy decides. The second edit was made after our write: that is its time if the row gave it none.
    """
    change, state, name = work.change, work.state, known.name
    ours, value, standing = change.fields.get(name), work.shadow(name), state.versions.get(name, NEVER)
    if change.ack is None or not known.edited or known.edit != known.before or known.later != (value,):
        return
    gave_way = standing.origin == change.origin and state.canonical.get(name) == value
    if state.lives and gave_way and ours not in (known.before, value) and not work.x.holds(name):
        work.take(name, known.before, Version(known.edited_at, change.origin, state.seq))
        at = max(standing.committed_at, change.committed_at)
        shown = replace(change, committed_at=at, fields={name: known.later[0]}, ack=None)
        fold_unseen_value(replace(work, change=shown), name, ours)


def _as_of_the_edit(work: Work, known: Overwritten) -> Work:
    """The fold of the edit that is remembered in *known*, as if its event came now."""
    edit = replace(work.change, committed_at=known.edited_at, fields={known.name: known.edit}, ack=None)
    return replace(work, change=edit)
