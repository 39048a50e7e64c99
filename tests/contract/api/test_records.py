"""The CRUD API over a real mongod: what is written is an application's edit, and what is read is what is there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from fastapi.testclient import TestClient

from salmon.api.keys import hash_of
from salmon.api.records.idempotency import COLLECTION
from salmon.api.records.showing import key_shown
from salmon.mongodb.wire.client import CODEC
from support.at_hand.api_room import Serve

CAR = {
    "Name": "Herbie",
    "Doors__c": 2,
    "Built__c": "1963-05-01",
    "Colours__c": ["Blue", "Red"],
    "Price__c": 9.5,
}
SALMON = {"seq": Int64(7), "salesforce_id": "a01000000000001AAA"}


def pages(client: TestClient, path: str) -> Iterator[list[dict[str, Any]]]:
    """All pages, by the Link headers."""
    following: str | None = path
    while following:
        answer = client.get(following)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        following = answer.links.get("next", {}).get("url")


# Creating


def test_a_created_record_is_a_document_without_a_marker(client: TestClient, cars: Any) -> None:
    """mongodb-source must take it for an application's; with our marker it would be an echo."""
    answer = client.post("/api/v1/Car__c", json=CAR)
    assert answer.status_code == 201
    record = answer.json()
    document = cars.find_one()
    assert document == {
        "_id": ObjectId(record["_key"].removeprefix("$oid:")),
        "Name": "Herbie",
        "Doors__c": 2,
        "Price__c": 9.5,
        "Built__c": datetime(1963, 5, 1, tzinfo=UTC),
        "Colours__c": ["Blue", "Red"],
    }
    assert record["_sync"] == {"state": "on_its_way"}
    assert {name: record[name] for name in CAR} == CAR
    assert client.get(answer.headers["location"]).json() == record


def test_a_document_has_the_form_of_the_flow(serve: Serve, cars: Any) -> None:
    """Renamed paths, constants and other types; the API speaks in Salesforce's names all the same."""
    steps = [{"constant": {"kind": "car"}}]
    fields = {"rename": {"Doors__c": "body.doors"}, "computed": {"Title": "Name + '!'"}}
    client = serve(objects={"Car__c": {"fields": fields, "transforms": steps, "numbers": "decimal"}})
    answer = client.post("/api/v1/Car__c", json={"Name": "A", "Doors__c": 3})
    assert answer.status_code == 201, answer.text
    document = cars.find_one()
    assert (document["body"], document["kind"]) == ({"doors": 3}, "car")
    key = quote(answer.json()["_key"])
    cars.update_one({}, {"$set": {"body.own": "stays"}})
    assert client.patch(f"/api/v1/Car__c/{key}", json={"Doors__c": 5}).json()["Doors__c"] == 5
    assert cars.find_one()["body"] == {"doors": 5, "own": "stays"}
    assert client.patch(f"/api/v1/Car__c/{key}", json={"Doors__c": None}).json()["Doors__c"] is None
    assert cars.find_one()["body"] == {"own": "stays"}


def test_nothing_is_written_of_what_does_not_fit(client: TestClient, cars: Any) -> None:
    """The answer names each field, and MongoDB has seen nothing."""
    answer = client.post("/api/v1/Car__c", json={**CAR, "Make__c": "Trabant", "Doors__c": "two"})
    assert answer.status_code == 422
    assert {fault["field"]: fault["code"] for fault in answer.json()["errors"]} == {
        "Make__c": "not-in-picklist",
        "Doors__c": "wrong-type",
    }
    assert cars.count_documents({}) == 0


def test_a_reference_must_exist_and_may_be_given_as_an_id(client: TestClient, cars: Any) -> None:
    """It is stored as the target's _id in its own type, so that $lookup works."""
    target = ObjectId()
    cars.insert_one({"_id": target, "Name": "Truck", "_salmon": SALMON})
    for said in (f"$oid:{target}", "a01000000000001AAA", "a01000000000001"):
        answer = client.post("/api/v1/Car__c", json={"Name": "T", "Pulled_By__c": said})
        assert answer.status_code == 201, answer.text
        assert answer.json()["Pulled_By__c"] == f"$oid:{target}"
    assert {each["Pulled_By__c"] for each in cars.find({"Name": "T"})} == {target}
    wrong = client.post("/api/v1/Car__c", json={"Name": "T", "Pulled_By__c": f"$oid:{ObjectId()}"})
    assert (wrong.status_code, wrong.json()["errors"][0]["code"]) == (422, "no-such-record")
    user = client.post("/api/v1/Car__c", json={"Name": "T", "OwnerId": "somebody"})
    assert (user.status_code, user.json()["errors"][0]["code"]) == (422, "not-an-id")


