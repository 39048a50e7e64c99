"""Whole objects by Bulk API 2.0, on the simulator: the same rows as by REST, from any place on, whatever becomes of a job."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from salmon.calls import Calls
from salmon.errors import Unavailable
from salmon.model.change import Op
from salmon.salesforce.catalog import synced_object
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.whole.bulk_jobs import BulkJob, BulkReads, NotByBulk, Step
from salmon.salesforce.reading.whole.rows import Row, RowReader
from salmon.salesforce.wire.bulk import BulkQueries, ResultPage
from salmon.salesforce.wire.rest import Rest
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.salesforce_box import BoxProcess, Source, configured

RECORDS = {"Account": 20, "Contact": 10, "Opportunity": 5}
TEXT = 'comma, "quote"; line\r\nfeed\nand \u2028 separator, \x0b tab, ÄÖ 𝄞 #N/A'


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), records=RECORDS, random_seed=5) as running:
        yield running


class Rig:
    """The readers of an org, and rows by either way."""

    def __init__(self, simulator: Simulator, *, numbers: str = "decimal") -> None:
        self.simulator, self.box = simulator, Box(simulator)
        self.config = self.box.config()
        self.rest = Rest(self.config)
        objects = configured(*RECORDS)
        for each in objects.values():
            each.numbers = numbers
        synced = {name: synced_object(name, objects, self.rest) for name in objects}
        identity = Identity({name: one.schema for name, one in synced.items()})
        self.readers = {
            name: RowReader(self.rest, one, identity, synced, "005") for name, one in synced.items()
        }
        self.queries = BulkQueries(self.rest, version=self.config.api_version)

    def reads(self, queries: Any = None) -> BulkReads:
        """Small jobs, pages and steps, so that an object has several of each."""
        return BulkReads(queries or self.queries, self.readers, rows_a_job=6, rows_a_page=4, rows_a_step=2)

    def steps(
        self, name: str, *, reads: BulkReads | None = None, job: BulkJob | None = None, last: str = ""
    ) -> Iterator[Step]:
        reads = reads or self.reads()
        while True:
            step = reads.step(name, job, last, 0)
            if step is None:
                continue
            yield step
            if step.ends:
                return
            job, last = step.job, step.last

    def by_rest(self, name: str) -> list[Any]:
        return [compared(row) for row in self.readers[name].after("").rows]


@pytest.fixture
def rig(simulator: Simulator) -> Iterator[Rig]:
    yield Rig(simulator)
    simulator.org.faults.clear()
    simulator.org.settings.reset()


def compared(row: Any) -> Any:
    assert isinstance(row, Row)
    return row.native_id, row.key, replace(row.change, as_of=0)


def rows_of(steps: Iterator[Step]) -> list[Any]:
    return [compared(row) for step in steps for row in step.read.rows]


# What is read.


@pytest.mark.parametrize("numbers", ["decimal", "double"])
def test_rows_are_exactly_those_of_rest(simulator: Simulator, numbers: str) -> None:
    """Every type of field, empty ones, texts that CSV has to quote, parents' keys, and numbers with all their digits."""
    rig = Rig(simulator, numbers=numbers)
    parent = rig.box.create(
        "Account", Name=TEXT, Description=TEXT, Salmon_Id__c=f"$oid:{numbers}", Salmon_Seq__c=12
    )
    rig.box.create(
        "Account", Name="large", AnnualRevenue=123456789012345678, BillingLatitude=12.123456789012345
    )
    rig.box.create(
        "Account", Name="small", AnnualRevenue=12500000, BillingLatitude=0.0001, NumberOfEmployees=0
    )
    rig.box.create("Account", Name="long that looks short", AnnualRevenue=120000000000000001)
    rig.box.create(
        "Opportunity",
        Name="nines",
        StageName="Prospecting",
        CloseDate="2026-11-30",
        Amount="999999999999999.99",
    )
    rig.box.create("Contact", LastName="child", AccountId=parent, Birthdate="1970-01-31")
    for name, records in RECORDS.items():
        expected = rig.by_rest(name)
        assert len(expected) >= records
        assert rows_of(rig.steps(name)) == expected, name


def test_it_is_few_calls(rig: Rig) -> None:
    """One to make a job, one for each look and each page of results, and one to let it go; no page is asked for twice."""
    reads = BulkReads(rig.queries, rig.readers)
    before = dict(rig.rest.calls)
    assert len(rows_of(rig.steps("Account", reads=reads))) >= 20
    spent = {name: count - before.get(name, 0) for name, count in rig.rest.calls.items()}
    assert spent["bulk"] == 1
    looks = spent["bulk job"] - 2
    assert 1 <= looks <= 20


