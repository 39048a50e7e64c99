"""Writes by Bulk API 2.0, on the simulator: each with its own outcome, and none before a job has ended that may hold an older one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from salmon.errors import RequestRejected, RetriableError, Unavailable
from salmon.model.change import WriteOp
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.salesforce.catalog import synced_object
from salmon.salesforce.wire.bulk import BulkIngests
from salmon.salesforce.wire.rest import COLLECTION_ROWS, Rest
from salmon.salesforce.writing.bulk_writes import BULK_ROWS_MAX, BULK_ROWS_MIN, JOB_CALLS, BulkWrites
from salmon.salesforce.writing.sink import SalesforceSinkTask
from salmon.simulator.org.org import Org
from salmon.simulator.server import Simulator
from salmon.sink.buffer import COMMANDS_MAX
from support.orgs.boxes import Box
from support.orgs.salesforce_box import Known, configured, write
from support.waiting import until

CREATE, UPDATE, DELETE = WriteOp.CREATE, WriteOp.UPDATE, WriteOp.DELETE
APPLIED, REFUSED = OutcomeKind.APPLIED, OutcomeKind.REFUSED
TEXT = 'caret^, comma, "quote"; line\nfeed ÄÖ 𝄞'


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), records={"Account": 30}) as running:
        yield running


class Rig:
    """A sink on the simulator that takes ten writes for many."""

    def __init__(self, simulator: Simulator, **bulk: Any) -> None:
        self.simulator, self.org, self.box = simulator, simulator.org, Box(simulator)
        self.config = self.box.config(bulk=bulk)
        self.rest = Rest(self.config)
        self.ingests = BulkIngests(self.rest)
        self.task = self.started()

    def started(self, *, clean: bool = True) -> SalesforceSinkTask:
        """A new instance of the sink."""
        objects = configured("Account", "Contact")
        task = SalesforceSinkTask(self.config, objects, "crm", rest=Rest(self.config), bulk_rows_min=10)
        schemas = {name: synced_object(name, objects, self.rest).schema for name in objects}
        task.start(schemas, Known(), clean=clean)
        return task

    def shown(self, *fields: str, where: str) -> list[dict[str, Any]]:
        soql = f"SELECT {','.join(fields)} FROM Account WHERE {where} ORDER BY Salmon_Id__c"
        return list(self.box.call("GET", "query", params={"q": soql}).json()["records"])


@pytest.fixture
def rig(simulator: Simulator) -> Iterator[Rig]:
    rig = Rig(simulator)
    yield rig
    rig.task.stop()
    simulator.org.faults.clear()
    simulator.org.settings.reset()


def creations(prefix: str, count: int, seq: int = 5, **fields: Any) -> list[SinkRecord]:
    return [
        write(CREATE, "Account", f"{prefix}-{number:02}", seq, **{"Name": f"{prefix} {number}", **fields})
        for number in range(count)
    ]


def updates(records: list[dict[str, Any]], seq: int, **fields: Any) -> list[SinkRecord]:
    return [
        write(UPDATE, "Account", row["Salmon_Id__c"], seq, native_id=row["Id"], **fields) for row in records
    ]


def kinds(outcomes: Any) -> list[OutcomeKind]:
    return [outcome.kind for outcome in outcomes]


def jobs_of(task: SalesforceSinkTask) -> int:
    """Jobs that the task has made."""
    return task.api_calls().get("bulk", 0)


# What is written.


def test_many_writes_are_one_job_each_with_its_outcome_and_its_marker(rig: Rig) -> None:
    """Values of every kind arrive as by Collections, null included; the Ids come back, each to its own record."""
    outcomes = rig.task.put(creations("a", 12, Description=TEXT, AnnualRevenue=1.5e7, NumberOfEmployees=3))
    assert kinds(outcomes) == [APPLIED] * 12
    assert (jobs_of(rig.task), rig.task.api_calls().get("collections", 0)) == (1, 0)
    fields = ["Id", "Salmon_Id__c", "Salmon_Seq__c", "Name", "Description", "AnnualRevenue"]
    rows = rig.shown(*fields, where="Salmon_Id__c LIKE 'a-%'")
    assert [row["Id"] for row in rows] == [outcome.native_id for outcome in outcomes]
    assert [(r["Name"], r["Description"], r["AnnualRevenue"], r["Salmon_Seq__c"]) for r in rows] == [
        (f"a {number}", TEXT, 1.5e7, 5) for number in range(12)
    ]
    outcomes = rig.task.put(updates(rows, 6, Description=None, Phone="1"))
    assert kinds(outcomes) == [APPLIED] * 12
    assert jobs_of(rig.task) == 2
    fields = ["Description", "Phone", "Name", "Salmon_Seq__c", "NumberOfEmployees"]
    rows = rig.shown(*fields, where="Salmon_Id__c LIKE 'a-%'")
    assert {(r["Description"], r["Phone"], r["Salmon_Seq__c"], r["NumberOfEmployees"]) for r in rows} == {
        (None, "1", 6, 3)
    }
    assert rows[3]["Name"] == "a 3", "what is not mentioned stays"


def test_what_a_job_refuses_is_judged_as_by_collections(rig: Rig) -> None:
    """The field is named, and the others are written; one that is there already is looked at, not made twice."""
    assert kinds(rig.task.put(creations("b", 1, seq=4))) == [APPLIED]
    records = [*creations("b", 11), write(CREATE, "Account", "b-long", 5, Name="x" * 300)]
    outcomes = rig.task.put(records)
    assert jobs_of(rig.task) == 1
    assert kinds(outcomes) == [*[APPLIED] * 11, REFUSED]
    assert outcomes[-1].fields == {"Name"}
    rows = rig.shown("Salmon_Id__c", "Salmon_Seq__c", where="Salmon_Id__c LIKE 'b-%'")
    assert [(row["Salmon_Id__c"], row["Salmon_Seq__c"]) for row in rows] == [
        (f"b-{n:02}", 5) for n in range(11)
    ]


def test_what_csv_cannot_say_goes_by_collections(rig: Rig) -> None:
    """The text #N/A would clear the field."""
    outcomes = rig.task.put([*creations("c", 11), write(CREATE, "Account", "c-na", 5, Name="n", Site="#N/A")])
    assert kinds(outcomes) == [APPLIED] * 12
    assert rig.shown("Site", where="Salmon_Id__c = 'c-na'")[0]["Site"] == "#N/A"


