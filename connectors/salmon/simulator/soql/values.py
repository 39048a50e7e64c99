"""Values written in a query, in the form in which rows hold them: constants and LIKE patterns."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from salmon.simulator.org.clock import datetime_text
from salmon.simulator.org.ids import id18
from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.transaction import Stored
from salmon.simulator.soql.syntax import Constant

_NUMBER_TYPES = frozenset({"double", "currency", "percent", "int", "long"})
_ID_TYPES = frozenset({"reference", "id"})


class Mistyped(ValueError):
    """A constant cannot be compared with its field; the message says what the field needs."""


def stored_constant(field: Field, constant: Constant, *, fold: bool) -> Stored:
    """
    The constant as *field* would store it; text in lower case if *fold*.

    Raises:
        Mistyped: The field is of another type.
        BadRequest: It is text where an id belongs, and no id.
    """
    kind, text = constant.kind, constant.text
    if kind == "null":
        return None
    if field.type in TEXT_TYPES and kind == "string":
        return text.lower() if fold else text
    if field.type in _ID_TYPES and kind == "string":
        full = id18(text)
        if full is None and text:
            raise BadRequest("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {text}")
        return full
    if field.type in _NUMBER_TYPES and kind == "number":
        return float(text)
    if field.type == "boolean" and kind == "boolean":
        return text == "true"
    if (field.type == "date" and kind == "date") or (field.type == "time" and kind == "string"):
        return text
    if field.type == "datetime" and kind == "datetime":
        try:
            return _moment(field, datetime.fromisoformat(text).astimezone(UTC))
        except ValueError:
            raise Mistyped(f"invalid date: {text}") from None
    quoted = field.type in TEXT_TYPES | _ID_TYPES
    shown = "string" if field.type in TEXT_TYPES else "ID" if field.type in _ID_TYPES else field.type
    raise Mistyped(
        f"value of filter criterion for field '{field.name}' must be of type "
        f"{'dateTime' if shown == 'datetime' else shown} and should {'' if quoted else 'not '}be enclosed in quotes"
    )


def like_pattern(raw: str) -> re.Pattern[str]:
    """A LIKE pattern: % is any text, _ any character, a backslash takes the next one as it is; case does not count."""
    pattern, at = "", 0
    while at < len(raw):
        char = raw[at]
        if char == "\\" and at + 1 < len(raw):
            at += 1
            pattern += re.escape(raw[at])
        else:
            pattern += {"%": ".*", "_": "."}.get(char, re.escape(char))
        at += 1
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _moment(field: Field, moment: datetime) -> str:
    if field.type == "date":
        return moment.date().isoformat()
    return datetime_text(round(moment.timestamp() * 1000))
