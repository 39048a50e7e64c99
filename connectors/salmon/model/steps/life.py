"""
Step 5 of the fold: the creation and deletion of a record, as one side reports them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from salmon.model.change import OWNED_BY_MERGE, Op, WriteOp
from salmon.model.policies import EXISTENCE, Edit
from salmon.model.rules import OVERWRITTEN_MAX
from salmon.model.state import EMPTIED, NEVER, Overwritten, Park, Parked, Sent, SideState, Version
from salmon.model.steps import placed, taken_away
from salmon.model.steps.misfits import note, note_what_was_seen
from salmon.model.steps.values import fold_value, refused_in_silence
from salmon.model.steps.work import UNKNOWN, Fact, Work


def lives(work: Work, ours: Sent | None) -> None:
    """The change shows a record that is there: CREATE, UPDATE or ROW."""
    change, x, state = work.change, work.x, work.state
    had = x.exists
    spoken = work.rules.spoken(change)
    if change.op is Op.CREATE:
        # Nothing of an earlier life counts; what events do not carry is unknown until it is read.
        x.shadow, x.unknown, x.misfits = {}, work.rules.names[change.origin] - spoken, {}
        # But a conflict waits on where our own creation has brought the record back, or somebody has before its end was reported.
        waits_on = ours is not None or (had is True and change.native_id == x.native_id)
        x.parked = {
            n: p for n, p in x.parked.items() if n != EXISTENCE and (waits_on or p.why is not Park.HELD)
        }
    elif change.is_row and state.lives and _is_another_record(work):
        # The end of the former one is still to be reported. What that one held says nothing of this one.
        x.shadow, x.unknown, x.misfits = {}, work.rules.names[change.origin], {}
    elif change.op is Op.UPDATE and not had:
        # A life whose beginning nobody reported: the rest of it must be read.
        x.shadow, x.unknown, x.misfits = {}, work.rules.names[change.origin], {}
        work.out.to_read.add(change.origin)
        if ours is not None:
            _holds_what_we_set(work, ours)
    if x.holds(EXISTENCE):
        del x.parked[EXISTENCE]  # it has the record by itself: nothing is left to decide
    if change.is_row or change.op is Op.CREATE or change.ack is not None:
        x.marker = change.ack or 0
    work.exists()
    note(work)

    if not state.lives and state.life is not NEVER:
        born = change.op is Op.CREATE or (change.op is Op.ROW and had is False)
        if ours is not None or not born:
            _told_of_the_dead(work, ours, spoken)
            return
        work.begin(work.version)  # a new life: canonical starts empty
    elif not state.lives:
        work.begin(work.version if change.is_event and not work.is_consequence else work.baseline)
    if ours is not None and change.is_event:
        refused_in_silence(work, ours, spoken | change.misfits.keys())
    if change.is_row and change.origin not in work.rules.eventless:
        x.overwritten = tuple(
            _edited_since(work, known) if known.name in spoken else known for known in x.overwritten
        )
        if ours is not None:
            _remember_overwritten(work, ours, spoken)
        _remember_emptied(work, spoken)
    note_what_was_seen(work)
    # What is null everywhere is agreed; most fields of most records are.
    told = change.fields.keys() | state.canonical.keys() | x.shadow.keys() | x.parked.keys()
    # So is most of what a row or an echo reports; of that, nothing is left to judge.
    masked = work.rules.masked(change.origin)
    agreed = {
        name: value
        for name, value in change.fields.items()
        if value is not None
        and value == state.canonical.get(name)
        and name in spoken
        and name in state.versions
        and name not in x.parked
        and name not in masked
    }
    x.shadow |= agreed
    for name in sorted((spoken & told) - agreed.keys()):
        fold_value(work, name, ours)
    x.unknown -= spoken
    if x.misfits:
        x.misfits = {name: misfit for name, misfit in x.misfits.items() if name not in spoken}


def _holds_what_we_set(work: Work, ours: Sent) -> None:
    """
    The event answers our write. What that has set is there, also where the event does not mention it: an earlier creation has
    set the same. So who edits it from now on has seen it.
    """
    for name, value in ours.fields.items():
        if not ours.spares(name):
            work.set_shadow(name, value)
            work.x.unknown -= {name}


def _is_another_record(work: Work) -> bool:
    """Whether the change shows another record of the key than the side has reported."""
    known, told = work.x.native_id, work.change.native_id
    return work.x.exists is True and known is not None and told is not None and known != told


def _remember_overwritten(work: Work, ours: Sent, spoken: frozenset[str]) -> None:
    """What the side held before our write, which a row shows while events of the time before may still come."""
    x = work.x
    if work.answer.made:
        x.overwritten = (*x.overwritten, *_replaced_in_creation(work, spoken))
        return  # nothing was there before
    overwritten = []
    for name in sorted(ours.fields.keys() - OWNED_BY_MERGE):
        seq = work.answer.set_by[name]
        if name in work.answer.told_before:
            before = x.shadow.get(name)
        else:
            # Nobody has reported the field yet; earlier creations of ours have made the record.
            made_with = {sent.fields.get(name) for s, sent in work.answer.made_before.items() if s < seq}
            before = made_with.pop() if len(made_with) == 1 else None
        shown = work.change.fields.get(name)
        # A row of an older source does not show a newer field: it may hold what we wrote.
        later = () if name not in spoken or shown == ours.fields[name] else (shown,)
        known = Overwritten(name, seq, before, x.as_of, later=later)
        overwritten.append(_with_own_edit(work, known))
    # A creation may have cleared more fields than are remembered of many writes.
    x.overwritten = (*x.overwritten, *overwritten)[-max(OVERWRITTEN_MAX, len(overwritten)) :]


def _remember_emptied(work: Work, spoken: frozenset[str]) -> None:
    """What the side held in fields that the row shows as empty where that says nothing."""
    x, side, fields = work.x, work.change.origin, work.change.fields
    candidates = work.rules.never_empty.keys() & spoken
    empty = {n for n in candidates if work.rules.says_nothing(side, n, fields.get(n))}
    if not (empty or x.overwritten):
        return  # of most rows, and this runs for each
    emptied = tuple(Overwritten(n, EMPTIED, x.shadow[n], x.as_of) for n in sorted(empty & x.shadow.keys()))
    over = (spoken - empty) | {known.name for known in emptied}
    x.overwritten = (*(k for k in x.overwritten if k.seq != EMPTIED or k.name not in over), *emptied)


def _replaced_in_creation(work: Work, spoken: frozenset[str]) -> Iterator[Overwritten]:
    """
    What stands in place of what the creation has set that made the record. If its event will report the same, a trigger did that
    to our value; what the event reports about other fields, the org has filled in.
    """
    change, answered = work.change, work.answer.answered
    if answered is None or change.ack is None or change.as_of is None:
        return
    for name in sorted(answered.fields.keys() & spoken - OWNED_BY_MERGE):
        shown = change.fields.get(name)
        if shown != answered.fields[name]:
            yield Overwritten(name, change.ack, None, change.as_of, later=(shown,))


def _with_own_edit(work: Work, known: Overwritten) -> Overwritten:
    """
    What the side held is itself an edit of it, and agreed on, and the row shows a later one. If our write was carried out
    between the two, which its event will report, the author of the later one had not seen the first.
    """
    standing = work.state.versions.get(known.name, NEVER)
    is_own = standing.origin == work.change.origin and not standing.baseline
    is_agreed = known.before == work.state.canonical.get(known.name)
    if not (is_own and is_agreed and known.later and known.seq != work.change.ack):
        return known
    return replace(known, edited=True, edit=known.before, edited_at=standing.committed_at)


def _edited_since(work: Work, known: Overwritten) -> Overwritten:
    """A newer row with the marker of the write shows another value: nothing but an edit after the write made that."""
    value, shadow = work.change.fields.get(known.name), work.shadow(known.name)
    told = known.name not in work.change.misfits
    is_news = told and known.seq == work.change.ack and shadow is not UNKNOWN and value != shadow
    return replace(known, later=(value,)) if is_news else known


def _told_of_the_dead(work: Work, ours: Sent | None, spoken: frozenset[str]) -> None:
    """
    Step 5. The side shows a record that is deleted elsewhere: it had not seen that when this was committed.

    What answers our own write is no edit, nor is what followed of one, nor a field that is merely new to the sync. An
    edit of the side contests the deletion, and if it wins, the record lives on as that side has it.
    """
    change, x, state = work.change, work.x, work.state
    names = spoken - OWNED_BY_MERGE
    first = names <= x.unknown
    fresh = [name for name in sorted(names) if _is_fresh(work, name, first=first) and _is_edit(work, name)]
    for name in spoken:
        work.set_shadow(name, change.fields.get(name))
    x.unknown -= spoken
    if ours is not None or work.is_consequence or not fresh or change.origin in work.rules.keeps:
        return
    standing, challenger = (
        Edit(state.life.origin, False, state.life.committed_at, state.life.seq),
        _alive(work),
    )
    if first and change.is_row:
        lives_on = work.rules.initial == change.origin
        work.report(Fact.FIRST_CONTACT, EXISTENCE)
    elif state.life.baseline or state.life.origin == change.origin:
        # An edit beats a deletion that nobody has made, and one that was before it on the same side.
        lives_on = True
    else:
        winner = work.contest(EXISTENCE, work.rules.policy, standing, challenger)
        lives_on = winner is not standing
        if winner is None:
            # A contest on hold keeps the record: what is destroyed cannot be resolved later.
            for side in state.sides.values():
                if side.exists is not True:
                    hold_death(work, side)
    if lives_on:
        revive(work, change.origin, work.version, edited=frozenset(fresh))


def _is_fresh(work: Work, name: str, *, first: bool) -> bool:
    """Whether the field shows what the side did not hold, as far as it had reported. *first*: it had reported nothing at all."""
    value, shadow = work.change.fields.get(name), work.shadow(name)
    if shadow is not UNKNOWN:
        return value != shadow
    return value is not None and (first or not work.change.is_row)


def _is_edit(work: Work, name: str) -> bool:
    """Whether a new value of the field can be somebody's edit: nobody makes the values of formulas and stamps."""
    derived = not work.rules.schema.by_name[name].settable
    return not derived and work.rules.may_win(work.change.origin, name, known_to_salesforce=True)


