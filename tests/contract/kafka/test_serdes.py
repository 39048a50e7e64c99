"""
The bytes of our topics, for every type of Salesforce: what goes in comes out, and the tail of an envelope is the body
of the record.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import salmon.simulator
from salmon.kafka.codecs.avro import bare
from salmon.kafka.codecs.serdes import Changes, Records, Writes
from salmon.model import convert
from salmon.model.change import Change, Op, Value, Write, WriteOp
from salmon.model.schema import FieldSchema, Kind, ObjectSchema, schema_of_describe
from support.at_hand.registries import MemoryRegistry

_DESCRIBES = (
    *(Path(salmon.simulator.__file__).parent / "describes").glob("*.json"),
    *(Path(__file__).parents[2] / "data" / "salesforce" / "describe").glob("*.json"),
)
OBJECTS = {
    f"{describe['name']}{'-decimals' if decimals else ''}": schema_of_describe(describe, decimals=decimals)
    for describe in map(json.loads, (path.read_text() for path in sorted(_DESCRIBES)))
    for decimals in (False, True)
}
# What no describe file at hand has: times, and whole numbers that ask for 64 bits.
OBJECTS["every-kind"] = ObjectSchema(
    "Every_Kind__c",
    tuple(FieldSchema(f"{kind.value}__c", "any", kind, precision=9, scale=3) for kind in Kind),
)
HEAD = 5  # magic byte and schema id

_int32 = st.integers(-(2**31), 2**31 - 1)
_int64 = st.integers(-(2**63), 2**63 - 1)
_VALUES: Mapping[Kind, st.SearchStrategy[Any]] = {
    Kind.STRING: st.text(max_size=20),
    Kind.BOOLEAN: st.booleans(),
    Kind.INT: _int32,
    Kind.LONG: _int64,
    Kind.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    Kind.DATE: _int32,
    Kind.DATETIME: _int64,
    Kind.TIME: st.integers(0, 86_399_999),
    Kind.STRINGS: st.lists(st.text(max_size=10), min_size=1, max_size=3).map(tuple),
}
_names = st.sampled_from(sorted(OBJECTS))


def values_of(field: FieldSchema) -> st.SearchStrategy[Value]:
    if field.kind is Kind.DECIMAL:
        digits = st.integers(-(10 ** max(field.precision, 1)) + 1, 10 ** max(field.precision, 1) - 1)
        return digits.map(lambda number: Decimal(number).scaleb(-field.scale))
    return _VALUES[field.kind]


@st.composite
def rows(draw: st.DrawFn, schema: ObjectSchema) -> dict[str, Value]:
    """Some fields of the object, each with a value that its type can have."""
    chosen = draw(st.lists(st.sampled_from(schema.fields), max_size=8, unique_by=lambda field: field.name))
    return {field.name: draw(values_of(field)) for field in chosen}


class Serdes:
    """The codecs of one object, and of its two topics beside them."""

    def __init__(self, schema: ObjectSchema) -> None:
        self.registry = MemoryRegistry()
        self.records = Records(schema, self.registry, "crm.records.X")
        self.changes = Changes(schema, self.registry, "crm.changes.X")
        self.writes = Writes(schema, self.registry, "crm.writes.mongodb.X")


SERDES = {name: Serdes(schema) for name, schema in OBJECTS.items()}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=_names)
def test_the_tail_of_a_change_is_the_body_of_the_record(data: st.DataObject, name: str) -> None:
    """Merge may pass a new row on as bytes; the same holds for the write that creates the record."""
    serdes, row = SERDES[name], data.draw(rows(OBJECTS[name]))
    body = serdes.records.encode(row)[HEAD:]
    change = Change("salesforce", Op.ROW, as_of=data.draw(_int64), source={"a": "b"}, fields=row)
    assert serdes.changes.encode(change).endswith(body)
    assert serdes.writes.encode(Write(seq=1, op=WriteOp.CREATE, fields=row)).endswith(body)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=_names)
def test_every_value_comes_back_as_it_was(data: st.DataObject, name: str) -> None:
    """Through each of an object's three shapes, and with the very Python types that the fold compares."""
    serdes, row = SERDES[name], data.draw(rows(OBJECTS[name]))
    whole = serdes.records.decode(serdes.records.encode(row))
    assert whole.keys() == OBJECTS[name].by_name.keys()
    told = {name: value for name, value in whole.items() if value is not None}
    assert told == row
    assert {key: type(value) for key, value in told.items()} == {
        key: type(value) for key, value in row.items()
    }
    change = Change("mongodb", Op.UPDATE, changed=frozenset(row), fields=row)
    assert serdes.changes.decode(serdes.changes.encode(change)) == change
    write = Write(seq=2, op=WriteOp.UPDATE, fields=row)
    assert serdes.writes.decode(serdes.writes.encode(write)) == write


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=_names)
def test_a_stock_avro_client_reads_the_same(data: st.DataObject, name: str) -> None:
    """With the registered schema, logical types and all; and the model's own conversion agrees about them."""
    serdes, schema = SERDES[name], OBJECTS[name]
    row = data.draw(rows(schema))
    encoded = serdes.records.encode(row)
    registered = serdes.registry.schema_by_id(int.from_bytes(encoded[1:HEAD], "big"))
    assert ObjectSchema.from_avro(registered) == schema
    shown = fastavro.schemaless_reader(io.BytesIO(encoded[HEAD:]), bare(registered))
    assert isinstance(shown, dict)
    assert {each.name: convert.from_avro(each, shown[each.name]) for each in schema.fields} == {
        **dict.fromkeys(schema.by_name),
        **row,
    }


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_a_schema_that_went_through_the_registry_is_the_same_schema(name: str) -> None:
    """Every process registers what it was told; that must never make a second version."""
    schema = OBJECTS[name]
    assert ObjectSchema.from_avro(json.loads(json.dumps(schema.to_avro()))).to_avro() == schema.to_avro()
