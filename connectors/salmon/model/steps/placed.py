"""
A part of the fold: a document that may be in one of several collections of its object.

MongoDB is one side all the same. In which collection a document is, is a property of it that merge owns, like its Salesforce Id
(salmon.model.change.PLACE): what an application has moved is moved back, and a record whose values call for another collection is
owed that property. The sink moves the document then, with all that the application has in it.

What one collection reports about a document is not the whole story: its beginning or end there may be half of a move. So the source
reports a deletion only after a look into all collections, and an insert only if that finds no other document. Here, an insert of a
document that is known to exist is a move: an update that reports every field. Its marker answers our write as ever, and who edits
the document afterwards has seen what is in it. Any other event is folded only if the document is known to be where the event comes
from. If it is not, a row has to say what is there.

Where several collections have a document with the same `_id`, nobody can say which one is the record. The source reports that as a
place that cannot be taken (TWICE), and nothing of either document. While that is so, nothing is written to any of them: a sink that
finds two says that something unknown EXISTS, and has the source look. It is over with the first row that finds one.
"""

from __future__ import annotations

from dataclasses import replace

from salmon.model.change import MONGODB, PLACE, SINCE, Change, Op, WriteOp
from salmon.model.rules import Rules
from salmon.model.state import State
from salmon.model.steps.work import Work


def as_move(change: Change, state: State, rules: Rules) -> Change:
    """The change, as an update if it is the insert of a document that has moved."""
    if change.op is not Op.CREATE or change.origin != MONGODB or not rules.is_placed:
        return change
    return replace(change, op=Op.UPDATE) if state.sides[MONGODB].exists is True else change


def is_elsewhere(work: Work, told: Op) -> bool:
    """
    Whether the change, an event that is not old, is of a document that is not known to be where the event comes from.

    Args:
        told: What it was reported as (see as_move).
    """
    change, x = work.change, work.x
    if change.op is Op.DELETE and _may_be_a_move(work):
        return True
    place = change.fields.get(PLACE)
    if place is None or not change.is_event or x.exists is not True or PLACE in x.unknown:
        return False
    if PLACE in x.misfits:
        return True
    known = x.shadow.get(PLACE)
    return known not in (None, place) if change.op is Op.DELETE else told is not Op.CREATE and known != place


def is_too_early(work: Work) -> bool:
    """Whether a look found nothing while a move of ours is on its way: its event or its outcome says what is so."""
    return work.change.op is Op.ABSENT and _may_be_a_move(work)


def _may_be_a_move(work: Work) -> bool:
    """
    Whether the end of a document may be half of a move of ours. A source that runs with another configuration does not see the other
    half: one that knows of no collections reports no place, and one that does not know the newest looks only into the others.
    """
    change, x = work.change, work.x
    if change.origin != MONGODB or not work.rules.is_placed or x.exists is not True:
        return False
    place = change.fields.get(PLACE)
    if change.op is Op.DELETE and place is None:
        return True
    place = place or x.shadow.get(PLACE)
    sent = list(x.in_flight.values())
    return any(each.fields.get(PLACE, place) != place for each in sent) and sent[-1].op is not WriteOp.DELETE


def is_left_behind(work: Work) -> bool:
    """
    Whether a look did not find a document that was last seen before its object got another collection: the configuration names another
    one, or the collection was renamed or dropped. Nobody has deleted the document; it is merely not there.
    """
    change, x, view = work.change, work.x, work.rules.views.get(work.change.origin)
    if change.op is not Op.ABSENT or change.origin != MONGODB or x.exists is not True:
        return False
    place = x.shadow.get(PLACE)
    if place is not None and view is not None and view.places is not None and place not in view.collections:
        return True
    if SINCE not in change.source:
        return False
    since, *others = change.source[SINCE].split("\0")
    return (place is None or place in others) and max(x.as_of, x.commit_time) <= int(since)


def try_again(work: Work, before: State) -> None:
    """After an edit: it may be the cure of what has kept the document from its place. *before*: the state before the fold."""
    if not work.rules.is_placed or before.canonical == work.state.canonical:
        return
    work.state.sides[MONGODB].parked.pop(PLACE, None)
