"""Forms: what documents hold where a type is changed for them, and that it can be read back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salmon.errors import ConfigError, SchemaMismatch
from salmon.model.schema import FieldSchema, Kind
from salmon.transforms.forms import Form, cast, timestamp

INT = FieldSchema("Employees", "int", Kind.INT)
WHOLE = FieldSchema("Number__c", "double", Kind.DOUBLE, precision=18, scale=0)
PAY = FieldSchema("Pay__c", "currency", Kind.DOUBLE, precision=18, scale=2)
EXACT = FieldSchema("Exact__c", "currency", Kind.DECIMAL, precision=18, scale=2)
FLAG = FieldSchema("Active__c", "boolean", Kind.BOOLEAN)
NAME = FieldSchema("Name", "string", Kind.STRING)
BORN = FieldSchema("Birthdate", "date", Kind.DATE)
MET = FieldSchema("Met__c", "datetime", Kind.DATETIME)
OPENS = FieldSchema("Opens__c", "time", Kind.TIME)
BOSS = FieldSchema("ReportsToId", "reference", Kind.STRING, reference_to=("Contact",))
ISO = "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"


def made(form: Form | None) -> Form:
    assert form is not None
    return form


@pytest.mark.parametrize(
    ("form", "field", "value", "shown"),
    [
        (cast(INT, "string"), INT, 5, "5"),
        (cast(PAY, "string"), PAY, 0.1, "0.1"),
        (cast(EXACT, "string"), EXACT, Decimal("123456789012345.67"), "123456789012345.67"),
        (cast(FLAG, "string"), FLAG, True, "true"),
        (cast(BORN, "string"), BORN, 20_000, "2024-10-04"),
        (cast(MET, "string"), MET, 1_500, "1970-01-01T00:00:01.500Z"),
        (cast(WHOLE, "int64"), WHOLE, 5.0, 5),
        (cast(FLAG, "int32"), FLAG, True, 1),
        (cast(FLAG, "float64"), FLAG, False, 0.0),
        (cast(INT, "float64"), INT, 5, 5.0),
        (timestamp(MET, "unix", "", "seconds"), MET, 5_000, 5),
        (timestamp(MET, "unix", "", "nanoseconds"), MET, -5, -5_000_000),
        (timestamp(BORN, "unix", "", "milliseconds"), BORN, 1, 86_400_000),
        (timestamp(MET, "string", ISO, ""), MET, 1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
        (timestamp(MET, "string", "dd.MM.yyyy HH:mm:ss", ""), MET, -1_000, "31.12.1969 23:59:59"),
        (timestamp(BORN, "string", "yyyy'y'MMdd", ""), BORN, 20_000, "2024y1004"),
        (timestamp(OPENS, "string", "HH-mm-ss", ""), OPENS, 3_600_000, "01-00-00"),
    ],
)
def test_a_document_holds_the_form_and_it_is_read_back(
    form: Form | None, field: FieldSchema, value: Any, shown: Any
) -> None:
    """What Salmon writes comes back as the very value: an echo is never taken for an edit."""
    held = made(form).shown(field, value)
    assert (held, type(held)) == (shown, type(shown))
    back = made(form).value(field, held)
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize(
    "form",
    [
        cast(NAME, "string"),
        cast(FLAG, "boolean"),
        cast(PAY, "float64"),
        timestamp(MET, "Timestamp", "", ""),
        timestamp(BORN, "Timestamp", "", ""),
        timestamp(OPENS, "Time", "", ""),
    ],
)
def test_what_is_so_anyway_has_no_form(form: Form | None) -> None:
    """Nothing is converted for nothing."""
    assert form is None


@pytest.mark.parametrize(
    ("field", "to", "sentence"),
    [
        (PAY, "int64", "2 places after the point"),
        (WHOLE, "int32", "numbers of 18 digits do not fit"),
        (INT, "int8", "numbers of 9 digits do not fit"),
        (INT, "boolean", "only true or false"),
        (NAME, "int32", "not every string is a number"),
        (PAY, "float32", "use float64"),
        (EXACT, "float64", "a double keeps 15 digits"),
        (BOSS, "string", "refers to another record"),
    ],
)
def test_a_cast_that_loses_something_is_refused(field: FieldSchema, to: str, sentence: str) -> None:
    """An edit in MongoDB could not be synced back, so nobody may begin with it."""
    with pytest.raises(ConfigError, match=sentence):
        cast(field, to)


@pytest.mark.parametrize(
    ("field", "target", "pattern", "sentence"),
    [
        (NAME, "unix", "", "not a date or a time"),
        (MET, "Date", "", "is more than that"),
        (MET, "string", "", "give `format`"),
        (MET, "string", "yyyy-MM-dd", "lacks HH, mm, ss"),
        (MET, "string", "yy-MM-dd HH:mm:ss", "has yy in `format`"),
        (MET, "string", "yyyy-MM-dd'T HH:mm:ss", "without its partner"),
    ],
)
def test_a_time_that_cannot_be_read_back_is_refused(
    field: FieldSchema, target: str, pattern: str, sentence: str
) -> None:
    """Each with the reason."""
    with pytest.raises(ConfigError, match=sentence):
        timestamp(field, target, pattern, "seconds")


@pytest.mark.parametrize(
    ("form", "field", "shown"),
    [
        (cast(INT, "string"), INT, 5),
        (cast(INT, "string"), INT, "five"),
        (cast(PAY, "string"), PAY, "123456789012345678"),
        (cast(EXACT, "string"), EXACT, "0.125"),
        (cast(MET, "string"), MET, "2026-01-01T00:00:00.1234Z"),
        (cast(FLAG, "int32"), FLAG, 2),
        (cast(FLAG, "int32"), FLAG, True),
        (cast(FLAG, "int32"), FLAG, ["x"]),
        (cast(WHOLE, "int64"), WHOLE, True),
        (cast(INT, "float64"), INT, 1.5),
        (cast(INT, "float64"), INT, float("nan")),
        (timestamp(MET, "string", ISO, ""), MET, "yesterday"),
        (timestamp(MET, "string", ISO, ""), MET, "2023-13-14T22:13:20.123Z"),
        (timestamp(MET, "string", ISO, ""), MET, 5),
        (timestamp(MET, "unix", "", "nanoseconds"), MET, 5),
        (timestamp(BORN, "unix", "", "seconds"), BORN, 5),
    ],
)
def test_what_an_application_wrote_in_another_form_is_a_misfit(
    form: Form | None, field: FieldSchema, shown: Any
) -> None:
    """It is reported by its type, not by its value, and the other fields are synced."""
    with pytest.raises(SchemaMismatch, match=field.name) as refused:
        made(form).value(field, shown)
    assert "yesterday" not in str(refused.value)


def test_a_value_that_the_form_would_cut_is_refused() -> None:
    """Milliseconds in a form of seconds: written, they would come back as an edit that nobody made."""
    with pytest.raises(SchemaMismatch, match="Met__c"):
        made(timestamp(MET, "unix", "", "seconds")).shown(MET, 1_500)
    with pytest.raises(SchemaMismatch, match="Met__c"):
        made(timestamp(MET, "string", "yyyyMMddHHmmss", "")).shown(MET, 1_500)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_survives_as_text(value: float) -> None:
    """The shortest text of a double is read as the same double."""
    form = made(cast(PAY, "string"))
    assert form.value(PAY, form.shown(PAY, value)) == value
