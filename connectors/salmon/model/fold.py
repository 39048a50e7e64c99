"""
The fold: one change of one record in; the new state, the writes to send, the conflicts and the agreed record out.

All decisions of Salmon are made here: what is an echo, who wins, and what each side still needs. The fold is pure, so the
same log gives the same state, however it is cut into batches or interrupted by restarts. A change is folded in up to seven
steps, in this order:

1. old news      a repetition, or something that a row has already shown: it only settles its ack
2. acks          which of our writes the change answers: those values are our own, coming back
3. silence       what our write set and the answer does not mention: the side kept its own value
4. values        field by field: agreed, echo, known, first contact, or an edit, which is causal or concurrent
5. life, death   the same for the existence of the record
6. outcomes      what a sink reports about a write that did not simply succeed
7. owed          what each side lacks now (salmon.model.steps.owed)

If the history of a side went back, the first row of a record is handled differently: see salmon.model.steps.went_back.

An edit is causal if its side had seen the canonical value when the edit was made. No clock is used for that. So an edit
made after seeing a value is never beaten by that value, however wrong the clocks are. Only two edits that did not know of
each other are a conflict, and only then a policy decides.
"""

from __future__ import annotations

from dataclasses import replace

from salmon.model.change import OPERATOR, OWNED_BY_MERGE, PLACE, Change, Op, Value, WriteOp
from salmon.model.rules import SEQ_MAX, Rules
from salmon.model.state import NEVER, Sent, SideState, State
from salmon.model.steps import admission, computed, placed, taken_away, went_back
from salmon.model.steps.consequences import is_consequence
from salmon.model.steps.doubles import with_known_digits
from salmon.model.steps.life import ends, lives
from salmon.model.steps.misfits import note
from salmon.model.steps.outcomes import one_way_outcome, operator_edit, outcome
from salmon.model.steps.overtaken import judge_overwritten, overtaken
from salmon.model.steps.owed import emit, told_in_part
from salmon.model.steps.people import rules_for, with_name
from salmon.model.steps.retrying import send_again
from salmon.model.steps.values import Verdict, fold_value, judge
from salmon.model.steps.work import Answer, Fact, Folded, Published, Report, Work

__all__ = ["Fact", "Folded", "Published", "Report", "Verdict", "fold", "judge"]


def fold(
    state: State,
    change: Change,
    *,
    object: str,  # noqa: A002
    key: str,
    offset: int,
    rules: Rules,
    correlation: str = "",
    at: int = 0,
) -> Folded:
    """
    Fold one change of one record. *state* itself is not changed.

    Args:
        state: What is known about the key; salmon.model.state.new_state for a key never seen.
        change: What a side, a sink or an operator reports.
        object: The sObject's name, for conflicts.
        key: The record key, for conflicts.
        offset: The change's offset in its partition of `changes`. The seq is derived from it.
        rules: The object's rules.
        correlation: An id that is passed on from the change to its writes and to every log.
        at: When the log received it, in ms. 0: not known; then no oscillation is noticed.
    """
    told, change = change.op, placed.as_move(change, state, rules)
    rules = rules_for(rules, state, change)
    if rules.decimals:
        change = with_known_digits(change, state, rules)
    work = Work(Folded(state.copy()), change, object, key, rules, at)
    if not state.seq:
        admission.begin(work.state, rules)
    # A marker that none of our writes can have set (somebody edited it) must not push the seq out of its range.
    shown = change.ack or 0
    work.state.seq = max(offset, state.seq + 1, shown + 1 if shown < SEQ_MAX else 0)
    if change.origin == OPERATOR and change.op is Op.RETRY:
        send_again(work)
    elif change.origin == OPERATOR:
        operator_edit(work)
    elif change.origin == rules.one_way_to:
        one_way_outcome(work)  # nothing else that the target reports matters
    elif change.is_outcome:
        outcome(work)
    elif _is_twin(work):
        work.report(Fact.TWIN)
    else:
        _told(work, told)
    computed.settle(work)
    placed.try_again(work, state)
    work.breaker.settle()
    # A row has the time of the last edit, which may be years ago. That is not our lag.
    edited_at = change.committed_at if change.is_event else 0
    in_part = told_in_part(work.state, rules)
    admission.settle(work.state, rules, whole=not in_part)
    emit(work.out, rules, whole=not in_part, committed_at=edited_at, correlation=correlation)
    if in_part and change.is_event and work.state.lives and _is_news(work.out):
        # The record of an edit is read at once, and not only when its turn comes in the snapshot.
        work.out.to_read.update(in_part)
    if work.state.unpublished and not (work.state.lives and in_part):
        work.state.unpublished = False
        work.out.published = Published.ROW if work.state.lives else Published.TOMBSTONE
    return work.out


