"""Values, type by type: as REST, change events and documents show them, and as ours; there and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salmon.errors import SchemaMismatch
from salmon.model.change import Value
from salmon.model.convert import (
    from_avro,
    from_document,
    from_event,
    from_rest,
    from_text,
    to_document,
    to_rest,
)
from salmon.model.schema import FieldSchema, Kind

DAY_MS: Final = 86_400_000
# Salesforce takes years 1700 to 4000 (Object Reference, Primitive Data Types); these are its days and ms.
FIRST_DAY = (datetime(1700, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
LAST_DAY = (datetime(4000, 12, 31, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


def field(kind: Kind, type_: str = "any", **told: Any) -> FieldSchema:
    return FieldSchema("It__c", type_, kind, **told)


MONEY = field(Kind.DECIMAL, "currency", precision=12, scale=2)
NEW_YEAR = 20_454  # days: 2026-01-01
MOMENT = NEW_YEAR * DAY_MS + 3_723_456  # ms: 2026-01-01T01:02:03.456Z

# Type by type: (field, as REST shows it, as an event shows it, as a document holds it, ours).
SHOWN: Final = [
    pytest.param(field(Kind.STRING), "Åse", "Åse", "Åse", "Åse", id="string"),
    pytest.param(field(Kind.BOOLEAN), True, True, True, True, id="true"),
    pytest.param(field(Kind.BOOLEAN), False, False, False, False, id="false"),
    pytest.param(field(Kind.INT), 42, 42, 42, 42, id="int"),
    pytest.param(field(Kind.LONG), 10**12, 10**12, 10**12, 10**12, id="long"),
    pytest.param(field(Kind.DOUBLE), 1.5, 1.5, 1.5, 1.5, id="double"),
    pytest.param(MONEY, 12.5, 12.5, Decimal("12.50"), Decimal("12.50"), id="decimal"),
    pytest.param(MONEY, 12, 12.0, Decimal("12.00"), Decimal("12.00"), id="integral decimal"),
    pytest.param(
        field(Kind.DATE),
        "2026-01-01",
        NEW_YEAR * DAY_MS,
        datetime(2026, 1, 1, tzinfo=UTC),
        NEW_YEAR,
        id="date",
    ),
    pytest.param(
        field(Kind.DATETIME),
        "2026-01-01T01:02:03.456Z",
        MOMENT,
        datetime(2026, 1, 1, 1, 2, 3, 456_000, tzinfo=UTC),
        MOMENT,
        id="datetime",
    ),
    pytest.param(field(Kind.TIME), "01:02:03.456Z", 3_723_456, "01:02:03.456", 3_723_456, id="time"),
    pytest.param(field(Kind.STRINGS), "a;b", "a;b", ["a", "b"], ("a", "b"), id="multi-select picklist"),
]


@pytest.mark.parametrize(("told", "rest", "event", "document", "value"), SHOWN)
def test_a_value_is_read_from_all_that_show_it(
    told: FieldSchema, rest: Any, event: Any, document: Any, value: Value
) -> None:
    """However it is shown, it is one value, of one type."""
    for read, shown in ((from_rest, rest), (from_event, event), (from_document, document)):
        found = read(told, shown)
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(("told", "rest", "event", "document", "value"), SHOWN)
def test_a_value_is_written_as_each_side_wants_it(
    told: FieldSchema, rest: Any, event: Any, document: Any, value: Value
) -> None:
    """REST gets JSON; a document Dates, arrays and numbers. (Nobody writes change events.)"""
    assert to_rest(told, value) == rest
    json.dumps(to_rest(told, value))
    assert to_document(told, value) == document


@pytest.mark.parametrize("kind", list(Kind))
def test_null_and_empty_text_are_null_everywhere(kind: Kind) -> None:
    """Salesforce knows no empty text; a document that holds some must not be written to it for ever."""
    told = field(kind, precision=9)
    for read in (from_rest, from_event, from_document):
        assert read(told, None) is None
        assert read(told, "") is None
    assert to_rest(told, None) is None
    assert to_document(told, None) is None
    assert from_avro(told, None) is None


# What people and shells make of values.


def test_an_empty_array_is_null() -> None:
    """A picklist of which nothing is selected is empty in Salesforce."""
    assert from_document(field(Kind.STRINGS), []) is None


def test_shells_make_no_difference_between_whole_and_fractional_numbers() -> None:
    """5 typed for a double, 5.0 for an int: both are what was meant."""
    assert from_document(field(Kind.INT), 5.0) == 5
    assert isinstance(from_document(field(Kind.INT), 5.0), int)
    assert from_document(field(Kind.DOUBLE), 5) == 5.0
    assert isinstance(from_document(field(Kind.DOUBLE), 5), float)


def test_a_naive_datetime_is_utc() -> None:
    """As PyMongo returns them by default."""
    assert from_document(field(Kind.DATETIME), datetime(2026, 1, 1, 1, 2, 3, 456_000)) == MOMENT  # noqa: DTZ001


def test_a_datetime_of_another_zone_is_the_same_moment() -> None:
    """In a document and in REST's own form with an offset."""
    there = datetime(2026, 1, 1, 3, 2, 3, 456_000, tzinfo=timezone(timedelta(hours=2)))
    assert from_document(field(Kind.DATETIME), there) == MOMENT
    assert from_rest(field(Kind.DATETIME), "2026-01-01T03:02:03.456+0200") == MOMENT


