"""Fields at paths of their own: what documents and events with them say, and what is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson.int64 import Int64
from bson.timestamp import Timestamp

from salmon.errors import ConfigError
from salmon.model.change import ERROR, SALESFORCE_ID
from salmon.mongodb.documents import DocumentShape, shapes_of
from salmon.mongodb.paths import mark_of
from salmon.mongodb.reading.events import Reported, reported_by
from salmon.mongodb.writing.validators import indexes_of, validator_of
from salmon.mongodb.writing.violations import properties_at_fault
from support.mongo import ACCOUNT

PATHS = {"Phone": "contact.phone", "Employees": "contact.size.people", "ParentId": "parent", "Name": "title"}
SHAPE = DocumentShape(ACCOUNT, frozenset({"Account"}), PATHS)
MARK = mark_of(PATHS)


def _updated(set_: dict[str, Any], *removed: str, truncated: tuple[str, ...] = ()) -> Reported:
    description = {
        "updatedFields": set_,
        "removedFields": list(removed),
        "truncatedArrays": [{"field": field, "newSize": 1} for field in truncated],
    }
    event = {
        "_id": {"_data": "8265F0000000000001"},
        "operationType": "update",
        "clusterTime": Timestamp(1_700_000_000, 2),
        "wallTime": datetime(2023, 11, 14, tzinfo=UTC),
        "documentKey": {"_id": "a"},
        "updateDescription": description,
    }
    return reported_by(event, SHAPE)


def test_a_document_has_its_fields_at_their_paths() -> None:
    """In both directions; it carries the mark of its form, and an application's own properties are left out."""
    fields = {"Name": "Acme", "Phone": "1", "Employees": 5, "Active": True}
    document = SHAPE.document("a", fields, 7)
    assert document == {
        "_id": "a",
        "title": "Acme",
        "contact": {"phone": "1", "size": {"people": 5}},
        "Active": True,
        "_salmon": {"seq": 7, "paths": MARK},
    }
    document["contact"]["fax"] = document["Phone"] = "an application's"
    assert SHAPE.reading(document).fields == {**fields, SALESFORCE_ID: None, ERROR: None}


def test_a_write_keeps_what_is_beside_a_field() -> None:
    """It sets and clears by path, so the rest of the sub-document stays."""
    assert SHAPE.update({"Phone": "2", "Employees": None, "Name": None}, 8) == {
        "$set": {"contact.phone": "2", "_salmon.seq": Int64(8), "_salmon.paths": MARK},
        "$unset": {"contact.size.people": "", "title": ""},
    }


def test_without_renames_nothing_is_written_that_was_not_before() -> None:
    """No mark; the top level alone."""
    plain = DocumentShape(ACCOUNT, frozenset({"Account"}))
    assert plain.document("a", {"Phone": "1"}, 7) == {"_id": "a", "Phone": "1", "_salmon": {"seq": 7}}
    assert plain.update({"Phone": None}, 7) == {"$set": {"_salmon.seq": 7}, "$unset": {"Phone": ""}}


@pytest.mark.parametrize("above", ["12 Main Street", [{"phone": "1"}], 5])
def test_what_is_in_the_way_of_fields_says_nothing_about_them(above: Any) -> None:
    """They are neither null nor agreed on; the reason names what is in the way, and the field on both sides."""
    reading = SHAPE.reading({"_id": "a", "title": "Acme", "contact": above})
    assert reading.fields == {"Name": "Acme", SALESFORCE_ID: None, ERROR: None}
    assert reading.misfits.keys() == {"Phone", "Employees"}
    said = str(reading.misfits["Phone"])
    assert said.startswith("contact.phone (Phone in Salesforce): contact must be a document, not ")


def test_a_read_asks_for_sub_documents_as_a_whole() -> None:
    """A projection on what is below text would show nothing, which would look like null."""
    projection = SHAPE.projection
    assert {"title", "contact", "parent", "Active", "_salmon"} < projection.keys()
    assert not {"Phone", "contact.phone", "Name"} & projection.keys()


def test_an_event_of_a_path_speaks_of_its_field() -> None:
    """Set, cleared; what an application has beside it or under the field's own name is not told."""
    told = _updated({"contact.phone": "2", "contact.fax": "3", "Phone": "4"}, "title")
    assert told.change is not None
    assert told.change.changed == {"Phone", "Name"}
    assert told.change.fields == {"Phone": "2"}
    assert not told.incomplete