def test_records_that_a_failed_job_left_are_written_in_the_same_put(rig: Rig) -> None:
    """Unprocessed ones too; and the object goes by Collections for a while."""
    rig.org.settings.bulk_fail_after = 4
    outcomes = rig.task.put(creations("d", 12))
    assert kinds(outcomes) == [APPLIED] * 12
    assert len({outcome.native_id for outcome in outcomes}) == 12
    assert len(rig.shown("Id", where="Salmon_Id__c LIKE 'd-%'")) == 12
    rig.org.settings.bulk_fail_after = None
    rig.task.put(creations("d2", 12))
    assert jobs_of(rig.task) == 1


def test_an_org_that_refuses_the_job_gets_them_by_collections(rig: Rig) -> None:
    """Told in the log, and not tried again with each batch."""
    requests.post(
        f"{rig.simulator.endpoints.control_url}/faults",
        json={"fault": "http", "api": "bulk", "status": 400, "error_code": "INVALIDENTITY", "times": 2},
        timeout=10,
    ).raise_for_status()
    assert kinds(rig.task.put(creations("e", 12))) == [APPLIED] * 12
    assert len(rig.shown("Id", where="Salmon_Id__c LIKE 'e-%'")) == 12


def test_an_empty_text_clears_a_field_as_by_collections(rig: Rig) -> None:
    """An empty cell would leave it as it is."""
    rig.task.put(creations("m", 12, Phone="1"))
    rows = rig.shown("Id", "Salmon_Id__c", where="Salmon_Id__c LIKE 'm-%'")
    assert kinds(rig.task.put(updates(rows, 6, Phone=""))) == [APPLIED] * 12
    assert jobs_of(rig.task) == 2
    assert {row["Phone"] for row in rig.shown("Phone", where="Salmon_Id__c LIKE 'm-%'")} == {None}


def fails(rig: Rig, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception, times: int = 1) -> None:
    """A call about jobs fails so many times, in every sink of the test."""
    real, left = getattr(BulkIngests, method), [error] * times

    def call(*args: Any) -> Any:
        if left:
            raise left.pop()
        return real(*args)

    monkeypatch.setattr(BulkIngests, method, call)


