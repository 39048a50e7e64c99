"""Values and times as people read and type them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import pytest

from salmon.errors import ConfigError, SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import from_text, to_rest
from salmon.model.schema import FieldSchema, Kind
from salmon.story.formatting import moment_ms, quoted, shown, span, when
from salmon.story.resolving import From, Take

NOW: Final = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp() * 1000)


def field(kind: Kind, **told: int) -> FieldSchema:
    return FieldSchema("It__c", "any", kind, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.STRING, "Åse", "Åse"),
        (Kind.STRING, "", None),
        (Kind.BOOLEAN, "True", True),
        (Kind.INT, "-7", -7),
        (Kind.LONG, "1000000000000", 10**12),
        (Kind.DOUBLE, "1.5", 1.5),
        (Kind.DATE, "2026-01-01", 20_454),
        (Kind.DATETIME, "2026-01-01T01:00:00+01:00", 20_454 * 86_400_000),
        (Kind.DATETIME, "2026-01-01", 20_454 * 86_400_000),
        (Kind.TIME, "01:00", 3_600_000),
        (Kind.STRINGS, "Red; Blue", ("Blue", "Red")),  # a set, sorted
    ],
)
def test_what_a_person_types_becomes_the_field_s_value(kind: Kind, text: str, value: Value) -> None:
    """Nothing typed clears the field; a time without an offset is UTC."""
    assert from_text(field(kind), text) == value


def test_a_decimal_is_typed_as_a_number() -> None:
    """With the digits that the field has."""
    assert from_text(field(Kind.DECIMAL, precision=12, scale=2), "12.5") == Decimal("12.50")


@pytest.mark.parametrize(
    ("kind", "text", "form"),
    [
        (Kind.BOOLEAN, "secret", "true or false"),
        (Kind.INT, "secret", "a whole number"),
        (Kind.INT, "3000000000", "a whole number"),
        (Kind.DOUBLE, "nan", "a number"),
        (Kind.DECIMAL, "secret", "a number"),
        (Kind.DATE, "secret", "a date, e.g. 2026-11-25"),
        (Kind.DATETIME, "secret", "a time, e.g. 2026-11-25T13:05:00Z"),
        (Kind.TIME, "25:00", "a time of day, e.g. 13:05:30 or 13:05:30.123"),
    ],
)
def test_what_is_no_such_value_is_refused_with_the_form_that_would_do(
    kind: Kind, text: str, form: str
) -> None:
    """The field, its type and the form are named; the value never is."""
    with pytest.raises(SchemaMismatch) as refused:
        from_text(field(kind), text)
    said = str(refused.value)
    assert said == f"It__c: the value is not a valid any ({kind.value}). Give {form}."


def test_a_text_that_is_too_long_is_refused() -> None:
    """Salesforce would refuse it later, and the record would wait."""
    with pytest.raises(SchemaMismatch, match="Give text of at most 3 characters"):
        from_text(field(Kind.STRING, length=3), "four")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("30m", NOW - 1_800_000),
        ("7d", NOW - 7 * 86_400_000),
        ("2026-11-25", NOW - 12 * 3_600_000),
        ("2026-11-25T13:00+01:00", NOW),
    ],
)
def test_a_time_is_typed_as_itself_or_as_how_long_ago(text: str, ms: int) -> None:
    """UTC, unless it says otherwise."""
    assert moment_ms(text, NOW) == ms


def test_what_is_no_time_is_an_error() -> None:
    """The command says what would be one."""
    with pytest.raises(ValueError, match="Invalid isoformat"):
        moment_ms("yesterday", NOW)


def test_values_are_shown_as_salesforce_shows_them() -> None:
    """Dates and times as text; in a sentence texts are quoted, and what is empty is nothing."""
    day = field(Kind.DATE)
    assert shown(20_454, day) == to_rest(day, 20_454) == "2026-01-01"
    assert (quoted("x", None), quoted(7, None), quoted(True, None), quoted(None, None)) == (
        "'x'",
        "7",
        "true",
        "nothing",
    )
    assert (shown(Decimal("1.50"), None), shown(("a", "b"), None)) == ("1.50", ["a", "b"])
    assert when(NOW) == "2026-11-25T12:00:00.000Z"
    assert [span(ms) for ms in (12, 1_500, 3_600_000, 3 * 86_400_000)] == [
        "12 ms",
        "1.5 s",
        "60 min",
        "3 days",
    ]


def test_the_name_of_a_side_is_that_side_after_take_and_a_text_after_value() -> None:
    """A field may well hold the word "salesforce"."""
    assert Take.of("mongodb", None) == Take(From.SIDE, "mongodb")
    assert Take.of(None, "mongodb") == Take(From.TEXT, "mongodb")
    assert Take.of("Oslo", None) == Take(From.TEXT, "Oslo")
    for take, value in ((None, None), ("mongodb", "x")):
        with pytest.raises(ConfigError, match="Give either --take"):
            Take.of(take, value)
