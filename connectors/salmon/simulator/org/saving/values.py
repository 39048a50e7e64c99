"""
One JSON value of a write, as the org would store it: checked, trimmed, rounded, normalised.

Rules and texts follow the REST API Developer Guide and the Object Reference ("Field Types"). Whether a field may
be written at all, and whether a referenced record exists, is for records.py.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from salmon.simulator.org.clock import datetime_text
from salmon.simulator.org.ids import id18
from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field
from salmon.simulator.org.refusals import Refusal, cannot_deserialize
from salmon.simulator.org.transaction import Stored

_EMAIL = re.compile(r"[^@\s,;<>()\[\]]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?Z?")
# Of an address, or of a custom geolocation field (Salesforce Help, "Geolocation Custom Field": within -90 and 90, -180 and 180).
_DEGREES = re.compile(r"(Latitude|Longitude)(?:__s)?$")
_DEGREES_MAX = {"Latitude": 90, "Longitude": 180}
_NUMBERS = frozenset({"double", "currency", "percent"})
_INT_MAX = 2**31 - 1
_YEAR_MIN, _YEAR_MAX = 1700, 4000  # of dates and times (Object Reference, "Primitive Data Types")


def stored_value(field: Field, value: Any) -> Stored:
    """
    What the org keeps when *value* is written to *field*.

    Raises:
        BadRequest: The JSON value has a type that the field cannot take (JSON_PARSER_ERROR).
        Refusal: The value is of the right type and still not allowed.
    """
    if value is None:
        if field.type == "boolean":
            message = f"{field.label}: value not of required type: null"
            raise Refusal("INVALID_TYPE_ON_FIELD_IN_RECORD", message, field.name)
        return None
    if field.type in TEXT_TYPES:
        return _text(field, value)
    if field.type in _NUMBERS:
        return _number(field, value)
    if field.type in {"int", "long"}:
        return _integer(field, value)
    if field.type == "boolean":
        return _boolean(value)
    if field.type == "date":
        return _date(field, value)
    if field.type == "datetime":
        return _datetime(field, value)
    if field.type == "time":
        return _time(value)
    if field.type in {"reference", "id"}:
        return _reference(field, value)
    if not isinstance(value, str):
        raise cannot_deserialize(field.type, value)
    return _base64(value) if field.type == "base64" else value


def _base64(value: str) -> Stored:
    """The body of a file, in one spelling; it is shown as a URL, and sent as bytes by that."""
    try:
        return base64.b64encode(base64.b64decode(value, validate=True)).decode() or None
    except binascii.Error:
        raise cannot_deserialize("base64", value[:40]) from None


def _text(field: Field, value: Any) -> Stored:
    if not isinstance(value, str):
        raise cannot_deserialize("string" if field.type != "multipicklist" else field.type, value)
    text = value.strip()
    if not text:
        return None
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # no halves of characters
    if field.type == "multipicklist":
        text = _multipicklist(field, text)
    elif field.type == "picklist" and field.restricted and text not in field.picklist_values:
        raise _bad_picklist(field, text)
    elif field.type == "email" and not _EMAIL.fullmatch(text):
        raise Refusal("INVALID_EMAIL_ADDRESS", f"{field.label}: invalid email address: {text}", field.name)
    if field.length and len(text) > field.length:
        message = f"{field.label}: data value too large: {text} (max length={field.length})"
        raise Refusal("STRING_TOO_LONG", message, field.name)
    return text


def _multipicklist(field: Field, text: str) -> str:
    chosen = dict.fromkeys(part.strip() for part in text.split(";") if part.strip())
    unknown = [part for part in chosen if part not in field.picklist_values]
    if unknown and field.restricted:
        raise _bad_picklist(field, unknown[0])
    # Kept in the order of the value set, whatever the order in which they were written.
    return ";".join([part for part in field.picklist_values if part in chosen] + unknown)


def _bad_picklist(field: Field, text: str) -> Refusal:
    message = f"{field.label}: bad value for restricted picklist field: {text}"
    return Refusal("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, field.name)


def _number(field: Field, value: Any) -> Stored:
    number = _decimal(field, value)
    rounded = (
        number.quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP)
        if abs(number) < Decimal(10) ** 18
        else number
    )
    if field.precision and abs(rounded) >= Decimal(10) ** (field.precision - field.scale):
        raise _out_of_range(field, value)
    degrees = _DEGREES.search(field.name) if field.compound else None
    if degrees and abs(rounded) > _DEGREES_MAX[degrees[1]]:
        raise _out_of_range(field, value)
    nearest = float(rounded)
    # The org keeps decimal digits, all 18 of them, though its events and most clients show the nearest double.
    return nearest if Decimal(repr(nearest)) == rounded else rounded


def _integer(field: Field, value: Any) -> Stored:
    number = _decimal(field, value)
    if number != number.to_integral_value():
        raise cannot_deserialize(field.type, value)
    largest = 10**field.digits - 1 if field.digits else _INT_MAX
    if abs(number) > largest:
        raise _out_of_range(field, value)
    return int(number)


def _decimal(field: Field, value: Any) -> Decimal:
    # A text that holds a number is taken; true and false are not.
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise cannot_deserialize(field.type, value)
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise cannot_deserialize(field.type, value) from None
    if not number.is_finite():
        raise cannot_deserialize(field.type, value)
    return number


def _out_of_range(field: Field, value: Any) -> Refusal:
    message = f"{field.label}: value outside of valid range on numeric field: {value}"
    return Refusal("NUMBER_OUTSIDE_VALID_RANGE", message, field.name)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise cannot_deserialize("boolean", value)


def _date(field: Field, value: Any) -> Stored:
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise cannot_deserialize("date", value) from None
        _check_year(field, day)
        return day.isoformat()
    raise cannot_deserialize("date", value)


def _datetime(field: Field, value: Any) -> Stored:
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, str) and _DATETIME.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            raise cannot_deserialize("datetime", value) from None
        _check_year(field, moment)
        # Fractions of a second are accepted and not kept.
        return datetime_text(int(moment.timestamp() // 1 * 1000))
    raise cannot_deserialize("datetime", value)


def _check_year(field: Field, day: date) -> None:
    if not _YEAR_MIN <= day.year <= _YEAR_MAX:
        message = f"{field.label}: invalid date: {day:%a %b %d} 00:00:00 GMT {day.year}"
        raise Refusal("FIELD_INTEGRITY_EXCEPTION", message, field.name)


def _time(value: Any) -> Stored:
    if isinstance(value, str) and not value.strip():
        return None
    if isinstance(value, str) and (found := _TIME.fullmatch(value)):
        hour, minute, second, fraction = found.groups()
        return f"{hour}:{minute}:{second or '00'}.{(fraction or '0')[:3].ljust(3, '0')}Z"
    raise cannot_deserialize("time", value)


def _reference(field: Field, value: Any) -> Stored:
    if not isinstance(value, str):
        raise cannot_deserialize("reference", value)
    if not value.strip():
        return None
    full = id18(value.strip())
    if full is None:
        raise Refusal("MALFORMED_ID", f"{field.label}: id value of incorrect type: {value}", field.name)
    return full
