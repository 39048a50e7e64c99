"""
Bodies of requests and answers: a pydantic model for each object, built from its schema, and what is checked of a body with it.

Types, lengths, picklists, unknown and read-only fields are the model's; what needs other fields or other records is in
salmon.api.records.checking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from salmon.api.handle import ApiObject
from salmon.api.problems import Fault, Problem
from salmon.foreign_json import json_in
from salmon.model.convert import is_time
from salmon.model.described import DescribedField
from salmon.model.schema import FieldSchema, Kind
from salmon.mongodb.documents import is_unicode

_NAMED_MAX: Final = 20  # values of a picklist that a fault lists
_UNKNOWN_MAX: Final = 50  # fields of a body that the object does not have; with more, none is named


@dataclass(frozen=True, slots=True)
class Models:
    """
    The models of one object.

    Args:
        record: What is answered.
        creation, edit: What may be given to create a record, and to change one.
    """

    record: type[BaseModel]
    creation: type[BaseModel]
    edit: type[BaseModel]


class Sync(BaseModel):
    """Where the sync is with a record."""

    state: Literal["in_step", "on_its_way", "refused", "in_conflict"]
    reason: str | None = Field(
        default=None,
        description="Why Salesforce refused it: its code and the fields. The history has the org's own words.",
    )
    seq: int | None = Field(default=None, description="The number of Salmon's last write to the document.")
    unfit: list[str] | None = Field(
        default=None, description="Fields whose values in MongoDB do not fit their types."
    )


def models_of(of: ApiObject) -> Models:
    """Build them."""
    every = {field.name: field for field in of.schema.fields}
    record: dict[str, Any] = {
        name: (_answered(field, of.described.fields.get(name)) | None, None) for name, field in every.items()
    }
    keys: dict[str, Any] = {
        "key": (str, Field(alias="_key", description="The record's key in every topic and address.")),
        "Id": (
            str | None,
            Field(default=None, description="The record's Id in Salesforce, once it is known."),
        ),
        "sync": (Sync, Field(alias="_sync")),
    }
    fields = {**keys, **record}
    answered = create_model(of.name, __config__=ConfigDict(extra="allow"), **fields)
    return Models(answered, _writable(of, "Create", creating=True), _writable(of, "Edit", creating=False))


def _writable(of: ApiObject, word: str, *, creating: bool) -> type[BaseModel]:
    settable = of.settable(creating=creating)
    fields: dict[str, Any] = {}
    for field in of.schema.fields:
        if field.name not in settable:
            continue
        kind = _given(field, of.described.fields.get(field.name, DescribedField()))
        if creating and field.required:
            fields[field.name] = (kind, ...)
        elif field.nillable:
            fields[field.name] = (kind | None, None)
        else:
            fields[field.name] = (kind, None)
    return create_model(
        f"{of.name}{word}",
        __config__=ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True),
        **fields,
    )


def _answered(field: FieldSchema, described: DescribedField | None) -> Any:
    return Annotated[_type(field), WithJsonSchema(json_schema_of(field, described or DescribedField()))]


def _given(field: FieldSchema, described: DescribedField) -> Any:
    return Annotated[
        _type(field),
        BeforeValidator(_checks(field, described)),
        WithJsonSchema(json_schema_of(field, described)),
    ]


def _type(_: FieldSchema) -> Any:
    return Any


def json_schema_of(field: FieldSchema, described: DescribedField) -> dict[str, Any]:
    """The JSON Schema of a field's value that is not null."""
    schema: dict[str, Any] = dict(_SCHEMAS[field.kind])
    if field.kind is Kind.STRING and field.length and not field.is_polymorphic:
        schema["maxLength"] = field.length
    if field.kind is Kind.STRING and not field.nillable:
        schema["minLength"] = 1
    values = [choice.value for choice in described.choices]
    if described.restricted and values:
        inner = schema.setdefault("items", {}) if field.kind is Kind.STRINGS else schema
        inner["enum"] = values
    elif values:
        schema["examples"] = values[:_NAMED_MAX]
    if field.is_polymorphic:
        schema["pattern"] = (
            f"^({'|'.join(field.reference_to)})?:.+$" if len(field.reference_to) <= _NAMED_MAX else ":"
        )
    schema["title"] = described.label or field.label or field.name
    words = [described.help, f"{field.type} in Salesforce."]
    if field.reference_to:
        words.append(
            f"The key of a record of {', '.join(field.reference_to[:_NAMED_MAX])}; also its Salesforce Id."
        )
    if described.controller:
        words.append(f"Which values may be chosen depends on {described.controller}.")
        schema["x-controller"] = described.controller
    if described.choices:
        schema["x-labels"] = {choice.value: choice.label for choice in described.choices}
    schema["description"] = " ".join(word for word in words if word)
    return schema


