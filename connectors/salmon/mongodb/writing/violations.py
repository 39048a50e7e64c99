"""
The properties that a document lacks or has wrong by a validator of its collection, as MongoDB's error lists them. Pure.

The server describes a violation as a tree (MongoDB Manual, Schema Validation; `errInfo.details`). Its shape depends on the
validator: `$jsonSchema`, query operators, `$expr`, or any of them within another. The tree also quotes values of the
document, which are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_LISTS_OF_NAMES: Final = ("missingProperties", "additionalProperties")
# Values of the document; and what is only a heading, or a schema.
_NOT_READ: Final = frozenset({"consideredValue", "consideredValues", "specifiedAs", "title", "description"})
_NAMED_MAX: Final = 20


def properties_at_fault(error: Mapping[str, Any]) -> list[str]:
    """Return the names of a document's own properties, in order and without repetition. Empty if none is named."""
    return list(dict.fromkeys(_named(error.get("errInfo", {}).get("details"))))[:_NAMED_MAX]


def _named(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from _named(each)
    elif isinstance(node, Mapping):
        if "propertyName" in node:
            yield node["propertyName"]  # what is below it is within this property
            return
        if "conditionalProperty" in node:
            yield node["conditionalProperty"]
        for key in _LISTS_OF_NAMES:
            yield from (name for name in node.get(key, ()) if isinstance(name, str))
        if str(node.get("operatorName", "")).startswith("$") and "specifiedAs" in node:
            yield from _asked(node["specifiedAs"])
        for key, below in node.items():
            if key not in _NOT_READ:
                yield from _named(below)


def _asked(query: Any) -> Iterator[str]:
    """Yield the properties that a part of a query asks for."""
    if isinstance(query, list):
        for each in query:
            yield from _asked(each)
    elif isinstance(query, Mapping):
        for key, below in query.items():
            if key == "$expr":
                yield from _paths(below)
            elif not key.startswith("$"):
                yield key.partition(".")[0]
            elif key != "$jsonSchema":
                yield from _asked(below)


def _paths(expression: Any) -> Iterator[str]:
    """Yield the properties that an expression reads: "$Name" is one, "$$NOW" is a variable."""
    if isinstance(expression, str):
        if expression.startswith("$") and not expression.startswith("$$"):
            yield expression[1:].partition(".")[0]
    elif isinstance(expression, list):
        for each in expression:
            yield from _paths(each)
    elif isinstance(expression, Mapping):
        for below in expression.values():
            yield from _paths(below)
