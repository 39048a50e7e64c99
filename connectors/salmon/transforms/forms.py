"""
Forms: how a document holds a value, where that is not as Salmon would hold it (Kafka Connect's Cast and TimestampConverter).

A form works both ways, and loses nothing: what a document shows is read back as the very value. Where a type cannot promise that, it is
refused when the configuration is read; where one value cannot keep it (a time with milliseconds in a form of seconds), that value
is refused and reported. Otherwise each write would come back as an edit that nobody made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from salmon.errors import ConfigError, SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import to_text
from salmon.model.schema import FieldSchema, Kind
from salmon.transforms.exact import from_text_exactly

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS_A_DAY: Final = 86_400_000
_WHOLE: Final = {"int8": 2, "int16": 4, "int32": 9, "int64": 18}  # type -> decimal digits that all fit
_DOUBLE_DIGITS: Final = 15
TYPES: Final = ("string", "boolean", *_WHOLE, "float32", "float64")
_INT_DIGITS: Final = {Kind.INT: 9, Kind.LONG: 18}


@dataclass(frozen=True)
class Form:
    """
    Args:
        bson: The BSON types of what a document holds.
        show: Makes what the document holds; of numbers, the shell wraps those that are *long*.
        read: The inverse, for what an application may have written. Raises ValueError, TypeError: it is not of the form.
    """

    bson: tuple[str, ...]
    show: Callable[[Value], Any]
    read: Callable[[Any], Value]
    long: bool = False
    expected: str = ""

    def shown(self, field: FieldSchema, value: Value) -> Any:
        """Convert a value that is not null. Raises SchemaMismatch: the form cannot hold it."""
        try:
            return self.show(value)
        except (ValueError, TypeError, ArithmeticError, SchemaMismatch):
            raise SchemaMismatch(
                f"{field.name}: the value does not fit the form that `transforms` gives it in documents ({self.expected}). Correct"
                f" it, or change the form."
            ) from None

    def value(self, field: FieldSchema, shown: Any) -> Value:
        """Convert what a document holds, which is not null. Raises SchemaMismatch: it is not of the form."""
        try:
            return self.read(shown)
        except (ValueError, TypeError, ArithmeticError, SchemaMismatch):
            raise SchemaMismatch(
                f"{field.name}: the MongoDB document holds a {type(shown).__name__} that is not {self.expected}, the form that"
                f" `transforms` gives the field. Correct the value."
            ) from None


_NUMBERS: Final = ("int", "long", "double", "decimal")
# The BSON types of what a document holds of each kind, if `transforms` says nothing of it. Numbers: the shells do not tell them apart.
BSON_TYPES: Final = {
    Kind.STRING: ("string",),
    Kind.BOOLEAN: ("bool",),
    Kind.INT: _NUMBERS,
    Kind.LONG: _NUMBERS,
    Kind.DOUBLE: _NUMBERS,
    Kind.DECIMAL: _NUMBERS,
    Kind.DATE: ("date",),
    Kind.DATETIME: ("date",),
    Kind.TIME: ("string",),
    Kind.STRINGS: ("array",),
}


def cast(field: FieldSchema, to: str) -> Form | None:
    """
    Return the form of a field whose type in documents is *to* (Kafka Connect's name of a type); None: it is so anyway.

    Raises:
        ConfigError: it cannot be read back, so an edit in MongoDB could not be synced; a sentence that follows on the key.
    """
    _require_own_value(field)
    kind = field.kind
    if to == "string":
        return None if kind in {Kind.STRING, Kind.TIME} else _as_text(field)
    if to == "boolean":
        if kind is Kind.BOOLEAN:
            return None
        raise _not_back(field, to, "only true or false could be read back")
    if kind is Kind.BOOLEAN:
        return _flag_as(float if to.startswith("float") else int)
    if kind not in {Kind.INT, Kind.LONG, Kind.DOUBLE, Kind.DECIMAL}:
        raise _not_back(field, to, f"not every {field.type} is a number")
    digits = _INT_DIGITS.get(kind, max(field.precision - field.scale, 0))
    if to in _WHOLE:
        if kind in {Kind.DOUBLE, Kind.DECIMAL} and (field.scale or not field.precision):
            raise _not_back(field, to, f"it has {field.scale} places after the point, which would be lost")
        if digits > _WHOLE[to]:
            raise _not_back(field, to, f"numbers of {digits} digits do not fit")
        return _whole(field, long=to == "int64")
    if to == "float32":
        raise _not_back(field, to, "a float32 keeps 6 digits; use float64")
    if kind is Kind.DOUBLE:
        return None
    if digits + field.scale > _DOUBLE_DIGITS:
        raise _not_back(field, to, f"a double keeps {_DOUBLE_DIGITS} digits, and it may have more")
    return Form(_NUMBERS, float, _reader(field), expected="a number")  # type: ignore[arg-type]


_PRECISIONS: Final = {"seconds": 1_000, "milliseconds": 1, "microseconds": -1_000, "nanoseconds": -1_000_000}
TARGETS: Final = ("string", "unix", "Date", "Time", "Timestamp")


def timestamp(field: FieldSchema, target: str, pattern: str, precision: str) -> Form | None:
    """
    Return the form of a date or time (Kafka Connect's TimestampConverter); None: it is so anyway. Raises ConfigError: see `cast`.

    Args:
        pattern: For `string`, as Java's SimpleDateFormat writes it.
        precision: For `unix`.
    """
    if field.kind not in {Kind.DATE, Kind.DATETIME, Kind.TIME}:
        raise ConfigError(
            f"converts {field.name}, which is a {field.type}, not a date or a time: name another field, or remove it"
        )
    own = {Kind.DATE: "Date", Kind.DATETIME: "Timestamp", Kind.TIME: "Time"}[field.kind]
    if target == "string":
        return _by_pattern(field, pattern)
    if target == own or (target == "Timestamp" and field.kind is Kind.DATE):
        return None
    if target == "unix" and field.kind is not Kind.TIME:
        return _unix(field, _PRECISIONS[precision], precision)
    raise _not_back(field, target, f"a {field.type} is more than that, or something else")


def _require_own_value(field: FieldSchema) -> None:
    if field.reference_to or field.kind is Kind.STRINGS:
        what = "refers to another record" if field.reference_to else "is a list"
        raise ConfigError(f"casts {field.name}, which {what}: remove it from the spec")


def _not_back(field: FieldSchema, to: str, why: str) -> ConfigError:
    return ConfigError(
        f"makes {field.name}, a {field.type}, a {to} in documents, which cannot be read back: {why}. Remove it, or choose another"
        f" type"
    )


def _as_text(field: FieldSchema) -> Form:
    def read(shown: Any) -> Value:
        if type(shown) is not str:
            raise TypeError
        return from_text_exactly(field, shown)

    return Form(
        ("string",), lambda value: to_text(field, value), read, expected=f"a {field.type} written as text"
    )


def _flag_as(number: type) -> Form:
    def read(shown: Any) -> Value:
        if isinstance(shown, bool) or shown not in {0, 1}:
            raise ValueError
        return bool(shown)

    return Form(_NUMBERS, number, read, expected="0 or 1")


def _whole(field: FieldSchema, *, long: bool) -> Form:
    def show(value: Value) -> int:
        whole = int(value)  # type: ignore[arg-type]
        if whole != value:
            raise ValueError
        return whole

    return Form(_NUMBERS, show, _reader(field), long=long, expected="a whole number")


def _reader(field: FieldSchema) -> Callable[[Any], Value]:
    def read(shown: Any) -> Value:
        if isinstance(shown, bool) or not isinstance(shown, (int, float, Decimal)):
            raise TypeError
        return from_text_exactly(field, str(int(shown)) if shown == int(shown) else str(shown))

    return read


def _unix(field: FieldSchema, step: int, precision: str) -> Form:
    """*step*: how many ms one unit has; negative: how many units one ms has."""
    is_date = field.kind is Kind.DATE

    def show(value: Value) -> int:
        ms = int(value) * (_MS_A_DAY if is_date else 1)  # type: ignore[arg-type]
        if step > 0 and ms % step:
            raise ValueError
        return ms // step if step > 0 else ms * -step

    def read(shown: Any) -> Value:
        if isinstance(shown, bool) or shown != int(shown):
            raise TypeError
        ms, rest = (int(shown) * step, 0) if step > 0 else divmod(int(shown), -step)
        if rest or (is_date and ms % _MS_A_DAY):
            raise ValueError
        return ms // _MS_A_DAY if is_date else ms

    return Form(_NUMBERS, show, read, long=True, expected=f"a whole number of {precision} since 1970")


_ZONE: Final = "X" * 3
# Java's SimpleDateFormat, as far as it is unambiguous -> Python's strptime.
_LETTERS: Final = {
    "yyyy": r"(?P<year>\d{4})",
    "MM": r"(?P<month>\d\d)",
    "dd": r"(?P<day>\d\d)",
    "HH": r"(?P<hour>\d\d)",
    "mm": r"(?P<minute>\d\d)",
    "ss": r"(?P<second>\d\d)",
    "SSS": r"(?P<ms>\d{3})",
    _ZONE: r"(?:Z|\+00:00)",
}
_SHOWN_AS: Final = {
    "yyyy": "{0.year:04}",
    "MM": "{0.month:02}",
    "dd": "{0.day:02}",
    "HH": "{0.hour:02}",
    "mm": "{0.minute:02}",
    "ss": "{0.second:02}",
    "SSS": "{1:03}",
    _ZONE: "Z",
}
_PIECE: Final = re.compile(r"'([^']*)'|(([A-Za-z])\3*)|([^A-Za-z']+)")
_NEEDED: Final = {
    Kind.DATE: {"yyyy", "MM", "dd"},
    Kind.DATETIME: {"yyyy", "MM", "dd", "HH", "mm", "ss"},
    Kind.TIME: {"HH", "mm", "ss"},
}


def _by_pattern(field: FieldSchema, pattern: str) -> Form:
    if not pattern:
        raise ConfigError(f"makes {field.name} a text: give `format`, e.g. yyyy-MM-dd'T'HH:mm:ss.SSSXXX")
    if pattern.count("'") % 2:
        raise ConfigError("has a single quotation mark without its partner in `format`")
    expression, template, used = "", "", set[str]()
    for quoted, letters, _, other in _PIECE.findall(pattern):
        if letters:
            if letters not in _LETTERS or letters in used:
                raise ConfigError(
                    f"has {letters} in `format`, which is not read here: use {', '.join(_LETTERS)}, each once, and other letters in"
                    f" single quotation marks"
                )
            used.add(letters)
            expression, template = expression + _LETTERS[letters], template + _SHOWN_AS[letters]
        else:
            text = quoted or other or "'"
            expression += re.escape(text)
            template += text.replace("{", "{{").replace("}", "}}")
    if missing := sorted(_NEEDED[field.kind] - used):
        raise _not_back(field, "string", f"`format` lacks {', '.join(missing)}")
    matcher = re.compile(expression, re.ASCII)

    def show(value: Value) -> str:
        ms = int(value) * (_MS_A_DAY if field.kind is Kind.DATE else 1)  # type: ignore[arg-type]
        if ms % 1000 and "SSS" not in used:
            raise ValueError
        return template.format(_EPOCH + timedelta(milliseconds=ms), ms % 1000)

    def read(shown: Any) -> Value:
        found = matcher.fullmatch(shown)
        if found is None:
            raise ValueError
        part = {name: int(text) for name, text in found.groupdict().items()}
        moment = datetime(
            part.get("year", 1970),
            part.get("month", 1),
            part.get("day", 1),
            part.get("hour", 0),
            part.get("minute", 0),
            part.get("second", 0),
            tzinfo=UTC,
        )
        ms = (moment - _EPOCH) // timedelta(milliseconds=1) + part.get("ms", 0)
        return ms // _MS_A_DAY if field.kind is Kind.DATE else ms

    return Form(("string",), show, read, expected=f"a text like {pattern}")
