"""The simulator's REST API held against answers of real orgs, and to what the guide says of codes and headers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from salmon.simulator.server import Simulator
from support.orgs.boxes import Box, recorded, same_shape


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator.start(tmp_path_factory.mktemp("box"), records={"Account": 6}) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Iterator[Box]:
    box = Box(simulator)
    yield box
    box.control("DELETE", "/faults")
    box.control("DELETE", "/triggers")


def records_of(name: str) -> Any:
    """The records of a recorded collections request."""
    return recorded(name)["request"]["body"]


def test_rows_answer_as_recorded(box: Box) -> None:
    """Create, the errors of a create, and a row that is deleted already."""
    answer = box.call("POST", "sobjects/Account/", {"Name": "Smith Corp."})
    assert answer.status_code == recorded("cci_create_account")["response"]["status"]
    assert same_shape(answer.json(), recorded("cci_create_account")["response"]["body"])
    real = recorded("errors_real")
    assert box.call("POST", "sobjects/Account", {}).json() == real["REQUIRED_FIELD_MISSING"]["body"]
    refused = box.call("POST", "sobjects/Contact", {"LastName": "A", "Name": "B"})
    assert (refused.status_code, refused.json()) == (400, real["INVALID_FIELD_FOR_INSERT_UPDATE"]["body"])
    path = f"sobjects/Account/{answer.json()['id']}"
    assert box.call("DELETE", path).status_code == 204
    again = box.call("DELETE", path)
    assert (again.status_code, again.json()) == (404, real["ENTITY_IS_DELETED"]["body"])
    assert box.call("GET", "sobjects/Nothing/describe").json() == real["NOT_FOUND_resource"]["body"]
    [error] = box.call("POST", "sobjects/Account", {"Name": "A", "foo": 1}).json()
    assert error["message"] == "No such column 'foo' on sobject of type Account"
    assert error["errorCode"] == recorded("restforce_write_error_response")[0]["errorCode"]


def test_a_write_to_an_id_that_no_record_has_is_an_invalid_cross_reference(box: Box) -> None:
    """Only a read of it is answered with NOT_FOUND."""
    path = "sobjects/Account/001000000009999AAA"
    for method in ("PATCH", "DELETE"):
        refused = box.call(method, path, {"Name": "A"} if method == "PATCH" else None)
        assert (refused.status_code, refused.json()[0]["errorCode"]) == (404, "INVALID_CROSS_REFERENCE_KEY")
    assert box.call("GET", path).json()[0]["errorCode"] == "NOT_FOUND"


def test_what_cannot_be_read_spoils_a_collection_whatever_its_ids(box: Box) -> None:
    """A request is read as a whole before any record is looked for; all digits of its numbers are."""
    record = {"attributes": {"type": "Account"}, "Id": "001000000009999AAA"}
    bad = box.call("PATCH", "composite/sobjects", {"records": [{**record, "AnnualRevenue": "much"}]})
    assert (bad.status_code, bad.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    read = box.call("PATCH", "composite/sobjects", {"records": [{**record, "AnnualRevenue": 1}]})
    assert read.json()[0]["errors"][0]["statusCode"] == "INVALID_CROSS_REFERENCE_KEY"
    made = box.call("POST", "sobjects/Account", {"Name": "A", "AnnualRevenue": 123456789012345678}).json()
    assert box.call("GET", f"sobjects/Account/{made['id']}").json()["AnnualRevenue"] == 123456789012345678


def test_the_id_url_of_a_token_names_the_box_and_no_real_host(simulator: Simulator) -> None:
    """Whoever follows it must not take the token of a box to Salesforce."""
    ends = simulator.endpoints
    form = {
        "grant_type": "client_credentials",
        "client_id": ends.client_id,
        "client_secret": ends.client_secret,
    }
    answer = requests.post(
        f"{ends.login_url}/services/oauth2/token", data=form, verify=ends.ca_file, timeout=30
    )
    assert answer.json()["id"].startswith(f"{ends.instance_url}/id/{ends.org_id}")


def test_collections_answer_as_recorded(box: Box) -> None:
    """The recorded requests themselves are taken (with our ids), and the answers have their shape."""
    body = records_of("cci_collections_create_opportunity")
    for record in body["records"]:
        del record["ContactId"]
    created = box.call("POST", "composite/sobjects", body)
    assert created.status_code == 200
    assert same_shape(created.json(), recorded("cci_collections_create_opportunity")["response"]["body"])

    body = records_of("cci_collections_update_account")
    ids = [box.create("Account", Name=f"Account {n}") for n in range(len(body["records"]))]
    for record, record_id in zip(body["records"], ids, strict=True):
        record["Id"] = record_id
    updated = box.call("PATCH", "composite/sobjects", body)
    assert same_shape(updated.json(), recorded("cci_collections_update_account")["response"]["body"])
    assert [result["id"] for result in updated.json()] == ids
    assert (
        box.call("GET", f"sobjects/Account/{ids[0]}?fields=NumberOfEmployees").json()["NumberOfEmployees"]
        == 10000
    )

    body = records_of("cci_collections_upsert_account_by_Id_null_creates")
    upserted = box.call("PATCH", "composite/sobjects/Account/Id", body)
    assert same_shape(
        upserted.json(), recorded("cci_collections_upsert_account_by_Id_null_creates")["response"]["body"]
    )

    body = records_of("cci_collections_upsert_contact_by_email_mixed")
    for record in body["records"][:3]:
        box.create("Contact", LastName="Old", Email=record["Email"].lower())
    upserted = box.call("PATCH", "composite/sobjects/Contact/Email", body)
    real = recorded("cci_collections_upsert_contact_by_email_mixed")["response"]["body"]
    assert [result["created"] for result in upserted.json()] == [result["created"] for result in real]
    assert same_shape(upserted.json(), real)


def test_queries_answer_as_recorded(box: Box) -> None:
    """The recorded query of 42 fields runs as it is, and its records have the recorded names and types."""
    real = recorded("cci_query_accounts_full")
    path = real["request"]["uri"].split("vxx.0/")[1]
    answer = box.call("GET", path).json()
    assert list(answer) == list(real["response"]["body"])
    assert list(answer["records"][0]) == list(real["response"]["body"]["records"][0])
    assert all(same_shape(each, real["response"]["body"]["records"][0]) for each in answer["records"])
    count = recorded("cci_query_aggregate_count")
    answer = box.call("GET", count["request"]["uri"].split("vxx.0/")[1]).json()
    assert same_shape(answer, count["response"]["body"])
    empty = box.call("GET", "query", params={"q": "SELECT Id FROM Account WHERE Id = '001Sm00000000zz'"})
    assert empty.json() == recorded("restforce_query_empty_response")
    counted = box.call("GET", "limits/recordCount?sObjects=Account")
    assert same_shape(counted.json(), recorded("cci_limits_recordCount")["response"]["body"])


def test_a_collection_is_one_transaction_with_a_result_for_each(box: Box) -> None:
    """allOrNone=false commits the good ones together; true undoes them and says so."""
    told: list[Any] = []
    box.org.add_listener(told.append)
    good, bad = (
        {"attributes": {"type": "Account"}, "Name": "Good"},
        {"attributes": {"type": "Account"}, "Name": ""},
    )
    headers = {"Sforce-Call-Options": "client=salmon"}
    box.call(
        "POST", "composite/sobjects", {"allOrNone": False, "records": [good, bad, good]}, headers=headers
    )
    [transaction] = told
    assert len(transaction.changes) == 2
    assert transaction.change_origin == "com/salesforce/api/rest/64.0", "the client's name is for rows only"
    answer = box.call("POST", "composite/sobjects", {"allOrNone": True, "records": [good, bad]}).json()
    assert [result["errors"][0]["statusCode"] for result in answer] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
    ]
    box.call("POST", "sobjects/Account", {"Name": "Row"}, headers=headers)
    assert len(told) == 2
    assert told[1].change_origin == "com/salesforce/api/rest/64.0;client=salmon"
    assert told[1].user_id == box.org.integration_user.user_id


def test_a_call_updates_a_record_again_twelve_times_and_no_more(box: Box) -> None:
    """All repetitions of the call count together; a setting allows fewer, to find who names a record twice."""
    one, two = box.create("Account", Name="One"), box.create("Account", Name="Two")

    def update(*ids: str) -> list[dict[str, Any]]:
        records = [
            {"attributes": {"type": "Account"}, "Id": each, "Phone": str(number)}
            for number, each in enumerate(ids)
        ]
        answer: list[dict[str, Any]] = box.call("PATCH", "composite/sobjects", {"records": records}).json()
        return answer

    results = update(*[one] * 8, *[two] * 7)
    assert [each["success"] for each in results] == [True] * 14 + [False]
    [error] = results[-1]["errors"]
    assert error["statusCode"] == "DUPLICATE_VALUE"
    assert error["message"] == (
        "Maximum number of duplicate updates in one batch (12 allowed). "
        f"Attempt to update Id more than once in this Api call: {two[:15]}"
    )
    assert (box.org.get("Account", two) or {})["Phone"] == "13"
    box.control("POST", "/settings", {"duplicate_updates_max": 0}).raise_for_status()
    try:
        assert [each["success"] for each in update(one, two, one)] == [True, True, False]
        assert [each["success"] for each in update(one, two)] == [True, True], "the next call counts anew"
    finally:
        box.control("DELETE", "/settings")


def test_an_upsert_by_id_takes_a_record_once(box: Box) -> None:
    """As one by an external id does."""
    record = {"attributes": {"type": "Account"}, "Id": box.create("Account", Name="Once"), "Phone": "1"}
    done, again = box.call("PATCH", "composite/sobjects/Account/Id", {"records": [record, record]}).json()
    assert done["success"]
    assert again["errors"][0]["statusCode"] == "DUPLICATE_VALUE"


def test_what_spoils_a_collection_as_a_whole(box: Box) -> None:
    """Too many records, an object that is not there, a value of the wrong type: a list of errors and nothing done."""
    before = len(box.org.table("Account").live)
    record = {"attributes": {"type": "Account"}, "Name": "A"}
    for records, code in (
        ([record] * 201, "EXCEEDED_ID_LIMIT"),
        ([record, {"attributes": {"type": "XYZZY"}}], "INVALID_TYPE"),
        ([record, {**record, "AnnualRevenue": "a lot"}], "JSON_PARSER_ERROR"),
        ([record, {**record, "Name": ["a", "list"]}], "JSON_PARSER_ERROR"),
    ):
        answer = box.call("POST", "composite/sobjects", {"allOrNone": False, "records": records})
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert len(box.org.table("Account").live) == before


def test_each_record_of_a_collection_fails_for_itself(box: Box) -> None:
    """Ids that are missing, malformed, unknown or deleted, and an external id that comes twice."""
    account, gone = box.create("Account", Name="A"), box.create("Account", Name="Gone")
    box.call("DELETE", f"sobjects/Account/{gone}")
    ids = [None, "001", "003Sm0000000001IAA", "001Sm00000000zzIAA"[:15], gone, account]
    records = [
        {"attributes": {"type": "Account"}, "Phone": "1"} | ({"Id": each} if each else {}) for each in ids
    ]
    results = box.call("PATCH", "composite/sobjects", {"records": records}).json()
    assert [result["success"] or result["errors"][0]["statusCode"] for result in results] == [
        "MISSING_ARGUMENT",
        "MALFORMED_ID",
        "MALFORMED_ID",
        "INVALID_CROSS_REFERENCE_KEY",
        "ENTITY_IS_DELETED",
        True,
    ]
    twice = [{"attributes": {"type": "Account"}, "Name": "T", "Salmon_Id__c": "twice"}] * 2
    results = box.call("PATCH", "composite/sobjects/Account/Salmon_Id__c", {"records": twice}).json()
    assert [result["success"] for result in results] == [True, False]
    assert results[1]["errors"][0]["message"] == "Duplicate external id specified: twice"
    deleted = box.call("DELETE", f"composite/sobjects?ids={account},{gone}&allOrNone=false").json()
    assert [result["success"] for result in deleted] == [True, False]


def test_upsert_by_external_id_row_by_row(box: Box) -> None:
    """201, 200, 204 in old versions, 300 with the URLs of all that match, 404; any character may be in the value."""
    path = "sobjects/Account/Salmon_Id__c/a%2Fb%20%C3%BC"
    created = box.call("PATCH", path, {"Name": "One"})
    assert (created.status_code, created.json()["created"]) == (201, True)
    updated = box.call("PATCH", path, {"Name": "Two"})
    assert updated.json() == {"id": created.json()["id"], "success": True, "errors": [], "created": False}
    assert box.call("GET", path).json()["Salmon_Id__c"] == "a/b ü"
    assert box.call("PATCH", f"/services/data/v45.0/{path}", {"Name": "Three"}).status_code == 204
    assert (
        box.call("PATCH", "sobjects/Account/Salmon_Id__c/new?updateOnly=true", {"Name": "N"}).status_code
        == 404
    )
    repeated = box.call("PATCH", path, {"Name": "N", "Salmon_Id__c": "x"}).json()
    assert repeated[0]["message"] == "The Salmon_Id__c field should not be specified in the sobject data."
    for _ in range(2):
        box.create("Contact", LastName="Twin", Email="twin@acme.example")
    several = box.call("PATCH", "sobjects/Contact/Email/twin@acme.example", {"LastName": "T"})
    assert several.status_code == 300
    assert same_shape(several.json(), recorded("restforce_upsert_multiple_error_response"))
    assert len(several.json()) == 2
    unknown = box.call("GET", "sobjects/Account/rid/5").json()
    assert unknown == recorded("restforce_delete_error_response")


def test_every_answer_carries_the_orgs_date_and_the_allowance(box: Box) -> None:
    """The Date header is the org's clock, to the second: that is what snapshots go by."""
    box.control("POST", "/faults", {"fault": "clock_skew", "s": -7200})
    for path in ("query?q=SELECT+Id+FROM+Account", "nothing"):
        answer = box.call("GET", path)
        shown = box.control("GET", "/state").json()["now"]
        assert answer.headers["Date"].endswith(" GMT")
        assert answer.headers["Date"].split()[4][:5] == shown[11:16]
        assert answer.headers["Sforce-Limit-Info"].startswith("api-usage=")
    created = box.create("Account", Name="A")
    assert box.call("GET", f"sobjects/Account/{created}").json()["CreatedDate"][:16] == shown[:16]


