"""The simulator's validation rules, duplicate rules, record types, hierarchies, and state and country picklists."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salmon.simulator.org.objects.describes import PACKAGED
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box, recorded, same_shape


def with_state_and_country_codes(describe: dict[str, Any]) -> dict[str, Any]:
    """An Account of an org with state and country picklists: two countries, three states; Whitespace is Canadian."""

    def codes(name: str, values: list[tuple[str, str, bytes]]) -> dict[str, Any]:
        like = next(field for field in describe["fields"] if field["name"] == "BillingState")
        picklist = [
            {"active": True, "defaultValue": False, "label": label, "value": code}
            | ({"validFor": base64.b64encode(bits).decode()} if bits else {})
            for code, label, bits in values
        ]
        more = {"type": "picklist", "restrictedPicklist": True, "picklistValues": picklist, "length": 10}
        return {**like, "name": name, "label": name, **more}

    countries = codes("BillingCountryCode", [("US", "United States", b""), ("CA", "Canada", b"")])
    states = [("CA", "California", b"\x80"), ("NY", "New York", b"\x80"), ("BC", "British Columbia", b"\x40")]
    return {**describe, "fields": [*describe["fields"], codes("BillingStateCode", states), countries]}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("describes")
    for path in PACKAGED.glob("*.json"):
        describe = json.loads(path.read_text("utf-8"))
        if describe["name"] == "Account":
            describe = with_state_and_country_codes(describe)
            describe["recordTypeInfos"][0]["available"] = True
            closed = {
                **describe["recordTypeInfos"][0],
                "recordTypeId": "0128M0000004HVOQA2",
                "available": False,
            }
            describe["recordTypeInfos"].append(closed)
        (folder / path.name).write_text(json.dumps(describe))
    with Simulator.start(tmp_path_factory.mktemp("box"), describe_folder=Path(folder)) as running:
        yield running


@pytest.fixture
def box(simulator: Simulator) -> Iterator[Box]:
    box = Box(simulator)
    yield box
    box.control("DELETE", "/rules")


def rule(box: Box, **body: Any) -> None:
    assert box.control("POST", "/rules", body).status_code == 201


def test_a_validation_rule_refuses_with_the_administrators_words(box: Box) -> None:
    """All rules that fail are told, each with its field or none; on create and on update, and in collections."""
    rule(
        box,
        rule="validation",
        object="Contact",
        when="Phone = null",
        message="A phone is needed",
        field="phone",
    )
    rule(box, rule="validation", object="Contact", when="Account.Name LIKE 'A%'", message="Not of A")
    account = box.create("Account", Name="Acme")
    refused = box.call("POST", "sobjects/Contact", {"LastName": "L", "AccountId": account})
    assert refused.status_code == 400
    assert refused.json() == [
        {
            "message": "A phone is needed",
            "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "fields": ["Phone"],
        },
        {"message": "Not of A", "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "fields": []},
    ]
    contact = box.create("Contact", LastName="L", Phone="1")
    record = {"attributes": {"type": "Contact"}, "Id": contact, "Phone": None}
    [result] = box.call("PATCH", "composite/sobjects", {"records": [record]}).json()
    assert result["errors"] == [
        {
            "statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "message": "A phone is needed",
            "fields": ["Phone"],
        }
    ]
    box.control("DELETE", "/rules")
    assert box.call("PATCH", f"sobjects/Contact/{contact}", {"Phone": None}).status_code == 204


def test_a_duplicate_is_answered_as_recorded(box: Box) -> None:
    """With the records found, under the key that orgs misspell; who insists by the header may save it."""
    words = "You're creating a duplicate record. We recommend you use an existing record instead."
    rule(box, rule="duplicate", object="Contact", fields=["Email"], message=words)
    first = box.create("Contact", LastName="One", Email="same@acme.example")
    body = {"LastName": "Two", "Email": "SAME@acme.example"}
    refused = box.call("POST", "sobjects/Contact", body)
    real = recorded("errors_real")["DUPLICATES_DETECTED"]
    assert refused.status_code == real["http_status"]
    assert same_shape(refused.json(), real["body"])
    [mine], [theirs] = refused.json(), real["body"]
    assert {**mine, "duplicateResut": None} == {**theirs, "duplicateResut": None}
    match = mine["duplicateResut"]["matchResults"][0]
    assert (match["size"], match["matchRecords"][0]["record"]["Id"]) == (1, first)
    header = {"Sforce-Duplicate-Rule-Header": "allowSave=true; includeRecordDetails=true"}
    assert box.call("POST", "sobjects/Contact", body, headers=header).status_code == 201
    details = {"Sforce-Duplicate-Rule-Header": "includeRecordDetails=true"}
    again = box.call("POST", "sobjects/Contact", body, headers=details).json()[0]["duplicateResut"]
    assert [found["record"]["Email"].lower() for found in again["matchResults"][0]["matchRecords"]] == [
        "same@acme.example"
    ] * 2


def test_duplicates_in_collections_and_updates(box: Box) -> None:
    """A collection tells code and message; an update that touches none of the fields is not asked about."""
    rule(box, rule="duplicate", object="Account", fields=["Name", "Phone"], action="block")
    first = box.create("Account", Name="Dup", Phone="1")
    second = box.create("Account", Name="Dup", Phone="2")
    record = {"attributes": {"type": "Account"}, "Name": "Dup", "Phone": "1"}
    headers = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
    [result] = box.call("POST", "composite/sobjects", {"records": [record]}, headers=headers).json()
    assert result == {
        "success": False,
        "errors": [
            {"statusCode": "DUPLICATES_DETECTED", "message": "Use one of these records?", "fields": []}
        ],
    }, "a rule that blocks is not to be overruled"
    blocked = box.call("PATCH", f"sobjects/Account/{second}", {"Phone": "1"}).json()
    assert blocked[0]["duplicateResut"]["allowSave"] is False
    assert box.call("PATCH", f"sobjects/Account/{first}", {"Description": "same"}).status_code == 204
    assert box.call("POST", "sobjects/Account", {"Name": "Dup"}).status_code == 201, "a blank equals nothing"


def test_an_assignment_rule_gives_new_records_an_owner_unless_the_call_forbids_it(box: Box) -> None:
    """By rows and by collections; an update leaves the owner as it is."""
    owner = box.org.person.user_id
    rule(box, rule="assignment", object="Account", owner=owner)
    shown = box.control("GET", "/state").json()["rules"]
    assert shown == [{"object": "Account", "name": "Standard Account assignment"}]
    url, forbid = "sobjects/Account", {"Sforce-Auto-Assign": "FALSE"}
    assigned = box.call("POST", url, {"Name": "A"}).json()["id"]
    forbidden = box.call("POST", url, {"Name": "B"}, headers=forbid).json()["id"]
    records = {"records": [{"attributes": {"type": "Account"}, "Name": "C"}]}
    (many,) = box.call("POST", "composite/sobjects", records).json()

    def owner_of(record_id: str) -> str:
        return str(box.call("GET", f"{url}/{record_id}").json()["OwnerId"])

    owners = [owner_of(each) for each in (assigned, forbidden, many["id"])]
    assert (owners[0], owners[2]) == (owner, owner)
    assert owners[1] != owner
    box.call("PATCH", f"{url}/{forbidden}", {"Phone": "1"})
    assert owner_of(forbidden) == owners[1]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"rule": "magic"}, "validation, duplicate or assignment"),
        ({"rule": "validation", "object": "Nothing"}, "Opportunity"),
        ({"rule": "validation", "object": "Account", "when": "Name = 'x'"}, "message"),
        (
            {"rule": "validation", "object": "Account", "when": "Nope = 'x'", "message": "m"},
            "No such column 'Nope'",
        ),
        (
            {"rule": "validation", "object": "Account", "when": "Name = 'x' LIMIT 1", "message": "m"},
            "condition",
        ),
        ({"rule": "duplicate", "object": "Account", "fields": []}, "fields"),
        ({"rule": "duplicate", "object": "Account", "fields": ["Nope"]}, "no field 'Nope'"),
        ({"rule": "assignment", "object": "Account", "owner": "nobody"}, "the Id of a user"),
        ([1], "JSON object"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(box: Box, body: Any, word: str) -> None:
    """With what is wrong with it."""
    wrong = box.control("POST", "/rules", body)
    assert wrong.status_code == 400
    assert word in wrong.json()["error"]
    assert box.control("GET", "/state").json()["rules"] == []


def test_record_types_must_be_the_users(box: Box) -> None:
    """One of the object that the user may choose; others are refused as recorded."""
    household = "01254000001upcKAAQ"
    account = box.create("Account", Name="H", RecordTypeId=household[:15])
    assert box.call("GET", f"sobjects/Account/{account}").json()["RecordTypeId"] == household
    text = f"SELECT RecordType.DeveloperName FROM Account WHERE RecordType.SobjectType = 'Account' AND Id = '{account}'"
    [found] = box.call("GET", "query", params={"q": text}).json()["records"]
    assert found["RecordType"]["DeveloperName"] == "Household"
    refused = box.call("POST", "sobjects/Account", {"Name": "H", "RecordTypeId": "0128M0000004HVOQA2"})
    real = recorded("errors_real")["INVALID_CROSS_REFERENCE_KEY_record_type"]
    assert (refused.status_code, refused.json()) == (real["http_status"], real["body"])


def test_a_hierarchy_does_not_lead_back_to_where_it_began(box: Box) -> None:
    """Neither at once nor through others; a parent that is above already may be set again."""
    top = box.create("Account", Name="Top")
    middle = box.create("Account", Name="Middle", ParentId=top)
    leaf = box.create("Account", Name="Leaf", ParentId=middle)
    for record_id, parent, status in ((top, top, 400), (top, leaf, 400), (leaf, top, 204)):
        answer = box.call("PATCH", f"sobjects/Account/{record_id}", {"ParentId": parent})
        assert answer.status_code == status
        if status == 400:
            assert (answer.json()[0]["errorCode"], answer.json()[0]["fields"]) == (
                "CIRCULAR_DEPENDENCY",
                ["ParentId"],
            )


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ({"BillingCountryCode": "US", "BillingStateCode": "NY"}, ("United States", "US", "New York", "NY")),
        (
            {"BillingCountry": "canada", "BillingState": "British Columbia"},
            ("Canada", "CA", "British Columbia", "BC"),
        ),
        ({"BillingCountry": "Canada"}, ("Canada", "CA", None, None)),
        ({"BillingCountry": None}, (None, None, None, None)),
    ],
)
def test_codes_and_names_of_states_and_countries_go_together(
    box: Box, said: dict[str, Any], stored: tuple[str | None, ...]
) -> None:
    """Either is enough, and the other follows."""
    account = box.create("Account", Name="A", **said)
    shown = box.call("GET", f"sobjects/Account/{account}").json()
    names = ("BillingCountry", "BillingCountryCode", "BillingState", "BillingStateCode")
    assert tuple(shown[name] for name in names) == stored
    if stored[0]:
        assert shown["BillingAddress"]["countryCode"] == stored[1]


@pytest.mark.parametrize(
    ("said", "what", "field"),
    [
        ({"BillingCountry": "Atlantis"}, "There's a problem with this country", "BillingCountry"),
        ({"BillingCountryCode": "XX"}, "There's a problem with this country", "BillingCountryCode"),
        (
            {"BillingCountryCode": "US", "BillingState": "Nowhere"},
            "There's a problem with this state",
            "BillingState",
        ),
        (
            {"BillingCountryCode": "US", "BillingStateCode": "BC"},
            "There's a problem with this state",
            "BillingState",
        ),
        ({"BillingState": "New York"}, "must be specified before specifying a state", "BillingState"),
    ],
)
def test_a_state_or_country_that_is_none_is_refused(
    box: Box, said: dict[str, Any], what: str, field: str
) -> None:
    """FIELD_INTEGRITY_EXCEPTION in the org's words."""
    refused = box.call("POST", "sobjects/Account", {"Name": "A", **said})
    [error] = refused.json()
    assert (error["errorCode"], error["fields"]) == ("FIELD_INTEGRITY_EXCEPTION", [field])
    assert what in error["message"]
