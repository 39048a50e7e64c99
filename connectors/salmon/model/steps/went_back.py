"""
A part of the fold: the first that a side reports about a record after its history went back.

A database restored from a backup and a sandbox that was refreshed show what was true before. That is nobody's edit and
nobody's deletion: what was agreed since stands, and step 7 gives it back to the side. What happens there afterwards is
judged like everything else.
"""

from __future__ import annotations

from salmon.model.change import OWNED_BY_MERGE, PLACE, Change, Op
from salmon.model.policies import EXISTENCE
from salmon.model.state import NEVER, SideState
from salmon.model.steps.misfits import note, overrule
from salmon.model.steps.values import fold_value
from salmon.model.steps.work import Fact, Work


def is_told(change: Change, x: SideState) -> bool:
    """
    Whether the change says anything of the record. While several collections have a document of it, nothing is reported about any: the first
    row that finds one document is the first of the new history.
    """
    return PLACE not in (change.misfits if change.is_row else x.misfits)


def forget_order(x: SideState) -> None:
    """The side's clock and its order have restarted: compared by them, nothing that it reports now is old."""
    x.order, x.commit_time, x.as_of, x.overwritten = b"", 0, -1, ()


def shown_again(work: Work) -> None:
    """A row: the side has the record as it once was, or as it is."""
    change, x, state = work.change, work.x, work.state
    if x.exists is False:
        # It was taken away since, or is deleted. What the side keeps of a deletion is on its own: no filter takes that away.
        is_kept = not state.lives and change.origin in work.rules.keeps
        x.entered = change.origin in work.rules.views and not is_kept
    agreed = work.rules.seen_by(change.origin, state.canonical)
    work.exists()
    x.marker, x.held = change.ack or 0, False
    # What could not be taken, and was corrected since, goes like any other older value. Where nothing is agreed, it stays.
    corrected = [n for n in change.misfits.keys() - x.misfits.keys() - x.unknown if n in state.canonical]
    note(work)
    restored = overrule(x, corrected)
    for name in restored:
        x.shadow.pop(name, None)  # whoever edits it now has not seen what is agreed
    for name in sorted(work.rules.spoken(change)):
        value = change.fields.get(name)
        if name in x.unknown and state.lives:
            fold_value(work, name, None)  # first contact, as ever
            continue
        work.set_shadow(name, value)
        if value == agreed.get(name) or not state.lives:
            continue
        if name in work.rules.only_of(change.origin):
            work.take(name, value, work.version)  # nobody else can say what it is
        elif name not in OWNED_BY_MERGE:
            restored.append(name)
    x.unknown -= work.rules.spoken(change)
    if not state.lives:
        restored = [EXISTENCE]
    if restored:
        work.report(Fact.RESTORED, *restored)


def missing_again(work: Work) -> None:
    """ABSENT: the record is of the time that the side has lost, or is deleted everywhere."""
    x = work.x
    if x.exists and work.state.lives:
        work.report(Fact.RESTORED, EXISTENCE)
    x.exists, x.native_id, x.marker, x.held = False, None, 0, False
    x.shadow, x.unknown, x.parked, x.misfits = {}, frozenset(), {}, {}


def may_repeat(change: Change, x: SideState) -> bool:
    """
    Whether an event is the repetition of a write that was answered: a guard knows what was done by the markers, and those
    went with the history. Until a newer write is answered, nobody else sets a marker above the one that was shown, but for
    somebody who brings a copy back of a document that was deleted since.
    """
    if not (x.history and change.is_event and change.ack is not None):
        return False
    return x.marker < change.ack <= x.settled and (change.op is Op.UPDATE or not x.order)


def is_repeated(work: Work, seq: int) -> bool:
    """
    Whether a row shows a write of before that a sink has repeated: on a record that the side shows as it once was, or has lost
    and got again from an old creation. The write had been answered, so nobody else sets its marker there.
    """
    x = work.x
    if not x.history or seq > x.settled:
        return False
    if x.exists is True:
        # The creation that a restore from the recycle bin is reported as does not say which marker the record has.
        return x.marker < seq and not _is_as_it_was_told(work)
    # What an old creation has set is not known, so any row may show that, until the new creation has gone over it.
    is_owed = x.exists is False and work.state.lives
    return is_owed and (x.marker < seq or (x.marker == seq and bool(x.in_flight)))


def _is_as_it_was_told(work: Work) -> bool:
    """Whether the row shows in each field what the side has reported about it before."""
    told = work.rules.spoken(work.change) - work.x.unknown
    return bool(told) and all(work.change.fields.get(name) == work.x.shadow.get(name) for name in told)


def is_known(work: Work) -> bool:
    """Whether the side and merge have agreed on anything of the record that its history could have lost."""
    return work.x.exists is not None and (work.state.lives or work.state.life is not NEVER)


def tell(work: Work) -> None:
    """See above. The change is a row."""
    if work.change.op is Op.ABSENT:
        missing_again(work)
    else:
        shown_again(work)
    x = work.x
    x.as_of = work.change.as_of if work.change.as_of is not None else -1
    x.row_since_write, x.burst = True, 0
    x.sent = x.in_flight
