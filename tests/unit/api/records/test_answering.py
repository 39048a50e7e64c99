"""What the routes of an object answer, and to whom, over one document in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Final

import pytest
from fastapi.testclient import TestClient
from pymongo.errors import DuplicateKeyError

from salmon.api import handle
from salmon.api.keys import hash_of
from salmon.api.records import routes
from salmon.api.records.answering import FAULTS_MAX
from salmon.api.records.idempotency import COLLECTION, Answer
from salmon.api.records.writing import Conditions, _as_read
from salmon.errors import Unavailable
from salmon.model.views import View
from salmon.story.present import Present
from salmon.story.reading import Story
from salmon.story.reporting import Entry
from support.at_hand.api_room import api_of, client_of

KEY: Final = "salmon_test"
HEADERS: Final = {"X-API-Key": KEY}
SECRET: Final = "not for every eye"
CAR: Final = "/api/v1/Car__c"


class Cars:
    """In place of the collection: one document, which every query finds."""

    def __init__(self) -> None:
        self.car: dict[str, Any] | None = {"_id": "a", "Name": "A", "Notes__c": SECRET}
        self.added: list[dict[str, Any]] = []

    def find_one(self, *_: Any, **__: Any) -> dict[str, Any] | None:
        return self.car

    def find_one_and_update(self, _: Any, update: Mapping[str, Any], **__: Any) -> dict[str, Any]:
        assert self.car is not None
        self.car.update(update.get("$set", {}))
        return self.car

    def insert_one(self, document: dict[str, Any]) -> None:
        self.added.append(document)

    def insert_many(self, documents: Sequence[dict[str, Any]], *, ordered: bool) -> None:
        assert not ordered
        self.added += documents


class Requests:
    """In place of the collection of answers: each key has had this answer."""

    def __init__(self) -> None:
        self.entry: dict[str, Any] = {}

    def insert_one(self, entry: dict[str, Any]) -> None:
        self.entry = {**entry, **self.entry}
        raise DuplicateKeyError("E11000")

    def find_one(self, _: Any) -> dict[str, Any]:
        return self.entry


class Kept(Requests):
    """Each key is new, and what is noted of its answer is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[Mapping[str, Any]] = []

    def insert_one(self, entry: dict[str, Any]) -> None:
        self.entry = entry

    def update_one(self, _: Any, update: Mapping[str, Any]) -> None:
        self.updates.append(update)


class Database(dict[str, Any]):
    """Of these collections."""

    def command(self, _: str) -> dict[str, Any]:
        return {}


@pytest.fixture
def cars() -> Cars:
    return Cars()


@pytest.fixture
def requests() -> Requests:
    return Requests()


def serve(cars: Cars, *scopes: str, requests: Requests | None = None, **more: Any) -> TestClient:
    """The API for a key with these scopes."""
    api = api_of(
        "Car__c",
        database=Database({"car__c": cars, COLLECTION: requests}),
        keys={"app": {"hash": hash_of(KEY), "scopes": list(scopes)}},
        **{"rate_burst": 1_000, **more},
    )
    return client_of(api, routes.router)


# Writing without reading


@pytest.mark.parametrize("verb", ["patch", "put"])
def test_a_key_that_may_only_write_reads_nothing_by_writing(cars: Cars, verb: str) -> None:
    """An empty PATCH would otherwise answer any record whose key is known, with its ETag, which is a print of it."""
    client = serve(cars, "Car__c:update")
    answer = client.request(verb, f"{CAR}/a", json={"Name": "B"} if verb == "put" else {}, headers=HEADERS)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "etag" not in answer.headers
    reader = serve(Cars(), "Car__c:update", "Car__c:read")
    assert reader.patch(f"{CAR}/a", json={}, headers=HEADERS).json()["Notes__c"] == SECRET


def test_a_list_of_edits_shows_no_record_either(cars: Cars) -> None:
    """Only what became of each, and its key."""
    answer = serve(cars, "Car__c:write").patch(CAR, json=[{"_key": "a"}], headers=HEADERS)
    assert answer.json() == [{"status": 200, "key": "a"}]


def test_what_is_created_is_not_shown_to_those_who_may_not_read(cars: Cars) -> None:
    """Salesforce's and MongoDB's own values would be in it, later in the answer that waits."""
    client = serve(cars, "Car__c:create")
    one = client.post(CAR, json={"Name": "B"}, headers=HEADERS)
    assert (one.status_code, one.content, "location" in one.headers) == (201, b"", True)
    several = client.post(CAR, json=[{"Name": "C"}], headers=HEADERS).json()
    assert [sorted(each) for each in several] == [["key", "status"]]


