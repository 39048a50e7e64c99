"""
Steps 3 and 4 of the fold: what one field of one change means, and what becomes of it.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from salmon.model.change import OWNED_BY_MERGE, SALESFORCE, Op, Value, WriteOp
from salmon.model.policies import Edit
from salmon.model.state import EMPTIED, NEVER, Overwritten, Park, Parked, Sent, Version
from salmon.model.steps.misfits import stays_there
from salmon.model.steps.work import UNKNOWN, Fact, Unknown, Work


class Verdict(Enum):
    """What one field of one change means."""

    AGREED = "agreed"
    ECHO = "echo"
    KNOWN = "known"  # the side still holds what we knew
    FIRST_CONTACT = "first contact"
    CAUSAL = "causal"
    CONCURRENT = "concurrent"


class Unsent(Enum):
    UNSENT = "unsent"


UNSENT: Final = Unsent.UNSENT


def judge(
    value: Value,
    *,
    canonical: Value,
    shadow: Value | Unknown,
    ours: Value | Unsent = UNSENT,
    whole: bool = False,
    read: bool = False,
) -> Verdict:
    """
    Say what one field of one change means. No clock plays a part in it.

    Args:
        value: What the side reports now; None for a field that is cleared or missing.
        canonical: What the sides have agreed on, or are about to.
        shadow: What this side held before, as far as it has reported; UNKNOWN where it never has.
        ours: What our write set, if this change answers one that spoke of the field.
        whole: Whether the change shows the record as it is (a row, a creation) and not just what was edited.
        read: Whether it is a row: what differs from our write may then have been edited since.
    """
    if value == canonical:
        return Verdict.AGREED
    if ours is not UNSENT:
        # A trigger that runs on our write has seen what we sent, not the older shadow; by the shadow, every
        # trigger that tidies a value of ours would look like a conflict.
        if value == ours:
            return Verdict.ECHO
        if ours == canonical:
            return Verdict.CAUSAL
        # What a trigger made of a value that has been edited since is as outdated as that value.
        return Verdict.CONCURRENT if read and value != shadow else Verdict.ECHO
    if whole and shadow is UNKNOWN:
        return Verdict.FIRST_CONTACT
    if value == shadow:
        return Verdict.KNOWN
    return Verdict.CAUSAL if shadow == canonical else Verdict.CONCURRENT


def refused_in_silence(work: Work, ours: Sent, spoken: frozenset[str]) -> None:
    """
    Step 3. The side took our write and does not mention a field that we set: a trigger or flow kept the old value.

    That is an edit of the side, made after it saw what we sent.
    """
    silent = (ours.fields.keys() & work.rules.live[work.change.origin]) - spoken - OWNED_BY_MERGE
    silent = {n for n in silent if not ours.spares(n)}
    if work.change.knows is not None:
        silent &= work.change.knows
    masked = work.rules.masked(work.change.origin)
    for name in sorted(silent):
        kept, sent = work.shadow(name), ours.fields[name]
        if name in masked:
            if kept is not UNKNOWN and kept != sent:
                _overruled(work, name)
            continue
        if work.x.holds(name) and not isinstance(kept, Unknown) and sent == work.x.kept[name] != kept:
            work.keep(name, kept)  # it does not even take back what it had
        if not isinstance(kept, Unknown) and kept != sent == work.state.canonical.get(name):
            work.take(name, kept, work.version)
            work.report(Fact.EDITED, name)


def fold_value(work: Work, name: str, ours: Sent | None) -> None:
    """Step 4, for one field that the change speaks of."""
    change, state = work.change, work.state
    value, shadow = change.fields.get(name), work.shadow(name)
    canonical = work.rules.shown_to(change.origin, name, state.canonical.get(name))
    corrected = name in work.x.misfits
    work.set_shadow(name, value)
    if name in OWNED_BY_MERGE:
        return
    if name in work.rules.only_of(change.origin):
        if value != canonical:
            work.take(name, value, work.version)  # nobody else can have a say
        return
    sent = _sent(work, name, ours)
    whole = change.is_row or change.op is Op.CREATE
    verdict = judge(value, canonical=canonical, shadow=shadow, ours=sent, whole=whole, read=change.is_row)
    if corrected and verdict is Verdict.KNOWN:
        verdict = (
            Verdict.CONCURRENT
        )  # not what it held: it comes back to that from a value that could not be taken
    held = work.x.holds(name)
    is_kept = held and value == work.x.kept[name]
    if held and sent == work.x.kept[name]:
        work.keep(name, value)  # what it made of its own value, given back to it
    if verdict is Verdict.AGREED:
        if not held or value not in (sent, shadow):
            work.x.parked.pop(name, None)  # it holds the agreed value by itself: nothing waits any more
        if name not in state.versions and value is not None:
            state.versions[name] = work.version
        return
    if verdict in (Verdict.ECHO, Verdict.KNOWN) or is_kept:
        return
    if ours is not None and ours.op is WriteOp.CREATE and sent is UNSENT and canonical is not None:
        settable = work.rules.sink_may_set(change.origin, WriteOp.CREATE)
        if name not in settable:
            return  # the side's own default for what our creation could not set: nobody's edit
    _news(work, name, value, verdict)


def _sent(work: Work, name: str, ours: Sent | None) -> Value | Unsent:
    """What our write set. A creation names no nulls; but over an earlier one of ours, a guarded side clears the rest."""
    answer = work.answer
    told_before = name in answer.told_before
    if ours is None or (answer.made and work.change.is_row and told_before):
        return UNSENT
    answered = answer.answered or ours
    cleared = work.rules.clears(work.change.origin, answered, name)
    said = cleared or name in answered.fields
    if said and answered.spares(name) and not told_before:
        return answered.fields.get(name)  # whichever creation has made the record, it said the same
    sent = ours.fields.get(name, None if cleared else UNSENT)
    if said and not answered.spares(name):
        return sent
    # A row answers every write up to the one it carries. Any of them was perhaps never carried out, or has spared the field,
    # and then the field is as the one before has left it.
    shown = work.change.fields.get(name)
    return (
        shown
        if sent == shown or any(shown == w.fields[name] for w in answer.up_to_it if name in w.fields)
        else UNSENT
    )


def fold_unseen_value(work: Work, name: str, before: Value, ours: Value | Unsent = UNSENT) -> None:
    """
    An edit that our own write overwrote before anybody had seen it. *before*: what its author saw. *ours*: what the write set
    that the event answers.
    """
    if name in OWNED_BY_MERGE or name in work.rules.only_of(work.change.origin):
        return
    value = work.change.fields.get(name)
    canonical = work.rules.shown_to(work.change.origin, name, work.state.canonical.get(name))
    verdict = judge(value, canonical=canonical, shadow=before, ours=ours)
    if verdict in (Verdict.CAUSAL, Verdict.CONCURRENT):
        _news(work, name, value, verdict)


def fold_hidden_value(work: Work, name: str) -> None:
    """
    Fold what an event reports about a field in which a row that has overtaken it shows what cannot be taken, or nothing where that
    says nothing. The row did not show the value that was there before, so that is news, although what stands there now was
    put there after it. An example: somebody sets 2, and then what cannot be taken, which a row shows first. The 2 is agreed
    on, as if it had come in time.
    """
    change, x = work.change, work.x
    value = change.fields.get(name)
    if not work.state.lives or work.rules.says_nothing(change.origin, name, value):
        return
    misfit = x.misfits.pop(name, None)
    note = next((known for known in x.overwritten if known.name == name and known.seq == EMPTIED), None)
    if misfit is None or note is not None:
        work.set_shadow(name, None if note is None else note.before)  # what the side held then
    if change.ack is None:
        fold_value(work, name, None)
    else:
        work.set_shadow(name, value)  # our own value
    x.overwritten = tuple(known for known in x.overwritten if known is not note)
    if misfit is None:
        work.set_shadow(name, None)
        x.overwritten += (Overwritten(name, EMPTIED, value, x.as_of),)
        return
    x.misfits[name] = misfit
    stays_there(work, name)


def _news(work: Work, name: str, value: Value, verdict: Verdict) -> None:
    state, side = work.state, work.change.origin
    if verdict is not Verdict.FIRST_CONTACT and value is None and work.rules.cannot_clear(side, name):
        value = work.rules.never_empty[name]
        if value is None or value == state.canonical.get(name):
            _overruled(work, name)  # nothing was meant by it, and the side gets the field back
            return
    knows = SALESFORCE in state.sides and state.sides[SALESFORCE].exists is True
    if not work.rules.may_win(side, name, known_to_salesforce=knows):
        if verdict is not Verdict.FIRST_CONTACT:
            _overruled(work, name)
        return
    standing = state.versions.get(name, NEVER)
    cleared = value is None and (work.is_consequence or _is_cleared_by_the_org(work, name, value))
    if cleared and name in work.rules.parents_leave:
        return  # what it refers to has perhaps left that side alone: the reference stays, and waits for it there
    if verdict is Verdict.CAUSAL and _is_cleared_by_the_org(work, name, value):
        work.take(name, None, work.baseline)
    elif work.is_consequence or _is_filled_in(work, name, verdict):
        _consequence(work, name, value, verdict, standing)
    elif verdict is Verdict.FIRST_CONTACT:
        _first_contact(work, name, value, standing)
    elif verdict is Verdict.CAUSAL or standing.baseline:
        # An edit beats what was merely found on the other side: that is no edit, and so no conflict.
        work.take(name, value, work.version)
        work.report(Fact.EDITED, name)
    else:
        _concurrent(work, name, value, standing)


def _is_filled_in(work: Work, name: str, verdict: Verdict) -> bool:
    """
    Whether the org set the field by itself as it carried out our write, which did not: a default, or a flow's doing.

    An event shows just what one transaction did. A row shows that only of a record which our write made, and which nobody
    has modified since.
    """
    ours, change = work.answer.ours, work.change
    if ours is None or change.origin in work.rules.guarded or verdict is Verdict.FIRST_CONTACT:
        return False
    return name not in ours.fields and (change.is_event or (work.answer.made and change.by_us))


def _is_cleared_by_the_org(work: Work, name: str, value: Value) -> bool:
    """
    Whether a row shows that a lookup is gone that our write has set: the org clears it as we delete its target, and so was
    our user the last who modified the record. Where no events come, nothing else will ever report that, whoever has set it.
    """
    ours, change = work.answer.ours, work.change
    if value is not None or not (change.is_row and change.by_us):
        return False
    is_ours = change.origin in work.rules.eventless or (
        ours is not None and ours.fields.get(name) is not None
    )
    return is_ours and bool(work.rules.schema.by_name[name].reference_to)


def _consequence(work: Work, name: str, value: Value, verdict: Verdict, standing: Version) -> None:
    """It holds where the other side has edited nothing; but nobody's edit can be half of a conflict."""
    if verdict is not Verdict.CAUSAL:
        if work.x.holds(name):
            work.keep(name, value)
        return
    if work.change.op is Op.CREATE or work.answer.made:
        if not standing.baseline:
            return  # somebody has cleared the field since our creation, which did not name it
        work.take(name, value, work.baseline)
    elif not (work.is_consequence or standing.baseline) and standing.origin == work.change.origin:
        # What a flow made of an edit, which the other side may not have seen.
        work.take(name, value, work.version)
    else:
        work.take(name, value, work.baseline)