def test_the_window_of_a_row_is_the_time_of_its_job(rig: Rig) -> None:
    """An edit while the org works at the job may be in the row or not: its event is answered by reading the record again."""
    steps = rig.steps("Account")
    first = next(steps)
    assert first.read.rows == ()
    rig.simulator.org.clock.advance(5)
    for step in steps:
        if step.read.rows:
            window = step.read.window
            assert first.job is None or window.as_of == first.job.as_of
            assert window.until >= window.as_of + 5000
            assert all(row.change.as_of == window.as_of for row in step.read.rows if isinstance(row, Row))
            return


# Whatever becomes of the job.


def test_it_goes_on_after_a_kill_at_any_moment(rig: Rig) -> None:
    """What was stored is the job, the page of its results and the last row; each row comes once, in the order of the Ids."""
    expected = rig.by_rest("Contact")
    whole = list(rig.steps("Contact"))
    for cut in range(1, len(whole)):
        before = [step for step, _ in zip(rig.steps("Contact"), range(cut), strict=False)]
        stored = json.loads(json.dumps(before[-1].job.to_position() if before[-1].job else None))
        after = rig.steps("Contact", job=BulkJob.from_position(stored), last=before[-1].last)
        assert rows_of(iter(before)) + rows_of(after) == expected, f"killed after step {cut}"


@pytest.mark.parametrize("what", ["delete", "abort", "expire", "version"])
def test_a_job_that_is_lost_is_followed_by_another(rig: Rig, what: str) -> None:
    """Behind the last row reported: deleted or aborted by somebody, older than seven days, or made by another API version."""
    expected = rig.by_rest("Account")
    if what == "abort":
        rig.simulator.org.settings.bulk_processing_s = 3600
    steps = rig.steps("Account")
    before = [next(steps) for _ in range(1 if what == "abort" else 3)]
    job = before[-1].job
    assert job is not None
    match what:
        case "delete":
            rig.queries.delete(job.id)
        case "abort":
            rig.queries.abort(job.id)
            rig.simulator.org.settings.bulk_processing_s = 0
        case "expire":
            rig.simulator.org.clock.advance(8 * 24 * 3600)
            rig.box.as_user("integration")
        case "version":
            job = replace(job, version="61.0")
    reads = rig.reads()
    if what == "abort":
        with pytest.raises(Unavailable, match="ended as Aborted"):
            reads.step("Account", job, before[-1].last, 0)
    after = rows_of(rig.steps("Account", reads=reads, job=job, last=before[-1].last))
    assert rows_of(iter(before)) + after == expected


class Torn(BulkQueries):
    """Queries whose pages break off after a few rows, each once."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig.rest, version=rig.config.api_version)
        self.torn: set[str] = set()

    def page(self, job_id: str, locator: str, rows: int) -> ResultPage:
        page = super().page(job_id, locator, rows)
        if (what := job_id + locator) not in self.torn:
            self.torn.add(what)
            page._rows = self._torn(page._rows)  # type: ignore[assignment]
        return page

    def _torn(self, rows: Any) -> Iterator[list[str]]:
        yield next(rows)
        yield next(rows)
        raise Unavailable("torn")


def test_a_page_that_breaks_off_is_asked_for_again_from_where_it_was_reported(rig: Rig) -> None:
    """No row is missed and none is reported twice."""
    reads = rig.reads(Torn(rig))
    got: list[Any] = []
    job: BulkJob | None = None
    last, failures, ends = "", 0, False
    while not ends:
        try:
            step = reads.step("Account", job, last, 0)
        except Unavailable:
            failures += 1
            continue
        if step is not None:
            got.extend(map(compared, step.read.rows))
            job, last, ends = step.job, step.last, step.ends
    assert failures >= 3
    assert got == rig.by_rest("Account")


def test_a_page_that_is_short_of_rows_is_no_page(rig: Rig) -> None:
    """A connection that ends too early looks like an end; the number of records in the header tells."""
    answer = requests.Response()
    answer.status_code = 200
    answer.headers["Sforce-NumberOfRecords"] = "2"
    answer.raw = io.BytesIO(b'"Id"\n"001"\n')
    with pytest.raises(Unavailable, match="has 1 rows"):
        list(ResultPage(answer, Calls()))


def test_a_session_that_is_revoked_in_the_middle_is_renewed(rig: Rig) -> None:
    """In a job's calls as in any other: once, and the step succeeds."""
    steps = rig.steps("Account")
    got = [next(steps), next(steps)]
    rig.simulator.org.sessions.revoke_all()
    got.extend(steps)
    assert rows_of(iter(got)) == rig.by_rest("Account")


