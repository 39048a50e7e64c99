"""
Converts values, type by type, between our form and Salesforce's REST API, its change events and MongoDB documents.

Every function accepts whatever its side can show for the field's type. For everything else it raises SchemaMismatch,
which names the field and the value's type, but never the value. Text is a str itself: BSON's JavaScript code is one of its
subclasses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.references import target_in
from salmon.model.schema import FieldSchema, Kind

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1)
_MS_A_DAY: Final = 86_400_000
_DAY_MIN: Final = (date(1700, 1, 1) - _EPOCH_DAY).days
_DAY_MAX: Final = (date(4000, 12, 31) - _EPOCH_DAY).days
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1

_CONTEXT: Final = Context(prec=80)  # more digits than an Int64 or a Decimal128 needs in a field of 18 places
# Of a day, in milliseconds at most: what has more would be cut off.
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,3})0*)?)?Z?", re.ASCII)
_NOISE: Final = 1e-15  # the relative error that calculating with doubles leaves


def choices(chosen: Iterable[str]) -> tuple[str, ...] | None:
    """
    Return the value of a multi-select picklist, sorted. It is a set: the org shows it in the order of its definition, and a
    document in the order in which an application saved it. Sorted, equal sets are equal values.
    """
    return tuple(sorted(set(chosen) - {""})) or None


# Salesforce REST: JSON (REST API Developer Guide, Primitive Data Types).


def from_rest(field: FieldSchema, shown: Any) -> Value:
    """Convert what a REST response shows for the field. Salesforce has no empty text; here it is null."""
    if shown is None or shown == "":
        return None
    try:
        match field.kind:
            case Kind.DATE:
                return (date.fromisoformat(shown) - _EPOCH_DAY).days
            case Kind.DATETIME:
                return _ms(datetime.fromisoformat(shown))
            case Kind.TIME:
                return _time_ms(shown)
            case Kind.STRINGS:
                return choices(shown.split(";"))
            case _:
                return _plain(field, shown)
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        raise _mismatch(field, shown, "Salesforce") from None


def to_rest(field: FieldSchema, value: Value) -> Any:
    """Convert a value to what a REST request contains for the field."""
    if value is None:
        return None
    match field.kind, value:
        case Kind.DATE, int():
            return (_EPOCH_DAY + timedelta(days=value)).isoformat()
        case Kind.DATETIME, int():
            return _iso(value)
        case Kind.TIME, int():
            return f"{_clock(value)}Z"
        case Kind.STRINGS, tuple():
            return ";".join(value)
        case Kind.DECIMAL, Decimal():
            return _exact_number(value)
        case Kind.STRING, str() if field.is_polymorphic:
            return target_in(field, value).key
        case _:
            return value


def out_of_range(field: FieldSchema, value: Value) -> bool:
    """Whether Salesforce cannot hold this date or time. It allows the years 1700 to 4000 (Field Types)."""
    match field.kind, value:
        case Kind.DATE, int():
            return not _DAY_MIN <= value <= _DAY_MAX
        case Kind.DATETIME, int():
            return not _DAY_MIN <= value // _MS_A_DAY <= _DAY_MAX
        case _:
            return False


def _exact_number(number: Decimal) -> int | float | str:
    """Return what JSON writes with exactly the digits of *number*: text if no float has them. The org accepts text, too."""
    if number == number.to_integral_value():
        return int(number)
    nearest = float(number)
    return nearest if Decimal(repr(nearest)) == number else format(number, "f")


# Change events: Avro without logical types; dates and times are all longs in ms (Pub/Sub API, Event
# Deserialization Considerations).


def from_event(field: FieldSchema, shown: Any) -> Value:
    """Convert what a change event's payload shows for the field. A component must be taken out of its compound before."""
    if shown is None or shown == "":
        return None
    try:
        match field.kind:
            case Kind.DATE:
                return int(shown) // _MS_A_DAY
            case Kind.DATETIME:
                return int(shown)
            case Kind.TIME:
                return int(shown)
            case Kind.STRINGS:
                return choices(shown.split(";"))
            case _:
                return _plain(field, shown)
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        raise _mismatch(field, shown, "the change event") from None


# MongoDB: Python's BSON types.


