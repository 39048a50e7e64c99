"""What filters mean for MongoDB: values go through the mapping of the documents, and none is ever an operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from bson.objectid import ObjectId
from hypothesis import given, strategies

from salmon.api.problems import Problem
from salmon.api.records.filters import OPERATORS, filters_of
from salmon.api.records.matching import query_of
from support.at_hand.api_room import api_of

PATHS = {"fields": {"rename": {"Doors__c": "body.doors"}}}
OF = api_of("Car__c", objects={"Car__c": PATHS}).objects["Car__c"]


def query(*parameters: tuple[str, str]) -> dict[str, Any]:
    return query_of(filters_of(parameters), OF)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Name", "eq.Acme", {"Name": {"$in": ["Acme"]}}),
        ("Name", "eq.$ne", {"Name": {"$in": ["$ne"]}}),
        ("Doors__c", "gte.3", {"body.doors": {"$gte": 3}}),
        ("Price__c", "lt.2.5", {"Price__c": {"$lt": 2.5}}),
        ("Built__c", "gt.2026-11-25", {"Built__c": {"$gt": datetime(2026, 11, 25, tzinfo=UTC)}}),
        ("Electric__c", "is.true", {"Electric__c": {"$eq": True}}),
        ("Electric__c", "eq.false", {"Electric__c": {"$in": [False]}}),
        ("Notes__c", "is.null", {"Notes__c": {"$eq": None}}),
        ("Notes__c", "not.is.null", {"Notes__c": {"$ne": None}}),
        ("Name", "neq.a", {"Name": {"$nin": ["a", None]}}),
        ("Name", "not.eq.a", {"$and": [{"Name": {"$ne": None}}, {"$nor": [{"Name": {"$in": ["a"]}}]}]}),
        ("Colours__c", "cs.(Red,Blue)", {"Colours__c": {"$all": ["Red", "Blue"]}}),
        ("Colours__c", "eq.Red", {"Colours__c": {"$in": ["Red"]}}),
        (
            "Pulled_By__c",
            "eq.$oid:65f000000000000000000001",
            {"Pulled_By__c": {"$in": [ObjectId("65f000000000000000000001")]}},
        ),
        (
            "Id",
            "eq.a01000000000001",
            {
                "$or": [
                    {"_id": "a01000000000001AAA"},
                    {"_salmon.salesforce_id": "a01000000000001AAA"},
                    {"_id": "a01000000000001"},
                ]
            },
        ),
    ],
)
def test_a_condition_is_a_query(name: str, text: str, expected: Mapping[str, Any]) -> None:
    """Of the field's path, with a value of the field's type."""
    assert query((name, text)) == expected


def test_a_pattern_is_escaped_and_anchored() -> None:
    """Only * and % are wildcards: what else a regular expression knows is text."""
    (expression,) = query(("Name", "ilike.a.c*(x)%")).values()
    assert expression.pattern == r"^a\.c.*\(x\).*$"
    assert expression.try_compile().match("A.C!(X)y")
    assert not expression.try_compile().match("abc(x)")


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("Nmae", "eq.a", "unknown-field"),
        ("$where", "eq.1", "unknown-field"),
        ("_salmon.seq", "eq.1", "unknown-field"),
        ("body.doors", "eq.1", "unknown-field"),
        ("Doors__c", "eq.three", "wrong-type"),
        ("Doors__c", "eq.99999999999", "wrong-type"),
        ("Doors__c", "eq." + "9" * 5000, "wrong-type"),
        ("Price__c", "eq.NaN", "wrong-type"),
        ("Built__c", "eq.yesterday", "wrong-type"),
        ("Electric__c", "gt.true", "not-comparable"),
        ("Electric__c", "is.unknown", "unknown-word"),
        ("Name", "is.true", "unknown-word"),
        ("Name", "eq.", "empty"),
        ("Name", "cs.(a)", "not-a-list"),
        ("Doors__c", "like.1*", "not-text"),
        ("Name", "like." + "*a" * 10, "pattern-too-long"),
        ("Name", "like." + "a" * 500, "pattern-too-long"),
        ("Name", "like.a\x00", "not-printable"),
        ("Id", "gt.a", "not-comparable"),
        ("_key", "eq.$oid:x", "not-a-key"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, text: str, code: str) -> None:
    """With the field, and without the value."""
    with pytest.raises(Problem) as refused:
        query((name, text))
    assert (refused.value.status, refused.value.code) == (400, code)


def test_a_misspelt_field_gets_a_hint() -> None:
    """As everywhere in Salmon."""
    with pytest.raises(Problem, match="did you mean Name"):
        query(("Nmae", "eq.a"))


ALLOWED = {"$and", "$or", "$nor", "$in", "$nin", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$all"}


def keys_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from keys_in(below)


@given(
    name=strategies.sampled_from([*OF.schema.by_name, "Id", "_key", "$where", "$expr"]),
    operator=strategies.sampled_from(OPERATORS),
    text=strategies.text(max_size=40)
    | strategies.sampled_from(["$where", '{"$gt": ""}', "$oid:65f000000000000000000001", "1", "true"]),
)
def test_no_text_becomes_an_operator(name: str, operator: str, text: str) -> None:
    """Every key of a query is a path of the mapping, or one of the few operators that we write ourselves."""
    wrapped = f'("{text}")' if operator in {"in", "cs"} else text
    paths = {*OF.shape.path.values(), "_id", "_salmon.salesforce_id"}
    with suppress(Problem):
        assert set(keys_in(query((name, f"{operator}.{wrapped}")))) <= ALLOWED | paths