def test_several_are_created_with_a_result_for_each(client: TestClient, cars: Any) -> None:
    """One that is wrong does not keep the others back."""
    answer = client.post("/api/v1/Car__c", json=[{"Name": "A"}, {"Doors__c": 1}, {"Name": "C"}])
    assert answer.status_code == 207
    assert [each["status"] for each in answer.json()] == [201, 422, 201]
    assert sorted(each["Name"] for each in cars.find()) == ["A", "C"]


def test_too_many_at_once_are_refused(serve: Serve, cars: Any) -> None:
    """As a whole: api.bulk_max."""
    client = serve(bulk_max=2)
    assert client.post("/api/v1/Car__c", json=[{"Name": "A"}] * 3).status_code == 400
    assert client.post("/api/v1/Car__c", json=[]).status_code == 400
    assert cars.count_documents({}) == 0


# Idempotency-Key


def test_a_repeated_post_creates_nothing_twice(client: TestClient, cars: Any) -> None:
    """The second answer is the first one."""
    headers = {"Idempotency-Key": "order-1"}
    first = client.post("/api/v1/Car__c", json=CAR, headers=headers)
    again = client.post("/api/v1/Car__c", json=CAR, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert cars.count_documents({}) == 1
    other = client.post("/api/v1/Car__c", json={"Name": "Other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_a_post_whose_process_was_killed_creates_nothing_twice(
    client: TestClient, cars: Any, database: Any
) -> None:
    """The record is there, but the answer was never noted."""
    headers = {"Idempotency-Key": "order-1"}
    first = client.post("/api/v1/Car__c", json=CAR, headers=headers)
    database[COLLECTION].update_one({}, {"$unset": {"status": "", "headers": "", "body": ""}})
    assert client.post("/api/v1/Car__c", json=CAR, headers=headers).status_code == 409, (
        "perhaps it still runs"
    )
    database[COLLECTION].update_one({}, {"$set": {"at": datetime(2020, 1, 1, tzinfo=UTC)}})
    again = client.post("/api/v1/Car__c", json=CAR, headers=headers)
    assert (again.status_code, again.json()["_key"]) == (201, first.json()["_key"])
    assert cars.count_documents({}) == 1


def test_answers_are_forgotten_in_time(client: TestClient, database: Any) -> None:
    """By MongoDB itself: a TTL index."""
    assert client.get("/api/v1").status_code == 200
    assert database[COLLECTION].index_information()["kept"]["expireAfterSeconds"] == 3600


# Reading


def test_every_record_is_on_exactly_one_page_whatever_its_key_is(client: TestClient, cars: Any) -> None:
    """Born in Salesforce (text) and in MongoDB (ObjectId, numbers), sorted by a field that some have not."""
    ids = [
        ObjectId(),
        "a01000000000001AAA",
        5,
        Int64(2**40),
        2.5,
        datetime(2026, 1, 1, tzinfo=UTC),
        "z",
        Decimal128("0.1"),
    ]
    for number, each in enumerate(ids * 3):
        document_id = each if number < len(ids) else ObjectId()
        cars.insert_one({"_id": document_id, **({"Doors__c": number % 4} if number % 5 else {})})
    whole = cars.count_documents({})
    for order in ("", "Doors__c", "Doors__c.desc", "Doors__c.desc,_key.desc", "Name,Doors__c", "_key.desc"):
        found = [r["_key"] for page in pages(client, f"/api/v1/Car__c?limit=3&order={order}") for r in page]
        assert len(found) == len(set(found)) == whole, order
        sort = [
            (part.split(".")[0].replace("_key", "_id"), -1 if "desc" in part else 1)
            for part in order.split(",")
            if part
        ]
        if "_id" not in dict(sort):
            sort.append(("_id", 1))
        assert found == [
            key_shown(d["_id"]) for d in cars.with_options(codec_options=CODEC).find(sort=sort)
        ], order


def test_a_page_is_filtered_sorted_and_selected(client: TestClient, cars: Any) -> None:
    """The words of PostgREST."""
    for number in range(10):
        cars.insert_one({"_id": f"k{number}", "Name": f"Car {number}", "Doors__c": number, "Make__c": "Audi"})
    answer = client.get(
        "/api/v1/Car__c?Doors__c=gte.3&or=(Name.eq.Car 5,Name.like.Car 8*)&Make__c=in.(Audi,Fiat)&order=Name.desc&select=Name",
        headers={"Prefer": "count=exact"},
    )
    assert [set(each) for each in answer.json()] == [{"_key", "Name", "_sync"}] * 2
    assert [each["Name"] for each in answer.json()] == ["Car 8", "Car 5"]
    assert answer.headers["content-range"] == "items */2"
    estimated = client.get("/api/v1/Car__c?limit=1", headers={"Prefer": "count=estimated"})
    assert estimated.headers["content-range"] == "items */10"


def test_lookups_and_children_are_embedded(client: TestClient, cars: Any) -> None:
    """By $lookup, as deep as the configuration allows."""
    truck, trailer = ObjectId(), ObjectId()
    cars.insert_many(
        [{"_id": truck, "Name": "Truck"}, {"_id": trailer, "Name": "Trailer", "Pulled_By__c": truck}]
    )
    (found,) = client.get(
        "/api/v1/Car__c?Name=eq.Trailer&select=Name,Pulled_By__r(Name,Trailers__r(Name))"
    ).json()
    assert found["Pulled_By__r"]["Name"] == "Truck"
    assert [each["Name"] for each in found["Pulled_By__r"]["Trailers__r"]] == ["Trailer"]
    one = client.get(f"/api/v1/Car__c/$oid:{truck}?select=Name,Pulled_By__r(Name),Trailers__r(Name)").json()
    assert (one["Pulled_By__r"], len(one["Trailers__r"])) == (None, 1)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("select=Nmae", "unknown-field"),
        ("select=Pulled_By__r(Pulled_By__r(Pulled_By__r(Name)))", "too-deep"),
        ("select=Owner(Name)", "unknown-relationship"),
        ("select=Pulled_By__r(Name", "not-understood"),
        ("select=" + ",".join(["Pulled_By__r(Name)"] * 11), "too-many"),
        ("order=Nmae", "unknown-field"),
        ("order=Name.up", "unknown-word"),
        ("order=Colours__c", "not-sortable"),
        ("limit=0", "out-of-range"),
        ("limit=1001", "out-of-range"),
        ("limit=x", "out-of-range"),
        ("cursor=abc", "not-a-cursor"),
        ("Nmae=eq.a", "unknown-field"),
        ("$where=eq.1", "unknown-field"),
    ],
)
def test_a_query_that_cannot_be_is_refused_by_name(client: TestClient, query: str, code: str) -> None:
    """With a problem document (RFC 9457)."""
    answer = client.get(f"/api/v1/Car__c?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_cursor_of_another_order_is_refused(client: TestClient, cars: Any) -> None:
    """It would begin anywhere."""
    cars.insert_many([{"_id": f"k{n}", "Name": "A"} for n in range(3)])
    link = client.get("/api/v1/Car__c?limit=1&order=Name").links["next"]["url"]
    assert client.get(link.replace("order=Name", "order=Doors__c")).json()["code"] == "not-a-cursor"


def test_a_record_is_found_by_its_key_and_by_both_forms_of_its_id(client: TestClient, cars: Any) -> None:
    """15 characters, as people copy them, and 18."""
    target = ObjectId()
    cars.insert_one({"_id": target, "Name": "A", "_salmon": SALMON})
    for key in (f"$oid:{target}", "a01000000000001AAA", "a01000000000001"):
        assert client.get(f"/api/v1/Car__c/{key}").json()["Id"] == "a01000000000001AAA"
    assert client.get("/api/v1/Car__c/a01000000000002AAA").status_code == 404
    assert client.get("/api/v1/Car__c/$oid:xyz").status_code == 400


def test_a_refusal_is_shown_with_the_record(client: TestClient, cars: Any) -> None:
    """What merge noted in the document."""
    cars.insert_one({"_id": "a", "Name": "A", "_salmon": {**SALMON, "error": "STRING_TOO_LONG: Name"}})
    assert client.get("/api/v1/Car__c/a").json()["_sync"] == {
        "state": "refused",
        "reason": "STRING_TOO_LONG: Name",
        "seq": 7,
    }


# Changing


def test_an_edit_sets_clears_and_leaves_the_rest(client: TestClient, cars: Any) -> None:
    """Also what is the application's own, and the marker."""
    cars.insert_one({"_id": "a", "Name": "A", "Notes__c": "x", "Doors__c": 3, "own": 1, "_salmon": SALMON})
    answer = client.patch("/api/v1/Car__c/a", json={"Name": "B", "Notes__c": None})
    assert (answer.status_code, answer.json()["Name"], answer.json()["Notes__c"]) == (200, "B", None)
    assert cars.find_one() == {"_id": "a", "Name": "B", "Doors__c": 3, "own": 1, "_salmon": SALMON}


def test_a_replacement_clears_what_is_not_given(client: TestClient, cars: Any) -> None:
    """Of the fields that may be set; and one that does not exist is created with the key of the address."""
    cars.insert_one({"_id": "a", "Name": "A", "Notes__c": "x", "Number__c": "7", "own": 1})
    assert client.put("/api/v1/Car__c/a", json={"Name": "B"}).status_code == 200
    assert cars.find_one() == {"_id": "a", "Name": "B", "Number__c": "7", "own": 1}
    assert client.put("/api/v1/Car__c/a", json={}).status_code == 422
    created = client.put("/api/v1/Car__c/mine-1", json={"Name": "C"})
    assert (created.status_code, created.json()["_key"]) == (201, "mine-1")
    once = client.put("/api/v1/Car__c/mine-1", json={"Name": "D"}, headers={"If-None-Match": "*"})
    assert once.status_code == 412


def test_of_two_who_read_the_same_only_one_may_write(client: TestClient, cars: Any) -> None:
    """If-Match: the other gets 412, and nothing of theirs is written, however close the two are."""
    cars.insert_one({"_id": "a", "Name": "A", "Doors__c": 0})
    etag = client.get("/api/v1/Car__c/a").headers["etag"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: client.patch("/api/v1/Car__c/a", json={"Doors__c": n}, headers={"If-Match": etag}),
                range(1, 9),
            )
        )
    assert sorted(each.status_code for each in answers) == [200] + [412] * 7
    (winner,) = [each.json() for each in answers if each.status_code == 200]
    assert cars.find_one()["Doors__c"] == winner["Doors__c"]
    stale = client.delete("/api/v1/Car__c/a", headers={"If-Match": etag})
    assert stale.status_code == 412
    assert client.delete("/api/v1/Car__c/a", headers={"If-Match": "*"}).status_code == 204


