"""Every REST call that simple-salesforce can make, a line each: unchanged, against the simulator."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from simple_salesforce import api, exceptions
from simple_salesforce import format as soql_format

from salmon.simulator.org.objects.describes import FIELD_DEFAULTS, PACKAGED
from salmon.simulator.server import Simulator
from support.orgs.boxes import trusting_session

Salesforce: Any = api.Salesforce  # its own types do not know that any attribute is an object of the org

MASTER = "012000000000000AAA"
BASE = "/services/data/v59.0"


def holder_of_files(name: str, prefix: str, *, needs_name: bool) -> dict[str, Any]:
    """A describe of Attachment or its like: an id, a name, a parent, and a file with its length."""

    def field(label: str, kind: str, **more: Any) -> dict[str, Any]:
        return {**FIELD_DEFAULTS, "name": label, "label": label, "type": kind, "custom": False, **more}

    fields = [
        field("Id", "id", createable=False, updateable=False, nillable=False, idLookup=True),
        field("Name", "string", length=255, nillable=not needs_name),
        field("Body", "base64", filterable=False),
        field("BodyLength", "int", createable=False, updateable=False),
        field("ParentId", "reference", referenceTo=["Account"], relationshipName="Parent"),
        field("SystemModstamp", "datetime", createable=False, updateable=False),
        field("IsDeleted", "boolean", createable=False, updateable=False, nillable=False),
    ]
    return {"name": name, "label": name, "keyPrefix": prefix, "fields": fields, "createable": True}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """An org with objects that hold files."""
    folder = tmp_path_factory.mktemp("describes")
    for path in PACKAGED.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    for name, prefix in (("Attachment", "00P"), ("Document", "015")):
        describe = holder_of_files(name, prefix, needs_name=name == "Attachment")
        (folder / f"{name}.json").write_text(json.dumps(describe))
    with Simulator.start(tmp_path_factory.mktemp("box"), describe_folder=folder) as running:
        yield running


@pytest.fixture(scope="module")
def salesforce(simulator: Simulator) -> Any:
    """A client; the org has two accounts and a contact."""
    client = Salesforce(
        session_id=simulator.org.sessions.open(simulator.org.integration_user),
        instance_url=simulator.endpoints.instance_url,
        session=trusting_session(simulator),
    )
    account = client.Account.create({"Name": "Acme", "Salmon_Id__c": "acme"})["id"]
    client.Account.create({"Name": "Bolt", "ParentId": account})
    client.Contact.create({"LastName": "Baker", "AccountId": account, "Email": "ada@acme.example"})
    client.account_id = account
    return client


def window() -> tuple[datetime, datetime]:
    return datetime.now(UTC) - timedelta(minutes=2), datetime.now(UTC) + timedelta(minutes=2)


# The call, and what must be true of its answer.
CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "describe": (lambda sf: sf.describe(), lambda got: got["encoding"] == "UTF-8"),
    "is_sandbox": (lambda sf: sf.is_sandbox(), lambda got: got is False),
    "limits": (lambda sf: sf.limits(), lambda got: got["DailyApiRequests"]["Max"] > 0),
    "query": (lambda sf: sf.query("SELECT Id FROM Account LIMIT 1"), lambda got: got["totalSize"] == 1),
    "query include_deleted": (
        lambda sf: sf.query("SELECT count() FROM Account", include_deleted=True),
        lambda got: got["totalSize"] >= 2,
    ),
    "query_all": (lambda sf: sf.query_all("SELECT Name FROM Contact"), lambda got: got["done"]),
    "query_all_iter": (
        lambda sf: list(sf.query_all_iter("SELECT Name FROM Contact")),
        lambda got: len(got) >= 1,
    ),
    "query children": (
        lambda sf: sf.query("SELECT Name, (SELECT LastName FROM Contacts) FROM Account WHERE Name = 'Acme'"),
        lambda got: got["records"][0]["Contacts"]["records"][0]["LastName"] == "Baker",
    ),
    "query parents": (
        lambda sf: sf.query("SELECT Account.Name, Owner.Name FROM Contact LIMIT 1"),
        lambda got: got["records"][0]["Owner"]["attributes"]["type"] == "User",
    ),
    "query aggregate": (
        lambda sf: sf.query(
            "SELECT AccountId, COUNT(Id) n FROM Contact GROUP BY AccountId HAVING COUNT(Id) > 0"
        ),
        lambda got: got["records"][0]["n"] == 1,
    ),
    "query semi-join": (
        lambda sf: sf.query("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact)"),
        lambda got: got["totalSize"] == 1,
    ),
    "format_soql": (
        lambda sf: sf.query(
            soql_format.format_soql("SELECT Id FROM Account WHERE Name IN {names}", names=["Acme", "O'B"])
        ),
        lambda got: got["totalSize"] == 1,
    ),
    "search": (
        lambda sf: sf.search("FIND {Acme} RETURNING Account(Id, Name)"),
        lambda got: got["searchRecords"][0]["Name"] == "Acme",
    ),
    "quick_search": (lambda sf: sf.quick_search("Baker"), lambda got: len(got["searchRecords"]) == 1),
    "oauth2": (lambda sf: sf.oauth2("userinfo"), lambda got: got["active"]),
    "restful": (lambda sf: sf.restful("sobjects"), lambda got: got["maxBatchSize"] == 200),
    "restful recent": (lambda sf: sf.restful("recent"), lambda got: got[0]["attributes"]),
    "restful recordCount": (
        lambda sf: sf.restful("limits/recordCount", params={"sObjects": "Account"}),
        lambda got: got["sObjects"][0]["count"] >= 2,
    ),
    "restful parameterizedSearch": (
        lambda sf: sf.restful(
            "parameterizedSearch", method="POST", json={"q": "Acme", "sobjects": [{"name": "Account"}]}
        ),
        lambda got: len(got["searchRecords"]) == 1,
    ),
    "restful collections create": (
        lambda sf: sf.restful(
            "composite/sobjects",
            method="POST",
            json={"records": [{"attributes": {"type": "Account"}, "Name": "C"}]},
        ),
        lambda got: got[0]["success"],
    ),
    "restful collections update": (
        lambda sf: sf.restful(
            "composite/sobjects",
            method="PATCH",
            json={"records": [{"attributes": {"type": "Account"}, "Id": sf.account_id, "Phone": "1"}]},
        ),
        lambda got: got[0]["success"],
    ),
    "restful collections upsert": (
        lambda sf: sf.restful(
            "composite/sobjects/Account/Salmon_Id__c",
            method="PATCH",
            json={"records": [{"attributes": {"type": "Account"}, "Salmon_Id__c": "acme", "Phone": "2"}]},
        ),
        lambda got: got[0]["created"] is False,
    ),
    "restful collections get": (
        lambda sf: sf.restful("composite/sobjects/Account", params={"ids": sf.account_id, "fields": "Name"}),
        lambda got: got[0]["Name"] == "Acme",
    ),
    "restful collections delete": (
        lambda sf: sf.restful(
            "composite/sobjects", method="DELETE", params={"ids": sf.Account.create({"Name": "D"})["id"]}
        ),
        lambda got: got[0]["success"],
    ),
    "restful composite": (
        lambda sf: sf.restful(
            "composite",
            method="POST",
            json={
                "allOrNone": True,
                "compositeRequest": [
                    {
                        "method": "POST",
                        "url": f"{BASE}/sobjects/Account",
                        "referenceId": "a",
                        "body": {"Name": "A"},
                    },
                    {"method": "GET", "url": f"{BASE}/sobjects/Account/@{{a.id}}", "referenceId": "b"},
                ],
            },
        ),
        lambda got: got["compositeResponse"][1]["body"]["Name"] == "A",
    ),
    "restful batch": (
        lambda sf: sf.restful(
            "composite/batch",
            method="POST",
            json={"batchRequests": [{"method": "GET", "url": "v59.0/limits"}]},
        ),
        lambda got: got["hasErrors"] is False,
    ),
    "restful tree": (
        lambda sf: sf.restful(
            "composite/tree/Account",
            method="POST",
            json={"records": [{"attributes": {"type": "Account", "referenceId": "r"}, "Name": "T"}]},
        ),
        lambda got: got["hasErrors"] is False,
    ),
    "restful graph": (
        lambda sf: sf.restful(
            "composite/graph",
            method="POST",
            json={
                "graphs": [
                    {
                        "graphId": "g",
                        "compositeRequest": [
                            {
                                "method": "POST",
                                "url": f"{BASE}/sobjects/Account",
                                "referenceId": "a",
                                "body": {"Name": "G"},
                            }
                        ],
                    }
                ]
            },
        ),
        lambda got: got["graphs"][0]["isSuccessful"],
    ),
    "X.metadata": (lambda sf: sf.Account.metadata(), lambda got: got["recentItems"]),
    "X.describe": (lambda sf: sf.Account.describe(), lambda got: got["name"] == "Account"),
    "X.describe_layout": (
        lambda sf: sf.Account.describe_layout(MASTER),
        lambda got: got["detailLayoutSections"],
    ),
    "X.get": (lambda sf: sf.Account.get(sf.account_id), lambda got: got["Name"] == "Acme"),
    "X.get_by_custom_id": (
        lambda sf: sf.Account.get_by_custom_id("Salmon_Id__c", "acme"),
        lambda got: got["Name"] == "Acme",
    ),
    "X.create": (lambda sf: sf.Account.create({"Name": "New"}), lambda got: got["success"]),
    "X.upsert creates": (
        lambda sf: sf.Account.upsert("Salmon_Id__c/new", {"Name": "N"}),
        lambda got: got == 201,
    ),
    "X.upsert updates": (
        lambda sf: sf.Account.upsert("Salmon_Id__c/acme", {"Phone": "3"}),
        lambda got: got == 200,
    ),
    "X.update": (lambda sf: sf.Account.update(sf.account_id, {"Phone": "4"}), lambda got: got == 204),
    "X.update raw": (
        lambda sf: sf.Account.update(sf.account_id, {"Phone": "5"}, raw_response=True),
        lambda got: got.status_code == 204,
    ),
    "X.delete": (
        lambda sf: sf.Account.delete(sf.Account.create({"Name": "D"})["id"]),
        lambda got: got == 204,
    ),
    "X.deleted": (lambda sf: sf.Account.deleted(*window()), lambda got: "deletedRecords" in got),
    "X.updated": (lambda sf: sf.Account.updated(*window()), lambda got: got["ids"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_simple_salesforce(salesforce: Any, name: str) -> None:
    """It is made, it is answered, and the answer is the right one."""
    call, right = CALLS[name]
    assert right(call(salesforce))


def test_query_more_by_either_name_of_the_next_page(salesforce: Any) -> None:
    """By the URL, and by the locator alone; a locator that is none is refused."""
    records = [{"attributes": {"type": "Contact"}, "LastName": f"N{n}"} for n in range(200)]
    salesforce.restful("composite/sobjects", method="POST", json={"records": records})
    text, headers = "SELECT Id FROM Contact", {"Sforce-Query-Options": "batchSize=200"}
    first = salesforce.query(text, headers=headers)
    by_url = salesforce.query_more(first["nextRecordsUrl"], identifier_is_url=True)
    by_name = salesforce.query_more(first["nextRecordsUrl"].rsplit("/", 1)[1])
    assert by_url["records"] == by_name["records"] != []
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="INVALID_QUERY_LOCATOR"):
        salesforce.query_more("01g000000000000AAA-200")


def test_files_go_up_and_come_down(salesforce: Any, tmp_path: Path) -> None:
    """upload_base64, get_base64 and update_base64: in a query the body is a URL, there it is the bytes."""
    file = tmp_path / "file.bin"
    file.write_bytes(b"\x00\x01 one")
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="REQUIRED_FIELD_MISSING"):
        salesforce.Attachment.upload_base64(str(file))  # it sends no name, which an attachment needs
    record_id = salesforce.Document.upload_base64(str(file)).json()["id"]
    assert salesforce.Document.get_base64(record_id) == file.read_bytes()
    body = {"Name": "f", "Body": base64.b64encode(file.read_bytes()).decode()}
    record_id = salesforce.Attachment.create(body)["id"]
    shown = salesforce.Attachment.get(record_id)
    assert shown["Body"] == f"{BASE}/sobjects/Attachment/{record_id}/Body"
    assert shown["BodyLength"] == 6
    assert salesforce.Attachment.get_base64(record_id) == file.read_bytes()
    file.write_bytes(b"two")
    assert salesforce.Attachment.update_base64(record_id, str(file)) == 204
    assert salesforce.Attachment.get_base64(record_id) == b"two"
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="JSON_PARSER_ERROR"):
        salesforce.Attachment.create({"Name": "f", "Body": "not base64!"})


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda sf: sf.Account.get("001000000000000AAA"), exceptions.SalesforceResourceNotFound),
        (lambda sf: sf.Account.create({}), exceptions.SalesforceMalformedRequest),
        (lambda sf: sf.Account.create({"Name": "x" * 256}), exceptions.SalesforceMalformedRequest),
        (lambda sf: sf.Nothing.create({"Name": "x"}), exceptions.SalesforceResourceNotFound),
        (lambda sf: sf.query("SELECT Nope FROM Account"), exceptions.SalesforceMalformedRequest),
        (
            lambda sf: sf.Contact.upsert("Email/twin@acme.example", {"LastName": "T"}),
            exceptions.SalesforceMoreThanOneRecord,
        ),
        (lambda sf: sf.search("FIND Acme"), exceptions.SalesforceMalformedRequest),
        (
            lambda sf: sf.Account.get(
                sf.account_id, headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
            ),
            exceptions.SalesforceGeneralError,
        ),
    ],
)
def test_refusals_reach_the_caller_as_the_right_exception(
    salesforce: Any, call: Callable[[Any], Any], kind: type[Exception]
) -> None:
    """simple-salesforce chooses the exception by the status."""
    if salesforce.query("SELECT count() FROM Contact WHERE Email = 'twin@acme.example'")["totalSize"] == 0:
        for _ in range(2):
            salesforce.Contact.create({"LastName": "Twin", "Email": "twin@acme.example"})
    with pytest.raises(kind):
        call(salesforce)


def test_a_new_password_signs_in_and_the_old_one_no_more(simulator: Simulator, salesforce: Any) -> None:
    """set_password, by the policy of the org; and one that the org makes."""
    org, ends = simulator.org, simulator.endpoints
    user = org.person
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="INVALID_NEW_PASSWORD"):
        salesforce.set_password(user.user_id, "short")
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="mix of letters and numbers"):
        salesforce.set_password(user.user_id, "onlyletters")
    assert salesforce.set_password(user.user_id, "New-Password-1") is None
    path = f"sobjects/User/{user.user_id}/password"
    assert salesforce.restful(path) == {"isExpired": False}

    def signs_in(password: str) -> bool:
        form = {
            "grant_type": "password",
            "client_id": ends.client_id,
            "client_secret": ends.client_secret,
            "username": user.username,
            "password": password + user.security_token,
        }
        session = trusting_session(simulator)
        return session.post(f"{ends.login_url}/services/oauth2/token", form).status_code == 200

    assert [signs_in(each) for each in (user.password, "New-Password-1")] == [False, True]
    made = salesforce.restful(path, method="DELETE")["NewPassword"]
    assert [signs_in(each) for each in ("New-Password-1", made)] == [False, True]
    other = Salesforce(
        session_id=org.sessions.open(user),
        instance_url=ends.instance_url,
        session=trusting_session(simulator),
    )
    with pytest.raises(exceptions.SalesforceRefusedRequest, match="INSUFFICIENT_ACCESS"):
        other.set_password(org.integration_user.user_id, "Mine-now-1")
