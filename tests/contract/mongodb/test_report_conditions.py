"""A report's filter on a real mongod chooses the very documents that the expression language chooses, for random records and conditions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from bson.decimal128 import Decimal128
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from salmon.errors import ConfigError
from salmon.model.schema import schema_of_describe
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reports.conditions import condition_of
from salmon.mongodb.wire.client import CODEC
from salmon.transforms.expressions import condition
from support.at_hand.api_room import CAR

SHAPE: Final = DocumentShape(
    schema_of_describe(CAR), frozenset({"Car__c"}), {"Doors__c": "body.doors"}
).require_distinct()
DECIMALS: Final = DocumentShape(schema_of_describe(CAR, decimals=True), frozenset({"Car__c"}))

TEXTS: Final = st.sampled_from(["", "a", "A", "ab", "b", "Audi", "Fiat", "$Name", "é", "naïve", "x.y"])
EPOCH: Final = datetime(1999, 1, 1)  # noqa: DTZ001 - Hypothesis takes none with a time zone
DAYS: Final = st.datetimes(EPOCH, EPOCH.replace(year=2001)).map(
    lambda each: each.replace(microsecond=0, tzinfo=UTC)
)
MIDNIGHTS: Final = DAYS.map(lambda each: each.replace(hour=0, minute=0, second=0))
NUMBERS: Final = st.sampled_from([-1.5, 0.0, 0.1, 1.0, 2.0, 2.5, 1e18])
WHOLE: Final = st.sampled_from([-1, 0, 1, 2, 5])
# What an application may have written: a value of the wrong type is none.
MISFITS: Final = st.sampled_from(
    [None, "", "text", 7, True, [], ["Red", 1], {"a": 1}, float("nan"), float("inf")]
)


def documents() -> st.SearchStrategy[dict[str, Any]]:
    fields = {
        "Name": TEXTS,
        "Make__c": TEXTS,
        "Price__c": st.one_of(NUMBERS, WHOLE, st.sampled_from([Decimal128("0.5"), Decimal128("2")])),
        "Built__c": st.one_of(MIDNIGHTS, DAYS),
        "Seen__c": DAYS,
        "Electric__c": st.booleans(),
        "Colours__c": st.lists(st.sampled_from(["Red", "Blue"]), max_size=2),
        "Pulled_By__c": st.sampled_from(["a01000000000001AAA", "a01000000000002AAA"]),
        "OwnerId": st.sampled_from(["005000000000001AAA", "005000000000002AAA"]),
        "body": st.one_of(
            st.fixed_dictionaries({"doors": WHOLE}), st.sampled_from([{}, "x", [{"doors": 2}]])
        ),
    }
    # Not ints for texts: those are misfits of the other kinds alone.
    return st.fixed_dictionaries(
        {}, optional={name: st.one_of(each, each, MISFITS) for name, each in fields.items()}
    )


def _has_order(parts: tuple[str, str, str]) -> bool:
    """Null by itself is neither less nor more; the language refuses that."""
    return (parts[0], parts[2]) != ("null", "null") or parts[1] in {"==", "!="}


def atoms() -> st.SearchStrategy[str]:
    signs = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    texts = st.sampled_from(
        ["Name", "Make__c", '"a"', '"ab"', '"Audi"', '""', '"$Name"', "null", "coalesce(Name, Make__c)"]
    )
    numbers = st.sampled_from(
        [
            "Doors__c",
            "Price__c",
            "2",
            "-1",
            "0.1",
            "2.5",
            "null",
            "coalesce(Price__c, 1)",
            "size(Name)",
            "-Price__c",
        ]
    )
    days = st.sampled_from(
        ["Built__c", 'date("2000-01-01")', 'date("2000-06-30")', 'date("9999-12-31")', "null"]
    )
    moments = st.sampled_from(["Seen__c", 'timestamp("2000-01-01T12:00:00Z")', "null"])
    parts = st.sampled_from(["year(Built__c)", "month(Seen__c)", "day(Built__c)", "2000", "6", "Doors__c"])
    compared = [
        st.tuples(kind, signs, kind).filter(_has_order).map(" ".join)
        for kind in (texts, numbers, days, moments, parts)
    ]
    tests = st.tuples(
        st.sampled_from(["Name", "Make__c"]), st.sampled_from(["startsWith", "endsWith", "contains"]),
        st.sampled_from(['"a"', '""', '"ï"', "Name"]),
    ).map(lambda each: f"{each[0]}.{each[1]}({each[2]})")  # fmt: skip
    others = st.sampled_from([
        "Electric__c", "!Electric__c", "Electric__c == false", "Electric__c == null", "has(Price__c)", "has(Pulled_By__c)",
        "has(Colours__c)", '"Red" in Colours__c', 'Colours__c.contains("Blue")', 'Make__c in ["Audi", "Fiat"]', "Doors__c in [1, 2, null]",
        'Pulled_By__c == "a01000000000001AAA"', 'Pulled_By__c != "a01000000000001AAA"', "Pulled_By__c == null",
        'OwnerId == "005000000000001AAA"', 'OwnerId in ["005000000000001AAA"]', "Price__c in [0.1, 2]",
        '(Electric__c ? Name : Make__c) == "a"', 'Built__c in [date("2000-01-01")]', "true",
    ])  # fmt: skip
    return st.one_of(*compared, tests, others)


def conditions() -> st.SearchStrategy[str]:
    return st.recursive(
        atoms(),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda each: f"({' '.join(each)})"),
            inner.map(lambda each: f"!({each})"),
        ),
        max_leaves=4,
    )


def wanted(text: str, documents: Mapping[int, dict[str, Any]], shape: DocumentShape) -> set[int]:
    """Those of which the condition holds, by Salmon's own judgement of each record."""
    checked = condition(text, shape.schema)
    return {key for key, each in documents.items() if checked.holds(shape.reading(each).fields)}


