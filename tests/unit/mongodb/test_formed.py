"""Documents whose fields have another type than Salmon's own, and constants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.writing.validators import validator_of
from salmon.plugin import NoSettings, TransformPlugin
from salmon.transforms.computed import Computed
from salmon.transforms.flow import Cast, Constant, Flow, Timestamps, Transform
from salmon.transforms.plugged import Plugged

SCHEMA = ObjectSchema(
    "Contact",
    (
        FieldSchema("Name", "string", Kind.STRING),
        FieldSchema("Age", "int", Kind.INT),
        FieldSchema("Met", "datetime", Kind.DATETIME),
    ),
)
FLOW = Flow(
    (
        Transform("a", Cast({"Age": "string"})),
        Transform("b", Timestamps("Met", "unix", "", "seconds")),
        Transform("c", Constant("source", "crm")),
    )
)
SHAPE = DocumentShape(SCHEMA, frozenset({"Contact"}), {"Met": "when.met"}, FLOW.bound(SCHEMA))
RECORD: dict[str, Value] = {"Name": "Ann", "Age": 30, "Met": 5_000}


def test_a_new_document_has_the_types_and_the_constants() -> None:
    """And what it holds is read as the very record, so its echo is no edit."""
    document = SHAPE.document("003000000000001AAA", RECORD, 7)
    held = {name: document[name] for name in ("Name", "Age", "when", "source")}
    assert held == {"Name": "Ann", "Age": "30", "when": {"met": 5}, "source": "crm"}
    assert isinstance(document["when"]["met"], Int64)
    assert {name: value for name, value in SHAPE.reading(document).fields.items() if name in RECORD} == RECORD


def test_an_update_sets_the_constants_again() -> None:
    """What an application made of one is put right with the next write."""
    update = SHAPE.update({"Age": None, "Met": 6_000}, 8)
    assert (update["$set"]["when.met"], update["$set"]["source"]) == (6, "crm")
    assert update["$unset"] == {"Age": ""}


@pytest.mark.parametrize(
    ("name", "shown", "value"),
    [
        ("Age", "30", 30),
        ("Age", 30, 30),
        ("Age", "", None),
        ("Met", 5, 5_000),
        ("Met", datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), 5_000),
    ],
)
def test_a_document_from_before_is_still_read(name: str, shown: Any, value: Any) -> None:
    """A field's own type counts as well as the form."""
    assert SHAPE.value(name, shown) == value


def test_what_is_of_neither_type_is_a_misfit_that_names_the_form() -> None:
    """An application developer learns what the field must look like."""
    reading = SHAPE.reading({"_id": "x", "Age": "thirty", "Name": "Ann"})
    assert reading.fields["Name"] == "Ann"
    assert isinstance(reading.misfits["Age"], SchemaMismatch)
    assert "a int written as text" in str(reading.misfits["Age"])
    assert "thirty" not in str(reading.misfits["Age"])


def test_the_validator_expects_the_forms_and_keeps_which_they_are() -> None:
    """So that a sink sees whether documents were given their present form."""
    schema = validator_of(SHAPE)["$jsonSchema"]
    assert schema["properties"]["Age"] == {"bsonType": ["string", "null"]}
    assert schema["description"] == FLOW.document_form
    plain = validator_of(DocumentShape(SCHEMA, frozenset({"Contact"})))["$jsonSchema"]
    assert "description" not in plain


def test_a_computed_field_is_in_documents_and_their_validator_like_any_other() -> None:
    """With its type, at its path, in a form if it has one, and cleared where it cannot be made."""
    flow = Flow(
        (
            Transform("a", Computed("Next", "Age + 1")),
            Transform("b", Computed("Adult", "Age >= 18")),
            Transform("c", Cast({"Next": "string"})),
        )
    )
    schema = SCHEMA.with_computed(flow.computed(SCHEMA))
    shape = DocumentShape(schema, frozenset({"Contact"}), {"Adult": "is.adult"}, flow.bound(schema))
    document = shape.document("003000000000001AAA", {"Next": 31.0, "Adult": True}, 7)
    assert (document["Next"], document["is"]) == ("31.0", {"adult": True})
    assert shape.reading(document).fields.items() >= {("Next", 31.0), ("Adult", True)}
    assert shape.update({"Adult": None}, 8)["$unset"] == {"is.adult": ""}
    described = validator_of(shape)["$jsonSchema"]["properties"]
    assert described["Next"] == {"bsonType": ["string", "null"]}
    assert described["is"]["properties"] == {"adult": {"bsonType": ["bool", "null"]}}


def test_an_exact_number_that_a_plugin_shows_is_held_exactly() -> None:
    """As Decimal128, like any other."""
    pay = FieldSchema("Pay", "currency", Kind.DECIMAL, precision=18, scale=2)

    def same(_settings: NoSettings, _field: FieldSchema) -> Callable[[Value], Value]:
        return lambda value: value

    step = Plugged("same", TransformPlugin(NoSettings, same, same), NoSettings(), "", ("Pay",))
    schema = ObjectSchema("Contact", (pay,))
    shape = DocumentShape(schema, frozenset(), {}, Flow((Transform("a", step),)).bound(schema))
    held = shape.shown("Pay", Decimal("1.50"))
    assert held == Decimal128("1.50")
    assert shape.value("Pay", held) == Decimal("1.50")