@pytest.mark.parametrize(
    ("status", "body"),
    [(201, f'{{"Notes__c": "{SECRET}"}}'), (207, f'[{{"status": 201, "key": "a", "record": "{SECRET}"}}]')],
)
def test_a_kept_answer_is_not_shown_to_those_who_may_no_longer_read(
    cars: Cars, requests: Requests, status: int, body: str
) -> None:
    """The key has lost its scope since."""
    kept = Answer(status, {"etag": '"1"', "content-type": "application/json"}, body.encode())
    requests.entry = {"status": kept.status, "headers": kept.headers, "body": kept.body}
    client = serve(cars, "Car__c:create", requests=requests)
    answer = client.post(CAR, json={}, headers={**HEADERS, "Idempotency-Key": "order-1"})
    assert (answer.status_code, answer.headers["idempotency-replayed"]) == (status, "true")
    assert SECRET not in answer.text
    assert "etag" not in answer.headers


def test_a_dependent_picklist_tells_no_value_to_a_key_that_may_not_read(cars: Cars) -> None:
    """What a car's model may be says which make it has. With a make of the request's own, nothing is told that it does not know."""
    assert cars.car is not None
    cars.car["Make__c"] = "Fiat"
    writer, reader = serve(cars, "Car__c:update"), serve(cars, "Car__c:update", "Car__c:read")
    told = reader.patch(f"{CAR}/a", json={"Model__c": "A4"}, headers=HEADERS).json()["errors"]
    assert told[0]["reason"] == "does not go with the value of Make__c; with that, it may be Panda, Estate"
    refused = writer.patch(f"{CAR}/a", json={"Model__c": "A4"}, headers=HEADERS)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "not-in-dependent-picklist")
    assert "Panda" not in refused.text
    assert "Fiat" not in refused.text
    own = writer.patch(f"{CAR}/a", json={"Make__c": "Fiat", "Model__c": "A4"}, headers=HEADERS)
    assert "Panda" in own.text


def test_a_controlling_field_that_is_masked_is_not_held_against_its_dependents(cars: Cars) -> None:
    """Its value is not what the org has: every edit of the other field would be refused."""
    assert cars.car is not None
    cars.car["Make__c"] = "***"
    masks = {"Car__c": {"transforms": [{"mask": {"fields": ["Make__c"]}, "to": "mongodb"}]}}
    client = serve(cars, "Car__c:update", objects=masks)
    assert client.patch(f"{CAR}/a", json={"Model__c": "A4"}, headers=HEADERS).status_code == 204


# Bounds of answers


def test_an_invalid_body_makes_no_giant_answer(cars: Cars) -> None:
    """Each unknown field of a few bytes was a fault of a hundred, told twice."""
    client = serve(cars, "Car__c:create")
    answer = client.post(CAR, json={f"x{n}": 1 for n in range(5_000)}, headers=HEADERS)
    assert answer.status_code == 422
    assert [each["code"] for each in answer.json()["errors"]] == ["too-many"]
    some = client.post(CAR, json={f"x{n}": 1 for n in range(60)}, headers=HEADERS).json()
    assert len(some["errors"]) == FAULTS_MAX + 1
    assert some["errors"][-1]["reason"] == "has 11 more faults", "one is that Name is missing"


def test_each_record_of_a_list_counts_as_a_request(cars: Cars) -> None:
    """Otherwise the limit would be 200 times as high for whoever writes lists. A list may be longer than what is allowed at once."""
    client = serve(cars, "Car__c:write", rate_per_s=0.001, rate_burst=10)
    six = [{"Name": "B"}] * 6
    assert client.post(CAR, json=six, headers=HEADERS).status_code == 207
    refused = client.post(CAR, json=six, headers=HEADERS)
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-requests")
    assert len(cars.added) == 6, "nothing of a list that is refused is written"
    assert client.patch(CAR, json=[{"_key": "a"}] * 3, headers=HEADERS).status_code == 207
    assert client.patch(CAR, json=[{"_key": "a"}] * 3, headers=HEADERS).status_code == 429
    fresh = serve(cars, "Car__c:write", rate_per_s=0.001, rate_burst=10)
    assert fresh.post(CAR, json=[{"Name": "B"}] * 50, headers=HEADERS).status_code == 207
    assert fresh.post(CAR, json={"Name": "B"}, headers=HEADERS).status_code == 429


def test_a_request_that_changed_nothing_leaves_no_answer_behind(cars: Cars) -> None:
    """Only what a repetition must not do again is kept."""
    requests = Kept()
    client = serve(cars, "Car__c:*", requests=requests)
    refused = client.post(CAR, json={"Doors__c": 1}, headers={**HEADERS, "Idempotency-Key": "1"})
    assert refused.status_code == 422
    assert requests.updates == [{"$set": {"released": True}}]
    created = client.post(CAR, json={"Name": "B"}, headers={**HEADERS, "Idempotency-Key": "2"})
    assert requests.updates[1]["$set"]["status"] == created.status_code == 201