def _alive(work: Work) -> Edit:
    return Edit(work.change.origin, True, work.change.committed_at, work.state.seq)


def hold_death(work: Work, side: SideState) -> None:
    """*side* does without the record, which lives on elsewhere, until somebody decides."""
    side.parked[EXISTENCE] = Parked(Park.HELD, work.state.seq, keeps=False)
    work.report(Fact.PARKED, EXISTENCE)


def revive(work: Work, side: str, version: Version, *, edited: frozenset[str] | None = None) -> None:
    """
    Let the record live as *side* holds it, but for what another side alone can say, and has said.

    *edited*: the fields of *version*; the others were merely there. None: all of them.
    """
    hidden, masked = work.state.canonical, work.rules.masked(side)
    work.begin(version)
    of_others: set[str] = set(masked)
    for other, told in work.state.sides.items():
        if other != side and told.exists is True:
            of_others |= work.rules.known_only_to(other) - told.unknown
    for name, value in work.state.sides[side].shadow.items():
        if (
            name not in OWNED_BY_MERGE
            and name not in of_others
            and name not in work.state.sides[side].misfits
        ):
            work.take(name, value, version if edited is None or name in edited else work.baseline)
    for name in sorted(hidden.keys() & set(masked) - work.state.canonical.keys()):
        work.take(name, hidden[name], work.baseline)  # *side* holds another value, and nobody else has it now


