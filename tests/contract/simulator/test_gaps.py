"""What makes an org send gap and overflow events by itself, and what such an event says, seen by a client of the Pub/Sub API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.orgs.boxes import Box
from support.orgs.pubsub import Client, Subscriber

ACCOUNTS = "/data/AccountChangeEvent"
GRADE = {
    "name": "Grade__c", "type": "picklist", "length": 255, "custom": True,
    "picklistValues": [{"value": value, "label": value, "active": True} for value in ("A", "B")],
}  # fmt: skip
HUGE = {"name": "Huge__c", "type": "double", "precision": 0, "scale": 0, "custom": True}
SINCE = {"name": "Since__c", "type": "date", "custom": True}


@pytest.fixture
def stream(box: Box, client: Client) -> Iterator[Subscriber]:
    """The changes of accounts from now on; they have three fields more."""
    give(box, GRADE, HUGE, SINCE)
    before = box.create("Account", Name="The last one of before")
    opened = client.subscribe(ACCOUNTS, 1, preset="EARLIEST")
    while before not in header(client, opened)["recordIds"]:
        pass
    yield opened
    box.control("POST", "/settings", {"cdc_changes_max": 100_000})


def give(box: Box, *fields: dict[str, Any]) -> None:
    assert box.control("POST", "/fields", {"object": "Account", "fields": list(fields)}).status_code == 200


def header(client: Client, stream: Subscriber) -> dict[str, Any]:
    """That of the next event, which shows nothing of the record if it is a gap event, or names no record."""
    (event,) = stream.events(1)
    stream.ask(1)
    shown = client.decode(event)
    found: dict[str, Any] = shown["ChangeEventHeader"]
    if found["changeType"].startswith("GAP_") or found["recordIds"][0].endswith("*"):
        assert set(shown) == {"ChangeEventHeader"}
        assert found["changedFields"] == found["nulledFields"] == found["diffFields"] == []
    return found


def test_a_number_of_19_digits_makes_a_gap_event(box: Box, client: Client, stream: Subscriber) -> None:
    """Of its creation and of its change; the record itself can be read."""
    account = box.create("Account", Name="Rich", Huge__c=1_000_000_000_000_000_000)
    assert header(client, stream)["changeType"] == "GAP_CREATE"
    assert box.call("PATCH", f"sobjects/Account/{account}", {"Huge__c": -1e21}).status_code == 204
    told = header(client, stream)
    assert (told["changeType"], told["recordIds"]) == ("GAP_UPDATE", [account])
    assert box.call("GET", f"sobjects/Account/{account}").json()["Huge__c"] == -1e21


def test_a_picklist_that_becomes_a_checkbox_makes_a_gap_event_of_the_records_that_had_a_value(
    box: Box, client: Client, stream: Subscriber
) -> None:
    """They are unchecked then."""
    graded, other = (box.create("Account", Name=each, Grade__c=each) for each in ("A", "B"))
    plain = box.create("Account", Name="Without")
    for _ in range(3):
        header(client, stream)
    give(box, {**GRADE, "type": "boolean", "picklistValues": [], "defaultValue": False})
    told = header(client, stream)
    assert (told["changeType"], set(told["recordIds"]), told["changeOrigin"]) == (
        "GAP_UPDATE",
        {graded, other},
        "",
    )
    shown = [box.call("GET", f"sobjects/Account/{each}").json()["Grade__c"] for each in (graded, plain)]
    assert shown == [False, False]


def test_a_date_that_becomes_text_is_lost_and_one_event_names_all_records(
    box: Box, client: Client, stream: Subscriber
) -> None:
    """By the prefix of their ids; no record counts as modified by that."""
    account = box.create("Account", Name="Old", Since__c="1999-12-31")
    before = box.call("GET", f"sobjects/Account/{account}").json()
    header(client, stream)
    give(box, {"name": "Since__c", "type": "string", "length": 20, "custom": True})
    told = header(client, stream)
    assert (told["changeType"], told["recordIds"]) == ("UPDATE", ["001*"])
    assert box.call("GET", f"sobjects/Account/{account}").json() == {**before, "Since__c": None}


def test_no_event_tells_of_a_conversion_that_keeps_the_values(
    box: Box, client: Client, stream: Subscriber
) -> None:
    """A picklist becomes text; the next event is another one."""
    account = box.create("Account", Name="Graded", Grade__c="A")
    header(client, stream)
    give(box, {"name": "Grade__c", "type": "string", "length": 20, "custom": True})
    after = box.create("Account", Name="Next")
    assert header(client, stream)["recordIds"] == [after]
    assert box.call("GET", f"sobjects/Account/{account}").json()["Grade__c"] == "A"


def test_an_admin_changes_the_schema_by_a_fault(box: Box, client: Client, stream: Subscriber) -> None:
    """While others read: a field more, one less, and one of another type, whose values are lost."""
    account = box.create("Account", Name="Old", Since__c="1999-12-31")
    header(client, stream)
    change: dict[str, Any] = {"add": {"name": "Late__c", "type": "string", "length": 20}, "remove": "Huge__c"}
    retype = {"name": "Since__c", "type": "string", "length": 20}
    fault = {"fault": "change_schema", "object": "Account", **change, "retype": retype}
    assert box.control("POST", "/faults", fault).status_code < 300
    assert header(client, stream)["recordIds"] == ["001*"]
    assert box.call("PATCH", f"sobjects/Account/{account}", {"Late__c": "x"}).status_code == 204
    shown = box.call("GET", f"sobjects/Account/{account}").json()
    assert (shown["Late__c"], shown["Since__c"], "Huge__c" in shown) == ("x", None, False)
    assert box.control("POST", "/faults", {**fault, "object": "Nothing"}).status_code == 400


def test_changes_beyond_the_limit_of_a_transaction_are_one_overflow_event(
    box: Box, client: Client, stream: Subscriber
) -> None:
    """The limit is 100,000, and can be set lower."""
    box.control("POST", "/settings", {"cdc_changes_max": 3})
    records = [{"attributes": {"type": "Account"}, "Name": f"Many {number}"} for number in range(5)]
    answer = box.call("POST", "composite/sobjects", {"allOrNone": True, "records": records})
    ids = [each["id"] for each in answer.json()]
    assert [header(client, stream)["recordIds"] for _ in range(3)] == [[each] for each in ids[:3]]
    told = header(client, stream)
    assert (told["changeType"], told["recordIds"]) == ("GAP_OVERFLOW", ["000000000000000AAA"])
    assert (told["entityName"], told["sequenceNumber"]) == ("Account", 4)
