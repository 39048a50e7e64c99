"""Reading Avro schemas: names, unions, defaults, and what is no schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from salmon.devstack.avro_types import BadSchema, content, parse


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def test_names_are_resolved_in_their_namespace() -> None:
    """A short name means the type of the enclosing namespace."""
    address = {"type": "record", "name": "Address", "fields": []}
    schema = record(
        {"name": "home", "type": address}, {"name": "work", "type": "Address"}, namespace="salmon"
    )
    home, work = parse(json.dumps(schema)).fields
    assert home.type is work.type
    assert work.type.name == "salmon.Address"


@pytest.mark.parametrize(
    "schema",
    [
        "nonsense",
        {"type": "nonsense"},
        {"no": "type"},
        7,
        ["null", ["int"]],
        ["int", "int"],
        {"type": "array"},
        {"type": "map"},
        {"type": "enum", "name": "E"},
        {"type": "enum", "name": "E", "symbols": ["A", "A"]},
        {"type": "enum", "name": "E", "symbols": ["A"], "default": "B"},
        {"type": "enum", "name": "E", "symbols": ["not a name"]},
        {"type": "fixed", "name": "F"},
        {"type": "fixed", "name": "F", "size": -1},
        {"type": "record", "name": "R"},
        {"type": "record", "name": "1R", "fields": []},
        {"type": "record", "fields": []},
        record(namespace="a..b"),
        record({"name": "a"}),
        record({"type": "int"}),
        record({"name": "a", "type": "int"}, {"name": "a", "type": "int"}),
        record({"name": "a", "type": record()}),
        record({"name": "a", "type": "int", "default": "1"}),
        record({"name": "a", "type": "int", "default": 2**31}),
        record({"name": "a", "type": ["int", "null"], "default": None}),
        record({"name": "a", "type": {"type": "array", "items": "int"}, "default": ["x"]}),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    """A registry that took it would break every reader."""
    with pytest.raises(BadSchema):
        parse(json.dumps(schema))


def test_what_is_no_json_is_refused() -> None:
    """The text is named as the fault, not a type in it."""
    with pytest.raises(BadSchema, match="not JSON"):
        parse("{")


@pytest.mark.parametrize(
    ("type", "default"),
    [
        (["null", "string"], None),
        ("long", 2**40),
        ("double", 1),
        ("bytes", "\u00ff"),
        ({"type": "array", "items": "int"}, [1, 2]),
        ({"type": "map", "values": "int"}, {"a": 1}),
        ({"type": "fixed", "name": "F", "size": 2}, "ab"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "A"),
        ({"type": "record", "name": "I", "fields": [{"name": "x", "type": "int", "default": 1}]}, {}),
    ],
)
def test_defaults_fit_their_type(type: Any, default: Any) -> None:  # noqa: A002
    """In Avro's JSON encoding."""
    (field,) = parse(json.dumps(record({"name": "a", "type": type, "default": default}))).fields
    assert field.has_default
    assert field.default == default


def test_spelling_is_no_content() -> None:
    """Key order, white space, a type in braces and a namespace in the name say nothing new."""
    plain = record({"name": "a", "type": "string"}, namespace="salmon")
    spelt = {"fields": [{"type": {"type": "string"}, "name": "a"}], "name": "salmon.R", "type": "record"}
    assert content(parse(json.dumps(plain))) == content(parse(json.dumps(spelt, indent=2)))


@pytest.mark.parametrize(
    "other",
    [
        record({"name": "a", "type": "string", "doc": "The name."}),
        record({"name": "a", "type": "string", "default": ""}),
        record({"name": "a", "type": {"type": "string", "logicalType": "uuid"}}),
        record({"name": "b", "type": "string"}),
        record({"name": "a", "type": "string", "aliases": ["b"]}),
    ],
)
def test_what_a_reader_may_see_is_content(other: dict[str, Any]) -> None:
    """Docs, defaults, logical types and aliases make another schema."""
    plain = record({"name": "a", "type": "string"})
    assert content(parse(json.dumps(plain))) != content(parse(json.dumps(other)))