def test_an_unchanged_record_is_not_sent_again(client: TestClient, cars: Any) -> None:
    """If-None-Match, and the ETag changes with each edit and with each write of Salmon's."""
    cars.insert_one({"_id": "a", "Name": "A", "_salmon": SALMON})
    etag = client.get("/api/v1/Car__c/a").headers["etag"]
    assert client.get("/api/v1/Car__c/a", headers={"If-None-Match": etag}).status_code == 304
    cars.update_one({}, {"$set": {"_salmon.seq": Int64(8)}})
    second = client.get("/api/v1/Car__c/a").headers["etag"]
    cars.update_one({}, {"$set": {"Name": "B"}})
    third = client.get("/api/v1/Car__c/a").headers["etag"]
    assert len({etag, second, third}) == 3


def test_several_are_changed_with_a_result_for_each(client: TestClient, cars: Any) -> None:
    """Each named by its key or Id."""
    cars.insert_many([{"_id": "a", "Name": "A"}, {"_id": "b", "Name": "B", "_salmon": SALMON}])
    answer = client.patch(
        "/api/v1/Car__c",
        json=[
            {"_key": "a", "Name": "A2"},
            {"Id": SALMON["salesforce_id"], "Name": "B2"},
            {"_key": "c"},
            {"Name": "x"},
            5,
        ],
    )
    assert [each["status"] for each in answer.json()] == [200, 200, 404, 422, 422]
    assert sorted(each["Name"] for each in cars.find()) == ["A2", "B2"]


