"""Avro's rules of who can read what, and the levels that a registry makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from salmon.devstack.avro_types import AvroType, parse
from salmon.devstack.compatibility import Level, breaches, incompatibilities

Schema = Any


def tree(schema: Schema) -> AvroType:
    return parse(json.dumps(schema))


def record(*fields: Schema, name: str = "R", **more: Schema) -> Schema:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, type: Schema, **more: Schema) -> Schema:  # noqa: A002
    return {"name": name, "type": type, **more}


def enum(*symbols: str, **more: Schema) -> Schema:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F") -> Schema:
    return {"type": "fixed", "name": name, "size": size}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def kinds(reader: Schema, writer: Schema) -> list[str]:
    return [reason.kind for reason in incompatibilities(tree(reader), tree(writer))]


@pytest.mark.parametrize(
    ("reader", "writer"),
    [
        ("long", "int"),
        ("float", "int"),
        ("double", "int"),
        ("float", "long"),
        ("double", "long"),
        ("double", "float"),
        ("string", "bytes"),
        ("bytes", "string"),
        ("null", "null"),
        (array("long"), array("int")),
        ({"type": "map", "values": "long"}, {"type": "map", "values": "int"}),
        (["null", "string"], "string"),
        (["null", "string"], ["null", "string"]),
        (["null", "string"], ["string", "null"]),
        (["null", "long", "string"], ["null", "int"]),
        ("long", ["int", "long"]),
        (["null", "double"], "int"),
        (enum("A", "B"), enum("A")),
        (enum("A", default="A"), enum("A", "B")),
        (fixed(4), fixed(4)),
        (record(), record(field("a", "int"))),
        (record(field("a", "int", default=0)), record()),
        (record(field("a", "long")), record(field("a", "int"))),
        (record(field("b", "int", aliases=["a"])), record(field("a", "int"))),
        (record(name="New", aliases=["Old"]), record(name="Old")),
        (record(namespace="one"), record(namespace="other")),
        ({"type": "int", "logicalType": "date"}, "int"),
    ],
)
def test_a_reader_reads_what_avro_says_it_does(reader: Schema, writer: Schema) -> None:
    """Promotions, unions, defaults, aliases: each of them makes two schemas compatible."""
    assert kinds(reader, writer) == []


@pytest.mark.parametrize(
    ("reader", "writer", "kind"),
    [
        ("int", "long", "TYPE_MISMATCH"),
        ("float", "double", "TYPE_MISMATCH"),
        ("string", "int", "TYPE_MISMATCH"),
        ("boolean", "int", "TYPE_MISMATCH"),
        ("string", ["null", "string"], "TYPE_MISMATCH"),
        (array("int"), array("string"), "TYPE_MISMATCH"),
        (array("int"), {"type": "map", "values": "int"}, "TYPE_MISMATCH"),
        (["null", "string"], ["null", "int"], "MISSING_UNION_BRANCH"),
        (["null", "string"], "int", "MISSING_UNION_BRANCH"),
        (enum("A"), enum("A", "B"), "MISSING_ENUM_SYMBOLS"),
        (fixed(4), fixed(5), "FIXED_SIZE_MISMATCH"),
        (fixed(4, "G"), fixed(4), "NAME_MISMATCH"),
        (record(name="New"), record(name="Old"), "NAME_MISMATCH"),
        (record(field("a", "int")), record(), "READER_FIELD_MISSING_DEFAULT_VALUE"),
        (record(field("a", ["null", "int"])), record(), "READER_FIELD_MISSING_DEFAULT_VALUE"),
        (record(field("a", "int")), record(field("a", "string")), "TYPE_MISMATCH"),
    ],
)
def test_a_reader_that_cannot_read_is_told_why(reader: Schema, writer: Schema, kind: str) -> None:
    """Each kind of incompatibility has the name that Avro gives it."""
    assert kinds(reader, writer) == [kind]


def test_the_place_of_a_fault_is_told() -> None:
    """Deep in a schema of a hundred fields, the path says where to look."""
    reader = record(field("x", "int"), field("inner", record(field("deep", array("int")), name="I")))
    writer = record(field("x", "int"), field("inner", record(field("deep", array("string")), name="I")))
    (reason,) = incompatibilities(tree(reader), tree(writer))
    assert reason.path == "/fields/1/type/fields/0/type/items"


def test_a_schema_that_contains_itself_is_compared_to_its_end() -> None:
    """A tree of accounts: the comparison ends, and still finds what differs."""

    def account(type_of_name: str) -> Schema:
        parent = field("Parent", ["null", "Account"], default=None)
        return record(field("Name", type_of_name), parent, name="Account")

    assert kinds(account("string"), account("string")) == []
    assert "TYPE_MISMATCH" in kinds(account("int"), account("string"))


V1 = tree(record(field("a", "int"), field("b", ["null", "string"], default=None)))
V2 = tree(record(field("a", "int")))
WITH_DEFAULT = tree(record(field("a", "int"), field("c", "int", default=0)))
REQUIRED = tree(record(field("a", "int"), field("c", "int")))
B_RETYPED = tree(record(field("a", "int"), field("b", ["null", "int"], default=None)))
NARROWER = tree(record())


@pytest.mark.parametrize(
    ("level", "new", "is_fine"),
    [
        (Level.NONE, REQUIRED, True),
        (Level.BACKWARD, WITH_DEFAULT, True),
        (Level.BACKWARD, REQUIRED, False),
        (Level.BACKWARD, NARROWER, True),
        (Level.BACKWARD, B_RETYPED, True),
        (Level.BACKWARD_TRANSITIVE, B_RETYPED, False),
        (Level.BACKWARD_TRANSITIVE, WITH_DEFAULT, True),
        (Level.FORWARD, REQUIRED, True),
        (Level.FORWARD, NARROWER, False),
        (Level.FORWARD, B_RETYPED, True),
        (Level.FORWARD_TRANSITIVE, B_RETYPED, False),
        (Level.FULL, WITH_DEFAULT, True),
        (Level.FULL, REQUIRED, False),
        (Level.FULL, NARROWER, False),
        (Level.FULL, B_RETYPED, True),
        (Level.FULL_TRANSITIVE, B_RETYPED, False),
    ],
)
def test_a_level_says_which_versions_must_understand_each_other(
    level: Level, new: AvroType, is_fine: bool
) -> None:
    """V1 had b as a string, V2 has no b: whether b may come back as an int depends on how far one looks."""
    assert (breaches(new, [(1, V1), (2, V2)], level) == ()) is is_fine


def test_a_first_version_breaks_no_promise() -> None:
    """There is nothing that it could fail to read."""
    assert breaches(V1, [], Level.FULL_TRANSITIVE) == ()


def test_a_breach_names_the_version_and_who_cannot_read_whom() -> None:
    """What a person needs to mend it."""
    (breach,) = breaches(REQUIRED, [(7, V2)], Level.BACKWARD)
    assert str(breach).startswith("the new schema cannot read the old one (version 7): READER_FIELD_MISSING")
