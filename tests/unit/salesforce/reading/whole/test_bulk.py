"""When Bulk API 2.0 is used to read, what its CSV says, and a run that begins by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from salmon.backoff import Backoff
from salmon.errors import RequestRejected, Unavailable
from salmon.plugin.contract import WaitingObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.whole import bulk_rule
from salmon.salesforce.reading.whole.bulk_jobs import BulkJob, BulkReads, NotByBulk, Step
from salmon.salesforce.reading.whole.bulk_rule import bulk_is_cheaper, window_is_cheaper
from salmon.salesforce.reading.whole.bulk_values import OtherColumns, ValuesOfCsv
from salmon.salesforce.reading.whole.rows import ReadRows, RowReader
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.reading.whole.snapshot import Chunk, Failed, Snapshots
from salmon.salesforce.reading.whole.windows import Window
from salmon.salesforce.troubles import Troubles
from support.clock import Clock
from support.orgs.salesforce import MemoryOrg, synced
from support.waiting import until

A, B, C = (f"00100000000000{number}AAA" for number in (1, 2, 3))
OBJECTS = {"Account": synced("Account")}


@pytest.mark.parametrize(
    ("records", "wide", "by_bulk"),
    [
        (0, False, False),
        (2_000, False, False),
        (26_000, False, False),
        (26_001, False, True),
        (12_000, True, False),
        (12_001, True, True),
        (1_000_000, False, True),
        (100_000_000, True, True),
    ],
)
def test_the_way_that_costs_fewer_calls_is_taken(records: int, wide: bool, by_bulk: bool) -> None:
    """The numbers that the settings table and the rule's own words name."""
    assert bulk_is_cheaper(records, wide=wide) is by_bulk


@pytest.mark.parametrize(
    ("stamped", "records", "by_bulk", "cheaper"),
    [(40_000, 10_000_000, True, True), (900_000, 1_000_000, True, False), (900_000, 1_000_000, False, True)],
)
def test_what_has_changed_is_read_where_that_costs_no_more_than_all(
    stamped: int, records: int, by_bulk: bool, cheaper: bool
) -> None:
    """By REST; all of it perhaps by Bulk."""
    assert window_is_cheaper(stamped, records, wide=False, by_bulk=by_bulk) is cheaper


def test_what_a_million_records_cost() -> None:
    """As the rule says."""
    assert bulk_rule.rest_calls(1_000_000, wide=False) == 500
    assert bulk_rule.bulk_calls(1_000_000) == 140


@pytest.mark.parametrize(
    ("text", "shown", "doubtful"),
    [
        ("", None, False),
        ("1.25E7", Decimal(12_500_000), False),
        ("-0.001", Decimal("-0.001"), False),
        ("1.23456789012345E14", Decimal("123456789012345"), False),
        ("9.99999999999999E14", Decimal("999999999999999"), False),
        ("1.0E15", Decimal(10**15), True),
        ("-1.2E17", Decimal(-12 * 10**16), True),
        ("1.2345678901234567E17", Decimal("123456789012345670"), True),
        ("many", "many", False),
    ],
)
def test_a_number_is_one_that_rest_shows_too_or_it_is_doubted(text: str, shown: Any, doubtful: bool) -> None:
    """A double is enough for fifteen digits; where there may be more, shown or not, the record is read by REST."""
    values = ValuesOfCsv(OBJECTS["Account"].schema, ["Id", "Salmon_Seq__c"], ["id", "SALMON_SEQ__C"])
    assert values.shown([A, text]) == ({"Id": A, "Salmon_Seq__c": shown}, doubtful)


def test_a_parent_is_shown_by_its_relationship() -> None:
    """As REST nests it; one that is not there is null."""
    values = ValuesOfCsv(
        OBJECTS["Account"].schema, ["Id", "Parent.Salmon_Id__c"], ["Id", "Parent.Salmon_Id__c"]
    )
    assert values.shown([A, "$oid:a"])[0]["Parent"] == {"Salmon_Id__c": "$oid:a"}
    assert values.shown([A, ""])[0]["Parent"] is None


def test_results_with_other_columns_are_noticed() -> None:
    """The job was made before the object's fields changed."""
    with pytest.raises(OtherColumns):
        ValuesOfCsv(OBJECTS["Account"].schema, ["Id", "Name"], ["Id"])


