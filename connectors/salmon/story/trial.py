"""
Tries the configuration of an object on one record, without any server: what would each side get, and why?

The record is taken as new: as if its side reported it for the first time, and the other side did not have it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bson.errors import BSONError
from bson.json_util import RELAXED_JSON_OPTIONS, dumps, loads

from salmon.config.models import ObjectConfig, SyncConfig
from salmon.errors import ConfigError, DataError
from salmon.foreign_json import json_in
from salmon.kafka.codecs.schemas import packaged_object
from salmon.merge.settings import rules_of
from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, Value, WriteOp
from salmon.model.convert import from_json, from_rest, to_json, to_rest
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema, schema_of_describe
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.keys import key_of
from salmon.mongodb.shapes import shape_of

_NEW: Final = "(a new Id)"
_ITS_KEY: Final = "(its key)"


@dataclass(frozen=True)
class ForSide:
    """What one side gets. *why*: sentences. *record*: None if it gets nothing."""

    side: str
    place: str  # the collection, or the object
    record: Mapping[str, Any] | None
    why: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        return {"side": self.side, "place": self.place, "gets": self.record, "why": list(self.why)}


@dataclass(frozen=True)
class Trial:
    """What came of a record."""

    object: str
    origin: str
    agreed: Mapping[str, Any]  # the record as Kafka's `records` has it
    sides: Sequence[ForSide]
    notes: Sequence[str] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "object": self.object,
            "from": self.origin,
            "agreed": self.agreed,
            "sides": [each.as_dict() for each in self.sides],
            "notes": list(self.notes),
        }


def schema_from(name: str, path: Path | None, config: ObjectConfig) -> ObjectSchema:
    """
    Return an object's schema.

    Args:
        path: A describe, or what `salmon schemas generate` made of one. None: the schema of a standard object that comes with Salmon.

    Raises:
        ConfigError: there is none, or it is not one of this object.
    """
    if path is None:
        avro = packaged_object(name)
        if avro is None:
            raise ConfigError(
                f"--schema is missing: the fields of {name} are not known without asking the org. Give the answer of GET"
                f" /services/data/v64.0/sobjects/{name}/describe as a file."
            )
        return _with_computed(_selected(ObjectSchema.from_avro(avro), config), config)
    try:
        content = json_in(path.read_text(encoding="utf-8"))
        described = (
            schema_of_describe(
                content,
                include=config.fields.include,
                exclude=config.fields.exclude,
                decimals=config.numbers == "decimal",
            )
            if "label" in content or "keyPrefix" in content
            else _selected(ObjectSchema.from_avro(content), config)
        )
    except OSError as error:
        raise ConfigError(f"--schema {path}: cannot be read ({error.strerror}). Name another file.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--schema {path}: is neither an object's describe nor its schema ({type(error).__name__})."
        ) from None
    if described.name != name:
        raise ConfigError(f"--schema {path}: is of {described.name}, not of {name}.")
    return _with_computed(described, config)


def _with_computed(schema: ObjectSchema, config: ObjectConfig) -> ObjectSchema:
    return schema.with_computed(config.computed(schema))


def _selected(schema: ObjectSchema, config: ObjectConfig) -> ObjectSchema:
    include, exclude = config.fields.include, config.fields.exclude
    fields = tuple(
        each
        for each in schema.fields
        if (include is None or each.name in include) and each.name not in exclude
    )
    return replace(schema, fields=fields)


def tried(settings: SyncConfig, schema: ObjectSchema, text: str, *, origin: str) -> Trial:
    """
    Try a record.

    Args:
        text: JSON: what Salesforce's REST API shows, a MongoDB document as extended JSON, or the fields of a further side's record.
        origin: The side that it is from.

    Raises:
        ConfigError: it is not JSON of a record; or the transforms do not fit the schema.
    """
    config, roster = settings.objects[schema.name], settings.roster
    if not roster.has(origin, schema.name):
        raise ConfigError(
            f"--from {origin}: must be one of {', '.join(roster.names_of(schema.name))}, the sides of {schema.name}."
        )
    rules = rules_of(schema, config, roster.of(schema.name))
    shape = shape_of(settings.objects, schema.name, schema)
    key, told, notes = _read(text, schema, shape, origin)
    record = _with_made(told, rules)
    if overruled := sorted(
        name for name in rules.computed if name in told and told[name] != record.get(name)
    ):
        notes.append(f"computed, so what the record has is set right again: {', '.join(overruled)}")
    if rules.one_way_to == origin:
        notes.append(f"{origin} is not read: the direction of {schema.name} is {config.direction}.")
        return Trial(schema.name, origin, {}, (), notes)
    if hidden := sorted(record.keys() & set(rules.masked(origin))):
        notes.append(f"not taken from {origin}, which has them masked: {', '.join(hidden)}")
        record = {name: value for name, value in record.items() if name not in hidden}
    shown = {name: to_rest(schema.by_name[name], value) for name, value in record.items()}
    found = []
    for side in rules.sides:
        view = rules.views.get(side)
        place = (view and view.place(record)) or (
            schema.name if side != MONGODB else ", ".join(config.places)
        )
        if side == origin:
            found.append(ForSide(side, place, None, ("it has the record: it comes from there",)))
        elif (reason := _kept_away(side, record, shape)) is not None:
            found.append(ForSide(side, place, None, (reason,)))
        elif side == MONGODB:
            found.append(_for_mongodb(place, key, record, rules, shape))
        elif side == SALESFORCE:
            found.append(_for_salesforce(schema, record, rules))
        else:
            found.append(_for_further(side, schema, record, rules))
    return Trial(schema.name, origin, shown, found, notes)


def _kept_away(side: str, record: Mapping[str, Value], shape: DocumentShape) -> str | None:
    """Why the side does not get the record; None: it does."""
    try:
        reason = shape.flow.why_not(side, record)
    except DataError as error:
        return f"its filter cannot say whether it is to have the record: {error}"
    return None if reason is None else f"its filter keeps the record away: {reason}"


def _read(
    text: str, schema: ObjectSchema, shape: DocumentShape, origin: str
) -> tuple[str, dict[str, Value], list[str]]:
    """The record's key and agreed fields, without nulls, and notes about what is not among them."""
    try:
        content = loads(text) if origin == MONGODB else json_in(text)
    except (ValueError, TypeError, ArithmeticError, RecursionError, BSONError) as error:
        raise ConfigError(f"--record: is not valid JSON ({type(error).__name__}).") from None
    if not isinstance(content, dict):
        raise ConfigError("--record: must be one JSON object, the record.")
    notes: list[str] = []
    if origin == MONGODB:
        reading = shape.reading(content)
        notes += [str(misfit) for misfit in reading.misfits.values()]
        fields = {name: value for name, value in reading.fields.items() if name in schema.by_name}
        key = key_of(content["_id"]) if "_id" in content else _NEW
        others = sorted(content.keys() - shape.projection.keys())
        if others:
            notes.append(f"not synced, since they belong to the application: {', '.join(others)}")
        return key, {name: value for name, value in fields.items() if value is not None}, notes
    fields, read = {}, from_rest if origin == SALESFORCE else from_json
    own = (schema.of_org if origin == SALESFORCE else schema).by_name
    for name, value in content.items():
        if name not in own:
            continue
        try:
            fields[name] = read(own[name], value)
        except DataError as misfit:
            notes.append(str(misfit))
    others = sorted(content.keys() - own.keys() - {"Id", "attributes"})
    if others:
        notes.append(
            f"not synced, since {schema.name} has no such field, or `fields` leaves it out: {', '.join(others)}"
        )
    return (
        str(content.get("Id") or (_NEW if origin == SALESFORCE else _ITS_KEY)),
        {name: value for name, value in fields.items() if value is not None},
        notes,
    )