def ends(work: Work, ours: Sent | None) -> None:
    """Step 5. DELETE or ABSENT: the side no longer has the record, or never had."""
    change, x, state = work.change, work.x, work.state
    had, unseen = x.exists, _unseen(work)
    left_behind = placed.is_left_behind(work)
    x.overwritten = taken_away.notes(work, ours)
    # The record is gone, so no echo of a finished write is expected any more. A row with values would not prove that: it may have
    # been read before a write whose outcome overtook the row.
    x.sent = {**taken_away.removals(work, ours), **x.in_flight}
    x.exists, x.native_id, x.marker = False, None, 0
    x.shadow, x.unknown, x.misfits = {}, frozenset(), {}
    x.entered = x.entered and x.awaits(WriteOp.CREATE)
    is_our_doing = ours is not None and ours.op is WriteOp.DELETE
    if had is not False:  # a refused creation is not tried again because somebody looked
        # What is on hold waits on where we have taken the record off this side alone.
        waits_on = state.lives and is_our_doing
        x.parked = {n: p for n, p in x.parked.items() if waits_on and p.why is Park.HELD and n != EXISTENCE}
    if not state.lives or is_our_doing:
        return  # known, or our own doing; if canonical lives, step 7 creates it again
    if had is False or (had is None and change.op is Op.ABSENT):
        return  # it never had it: nothing was deleted
    if left_behind:
        return  # step 7 creates it again, in the collection of now
    if unseen and _is_kept_elsewhere(work):
        unseen = []  # those who made these edits keep them
    if unseen and not work.is_consequence:
        newest = max(unseen, key=lambda v: (v.committed_at, v.seq))
        challenger = Edit(change.origin, False, change.committed_at, state.seq)
        standing = Edit(newest.origin or state.life.origin, True, newest.committed_at, newest.seq)
        winner = work.contest(EXISTENCE, work.rules.policy, standing, challenger)
        if winner is None:
            hold_death(work, x)
        if winner is not challenger:
            return  # the edit wins, and step 7 creates the record again, or both wait
    elif work.is_consequence and work.rules.parents_leave:
        return  # its parent has perhaps left that side alone: step 7 creates the record again, which waits for that
    elif unseen:
        return  # an edit beats a deletion that nobody has made: step 7 creates the record again
    die(work, work.baseline if work.is_consequence else work.version)


