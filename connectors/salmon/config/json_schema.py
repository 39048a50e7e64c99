"""
Makes a JSON Schema of the configuration from its models, for editors: they complete keys, show what each means, and underline what
does not fit. It allows a reference (`${env:...}`) wherever a value may be. What only shows between several settings, `salmon config
validate` says.
"""

from __future__ import annotations

from typing import Any, Final

from salmon.config.models import SHORT_FORMS, SyncConfig
from salmon.config.together import SOBJECT
from salmon.kafka.properties import OWN_PROPERTIES

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
    for name in ("objects", "events", "transforms"):
        made["properties"][name]["propertyNames"] = {"pattern": f"^{SOBJECT.pattern}$"}
    made["properties"]["kafka"] |= {
        "required": ["bootstrap.servers"],
        "properties": {"bootstrap.servers": {"type": "string", "minLength": 1}},
        "propertyNames": {"not": {"enum": sorted(OWN_PROPERTIES)}},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    }
    opened = _opened(made)
    opened["$defs"]["Reference"] = _REFERENCE
    return {"$schema": DIALECT, "title": "A sync of Salmon", **opened}


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
