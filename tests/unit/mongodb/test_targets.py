"""Lookups that can point to several objects, as documents hold them."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from salmon.errors import BadRecordKey, DataError, SchemaMismatch
from salmon.model.convert import to_rest
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.writing.validators import indexes_of, validator_of

CONTACT_ID, LEAD_ID = "0035g00000Xyz12AAA", "00Q5g00000Xyz12AAA"
OID = ObjectId("65f0c0ffee65f0c0ffee65f0")
WHO = FieldSchema(
    "WhoId",
    "reference",
    Kind.STRING,
    reference_to=("Contact", "Lead"),
    prefixes=(("Contact", "003"), ("Lead", "00Q")),
)
OWNER = FieldSchema(
    "OwnerId",
    "reference",
    Kind.STRING,
    reference_to=("Group", "User"),
    prefixes=(("Group", "00G"), ("User", "005")),
)
EVENT = ObjectSchema("Event", (WHO, OWNER), "00U")
SHAPE = DocumentShape(EVENT, frozenset({"Event", "Contact", "Lead"}))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"Contact:{CONTACT_ID}", {"type": "Contact", "id": CONTACT_ID}),
        (f"Lead:$oid:{OID}", {"type": "Lead", "id": OID}),
        ("Contact:$$x:y", {"type": "Contact", "id": "$x:y"}),
        ("Lead:$int:7", {"type": "Lead", "id": 7}),
        (":customer-7", "customer-7"),
    ],
)
def test_a_document_holds_the_object_beside_the_id_of_the_targets_document(value: str, shown: Any) -> None:
    """So `$lookup` works, and the two are one value: neither is ever edited or merged alone."""
    assert SHAPE.shown("WhoId", value) == shown
    assert SHAPE.value("WhoId", shown) == value


def test_an_owner_says_whether_it_is_a_user_or_a_queue() -> None:
    """Also where neither object is synced; Salesforce is sent the Id alone."""
    user, queue = "0055g00000Abc34AAA", "00G5g00000Abc34AAA"
    assert SHAPE.shown("OwnerId", f"User:{user}") == {"type": "User", "id": user}
    assert SHAPE.value("OwnerId", {"type": "Group", "id": queue}) == f"Group:{queue}"
    assert to_rest(OWNER, f"Group:{queue}") == queue


@pytest.mark.parametrize(
    ("name", "shown", "value"),
    [
        ("WhoId", LEAD_ID, f"Lead:{LEAD_ID}"),
        ("OwnerId", "0055g00000Abc34AAA", "User:0055g00000Abc34AAA"),
        ("WhoId", LEAD_ID[:15], f":{LEAD_ID[:15]}"),
        ("WhoId", OID, f":$oid:{OID}"),
        ("WhoId", "Contact:5", ":Contact:5"),
    ],
)
def test_a_bare_id_is_taken_and_its_object_only_where_that_is_certain(
    name: str, shown: Any, value: str
) -> None:
    """Fifteen characters may be the key of a document; an ObjectId may be that of either collection."""
    assert SHAPE.value(name, shown) == value


def test_a_bare_id_is_of_the_only_object_that_is_synced() -> None:
    """There is no other collection that it could be of."""
    shape = DocumentShape(EVENT, frozenset({"Event", "Contact"}))
    assert shape.value("WhoId", OID) == f"Contact:$oid:{OID}"


@pytest.mark.parametrize(
    ("name", "shown", "error", "says"),
    [
        ("WhoId", {"type": "Contact"}, SchemaMismatch, "the two fields type and id"),
        ("WhoId", {"type": "Contact", "id": None}, SchemaMismatch, "the two fields type and id"),
        ("WhoId", {"type": "Contact", "id": OID, "name": "x"}, SchemaMismatch, "the two fields type and id"),
        ("WhoId", {"type": "Account", "id": OID}, SchemaMismatch, "can point to: Contact, Lead"),
        ("WhoId", {"type": ["Contact"], "id": OID}, SchemaMismatch, "can point to: Contact, Lead"),
        ("WhoId", {"type": "Contact", "id": [1]}, BadRecordKey, "_id"),
        ("OwnerId", 5, SchemaMismatch, "must be an Id of Salesforce"),
    ],
)
def test_what_says_no_target_is_set_aside_and_named(
    name: str, shown: Any, error: type[DataError], says: str
) -> None:
    """It is a misfit of this field alone; the sentence says what is wrong and quotes nothing."""
    misfit = SHAPE.reading({"_id": 1, name: shown}).misfits[name]
    assert isinstance(misfit, error)
    assert says in str(misfit)


def test_the_validator_and_the_index_know_both_forms() -> None:
    """The index is on the id, which `$lookup` follows."""
    who = validator_of(SHAPE)["$jsonSchema"]["properties"]["WhoId"]["anyOf"]
    assert who[0]["properties"]["type"]["enum"] == ["Contact", "Lead"]
    assert [list(index.document["key"]) for index in indexes_of(SHAPE)] == [
        ["WhoId.id"],
        ["_salmon.salesforce_id"],
    ]
