"""What of an outbox's document goes into its event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

from salmon.errors import SchemaMismatch
from salmon.mongodb.outbox import Outbox, fields_of, has_outcome

OID = ObjectId("65f000000000000000000001")


def shown(value: Any, path: str = "value") -> Any:
    """What the event's field is filled with."""
    document = {"_id": 1, "value": value, "_salmon": {"event": "x"}}
    return fields_of(Outbox("outbox", {"F__c": path}), document, key="$int:1", inserted_at=1_700_000_000_000)[
        "F__c"
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (Int64(2**40), 2**40),
        (1.5, 1.5),
        ("text", "text"),
        (Decimal128("19.99"), 19.99),
        (Decimal128("0.1234567890123456789"), "0.1234567890123456789"),
        (datetime(2026, 11, 29, 10, tzinfo=UTC), "2026-11-29T10:00:00.000Z"),
        (OID, "65f000000000000000000001"),
        ([1, "a"], '[1, "a"]'),
        ({"a": OID}, '{"a": {"$oid": "65f000000000000000000001"}}'),
    ],
)
def test_a_value_is_what_the_document_says(value: Any, expected: Any) -> None:
    """As REST shows it; what no field of an event can hold is text, with all its digits or as JSON."""
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("inf"), "a double that is not finite"),
        (Decimal128("NaN"), "a Decimal128 that is not finite"),
        (DatetimeMS(10**15), "a date before the year 1 or after the year 9999"),
        ("\udcff", "text that is not valid UTF-8"),
    ],
)
def test_what_no_event_can_hold_is_refused_without_the_value(value: Any, told: str) -> None:
    """The sentence names the path, whose value it is, its type, and what helps: a corrected document makes no event again."""
    with pytest.raises(
        SchemaMismatch, match=rf"^value: the document holds {told}, .* under a new _id\.$"
    ) as refused:
        shown(value)
    assert str(value) not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("value.name.first", "Ada"),
        ("value.name.last", None),
        ("value.list.first", None),
        ("$key", "$int:1"),
        ("$change", "create"),
        ("$changed_at", "2023-11-14T22:13:20.000Z"),
        ("$document", '{"_id": 1, "value": {"name": {"first": "Ada"}, "list": [1]}}'),
    ],
)
def test_a_field_is_filled_by_a_path_or_a_word(path: str, expected: Any) -> None:
    """A path leads through sub-documents; what is not there is null. The whole document comes without our mark."""
    assert shown({"name": {"first": "Ada"}, "list": [1]}, path) == expected


def test_only_what_the_event_needs_is_read() -> None:
    """And the mark, which says whether the document was published."""
    assert Outbox("o", {"A": "a.b", "B": "a.c", "K": "$key"}).projection == {"a": 1, "_salmon": 1}
    assert Outbox("o", {"A": "a", "D": "$document"}).projection == {}


@pytest.mark.parametrize(
    ("document", "expected"),
    [({}, False), ({"_salmon": "x"}, False), ({"_salmon": {"seq": 1}}, False), ({"_salmon": {"published_at": 1}}, True),
     ({"_salmon": {"error": "x"}}, True)],
)  # fmt: skip
def test_a_document_with_an_outcome_was_published_or_refused(document: Any, expected: bool) -> None:
    """Nothing else says so."""
    assert has_outcome(document) is expected