def test_a_query_too_long_for_a_uri_is_refused(box: Box) -> None:
    """600 ids in a GET fit, 900 do not: 16,384 bytes of URI and headers."""
    statuses = []
    for count in (600, 900):
        ids = "','".join("001Sm0000000001" for _ in range(count))
        statuses.append(box.call("GET", f"query?q=SELECT+Id+FROM+Account+WHERE+Id+IN+('{ids}')").status_code)
    assert statuses == [200, 414]


def test_versions(box: Box) -> None:
    """The list needs no session; retired versions are gone, unknown ones not found; slashes at the end do no harm."""
    del box.http.headers["Authorization"]
    versions = box.call("GET", "/services/data/").json()
    assert same_shape(versions, recorded("restforce_services_data_success_response"))
    assert {"label": "Spring '26", "url": "/services/data/v66.0", "version": "66.0"} in versions
    assert versions[-1] == {"label": "Winter '27", "url": "/services/data/v68.0", "version": "68.0"}
    box.as_user("integration")
    assert box.call("GET", "/services/data/v31.0/sobjects/Account/describe/").status_code == 200
    assert box.call("GET", "/services/data/v68.0/sobjects/Account/describe/").status_code == 200
    who = box.call("GET", "").json()["identity"]
    assert "/v68.0/" in box.http.get(who, params={"version": "latest"}).json()["urls"]["query"]
    identity = box.http.get(who).json()
    assert identity["user_id"] == box.org.integration_user.user_id, "jsforce asks there who it is"
    assert box.call("GET", "/services/data/v30.0/sobjects").status_code == 410
    assert box.call("GET", "/services/data/v99.0/sobjects").status_code == 404
    assert box.call("GET", "").json()["query"] == "/services/data/v64.0/query"