def test_an_org_that_makes_no_job_now_gets_them_by_collections(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bulk is away and Collections are not: nothing waits. A job without an upload is never carried out, and aborted later."""
    left = rig.ingests.begin("Account", "insert")
    fails(rig, monkeypatch, "begin", Unavailable("no answer"))
    rig.task.put(creations("n", 1))
    assert rig.ingests.state(left) == "Aborted"
    assert kinds(rig.task.put(creations("n", 12, seq=6))) == [APPLIED] * 12
    assert jobs_of(rig.task) == 0
    assert len(rig.shown("Id", where="Salmon_Id__c LIKE 'n-%'")) == 12


def test_who_may_not_see_jobs_makes_none(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill, nobody could say whether one of ours is still carried out."""
    fails(rig, monkeypatch, "unfinished", RequestRejected("no", code="INSUFFICIENT_ACCESS"))
    assert kinds(rig.task.put(creations("o", 12))) == [APPLIED] * 12
    assert jobs_of(rig.task) == 0
    assert rig.task.batch_for({("Account", str(number)) for number in range(10)}) < BULK_ROWS_MAX


def test_a_user_without_the_right_to_bulk_is_no_outage(rig: Rig) -> None:
    """The org refuses with 403 and a code of its own; Collections do the work."""
    requests.post(
        f"{rig.simulator.endpoints.control_url}/faults",
        json={"fault": "http", "api": "bulk", "status": 403, "error_code": "FEATURENOTENABLED", "times": 2},
        timeout=10,
    ).raise_for_status()
    assert kinds(rig.task.put(creations("p", 12))) == [APPLIED] * 12


def test_few_writes_go_by_collections(rig: Rig) -> None:
    """A job would cost more calls; never, where the configuration says so."""
    rig.task.put(creations("f", 9))
    assert jobs_of(rig.task) == 0
    never = Rig(rig.simulator, write="never")
    assert kinds(never.task.put(creations("g", 12))) == [APPLIED] * 12
    assert jobs_of(never.task) == 0


# What it costs.


class Passing(threading.Event):
    """A sink's stop that never comes: who waits for it takes the org's time and none of ours, and then finds a job done that lasts no longer."""

    def __init__(self, org: Org, lasts_s: float) -> None:
        super().__init__()
        self._org, self._lasts_s, self._waited_s = org, lasts_s, 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self._waited_s += timeout or 0.0
        self._org.clock.advance(timeout or 0.0)
        if self._waited_s >= self._lasts_s:
            until(lambda: not any(each.name.startswith("bulk-") for each in threading.enumerate()))
        return False


def by_one_job(rig: Rig, prefix: str, lasts_s: float) -> tuple[int, int]:
    """Create BULK_ROWS_MIN accounts by a job that the org works so long at: how many it wrote, and the calls that the org counted."""
    ingests, (schema,) = (
        BulkIngests(rig.rest),
        [synced_object("Account", configured("Account"), rig.rest).schema],
    )
    bulk = BulkWrites(ingests, Passing(rig.org, lasts_s))
    bodies = [
        ("Account", {"Name": f"{prefix} {n}", "Salmon_Id__c": f"{prefix}-{n}"}) for n in range(BULK_ROWS_MIN)
    ]
    rig.org.settings.bulk_processing_s = lasts_s
    before, ours = rig.org.usage.calls()["total"], ingests.calls()
    written = bulk.sent(WriteOp.CREATE, bodies, {"Account": schema})
    calls = rig.org.usage.calls()["total"] - before
    assert calls == ingests.calls() - ours, "what the rule goes by is what the org counts"
    return len(written), calls


@pytest.mark.parametrize(("lasts_s", "fails_after"), [(0.0, None), (15.0, None), (15.0, BULK_ROWS_MIN - 9)])
def test_a_job_of_the_fewest_rows_costs_no_more_calls_than_the_rule_says(
    rig: Rig, lasts_s: float, fails_after: int | None
) -> None:
    """Also one that the org works a quarter of a minute at, and that does not end well: then all three kinds of results are asked for."""
    rig.org.settings.bulk_fail_after = fails_after
    written, calls = by_one_job(rig, f"cost-{lasts_s}-{fails_after}", lasts_s)
    assert written == (BULK_ROWS_MIN if fails_after is None else fails_after)
    assert 5 <= calls <= JOB_CALLS
    assert calls < -(-BULK_ROWS_MIN // COLLECTION_ROWS), "Collections of 200 would be more"
    if fails_after is not None:
        assert calls == JOB_CALLS, "the rule is as tight as it can be"


def test_one_write_less_goes_by_collections_and_costs_no_more_than_a_job(rig: Rig) -> None:
    """The rule's other side, counted by the org."""
    task = SalesforceSinkTask(rig.config, configured("Account"), "crm", rest=Rest(rig.config))
    task.start(
        {"Account": synced_object("Account", configured("Account"), rig.rest).schema}, Known(), clean=True
    )
    before = rig.org.usage.calls()["total"]
    assert set(kinds(task.put(creations("less", BULK_ROWS_MIN - 1)))) == {APPLIED}
    assert jobs_of(task) == 0
    # One more: before its first write, a sink looks for jobs that were left.
    assert rig.org.usage.calls()["total"] - before == JOB_CALLS + 1
    task.stop()


def test_a_job_that_lasts_five_minutes_costs_more_and_is_dear_by_then(rig: Rig) -> None:
    """Looks are half a minute apart by then. A full job costs less than Collections even so."""
    _, calls = by_one_job(rig, "long", 300.0)
    assert JOB_CALLS < calls <= 20 < BULK_ROWS_MAX // COLLECTION_ROWS


@pytest.mark.parametrize("concurrent", [1, 8, 20])
def test_a_backlog_goes_by_bulk_however_many_calls_may_be_made_at_once(rig: Rig, concurrent: int) -> None:
    """As many as a sink holds in memory are more than its calls take at once, so what waits behind them shows that it is a backlog."""
    config = rig.config.model_copy(update={"concurrent_writes": concurrent})
    task = SalesforceSinkTask(config, configured("Account", "Contact"), "crm", rest=Rest(config))
    task.connect()

    def ready(accounts: int, contacts: int = 0) -> set[tuple[str, str]]:
        counts = {"Account": accounts, "Contact": contacts}
        return {(name, str(number)) for name, count in counts.items() for number in range(count)}

    assert task.batch_for(ready(BULK_ROWS_MIN)) == BULK_ROWS_MAX
    assert task.batch_for(ready(BULK_ROWS_MIN - 1, BULK_ROWS_MIN - 1)) == COLLECTION_ROWS * concurrent
    behind = COMMANDS_MAX - COLLECTION_ROWS * rig.config.concurrent_writes
    assert behind >= BULK_ROWS_MIN, "by default, so many wait while all calls are under way"
    task.stop()


# What is not known.


def in_a_thread(task: SalesforceSinkTask, records: list[SinkRecord]) -> tuple[threading.Thread, list[Any]]:
    ended: list[Any] = []

    def put() -> None:
        try:
            ended.extend(task.put(records))
        except RetriableError as error:
            ended.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    return thread, ended


def put_until_it_works(task: SalesforceSinkTask, records: list[SinkRecord]) -> list[Outcome]:
    done: list[Outcome] = []

    def works() -> bool:
        try:
            done.extend(task.put(records))
        except Unavailable:
            return False
        return True

    until(works)
    return done


def test_nothing_is_written_while_a_job_of_a_killed_process_goes_on(rig: Rig) -> None:
    """Its older values would come last. Then the markers are read, and nothing is there twice."""
    rig.org.settings.bulk_processing_s = 1.5
    thread, ended = in_a_thread(rig.task, creations("h", 12, seq=5))
    until(lambda: rig.ingests.unfinished() and jobs_of(rig.task))
    until(lambda: rig.ingests.state(rig.ingests.unfinished()[0]) == "InProgress")
    rig.task.stop()
    thread.join()
    assert isinstance(ended[0], Unavailable)
    successor = rig.started(clean=False)
    rig.org.settings.bulk_processing_s = 0
    newer = creations("h", 12, seq=9, Phone="newer")
    with pytest.raises(Unavailable, match="still at work"):
        successor.put(newer)
    assert set(kinds(put_until_it_works(successor, newer))) <= {APPLIED}
    rows = rig.shown("Phone", "Salmon_Seq__c", where="Salmon_Id__c LIKE 'h-%'")
    assert [(row["Phone"], row["Salmon_Seq__c"]) for row in rows] == [("newer", 9)] * 12
    successor.stop()


def test_a_job_that_was_killed_before_its_upload_is_aborted(rig: Rig) -> None:
    """Nobody could close it any more; a job of another tool is left alone."""
    ours = rig.ingests.begin("Account", "insert")
    body = {"object": "Account", "operation": "insert", "contentType": "CSV"}
    theirs = rig.box.call("POST", "jobs/ingest", body).json()["id"]
    assert kinds(rig.started(clean=False).put(creations("i", 1))) == [APPLIED]
    assert rig.ingests.state(ours) == "Aborted"
    assert rig.ingests.state(theirs) == "Open"
    rig.ingests.abort(theirs)


def test_a_job_of_an_instance_before_us_is_looked_for_when_partitions_are_taken_over(rig: Rig) -> None:
    """Whoever had them may have left one."""
    rig.task.put(creations("j", 1))
    left = rig.ingests.begin("Account", "update")
    rig.task.put(creations("j2", 1))
    assert rig.ingests.state(left) == "Open", "it costs a call, so not each time"
    rig.task.doubt()
    rig.task.put(creations("j3", 1))
    assert rig.ingests.state(left) == "Aborted"


def test_an_answer_that_does_not_come_is_settled_by_reading(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job was carried out, and its results never came: each record is there once, and is not written again."""

    def torn(_self: BulkIngests, _job_id: str, _which: str) -> Iterator[dict[str, str]]:
        monkeypatch.undo()
        raise Unavailable("torn")

    monkeypatch.setattr(BulkIngests, "rows", torn)
    records = creations("k", 12)
    with pytest.raises(Unavailable):
        rig.task.put(records)
    outcomes = rig.task.put(records)
    assert kinds(outcomes) == [OutcomeKind.SKIPPED] * 12
    assert len(rig.shown("Id", where="Salmon_Id__c LIKE 'k-%'")) == 12
    assert jobs_of(rig.task) == 1


@pytest.mark.parametrize("method", ["state", "rows"])
def test_results_that_are_refused_are_settled_by_reading(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Somebody has deleted the job, say: it has been carried out, and no record of it is at fault."""
    fails(rig, monkeypatch, method, RequestRejected("gone", code="NOT_FOUND"))
    records = creations(f"q{method}", 12)
    with pytest.raises(Unavailable, match="not known"):
        rig.task.put(records)
    done = put_until_it_works(rig.task, records)
    assert set(kinds(done)) <= {APPLIED, OutcomeKind.SKIPPED}
    assert len(rig.shown("Id", where=f"Salmon_Id__c LIKE 'q{method}-%'")) == 12


def test_a_job_that_fails_and_says_nothing_of_its_records_is_no_endless_loop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked at, and written by Collections."""
    rig.org.settings.bulk_fail_after = 0
    monkeypatch.setattr(BulkIngests, "rows", lambda *_: iter(()))
    records = creations("r", 12)
    with pytest.raises(Unavailable, match="does not say"):
        rig.task.put(records)
    assert kinds(rig.task.put(records)) == [APPLIED] * 12
    assert jobs_of(rig.task) == 1


def test_a_session_that_is_revoked_in_the_middle_of_a_job_is_renewed(rig: Rig) -> None:
    """In a job's calls as in any other."""
    rig.org.settings.bulk_processing_s = 1
    thread, ended = in_a_thread(rig.task, creations("s", 12))
    until(lambda: any(rig.ingests.state(job) == "InProgress" for job in rig.ingests.unfinished()))
    rig.org.sessions.revoke_all()
    thread.join()
    assert kinds(ended) == [APPLIED] * 12
    assert jobs_of(rig.task) == 1


def test_a_job_of_another_user_is_left_alone(rig: Rig) -> None:
    """Whatever its columns: a person's, or another sync's."""
    rig.box.as_user("person")
    body = {
        "object": "Account",
        "operation": "insert",
        "contentType": "CSV",
        "columnDelimiter": "CARET",
        "lineEnding": "CRLF",
    }
    theirs = rig.box.call("POST", "jobs/ingest", body).json()["id"]
    assert kinds(rig.started(clean=False).put(creations("t", 1))) == [APPLIED]
    assert rig.ingests.state(theirs) == "Open"
    rig.ingests.abort(theirs)


def test_a_job_that_somebody_aborts_is_settled_by_reading(rig: Rig) -> None:
    """An abort says little of what was done before: all are looked at."""
    rig.org.settings.bulk_processing_s = 3600
    thread, ended = in_a_thread(rig.task, creations("l", 12))
    until(rig.ingests.unfinished)
    until(lambda: rig.ingests.state(rig.ingests.unfinished()[0]) == "InProgress")
    rig.ingests.abort(rig.ingests.unfinished()[0])
    thread.join()
    assert isinstance(ended[0], Unavailable)
    rig.org.settings.bulk_processing_s = 0
    assert {*kinds(put_until_it_works(rig.task, creations("l", 12)))} <= {APPLIED, OutcomeKind.SKIPPED}
    assert len(rig.shown("Id", where="Salmon_Id__c LIKE 'l-%'")) == 12


# How much at once.


def test_a_backlog_of_one_object_is_taken_as_a_whole(rig: Rig) -> None:
    """Else as many as fill the calls that are made at once, so that none waits for the outcomes of many."""
    accounts = {("Account", str(number)) for number in range(10)}
    few = {("Account", str(number)) for number in range(9)} | {
        ("Contact", str(number)) for number in range(9)
    }
    assert rig.task.batch_for(accounts) == 10_000
    at_once = 200 * rig.task._config.concurrent_writes
    assert rig.task.batch_for(few) == at_once
    assert rig.task.batch_for(()) == at_once
