"""
Where the fields of a record are in its document: under their own names at the top level, or at a path that the configuration
gives them (`objects.<Object>.fields.rename`).

    BillingCity: address.city     {_id: ..., address: {city: "Bonn", anything: "of the application's"}}

A path is the names of sub-documents and of the property, joined by dots. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from salmon.errors import ConfigError

MARKER: Final = "_salmon"
# The mark of documents whose fields have their own names: see mark_of.
PLAIN: Final = ""
_KEPT_FOR_OTHERS: Final = frozenset({"_id", MARKER})
_MAX_BYTES: Final = 255
_MAX_PARTS: Final = (
    10  # MongoDB Manual, Limits and Thresholds: 100 levels, which the application's own need, too
)
_MARK_CHARS: Final = 8


def usable_path(path: str) -> str:
    """Return *path*. Raises ValueError if a field cannot have it."""
    parts = path.split(".")
    if not all(parts):
        raise ValueError("must be names joined by single dots, e.g. address.city")
    if len(path.encode()) > _MAX_BYTES or len(parts) > _MAX_PARTS:
        raise ValueError(f"must have {_MAX_BYTES} bytes and {_MAX_PARTS} names or fewer")
    if not path.isprintable() or any(part != part.strip() for part in parts):
        raise ValueError("must not contain invisible characters, or names that begin or end with a blank")
    if parts[0] in _KEPT_FOR_OTHERS:
        raise ValueError(f"must not begin with {parts[0]}, which is not for fields of the record")
    if any(part.startswith("$") for part in parts):
        raise ValueError("must not have a name that begins with $, which MongoDB takes for an operator")
    if any(part.isdecimal() for part in parts):
        raise ValueError("must not have a name of digits alone, which MongoDB takes for a place in an array")
    return path


def clashes_in(paths: Mapping[str, str]) -> Iterator[str]:
    """Say which fields cannot have their paths beside each other. *paths*: field -> path."""
    fields: dict[str, str] = {}
    for field, path in sorted(paths.items()):
        if path in fields:
            yield f"{fields[path]} and {field} have the same path, {path}: give each field a path of its own"
        fields.setdefault(path, field)
    for path, field in fields.items():
        for above in above_of(path):
            if above in fields:
                yield (
                    f"{field} would be at {path}, within {above}, where {fields[above]} is: a value cannot contain another "
                    f"field. Give one of them another path"
                )


def above_of(path: str) -> Iterator[str]:
    """The paths of the sub-documents that a path leads through, the outermost first."""
    end = path.find(".")
    while end >= 0:
        yield path[:end]
        end = path.find(".", end + 1)


def moved_names(rename: Mapping[str, str]) -> dict[str, str]:
    """Field -> path, without those fields that keep their names."""
    return {field: path for field, path in rename.items() if path != field}


def require_distinct(name: str, paths: Mapping[str, str]) -> None:
    """Raise ConfigError if fields of the object *name* are in each other's way. *paths*: of all its synced fields."""
    if faults := list(clashes_in(paths)):
        raise ConfigError(f"objects.{name}.fields.rename: {'; '.join(faults)}.")


def mark_of(rename: Mapping[str, str]) -> str:
    """
    A short text that stands for *rename* (field -> path). Each document that Salmon writes carries it, so that nobody takes a
    document for one of another form.
    """
    if not rename:
        return PLAIN
    return hashlib.sha256(json.dumps(sorted(rename.items())).encode()).hexdigest()[:_MARK_CHARS]


def at(document: Mapping[str, Any], path: str) -> Any:
    """What a document holds at a path; None where nothing is, or something is in the way."""
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def in_the_way(document: Mapping[str, Any], path: str) -> tuple[str, Any] | None:
    """The first thing on the way to *path* that is not a document, and its path. What is null or missing is not in the way."""
    value: Any = document
    for above in above_of(path):
        value = value.get(above.rpartition(".")[2])
        if value is None:
            return None
        if not isinstance(value, Mapping):
            return above, value
    return None


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set a value at a path, in sub-documents that are made where they are missing."""
    *parents, name = path.split(".")
    for parent in parents:
        if not isinstance(document.get(parent), dict):
            document[parent] = {}
        document = document[parent]
    document[name] = value


def tops_of(paths: Collection[str]) -> list[str]:
    """The names at the top level of a document that the paths begin with, in their order."""
    return list(dict.fromkeys(path.partition(".")[0] for path in paths))