@pytest.fixture
def cars(uri: str, request: pytest.FixtureRequest) -> Any:
    """A collection of this test's own."""
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    database = client.get_database("report_conditions", codec_options=CODEC)
    name = str(abs(hash(request.node.name)))
    yield database[name]
    database.drop_collection(name)
    client.close()


@given(
    held=st.lists(documents(), min_size=1, max_size=8), texts=st.lists(conditions(), min_size=1, max_size=5)
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mongodb_chooses_the_same_documents(cars: Any, held: list[dict[str, Any]], texts: list[str]) -> None:
    """Whatever the documents hold, misfits among it, and however the condition is put together; with an index, too."""
    cars.delete_many({})
    stored = dict(enumerate(held))
    cars.insert_many({"_id": key, **each} for key, each in stored.items())
    seen = {each.pop("_id"): each for each in cars.find()}
    for text in texts:
        made = condition_of(text, SHAPE)
        found = {each["_id"] for each in cars.find(made.query, {"_id": 1})}
        assert found == wanted(text, seen, SHAPE), (text, made.query)


PRICES: Final = st.one_of(
    st.decimals(-10, 10, places=2).map(Decimal128),
    st.sampled_from([0.1, 0.5, 2, 0.30000000000000004, "0.1", None]),
)


@given(
    held=st.lists(PRICES, min_size=1, max_size=8),
    sign=st.sampled_from(["==", "!=", "<", ">="]),
    number=st.sampled_from(["0.1", "2", "0.3", "-1"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_decimals_are_compared_exactly(cars: Any, held: list[Any], sign: str, number: str) -> None:
    """Also where an application has written a double: 0.1 is 0.1."""
    cars.delete_many({})
    cars.insert_many({"_id": key, "Price__c": each} for key, each in enumerate(held))
    seen = {each.pop("_id"): each for each in cars.find()}
    text = f"Price__c {sign} {number}"
    found = {each["_id"] for each in cars.find(condition_of(text, DECIMALS).query, {"_id": 1})}
    assert found == wanted(text, seen, DECIMALS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Price__c + 1 > 2", "calculates with +"),
        ('Name.lower() == "a"', "calls lower()"),
        ('Opens__c == time("10:00")', "a time of day"),
        ('Pulled_By__c < "a"', "lookup Pulled_By__c"),
        ('Pulled_By__c.contains("a")', "lookup Pulled_By__c"),
        ("Pulled_By__c == OwnerId", "a key in quotation marks"),
        ("Colours__c == Colours__c", "a multi-select picklist"),
        (f"Price__c < 1{'0' * 400}", "beyond all numbers"),
        (f"Doors__c < 1{'0' * 40}1", "more than 34 digits"),
        ('Seen__c < timestamp("9999-12-31T23:59:59Z") && Built__c < date("10000-01-01")', "date"),
    ],
)  # fmt: skip
def test_what_mongodb_would_judge_otherwise_is_refused(text: str, said: str) -> None:
    """With the character where it is; most of it a computed field can have."""
    with pytest.raises(ConfigError, match="at character") as refused:
        condition_of(text, SHAPE)
    assert said in str(refused.value)


def test_an_index_serves_the_given_values_and_the_bounds(cars: Any) -> None:
    """MongoDB's own plan: it reads the index, and not the whole collection."""
    made = condition_of('Make__c == "Audi" && Built__c >= date("2000-01-01") && Name.contains("a")', SHAPE)
    assert (made.equal, made.ranged) == (("Make__c",), ("Built__c",))
    cars.insert_many(
        {"_id": n, "Make__c": "Fiat", "Built__c": datetime(2000, 1, 1, tzinfo=UTC)} for n in range(50)
    )
    cars.create_index([("Make__c", 1), ("Built__c", 1)])
    plan = cars.find(made.query).explain()
    assert plan["executionStats"]["totalDocsExamined"] == 0
