"""Who can read whose records: our registry's answer held against the Avro project's own, pair by pair."""

from __future__ import annotations

import itertools
import json
from typing import Any, Final

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse as avro_parse

from salmon.devstack.avro_types import parse
from salmon.devstack.compatibility import incompatibilities

Schema = Any

_NAME: Final = {"name": "Name", "type": "string"}
_OPTIONAL: Final = {"name": "Phone", "type": ["null", "string"], "default": None}


def _record(*fields: Schema, **more: Schema) -> Schema:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def _enum(*symbols: str) -> Schema:
    return {"type": "enum", "name": "E", "symbols": list(symbols)}


SCHEMAS: Final[tuple[Schema, ...]] = (
    *("null", "boolean", "int", "long", "float", "double", "bytes", "string"),
    _enum("A", "B"),
    _enum("A", "B", "C"),
    {"type": "fixed", "name": "F", "size": 4},
    {"type": "fixed", "name": "F", "size": 8},
    {"type": "array", "items": "int"},
    {"type": "array", "items": "long"},
    {"type": "map", "values": "int"},
    {"type": "map", "values": "long"},
    ["null", "string"],
    ["null", "int", "string"],
    ["null", "long"],
    _record(),
    _record(_NAME),
    _record(_NAME, _OPTIONAL),
    _record({"name": "Name", "type": ["null", "string"], "default": None}),
    _record({"name": "Name", "type": ["null", "string"]}),
    _record({"name": "Name", "type": "int"}),
    _record({"name": "Title", "type": "string", "aliases": ["Name"]}),
    _record(_NAME, {"name": "Row", "type": {"type": "record", "name": "In", "fields": [_OPTIONAL]}}),
    _record(_NAME, {"name": "Row", "type": {"type": "record", "name": "In", "fields": [_NAME]}}),
    _record({"name": "Next", "type": ["null", "R"], "default": None}),
)


@pytest.mark.parametrize("reader", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_the_registry_and_the_avro_project_agree_on_who_can_read_what(reader: Schema) -> None:
    """Every schema of the list as a reader of every other one: both say yes, or both say no."""
    differ = [
        (json.dumps(writer), ours, theirs)
        for writer in SCHEMAS
        if (ours := _ours(reader, writer)) != (theirs := _theirs(reader, writer))
    ]
    assert differ == []


def test_the_list_has_both_answers() -> None:
    """So that agreeing says something."""
    answers = [_theirs(reader, writer) for reader, writer in itertools.product(SCHEMAS, SCHEMAS)]
    assert answers.count(True) > 50
    assert answers.count(False) > 50


def _ours(reader: Schema, writer: Schema) -> bool:
    return not incompatibilities(parse(json.dumps(reader)), parse(json.dumps(writer)))


def _theirs(reader: Schema, writer: Schema) -> bool:
    result = ReaderWriterCompatibilityChecker().get_compatibility(  # type: ignore[no-untyped-call]
        avro_parse(json.dumps(reader)), avro_parse(json.dumps(writer))
    )
    return bool(result.compatibility is SchemaCompatibilityType.compatible)
