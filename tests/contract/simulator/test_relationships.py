"""The simulator's ways along relationships: from a row to its parent and children, and deletions that they forbid."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.simulator.org.objects.describes import PACKAGED
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box
from support.orgs.orgs import DESCRIBES


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("describes")
    for path in [*PACKAGED.glob("*.json"), DESCRIBES / "Case.json"]:
        (folder / path.name).write_bytes(path.read_bytes())
    with Simulator.start(tmp_path_factory.mktemp("box"), describe_folder=folder) as running:
        yield running


def test_a_row_leads_to_its_parent_and_to_its_children(box: Box) -> None:
    """The parent is a row, children are the result of a query; both with the fields that were asked for."""
    account = box.create("Account", Name="Acme")
    contacts = [box.create("Contact", LastName=name, AccountId=account) for name in ("Ada", "Bob")]
    parent = box.call("GET", f"sobjects/Contact/{contacts[0]}/Account?fields=Name").json()
    assert (parent["Id"], parent["Name"], parent["attributes"]["type"]) == (account, "Acme", "Account")
    children = box.call("GET", f"sobjects/Account/{account}/Contacts?fields=LastName").json()
    assert (children["totalSize"], children["done"]) == (2, True)
    assert [set(record) for record in children["records"]] == [{"attributes", "Id", "LastName"}] * 2
    assert box.call("GET", f"sobjects/Contact/{contacts[0]}/Owner").json()["Username"]


def test_where_a_relationship_does_not_lead(box: Box) -> None:
    """No parent, no such name, no such row, a field that the other object has not, another method."""
    account = box.create("Account", Name="Alone")
    assert box.call("GET", f"sobjects/Account/{account}/Parent").json()[0]["errorCode"] == "NOT_FOUND"
    assert box.call("GET", f"sobjects/Account/{account}/Nothings").status_code == 404
    assert box.call("GET", "sobjects/Account/001000000009999AAA/Contacts").status_code == 404
    wrong = box.call("GET", f"sobjects/Account/{account}/Contacts?fields=Nope")
    assert wrong.json()[0]["errorCode"] == "INVALID_FIELD"
    assert box.call("DELETE", f"sobjects/Account/{account}/Contacts").status_code == 405


def test_a_record_that_others_need_is_not_deleted(box: Box) -> None:
    """DELETE_FAILED in an org's words; neither the record nor what would go with it is touched."""
    account = box.create("Account", Name="Acme")
    contact = box.create("Contact", FirstName="Josh", LastName="Davis", AccountId=account)
    case = box.create("Case", ContactId=contact, AccountId=account)
    number = box.call("GET", f"sobjects/Case/{case}").json()["CaseNumber"]
    refused = box.call("DELETE", f"sobjects/Contact/{contact}")
    assert refused.status_code == 400
    assert refused.json() == [
        {
            "message": "Your attempt to delete Josh Davis could not be completed because it is associated with the "
            f"following cases.: {number}\n",
            "errorCode": "DELETE_FAILED",
            "fields": [],
        }
    ]
    [result] = box.call("DELETE", f"composite/sobjects?ids={account}").json()
    assert result["errors"][0]["statusCode"] == "DELETE_FAILED"
    assert box.call("GET", f"sobjects/Contact/{contact}").status_code == 200
    assert box.call("DELETE", f"sobjects/Case/{case}").status_code == 204
    assert box.call("DELETE", f"sobjects/Account/{account}").status_code == 204


def test_a_query_of_too_many_parentheses_is_too_complicated(box: Box) -> None:
    """And not a failure of the server."""
    text = f"SELECT Id FROM Account WHERE {'(' * 2000}Name = 'x'{')' * 2000}"
    answer = box.call("GET", "query", params={"q": text})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "QUERY_TOO_COMPLICATED")


def test_many_children_come_page_by_page(box: Box) -> None:
    """With a locator of their own, which outlives the page of their parents."""
    account = box.create("Account", Name="Big")
    records = [
        {"attributes": {"type": "Contact"}, "LastName": f"N{n:03}", "AccountId": account} for n in range(200)
    ]
    for _ in range(2):
        box.call("POST", "composite/sobjects", {"records": records})
    text = f"SELECT Id, (SELECT LastName FROM Contacts ORDER BY LastName) FROM Account WHERE Id = '{account}'"
    headers = {"Sforce-Query-Options": "batchSize=200"}
    [found] = box.call("GET", "query", params={"q": text}, headers=headers).json()["records"]
    first = found["Contacts"]
    assert (first["totalSize"], first["done"], len(first["records"])) == (400, False, 200)
    second = box.call("GET", first["nextRecordsUrl"]).json()
    assert (second["totalSize"], second["done"], len(second["records"])) == (400, True, 200)
    assert second["records"][0]["LastName"] == "N100"


def test_a_collection_is_ordered_by_type(box: Box) -> None:
    """More than ten changes of type in one call are too many, in the words of an org."""
    account = {"attributes": {"type": "Account"}, "Name": "A"}
    contact = {"attributes": {"type": "Contact"}, "LastName": "C"}
    assert box.call("POST", "composite/sobjects", {"records": [account, contact] * 5}).status_code == 200
    refused = box.call("POST", "composite/sobjects", {"records": [account, contact] * 6})
    assert refused.status_code == 400
    assert refused.json()[0]["message"].startswith("Cannot have more than 10 chunks in a single operation.")


def test_what_is_undone_keeps_the_id_of_a_record_that_was_there(box: Box) -> None:
    """In an all-or-none update; a record that is not there any more has none."""
    account = box.create("Account", Name="A")
    good = {"attributes": {"type": "Account"}, "Id": account, "Phone": "1"}
    body = {"allOrNone": True, "records": [good, {**good, "Name": None}]}
    undone, refused = box.call("PATCH", "composite/sobjects", body).json()
    assert (undone["id"], undone["success"]) == (account, False)
    assert undone["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert "id" not in refused
    new = {"attributes": {"type": "Account"}, "Name": "N"}
    undone, _ = box.call(
        "POST", "composite/sobjects", {"allOrNone": True, "records": [new, {**new, "Name": None}]}
    ).json()
    assert "id" not in undone


def test_a_field_that_cannot_be_sorted(box: Box) -> None:
    """INVALID_FIELD with the place."""
    answer = box.call("GET", "query", params={"q": "SELECT Id FROM Account ORDER BY Description"})
    [error] = answer.json()
    assert error["errorCode"] == "INVALID_FIELD"
    assert "field 'Description' can not be sorted in a query call" in error["message"]
