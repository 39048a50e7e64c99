"""What the org allows in 24 hours: calls that can wait do, a stream rests before it has used up the deliveries, and both go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.errors import RateLimited
from salmon.model.change import Op, WriteOp
from salmon.plugin.contract import OutcomeKind
from salmon.salesforce.reading.deliveries import PLACE
from support.orgs.salesforce_box import BoxProcess, Source, started_sink, write
from support.waiting import until

ENOUGH = 1_000_000


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", "Account=20") as process:
        yield process


@pytest.fixture
def box(org: BoxProcess) -> Iterator[BoxProcess]:
    yield org
    org.heal()
    org.allow(DailyApiRequests=ENOUGH, DailyDeliveredPlatformEvents=ENOUGH)


def test_edits_are_written_until_nothing_is_left_to_salmon(box: BoxProcess) -> None:
    """While any are left to Salmon. With none, edits wait, too, and the org is not asked; people are told."""
    account = box.ids("Account")[0]
    update = write(WriteOp.UPDATE, "Account", account, 90, native_id=account, Fax="90")
    with Source(box, "Account").through_snapshots() as source:
        sink = started_sink(box, source, api_budget={"share": 1.0, "floor": 900})
        used = int(box.api_calls()["total"])
        box.allow(DailyApiRequests=used + 905 + 20)
        (outcome,) = sink.put([update])
        assert outcome.kind is OutcomeKind.APPLIED
        box.allow(DailyApiRequests=used + 900)
        sink.put([update])
        before = box.api_calls()["total"]
        for _ in range(5):
            with pytest.raises(RateLimited, match=r"salesforce\.api_budget"):
                sink.put([update])
        assert box.api_calls()["total"] == before
        (waiting,) = sink.waiting()
        assert "Nothing is synced" in waiting.sentence
        (state,) = sink.budgets()[0].states()
        assert (state.left, state.level) == (0, 4)


def test_an_org_that_says_when_it_serves_again_is_asked_then(box: BoxProcess) -> None:
    """503 with Retry-After: nobody asks before, not even for the time; then it goes on by itself."""
    account = box.ids("Account")[1]
    update = write(WriteOp.UPDATE, "Account", account, 91, native_id=account, Fax="91")
    with Source(box, "Account").through_snapshots() as source:
        sink = started_sink(box, source)
        box.fault("http", api="collections", status=503, retry_after_s=2, times=1)
        with pytest.raises(RateLimited, match="2 s"):
            sink.put([update])
        before = box.api_calls()["total"]
        with pytest.raises(RateLimited, match="asked again"):
            sink.put([update])
        assert box.api_calls()["total"] == before
        kinds: list[OutcomeKind] = []

        def written() -> bool:
            try:
                kinds.extend(outcome.kind for outcome in sink.put([update]))
            except RateLimited:
                return False
            return True

        until(written, "it is asked again")
        assert kinds == [OutcomeKind.APPLIED]


def resting(source: Source) -> bool:
    """Whether the stream rests, after one more look."""
    recurring = source.task._recurring
    assert recurring is not None
    assert recurring._deliveries is not None
    recurring._deliveries.look()
    if recurring._deliveries._settling is not None:
        source.box.create(
            "Contact", LastName="Any"
        )  # an event settles the new position sooner than a keepalive
    return PLACE in source.positions


def test_a_load_beyond_the_deliveries_makes_a_planned_hole(box: BoxProcess) -> None:
    """The stream rests, over a restart too, and goes on at a new position when deliveries are left; both sides agree then."""
    accounts = box.ids("Account")
    with Source(box, "Account", event_budget={"share": 1.0}).through_snapshots() as source:
        box.edit("Account", accounts[0], Fax="heard first")  # so the stream has a position
        source.until(lambda: any(op is Op.UPDATE for _, op in source.seen()))
        box.allow(DailyDeliveredPlatformEvents=box.events_delivered() + 5)
        for number in range(3):
            for account in accounts:
                box.edit("Account", account, Fax=str(number))
        source.until(lambda: resting(source))
        assert source.task._recurring is not None
        assert "closed by plan" in " ".join(each.sentence for each in source.task._recurring.waiting())
    delivered = box.events_delivered()
    with Source(box, "Account", of=source, event_budget={"share": 1.0}) as second:
        for account in accounts:
            box.edit("Account", account, Fax="at last")
        box.advance(10)
        for _ in range(5):
            second.poll()
        assert box.events_delivered() == delivered, "it rests on"
        # Fewer than twice the records that have changed: it does not go on where it stopped.
        box.allow(DailyDeliveredPlatformEvents=delivered + 30)
        second.until(lambda: not resting(second))
        second.through_snapshots()
        rows = {each.key: each.change for each in second.told if each.change.op is Op.ROW}
        assert {rows[account].fields["Fax"] for account in accounts} == {"at last"}
        assert box.events_delivered() - delivered < len(accounts), "nobody heard the load"
        box.edit("Account", accounts[0], Fax="heard")
        second.until(lambda: second.told[-1].change.fields.get("Fax") == "heard")
