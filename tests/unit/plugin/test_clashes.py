"""How long a unique value of another record is waited for before it is refused (case L8)."""

from __future__ import annotations

import pytest

from salmon.model.change import Write, WriteOp
from salmon.plugin.clashes import Clashes
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from support.clock import Clock

LATER, REFUSED = OutcomeKind.RETRY_LATER, OutcomeKind.REFUSED
CODE = "DuplicateKey"


@pytest.fixture
def clashes(clock: Clock) -> Clashes:
    return Clashes(CODE, clock, final_after_s=5.0)


def _judged(clashes: Clashes, kind: OutcomeKind, seq: int = 1, code: str = CODE) -> Outcome:
    record = SinkRecord("Account", "a", Write(seq, WriteOp.UPDATE))
    return clashes.judged(record, Outcome(kind, code=code))


def test_a_value_is_refused_when_nothing_was_owed_to_its_holder_for_a_while(
    clashes: Clashes, clock: Clock
) -> None:
    """And not before: what frees it may be about to be judged."""
    assert _judged(clashes, REFUSED).kind is LATER
    clock.now_s = 4.9
    assert _judged(clashes, REFUSED).kind is LATER
    clock.now_s = 5.0
    assert _judged(clashes, REFUSED).kind is REFUSED


def test_the_while_begins_anew_with_each_write_and_with_each_hope(clashes: Clashes, clock: Clock) -> None:
    """A newer write, or one that is owed to the holder: the clock starts again."""
    _judged(clashes, REFUSED)
    clock.now_s = 60.0
    assert _judged(clashes, REFUSED, seq=2).kind is LATER
    _judged(clashes, LATER, seq=2)
    clock.now_s = 120.0
    assert _judged(clashes, REFUSED, seq=2).kind is LATER


def test_it_is_tried_ever_later_and_within_seconds(clashes: Clashes) -> None:
    """A value that comes free is not waited for much longer than that."""
    waits = [_judged(clashes, LATER).again_s for _ in range(12)]
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert waits[-1] == 5.0


def test_other_refusals_pass_unchanged(clashes: Clashes) -> None:
    """A value that is too long is nobody else's matter."""
    assert _judged(clashes, REFUSED, code="STRING_TOO_LONG").kind is REFUSED
