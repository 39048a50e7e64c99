"""
Turns pydantic's errors about a configuration into sentences for an operator.

A sentence names the key, the type of its value, and what is expected. It never shows the value, which may be a
secret in the wrong place.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Final, ParamSpec, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from salmon.errors import ConfigError
from salmon.kafka.properties import BROKERS, OWN_PROPERTIES

P = ParamSpec("P")
T = TypeVar("T")

_TYPES: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "NoneType": "nothing",
    "list": "a list",
    "dict": "a mapping",
}


def as_value_error(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and let pydantic have the sentence of what is wrong."""
    try:
        return call(*args, **kwargs)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def faults_of(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each fault as the path of its key and a sentence."""
    for detail in error.errors(include_url=False):
        path = tuple(str(part) for part in detail["loc"] if part != "[key]")
        yield path, _sentence(detail, path, model)


def _sentence(detail: ErrorDetails, path: Sequence[str], model: type[BaseModel]) -> str:
    field = _field_at(model, path)
    meaning = f" {field.description}" if field is not None and field.description else ""
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(path, model)
        case "missing":
            return f"is missing.{meaning}"
        case "value_error":
            # Our own validators': they say what must be.
            return f"{detail['ctx']['error']}."
        case _:
            quoted = detail["type"] == "string_type" and isinstance(detail["input"], (int, float))
            hint = " Put it in quotes." if quoted else ""
            return f"is {type_named(detail['input'])}, but {_demand(detail)}.{hint}{meaning}"


def _unknown_key(path: Sequence[str], model: type[BaseModel]) -> str:
    place = _model_at(model, path[:-1])
    known = sorted(_fields_of(place)) if place else []
    close = difflib.get_close_matches(path[-1], known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"unknown key.{hint} Known keys here: {', '.join(known)}."


def _demand(detail: ErrorDetails) -> str:
    """Make our sentence of pydantic's, which says what is expected and contains no value."""
    if detail["type"] in {"dict_type", "model_type"}:
        return "must be a mapping"  # Pydantic would name a class of ours.
    if detail["type"] == "tuple_type":
        return "must be a list"
    said = detail["msg"]
    for subject in ("Input should be", "String should", "Value should", "List should", "Dictionary should"):
        if said.startswith(subject):
            rest = said.removeprefix(subject).strip()
            return f"must {'be ' if subject.endswith('be') else ''}{rest}"
    return said[:1].lower() + said[1:]


def type_named(value: Any) -> str:
    """A value's type, for a sentence."""
    name = type(value).__name__
    return f"{_TYPES[name]} ({name})" if name in _TYPES else f"a {name}"


def _field_at(model: type[BaseModel], path: Sequence[str]) -> FieldInfo | None:
    place = _model_at(model, path[:-1])
    return _fields_of(place).get(path[-1]) if place and path else None


def _fields_of(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The keys of a model, as they are written in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_at(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    """The model that the keys below *path* belong to."""
    place: Any = model
    for part in path:
        if isinstance(place, type) and issubclass(place, BaseModel):
            if part not in (fields := _fields_of(place)):
                return None
            place = fields[part].annotation
        elif get_origin(place) in {dict, Mapping}:
            place = get_args(place)[1]
        elif get_origin(place) is tuple:
            place = get_args(place)[0]
        else:
            return None
        if get_origin(place) in {Union, UnionType}:
            place = next((branch for branch in get_args(place) if branch is not type(None)), None)
    return place if isinstance(place, type) and issubclass(place, BaseModel) else None


_BROKERS_WANTED: Final = "HOST:PORT of one broker or more, separated by commas."


def faults_of_kafka(properties: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Check what we can of librdkafka's properties; librdkafka checks the rest when a client is created."""
    if not isinstance(properties, Mapping):
        return
    for name, content in properties.items():
        if name in OWN_PROPERTIES:
            yield ("kafka", name), "is set by Salmon itself, because its guarantees depend on it. Remove it."
        elif name in BROKERS and content and not isinstance(content, str):
            yield ("kafka", name), f"is {type_named(content)}, but must be text: {_BROKERS_WANTED}"
        elif not isinstance(content, (str, int, float)):
            fault = f"is {type_named(content)}, but must be a single text, number, true or false."
            yield ("kafka", str(name)), fault
    if not properties.get("bootstrap.servers"):
        yield (
            ("kafka", "bootstrap.servers"),
            f"is missing. Give {_BROKERS_WANTED}",
        )
