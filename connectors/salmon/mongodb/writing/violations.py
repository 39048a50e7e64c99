"""
The properties that a document lacks or has wrong by a validator of its collection, as MongoDB's error lists them. Pure.

The server describes a violation as a tree (MongoDB Manual, Schema Validation; `errInfo.details`). Its shape depends on the
validator: `$jsonSchema`, query operators, `$expr`, or any of them within another. The tree also quotes values of the
document, which are not read.

A property in a sub-document is named if fields of the record are in that sub-document. Otherwise the sub-document is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from salmon.mongodb.paths import above_of

_LISTS_OF_NAMES: Final = ("missingProperties", "additionalProperties")
# Values of the document; and what is only a heading, or a schema.
_NOT_READ: Final = frozenset({"consideredValue", "consideredValues", "specifiedAs", "title", "description"})
_NAMED_MAX: Final = 20


def properties_at_fault(error: Mapping[str, Any], below: Collection[str] = ()) -> list[str]:
    """
    Return the paths of a document's properties, in order and without repetition. Empty if none is named.

    Args:
        below: The sub-documents in which fields of the record are.
    """
    found = _named(error.get("errInfo", {}).get("details"), below)
    return list(dict.fromkeys(_cut(path, below) for path in found))[:_NAMED_MAX]


def _cut(path: str, below: Collection[str]) -> str:
    """What is at *path*, or the property that it is a part of."""
    return next((above for above in above_of(path) if above not in below), path)


def _named(node: Any, below: Collection[str], within: str = "") -> Iterator[str]:
    """*within*: the sub-document that the node is about, with a dot."""
    if isinstance(node, list):
        for each in node:
            yield from _named(each, below, within)
    elif isinstance(node, Mapping):
        if "propertyName" in node:
            name = f"{within}{node['propertyName']}"
            found = list(_named(node.get("details"), below, f"{name}.")) if name in below else []
            yield from found or [name]  # what is below a value is within this property
            return
        if "conditionalProperty" in node:
            yield f"{within}{node['conditionalProperty']}"
        for key in _LISTS_OF_NAMES:
            yield from (f"{within}{name}" for name in node.get(key, ()) if isinstance(name, str))
        if str(node.get("operatorName", "")).startswith("$") and "specifiedAs" in node:
            yield from _asked(node["specifiedAs"])
        for key, under in node.items():
            if key not in _NOT_READ:
                yield from _named(under, below, within)


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
                yield key
            elif key != "$jsonSchema":
                yield from _asked(below)


def _paths(expression: Any) -> Iterator[str]:
    """Yield the properties that an expression reads: "$Name" is one, "$$NOW" is a variable."""
    if isinstance(expression, str):
        if expression.startswith("$") and not expression.startswith("$$"):
            yield expression[1:]
    elif isinstance(expression, list):
        for each in expression:
            yield from _paths(each)
    elif isinstance(expression, Mapping):
        for below in expression.values():
            yield from _paths(below)