def test_a_delete_deletes_once(client: TestClient, cars: Any) -> None:
    """The second finds nothing."""
    cars.insert_one({"_id": "a"})
    assert client.delete("/api/v1/Car__c/a").status_code == 204
    assert client.delete("/api/v1/Car__c/a").status_code == 404


def test_what_is_in_the_way_of_a_path_is_a_problem(serve: Serve, cars: Any) -> None:
    """An application made text of the sub-document."""
    client = serve(objects={"Car__c": {"fields": {"rename": {"Doors__c": "body.doors"}}}})
    cars.insert_one({"_id": "a", "Name": "A", "body": "text"})
    answer = client.patch("/api/v1/Car__c/a", json={"Doors__c": 5})
    assert (answer.status_code, answer.json()["code"]) == (409, "in-the-way")
    assert client.get("/api/v1/Car__c/a").json()["_sync"]["unfit"] == ["Doors__c"]


# What is not allowed


def test_a_one_way_object_is_read_only(serve: Serve, cars: Any) -> None:
    """What is edited in MongoDB is never read there, so it would never reach Salesforce."""
    client = serve(objects={"Car__c": {"direction": "to_mongodb"}})
    cars.insert_one({"_id": "a", "Name": "A"})
    assert client.get("/api/v1/Car__c/a").status_code == 200
    assert client.post("/api/v1/Car__c", json={"Name": "B"}).status_code == 405
    assert client.patch("/api/v1/Car__c/a", json={"Name": "B"}).status_code == 405


