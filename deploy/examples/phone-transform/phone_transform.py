"""
Two transforms and a predicate about phone numbers, to copy from. Install it beside Salmon in the image of every process, and name them in the
sync's YAML file:

    transforms:
      Contact:
        - {type: phone_uri, fields: [Phone]}              # documents: tel:+1%20555%200101, a link that dials; both ways
        - {type: phone_digits, fields: [MobilePhone]}     # documents: 15550101, to search by; one-way
        - {type: phone_from, settings: {field: Phone, begins_with: ["+1"]}}   # only these records, in documents
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field

from salmon.plugin import (
    ConfigError,
    FieldSchema,
    Kind,
    NoSettings,
    ObjectSchema,
    PredicatePlugin,
    TransformPlugin,
    Value,
)

SCHEME = "tel:"
Convert = Callable[[Value], Value]


def _to_uri(settings: NoSettings, field: FieldSchema) -> Convert:
    _require_text(field)
    return lambda number: SCHEME + quote(str(number), safe="+-.()")


def _from_uri(settings: NoSettings, field: FieldSchema) -> Convert:
    def read(uri: Value) -> Value:
        if not str(uri).startswith(SCHEME):
            raise ValueError  # then it is taken for a number as it is
        return unquote(str(uri).removeprefix(SCHEME))

    return read


class DigitsSettings(BaseModel):
    """Unknown keys are refused, and each key says what it is for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    last: int = Field(default=0, ge=0, le=40, description="How many digits are kept, from the end. 0: all.")


def _to_digits(settings: DigitsSettings, field: FieldSchema) -> Convert:
    _require_text(field)
    return lambda number: "".join(filter(str.isdecimal, str(number)))[-settings.last :]


class FromSettings(BaseModel):
    """Which numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str = Field(description="The field with the number.")
    begins_with: tuple[str, ...] = Field(min_length=1, description="How the numbers begin, e.g. +49.")


def _is_from(settings: FromSettings, schema: ObjectSchema) -> Callable[[Mapping[str, Value]], bool]:
    if settings.field not in schema.by_name:
        raise ConfigError(f"names {settings.field}, but {schema.name} has no such field: correct `field`")
    return lambda record: str(record.get(settings.field, "")).startswith(settings.begins_with)


def _require_text(field: FieldSchema) -> None:
    if field.kind is not Kind.STRING:
        raise ConfigError(f"is for texts, but {field.name} is a {field.type}: remove it from `fields`")


PHONE_URI = TransformPlugin(settings=NoSettings, shows=_to_uri, reads=_from_uri)
PHONE_DIGITS = TransformPlugin(settings=DigitsSettings, shows=_to_digits)
PHONE_FROM = PredicatePlugin(settings=FromSettings, holds=_is_from)
