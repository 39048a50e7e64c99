"""The search of the console, on a real mongod: by key, by Salesforce Id and by name, and without values that are masked."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from fastapi.testclient import TestClient

from support.at_hand.api_room import api_of
from support.at_hand.console_room import console_of

OID = ObjectId("64b000000000000000000001")
SF_ID = "001000000000001AAA"


@pytest.fixture
def client(database: Any) -> TestClient:
    """A console of accounts and contacts."""
    database["account"].insert_many(
        [
            {"_id": SF_ID, "Name": "Acme <Rome>"},
            {"_id": OID, "Name": "acme.* Oslo"},
            {"_id": 7, "Name": "Globex"},
            *({"_id": f"many-{number}", "Name": f"Many {number}"} for number in range(30)),
        ]
    )
    database["contact"].insert_one({"_id": "c1", "LastName": "Ada of Acme"})
    return console_of(api_of("Account", "Contact", database=database))[0]


@pytest.mark.parametrize("text", [SF_ID, SF_ID[:15]], ids=["18 characters", "15 characters"])
def test_a_salesforce_id_finds_its_record(client: TestClient, text: str) -> None:
    """Of 15 or 18 characters."""
    answer = client.get("/console/records", params={"q": text})
    assert f"/console/records/Account/{SF_ID}" in (answer.headers.get("location") or answer.text)


@pytest.mark.parametrize(("text", "key"), [(str(OID), f"$oid:{OID}"), ("7", "$int:7")])
def test_an_id_of_mongodb_is_found_without_its_type(client: TestClient, text: str, key: str) -> None:
    """As a person copies it from a tool."""
    page = client.get("/console/records", params={"q": text}).text
    assert f">{key}</a>" in page


def test_a_part_of_the_name_finds_records_of_all_objects(client: TestClient) -> None:
    """In any case of letters; what is typed is text, and no pattern; and a name is shown as text."""
    page = client.get("/console/records", params={"q": "ACME"}).text
    assert "Acme &lt;Rome&gt;" in page
    assert "acme.* Oslo" in page
    assert "Ada of Acme" in page
    assert "Globex" not in page
    assert "Acme &lt;Rome&gt;" not in client.get("/console/records", params={"q": "acme.*"}).text
    assert "Ada" not in client.get("/console/records", params={"q": "acme", "object": "Account"}).text


def test_a_search_that_finds_much_shows_some_and_says_so(client: TestClient) -> None:
    """The first twenty."""
    page = client.get("/console/records", params={"q": "many"}).text
    assert page.count(">many-") == 20
    assert "These are the first 20." in page


def test_what_is_not_in_mongodb_may_be_looked_up_all_the_same(client: TestClient) -> None:
    """A record that was deleted has its history in Kafka."""
    page = client.get("/console/records", params={"q": "gone/1 &"}).text
    assert "No record in MongoDB has this key, Id or name." in page
    assert "/console/records/Account/gone%2F1%20%26" in page


def test_a_masked_name_is_neither_searched_nor_shown(database: Any) -> None:
    """Or a viewer could find out letter by letter what it is."""
    database["account"].insert_one({"_id": "a1", "Name": "Secret"})
    masks = {"Account": {"transforms": [{"mask": {"fields": ["Name"]}, "to": "salesforce"}]}}
    client, _ = console_of(api_of("Account", database=database, objects=masks))
    assert "a1" not in client.get("/console/records", params={"q": "Secr"}).text
    assert "Secret" not in client.get("/console/records", params={"q": "a"}).text


def test_the_objects_are_counted(client: TestClient) -> None:
    """By MongoDB's own estimate."""
    page = client.get("/console/objects").text
    assert '<td class="number">33</td>' in page
