"""Documents: fields out of documents and into them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson.code import Code
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from salmon.errors import BadRecordKey, DataError, SchemaMismatch
from salmon.model.change import ERROR, SALESFORCE_ID, Value
from salmon.model.convert import choices
from salmon.mongodb.documents import DocumentShape, marker_of, owned_of
from salmon.mongodb.wire.client import CODEC
from support.mongo import ACCOUNT, CONTACT

SHAPE = DocumentShape(ACCOUNT, frozenset({"Account", "Contact"}))
_OID = ObjectId("65f000000000000000000001")


def test_a_document_holds_types_that_a_mongodb_user_expects_in_the_order_of_the_schema() -> None:
    """Dates are Dates, numbers numbers, lists arrays, a reference the parent's own _id; nulls are left out."""
    document = SHAPE.document(
        "$int:5",
        {
            SALESFORCE_ID: "001000000000001AAA",
            "OwnerId": "005000000000001AAA",
            "ParentId": f"$oid:{_OID}",
            "Interests": ("a", "b"),
            "OpensAt": 3_600_000,
            "SeenAt": 1_000,
            "Since": 1,
            "Rate": Decimal("1.50"),
            "Visits": 7,
            "Phone": None,
            "Name": "Acme",
        },
        seq=9,
    )
    assert list(document.items()) == [
        ("_id", 5),
        ("Name", "Acme"),
        ("Rate", Decimal128("1.50")),
        ("Visits", Int64(7)),
        ("Since", datetime(1970, 1, 2, tzinfo=UTC)),
        ("SeenAt", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("OpensAt", "01:00:00.000"),
        ("Interests", ["a", "b"]),
        ("ParentId", _OID),
        ("OwnerId", "005000000000001AAA"),
        ("_salmon", {"seq": 9, "salesforce_id": "001000000000001AAA"}),
    ]


_values: dict[str, st.SearchStrategy[Value]] = {
    "Name": st.text(min_size=1, max_size=20),
    "Employees": st.integers(-(2**31), 2**31 - 1),
    "Revenue": st.floats(allow_nan=False, allow_infinity=False),
    "Rate": st.decimals(allow_nan=False, places=2, min_value=-(10**9), max_value=10**9),
    "Visits": st.integers(-(2**63), 2**63 - 1),
    "Since": st.integers(-100_000, 700_000),
    "SeenAt": st.integers(-(10**12), 10**13),
    "OpensAt": st.integers(0, 86_399_999),
    "Active": st.booleans(),
    # A set: what is chosen, in the order in which we write it.
    "Interests": st.sets(st.text(min_size=1, max_size=5), min_size=1, max_size=3).map(choices),
    "ParentId": st.sampled_from(["001000000000001AAA", f"$oid:{_OID}", "$int:5", "$$x"]),
    "OwnerId": st.just("005000000000001AAA"),
    SALESFORCE_ID: st.just("001000000000001AAA"),
    ERROR: st.text(min_size=1, max_size=20),
}


@given(fields=st.fixed_dictionaries({}, optional=_values))
def test_what_is_written_is_what_is_read(fields: dict[str, Value]) -> None:
    """Every type of value survives the way through BSON and back, and so does what is not there."""
    stored = bson.decode(bson.encode(SHAPE.document("key", fields, seq=3)), CODEC)
    reading = SHAPE.reading(stored)
    assert reading.misfits == {}
    assert reading.fields == {SALESFORCE_ID: None, ERROR: None} | fields
    assert marker_of(stored) == 3


def test_an_applications_own_fields_are_not_read() -> None:
    """Unknown fields, and unknown properties below the marker, are none of our business."""
    reading = SHAPE.reading({"_id": 1, "Name": "Acme", "basket": [1, 2], "_salmon": {"mine": 1}})
    assert reading.fields == {"Name": "Acme", SALESFORCE_ID: None, ERROR: None}


def test_empty_text_an_empty_array_and_null_are_what_is_missing() -> None:
    """Salesforce knows no empty text: written there, it would come back as null, again and again."""
    reading = SHAPE.reading({"_id": 1, "Name": "", "Interests": [], "Phone": None, "ParentId": ""})
    assert reading.fields == {SALESFORCE_ID: None, ERROR: None}
    assert reading.misfits == {}


@pytest.mark.parametrize(
    ("name", "shown", "error"),
    [
        ("Name", 5, SchemaMismatch),
        ("Name", "\udcff", SchemaMismatch),
        ("Interests", ["\udcff"], SchemaMismatch),
        ("Employees", 2**31, SchemaMismatch),
        ("Employees", 1.5, SchemaMismatch),
        ("Employees", float("inf"), SchemaMismatch),
        ("Revenue", float("nan"), SchemaMismatch),
        ("Revenue", "12", SchemaMismatch),
        ("Rate", Decimal128("Infinity"), SchemaMismatch),
        ("Rate", Decimal128("NaN"), SchemaMismatch),
        ("Since", "2026-01-01", SchemaMismatch),
        ("SeenAt", bson.datetime_ms.DatetimeMS(2**60), SchemaMismatch),
        ("OpensAt", "noon", SchemaMismatch),
        ("Active", 1, SchemaMismatch),
        ("Interests", [1], SchemaMismatch),
        ("ParentId", {"a": 1}, BadRecordKey),
        ("OwnerId", _OID, SchemaMismatch),
    ],
)
def test_a_value_that_does_not_fit_is_left_out_and_named(
    name: str, shown: Any, error: type[DataError]
) -> None:
    """The rest of the document counts; the error names the field and quotes nothing."""
    reading = SHAPE.reading({"_id": 1, "Phone": "555", name: shown})
    assert reading.fields["Phone"] == "555"
    assert name not in reading.fields
    assert isinstance(reading.misfits[name], error)


def test_an_update_sets_what_is_given_and_clears_what_is_null() -> None:
    """Cleared fields leave the document, merge's own properties below the marker included."""
    update = SHAPE.update({"Phone": None, "Name": "Acme", SALESFORCE_ID: "001", ERROR: None}, seq=4)
    assert update == {
        "$set": {"Name": "Acme", "_salmon.salesforce_id": "001", "_salmon.seq": 4},
        "$unset": {"Phone": "", "_salmon.error": ""},
    }


def test_a_whole_update_leaves_no_field_of_the_schema_as_it_was() -> None:
    """A CREATE onto a document of ours: what it does not say is cleared."""
    update = SHAPE.whole_update({"Name": "Acme"}, seq=4)
    assert update["$set"] == {"Name": "Acme", "_salmon.seq": 4}
    assert update["$unset"].keys() == (ACCOUNT.by_name.keys() - {"Name"}) | {
        "_salmon.salesforce_id",
        "_salmon.error",
    }


def test_a_reference_to_an_object_that_is_not_synced_is_plain_text() -> None:
    """Only a synced parent has an _id to refer to."""
    alone = DocumentShape(CONTACT, frozenset({"Contact"}))
    assert alone.value("AccountId", "001000000000001AAA") == "001000000000001AAA"
    with pytest.raises(SchemaMismatch):
        alone.value("AccountId", _OID)


@pytest.mark.parametrize("marker", [None, 5, {"seq": "7"}, {"seq": True}, {"seq": 7.0}, {"seq": -1}, {}])
def test_what_we_cannot_have_written_is_no_marker(marker: Any) -> None:
    """An application may store anything there."""
    assert marker_of({"_salmon": marker}) is None


def test_code_below_the_marker_is_not_merges_own_text() -> None:
    """JavaScript code is a str for Python; it counts as missing, so that merge corrects it."""
    marker = {"salesforce_id": Code("001000000000001AAA"), "error": Code("x")}
    assert owned_of(marker) == {SALESFORCE_ID: None, ERROR: None}


def test_a_field_that_the_schema_lacks_is_not_dropped_in_silence() -> None:
    """A newer write meets an older schema: that is an error of this write."""
    with pytest.raises(SchemaMismatch, match=r"Account\.Nickname"):
        SHAPE.update({"Nickname": "A"}, seq=1)