def test_a_date_with_a_time_of_day_is_that_day() -> None:
    """Somebody stored noon: the date is what counts, also before 1970."""
    assert from_document(field(Kind.DATE), datetime(2026, 1, 1, 12, tzinfo=UTC)) == NEW_YEAR
    assert from_document(field(Kind.DATE), datetime(1969, 12, 31, 12, tzinfo=UTC)) == -1
    assert from_event(field(Kind.DATE), -DAY_MS) == -1


@pytest.mark.parametrize(
    ("shown", "ms"),
    [
        ("13:05", 47_100_000),
        ("13:05:30", 47_130_000),
        ("13:05:30.5", 47_130_500),
        ("13:05:30.123Z", 47_130_123),
    ],
)
def test_a_time_may_be_written_shorter(shown: str, ms: int) -> None:
    """People type 13:05; Salesforce says 13:05:00.000Z."""
    assert from_document(field(Kind.TIME), shown) == ms


def test_money_is_rounded_to_the_fields_scale() -> None:
    """A double from the org or of a document that was calculated with becomes what the field can hold."""
    assert from_rest(MONEY, 0.126) == Decimal("0.13")
    assert from_rest(MONEY, 0.1 + 0.2) == from_document(MONEY, 0.1 + 0.2) == Decimal("0.30")


@pytest.mark.parametrize(
    ("kind", "told", "shown"),
    [
        (Kind.DOUBLE, {}, 123456789012345678),
        (Kind.DOUBLE, {}, Decimal("1234567890.12345678")),
        (Kind.DECIMAL, {"precision": 12, "scale": 2}, Decimal("0.126")),
        (Kind.DECIMAL, {"precision": 12, "scale": 2}, 0.126),
        (Kind.DECIMAL, {"precision": 18, "scale": 15}, Decimal("1.0000000000000000001")),
    ],
)
def test_a_number_that_would_lose_digits_is_set_aside(kind: Kind, told: dict[str, int], shown: Any) -> None:
    """It is never passed on as another number; the message says how many digits there may be (case V5)."""
    with pytest.raises(SchemaMismatch, match="more digits than") as misfit:
        from_document(field(kind, "currency", **told), shown)
    assert ("numbers: decimal" in str(misfit.value)) is (kind is Kind.DOUBLE)


@pytest.mark.parametrize(
    ("kind", "told", "shown", "value"),
    [
        (Kind.DOUBLE, {}, 2**53, float(2**53)),
        (Kind.DOUBLE, {}, Decimal("0.1"), 0.1),
        (Kind.DECIMAL, {"precision": 18}, 123456789012345678, Decimal("123456789012345678")),
        (Kind.DECIMAL, {"precision": 18}, 999999999999999999, Decimal("999999999999999999")),
        (
            Kind.DECIMAL,
            {"precision": 18, "scale": 8},
            Decimal("1234567890.12345678"),
            Decimal("1234567890.12345678"),
        ),
        (Kind.DECIMAL, {"precision": 18, "scale": 2}, Decimal("10"), Decimal("10.00")),
    ],
)
def test_a_number_keeps_all_its_digits(kind: Kind, told: dict[str, int], shown: Any, value: Value) -> None:
    """An Int64 or a Decimal128 passes through no double on its way into a decimal (case V5)."""
    assert from_document(field(kind, "currency", **told), shown) == value


