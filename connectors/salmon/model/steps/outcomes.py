"""
Step 6 of the fold: what a sink reports about a write that did not simply succeed, and what an operator decides.
"""

from __future__ import annotations

from salmon.model.change import OPERATOR, OWNED_BY_MERGE, PLACE, SALESFORCE, TWICE, Change, Op, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.state import Park, Parked, Sent
from salmon.model.steps import admission
from salmon.model.steps.life import die, revive
from salmon.model.steps.owed import owe_all
from salmon.model.steps.work import Fact, Work


def outcome(work: Work) -> None:
    change, x = work.change, work.x
    assert change.ack is not None, "an outcome names the write that it is of"
    if change.op is Op.RETRY:
        waited = {n: p for n, p in x.parked.items() if p.why is Park.DEFERRED}
        groups = {p.group for n, p in waited.items() if _named(change, n)}
        # A creation that had nothing else to say waited as a whole: it has something to say again.
        freed = {n for n, p in waited.items() if _named(change, n) or (n == EXISTENCE and p.group in groups)}
        x.parked = {n: p for n, p in x.parked.items() if n not in freed}
        # What another record kept away is sent again by the number of the write that was refused.
        x.parked = {n: p for n, p in x.parked.items() if p.why is not Park.REFUSED or p.group != change.ack}
        return
    ours = x.sent.get(change.ack)
    if ours is None:
        return  # superseded and answered since: what it says is no longer so
    # What met nothing, or two documents, was perhaps carried out before, by a call whose answer never came: that is still to be reported,
    # and is ours.
    if change.op is not Op.GONE and change.source.get("code") != TWICE:
        del x.sent[change.ack]
    # Earlier writes are done with too, but their echoes may still be on the way: an outcome overtakes events.
    x.settled = max(x.settled, change.ack)
    x.burst = min(x.burst, len(x.in_flight))
    match change.op:
        case Op.GONE | Op.EXISTS:
            x.held = True
        case Op.DEFERRED:
            _park(work, ours, Park.DEFERRED)
        case Op.REFUSED:
            _refused(work, ours)


def _named(change: Change, name: str) -> bool:
    return change.changed is None or name in change.changed


def _at_fault(work: Work, ours: Sent) -> frozenset[str]:
    """The write's fields that the outcome names; all of them where it names none of them."""
    named = ours.fields.keys() & (work.change.changed or frozenset())
    return frozenset(named or ours.fields.keys()) - OWNED_BY_MERGE or frozenset(ours.fields)


def _park(work: Work, ours: Sent, why: Park) -> None:
    """
    Set aside what is at fault, so that the rest can be sent again.

    A refused creation that would then lack what is required, or have nothing to say, is set aside as a whole; so is one
    that waits with all that it has to say, and a deletion.
    """
    makes = _would_make(work, ours)
    at_fault = _at_fault(work, ours)
    source = work.change.source
    parked = Parked(why, work.change.ack or 0, source.get("code", ""), source.get("reason", ""))
    for name in sorted(at_fault):
        if not _is_held(work, ours, name):
            work.x.parked[name] = parked
    rest = ours.fields.keys() - at_fault - OWNED_BY_MERGE
    hopeless = makes and (not rest or not at_fault.isdisjoint(work.rules.required))
    if why is Park.REFUSED and (hopeless or ours.op is WriteOp.DELETE):
        # Any edit of the record may be the cure, also of a field that was empty and not in the write.
        for name in sorted(work.rules.names[work.change.origin] - OWNED_BY_MERGE):
            work.x.parked.setdefault(name, parked)
        work.x.parked[EXISTENCE] = parked
    if why is Park.DEFERRED and (ours.op is WriteOp.DELETE or (makes and not rest)):
        work.x.parked[EXISTENCE] = parked  # nothing is left of it that could go on
    work.report(Fact.PARKED, *sorted(at_fault))


def _would_make(work: Work, ours: Sent) -> bool:
    """Whether the record would begin with the write. A creation over one that is there by now is no more than an update."""
    return ours.op is WriteOp.CREATE and work.x.exists is not True


def _is_held(work: Work, ours: Sent, name: str) -> bool:
    """Whether the field is on hold: what became of a write decides no conflict."""
    if not work.x.holds(name):
        return False
    if ours.fields.get(name) == work.x.kept[name]:
        work.keep(name, work.x.shadow.get(name))  # it does not take back what it had: it keeps what it has
    return True


