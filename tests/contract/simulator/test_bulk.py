"""Bulk API 2.0 of the simulator, held to recorded jobs and to the words of real orgs."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from salmon.simulator.server import Simulator
from support.orgs.boxes import RECORDED, VERSION, Box
from support.waiting import until


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), records={"Account": 6}) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Iterator[Box]:
    box = Box(simulator)
    yield box
    for path in ("/settings", "/faults", "/triggers"):
        box.control("DELETE", path)


def recorded_job(name: str) -> Any:
    return json.loads((RECORDED.parent / "bulk" / f"{name}.json").read_text("utf-8"))


def put(box: Box, job_id: str, text: str, **headers: str) -> requests.Response:
    """Upload the data of a job."""
    url = f"{box.simulator.endpoints.instance_url}/services/data/v{VERSION}/jobs/ingest/{job_id}/batches"
    return box.http.put(url, text.encode(), headers={"Content-Type": "text/csv", **headers})


def open_job(box: Box, operation: str = "insert", **more: Any) -> str:
    made = box.call("POST", "jobs/ingest", {"object": "Account", "operation": operation, **more})
    assert made.status_code == 200, made.text
    return str(made.json()["id"])


def started(box: Box, text: str, operation: str = "insert", **more: Any) -> str:
    """A job that is uploaded and closed."""
    job_id = open_job(box, operation, **more)
    assert put(box, job_id, text).status_code == 201
    assert box.call("PATCH", f"jobs/ingest/{job_id}", {"state": "UploadComplete"}).status_code == 200
    return job_id


def ended(box: Box, job_id: str, kind: str = "ingest") -> Any:
    """What is said of a job when it has ended."""
    closed = {"JobComplete", "Failed", "Aborted"}
    until(lambda: box.call("GET", f"jobs/{kind}/{job_id}").json()["state"] in closed)
    return box.call("GET", f"jobs/{kind}/{job_id}").json()


def results(box: Box, job_id: str, name: str) -> list[dict[str, str]]:
    answer = box.call("GET", f"jobs/ingest/{job_id}/{name}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def queried(box: Box, text: str, **more: Any) -> tuple[Any, requests.Response]:
    """A query job when it has ended, and its first page."""
    made = box.call("POST", "jobs/query", {"operation": "query", "query": text, **more})
    assert made.status_code == 200, made.text
    job = ended(box, made.json()["id"], "query")
    return job, box.call("GET", f"jobs/query/{job['id']}/results")


def test_a_job_shows_what_recorded_jobs_show(box: Box) -> None:
    """The same keys, of the same types, when it is made, when it is complete and when it has failed."""

    def types(job: Any) -> dict[str, type]:
        return {key: type(value) for key, value in job.items()}

    body = {"object": "Account", "operation": "insert", "contentType": "CSV", "lineEnding": "CRLF"}
    made = box.call("POST", "jobs/ingest", body).json()
    assert types(made) == types(recorded_job("ingest_created"))
    assert made["contentUrl"] == f"services/data/v{VERSION}/jobs/ingest/{made['id']}/batches"
    complete = ended(box, started(box, "Name\nA\n"))
    assert types(complete) == types(recorded_job("ingest_complete"))
    assert (complete["state"], complete["numberRecordsProcessed"]) == ("JobComplete", 1)
    failed = ended(box, started(box, "Name,Email\nA,b\n"))
    real = recorded_job("ingest_failed_bad_column")
    assert types(failed) == types(real)
    assert (failed["state"], failed["errorMessage"]) == ("Failed", real["errorMessage"])
    query, _page = queried(box, "SELECT Id FROM Account")
    assert types(query) == types(recorded_job("query_complete"))
    assert query["isPkChunkingSupported"] is True


def test_each_row_has_a_result_of_its_own(box: Box) -> None:
    """Quotes, #N/A, numbers, booleans and dates; a refused row says code, message and field, and harms no other."""
    text = (
        "Name,Phone,NumberOfEmployees,AnnualRevenue,Description\n"
        '"Acme, ""Inc."" ",#N/A,7,1.5E3,"two\nlines"\n'
        ",1,1,1,x\n"
        "Bad,1,many,1,x\n"
    )
    job_id = started(box, text)
    job = ended(box, job_id)
    assert (job["state"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == ("JobComplete", 3, 2)
    [good] = results(box, job_id, "successfulResults/")
    assert list(good)[:2] == ["sf__Id", "sf__Created"]
    assert (good["sf__Created"], good["Name"], good["Description"]) == ("true", 'Acme, "Inc." ', "two\nlines")
    row = box.call("GET", f"sobjects/Account/{good['sf__Id']}").json()
    assert (row["Name"], row["Phone"], row["NumberOfEmployees"]) == ('Acme, "Inc."', None, 7)
    assert row["AnnualRevenue"] == 1500
    missing, bad = results(box, job_id, "failedResults")
    assert missing["sf__Error"] == "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"
    assert bad["sf__Error"].startswith(
        "INVALID_TYPE_ON_FIELD_IN_RECORD:Employees: value not of required type"
    )
    assert results(box, job_id, "unprocessedRecords") == []


def test_update_upsert_and_delete(box: Box) -> None:
    """Each by its own key; an empty cell leaves a field alone, #N/A clears it."""
    account = box.create("Account", Name="Old", Phone="1", Fax="2")
    done = ended(box, started(box, f"Id,Name,Phone,Fax\n{account[:15]},New,,#N/A\n", "update"))
    assert done["numberRecordsFailed"] == 0
    row = box.call("GET", f"sobjects/Account/{account}").json()
    assert (row["Name"], row["Phone"], row["Fax"]) == ("New", "1", None)

    text = "Salmon_Id__c,Name\nbulk-1,One\nbulk-1,Twice\n,Nobody\n"
    job_id = started(box, text, "upsert", externalIdFieldName="salmon_id__c")
    assert ended(box, job_id)["externalIdFieldName"] == "Salmon_Id__c"
    assert [row["sf__Created"] for row in results(box, job_id, "successfulResults")] == ["true"]
    assert [row["sf__Error"].split(":")[0] for row in results(box, job_id, "failedResults")] == [
        "DUPLICATE_VALUE", "MISSING_ARGUMENT",
    ]  # fmt: skip
    again = started(
        box, "Salmon_Id__c,Name\nBULK-2,A\nbulk-1,Uno\n", "upsert", externalIdFieldName="Salmon_Id__c"
    )
    ended(box, again)
    assert {row["Name"]: row["sf__Created"] for row in results(box, again, "successfulResults")} == {
        "A": "true", "Uno": "false",
    }  # fmt: skip

    gone = started(box, f"Id\n{account}\n001Sm00000000zz\n{account}\n", "delete")
    ended(box, gone)
    assert [row["sf__Id"] for row in results(box, gone, "successfulResults")] == [account]
    assert [row["sf__Error"] for row in results(box, gone, "failedResults")] == [
        "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--",
        "ENTITY_IS_DELETED:entity is deleted:--",
    ]


def test_a_hard_delete_leaves_nothing_in_the_recycle_bin(box: Box) -> None:
    """queryAll finds what delete deletes, and not what hardDelete deletes."""
    soft, hard = box.create("Account", Name="Soft"), box.create("Account", Name="Hard")
    ended(box, started(box, f"Id\n{soft}\n", "delete"))
    ended(box, started(box, f"Id\n{hard}\n", "hardDelete"))
    found = box.call("GET", f"queryAll?q=SELECT+Id+FROM+Account+WHERE+Id+IN+('{soft}','{hard}')").json()
    assert [row["Id"] for row in found["records"]] == [soft]


def test_a_hard_delete_needs_a_permission_of_its_own(box: Box) -> None:
    """Administrators of a real org do not have it by default; those of the box do, until it is taken away."""
    [mine] = box.call("GET", "query?q=SELECT+Id+FROM+PermissionSet+WHERE+IsOwnedByProfile=true").json()[
        "records"
    ]
    path = f"sobjects/PermissionSet/{mine['Id']}"
    assert box.call("PATCH", path, {"PermissionsBulkApiHardDelete": False}).status_code == 204
    try:
        [error] = box.call("POST", "jobs/ingest", {"object": "Account", "operation": "hardDelete"}).json()
        assert error["errorCode"] == "FEATURENOTENABLED"
        assert error["message"].startswith("hardDelete operation requires special user profile permission")
    finally:
        box.call("PATCH", path, {"PermissionsBulkApiHardDelete": True})
    assert open_job(box, "hardDelete")


def test_an_upload_may_be_compressed(box: Box) -> None:
    """Content-Encoding: gzip, as for every other request."""
    job_id = open_job(box)
    url = f"{box.simulator.endpoints.instance_url}/services/data/v{VERSION}/jobs/ingest/{job_id}/batches"
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    assert box.http.put(url, gzip.compress(b"Name\nPacked\n"), headers=headers).status_code == 201
    box.call("PATCH", f"jobs/ingest/{job_id}", {"state": "UploadComplete"})
    assert ended(box, job_id)["numberRecordsProcessed"] == 1


def test_parents_may_be_named_by_their_external_ids(box: Box) -> None:
    """Account.Salmon_Id__c as a column; a parent that is not there is a refused row."""
    parent = box.create("Account", Name="Parent", Salmon_Id__c="parent-1")
    text = "LastName,Account.Salmon_Id__c\nA,parent-1\nB,nobody\nC,\n"
    job_id = started(box, text, object="Contact")
    ended(box, job_id)
    good = {row["LastName"]: row["sf__Id"] for row in results(box, job_id, "successfulResults")}
    assert set(good) == {"A", "C"}
    assert box.call("GET", f"sobjects/Contact/{good['A']}").json()["AccountId"] == parent
    [bad] = results(box, job_id, "failedResults")
    assert bad["sf__Error"].startswith("INVALID_FIELD:Foreign key external ID: nobody not found for field")


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("Name\r\nA\r\n", {}, "LineEnding is invalid on user data. Current LineEnding setting is LF"),
        ("Name\nA\n", {"lineEnding": "CRLF"}, "Current LineEnding setting is CRLF"),
        ('Name\nA"b\n', {}, "Found unescaped quote"),
        ('Name\n"A\n', {}, "EOF reached before closing an opened quote"),
        ("Name,Phone\nA\n", {}, "Row 1 has 1 values"),
        ("", {}, "no header row"),
        ("Name,Nothing.Name\nA,b\n", {}, "InvalidBatch : InvalidBatch : Field name not found : Nothing.Name"),
        ("Name;Phone\nA;b\n", {}, "Field name not found : Name;Phone"),
        ("Name\nA\n", {"operation": "update"}, "Field name not found : Id"),
        ("Id,Name\n1,A\n", {"operation": "delete"}, "Delete batch must only contain ids"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_read_fails_the_job(box: Box, text: str, more: Any, message: str) -> None:
    """With the org's errorMessage; nothing is written, and all rows that can be read are unprocessed."""
    accounts = len(box.org.table("Account").live)
    job = ended(box, started(box, text, **more))
    assert (job["state"], job["numberRecordsProcessed"]) == ("Failed", 0)
    assert message in job["errorMessage"]
    assert len(box.org.table("Account").live) == accounts


def test_every_delimiter_and_both_line_endings(box: Box) -> None:
    """Results come back in the form of the upload."""
    marks = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
    for name, mark in marks.items():
        text = f"Name{mark}Phone\r\n{name}{mark}5\r\n"
        job_id = started(box, text, columnDelimiter=name, lineEnding="CRLF")
        ended(box, job_id)
        answer = box.call("GET", f"jobs/ingest/{job_id}/successfulResults").text
        assert answer.startswith(f'"sf__Id"{mark}"sf__Created"{mark}"Name"{mark}"Phone"\r\n"001')
        assert answer.endswith(f'"true"{mark}"{name}"{mark}"5"\r\n')


def test_a_job_takes_its_time_and_can_be_aborted_in_it(box: Box) -> None:
    """UploadComplete, InProgress, and what was not written by then is unprocessed; what was written stays."""
    box.control("POST", "/settings", {"bulk_processing_s": 3600})
    names = [f"Row {number}" for number in range(450)]
    job_id = started(box, "Name\n" + "\n".join(names))
    path = f"jobs/ingest/{job_id}"
    until(lambda: box.call("GET", path).json()["numberRecordsProcessed"] == 200)
    assert box.call("GET", path).json()["state"] == "InProgress"
    assert box.call("GET", f"{path}/successfulResults").json()[0]["errorCode"] == "JOB_NOT_COMPLETE"
    assert box.call("DELETE", path).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    box.control("POST", "/clock", {"advance_s": 2000})
    until(lambda: box.call("GET", path).json()["numberRecordsProcessed"] == 400)
    assert box.call("PATCH", path, {"state": "Aborted"}).json()["state"] == "Aborted"
    assert [row["Name"] for row in results(box, job_id, "unprocessedrecords/")] == names[400:]
    assert len(results(box, job_id, "successfulResults")) == 400
    again = box.call("PATCH", path, {"state": "Aborted"})
    assert (again.status_code, again.json()[0]["message"]) == (
        400,
        "Aborting already Aborted Job not allowed",
    )
    assert box.call("DELETE", path).status_code == 204
    assert box.call("GET", path).status_code == 404


def test_a_job_may_fail_in_the_middle(box: Box) -> None:
    """By the org's own fault: the control API says after how many records."""
    box.control(
        "POST", "/settings", {"bulk_fail_after": 2, "bulk_fail_message": "InternalServerError : Sorry"}
    )
    job_id = started(box, "Name\nA\nB\nC\n")
    job = ended(box, job_id)
    assert (job["state"], job["errorMessage"]) == ("Failed", "InternalServerError : Sorry")
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (2, 0)
    assert [row["Name"] for row in results(box, job_id, "unprocessedRecords")] == ["C"]


def test_what_is_not_allowed_is_refused_in_the_orgs_words(box: Box) -> None:
    """Jobs that cannot be made, a second upload, states that cannot be."""

    def refused(method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        answer = box.call(method, path, body)
        [error] = answer.json()
        return answer.status_code, error["errorCode"], error["message"]

    nothing = refused("POST", "jobs/ingest", {"object": "Nothing", "operation": "insert"})
    assert nothing == (400, "INVALIDJOB", "Unable to find object: Nothing")
    blank = refused("POST", "jobs/ingest", {"object": "Account", "operation": "upsert"})
    assert blank[2] == "External ID was blank for Account. An External ID must be specified for upsert."
    for body in ({"operation": "merge"}, {"operation": "insert", "columnDelimiter": "SPACE"}):
        assert refused("POST", "jobs/ingest", {"object": "Account", **body})[1] == "JSON_PARSER_ERROR"
    job_id = open_job(box)
    assert refused("PATCH", f"jobs/ingest/{job_id}", {"state": "UploadComplete"})[1] == "INVALIDJOBSTATE"
    assert refused("PATCH", f"jobs/ingest/{job_id}", {"state": "InProgress"})[1] == "INVALIDJOBSTATE"
    assert put(box, job_id, "Name\n", **{"Content-Type": "application/json"}).status_code == 415
    assert put(box, job_id, "Name\n").status_code == 201
    twice = put(box, job_id, "Name\n").json()[0]
    assert twice["errorCode"] == "BULK_API_ERROR"
    assert twice["message"].startswith(f"Found multipe contents for job: <{job_id[:15]}>, please 'Close'")
    assert box.call("PATCH", f"jobs/ingest/{job_id}", {"state": "UploadComplete"}).status_code == 200
    assert ended(box, job_id)["numberRecordsProcessed"] == 0
    done = refused("PATCH", f"jobs/ingest/{job_id}", {"state": "Aborted"})
    assert done == (400, "INVALIDJOBSTATE", "Aborting already Completed Job not allowed")
    assert refused("GET", "jobs/ingest/750000000000000AAA")[:2] == (404, "NOT_FOUND")
    assert refused("GET", f"jobs/query/{job_id}")[:2] == (404, "NOT_FOUND")
    assert refused("GET", f"jobs/ingest/{job_id}/batches")[:2] == (405, "METHOD_NOT_ALLOWED")


def test_job_and_data_in_one_request(box: Box) -> None:
    """The multipart request goes straight to UploadComplete."""
    url = f"{box.simulator.endpoints.instance_url}/services/data/v{VERSION}/jobs/ingest"
    body = json.dumps({"object": "Account", "operation": "insert"})
    files = {"job": (None, body, "application/json"), "content": ("content", "Name\nMulti\n", "text/csv")}
    made = box.http.post(url, files=files)
    assert (made.status_code, made.json()["state"]) == (200, "UploadComplete")
    assert ended(box, made.json()["id"])["numberRecordsProcessed"] == 1


def test_jobs_are_listed(box: Box) -> None:
    """Ingest and query jobs apart, with the keys of the guide."""
    job_id = open_job(box)
    query, _page = queried(box, "SELECT Id FROM Account LIMIT 1")
    listed = box.call("GET", "jobs/ingest").json()
    assert (listed["done"], listed["nextRecordsUrl"]) == (True, None)
    [mine] = [job for job in listed["records"] if job["id"] == job_id]
    assert (mine["jobType"], mine["state"]) == ("V2Ingest", "Open")
    assert query["id"] in [job["id"] for job in box.call("GET", "jobs/query/").json()["records"]]
    assert box.call("GET", "jobs/ingest?jobType=Classic").json()["records"] == []


def test_query_results_come_in_pages(box: Box) -> None:
    """A header row on each page, the number of records, and an opaque locator that ends with the word null."""
    ended(box, started(box, "Name,AnnualRevenue\n" + "".join(f"Page {n},12345678\n" for n in range(5))))
    body = {
        "operation": "query",
        "query": "select id, name, annualrevenue, createddate, isdeleted from account where name like 'Page %'",
    }
    job_id = box.call("POST", "jobs/query", body).json()["id"]
    ended(box, job_id, "query")
    names, locator, sizes = [], "", []
    while locator != "null":
        page = box.call("GET", f"jobs/query/{job_id}/results?maxRecords=2&locator={locator}")
        assert page.text.splitlines()[0] == '"Id","Name","AnnualRevenue","CreatedDate","IsDeleted"'
        rows = list(csv.DictReader(io.StringIO(page.text)))
        sizes.append((len(rows), page.headers["Sforce-NumberOfRecords"]))
        names += [row["Name"] for row in rows]
        locator = page.headers["Sforce-Locator"]
    assert sizes == [(2, "2"), (2, "2"), (1, "1")]
    assert names == [f"Page {number}" for number in range(5)]
    assert rows[0]["AnnualRevenue"] == "1.2345678E7"
    assert rows[0]["IsDeleted"] == "false"
    assert rows[0]["CreatedDate"].endswith(".000Z")
    assert box.call("GET", f"jobs/query/{job_id}/results?locator=Zm9v").status_code == 400
    assert box.call("GET", f"jobs/query/{job_id}/results?maxRecords=0").status_code == 400
    other = box.call("GET", f"/services/data/v60.0/jobs/query/{job_id}/results")
    assert other.status_code == 409


def test_query_all_finds_what_was_deleted(box: Box) -> None:
    """With IsDeleted; parents are columns with a dot."""
    parent = box.create("Account", Name="Parent of the deleted")
    contact = box.create("Contact", LastName="Gone", AccountId=parent)
    box.call("DELETE", f"sobjects/Contact/{contact}")
    text = "SELECT Id, IsDeleted, Account.Name FROM Contact WHERE LastName = 'Gone'"
    _job, none = queried(box, text)
    assert none.text == '"Id","IsDeleted","Account.Name"\n'
    _job, page = queried(box, text, operation="queryAll", columnDelimiter="PIPE", lineEnding="CRLF")
    assert page.text == f'"Id"|"IsDeleted"|"Account.Name"\r\n"{contact}"|"true"|"Parent of the deleted"\r\n'


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("SELECT Id, BillingAddress FROM Account", "API_ERROR", "Selecting compound data not supported in Bulk Query"),
        ("SELECT Name FROM Account GROUP BY Name", "API_ERROR", "not supported in Bulk Query"),
        ("SELECT count() FROM Account", "API_ERROR", "not supported in Bulk Query"),
        ("SELECT Id FROM Account LIMIT 5 OFFSET 5", "API_ERROR", "OFFSET not supported"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "API_ERROR", "Aggregate Relationships not supported in Bulk Query"),
        ("SELECT TYPEOF Owner WHEN User THEN Id END FROM Account", "API_ERROR", "TYPEOF"),
        ("SELECT Nope FROM Account", "INVALID_FIELD", "No such column 'Nope'"),
        ("SELECT Id FROM Nope", "INVALID_TYPE", "sObject type 'Nope' is not supported"),
        ("SELECT FROM", "MALFORMED_QUERY", "unexpected token"),
        ("", "INVALIDJOB", "needs a query"),
        ("SELECT QualifiedApiName FROM EntityDefinition", "INVALIDENTITY", "Entity 'EntityDefinition' is not supported by the Bulk API."),
    ],
)  # fmt: skip
def test_soql_that_bulk_queries_do_not_take(box: Box, text: str, code: str, word: str) -> None:
    """It is refused when the job is made, in the org's words; text in quotes is no clause."""
    answer = box.call("POST", "jobs/query", {"operation": "query", "query": text})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert word in answer.json()[0]["message"]
    fine = "SELECT Id FROM Account WHERE Name = 'group by count() (select x from y), offset 5'"
    assert box.call("POST", "jobs/query", {"operation": "query", "query": fine}).status_code == 200


def test_triggers_and_events_are_those_of_any_other_write(box: Box) -> None:
    """The origin of the events is the Bulk API and the client's name."""
    box.control(
        "POST",
        "/triggers",
        {"object": "Account", "when": {"field": "Phone"}, "set": {"Phone": "{Phone|e164}"}},
    )
    commits: list[Any] = []
    box.org.add_listener(commits.append)
    job_id = box.call(
        "POST",
        "jobs/ingest",
        {"object": "Account", "operation": "insert"},
        headers={"Sforce-Call-Options": "client=loader", "Sforce-Enable-PKChunking": "chunkSize=50000"},
    ).json()["id"]
    put(box, job_id, "Name,Phone\nA,(415) 555-0101\nB,1\n")
    box.call("PATCH", f"jobs/ingest/{job_id}", {"state": "UploadComplete"})
    ended(box, job_id)
    [commit] = commits
    assert commit.change_origin == f"com/salesforce/api/bulkapi/{VERSION};client=loader"
    assert [change.after["Phone"] for change in commit.changes] == ["+14155550101", "1"]


def test_allowances_are_used_up_and_shown(box: Box) -> None:
    """Query jobs, their results and ingest batches, within 24 hours of the org's clock."""

    def limits() -> Any:
        return box.call("GET", "limits").json()

    before = limits()
    ended(box, started(box, "Name\nA\n"))
    queried(box, "SELECT Id FROM Account LIMIT 1")
    after = limits()
    for name in ("DailyBulkApiBatches", "DailyBulkV2QueryJobs"):
        assert after[name]["Remaining"] == before[name]["Remaining"] - 1
    assert after["DailyBulkV2QueryFileStorageMB"]["Remaining"] < after["DailyBulkV2QueryFileStorageMB"]["Max"]
    assert before["DailyApiRequests"]["Remaining"] - after["DailyApiRequests"]["Remaining"] >= 7
    used = after["DailyBulkV2QueryJobs"]["Max"] - after["DailyBulkV2QueryJobs"]["Remaining"]
    box.control("POST", "/allowances", {"DailyBulkV2QueryJobs": used, "DailyBulkApiBatches": 0})
    try:
        full = box.call("POST", "jobs/query", {"operation": "query", "query": "SELECT Id FROM Account"})
        assert full.json() == [
            {"errorCode": "LIMIT_EXCEEDED", "message": f"Max bulk v2 query jobs ({used}) per 24 hrs has been reached ({used})"}
        ]  # fmt: skip
        [error] = box.call("POST", "jobs/ingest", {"object": "Account", "operation": "insert"}).json()
        assert error == {"errorCode": "EXCEEDEDQUOTA", "message": "ApiBatchItems Limit exceeded."}
    finally:
        box.control("POST", "/allowances", {"DailyBulkV2QueryJobs": 10000, "DailyBulkApiBatches": 15000})


def test_a_job_runs_on_without_the_session_that_made_it(box: Box) -> None:
    """Who asks for it is refused until he has logged in again; the work is done all the same."""
    box.control("POST", "/settings", {"bulk_processing_s": 60})
    job_id = started(box, "Name\nUnwatched\n")
    box.control("POST", "/faults", {"fault": "revoke_sessions"})
    refused = box.call("GET", f"jobs/ingest/{job_id}")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    box.control("POST", "/clock", {"advance_s": 60})
    box.as_user("integration")
    assert ended(box, job_id)["numberRecordsProcessed"] == 1


def test_jobs_are_kept_for_seven_days(box: Box) -> None:
    """Then they are gone, with their results."""
    job_id = started(box, "Name\nOld\n")
    ended(box, job_id)
    box.control("POST", "/clock", {"advance_s": 8 * 24 * 3600})
    box.as_user("integration")
    assert box.call("GET", f"jobs/ingest/{job_id}").status_code == 404


def test_faults_strike_bulk_calls_too(box: Box) -> None:
    """The api of a fault may be bulk."""
    box.control("POST", "/faults", {"fault": "http", "api": "bulk", "status": 503, "times": 1})
    assert box.call("GET", "jobs/ingest").status_code == 503
    assert box.call("GET", "jobs/ingest").status_code == 200


def test_settings_that_are_none_are_refused(box: Box) -> None:
    """Nothing of such a request is done, and the message says what there is."""
    for body, word in (
        ({"bulk_processing_s": -1}, "not negative"),
        ({"trusted_network": False, "nothing": 1}, "bulk_processing_s"),
        ({"soap_login": "yes"}, "true or false"),
    ):
        wrong = box.control("POST", "/settings", body)
        assert wrong.status_code == 400
        assert word in wrong.json()["error"]
    assert box.control("POST", "/allowances", {"Nothing": 1}).status_code == 400
    assert box.control("GET", "/settings").json()["bulk_processing_s"] == 0