class Bulk(BulkReads):
    """Steps as a test says: each is a step, None for a job that is not complete, or an error."""

    def __init__(self, *steps: Step | Exception | None) -> None:
        self.steps = list(steps)
        self.asked: list[tuple[BulkJob | None, str]] = []
        self.given_up: list[str] = []

    def is_wide(self, name: str) -> bool:
        return False

    def step(self, name: str, job: BulkJob | None, last: str, floor: int, to: str = "") -> Step | None:
        self.asked.append((job, last))
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def give_up(self, name: str) -> None:
        self.given_up.append(name)

    def close(self) -> None:
        pass


class Reading:
    """Snapshots of three accounts, by Bulk as a test says, else by REST."""

    def __init__(self, bulk: Bulk, use: Any = "always") -> None:
        self.bulk = bulk
        self.org = MemoryOrg()
        for native_id in (A, B, C):
            self.org.put("Account", native_id, Name="x")
        self.woken = threading.Event()
        self.clock = Clock()
        self.troubles = Troubles(again_s=0.01)
        identity = Identity({name: one.schema for name, one in OBJECTS.items()})
        readers = {name: RowReader(self.org, one, identity, OBJECTS) for name, one in OBJECTS.items()}
        self.snapshots = Snapshots(
            self.org,
            readers,
            wake=self.woken.set,
            backoff=Backoff(first_s=0.001, max_s=0.01),
            troubles=self.troubles,
            clock=self.clock,
            bulk=bulk,
            use_bulk=use,
            look_again=Backoff(first_s=0.001, max_s=0.01),
        )

    def chunk(self) -> Chunk:
        deadline_s = time.monotonic() + 10
        while (chunk := self.snapshots.take()) is None:
            assert self.woken.wait(deadline_s - time.monotonic()), "nothing was read"
            self.woken.clear()
        assert not isinstance(chunk, Failed), chunk
        return chunk


Begin = Callable[..., Reading]
JOB = BulkJob("750A", "64.0", as_of=5)
NO_ROWS = ReadRows((), Window(5, 9))
RUN = Run("Account", Why.FIRST, began=0)


@pytest.fixture
def reading() -> Any:
    began: list[Reading] = []

    def begin(*steps: Step | Exception | None, use: Any = "always") -> Reading:
        began.append(Reading(Bulk(*steps), use))
        return began[-1]

    yield begin
    for one in began:
        one.snapshots.close()


def ids(chunk: Chunk) -> list[str]:
    return [row.native_id for row in chunk.read.rows]


def test_a_job_is_stored_as_soon_as_it_is_made(reading: Begin) -> None:
    """So that a process that is killed while the org works at it goes on with it; and it is looked at until it is complete."""
    one = reading(Step(JOB, "", NO_ROWS), None, None, Step(None, "", NO_ROWS, ends=True))
    one.snapshots.begin(RUN)
    made, last = one.chunk(), one.chunk()
    assert (made.run.by, made.run.job, made.run.done) == ("bulk", JOB, False)
    assert Run.from_position("Account", made.run.to_position()) == made.run
    assert (last.run.job, last.run.done) == (None, True)


def test_a_job_that_the_org_is_slow_with_is_shown_as_waiting(reading: Begin) -> None:
    """After a quarter of an hour, with where to look."""
    one = reading(Step(JOB, "", NO_ROWS), *[None] * 10_000)
    one.snapshots.begin(RUN)
    one.chunk()

    def waiting_later() -> list[WaitingObject]:
        one.clock.now_s += 100
        return one.snapshots.waiting()

    (waiting,) = until(waiting_later)
    assert waiting.object == "reading Account"
    assert "Bulk Data Load Jobs" in waiting.sentence


def test_a_run_that_was_stored_before_bulk_was_known_goes_on() -> None:
    """A newer version reads what an older one has stored."""
    stored = {key: value for key, value in RUN.to_position().items() if key not in ("by", "job")}
    assert Run.from_position("Account", stored) == RUN