def _is_news(out: Folded) -> bool:
    return not any(report.fact in (Fact.REPEATED, Fact.TWIN) for report in out.reports)


# What a side reports: events and rows (steps 1 to 5).


def _is_twin(work: Work) -> bool:
    """Whether it is a second record with the same key, e.g. an undeleted one whose key was created again meanwhile."""
    live, told = work.x.native_id, work.change.native_id
    if work.change.op is Op.ROW and (work.x.held or told != work.key):
        return False  # only one record has a key at a time: the deletion of the former one will still be reported
    if work.change.op is Op.ROW and work.change.history != work.x.history:
        return False  # the other one is of the time that the side has lost
    if work.change.is_event and _is_old_news(work.change, work.x):
        return False  # an old event, from before the record was created again
    return work.x.exists is True and live is not None and told is not None and told != live


def _told(work: Work, told: Op) -> None:
    """*told*: what the change was reported as."""
    change, x = work.change, work.x
    if change.history != x.history:
        if went_back.is_told(change, x):
            x.history = change.history
        went_back.forget_order(x)
        # The origin of a one-way object is the only one who can say what is true, so what it shows again is news.
        if change.is_row and work.rules.one_way_to is None and went_back.is_known(work):
            _acknowledge(work, old=False)
            went_back.tell(work)
            return
    old = _is_old_news(change, x)
    if not old and placed.is_elsewhere(work, told):
        x.order = change.order  # reported again, it says nothing either
        if change.ack in x.sent:
            x.settled = max(x.settled, change.ack)  # it is carried out; what it shows is for the row
        work.out.to_read.add(change.origin)
        work.report(Fact.ELSEWHERE)
        return
    if placed.is_too_early(work):
        work.report(Fact.ELSEWHERE)
        return
    # An old row does not answer a write. A later event or row will show what the write set.
    if not (old and change.is_row):
        work.answer = _acknowledge(work, old=old)
    work.is_consequence = work.answer.ours is None and is_consequence(change, x, work.rules)
    if change.is_row or told is not Op.UPDATE:
        x.held = False
    if old and change.is_event:
        if change.order > x.order:
            overtaken(work)
        work.report(Fact.REPEATED)
        return
    if work.is_consequence:
        work.report(Fact.CONSEQUENCE)
    if old:
        _old_row(work)
    else:
        with_name(work)
        _news_of_record(work)
    _keep_place(work)


def _news_of_record(work: Work) -> None:
    """An event or a row that is not old: steps 3 to 5."""
    change, x, ours = work.change, work.x, work.answer.ours
    if change.op is Op.UPDATE:
        # It is newer than everything that rows have shown. So it is the event of the latest row's write, or that event is lost.
        shown = {x.marker, change.ack}
        judge_overwritten(work, *(known for known in x.overwritten if known.seq in shown))
    if change.op in (Op.DELETE, Op.ABSENT):
        ends(work, ours)
    elif work.answer.late:
        _late_echo(work)
    else:
        if ours is None:
            # A move that was refused is not tried again because somebody looked.
            own = OWNED_BY_MERGE - {PLACE} if change.is_row else OWNED_BY_MERGE
            x.parked = {n: p for n, p in x.parked.items() if n not in own}
            taken_away.forget(work)
        lives(work, ours)


