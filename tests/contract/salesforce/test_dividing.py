"""A record for which the org answers a whole call with UNKNOWN_EXCEPTION, on the simulator."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from salmon.errors import Unavailable
from salmon.model.change import WriteOp
from salmon.plugin.contract import OutcomeKind
from salmon.sink.dividing import CALL_FAILED, FAILING_MIN_S, TRIES_MIN, Dividing
from support.clock import Clock
from support.orgs.salesforce_box import BoxProcess, Source, started_sink, write


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=20") as box:
        yield box


def test_a_record_that_makes_each_call_of_the_org_fail_holds_up_no_other(
    box: BoxProcess, clock: Clock
) -> None:
    """All others are written, with it in the batch or after it; it is written as soon as the org takes it."""
    accounts = box.ids("Account")
    with Source(box).through_snapshots() as source:
        writes = [
            write(WriteOp.UPDATE, "Account", account, 10, native_id=account, Fax=f"555-{index}")
            for index, account in enumerate(accounts)
        ]
        dividing = Dividing(started_sink(box, source), rng=random.Random(3), clock=clock)
        box.fault("http", api="collections", status=500, error_code="UNKNOWN_EXCEPTION", containing="555-7")
        for _ in range(TRIES_MIN - 1):
            with pytest.raises(Unavailable):
                dividing.put(writes)
            clock.now_s += FAILING_MIN_S
        outcomes = dividing.put(writes)
        assert [
            index for index, outcome in enumerate(outcomes) if outcome.kind is OutcomeKind.RETRY_LATER
        ] == [7]
        assert {outcome.kind for index, outcome in enumerate(outcomes) if index != 7} == {OutcomeKind.APPLIED}
        kinds = [dividing.put([writes[7]])[0].kind for _ in range(2)]
        assert kinds == [OutcomeKind.RETRY_LATER, OutcomeKind.DEFERRED]
        box.heal()
        (outcome,) = dividing.put([writes[7]])
        assert outcome.kind is OutcomeKind.APPLIED
        assert outcome.code != CALL_FAILED
        assert [box.show("Account", account)["Fax"] for account in accounts] == [
            f"555-{index}" for index in range(len(accounts))
        ]