def test_a_describe_is_only_sent_when_it_is_news(box: Box) -> None:
    """304 with nothing in it; the describe is the file, but for the URLs."""
    first = box.call("GET", "sobjects/Account/describe")
    again = box.call(
        "GET", "sobjects/Account/describe", headers={"If-Modified-Since": first.headers["Last-Modified"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    described = box.org.describe("Account")
    assert {**first.json(), "urls": None} == {**described, "urls": None}


def test_the_change_events_that_are_listed_are_described_too(box: Box) -> None:
    """With the fields of the object that an event carries, none of which can be written; they are no object with rows."""
    listed = box.call("GET", "sobjects").json()["sobjects"]
    [event] = [each for each in listed if each["name"] == "AccountChangeEvent"]
    described = box.call("GET", event["urls"]["describe"]).json()
    assert {key: described[key] for key in event} == event
    names = [field["name"] for field in described["fields"]]
    assert names[:4] == ["Id", "ReplayId", "ChangeEventHeader", "Name"]
    assert {"BillingAddress", "BillingCity", "OwnerId", "LastModifiedDate"} <= set(names)
    assert not {"IsDeleted", "SystemModstamp", "LastViewedDate", "PhotoUrl"} & set(names)
    assert not any(field["createable"] or field["updateable"] for field in described["fields"])
    shown = box.call("GET", "sobjects/accountchangeevent").json()
    assert (shown["objectDescribe"], shown["recentItems"]) == (event, [])
    assert box.call("POST", "sobjects/AccountChangeEvent", {"Name": "A"}).status_code == 404
    box.control("POST", "/faults", {"fault": "hide", "object": "Account", "fields": ["Fax"]})
    seen = box.call("GET", event["urls"]["describe"]).json()
    assert "Fax" not in [field["name"] for field in seen["fields"]]


def test_bodies_travel_in_gzip_both_ways(box: Box) -> None:
    """Compressed requests are understood, answers are compressed for whoever takes it."""
    body = gzip.compress(json.dumps({"Name": "Packed"}).encode())
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert box.call("POST", "sobjects/Account", data=body, headers=headers).status_code == 201
    packed = box.call("GET", "sobjects/Account/describe", headers={"Accept-Encoding": "gzip"}, stream=True)
    assert packed.headers["Content-Encoding"] == "gzip"
    plain = box.call("GET", "sobjects/Account/describe", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.json() == packed.json()


def test_a_fault_of_calls_with_a_text_strikes_packed_ones_too(box: Box) -> None:
    """It is the call's content that counts; one that does not unpack is refused as without a fault."""
    fault = {"fault": "http", "api": "rest", "status": 503, "containing": "Struck", "times": 1}
    box.control("POST", "/faults", fault).raise_for_status()
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for body, status in ((b"Struck", 400), (b'{"Name": "Spared"}', 201), (b'{"Name": "Struck"}', 503)):
        data = body if status == 400 else gzip.compress(body)
        assert box.call("POST", "sobjects/Account", data=data, headers=headers).status_code == status
    box.control("DELETE", "/faults").raise_for_status()


def test_a_write_may_be_made_to_depend_on_nobody_having_been_there_since(box: Box) -> None:
    """If-Unmodified-Since: 412 when the row is newer."""
    account = box.create("Account", Name="A")
    stale, fresh = "Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    path = f"sobjects/Account/{account}"
    assert box.call("PATCH", path, {"Phone": "1"}, headers={"If-Unmodified-Since": stale}).status_code == 412
    assert box.call("PATCH", path, {"Phone": "1"}, headers={"If-Unmodified-Since": fresh}).status_code == 204


def test_a_session_that_is_over_is_answered_as_recorded(box: Box) -> None:
    """Revoked, timed out or made up: always the same 401."""
    box.control("POST", "/faults", {"fault": "revoke_sessions"})
    answer = box.call("GET", "limits")
    assert (answer.status_code, answer.json()) == (401, recorded("restforce_expired_session_response"))
    box.as_user("person")
    assert box.call("GET", "limits").status_code == 200
    box.control("POST", "/clock", {"advance_s": 3 * 3600})
    assert box.call("GET", "limits").status_code == 401


def test_login_flows_and_their_refusals(box: Box) -> None:
    """Password and client credentials answer as recorded; every refusal has the shape of OAuth."""
    told, url = box.simulator.endpoints, f"{box.simulator.endpoints.login_url}/services/oauth2/token"
    form = {
        "grant_type": "password",
        "client_id": told.client_id,
        "client_secret": told.client_secret,
        "username": told.username,
        "password": told.password + told.security_token,
    }
    granted = box.http.post(url, form).json()
    real = recorded("restforce_auth_success_response")
    assert set(granted) == set(real) | {"token_type"}
    assert same_shape({key: granted[key] for key in real}, real)
    who = box.http.get(
        url.replace("token", "userinfo"), headers={"Authorization": f"Bearer {granted['access_token']}"}
    )
    assert who.json()["organization_id"] == box.org.org_id
    assert who.json()["preferred_username"] == told.username
    for change, status, error in (
        ({"password": told.password}, 400, "invalid_grant"),
        ({"client_id": "x"}, 400, "invalid_client_id"),
        ({"grant_type": "client_credentials", "client_secret": "x"}, 401, "invalid_client"),
        ({"grant_type": "magic"}, 400, "unsupported_grant_type"),
        (
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x.y.z"},
            400,
            "invalid_grant",
        ),
    ):
        refused = box.http.post(url, form | change)
        assert (refused.status_code, refused.json()["error"]) == (status, error)
        assert set(refused.json()) == {"error", "error_description"}


def test_edits_by_people_are_another_users(box: Box) -> None:
    """The second connected app gives the session of an ordinary user."""
    box.as_user("person")
    account = box.create("Account", Name="By hand")
    state = box.control("GET", "/state").json()
    shown = box.call("GET", f"sobjects/Account/{account}").json()
    assert shown["CreatedById"] == state["users"]["person"]["id"] != state["users"]["integration"]["id"]


def test_faults_strike_where_they_were_set(box: Box) -> None:
    """So often, at this api, with this code; then all is well again."""
    box.control("POST", "/faults", {"fault": "http", "api": "collections", "status": 503, "times": 2})
    body = {"records": [{"attributes": {"type": "Account"}, "Name": "A"}]}
    assert box.call("GET", "limits").status_code == 200
    assert [box.call("POST", "composite/sobjects", body).status_code for _ in range(3)] == [503, 503, 200]
    box.control(
        "POST",
        "/faults",
        {"fault": "http", "api": "rest", "status": 400, "error_code": "QUERY_TIMEOUT", "times": 1},
    )
    assert box.call("GET", "limits").json()[0]["errorCode"] == "QUERY_TIMEOUT"
    account = box.create("Account", Name="Locked")
    box.control("POST", "/faults", {"fault": "lock_rows", "object": "Account", "ids": [account], "s": 600})
    locked = box.call("PATCH", f"sobjects/Account/{account}", {"Phone": "1"})
    real = recorded("errors_real")["UNABLE_TO_LOCK_ROW"]
    assert locked.status_code == real["http_status"]
    assert same_shape(locked.json(), real["body"])
    box.control("POST", "/faults", {"fault": "exhaust_api"})
    exhausted = box.call("GET", "limits")
    assert (exhausted.status_code, exhausted.json()) == (
        403,
        recorded("errors_real")["REQUEST_LIMIT_EXCEEDED"]["body"],
    )
    box.control("DELETE", "/faults")
    assert box.call("PATCH", f"sobjects/Account/{account}", {"Phone": "1"}).status_code == 204


def test_the_control_api_says_what_is_there_and_what_is_wrong(box: Box) -> None:
    """State, calls, clock and triggers; a wrong request is a 400 that names the mend."""
    before = box.control("GET", "/calls").json()["api"]
    box.call("GET", "query?q=SELECT+Id+FROM+Account+LIMIT+1")
    box.create("Account", Name="A")
    after = box.control("GET", "/calls").json()
    assert after["api"]["query"] == before.get("query", 0) + 1
    assert after["api"]["rows"] == before.get("rows", 0) + 1
    assert after["api"]["total"] == before["total"] + 2
    assert after["events_delivered"] == 0
    trigger = {"object": "Account", "when": {"field": "Phone"}, "set": {"Phone": "{Phone|e164}"}}
    assert box.control("POST", "/triggers", trigger).status_code == 201
    state = box.control("GET", "/state").json()
    assert state["triggers"] == [trigger]
    assert state["objects"]["Account"]["records"] == len(box.org.table("Account").live)
    account = box.create("Account", Phone="(415) 555-0101", Name="A")
    assert box.call("GET", f"sobjects/Account/{account}").json()["Phone"] == "+14155550101"
    for path, body, word in (
        ("/faults", {"fault": "no_such"}, "lock_rows"),
        ("/faults", {}, "lock_rows"),
        ("/faults", {"fault": "clock_skew"}, "s must be a number"),
        ("/faults", {"fault": "latency", "api": "nothing", "ms": 5}, "collections"),
        ("/faults", {"fault": "http", "status": 200}, "400 to 599"),
        ("/faults", {"fault": "http", "containing": 5}, "must be text"),
        ("/faults", {"fault": "lock_rows", "object": "Account"}, "ids"),
        ("/faults", {"fault": "hide", "object": "Nothing"}, "Opportunity"),
        ("/faults", {"fault": "view_all", "object": "Nothing"}, "Opportunity"),
        ("/clock", {"advance_s": -1}, "advance_s"),
        ("/clock", [1], "advance_s"),
        ("/triggers", {"object": "Nothing"}, "Opportunity"),
    ):
        wrong = box.control("POST", path, body)
        assert wrong.status_code == 400
        assert word in wrong.json()["error"]


def test_event_faults_are_known_too(box: Box) -> None:
    """Every fault of the contract is taken: the event bus has registered its own."""
    assert {
        "latency", "http", "revoke_sessions", "lock_rows", "exhaust_api", "cut_streams", "silence", "repeat_events",
        "lose_events", "gap", "overflow", "expire_replay", "corrupt_replay", "cdc", "clock_skew", "hide",
    } <= box.org.faults.known  # fmt: skip