def test_a_masked_field_is_shown_as_it_is_masked_and_cannot_be_set(serve: Serve, cars: Any) -> None:
    """MongoDB has the mask and not the value; and a history, which has both, needs an operator."""
    mask = [{"mask": {"fields": ["Notes__c"]}}]
    key = "salmon_test"
    keys = {"app": {"hash": hash_of(key), "scopes": ["*:*"]}}
    client = serve(objects={"Car__c": {"transforms": mask}}, keys=keys)
    headers = {"X-API-Key": key}
    refused = client.post("/api/v1/Car__c", json={"Name": "A", "Notes__c": "secret"}, headers=headers)
    assert refused.json()["errors"][0]["reason"] == "cannot be set when a record is created (masked)"
    cars.insert_one({"_id": "a", "Notes__c": "***"})
    assert client.get("/api/v1/Car__c/a", headers=headers).json()["Notes__c"] == "***"
    assert client.get("/api/v1/Car__c/a/history", headers=headers).status_code == 403


def test_an_embedded_object_needs_its_own_scope(serve: Serve) -> None:
    """Otherwise a lookup would be a way around the scopes."""
    key = "salmon_test"
    keys = {"app": {"hash": hash_of(key), "scopes": ["Contact:read"]}}
    client = serve("Account", "Contact", keys=keys)
    answer = client.get("/api/v1/Contact?select=LastName,Account(Name)", headers={"X-API-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    names = [each["name"] for each in client.get("/api/v1", headers={"X-API-Key": key}).json()["objects"]]
    assert names == ["Contact"]


def test_a_put_that_creates_needs_the_right_to_create(serve: Serve, cars: Any) -> None:
    """And one that replaces, the right to update."""
    key = "salmon_test"
    client = serve(keys={"app": {"hash": hash_of(key), "scopes": ["Car__c:update"]}})
    headers = {"X-API-Key": key}
    assert client.put("/api/v1/Car__c/new", json={"Name": "A"}, headers=headers).status_code == 403
    assert cars.count_documents({}) == 0
    cars.insert_one({"_id": "old"})
    replaced = client.put("/api/v1/Car__c/old", json={"Name": "A"}, headers=headers)
    assert replaced.status_code == 204, "and is not shown what it may not read"


def test_a_giant_body_is_refused_as_it_comes_in(serve: Serve, cars: Any) -> None:
    """By its announced length, and without one."""
    client = serve(body_bytes_max=1_000)
    body = b'{"Name": "' + b"x" * 5_000 + b'"}'

    def piecemeal() -> Iterator[bytes]:
        for start in range(0, len(body), 100):
            yield body[start : start + 100]

    headers = {"Content-Type": "application/json"}
    assert client.post("/api/v1/Car__c", content=body, headers=headers).status_code == 413
    assert client.post("/api/v1/Car__c", content=piecemeal(), headers=headers).status_code == 413
    assert cars.count_documents({}) == 0


def test_without_kafka_reading_and_writing_go_on_and_a_history_is_refused(
    client: TestClient, cars: Any
) -> None:
    """The replica is MongoDB's; only waiting for Salesforce ends by its bound."""
    cars.insert_one({"_id": "a", "Name": "A", "_salmon": SALMON})
    waited = client.patch(
        "/api/v1/Car__c/a", json={"Name": "B"}, headers={"Prefer": "wait=synced; timeout=0"}
    )
    assert waited.status_code == 202
    assert waited.json()["_sync"]["state"] == "on_its_way"
    same = client.patch("/api/v1/Car__c/a", json={"Name": "B"}, headers={"Prefer": "return=minimal"})
    assert same.status_code == 204


def test_a_write_is_one_line_of_the_audit_without_values(
    client: TestClient, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who, what, which record and which fields."""
    client.post("/api/v1/Car__c", json={"Name": "Verysecret"})
    written = capsys.readouterr().out + caplog.text
    assert "api_write" in written
    assert "caller=local" in written.replace("'", "")
    assert "Verysecret" not in written
