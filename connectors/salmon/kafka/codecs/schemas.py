"""
Reads the fixed Avro schemas of `schemas-avro/fixed`, and makes an object's envelope schemas from them.

The .avsc files explain the fields; kafka.codecs.serdes encodes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from salmon.errors import SetupError

# The name of the placeholder in change.avsc, write.avsc and state.avsc; the object's own record replaces it.
PLACEHOLDER: Final = "salmon.records.Row"

_PACKAGE: Final = Path(__file__).resolve().parents[2]
_FOLDERS: Final = (
    _PACKAGE / "schemas_avro" / "fixed",  # in the wheel
    _PACKAGE.parent.parent / "schemas-avro" / "fixed",  # in a checkout
)


def fixed(name: str) -> dict[str, Any]:
    """
    Read one of the fixed schemas.

    Args:
        name: change, write, state, conflict, offset, identity, signal, outbox or outcome.

    Raises:
        SetupError: the file is missing from the installation.
    """
    schema: dict[str, Any] = json.loads(_text(name))
    return schema


def packaged_object(name: str) -> dict[str, Any] | None:
    """Read the schema of a standard object that comes with Salmon, with the standard fields; None: it does not."""
    for folder in _FOLDERS:
        path = folder.parent / "objects" / f"{name}.avsc"
        if name.isidentifier() and path.is_file():
            schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return schema
    return None


def envelope(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """
    Make the schema *name* (change, write, state) of one object, in which *row* replaces the placeholder.

    Args:
        row: The object's flat record, from `ObjectSchema.to_avro`. It replaces the definition of the placeholder, and its
            name replaces the placeholder's name elsewhere.
    """
    composed: dict[str, Any] = _with_row(fixed(name), row)
    return composed


def _with_row(schema: Any, row: Mapping[str, Any]) -> Any:
    full_name = f"{row['namespace']}.{row['name']}"
    match schema:
        case str():
            return full_name if schema == PLACEHOLDER else schema
        case list():
            return [_with_row(branch, row) for branch in schema]
        case {"type": "record", "name": str(name), "namespace": str(namespace)} if (
            f"{namespace}.{name}" == PLACEHOLDER
        ):
            return dict(row)
        case {"type": "record"}:
            fields = [{**field, "type": _with_row(field["type"], row)} for field in schema["fields"]]
            return {**schema, "fields": fields}
        case {"type": "array"}:
            return {**schema, "items": _with_row(schema["items"], row)}
        case {"type": "map"}:
            return {**schema, "values": _with_row(schema["values"], row)}
        case _:
            return schema


@cache
def _text(name: str) -> str:
    for folder in _FOLDERS:
        path = folder / f"{name}.avsc"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise SetupError(
        f"{name}.avsc is missing from this installation of Salmon. Install the package salmon-connect again."
    )
