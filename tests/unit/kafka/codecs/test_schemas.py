"""The fixed schemas, and the envelopes made from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fastavro
import pytest

from salmon.errors import SetupError
from salmon.kafka.codecs import schemas
from salmon.model.schema import FieldSchema, Kind, ObjectSchema

FIXED = ("change", "write", "state", "conflict", "offset", "identity", "signal", "outbox", "outcome")
ENVELOPES = ("change", "write", "state")
ROW = ObjectSchema("Account", (FieldSchema("Name", "string", Kind.STRING),)).to_avro()


@pytest.mark.parametrize("name", FIXED)
def test_every_fixed_schema_is_avro_by_itself(name: str) -> None:
    """A file can be given to any Avro tool as it is; the placeholder is an empty record."""
    assert fastavro.parse_schema(schemas.fixed(name))


@pytest.mark.parametrize("name", FIXED)
def test_every_field_says_what_it_means(name: str) -> None:
    """Whoever reads a topic without our source finds unit and meaning in the schema."""
    undocumented = [path for path, node in _documented(schemas.fixed(name), name) if not node.get("doc")]
    assert undocumented == []


@pytest.mark.parametrize("name", FIXED)
def test_names_are_of_one_namespace(name: str) -> None:
    """Generated classes of all our schemas come to lie in one package."""
    assert schemas.fixed(name)["namespace"] == "salmon"


@pytest.mark.parametrize("name", ENVELOPES)
def test_the_record_is_the_last_field_of_its_envelope_and_in_place(name: str) -> None:
    """So that the tail of an envelope is the body of a records value, byte for byte."""
    composed = schemas.envelope(name, ROW)
    assert composed["fields"][-1]["type"] == ROW


@pytest.mark.parametrize("name", ENVELOPES)
def test_nothing_of_the_placeholder_is_left(name: str) -> None:
    """An envelope speaks of the object's record alone."""
    assert schemas.PLACEHOLDER not in str(schemas.envelope(name, ROW))


def test_a_second_place_of_the_record_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Avro defines a named type once; state.avsc may speak of the record in several places."""
    row = {"type": "record", "name": "Row", "namespace": "salmon.records", "fields": []}
    fixed = {
        "type": "record",
        "name": "State",
        "fields": [
            {"name": "row", "type": row},
            {"name": "before", "type": ["null", schemas.PLACEHOLDER]},
            {"name": "all", "type": {"type": "array", "items": schemas.PLACEHOLDER}},
            {"name": "by_side", "type": {"type": "map", "values": schemas.PLACEHOLDER}},
        ],
    }
    monkeypatch.setattr(schemas, "fixed", lambda name: fixed)
    kinds = [field["type"] for field in schemas.envelope("state", ROW)["fields"]]
    named = "salmon.records.Account"
    assert kinds == [
        ROW,
        ["null", named],
        {"type": "array", "items": named},
        {"type": "map", "values": named},
    ]


def test_a_broken_installation_is_told() -> None:
    """A wheel without its schemas says which file is missing and the mend."""
    with pytest.raises(SetupError, match=r"nothing\.avsc is missing.*Install"):
        schemas.fixed("nothing")


def _documented(schema: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _documented(branch, path)
    elif isinstance(schema, dict) and schema["type"] in {"record", "enum"}:
        yield path, schema
        for field in schema.get("fields", ()):
            yield f"{path}.{field['name']}", field
            yield from _documented(field["type"], f"{path}.{field['name']}")