_SCHEMAS: Final[Mapping[Kind, dict[str, Any]]] = {
    Kind.STRING: {"type": "string"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.INT: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    Kind.LONG: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    Kind.DOUBLE: {"type": "number"},
    Kind.DECIMAL: {"type": ["number", "string"]},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.DATETIME: {"type": "string", "format": "date-time"},
    Kind.TIME: {"type": "string", "pattern": r"^\d\d:\d\d(:\d\d(\.\d{1,3})?)?Z?$"},
    Kind.STRINGS: {"type": "array", "items": {"type": "string"}},
}
_FORMS: Final[Mapping[Kind, str]] = {
    Kind.STRING: "text",
    Kind.BOOLEAN: "true or false",
    Kind.INT: "a whole number of 32 bits",
    Kind.LONG: "a whole number of 64 bits",
    Kind.DOUBLE: "a number",
    Kind.DECIMAL: "a number, or text with its digits",
    Kind.DATE: "a date, e.g. 2026-11-25",
    Kind.DATETIME: "a time with its offset, e.g. 2026-11-25T13:05:00Z",
    Kind.TIME: "a time of day, e.g. 13:05:30.000",
    Kind.STRINGS: "a list of texts",
}


class _Wrong(ValueError):
    """A value is refused. *code*: our word for it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _checks(field: FieldSchema, described: DescribedField) -> Callable[[Any], Any]:
    """What a value of the field must be. The conversion to a document checks the types once more, in the sync's own code."""
    active = {choice.value for choice in described.choices}

    def check(value: Any) -> Any:
        if value is None:
            if field.nillable:
                return None
            raise _Wrong("not-nillable", "must not be null")
        if not _fits(field.kind, value):
            raise _Wrong("wrong-type", f"must be {_FORMS[field.kind]} ({field.type} in Salesforce)")
        texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        for text in texts:
            if not is_unicode(text):
                raise _Wrong("not-unicode", "is not valid Unicode")
        if (
            field.kind is Kind.STRING
            and field.length
            and not field.is_polymorphic
            and len(value) > field.length
        ):
            raise _Wrong("too-long", f"must have {field.length} characters or fewer")
        if described.restricted and active and not active.issuperset(text for text in texts if text):
            named = ", ".join(choice.value for choice in described.choices[:_NAMED_MAX])
            raise _Wrong("not-in-picklist", f"must be one of the picklist's values: {named}")
        return value

    return check


def _fits(kind: Kind, value: Any) -> bool:
    match kind:
        case Kind.STRING:
            return isinstance(value, str)
        case Kind.BOOLEAN:
            return isinstance(value, bool)
        case Kind.INT | Kind.LONG | Kind.DOUBLE:
            return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        case Kind.DECIMAL:
            return isinstance(value, int | float | Decimal | str) and not isinstance(value, bool)
        case Kind.STRINGS:
            return isinstance(value, list) and all(
                isinstance(item, str) and ";" not in item for item in value
            )
        case _:
            return isinstance(value, str) and _is_moment(kind, value)


def _is_moment(kind: Kind, text: str) -> bool:
    try:
        if kind is Kind.DATE:
            date.fromisoformat(text)
            return len(text) == len("2026-11-25")
        if kind is Kind.DATETIME:
            return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
    return is_time(text)


def parsed(body: bytes, content_type: str) -> Any:
    """
    The JSON of a body. Its numbers have all the digits that were given.

    Raises:
        Problem: 415, 400: it is none.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, "not-json", "The body must be JSON: send Content-Type: application/json.")
    try:
        return json_in(body, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once)
    except ValueError:
        raise Problem(400, "not-json", "The body is not valid JSON, or names a field twice.") from None


def _no_constant(_: str) -> Any:
    raise ValueError  # NaN and Infinity are no JSON


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def faults_in(of: ApiObject, model: type[BaseModel], given: Any, *, creating: bool) -> list[Fault]:
    """What is wrong with a body, by its own fields. *given*: its JSON."""
    if not isinstance(given, dict):
        return [Fault("body", "not-a-record", "must be an object: field -> value")]
    if len(given) > len(of.schema.fields) + _UNKNOWN_MAX:
        return [Fault("body", "too-many", f"has more fields than {of.name}")]
    try:
        model.model_validate(given)
    except ValidationError as error:
        return [_fault(of, each, creating=creating) for each in error.errors(include_url=False)]
    return []


def _fault(of: ApiObject, error: Any, *, creating: bool) -> Fault:
    name = ascii(str(error["loc"][0])[:80])[1:-1]
    if error["type"] == "extra_forbidden":
        if name not in of.schema.by_name:
            return Fault(name, "unknown-field", f"{of.name} has no such field that is synced")
        why = (
            "computed" if of.schema.by_name[name].computed else "masked" if name in of.masked else "read-only"
        )
        moment = "when a record is created" if creating else "in a record that exists"
        return Fault(name, "read-only", f"cannot be set {moment} ({why})")
    if error["type"] == "missing":
        return Fault(name, "required", "is required: Salesforce refuses a record without it")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, _Wrong):
        return Fault(name, cause.code, str(cause))
    return Fault(name, "wrong-type", "does not fit the field's type")
