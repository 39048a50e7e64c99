"""
Says in words what a new version of a schema would change, and which field of it would break the subject's promise.

The rules of Avro and of the levels are in devstack.compatibility, by which our own registry decides as well. The registry of the
sync has the last word: what it would not take is broken, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from salmon.config.models import SyncConfig
from salmon.devstack.avro_types import AvroType, parse
from salmon.devstack.compatibility import Level, breaches
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.schemas.subjects import Described, subjects

WORDS_CHANGED: Final = "labels, help, picklist values or children have changed"


@dataclass(frozen=True, slots=True)
class Compared:
    """
    One subject and its new schema.

    Attributes:
        is_new: The registry does not have the subject.
        level: What it promises about its versions; empty if it is new.
        changes: What would be otherwise than in its latest version, a sentence each.
        faults: Why it would break the promise, a sentence each; none: it would not.
    """

    subject: str
    is_new: bool
    level: str
    changes: tuple[str, ...]
    faults: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "new": self.is_new,
            "compatibility": self.level or None,
            "changes": list(self.changes),
            "faults": list(self.faults),
        }


def compared(config: SyncConfig, described: Described, registry: SchemaRegistry) -> Iterator[Compared]:
    """
    Hold every subject's new schema against what the registry has. Nothing is registered.

    Raises:
        ConfigError: the rules of an object do not fit what the org has.
        SetupError, Unavailable: the registry refuses us, or does not answer.
    """
    for name, schema in subjects(config, described, registry).items():
        latest = registry.latest(name)
        if latest is None:
            yield Compared(name, True, "", (), ())
        elif latest[1] == schema:
            yield Compared(name, False, registry.level(name), (), ())
        else:
            level = registry.level(name)
            faults = broken(schema, registry.versions(name), level)
            if not faults and (said := registry.objection(name, schema)) is not None:
                faults = (f"the registry would not take it: {said or 'it does not say why'}",)
            changes = tuple(differences(latest[1], schema))
            if not changes and name in {
                config.topic_names.described(each) for each in described.descriptions
            }:
                changes = (WORDS_CHANGED,)
            yield Compared(name, False, level, changes, faults)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Say what *new* has otherwise than *old*, both Avro records, field by field."""
    before, after = _by_name(old), _by_name(new)
    for name in before.keys() - after.keys():
        yield f"{path}{name}: removed"
    for name, field in after.items():
        where = f"{path}{name}"
        if name not in before:
            yield f"{where}: added, {_shown(field['type'])}"
            continue
        inner = _record_in(before[name]["type"]), _record_in(field["type"])
        if inner[0] is not None and inner[1] is not None:
            yield from differences(inner[0], inner[1], f"{where}.")
        elif _bare(before[name]["type"]) != _bare(field["type"]):
            yield f"{where}: {_shown(before[name]['type'])} becomes {_shown(field['type'])}"


def broken(new: Mapping[str, Any], earlier: list[tuple[int, dict[str, Any]]], level: str) -> tuple[str, ...]:
    """Say which field of *new* breaks the promise of *level* towards which of the *earlier* versions, and why."""
    parsed = parse(json.dumps(new))
    old = [(number, parse(json.dumps(schema))) for number, schema in earlier]
    faults = []
    for breach in breaches(parsed, old, Level(level)):
        reader = parsed if breach.reader == "new" else dict(old)[breach.version]
        field = _field_at(reader, breach.reason.path)
        who = f"{breach.reader} readers could not read version {breach.version}"
        if breach.reader == "old":
            who = f"readers with version {breach.version} could not read the new one"
        faults.append(f"{field or 'the record'}: {who}: {breach.reason.detail}")
    return tuple(dict.fromkeys(faults))


def _field_at(schema: AvroType, pointer: str) -> str:
    """The dotted name of the field that a JSON pointer into *schema* goes through, e.g. /fields/4/type/fields/0/type/1."""
    names: list[str] = []
    at: AvroType | None = schema
    steps = iter(pointer.strip("/").split("/"))
    for step in steps:
        if at is None:
            break
        if step == "fields":
            field = at.fields[int(next(steps))]
            names.append(field.name)
            at = field.type
        elif step in {"items", "values"}:
            at = at.items
        elif step.isdigit() and at.kind == "union" and int(step) < len(at.branches):
            at = at.branches[int(step)]
    return ".".join(names)


def _by_name(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {field["name"]: field for field in record["fields"]}


def _record_in(schema: Any) -> Mapping[str, Any] | None:
    """The record that a type is, or has among its branches, or as its items; None: it has none, or only names it."""
    if isinstance(schema, list):
        return next((found for branch in schema if (found := _record_in(branch))), None)
    if isinstance(schema, dict):
        if schema["type"] == "record":
            return schema
        return _record_in(schema.get("items", schema.get("values")))
    return None


def _bare(schema: Any) -> Any:
    """A type without what no reader needs."""
    if isinstance(schema, list):
        return [_bare(branch) for branch in schema]
    if isinstance(schema, dict):
        kept = {key: _bare(value) for key, value in schema.items() if key in {"type", "items", "values"}}
        kept |= {
            key: schema[key] for key in ("logicalType", "symbols", "precision", "scale") if key in schema
        }
        return kept["type"] if len(kept) == 1 else kept
    return schema


def _shown(schema: Any) -> str:
    """A type in a word or two: "string or null"."""
    if isinstance(schema, list):
        known = [_shown(branch) for branch in schema if branch != "null"]
        return " or ".join(known + ["null"] * ("null" in schema))
    if isinstance(schema, dict):
        if "logicalType" in schema:
            return str(schema["logicalType"])
        if "items" in schema:
            return f"array of {_shown(schema['items'])}"
        return _shown(schema["type"])
    return str(schema)
