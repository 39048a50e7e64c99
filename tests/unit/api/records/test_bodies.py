"""What may be given for a record, by its schema and by what the org says of its fields."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from salmon.api.problems import Fault, Problem
from salmon.api.records.bodies import faults_in, json_schema_of, models_of, parsed
from salmon.api.records.checking import dependents, values_of
from support.at_hand.api_room import api_of

OF = api_of("Car__c").objects["Car__c"]
MODELS = models_of(OF)
GOOD = {
    "Name": "Herbie",
    "Doors__c": 2,
    "Colours__c": ["Red"],
    "Built__c": "2026-11-25",
    "Electric__c": False,
}


def codes(given: Any, *, creating: bool = True) -> dict[str, str]:
    """Field -> the code of what is wrong with it."""
    model = MODELS.creation if creating else MODELS.edit
    if faults := faults_in(OF, model, given, creating=creating):
        return {fault.field: fault.code for fault in faults}
    _, faults = values_of(OF, given)
    return {fault.field: fault.code for fault in faults}


def test_a_good_record_has_no_faults() -> None:
    """Each type in its JSON form."""
    assert (
        codes({**GOOD, "Seen__c": "2026-11-25T13:05:00Z", "Opens__c": "13:05:30.000", "Price__c": 1.5}) == {}
    )


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"Name": None}, "not-nillable"),
        ({"Name": ""}, "not-nillable"),
        ({"Name": 5}, "wrong-type"),
        ({"Name": {"$ne": None}}, "wrong-type"),
        ({"Name": ["$where"]}, "wrong-type"),
        ({"Name": "x" * 81}, "too-long"),
        ({"Name": "\ud800"}, "not-unicode"),
        ({"Doors__c": "2"}, "wrong-type"),
        ({"Doors__c": True}, "wrong-type"),
        ({"Doors__c": 2.5}, "wrong-type"),
        ({"Doors__c": 2**40}, "wrong-type"),
        ({"Doors__c": {"$gt": 1}}, "wrong-type"),
        ({"Price__c": 10**400}, "wrong-type"),
        ({"Price__c": 10**17 + 1}, "too-many-digits"),
        ({"Built__c": "25.11.2026"}, "wrong-type"),
        ({"Built__c": "1500-01-01"}, "out-of-range"),
        ({"Seen__c": "2026-11-25T13:05:00"}, "wrong-type"),
        ({"Opens__c": "25:00"}, "wrong-type"),
        ({"Opens__c": "13:05:30.1234"}, "wrong-type"),
        ({"Electric__c": None}, "not-nillable"),
        ({"Electric__c": "yes"}, "wrong-type"),
        ({"Colours__c": "Red"}, "wrong-type"),
        ({"Colours__c": ["a;b"]}, "wrong-type"),
        ({"Make__c": "Trabant"}, "not-in-picklist"),
        ({"Number__c": "1"}, "read-only"),
        ({"CreatedDate": "2026-11-25T13:05:00Z"}, "read-only"),
        ({"Wheels__c": 4}, "unknown-field"),
        ({"_salmon": {"seq": 1}}, "unknown-field"),
        ({"_id": "a"}, "unknown-field"),
        ({"$set": {"Name": "a"}}, "unknown-field"),
    ],
)
def test_what_does_not_fit_is_named_with_a_reason(given: dict[str, Any], code: str) -> None:
    """Nothing of it is written."""
    assert codes({**GOOD, **given}) == {next(iter(given)): code}


@pytest.mark.parametrize(
    ("number", "held"),
    [
        ("1234567890123456.78", Decimal("1234567890123456.78")),
        ('"1234567890123456.78"', Decimal("1234567890123456.78")),
        ("999999999999999.1", Decimal("999999999999999.10")),
        ("0.30000000000000004", Decimal("0.30")),
        ("5e-1", Decimal("0.50")),
        ("7", Decimal("7.00")),
        ("0.125", "too-many-digits"),
        ('"0.125"', "too-many-digits"),
        ("1234567890123456.789", "too-many-digits"),
        ("12345678901234567.5", "wrong-type"),
        ('"NaN"', "wrong-type"),
        ('"x"', "wrong-type"),
        ("1e400", "wrong-type"),
    ],
)
def test_a_decimal_is_kept_with_all_its_digits_or_refused(number: str, held: Any) -> None:
    """It never becomes another number (case V5); but what a double makes of 0.1 + 0.2 is still 0.3."""
    of = api_of("Car__c", objects={"Car__c": {"numbers": "decimal"}}).objects["Car__c"]
    values, faults = values_of(of, parsed(f'{{"Price__c": {number}}}'.encode(), "application/json"))
    assert held == (faults[0].code if faults else values["Price__c"])


def test_all_faults_are_reported_at_once() -> None:
    """Nobody sends a record five times to learn of five mistakes."""
    found = codes({"Doors__c": "2", "Wheels__c": 4})
    assert found == {"Name": "required", "Doors__c": "wrong-type", "Wheels__c": "unknown-field"}


def test_an_edit_needs_only_what_it_changes() -> None:
    """And null clears what may be empty."""
    assert codes({"Notes__c": None}, creating=False) == {}
    assert codes({}, creating=False) == {}


@pytest.mark.parametrize("given", [None, 5, "text", [GOOD]], ids=["null", "number", "text", "list"])
def test_a_record_is_an_object(given: Any) -> None:
    """Whatever else JSON has."""
    assert codes(given) == {"body": "not-a-record"}


def wrong_in(values: Any, held: Any) -> list[Fault]:
    """What does not go together, for somebody who may read."""
    return dependents(OF, values, held, reads=True)


def test_a_dependent_value_must_go_with_its_controlling_one() -> None:
    """Whether that is in the body, or in the record already."""
    wrong = wrong_in({"Make__c": "Audi", "Model__c": "Panda"}, {})
    assert [(fault.field, fault.code) for fault in wrong] == [("Model__c", "not-in-dependent-picklist")]
    assert "it may be A4, Estate" in wrong[0].reason
    assert wrong_in({"Model__c": "Panda"}, {"Make__c": "Fiat"}) == []
    assert wrong_in({"Make__c": "Audi"}, {"Make__c": "Fiat", "Model__c": "Panda"}) != []
    assert wrong_in({"Model__c": "A4"}, {}) != [], "nothing is chosen in the controlling field"
    assert wrong_in({"Notes__c": "a"}, {"Model__c": "A4"}) == [], "neither of the two is touched"


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[" * 100_000, b"\xff"], ids=range(6)
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """NaN and a name that is there twice among it."""
    with pytest.raises(Problem) as refused:
        parsed(body, "application/json")
    assert refused.value.status == 400


def test_a_body_says_that_it_is_json() -> None:
    """A form of a web page is none."""
    with pytest.raises(Problem) as refused:
        parsed(b"{}", "text/plain")
    assert refused.value.status == 415
    assert parsed(b"{}", "application/merge-patch+json; charset=utf-8") == {}


def test_the_description_has_what_a_form_needs() -> None:
    """Types, lengths, values, labels and help."""
    by_name, described = OF.schema.by_name, OF.described.fields
    name = json_schema_of(by_name["Name"], described["Name"])
    assert (name["type"], name["maxLength"], name["title"]) == ("string", 80, "Name")
    assert "What its owner calls it." in name["description"]
    assert json_schema_of(by_name["Make__c"], described["Make__c"])["enum"] == ["Audi", "Fiat"]
    assert json_schema_of(by_name["Model__c"], described["Model__c"])["x-controller"] == "Make__c"
    assert json_schema_of(by_name["Built__c"], described["Built__c"])["format"] == "date"
    created = MODELS.creation.model_json_schema()
    assert created["required"] == ["Name"]
    assert created["additionalProperties"] is False
    assert "Number__c" not in created["properties"]