def test_an_event_of_a_whole_sub_document_speaks_of_the_fields_within() -> None:
    """Of one that it lacks it does not say whether it was there: that is read."""
    told = _updated({"contact": {"phone": "2", "fax": "3"}})
    assert told.change is not None
    assert (told.change.changed, told.change.fields) == ({"Phone"}, {"Phone": "2"})
    assert told.incomplete
    deeper = _updated({"contact.size": {"people": 5}})
    assert deeper.change is not None
    assert (deeper.change.changed, deeper.change.fields) == ({"Employees"}, {"Employees": 5})
    assert not deeper.incomplete


@pytest.mark.parametrize("told", [_updated({}, "contact"), _updated({"contact": None})])
def test_the_removal_of_a_sub_document_has_the_document_read(told: Reported) -> None:
    """Whether it is removed or set to null: it does not say which fields it had."""
    assert (told.change, told.incomplete) == (None, True)


@pytest.mark.parametrize("shown", ["text", ["an array"], {"phone": 5, "size": "small"}])
def test_an_event_that_puts_something_in_the_way_reports_misfits(shown: Any) -> None:
    """And no value of the fields within."""
    told = _updated({"contact": shown})
    assert told.change is not None
    assert told.misfits.keys() == {"Phone", "Employees"}
    assert told.change.changed == frozenset()


def test_what_changes_within_a_field_or_an_array_in_its_way_is_read_or_ignored() -> None:
    """A part of the field's own value asks for a row; an element of an array where a sub-document belongs says nothing new."""
    assert _updated({"title.first": "A"}).incomplete
    assert _updated({"contact.phone.0": "A"}).incomplete
    assert _updated({}, truncated=("contact.phone",)).incomplete
    within = _updated({"contact.0.phone": "A"})
    assert (within.change, within.incomplete) == (None, False)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("Name", r"objects\.Account\.fields\.rename: Name and Phone have the same path"),
        ("Name.phone", "within Name, where Name is"),
    ],
)
def test_fields_in_each_others_way_are_refused_with_the_schema(path: str, told: str) -> None:
    """What the configuration alone cannot show: the other field has its own name."""
    with pytest.raises(ConfigError, match=told):
        shapes_of({"Account": ACCOUNT}, {"Account"}, {"Account": {"Phone": path}})


def test_the_validator_and_the_indexes_follow_the_paths() -> None:
    """Sub-documents are described as such; a reference has its index where it is."""
    properties = validator_of(SHAPE)["$jsonSchema"]["properties"]
    assert properties["contact"]["properties"]["phone"] == {"bsonType": ["string", "null"]}
    assert "people" in properties["contact"]["properties"]["size"]["properties"]
    assert "Phone" not in properties
    assert properties["_salmon"]["properties"]["paths"] == {"bsonType": "string"}
    assert [next(iter(index.document["key"])) for index in indexes_of(SHAPE)] == [
        "parent",
        "_salmon.salesforce_id",
    ]


def test_a_violation_within_a_sub_document_names_the_field_within() -> None:
    """As MongoDB describes it; in other sub-documents only the outermost is ours to name."""
    within = [
        {"operatorName": "properties", "propertiesNotSatisfied": [{"propertyName": "phone", "details": []}]}
    ]
    rules = [
        {
            "operatorName": "properties",
            "propertiesNotSatisfied": [
                {"propertyName": "contact", "details": within},
                {"propertyName": "basket", "details": within},
            ],
        },
        {"operatorName": "required", "missingProperties": ["title"]},
    ]
    error = {"errInfo": {"details": {"operatorName": "$jsonSchema", "schemaRulesNotSatisfied": rules}}}
    found = properties_at_fault(error, SHAPE.below)
    assert found == ["contact.phone", "basket", "title"]
    assert SHAPE.fields_at(found) == {"Phone", "Name"}
    assert SHAPE.words_for(found) == "contact.phone (Phone in Salesforce), basket, title (Name in Salesforce)"


def test_a_query_in_a_validator_names_the_field_that_it_asks_for() -> None:
    """By its path, in an expression as well."""
    asked = {
        "operatorName": "$or",
        "specifiedAs": {"$or": [{"contact.phone": 1}, {"$expr": {"$gt": ["$title", 0]}}]},
    }
    assert properties_at_fault({"errInfo": {"details": asked}}, SHAPE.below) == ["contact.phone", "title"]