def _keep_place(work: Work) -> None:
    """Remember up to where the side has reported. Step 1 uses this to find out what is old."""
    change, x = work.change, work.x
    if change.is_event:
        x.order, x.commit_time = max(x.order, change.order), max(x.commit_time, change.commit_time)
        x.overwritten = ()
    elif change.as_of is not None and not work.answer.late:
        x.as_of = max(x.as_of, change.as_of)
        x.row_since_write, x.burst = True, 0


def _is_old_news(change: Change, x: SideState) -> bool:
    """Step 1. Rows and events of one key come in any order. What a row has shown must not be judged again."""
    if change.is_event:
        return change.order <= x.order or change.commit_time <= x.as_of
    assert change.as_of is not None, "a row says which commits it includes"
    return change.as_of < max(x.commit_time, x.as_of)


def _acknowledge(work: Work, *, old: bool) -> Answer:
    """
    Step 2. Settle our write that the change answers, and return what that shows.

    A row's marker and an event's ack answer the write with that seq, and every earlier one, because each write contains
    everything that was owed. A delete has no marker: it answers the newest one that no end was reported. So does an absence,
    but it settles nothing: the record was perhaps gone before our delete, which may still be carried out on one restored since.
    """
    change, x = work.change, work.x
    if change.op is Op.ABSENT:
        ended = _deletion_told_by(change, x, old=old)
        return Answer() if ended is None else _answer(work, ended)
    seq = _deletion_told_by(change, x, old=old) if change.op is Op.DELETE else change.ack
    if seq is not None and seq in x.sent:
        answer = _answer_of_row(work, seq) if change.is_row else _answer(work, seq)
        committed_at = x.sent[seq].committed_at
        _settle(x, seq)
        work.report(Fact.ACKNOWLEDGED, committed_at=committed_at)
        return answer
    # On a side without a guard, a write may be repeated after it was answered; a row shows that by a marker that changes to a former one.
    # On a guarded side this is not possible, unless the side went back: there, a copied or restored record has the marker.
    late = (
        seq is not None
        and change.op is not Op.DELETE
        and (
            went_back.may_repeat(change, x)
            if change.origin in work.rules.guarded
            else seq <= x.settled
            if change.is_event
            else _is_shown_again(work, seq) or went_back.is_repeated(work, seq)
        )
    )
    return Answer(late=late or taken_away.is_made_again(work))


def _is_shown_again(work: Work, seq: int) -> bool:
    """
    Whether a row shows an older write again: any that was answered but the last one shown, for several may be repeated in turn. A
    record that was brought back has shown none, and has the marker of before.
    """
    x = work.x
    return x.exists is True and 0 < x.marker != seq <= x.settled


def _deletion_told_by(change: Change, x: SideState, *, old: bool) -> int | None:
    """
    Which of our deletions the end of a record answers. A repeated event answers none. One that a row has overtaken is of the time
    before that row, so it answers none that was sent since; and if the row showed a record restored since, it is that of an earlier
    deletion than those that were sent because rows showed the record.
    """
    if old and change.order <= x.order:
        return None
    later = x.sent_since_row if old else frozenset()
    deletions = [seq for seq, sent in x.sent.items() if sent.op is WriteOp.DELETE and seq not in later]
    if not deletions:
        return None
    return min(deletions) if old and x.exists is True else max(deletions)


def _answer(work: Work, seq: int) -> Answer:
    """Return what an event shows that answers the write *seq*."""
    x, names = work.x, work.rules.names[work.change.origin]
    answered = x.sent[seq]
    made_before = {s: w for s, w in x.sent.items() if s < seq and w.op is WriteOp.CREATE}
    made = answered.op is WriteOp.CREATE and not (made_before or x.marker)
    told = names - x.unknown if x.exists else frozenset()
    return Answer(ours=answered, answered=answered, made=made, made_before=made_before, told_before=told)