def _overruled(work: Work, name: str) -> None:
    work.report(Fact.OVERRULED, name)
    if work.breaker.overruled(name):
        work.report(Fact.OSCILLATING, name)


def _first_contact(work: Work, name: str, value: Value, standing: Version) -> None:
    """A row reports a field for the first time. Null says nothing; two values are decided by `initial`."""
    canonical = work.state.canonical.get(name)
    if value is None:
        return
    if canonical is None and standing.baseline:
        work.take(name, value, work.baseline)
        return
    # An edit that somebody made meanwhile is never beaten by what was found.
    if standing.baseline and work.rules.initial == work.change.origin:
        work.take(name, value, work.baseline)
    work.report(Fact.FIRST_CONTACT, name)


def _concurrent(work: Work, name: str, value: Value, standing: Version) -> None:
    change, state = work.change, work.state
    winner = work.contest(
        name,
        work.rules.policy_of(name),
        Edit(standing.origin, state.canonical.get(name), standing.committed_at, standing.seq),
        challenger := Edit(change.origin, value, change.committed_at, state.seq),
    )
    if winner is None:
        work.x.parked[name] = Parked(Park.HELD, state.seq, keeps=value)
        work.report(Fact.PARKED, name)
        return
    if work.x.holds(name):
        del work.x.parked[name]  # on hold until now, when another policy decides
    if winner is challenger:
        work.take(name, value, work.version)
        work.report(Fact.EDITED, name)