def _is_kept_elsewhere(work: Work) -> bool:
    """Whether nobody else loses the record by the deletion."""
    return all(side in work.rules.keeps for side in work.state.sides if side != work.change.origin)


def _unseen(work: Work) -> list[Version]:
    """
    The edits that a deletion on the side could not know of. What was merely found on the other side is none, nor what
    followed of a write of ours; nor an edit of the side itself, even where a write of ours had taken its place there.
    """
    x, state = work.x, work.state
    agreed = work.rules.seen_by(work.change.origin, state.canonical)
    unseen = [
        state.versions.get(name, state.life)
        for name in work.rules.settable_by_others(work.change.origin)
        if name not in x.parked
        and (agreed.get(name) is not None if name in x.unknown else x.shadow.get(name) != agreed.get(name))
    ]
    return [v for v in unseen if not v.baseline and v.origin != work.change.origin]


def die(work: Work, version: Version) -> None:
    """The record is deleted, on every side that has it; whatever waits there, waits no more."""
    # An edit on a side that holds a value masked may bring the record back, and nothing else would say then what it was.
    state, hidden = work.state, work.rules.masked_somewhere
    state.canonical = {n: v for n, v in state.canonical.items() if n in hidden}
    state.versions = {n: v for n, v in state.versions.items() if n in state.canonical}
    state.lives, state.life = False, version
    state.unpublished = True
    for side in state.sides.values():
        side.parked = {}
    work.report(Fact.DELETED)
