"""
A short way through the fold for what a first load mostly is: a row of Salesforce for a key that nobody reported.

Nothing is judged here: tests/property/test_first_row.py holds it to the fold, which is the one that says what is right.
"""

from __future__ import annotations

from salmon.model.change import SALESFORCE, SALESFORCE_ID, Change, Op, Write, WriteOp
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
        or SALESFORCE not in rules.sides
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
    own = {} if change.native_id is None else {SALESFORCE_ID: change.native_id}
    owed = {
        side: {**fields, **own} if SALESFORCE_ID in names else dict(fields)
        for side, names in rules.names.items()
        if side != SALESFORCE
    }
    salesforce = SideState(
        exists=True,
        native_id=change.native_id,
        shadow=dict(fields),
        as_of=change.as_of,
        row_since_write=True,
        history=change.history,
    )
    others = {
        side: SideState(
            unknown=rules.names[side], sent={seq: Sent(WriteOp.CREATE, lacking)}, burst=1, standing=True
        )
        for side, lacking in owed.items()
    }
    state = State(
        sides={side: others.get(side, salesforce) for side in rules.sides},
        canonical=dict(fields),
        versions={name: told if name in derived else found for name in fields},
        lives=True,
        life=found,
        seq=seq,
    )
    return Folded(
        state,
        writes={
            side: Write(seq, WriteOp.CREATE, fields=lacking, correlation=correlation)
            for side, lacking in owed.items()
        },
        published=Published.ROW,
        reports=[Report(Fact.CREATED, SALESFORCE)],
    )
