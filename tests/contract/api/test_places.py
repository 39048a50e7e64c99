"""An object with several collections, on a real mongod: one object for those who use the API."""

from __future__ import annotations

from typing import Any, Final

import pytest
from fastapi.testclient import TestClient

from salmon.api.records.idempotency import COLLECTION
from support.at_hand.api_room import Serve

CAR: Final = "/api/v1/Car__c"
BY_MAKE: Final = {
    "Car__c": {
        "collection": None,
        "collections": [
            {"collection": "fiats", "filter": 'Make__c == "Fiat"'},
            {"collection": "audis", "filter": 'Make__c == "Audi"'},
            {"collection": "named", "filter": 'Name != "nowhere"'},
        ],
    }
}
PLACES: Final = ("fiats", "audis", "named")


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve(objects=BY_MAKE)


def where(database: Any, document_id: Any) -> list[str]:
    """The collections that have a document with this `_id`."""
    return [name for name in PLACES if database[name].find_one({"_id": document_id}) is not None]


def fill(database: Any) -> None:
    """Nine cars, in turn in the three collections; Name rises with the key, Doors__c does not."""
    for number in range(9):
        document = {"_id": f"k{number}", "Name": f"car {number}", "Doors__c": number % 4}
        database[PLACES[number % 3]].insert_one(document)


@pytest.mark.parametrize("order", ["Name", "Name.desc", "Doors__c,Name", "Doors__c.desc"])
def test_pages_go_through_all_collections_in_one_order(client: TestClient, database: Any, order: str) -> None:
    """Each record is on exactly one page, whichever collection it is in."""
    fill(database)
    shown: list[dict[str, Any]] = []
    address: str | None = f"{CAR}?order={order}&limit=2"
    while address is not None:
        page = client.get(address, headers={"Prefer": "count=exact"})
        assert page.headers["content-range"] == "items */9"
        shown += page.json()
        address = page.links["next"]["url"] if "next" in page.links else None
    whole = client.get(f"{CAR}?order={order}").json()
    assert [each["_key"] for each in shown] == [each["_key"] for each in whole]
    assert sorted(each["_key"] for each in shown) == [f"k{number}" for number in range(9)]
    field, _, word = order.split(",", maxsplit=1)[0].partition(".")
    values = [each[field] for each in shown]
    assert values == sorted(values, reverse=word == "desc")


def test_a_filter_and_one_record_find_it_wherever_it_is(client: TestClient, database: Any) -> None:
    """By its key, or by a value."""
    fill(database)
    assert [each["_key"] for each in client.get(f"{CAR}?Doors__c=eq.3").json()] == ["k3", "k7"]
    for number in range(3):
        assert client.get(f"{CAR}/k{number}").json()["Name"] == f"car {number}"
    assert client.get(f"{CAR}/k9").status_code == 404


def test_a_new_record_goes_into_the_collection_that_is_for_it(client: TestClient, database: Any) -> None:
    """One by one, and in a list with a result for each; one that no collection is for is refused."""
    key = client.put(f"{CAR}/a", json={"Name": "A", "Make__c": "Audi", "Electric__c": False}).json()["_key"]
    assert where(database, key) == ["audis"]
    cars = [
        {"Name": "B", "Make__c": "Fiat"},
        {"Name": "C"},
        {"Name": "nowhere"},
        {"Name": "D", "Make__c": "Audi"},
    ]
    results = client.post(CAR, json=cars).json()
    assert [each["status"] for each in results] == [201, 201, 422, 201]
    assert results[2]["problem"]["code"] == "no-collection"
    assert [database[name].count_documents({}) for name in PLACES] == [1, 2, 1]
    assert client.post(CAR, json={"Name": "nowhere"}).status_code == 422


def test_a_key_is_taken_whichever_collection_has_it(client: TestClient, database: Any) -> None:
    """Two documents with one _id would stop the sync of both."""
    headers = {"If-None-Match": "*"}
    body = {"Name": "A", "Make__c": "Audi", "Electric__c": False}
    assert client.put(f"{CAR}/a", json=body, headers=headers).status_code == 201
    assert client.put(f"{CAR}/a", json={**body, "Make__c": "Fiat"}, headers=headers).status_code == 412
    assert where(database, "a") == ["audis"]


def test_a_list_that_is_sent_twice_is_created_once_wherever_it_is_by_then(
    client: TestClient, database: Any
) -> None:
    """The process died before it kept its answer, and the record has moved to another collection since."""
    headers = {"Idempotency-Key": "once"}
    cars = [{"Name": "A", "Make__c": "Fiat", "Electric__c": False}]
    (created,) = client.post(CAR, json=cars, headers=headers).json()
    assert created["status"] == 201
    document = database["fiats"].find_one_and_delete({})
    database["audis"].insert_one(document)
    database[COLLECTION].update_many({}, {"$unset": {"status": 1}, "$set": {"released": True}})
    (again,) = client.post(CAR, json=cars, headers=headers).json()
    assert (again["status"], again["key"]) == (201, created["key"])
    assert where(database, document["_id"]) == ["audis"]


def test_an_edit_and_a_deletion_meet_the_record_where_it_is(client: TestClient, database: Any) -> None:
    """The sync moves it, if its values call for that; nothing is lost of what the application has there."""
    database["named"].insert_one({"_id": "k", "Name": "A", "own": 5})
    etag = client.get(f"{CAR}/k").headers["etag"]
    edited = client.patch(f"{CAR}/k", json={"Make__c": "Fiat"}, headers={"If-Match": etag})
    assert edited.status_code == 200, edited.text
    assert database["named"].find_one({"_id": "k"}) == {"_id": "k", "Name": "A", "Make__c": "Fiat", "own": 5}
    assert client.patch(f"{CAR}/k", json={"Name": "B"}, headers={"If-Match": etag}).status_code == 412
    assert client.delete(f"{CAR}/k").status_code == 204
    assert where(database, "k") == []
    assert client.delete(f"{CAR}/k").status_code == 404


def test_lookups_and_children_are_embedded_from_all_collections(client: TestClient, database: Any) -> None:
    """And a reference to a record of any of them may be set."""
    database["audis"].insert_one({"_id": "lorry", "Name": "Lorry"})
    for number, place in enumerate(PLACES):
        database[place].insert_one({"_id": f"t{number}", "Name": f"T{number}", "Pulled_By__c": "lorry"})
    lorry = client.get(f"{CAR}/lorry?select=Name,Trailers__r(Name)").json()
    assert [each["Name"] for each in lorry["Trailers__r"]] == ["T0", "T1", "T2"]
    pulled = client.get(f"{CAR}?select=Name,Pulled_By__r(Name)&Name=like.T*").json()
    assert [each["Pulled_By__r"] and each["Pulled_By__r"]["Name"] for each in pulled] == ["Lorry"] * 3
    assert client.patch(f"{CAR}/lorry", json={"Pulled_By__c": "t2"}).status_code == 200
    assert client.patch(f"{CAR}/lorry", json={"Pulled_By__c": "t9"}).status_code == 422