def from_document(field: FieldSchema, shown: Any) -> Value:
    """
    Convert what a document holds for the field. A whole number is accepted as a double, and a double without a fraction
    as an int, because MongoDB's shells do not distinguish them. A datetime without a time zone is UTC, as PyMongo returns
    it. An empty array is null. So is empty text: Salesforce cannot hold it, and Salmon would write it again and again.
    """
    if shown is None or shown == "":
        return None
    try:
        match field.kind:
            case Kind.DATE:
                return _ms(_datetime(shown)) // _MS_A_DAY
            case Kind.DATETIME:
                return _ms(_datetime(shown))
            case Kind.TIME:
                return _time_ms(shown)
            case Kind.STRINGS:
                return _strings(shown)
            case Kind.DOUBLE | Kind.DECIMAL:
                return _number_of_document(field, shown)
            case _:
                return _plain(field, shown)
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        raise _mismatch(field, shown, "the MongoDB document") from None


def cut_by(field: FieldSchema, shown: Any) -> bool:
    """Whether from_document leaves out a part of the value, because a date has no time of day."""
    return field.kind is Kind.DATE and isinstance(shown, datetime) and _ms(_datetime(shown)) % _MS_A_DAY != 0


def to_document(field: FieldSchema, value: Value) -> Any:
    """Convert a value to what a document holds: Date for dates, HH:MM:SS.mmm for times. Decimal stays Decimal."""
    match field.kind, value:
        case Kind.DATE, int():
            return _EPOCH + timedelta(days=value)
        case Kind.DATETIME, int():
            return _EPOCH + timedelta(milliseconds=value)
        case Kind.TIME, int():
            return _clock(value)
        case Kind.STRINGS, tuple():
            return list(value)
        case _:
            return value


# Text typed by a person on a command line.

_TEXT_FORMS: Final = {
    Kind.BOOLEAN: "true or false",
    Kind.INT: "a whole number",
    Kind.LONG: "a whole number",
    Kind.DOUBLE: "a number",
    Kind.DECIMAL: "a number",
    Kind.DATE: "a date, e.g. 2026-11-25",
    Kind.DATETIME: "a time, e.g. 2026-11-25T13:05:00Z",
    Kind.TIME: "a time of day, e.g. 13:05:30 or 13:05:30.123",
    Kind.STRINGS: "values separated by semicolons",
}


def from_text(field: FieldSchema, text: str) -> Value:
    """
    Convert what a person types for the field. Empty text clears the field. A time without an offset is UTC.

    Raises:
        SchemaMismatch: the text does not fit; the message names the field, its type and the expected form.
    """
    if text == "":
        return None
    form = _TEXT_FORMS.get(field.kind, "text")
    try:
        match field.kind:
            case Kind.STRING if field.length and len(text) > field.length and not field.is_polymorphic:
                form = f"text of at most {field.length} characters"
                raise ValueError
            case Kind.STRING:
                return text
            case Kind.BOOLEAN:
                return {"true": True, "false": False}[text.lower()]
            case Kind.INT | Kind.LONG:
                return _whole(field, int(text))
            case Kind.DOUBLE:
                return _finite(float(text))
            case Kind.DECIMAL:
                return _decimal(field, Decimal(text))
            case Kind.DATETIME:
                return _ms(_datetime(datetime.fromisoformat(text)))
            case Kind.STRINGS:
                return choices(part.strip() for part in text.split(";"))
            case _:
                return from_rest(field, text)
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, SchemaMismatch):
        raise SchemaMismatch(
            f"{field.name}: the value is not a valid {field.type} ({field.kind.value}). Give {form}."
        ) from None


def to_text(field: FieldSchema, value: Value) -> str:
    """Write a value as text from which from_text makes it again."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return str(to_rest(field, value))


# JSON: what a side holds that has no types of its own, e.g. a file or a web service.


def from_json(field: FieldSchema, shown: Any) -> Value:
    """
    Convert what JSON shows for the field: dates and times as text in ISO 8601, a multi-select picklist as an array. Empty text is null.

    Raises:
        SchemaMismatch: it does not fit the field's type.
    """
    if field.is_polymorphic and isinstance(shown, str):
        return shown or None
    try:
        match field.kind:
            case Kind.STRINGS if shown is not None:
                return _strings(shown)
            case Kind.DECIMAL if isinstance(shown, str) and shown:
                return _decimal(field, Decimal(shown))
            case _:
                return from_rest(field, shown)
    except (TypeError, ArithmeticError, SchemaMismatch):
        raise _mismatch(field, shown, "the side") from None


def to_json(field: FieldSchema, value: Value) -> Any:
    """Convert a value to what JSON shows for the field; the inverse of from_json."""
    if isinstance(value, tuple):
        return list(value)
    return value if field.is_polymorphic else to_rest(field, value)


# Avro: what fastavro writes and reads if dates and times are left as their primitive types.


def from_avro(field: FieldSchema, datum: Any) -> Value:
    """Convert a datum of the field's Avro type, read without date and time types, to a value."""
    return tuple(datum) if field.kind is Kind.STRINGS and datum is not None else datum


