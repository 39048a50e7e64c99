"""The types that a part of an expression can have, by the names that an operator reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from salmon.model.schema import Kind

ANY: Final = "a field"  # while the object's schema is not known; its type is checked later
NULL: Final = "null"
TEXT: Final = "a text"
NUMBER: Final = "a number"  # exact: whole, or a decimal
DOUBLE: Final = "a number (double)"
YES_NO: Final = "true or false"
DATE: Final = "a date"
MOMENT: Final = "a date and time"
TIME: Final = "a time of day"
CHOICES: Final = "a list of texts"

NUMBERS: Final = frozenset({NUMBER, DOUBLE})
ORDERED: Final = frozenset({TEXT, NUMBER, DOUBLE, DATE, MOMENT, TIME})
EVERY: Final = ORDERED | {YES_NO, CHOICES}

OF_FIELD: Final[Mapping[Kind, str]] = {
    Kind.STRING: TEXT,
    Kind.BOOLEAN: YES_NO,
    Kind.INT: NUMBER,
    Kind.LONG: NUMBER,
    Kind.DOUBLE: DOUBLE,
    Kind.DECIMAL: NUMBER,
    Kind.DATE: DATE,
    Kind.DATETIME: MOMENT,
    Kind.TIME: TIME,
    Kind.STRINGS: CHOICES,
}
