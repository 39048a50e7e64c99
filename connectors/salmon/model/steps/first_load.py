"""
A short way through the fold for what a first load mostly is: a row of Salesforce for a key that nobody told of.

Nothing is judged here: tests/property/test_first_row.py holds it to the fold, which is the one that says what is right.
"""

from __future__ import annotations

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, SIDES, Change, Op, Write, WriteOp
from salmon.model.rules import Rules
from salmon.model.state import Sent, SideState, State, Version
from salmon.model.steps.work import Fact, Folded, Published, Report


def fold_first_row(change: Change, *, offset: int, rules: Rules, correlation: str = "") -> Folded | None:
    """
    What fold() gives for *change* and the state of a key never seen; None where this short way does not lead there.

    Args:
        change: See fold(), as all the others.
    """
    if (
        change.op is not Op.ROW
        or change.origin != SALESFORCE
        or change.changed is not None
        or change.misfits
        or change.knows is not None
        or change.ack
        or change.as_of is None
        or change.as_of < 0
        or rules.one_way_to is not None
        or rules.sides != SIDES
        or rules.views
        or not change.fields.keys() <= rules.names[SALESFORCE]
        or None in change.fields.values()
    ):
        return None
    seq, fields = max(offset, 1), change.fields
    rules = rules.of_record(fields)
    found = Version(change.committed_at, SALESFORCE, seq, baseline=True)
    told = Version(change.committed_at, SALESFORCE, seq)
    derived = rules.only_of(SALESFORCE)
    owed = dict(fields) if change.native_id is None else {**fields, SALESFORCE_ID: change.native_id}
    salesforce = SideState(
        exists=True,
        native_id=change.native_id,
        shadow=dict(fields),
        as_of=change.as_of,
        row_since_write=True,
        history=change.history,
    )
    mongodb = SideState(
        unknown=rules.names[MONGODB], sent={seq: Sent(WriteOp.CREATE, owed)}, burst=1, standing=True
    )
    state = State(
        sides={SALESFORCE: salesforce, MONGODB: mongodb},
        canonical=dict(fields),
        versions={name: told if name in derived else found for name in fields},
        lives=True,
        life=found,
        seq=seq,
    )
    return Folded(
        state,
        writes={MONGODB: Write(seq, WriteOp.CREATE, fields=owed, correlation=correlation)},
        published=Published.ROW,
        reports=[Report(Fact.CREATED, SALESFORCE)],
    )