def test_the_nearest_double_of_the_largest_number_is_that_number() -> None:
    """Of eighteen nines the org's events show 1e18, which the field could not hold (case V5)."""
    largest = field(Kind.DECIMAL, "double", precision=18)
    assert from_event(largest, 1e18) == from_rest(largest, Decimal("1.0E18")) == Decimal("9" * 18)
    assert from_event(largest, -1e18) == Decimal("-" + "9" * 18)
    with pytest.raises(SchemaMismatch):
        from_event(largest, 1.1e18)


def test_an_array_is_read_from_avro_as_a_tuple() -> None:
    """So that it can be compared; all other data are values already."""
    assert from_avro(field(Kind.STRINGS), ["a", "b"]) == ("a", "b")
    assert from_avro(field(Kind.DATE), NEW_YEAR) == NEW_YEAR


# What does not fit.

Reader = Callable[[FieldSchema, Any], Value]
SECRET: Final = "s3cret-4711"

MISFITS: Final[list[tuple[Reader, Kind, Any]]] = [
    (from_rest, Kind.STRING, 4711),
    (from_rest, Kind.BOOLEAN, "true"),
    (from_rest, Kind.BOOLEAN, 1),
    (from_rest, Kind.INT, 4711.5),
    (from_rest, Kind.INT, True),
    (from_rest, Kind.INT, 2**31),
    (from_rest, Kind.INT, -(2**31) - 1),
    (from_rest, Kind.LONG, 2**63),
    (from_rest, Kind.DOUBLE, SECRET),
    (from_rest, Kind.DOUBLE, True),
    (from_rest, Kind.DOUBLE, 10**400),
    (from_rest, Kind.DECIMAL, SECRET),
    (from_rest, Kind.DATE, SECRET),
    (from_rest, Kind.DATE, 4711),
    (from_rest, Kind.DATETIME, SECRET),
    (from_rest, Kind.DATETIME, "2026-01-01T01:02:03"),
    (from_rest, Kind.TIME, SECRET),
    (from_rest, Kind.TIME, 4711),
    (from_rest, Kind.STRINGS, 4711),
    (from_event, Kind.STRING, 4711),
    (from_event, Kind.BOOLEAN, SECRET),
    (from_event, Kind.INT, SECRET),
    (from_event, Kind.DATE, SECRET),
    (from_event, Kind.DATETIME, SECRET),
    (from_event, Kind.TIME, SECRET),
    (from_event, Kind.STRINGS, 4711),
    (from_document, Kind.STRING, 4711),
    (from_document, Kind.STRING, {"text": SECRET}),
    (from_document, Kind.BOOLEAN, SECRET),
    (from_document, Kind.INT, SECRET),
    (from_document, Kind.INT, float("inf")),
    (from_document, Kind.DOUBLE, float("nan")),
    (from_document, Kind.DOUBLE, Decimal("Infinity")),
    (from_document, Kind.DECIMAL, Decimal("NaN")),
    (from_document, Kind.DECIMAL, Decimal("123456789012.34")),  # two digits more than the field has
    (from_document, Kind.DATE, "2026-01-01"),
    (from_document, Kind.DATETIME, 4711),
    (from_document, Kind.TIME, "25:00"),
    (from_document, Kind.TIME, "1:2:3:4"),
    (from_document, Kind.TIME, "13"),
    (from_document, Kind.STRINGS, "a;b"),
    (from_document, Kind.STRINGS, ["a", 4711]),
]


@pytest.mark.parametrize(("read", "kind", "shown"), MISFITS)
def test_what_does_not_fit_is_named_and_never_quoted(read: Reader, kind: Kind, shown: Any) -> None:
    """The message names the field, what it should be and the value's type; no log may ever hold the value."""
    told = field(kind, "picklist", precision=12, scale=2)
    with pytest.raises(SchemaMismatch) as raised:
        read(told, shown)
    message = str(raised.value)
    assert "It__c" in message
    assert type(shown).__name__ in message
    assert "picklist" in message
    assert "exclude the field" in message, "and the mend"
    for secret in (SECRET, "4711", str(shown)):
        assert secret not in message
    assert raised.value.__suppress_context__, "nor may a traceback quote it"


# There and back, for any value.

anything = settings(deadline=None, max_examples=60)  # a busy machine is no failure

_days = st.integers(FIRST_DAY, LAST_DAY)
_moments = st.integers(FIRST_DAY * DAY_MS, (LAST_DAY + 1) * DAY_MS - 1)
_items = st.text(min_size=1, max_size=10).filter(lambda item: ";" not in item)

