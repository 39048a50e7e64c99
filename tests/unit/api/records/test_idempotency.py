"""Idempotency-Key: what a repetition creates and is answered, over a collection in memory."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError

from salmon.api.grants import caller
from salmon.api.problems import Problem
from salmon.api.records import idempotency
from salmon.api.records.idempotency import COLLECTION, Answer, Once
from support.at_hand.api_room import api_of

SHOP = caller("shop", ["Car__c:*"])


class Entries:
    """In place of the collection: knows what idempotency asks of it."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}

    def insert_one(self, entry: dict[str, Any]) -> None:
        if entry["_id"] in self.held:
            raise DuplicateKeyError("E11000")
        self.held[entry["_id"]] = dict(entry)

    def find_one(self, query: Mapping[str, Any]) -> dict[str, Any] | None:
        return self.held.get(query["_id"])

    def update_one(self, query: Mapping[str, Any], update: Mapping[str, Any]) -> Any:
        entry = self.held[query["_id"]]
        if "$or" in query:
            before = query["$or"][0]["at"]["$lt"]
            if "status" in entry or not (entry["at"] < before or entry.get("released")):
                return SimpleNamespace(modified_count=0)
        entry.update(update.get("$set", {}))
        for name in update.get("$unset", {}):
            entry.pop(name, None)
        return SimpleNamespace(modified_count=1)

    def delete_one(self, query: Mapping[str, Any]) -> None:
        self.held.pop(query["_id"], None)


@pytest.fixture
def entries() -> Entries:
    return Entries()


def begin(entries: Entries, body: bytes) -> Once | Answer:
    api = api_of("Car__c", database={COLLECTION: entries})
    return idempotency.begin(api, SHOP, "/api/v1/Car__c", "order-1", body)


def once(entries: Entries, body: bytes) -> Once:
    """A request that is to be carried out."""
    found = begin(entries, body)
    assert isinstance(found, Once)
    return found


def test_a_key_that_is_used_again_after_its_expiry_makes_another_record(entries: Entries) -> None:
    """With yesterday's `_id`, the record of yesterday would be the answer, and nothing would be written."""
    yesterday = once(entries, b'{"Name": "A"}').document_id(0)
    entries.held.clear()
    assert once(entries, b'{"Name": "B"}').document_id(0) != yesterday


def test_a_request_that_failed_after_its_write_writes_to_the_same_id_again(entries: Entries) -> None:
    """Otherwise the repetition, which comes at once, would create the record twice."""
    first = once(entries, b"{}")
    first.release()
    assert once(entries, b"{}").document_id(0) == first.document_id(0)
    with pytest.raises(Problem) as refused:
        begin(entries, b"{}")
    assert refused.value.code == "in-progress", "only one of two repetitions carries it out"


def test_a_giant_answer_is_kept_without_its_body(entries: Entries) -> None:
    """A few lists with keys of their own would otherwise fill the database; a repetition still creates nothing."""
    once(entries, b"{}").done(Answer(207, {"content-type": "application/json"}, b"x" * 300_000))
    assert begin(entries, b"{}") == Answer(207, {}, b"")