def test_what_is_not_in_order_is_read_again_from_the_beginning(
    reading: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By REST, and a person is told while it lasts; what was reported before cannot be trusted to be all below the last Id."""
    monkeypatch.setattr("salmon.salesforce.reading.whole.snapshot.bulk_is_cheaper", lambda *_, **__: True)
    one = reading(Step(JOB, C, NO_ROWS), NotByBulk("the order", disordered=True), use="auto")
    one.snapshots.begin(RUN)
    first, restarted, rest = one.chunk(), one.chunk(), one.chunk()
    assert (first.run.last, restarted.run.last, restarted.run.by) == (C, "", "rest")
    assert ids(rest) == [A, B, C]
    assert rest.run.done


def test_a_part_that_is_not_in_order_is_read_again_from_its_own_beginning(
    reading: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other parts keep what they have reported."""
    monkeypatch.setattr("salmon.salesforce.reading.whole.snapshot.bulk_is_cheaper", lambda *_, **__: True)
    one = reading(Step(JOB, B, NO_ROWS), NotByBulk("the order", disordered=True), use="auto")
    run = replace(RUN, by="bulk", total=3).cut_at([A, B])
    one.snapshots.begin(run.piece(1))
    first, restarted, rest = one.chunk(), one.chunk(), one.chunk()
    assert (first.run.last, restarted.run.last, restarted.run.by) == (B, A, "rest")
    assert ids(rest) == [B]
    parts = run.with_piece(rest.run).parts
    assert [(each.by, each.done) for each in parts] == [("bulk", False), ("rest", True), ("bulk", False)]


def test_the_bulk_job_of_a_run_that_is_given_up_is_aborted(reading: Begin) -> None:
    """Perhaps no other reading of the object begins here, which would do it."""
    one = reading(Step(JOB, "", NO_ROWS), *[None] * 50)
    one.snapshots.begin(RUN)
    assert one.chunk().run.job == JOB
    one.snapshots.give_up("Account")
    until(lambda: one.bulk.given_up == ["Account"], "the org is told")


def test_events_do_not_wait_for_a_job_that_the_org_is_slow_with(
    reading: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a hole they wait for the rows of their records: a quarter of an hour, then the object is read by REST."""
    monkeypatch.setattr("salmon.salesforce.reading.whole.snapshot.bulk_is_cheaper", lambda *_, **__: True)
    one = reading(Step(JOB, "", NO_ROWS), *[None] * 10_000, use="auto")
    one.snapshots.begin(Run("Account", Why.HOLE, began=0))
    one.chunk()

    def another() -> Chunk | Failed | None:
        one.clock.now_s += 100
        return one.snapshots.take()

    chosen = until(another)
    assert isinstance(chosen, Chunk)
    assert (chosen.run.by, chosen.run.job, ids(chosen)) == ("rest", None, [])
    assert one.bulk.given_up == ["Account"]
    assert "has not finished" in one.snapshots.note()
    assert ids(one.chunk()) == [A, B, C]


def test_a_run_that_began_by_bulk_goes_on_by_rest_where_bulk_is_never_used_now(reading: Begin) -> None:
    """Behind the last record reported; and it is shown as what it is."""
    one = reading(use="never")
    one.snapshots.begin(replace(RUN, by="bulk", job=JOB, last=A, read=1))
    chunk = one.chunk()
    assert (chunk.run.by, chunk.run.job, ids(chunk)) == ("rest", None, [B, C])


def test_always_means_always(reading: Begin) -> None:
    """Where the org refuses, the object waits, and a person is told."""
    refusal = RequestRejected("refused", code="FEATURENOTENABLED")
    one = reading(*[NotByBulk("refused", refusal=refusal) for _ in range(10_000)])
    one.snapshots.begin(RUN)
    until(lambda: one.troubles.sentence_of("Account"))
    assert one.org.queries == []


def test_an_error_in_between_is_tried_again(reading: Begin) -> None:
    """With the same job, from the same row."""
    one = reading(Step(JOB, "", NO_ROWS), Unavailable("down"), Step(None, "", NO_ROWS, ends=True))
    one.snapshots.begin(RUN)
    one.chunk()
    assert one.chunk().run.done


@pytest.mark.parametrize("use", ["auto", "never"])
def test_a_small_object_is_read_by_rest(reading: Begin, use: str) -> None:
    """A job would cost more than the one call that it takes."""
    one = reading(use=use)
    one.snapshots.begin(RUN)
    chunk = one.chunk()
    assert (ids(chunk), chunk.run.by, chunk.run.done) == ([A, B, C], "rest", True)
