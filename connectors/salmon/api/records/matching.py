"""
Filters as MongoDB's queries. Values go through the mapping of the documents, so a text of the request is never taken for an operator: it is
converted to the field's type, or refused.

As in SQL, a field that is empty matches no comparison, `neq` among them; `is.null` finds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bson.regex import Regex

from salmon.api.handle import ApiObject
from salmon.api.problems import Problem, at_fault
from salmon.api.records.filters import Condition, Group
from salmon.errors import DataError
from salmon.model.convert import from_text
from salmon.model.references import target_in
from salmon.model.schema import FieldSchema, Kind
from salmon.mongodb.keys import id_of
from salmon.mongodb.paths import MARKER
from salmon.mongodb.targets import ID as TARGET_ID
from salmon.salesforce.ids import id18
from salmon.transforms.nearest import nearest

NATIVE_ID: Final = f"{MARKER}.salesforce_id"
RECORD_ID: Final = "Id"
RECORD_KEY: Final = "_key"
_COMPARES: Final[Mapping[str, str]] = {"gt": "$gt", "gte": "$gte", "lt": "$lt", "lte": "$lte"}
_PATTERN_MAX: Final = 200
_WILDCARDS_MAX: Final = 5
_WORDS: Final[Mapping[str, Any]] = {"null": None, "true": True, "false": False}
# Kinds that a filter may compare with less and more.
_UNORDERED: Final = frozenset({Kind.STRINGS, Kind.BOOLEAN})
Query = dict[str, Any]


def query_of(group: Group, of: ApiObject) -> Query:
    """
    Return the query for these filters.

    Raises:
        Problem: 400, naming the field.
    """
    if not group.parts:
        return {"$nor": [{}]} if group.negated else {}
    parts = [query_of(part, of) if isinstance(part, Group) else _condition(part, of) for part in group.parts]
    if group.negated:
        return {"$nor": [{f"${group.operator}": parts}]}
    return parts[0] if len(parts) == 1 else {f"${group.operator}": parts}


def field_of(name: str, of: ApiObject) -> FieldSchema:
    """The field of this name. Raises Problem: 400."""
    if (field := of.schema.by_name.get(name)) is None:
        shown = ascii(name[:80])[1:-1]
        raise at_fault(
            shown,
            "unknown-field",
            f"{of.name} has no such field that is synced{nearest(name[:80], of.schema.by_name)}",
        )
    return field


def _condition(condition: Condition, of: ApiObject) -> Query:
    name, operator, negated = condition.field, condition.operator, condition.negated
    if name in {RECORD_ID, RECORD_KEY}:
        return _of_key(condition, of)
    field = field_of(name, of)
    path = of.shape.path[name]
    if operator == "is":
        return _is(field, path, condition.values[0], negated)
    if operator in {"like", "ilike"}:
        return _like(field, path, condition.values[0], negated, ignore_case=operator == "ilike")
    if operator in _COMPARES and (field.kind in _UNORDERED or field.is_polymorphic):
        raise at_fault(
            name,
            "not-comparable",
            f"a field of type {field.type} is neither less nor more; use eq, neq or in",
        )
    if operator == "cs" and field.kind is not Kind.STRINGS:
        raise at_fault(name, "not-a-list", "cs is for multi-select picklists; use eq or in")
    values = [each for text in condition.values for each in _shown(of, field, text)]
    if field.is_polymorphic:
        path = f"{path}.{TARGET_ID}"
    if operator in _COMPARES:
        found: Query = {path: {_COMPARES[operator]: values[0]}}
    elif operator == "cs":
        found = {path: {"$all": values}}
    elif operator == "neq":
        found = {path: {"$nin": [*values, None]}}
    else:
        found = {path: {"$in": values}}
    if not negated:
        return found
    return {"$and": [{path: {"$ne": None}}, {"$nor": [found]}]}


def _shown(of: ApiObject, field: FieldSchema, text: str) -> list[Any]:
    """What documents hold for this text; of a lookup, each form that its target's key may have."""
    if field.kind is Kind.STRINGS:
        return [text]
    try:
        value = from_text(field, text)
        if value is None:
            raise at_fault(field.name, "empty", "is compared with nothing; use is.null")
        if field.reference_to and isinstance(value, str):
            return _targets(target_in(field, value).key)
        return [of.shape.shown(field.name, value)]
    except DataError:
        reason = f"the value does not fit the type {field.type} ({field.kind.value})"
        raise at_fault(field.name, "wrong-type", reason) from None
    except (UnicodeEncodeError, ArithmeticError, ValueError):
        raise at_fault(field.name, "wrong-type", "the value is out of range") from None


def _targets(key: str) -> list[Any]:
    found = {key, id18(key) or key}
    return [id_of(each) for each in sorted(found)]


def _is(field: FieldSchema, path: str, text: str, negated: bool) -> Query:
    word = text.lower()
    if word not in _WORDS or (word != "null" and field.kind is not Kind.BOOLEAN):
        raise at_fault(field.name, "unknown-word", "`is` takes null, and for checkboxes true or false")
    return {path: {"$ne" if negated else "$eq": _WORDS[word]}}


def _like(field: FieldSchema, path: str, text: str, negated: bool, *, ignore_case: bool) -> Query:
    if field.kind is not Kind.STRING or field.reference_to:
        raise at_fault(field.name, "not-text", f"like and ilike are for text, not for type {field.type}")
    if len(text) > _PATTERN_MAX or text.count("*") + text.count("%") > _WILDCARDS_MAX:
        reason = f"a pattern has at most {_PATTERN_MAX} characters and {_WILDCARDS_MAX} wildcards (*)"
        raise at_fault(field.name, "pattern-too-long", reason)
    if "\0" in text or not text.isprintable():
        raise at_fault(field.name, "not-printable", "a pattern has only characters that can be seen")
    whole = ".*".join(re.escape(part) for part in re.split(r"[*%]+", text))
    found = {path: Regex(f"^{whole}$", "is" if ignore_case else "s")}
    return {"$and": [{path: {"$ne": None}}, {"$nor": [found]}]} if negated else found


def _of_key(condition: Condition, of: ApiObject) -> Query:
    """By the record's key or Id, which is `_id`, or beside the marker."""
    if condition.operator not in {"eq", "neq", "in"}:
        raise at_fault(condition.field, "not-comparable", "use eq, neq or in")
    found = {"$or": [part for text in condition.values for part in by_key(text, of)]}
    return found if condition.negated == (condition.operator == "neq") else {"$nor": [found]}


def by_key(text: str, of: ApiObject) -> list[Query]:
    """
    The queries for the records that a key or an Id may stand for.

    Raises:
        Problem: 400: it can be no key.
    """
    found: list[Query] = []
    if (native_id := id18(text)) is not None:
        found += [{"_id": native_id}, {NATIVE_ID: native_id}]
    if native_id != text:
        try:
            found.append({"_id": id_of(text)})
        except DataError:
            if not found:
                raise _no_key() from None
        except (OverflowError, ValueError, UnicodeEncodeError):
            raise _no_key() from None
    return found


def _no_key() -> Problem:
    return at_fault(
        RECORD_KEY,
        "not-a-key",
        "it is not a record key, which is the Salesforce Id, or the _id in the form that is in `_key`, e.g. $oid:65f0...",
    )
