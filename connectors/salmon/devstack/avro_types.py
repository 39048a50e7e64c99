"""
Avro schemas as a tree of types with their names resolved, for comparing them. Pure.

What two trees mean to each other is for compatibility.py. Source: Apache Avro 1.11.1, Specification, Schema
Declaration and Names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from salmon.errors import DataError
from salmon.foreign_json import json_in

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED: Final = frozenset({"record", "error", "enum", "fixed"})
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FULL_NAME: Final = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern})*")
_RANGES: Final = {"int": 2**31, "long": 2**63}
_DEPTH_MAX: Final = 200


class BadSchema(DataError):
    """A text is not an Avro schema; the message says where and why."""


@dataclass(slots=True, eq=False)
class AvroType:
    """
    One type. Named types are shared, so trees may be circular.

    `name` and `aliases` are full names; `items` is the element of an array or the value of a map.
    """

    kind: str
    name: str = ""
    aliases: frozenset[str] = frozenset()
    fields: tuple[AvroField, ...] = ()
    symbols: tuple[str, ...] = ()
    enum_default: str | None = None
    size: int = 0
    items: AvroType | None = None
    branches: tuple[AvroType, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)  # logicalType, doc, ...: everything else

    @property
    def short_name(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class AvroField:
    """A field of a record."""

    name: str
    type: AvroType
    has_default: bool
    default: Any = None
    aliases: frozenset[str] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str) -> AvroType:
    """
    Read a schema.

    Raises:
        BadSchema: it is not JSON, has an unknown type, a bad or repeated name, a default that does not fit, ...
    """
    try:
        return _Parser().type(json_in(text), namespace="", depth=0)
    except (ValueError, RecursionError) as error:
        raise BadSchema(f"the schema is not JSON: {error}") from None


def content(schema: AvroType) -> str:
    """Return *schema* in a canonical spelling: equal for schemas that differ only in spelling. Docs count."""
    return json.dumps(_spelt(schema, set()), sort_keys=True, separators=(",", ":"))


class _Parser:
    def __init__(self) -> None:
        self._named: dict[str, AvroType] = {}

    def type(self, schema: Any, *, namespace: str, depth: int) -> AvroType:
        if depth > _DEPTH_MAX:
            raise BadSchema(f"the schema is nested more than {_DEPTH_MAX} deep")
        if isinstance(schema, str):
            return self._reference(schema, namespace)
        if isinstance(schema, list):
            return self._union(schema, namespace, depth)
        if not isinstance(schema, dict) or "type" not in schema:
            raise BadSchema(f"not a type: {_short(schema)}")
        kind = schema["type"]
        if isinstance(kind, (dict, list)):
            # {"type": {"type": "string"}}: allowed by all implementations, and the outer attributes are its own.
            return self.type(kind, namespace=namespace, depth=depth + 1)
        if kind in _NAMED:
            return self._named_type(schema, namespace, depth)
        if kind in {"array", "map"}:
            word = "items" if kind == "array" else "values"
            if word not in schema:
                raise BadSchema(f"a type {kind} without {word}")
            items = self.type(schema[word], namespace=namespace, depth=depth + 1)
            return AvroType(kind, items=items, attributes=_others(schema, {"type", word}))
        if kind in PRIMITIVES:
            return AvroType(kind, attributes=_others(schema, {"type"}))
        return self._reference(kind, namespace)

    def _reference(self, name: Any, namespace: str) -> AvroType:
        if name in PRIMITIVES:
            return AvroType(name)
        for full in (_full(name, namespace), name):
            if full in self._named:
                return self._named[full]
        raise BadSchema(f"the type {_short(name)} is not defined")

    def _union(self, schema: list[Any], namespace: str, depth: int) -> AvroType:
        branches = tuple(self.type(branch, namespace=namespace, depth=depth + 1) for branch in schema)
        kinds = [branch.name or branch.kind for branch in branches]
        if "union" in kinds:
            raise BadSchema("a union directly in a union")
        if len(set(kinds)) < len(kinds):
            raise BadSchema(f"a union with two branches of one type: {_short(kinds)}")
        return AvroType("union", branches=branches)

    def _named_type(self, schema: dict[str, Any], namespace: str, depth: int) -> AvroType:
        kind = schema["type"]
        name = schema.get("name")
        if not isinstance(name, str) or not _FULL_NAME.fullmatch(name):
            raise BadSchema(f"a {kind} has the name {_short(name)}")
        own = schema.get("namespace")
        if own is not None and own != "" and not (isinstance(own, str) and _FULL_NAME.fullmatch(own)):
            raise BadSchema(f"{name} has the namespace {_short(own)}")
        full = _full(name, namespace if own is None else own)
        if full in self._named:
            raise BadSchema(f"{full} is defined twice")
        inner = full.rpartition(".")[0]
        made = AvroType("record" if kind == "error" else kind, name=full)
        made.aliases = frozenset(_full(alias, inner) for alias in _names(schema, "aliases", _FULL_NAME))
        self._named[full] = made
        known = {"type", "name", "namespace", "aliases"}
        if kind == "enum":
            self._complete_enum(made, schema)
            known |= {"symbols", "default"}
        elif kind == "fixed":
            size = schema.get("size")
            if not isinstance(size, int) or isinstance(size, bool) or size < 0:
                raise BadSchema(f"the fixed {full} has the size {_short(size)}")
            made.size = size
            known |= {"size"}
        else:
            made.fields = self._fields(schema, full, inner, depth)
            known |= {"fields"}
        made.attributes = _others(schema, known)
        return made

    def _complete_enum(self, made: AvroType, schema: dict[str, Any]) -> None:
        if "symbols" not in schema:
            raise BadSchema(f"the enum {made.name} has no symbols")
        made.symbols = tuple(_names(schema, "symbols", _NAME))
        if len(set(made.symbols)) < len(made.symbols):
            raise BadSchema(f"the enum {made.name} has a symbol twice")
        made.enum_default = schema.get("default")
        if made.enum_default is not None and made.enum_default not in made.symbols:
            raise BadSchema(f"the default of the enum {made.name} is not one of its symbols")

    def _fields(
        self, schema: dict[str, Any], record: str, namespace: str, depth: int
    ) -> tuple[AvroField, ...]:
        declared = schema.get("fields")
        if not isinstance(declared, list):
            raise BadSchema(f"the record {record} has no fields")
        fields = []
        for one in declared:
            name = one.get("name") if isinstance(one, dict) else None
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise BadSchema(f"a field of {record} has the name {_short(name)}")
            if "type" not in one:
                raise BadSchema(f"the field {record}.{name} has no type")
            made = AvroField(
                name,
                self.type(one["type"], namespace=namespace, depth=depth + 1),
                has_default="default" in one,
                default=one.get("default"),
                aliases=frozenset(_names(one, "aliases", _NAME)),
                attributes=_others(one, {"name", "type", "default", "aliases"}),
            )
            if made.has_default and not _fits(made.type, made.default):
                raise BadSchema(f"the default of {record}.{name} does not fit its type")
            fields.append(made)
        names = [made.name for made in fields]
        if len(set(names)) < len(names):
            raise BadSchema(f"the record {record} has a field twice")
        return tuple(fields)


def _fits(schema: AvroType, value: Any) -> bool:
    """Whether *value* may be a default of the type, in Avro's JSON. A union's default must fit its first branch."""
    match schema.kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            bound = _RANGES[schema.kind]
            return isinstance(value, int) and not isinstance(value, bool) and -bound <= value < bound
        case "float" | "double":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "bytes" | "string":
            return isinstance(value, str)
        case "fixed":
            return isinstance(value, str) and len(value) == schema.size
        case "enum":
            return value in schema.symbols
        case "array":
            assert schema.items is not None
            return isinstance(value, list) and all(_fits(schema.items, one) for one in value)
        case "map":
            assert schema.items is not None
            return isinstance(value, dict) and all(_fits(schema.items, one) for one in value.values())
        case "union":
            return bool(schema.branches) and _fits(schema.branches[0], value)
        case _:
            return isinstance(value, dict) and all(
                _fits(one.type, value[one.name]) if one.name in value else one.has_default
                for one in schema.fields
            )


def _spelt(schema: AvroType, told: set[str]) -> Any:
    if schema.name in told:
        return schema.name
    spelt: dict[str, Any] = {"type": schema.kind, **schema.attributes}
    if schema.name:
        told.add(schema.name)
        spelt["name"] = schema.name
    if schema.aliases:
        spelt["aliases"] = sorted(schema.aliases)
    match schema.kind:
        case "union":
            return [_spelt(branch, told) for branch in schema.branches]
        case "array" | "map":
            assert schema.items is not None
            spelt["items"] = _spelt(schema.items, told)
        case "enum":
            spelt |= {"symbols": schema.symbols, "default": schema.enum_default}
        case "fixed":
            spelt["size"] = schema.size
        case "record":
            spelt["fields"] = [
                {"name": one.name, "type": _spelt(one.type, told), "aliases": sorted(one.aliases)}
                | ({"default": one.default} if one.has_default else {})
                | dict(one.attributes)
                for one in schema.fields
            ]
    return spelt


def _full(name: Any, namespace: str) -> str:
    """The full name of *name* where *namespace* encloses it."""
    return str(name) if "." in str(name) or not namespace else f"{namespace}.{name}"


def _names(holder: Mapping[str, Any], word: str, form: re.Pattern[str]) -> list[str]:
    names = holder.get(word, [])
    if not isinstance(names, list) or not all(isinstance(one, str) and form.fullmatch(one) for one in names):
        raise BadSchema(f"{word} of {_short(holder.get('name'))} are not names: {_short(names)}")
    return names


def _others(schema: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    return {word: value for word, value in schema.items() if word not in known}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