def _with_made(record: Mapping[str, Value], rules: Rules) -> Mapping[str, Value]:
    """The record, with what is made of its other values."""
    made = {name: of(record) for name, of in rules.computed.items()}
    return {name: value for name, value in {**record, **made}.items() if value is not None}


def _for_mongodb(
    place: str, key: str, record: Mapping[str, Value], rules: Rules, shape: DocumentShape
) -> ForSide:
    try:
        document = shape.document(key, {**rules.seen_by(MONGODB, record), SALESFORCE_ID: None}, 1)
    except DataError as error:
        return ForSide(MONGODB, place, None, (f"its document cannot be made: {error}",))
    shown = json.loads(dumps({**document, "_salmon": {"seq": 1}}, json_options=RELAXED_JSON_OPTIONS))
    why = _masks(rules, MONGODB, record)
    if made := sorted(rules.computed.keys() & record.keys()):
        why.append(f"computed, so one-way: {', '.join(made)}")
    return ForSide(MONGODB, place, shown, why)


def _for_salesforce(schema: ObjectSchema, record: Mapping[str, Value], rules: Rules) -> ForSide:
    may = rules.sink_may_set(SALESFORCE, WriteOp.CREATE)
    seen = rules.seen_by(SALESFORCE, record)
    given = {name: to_rest(schema.by_name[name], value) for name, value in seen.items() if name in may}
    why = _masks(rules, SALESFORCE, record)
    if refused := sorted(seen.keys() - may):
        why.append(f"Salesforce sets these itself: {', '.join(refused)}")
    missing = sorted(each.name for each in schema.fields if each.required and each.name not in given)
    if missing:
        why.append(f"Salesforce would refuse it: it requires {', '.join(missing)}")
    return ForSide(SALESFORCE, schema.name, given, why)


def _for_further(side: str, schema: ObjectSchema, record: Mapping[str, Value], rules: Rules) -> ForSide:
    """What the side's sink is given, as JSON would show it. What it makes of that is its own business."""
    seen = rules.seen_by(side, record)
    given = {name: to_json(schema.by_name[name], value) for name, value in seen.items()}
    return ForSide(side, schema.name, given, _masks(rules, side, record))


def _masks(rules: Rules, side: str, record: Mapping[str, Value]) -> list[str]:
    masked = sorted(record.keys() & set(rules.masked(side)))
    return [f"masked, so one-way: {', '.join(masked)}"] if masked else []