def _refused(work: Work, ours: Sent) -> None:
    x, state = work.x, work.state
    # That a record stays where its filter no longer wants it is no reason to change it: there is nothing to revert.
    leaves = ours.op is WriteOp.DELETE and state.lives and work.change.origin in work.rules.views
    if work.rules.on_reject == "keep" or _would_make(work, ours) or leaves:
        _park(work, ours, Park.REFUSED)
    elif ours.op is WriteOp.DELETE:
        if not state.lives:
            revive(work, work.change.origin, work.version)
    else:
        for name in sorted(_at_fault(work, ours)):
            knows = SALESFORCE in state.sides and state.sides[SALESFORCE].exists is True
            if _is_held(work, ours, name):
                continue
            if name in x.unknown or not work.rules.may_win(
                work.change.origin, name, known_to_salesforce=knows
            ):
                x.parked[name] = Parked(
                    Park.REFUSED, work.change.ack or 0, work.change.source.get("code", "")
                )
            elif state.canonical.get(name) == ours.fields[name]:
                work.take(name, x.shadow.get(name), work.version)
                work.report(Fact.EDITED, name)


def one_way_outcome(work: Work) -> None:
    """
    What the sink reports about the target of a one-way object, which is otherwise taken to have what was emitted.

    A record that was there before us is updated as a whole, for nobody there has a say; one that is gone is created again. What
    was deferred, the target does not have: once its reason is gone, the whole record is sent again, or the deletion. What was
    refused is set aside until it is edited again, or sent again by `salmon retry`; the rest is sent at once.
    """
    change, x = work.change, work.x
    if change.op is Op.EXISTS and (change.ack or 0) < x.settled:
        return  # what that write has met is what our deletion takes away, which was sent since
    if change.op is Op.EXISTS:
        x.held, x.native_id, x.shadow = True, change.native_id, {}
        x.unknown = work.rules.names[change.origin]  # also where all that it is to have is null
    elif change.op is Op.GONE and work.state.lives:
        x.held, x.native_id, x.exists, x.shadow = False, None, None, {}
    elif change.op is Op.RETRY:
        owe_all(x, work.rules.names[change.origin])
    elif change.op is Op.REFUSED and change.ack == x.marker:
        _refused_one_way(work)


def _refused_one_way(work: Work) -> None:
    """The last write was refused. An older one needs no answer: each write carries the whole record."""
    change, x = work.change, work.x
    settable = work.rules.names[change.origin] - OWNED_BY_MERGE
    # Where it names the place alone, it is of the document as a whole.
    at_fault = settable if change.changed == frozenset({PLACE}) else (change.changed or settable) & settable
    if not work.state.lives or at_fault == settable or not at_fault.isdisjoint(work.rules.required):
        at_fault = settable | {EXISTENCE}  # any edit of the record may be the cure
    parked = Parked(Park.REFUSED, x.marker, change.source.get("code", ""), change.source.get("reason", ""))
    x.parked |= dict.fromkeys(sorted(at_fault), parked)
    owe_all(x, work.rules.names[change.origin])
    work.report(Fact.PARKED, *sorted(at_fault))


def operator_edit(work: Work) -> None:
    """
    An operator's choice: causal by definition, and it resolves whatever was held.

    EDIT sets the fields it names. Where it names EXISTENCE, it lets a record live whose life is contested, and brings
    back one that is deleted, as long as a side still has it. DELETE ends a contested record, and no other. What nobody
    may set is left as it is.
    """
    change, state = work.change, work.state
    assert change.origin == OPERATOR
    if not state.lives:
        if change.changed is not None and EXISTENCE in change.changed:
            _bring_back(work)
        return
    if work.rules.one_way_to is not None:
        return  # its one author is never written to
    named = frozenset(change.fields) if change.changed is None else change.changed
    contested = [side for side in state.sides.values() if side.holds(EXISTENCE)]
    if not contested and EXISTENCE in named:
        admission.stay(work)
    if contested and change.op is Op.DELETE:
        die(work, work.version)
    elif contested and EXISTENCE in named:
        for side in contested:
            del side.parked[EXISTENCE]
        work.report(Fact.EDITED, EXISTENCE)
    if change.op is not Op.EDIT:
        return
    knows = SALESFORCE in state.sides and state.sides[SALESFORCE].exists is True
    for name in sorted(named & work.rules.schema.by_name.keys()):
        if not work.rules.may_win(OPERATOR, name, known_to_salesforce=knows):
            continue
        for side in state.sides.values():
            if side.holds(name):
                del side.parked[name]
        work.take(name, change.fields.get(name), work.version)
        work.report(Fact.EDITED, name)


def _bring_back(work: Work) -> None:
    """The record lives again, as the side has it that has not been sent its end yet, or would not carry that out."""
    state = work.state
    holder = next((n for n in work.rules.sides if state.sides[n].exists is True), None)
    if holder is None or work.rules.one_way_to is not None:
        return  # nobody has it any more; or its one author has deleted it, to whom nothing is ever written
    revive(work, holder, work.version)
    for side in state.sides.values():
        side.parked.pop(EXISTENCE, None)
    work.report(Fact.EDITED, EXISTENCE)
