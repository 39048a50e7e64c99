"""
Makes a JSON Schema of the configuration from its models, for editors: they complete keys, show what each means, and underline what
does not fit. It allows a reference (`${env:...}`) wherever a value may be. It knows the settings of the plugins that are installed where it
is made. What only shows between several settings, `salmon config validate` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from pydantic import BaseModel

from salmon.config.models import SHORT_FORMS, SyncConfig
from salmon.config.reports import FIELD_PATTERN
from salmon.config.together import SOBJECT
from salmon.errors import ConfigError
from salmon.kafka.properties import OWN_PROPERTIES
from salmon.mongodb.reports.report import COUNT
from salmon.runtime import discovery

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "Replaced when the file is read: ${env:NAME:default}, ${file:/path}, ${file:/path:key} or ${dir:/folder:file}.",
}
_ANNOTATIONS: Final[tuple[str, ...]] = ("description", "default", "x-salmon-reload")
_BOUNDED: Final = {"pattern", "minLength", "maxLength", "enum", "format"}
_VALUES: Final = ("integer", "number", "boolean", "string")
_BELOW: Final = ("properties", "$defs")


def json_schema() -> dict[str, Any]:
    """The schema of a sync's YAML file."""
    made = SyncConfig.model_json_schema(by_alias=True)
    definitions = made["$defs"]
    for name in SHORT_FORMS:
        whole = definitions["ObjectConfig"]["properties"][name]
        mode = definitions[whole["$ref"].rpartition("/")[2]]["properties"]["mode"]
        definitions["ObjectConfig"]["properties"][name] = {"anyOf": [mode, {"$ref": whole["$ref"]}]}
    _shorten(made["properties"]["reports"], definitions)
    for name in ("objects", "events", "transforms"):
        made["properties"][name]["propertyNames"] = {"pattern": f"^{SOBJECT.pattern}$"}
    made["properties"]["kafka"] |= {
        "required": ["bootstrap.servers"],
        "properties": {"bootstrap.servers": {"type": "string", "minLength": 1}},
        "propertyNames": {"not": {"enum": sorted(OWN_PROPERTIES)}},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }
    if sides := {name: _settings(name, model, definitions) for name, model in _of_sides()}:
        made["properties"]["sides"]["properties"] = sides
    if entries := [_if_type(name, _settings(name, model, definitions)) for name, model in _of_transforms()]:
        definitions["TransformConfig"]["allOf"] = entries
    opened = _opened(made)
    opened["$defs"]["Reference"] = _REFERENCE
    # Either of them, and not both.
    opened["$defs"]["ObjectConfig"]["oneOf"] = [{"required": [key]} for key in ("collection", "collections")]
    return {"$schema": DIALECT, "title": "A sync of Salmon", **opened}


def _shorten(reports: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Let a plain word stand where the models of reports take one for a mapping, and refuse names that they refuse."""
    report = definitions["ReportConfig"]["properties"]
    word, whole = {"type": "string", "pattern": FIELD_PATTERN}, {"$ref": "#/$defs/GroupConfig"}
    several = {**report["by"], "items": {"anyOf": [word, whole]}}
    report["by"] = {"description": several.pop("description"), "anyOf": [word, whole, several]}
    for names in (reports, report["measures"]):
        ((pattern, value),) = names.pop("patternProperties").items()
        names |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}
    measure = report["measures"]["additionalProperties"]
    report["measures"]["additionalProperties"] = {"anyOf": [{"const": COUNT}, measure]}
    definitions["MeasureConfig"] |= {"minProperties": 1, "maxProperties": 1}


def _of_sides() -> Iterator[tuple[str, type[BaseModel]]]:
    for name in discovery.further_sides():
        with suppress(ConfigError):  # what is wrong with a package, is said where it is used
            yield name, discovery.side_plugin(name).settings


def _of_transforms() -> Iterator[tuple[str, type[BaseModel]]]:
    for name in discovery.transforms():
        with suppress(ConfigError):
            yield name, discovery.transform_plugin(name).settings


def _settings(plugin: str, model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a plugin's settings; what it refers to goes into *definitions*, under names of its own."""
    made = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{plugin}.{{model}}")
    definitions.update({f"{plugin}.{name}": each for name, each in made.pop("$defs", {}).items()})
    return made


def _if_type(plugin: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What an entry of `transforms` must be if its type is that of a plugin."""
    then: dict[str, Any] = {"properties": {"settings": settings}}
    if settings.get("required"):
        then["required"] = ["settings"]
    return {"if": {"properties": {"type": {"const": plugin}}, "required": ["type"]}, "then": then}


def _opened(node: dict[str, Any]) -> dict[str, Any]:
    """Let a reference stand for each value below *node*, and leave out the titles, which only repeat the keys."""
    made: dict[str, Any] = {}
    for key, value in node.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in _BELOW:
            made[key] = {name: _value(each) for name, each in value.items()}
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            made[key] = _value(value)
        elif key in {"anyOf", "oneOf"}:
            made[key] = [_value(each) for each in value]
        elif key == "allOf":
            made[key] = [{"if": each["if"], "then": _opened(each["then"])} for each in value]
        else:
            made[key] = value
    return made


def _value(node: dict[str, Any]) -> dict[str, Any]:
    made = _opened(node)
    is_open = made.get("type") == "string" and not _BOUNDED & made.keys()
    is_value = "enum" in made or made.get("type") in _VALUES
    if "const" in made or not is_value or is_open:
        return made
    outer = {key: made.pop(key) for key in _ANNOTATIONS if key in made}
    return {**outer, "anyOf": [made, {"$ref": "#/$defs/Reference"}]}
