"""What an org's own gap and overflow events stand for arrives in MongoDB, with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

HUGE = {"name": "Huge__c", "type": "double", "precision": 0, "scale": 0, "custom": True}
GRADE = {"name": "Grade__c", "type": "picklist", "length": 255, "custom": True}
SINCE = {"name": "Since__c", "type": "date", "custom": True}
DUE = {"name": "Due__c", "type": "date", "custom": True}


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """Accounts with four more fields, two of which are synced."""
    objects = {"Account": {"fields": {"exclude": ["Grade__c", "Since__c"]}}}
    with running_ring(embedded_stack, "gaps", records={"Account": 30}, objects=objects) as ring:
        give(ring, HUGE, GRADE, SINCE, DUE)
        ring.start()
        ring.wait_equal()
        ring.wait_ready()
        yield ring


def control(ring: Ring, path: str, **body: Any) -> None:
    answer = ring.http.post(f"{ring.org['control_url']}{path}", json=body, timeout=10)
    assert answer.status_code < 300, answer.text


def give(ring: Ring, *fields: dict[str, Any]) -> None:
    control(ring, "/fields", object="Account", fields=list(fields))


def lost(ring: Ring, key: str, site: str) -> None:
    """An edit whose event never comes."""
    control(ring, "/faults", fault="lose_events", object="Account", count=1)
    ring.sf.Account.update(key, {"Site": site})


def test_a_number_of_19_digits_arrives(ring: Ring) -> None:
    """Its event is a gap event, so the record is read; and so is what changed beside it."""
    key = ring.ids("Account")[0]
    ring.sf.Account.update(key, {"Huge__c": 1.5e18, "Site": "huge"})
    seen = ring.wait_document("accounts", key, lambda document: document.get("Huge__c") == 1.5e18)
    assert seen["Site"] == "huge"
    ring.sf.Account.update(key, {"Huge__c": 1.0})
    ring.wait_document("accounts", key, lambda document: document["Huge__c"] == 1.0)


def test_what_a_transaction_changed_beyond_the_limit_arrives(ring: Ring) -> None:
    """One overflow event stands for most of the accounts, which are all read."""
    control(ring, "/settings", cdc_changes_max=6)
    sites = {key: f"site {key}" for key in ring.ids("Account")}
    records = [{"attributes": {"type": "Account"}, "Id": key, "Site": site} for key, site in sites.items()]
    ring.sf.restful("composite/sobjects", method="PATCH", json={"allOrNone": True, "records": records})
    control(ring, "/settings", cdc_changes_max=100_000)
    until(
        lambda: {each["_id"]: each.get("Site") for each in ring.db.accounts.find()} == sites,
        "all accounts have their new sites",
        within_s=60,
    )


@pytest.mark.parametrize(
    ("field", "value", "becomes"),
    [
        (GRADE, "A", {**GRADE, "type": "multipicklist"}),
        (SINCE, "2024-02-29", {**SINCE, "type": "string", "length": 20}),
    ],
)
def test_records_are_read_when_a_field_gets_another_type(
    ring: Ring, field: dict[str, Any], value: str, becomes: dict[str, Any]
) -> None:
    """Those that a gap event names, or all: even an edit arrives whose own event was lost."""
    key = ring.ids("Account")[1]
    ring.sf.Account.update(key, {field["name"]: value})
    lost(ring, key, field["name"])
    ring.sf.Account.update(key, {"Fax": field["name"]})
    ring.wait_document("accounts", key, lambda document: document.get("Fax") == field["name"])
    give(ring, becomes)
    ring.wait_document("accounts", key, lambda document: document.get("Site") == field["name"])


def test_a_synced_date_that_becomes_a_date_with_a_time_is_empty_and_can_be_set(ring: Ring) -> None:
    """The org loses its values; the source restarts to register the type, which no schema of an event shows."""
    key = ring.ids("Account")[2]
    ring.sf.Account.update(key, {"Due__c": "2024-02-29"})
    day = datetime(2024, 2, 29, tzinfo=UTC)
    ring.wait_document("accounts", key, lambda document: document.get("Due__c") == day)
    give(ring, {**DUE, "type": "datetime"})
    ring.wait_document("accounts", key, lambda document: document.get("Due__c") is None)
    ring.sf.Account.update(key, {"Due__c": "2026-01-02T03:04:05.000Z"})
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ring.wait_document("accounts", key, lambda document: document.get("Due__c") == moment)


def test_both_sides_are_equal_in_the_end(ring: Ring) -> None:
    """Nothing was refused or contested."""
    ring.wait_equal()
    assert ring.dead_letters == []
    assert ring.conflicts == 0