def _plain(field: FieldSchema, shown: Any) -> Value:
    match field.kind:
        case Kind.STRING:
            if type(shown) is str:
                return shown
        case Kind.BOOLEAN:
            if isinstance(shown, bool):
                return shown
        case Kind.INT | Kind.LONG:
            return _whole(field, shown)
        case Kind.DOUBLE:
            if isinstance(shown, (int, float, Decimal)) and not isinstance(shown, bool):
                return _finite(float(shown))
        case Kind.DECIMAL:
            if isinstance(shown, (int, float, Decimal)) and not isinstance(shown, bool):
                return _decimal(field, shown)
    raise TypeError


def _number_of_document(field: FieldSchema, shown: Any) -> Value:
    """
    Convert a number with all its digits. A number that would lose digits raises an error: it must not become another number.

    For a double, only its shortest decimal form within the field's places counts: 0.1 + 0.2 in a field of two places is 0.30.
    """
    value = _plain(field, shown)
    if isinstance(shown, float):
        kept = field.kind is Kind.DOUBLE or abs(float(value) - shown) <= abs(shown) * _NOISE  # type: ignore[arg-type]
    else:
        kept = Decimal(repr(value) if isinstance(value, float) else value) == shown  # type: ignore[arg-type]
    if not kept:
        places = f"{field.scale} places after the point" if field.kind is Kind.DECIMAL else "as a double"
        advice = "Round it" if field.kind is Kind.DECIMAL else "Round it, or set `numbers: decimal`"
        raise SchemaMismatch(
            f"{field.name}: the MongoDB document holds a number with more digits than {field.type} "
            f"({field.kind.value}) can hold ({places}). {advice}."
        )
    return value


def _whole(field: FieldSchema, shown: Any) -> int:
    if isinstance(shown, bool) or not isinstance(shown, (int, float, Decimal)) or shown != int(shown):
        raise TypeError
    low, high = (_INT_MIN, _INT_MAX) if field.kind is Kind.INT else (_LONG_MIN, _LONG_MAX)
    if not low <= shown <= high:
        raise ValueError
    return int(shown)


def _finite(number: float) -> float:
    """Refuse NaN and infinity: Salesforce and JSON do not have them, and NaN is not equal to itself."""
    if number - number != 0:
        raise ValueError
    return number


def _decimal(field: FieldSchema, shown: float | Decimal) -> Decimal:
    number = Decimal(repr(shown)) if isinstance(shown, float) else Decimal(shown)
    if not number.is_finite():
        raise ValueError
    rounded = number.quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP, _CONTEXT)
    if len(rounded.as_tuple().digits) <= max(field.precision, 1):
        return rounded
    # The double nearest to eighteen nines is 10^18, so that is how the org shows the largest number of the field.
    largest = Decimal(10**field.precision - 1).scaleb(-field.scale, _CONTEXT)
    if float(largest) != float(abs(number)):
        raise ValueError
    return largest.copy_sign(number)


def _strings(shown: Any) -> tuple[str, ...] | None:
    if not isinstance(shown, (list, tuple)) or not all(type(item) is str for item in shown):
        raise TypeError
    return choices(shown)


def _datetime(shown: Any) -> datetime:
    if not isinstance(shown, datetime):
        raise TypeError
    return shown if shown.tzinfo else shown.replace(tzinfo=UTC)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def is_time(text: str) -> bool:
    """Whether this is a time of day, in milliseconds at most."""
    return _TIME.fullmatch(text) is not None


def _time_ms(shown: str) -> int:
    """Read "13:05", "13:05:30" or "13:05:30.123", with or without Z."""
    if type(shown) is not str or (found := _TIME.fullmatch(shown)) is None:
        raise TypeError
    hours, minutes, seconds, fraction = found.groups("0")
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(fraction.ljust(3, "0"))


def _clock(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{ms:03}"


def _iso(ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=ms)
    return (
        moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    )  # strftime writes the year 1 as "1"


def _mismatch(field: FieldSchema, shown: Any, where: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"{field.name}: {where} holds a {type(shown).__name__}, which is not a valid {field.type} "
        f"({field.kind.value}). Correct the value, or exclude the field from the sync."
    )