# What says whether a record exists


@pytest.mark.parametrize("key_exists", [True, False])
def test_a_put_without_any_scope_learns_nothing_of_the_record(cars: Cars, key_exists: bool) -> None:
    """Not even by conditions: 412 would say that it is there, 403 that it is not."""
    cars.car = cars.car if key_exists else None
    client = serve(cars, "Car__c:read")
    answer = client.put(f"{CAR}/a", json={}, headers={**HEADERS, "If-None-Match": "*"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")


def test_masked_values_are_hidden_in_histories() -> None:
    """Of each side's masks, not only of MongoDB's."""
    mask = [{"mask": {"fields": ["Notes__c"]}}]
    api = api_of("Car__c", objects={"Car__c": {"transforms": mask}})
    assert "Notes__c" in api.objects["Car__c"].hidden


@pytest.mark.parametrize(
    ("wants", "role", "status"), [(False, "", 404), (True, "", 200), (False, "operator", 200)]
)
def test_a_history_shows_no_record_that_mongodb_is_not_to_have(
    cars: Cars, monkeypatch: pytest.MonkeyPatch, wants: bool, role: str, status: int
) -> None:
    """The filter keeps it out of MongoDB, so the API must not show it by another door; an operator may look."""
    asked: list[Any] = []

    def story_of(*_: Any, hidden: Any, **__: Any) -> Story:
        asked.append(hidden)
        sides = {"mongodb": {"filter": {"wants_it": wants}}}
        return Story("Car__c", "a", (Entry(0, "x", "edit", "y"),), Present(True, "", True, sides, None), True)

    view = View("digest", wants=lambda _: wants)
    lookup = SimpleNamespace(rules=lambda _: SimpleNamespace(views={"mongodb": view}))
    monkeypatch.setattr(routes, "story_of", story_of)
    monkeypatch.setattr(handle, "Lookup", lambda _: nullcontext(lookup))
    client = serve(cars, "Car__c:read", *([role] if role else []))
    assert client.get(f"{CAR}/a/history", headers=HEADERS).status_code == status
    assert asked == [frozenset()]


# Conditions, and what fails in the middle


def test_a_list_tells_what_was_done_before_a_server_was_away(
    cars: Cars, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 503 for the whole list, nobody would know which records were changed."""
    change, calls = cars.find_one_and_update, []

    def once(*of: Any, **more: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) > 1:
            raise Unavailable("MongoDB does not answer.")
        return change(*of, **more)

    monkeypatch.setattr(cars, "find_one_and_update", once)
    edits = [{"_key": "a", "Name": "B"}, {"_key": "a", "Name": "C"}]
    answer = serve(cars, "Car__c:*").patch(CAR, json=edits, headers=HEADERS)
    assert (answer.status_code, [each["status"] for each in answer.json()]) == (207, [200, 503])


def test_a_weak_etag_matches_nothing_in_if_match(cars: Cars) -> None:
    """RFC 9110: a proxy that has changed the body makes an ETag weak."""
    client = serve(cars, "Car__c:*")
    etag = client.get(f"{CAR}/a", headers=HEADERS).headers["etag"]
    weak = client.patch(f"{CAR}/a", json={"Name": "B"}, headers={**HEADERS, "If-Match": f"W/{etag}"})
    assert weak.status_code == 412
    strong = client.patch(f"{CAR}/a", json={"Name": "B"}, headers={**HEADERS, "If-Match": etag})
    assert strong.status_code == 200


def test_any_record_is_any_record_however_it_changes_meanwhile() -> None:
    """`If-Match: *` with what was read in the filter answered 404 to a record that is there."""
    of = api_of("Car__c").objects["Car__c"]
    assert _as_read(of, {"_id": "a", "Name": "A"}, Conditions(("*",))) == {"_id": "a"}


def test_the_description_names_each_parameter_once(cars: Cars) -> None:
    """The key, too, with what it may be."""
    client = serve(cars, *(f"Car__c:{verb}" for verb in ("read", "create", "update", "delete")))
    paths = client.get("/openapi.json", headers=HEADERS).json()["paths"]
    keyed = [
        operation
        for path, operations in paths.items()
        if "{key}" in path
        for operation in operations.values()
    ]
    assert len(keyed) == 5
    for operation in keyed:
        places = [(each["in"], each["name"]) for each in operation["parameters"]]
        assert places.count(("path", "key")) == 1
        assert len(set(places)) == len(places)
        key = next(each for each in operation["parameters"] if each["in"] == "path")
        assert (key["schema"]["minLength"], "15 or 18" in key["description"]) == (1, True)