def test_results_that_are_not_in_order_are_not_used(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes on behind the last Id: rows in another order would be missed, and nobody would know."""
    reader = rig.readers["Account"]
    monkeypatch.setattr(
        RowReader,
        "query",
        lambda _self, _after, _limit, _to: f"SELECT {','.join(reader.columns)} FROM Account ORDER BY Id DESC",
    )
    with pytest.raises(NotByBulk, match="order"):
        list(rig.steps("Account"))


# The source.


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(
        tmp_path_factory.mktemp("process"), "--records", "Account=2300", "--records", "Contact=50"
    ) as it:
        yield it


@pytest.fixture
def live(process: BoxProcess) -> Iterator[BoxProcess]:
    yield process
    process.heal()


ALWAYS: dict[str, Any] = {"bulk": {"query": "always"}}


def test_a_source_that_is_stopped_in_the_middle_goes_on_with_the_same_job(live: BoxProcess) -> None:
    """Every record is reported, and no second job is made for what the first one has."""
    with Source(live, **ALWAYS) as first:
        first.until(lambda: any(0 < run.read < 2300 for run in first.task.progress()))
        begun = [run for run in first.task.progress() if run.read and not run.done]
        assert all(run.by_bulk and run.left_s for run in begun), "with an estimate of the rest"
        live.edit("Account", live.ids("Account")[-1], Phone="1")
        first.until(lambda: first.positions["stream"]["replay_id"])
    with Source(live, of=first, **ALWAYS).through_snapshots() as second:
        keys = {key for key, _ in (*first.seen(), *second.seen())}
        assert keys == {*live.ids("Account"), *live.ids("Contact")}
        made = first.task.api_calls().get("bulk", 0) + second.task.api_calls().get("bulk", 0)
        assert made <= 3


def test_edits_while_the_org_works_at_the_job_are_never_undone(live: BoxProcess) -> None:
    """Whoever follows rows and events in the order reported ends with what the org holds."""
    live._control("POST", "settings", {"bulk_processing_s": 1})
    contacts = live.ids("Contact")[:10]
    with Source(live, "Contact", **ALWAYS) as source:
        source.until(lambda: source.task.api_calls().get("bulk", 0))
        for number in range(3):
            for contact in contacts:
                live.edit("Contact", contact, Phone=f"{number}-{contact}")
                source.poll(0)
        live.delete("Contact", gone := live.create("Contact", LastName="gone"))
        source.through_snapshots()
        source.until(lambda: all(source.view()[c].get("Phone") == f"2-{c}" for c in contacts))
        assert gone not in source.view()
    live._control("POST", "settings", {"bulk_processing_s": 0})


def test_an_object_that_the_org_does_not_serve_by_bulk_is_read_by_rest_and_that_is_told(
    live: BoxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person learns why it costs more calls than it might; nothing is missing."""
    monkeypatch.setattr("salmon.salesforce.reading.whole.snapshot.bulk_is_cheaper", lambda *_, **__: True)
    live.fault("http", api="bulk", status=400, error_code="INVALIDENTITY", times=1)
    notes: list[str] = []
    with Source(live, "Account") as source:

        def is_read() -> bool:
            notes.append(source.task.note())
            return any(run.read for run in source.task.progress())

        source.until(is_read)
        source.until(lambda: all(run.done for run in source.task.progress()))
        rows = {key for key, op in source.seen() if op is Op.ROW}
    assert rows == set(live.ids("Account"))
    assert any("Account is read by REST" in note and "INVALIDENTITY" in note for note in notes)


def test_an_outage_in_the_middle_of_a_job_is_waited_for(live: BoxProcess) -> None:
    """The same job goes on when the org is back."""
    with Source(live, "Account", **ALWAYS) as source:
        source.until(lambda: source.task.api_calls().get("bulk", 0))
        live.fault("http", api="bulk", status=503, error_code="SERVER_UNAVAILABLE", times=3)
        source.until(lambda: all(run.done for run in source.task.progress()))
        assert {key for key, op in source.seen() if op is Op.ROW} == set(live.ids("Account"))
        assert source.task.api_calls()["bulk"] == 1
