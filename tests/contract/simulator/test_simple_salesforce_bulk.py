"""simple-salesforce's bulk2, unchanged, against the simulator: each call of it a test or a line of one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simple_salesforce import api, bulk2, exceptions

from salmon.simulator.server import Simulator
from support.orgs.boxes import trusting_session

Salesforce: Any = api.Salesforce


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), records={"Account": 10}) as running:
        yield running


@pytest.fixture
def salesforce(simulator: Simulator) -> Any:
    return Salesforce(
        session_id=simulator.org.sessions.open(simulator.org.integration_user),
        instance_url=simulator.endpoints.instance_url,
        session=trusting_session(simulator),
    )


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_insert_and_all_its_results(salesforce: Any) -> None:
    """Counts per job, and the three kinds of results, one by one and all at once."""
    accounts = salesforce.bulk2.Account
    [job] = accounts.insert(records=[{"Name": "A"}, {"Name": ""}, {"Name": "B"}], wait=0)
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"], job["numberRecordsTotal"]) == (3, 1, 3)
    good = rows_of(accounts.get_successful_records(job["job_id"]))
    assert [(row["Name"], row["sf__Created"]) for row in good] == [("A", "true"), ("B", "true")]
    [bad] = rows_of(accounts.get_failed_records(job["job_id"]))
    assert bad["sf__Error"].startswith("REQUIRED_FIELD_MISSING")
    assert rows_of(accounts.get_unprocessed_records(job["job_id"])) == []
    everything = accounts.get_all_ingest_records(job["job_id"])
    assert {name: len(rows) for name, rows in everything.items()} == {
        "successfulRecords": 2, "failedRecords": 1, "unprocessedRecords": 0,
    }  # fmt: skip


def test_upsert_update_delete_and_hard_delete(salesforce: Any, simulator: Simulator) -> None:
    """By external id, then by Id; from records and from a file's worth of them, in several jobs."""
    accounts = salesforce.bulk2.Account
    records = [{"Salmon_Id__c": f"u-{number}", "Name": f"U {number}"} for number in range(4)]
    jobs = accounts.upsert(records=records, external_id_field="Salmon_Id__c", batch_size=2, wait=0)
    assert [job["numberRecordsTotal"] for job in jobs] == [2, 2]
    found = salesforce.query(
        "SELECT Id, Name FROM Account WHERE Salmon_Id__c LIKE 'u-%' ORDER BY Salmon_Id__c"
    )
    ids = [row["Id"] for row in found["records"]]
    assert len(ids) == 4
    [job] = accounts.update(records=[{"Id": ids[0], "Name": "Changed", "Phone": "#N/A"}], wait=0)
    assert job["numberRecordsFailed"] == 0
    assert salesforce.Account.get(ids[0])["Name"] == "Changed"
    [job] = accounts.delete(records=[{"Id": ids[0]}, {"Id": ids[1]}], wait=0)
    assert job["numberRecordsFailed"] == 0
    [job] = accounts.hard_delete(records=[{"Id": ids[2]}], wait=0)
    assert job["numberRecordsFailed"] == 0
    left = simulator.org.table("Account")
    assert [each in left.live for each in ids] == [False, False, False, True]
    assert [each in left.bin for each in ids] == [True, True, False, False]


def test_files_line_endings_and_delimiters(salesforce: Any, tmp_path: Path) -> None:
    """A CSV file with other marks than the usual ones."""
    file = tmp_path / "accounts.csv"
    file.write_text("Name|Phone\r\nFrom a file|1\r\n", newline="")
    [job] = salesforce.bulk2.Account.insert(
        csv_file=str(file),
        column_delimiter=bulk2.ColumnDelimiter.PIPE,
        line_ending=bulk2.LineEnding.CRLF,
        wait=0,
    )
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (1, 0)


def test_query_query_all_and_download(salesforce: Any, simulator: Simulator, tmp_path: Path) -> None:
    """Page by page, with what was deleted, and into files."""
    accounts = salesforce.bulk2.Account
    doomed = salesforce.Account.create({"Name": "Doomed"})["id"]
    salesforce.Account.delete(doomed)
    live = len(simulator.org.table("Account").live)
    pages = list(accounts.query("SELECT Id, Name FROM Account", max_records=4, wait=0))
    assert len(pages) == -(-live // 4)
    assert sum(len(rows_of(page)) for page in pages) == live
    [everything] = accounts.query_all("SELECT Id FROM Account WHERE Name = 'Doomed'", wait=0)
    assert rows_of(everything) == [{"Id": doomed}]
    told = accounts.download("SELECT Id FROM Account", path=str(tmp_path), max_records=5, wait=0)
    assert sum(each["number_of_records"] for each in told) == live
    assert sum(len(rows_of(Path(each["file"]).read_text())) for each in told) == live


def test_a_failed_job_is_an_error_with_the_orgs_words(salesforce: Any) -> None:
    """And so is a query that bulk does not take."""
    with pytest.raises(exceptions.SalesforceOperationError, match="Field name not found : Nothing"):
        salesforce.bulk2.Account.insert(records=[{"Nothing": "A"}], wait=0)
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="Selecting compound data"):
        list(salesforce.bulk2.Account.query("SELECT BillingAddress FROM Account", wait=0))


def test_a_job_by_hand(salesforce: Any) -> None:
    """The client under the methods: create, upload, close, abort, delete."""
    client = salesforce.bulk2.Account._client
    job = client.create_job(bulk2.Operation.insert)
    client.upload_job_data(job["id"], "Name\nBy hand\n")
    assert client.close_job(job["id"])["state"] == "UploadComplete"
    assert client.wait_for_job(job["id"], is_query=False, wait=0) == "JobComplete"
    other = client.create_job(bulk2.Operation.insert)
    assert client.abort_job(other["id"], is_query=False)["state"] == "Aborted"
    with pytest.raises(ValueError):  # noqa: PT011 - it parses the empty body of the 204 as JSON
        client.delete_job(other["id"], is_query=False)
    with pytest.raises(exceptions.SalesforceResourceNotFound):
        client.get_job(other["id"], is_query=False)
