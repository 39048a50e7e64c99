"""One value of a write, as the org would store it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from salmon.simulator.org.objects.object_types import Field, ObjectType
from salmon.simulator.org.refusals import BadRequest, Refusal
from salmon.simulator.org.saving.values import stored_value


def field(kind: str, **told: Any) -> Field:
    """A field of this type, from a describe that says no more than it must."""
    entry = {"name": "F__c", "label": "F", "type": kind, "createable": True, "updateable": True, **told}
    return ObjectType({"name": "X", "fields": [entry]}, "a00").fields[0]


@pytest.mark.parametrize(
    ("kind", "told", "given", "kept"),
    [
        ("string", {"length": 5}, "  ab  ", "ab"),
        ("string", {"length": 5}, "   ", None),
        ("textarea", {"length": 50}, "a\nb", "a\nb"),
        ("string", {"length": 50}, "Zoë 🐟 \ud83d\udc1f \ud83d!", "Zoë 🐟 🐟 \ufffd!"),
        ("double", {"precision": 18, "scale": 2}, "10.005", 10.01),
        ("double", {"precision": 18, "scale": 0}, 9007199254740991, 9007199254740991.0),
        ("currency", {"precision": 18, "scale": 2}, -3, -3.0),
        ("int", {"digits": 8}, "10000", 10000),
        ("int", {"digits": 8}, 5.0, 5),
        ("boolean", {}, "TRUE", True),
        ("double", {"precision": 18, "scale": 0}, 999999999999999999, Decimal("999999999999999999")),
        ("double", {"precision": 18, "scale": 8}, "1234567890.12345678", Decimal("1234567890.12345678")),
        ("date", {}, "2024-02-29", "2024-02-29"),
        ("date", {}, "", None),
        ("datetime", {}, "2022-03-17T16:21:26.987Z", "2022-03-17T16:21:26.000+0000"),
        ("datetime", {}, "2022-03-17T16:21:26+0530", "2022-03-17T10:51:26.000+0000"),
        ("time", {}, "13:05:30.5Z", "13:05:30.500Z"),
        ("reference", {"referenceTo": ["Account"]}, "001Dp00000JJkkH", "001Dp00000JJkkHIAT"),
        ("email", {"length": 80}, "ada.o'brien+x@sub.acme.example", "ada.o'brien+x@sub.acme.example"),
        ("multipicklist", {"length": 4099}, "b; a;b", "b;a"),
    ],
)
def test_a_value_is_kept_in_salesforces_own_form(
    kind: str, told: dict[str, Any], given: Any, kept: Any
) -> None:
    """Trimmed, rounded half up, normalised to UTC; empty is null; all 18 digits of a number are kept."""
    value = stored_value(field(kind, **told), given)
    assert value == kept
    assert type(value) is type(kept)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (
            "string",
            5,
            "Cannot deserialize instance of string from VALUE_NUMBER_INT value 5 or request may be missing",
        ),
        ("string", ["a"], "Cannot deserialize instance of string from START_ARRAY value [line:1, column:2]"),
        ("multipicklist", ["a"], "Cannot deserialize instance of multipicklist from START_ARRAY value"),
        (
            "double",
            "many",
            "Cannot deserialize instance of double from VALUE_STRING value many or request may be",
        ),
        (
            "double",
            True,
            "Cannot deserialize instance of double from VALUE_TRUE value true or request may be",
        ),
        (
            "int",
            1.5,
            "Cannot deserialize instance of int from VALUE_NUMBER_FLOAT value 1.5 or request may be",
        ),
        (
            "boolean",
            "1",
            "Cannot deserialize instance of boolean from VALUE_STRING value 1 or request may be",
        ),
        (
            "date",
            "17.3.2022",
            "Cannot deserialize instance of date from VALUE_STRING value 17.3.2022 or request",
        ),
        (
            "date",
            "2023-02-29",
            "Cannot deserialize instance of date from VALUE_STRING value 2023-02-29 or request",
        ),
        (
            "datetime",
            "2017-10-17 00:00:00",
            "Cannot deserialize instance of datetime from VALUE_STRING value",
        ),
    ],
)
def test_a_json_value_of_the_wrong_type_spoils_the_whole_request(kind: str, given: Any, message: str) -> None:
    """As in a real org, that is no error of one record: the request cannot be parsed."""
    with pytest.raises(BadRequest) as refused:
        stored_value(field(kind), given)
    assert refused.value.code == "JSON_PARSER_ERROR"
    assert refused.value.message.startswith(message)


def test_a_checkbox_takes_no_null() -> None:
    """A real org refuses it, on creation and on update; so a sync that sends it must fail here, too (case V4)."""
    with pytest.raises(Refusal) as refused:
        stored_value(field("boolean"), None)
    assert (refused.value.code, refused.value.fields) == ("INVALID_TYPE_ON_FIELD_IN_RECORD", ["F__c"])


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("date", "1699-12-31"),
        ("date", "4001-01-01"),
        ("datetime", "0001-01-01T00:00:00.000Z"),
        ("datetime", "9999-12-31T23:59:59Z"),
    ],
)
def test_dates_are_of_the_years_1700_to_4000(kind: str, given: str) -> None:
    """Beyond, the record is refused and the field named (case V3)."""
    with pytest.raises(Refusal) as refused:
        stored_value(field(kind), given)
    assert (refused.value.code, refused.value.fields) == ("FIELD_INTEGRITY_EXCEPTION", ["F__c"])


def test_a_moment_that_no_calendar_has_in_utc_cannot_be_read() -> None:
    """The year 0 does not exist."""
    with pytest.raises(BadRequest):
        stored_value(field("datetime"), "0001-01-01T00:00:00+05:00")