VALUES: Final[dict[Kind, st.SearchStrategy[Any]]] = {
    Kind.STRING: st.text(min_size=1),
    Kind.BOOLEAN: st.booleans(),
    Kind.INT: st.integers(-(2**31), 2**31 - 1),
    Kind.LONG: st.integers(-(2**63), 2**63 - 1),
    Kind.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    Kind.DECIMAL: st.decimals(-(10**10) + 1, 10**10 - 1, places=2),
    Kind.DATE: _days,
    Kind.DATETIME: _moments,
    Kind.TIME: st.integers(0, DAY_MS - 1),
    Kind.STRINGS: st.sets(_items, min_size=1, max_size=5).map(sorted).map(tuple),
}


def test_a_multi_select_picklist_is_a_set() -> None:
    """Neither an order nor a repetition means anything: whoever shows the same choices shows the same value."""
    told = field(Kind.STRINGS)
    shown = {
        from_rest(told, "b;a"),
        from_event(told, "a;b"),
        from_document(told, ["b", "a", "b"]),
        from_text(told, "b; a"),
    }
    assert shown == {("a", "b")}
    assert from_document(told, [""]) is None, "which the org would show as empty"


def test_every_kind_has_its_values() -> None:
    """A new kind must be tried there and back too."""
    assert VALUES.keys() == set(Kind)


@pytest.mark.parametrize("kind", list(Kind))
@anything
@given(data=st.data())
def test_a_value_survives_salesforce(kind: Kind, data: st.DataObject) -> None:
    """Written by REST and read again, through JSON: nothing we write can look like somebody's edit."""
    told = field(kind, precision=12, scale=2)
    value = data.draw(VALUES[kind])
    assert from_rest(told, json.loads(json.dumps(to_rest(told, value)))) == value


@pytest.mark.parametrize("kind", list(Kind))
@anything
@given(data=st.data())
def test_a_value_survives_mongodb(kind: Kind, data: st.DataObject) -> None:
    """Written to a document and read again."""
    told = field(kind, precision=12, scale=2)
    value = data.draw(VALUES[kind])
    assert from_document(told, to_document(told, value)) == value


@anything
@given(day=_days, moment=_moments)
def test_rest_and_events_show_the_same_dates(day: int, moment: int) -> None:
    """A row and an event of one record must never differ by the way they are read."""
    date, time = field(Kind.DATE), field(Kind.DATETIME)
    assert from_event(date, day * DAY_MS) == from_rest(date, to_rest(date, day)) == day
    assert from_event(time, moment) == from_rest(time, to_rest(time, moment)) == moment


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("read", [from_rest, from_event, from_document])
@anything
@given(
    shown=st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.text())
    | st.datetimes()
)
def test_whatever_is_shown_is_a_value_or_a_data_error(kind: Kind, read: Reader, shown: Any) -> None:
    """No other error ever: one odd record must not stop a task."""
    told = field(kind, precision=12, scale=2)
    try:
        value = read(told, shown)
    except SchemaMismatch:
        return
    assert value == value, "no NaN, which would differ from itself for ever"  # noqa: PLR0124


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (-8_520_336_000_001, "1699-12-31T23:59:59.999Z"),
        (0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_a_year_has_four_digits(ms: int, text: str) -> None:
    """Some C libraries write the year 1 as "1", which the org cannot read (case V3)."""
    assert to_rest(FieldSchema("EmailBouncedDate", "datetime", Kind.DATETIME), ms) == text


@pytest.mark.parametrize(
    ("number", "sent"),
    [
        ("123456789012345678", 123456789012345678),
        ("999999999999999999.00", 999999999999999999),
        ("12.50", 12.5),
        ("1234567890.12345678", "1234567890.12345678"),
        ("0.000000000000000001", 1e-18),
        ("-0.1", -0.1),
    ],
)
def test_a_decimal_is_sent_with_exactly_its_digits(number: str, sent: object) -> None:
    """As a JSON number where its text has them all, else as text that holds a number, which the org takes (case V5)."""
    shown = to_rest(FieldSchema("AnnualRevenue", "currency", Kind.DECIMAL, precision=18), Decimal(number))
    assert (shown, type(shown)) == (sent, type(sent))
    assert Decimal(json.loads(json.dumps(shown), parse_float=Decimal)) == Decimal(number)
