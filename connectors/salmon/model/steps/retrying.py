"""An operator has what was refused sent again, once its reason is gone: `salmon retry`."""

from __future__ import annotations

from salmon.model.change import OPERATOR, Op
from salmon.model.state import Park
from salmon.model.steps.work import Fact, Work


def send_again(work: Work) -> None:
    """
    Park no longer what was refused of the write that the change names as its `ack`; step 7 sends it. Of what the target of a one-way
    object holds, nothing has been assumed since its refusal.

    As it names the write and not the fields, a change that is entered twice has one effect: what is refused again was
    another write.
    """
    change = work.change
    assert change.origin == OPERATOR
    assert change.op is Op.RETRY
    for side in work.state.sides.values():
        again = sorted(
            name for name, p in side.parked.items() if p.why is Park.REFUSED and p.group == change.ack
        )
        for name in again:
            del side.parked[name]
        if again:
            work.report(Fact.RETRIED, *again)