def _answer_of_row(work: Work, seq: int) -> Answer:
    """Do the same for a row, which also shows what earlier writes have set, and what was edited after them."""
    x, answer = work.x, _answer(work, seq)
    if answer.made and x.exists is False:
        # Earlier writes were to a former record, and none of them is to be seen in this one.
        return replace(answer, set_by=dict.fromkeys(x.sent[seq].fields, seq), up_to_it=(x.sent[seq],))
    ours, set_by = _all_until(work, seq)
    return replace(
        answer,
        ours=ours,
        set_by=set_by,
        up_to_it=tuple(sent for s, sent in x.sent.items() if s <= seq),
    )


def _all_until(work: Work, seq: int) -> tuple[Sent, dict[str, int]]:
    """
    Return which of our values a row with the marker *seq* may show: for each field, what the last write up to *seq* set, and
    which write that was. On a guarded side, a creation over an earlier one of ours clears the fields that it does not name.
    """
    x, side = work.x, work.change.origin
    fields: dict[str, Value] = {}
    set_by: dict[str, int] = {}
    is_made = bool(x.marker)
    for earlier, sent in x.sent.items():
        if earlier > seq:
            break
        says = dict(sent.fields)
        if is_made:
            says |= {n: None for n in work.rules.names[side] if work.rules.clears(side, sent, n)}
            says = {n: v for n, v in says.items() if not sent.spares(n)}
        is_made |= sent.op is WriteOp.CREATE
        fields |= says
        set_by |= dict.fromkeys(says, earlier)
    return replace(x.sent[seq], fields=fields), set_by


def _settle(x: SideState, seq: int) -> None:
    """Forget the write *seq* and all earlier ones, because it contains everything that they contained."""
    x.sent = {s: sent for s, sent in x.sent.items() if s > seq}
    x.settled = max(x.settled, seq)
    x.burst = min(x.burst, len(x.in_flight))


def _old_row(work: Work) -> None:
    """Fold a row that is older than what its side has reported since. It is only used for fields that are still unknown."""
    x, rules = work.x, work.rules
    if x.exists is False or work.change.op is Op.ABSENT:
        return
    if x.exists is None:
        work.exists()
        if not work.state.lives and work.state.life is NEVER:
            work.begin(work.baseline)
    told = rules.spoken(work.change) & x.unknown
    note(work, x.unknown)
    for name in sorted(told):
        if work.state.lives:
            fold_value(work, name, None)
        else:
            work.set_shadow(name, work.change.fields.get(name))
    x.unknown -= told


def _late_echo(work: Work) -> None:
    """
    Fold the echo of a write that its sink repeated after the answer had come. The side holds its values now, but nobody
    wanted that. Step 7 corrects what the repetition overwrote or created again.

    A row only shows that there was a repetition. Its event will show which fields it set; the other fields may be edits that
    are still to be reported. Where no events come, what it shows is what the repetition has set if nobody has modified the record
    since. If somebody has, nobody can tell the two apart, and all of it counts as seen by whoever that was.
    """
    change, x = work.change, work.x
    if change.is_row and change.origin in work.rules.eventless and not change.by_us:
        lives(work, None)
        return
    x.marker = change.ack or 0
    # What a filter has taken away is taken away once more.
    x.entered = change.origin in work.rules.views
    # Nothing was there before, so that is shown as a whole.
    made_again = taken_away.is_made_again(work)
    if change.is_row and change.origin not in work.rules.eventless and not made_again:
        return
    spoken = work.rules.spoken(change)
    if change.op is Op.CREATE or made_again:
        x.shadow, x.unknown = {}, work.rules.names[change.origin]
    for name in spoken:
        value = change.fields.get(name)
        work.set_shadow(name, value)
        if (
            work.state.lives
            and name in work.rules.only_of(change.origin)
            and value != work.state.canonical.get(name)
        ):
            work.take(name, value, work.version)
    x.unknown -= spoken
    work.exists()
