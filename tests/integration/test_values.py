"""Values that the two sides write differently, on a sync of real processes with `numbers: decimal`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("values")]


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync whose numbers are decimals; whatever the tests did, both sides end equal."""
    with running_ring(
        embedded_stack, "values", records={"Account": 6, "Contact": 4, "Opportunity": 4}
    ) as ring:
        said = yaml.safe_load(ring.config_path.read_text())
        ring.config_path.write_text(yaml.safe_dump({**said, "numbers": "decimal"}))
        ring.reload()
        ring.start()
        ring.wait_equal()
        yield ring
        ring.wait_equal()


def salmon(ring: Ring, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type a command, and wait for its end."""
    command = [sys.executable, "-m", "salmon", *arguments, "-c", str(ring.config_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "number",
    [Int64(123456789012345678), Int64(999999999999999999), Decimal128("123456789012345678"), 12.0],
    ids=str,
)
def test_a_number_arrives_with_all_its_digits(ring: Ring, number: Any) -> None:
    """Up to the 18 that the org keeps; and the document keeps the number that somebody entered (case V5)."""
    account = ring.ids("Account")[0]
    ring.db.accounts.update_one({"_id": account}, {"$set": {"AnnualRevenue": number}})
    exact = int(str(number).removesuffix(".0"))
    ring.wait_row("Account", account, lambda row: row["AnnualRevenue"] == exact)
    until(lambda: ring.owes_nothing, "the echo has come", within_s=30)
    assert ring.db.accounts.find_one({"_id": account})["AnnualRevenue"] == number  # type: ignore[index]


def test_an_amount_of_the_org_is_a_decimal_in_mongodb(ring: Ring) -> None:
    """With the places of its field."""
    opportunity = ring.ids("Opportunity")[0]
    ring.sf.Opportunity.update(opportunity, {"Amount": 1234.5})
    ring.wait_document("opportunities", opportunity, lambda it: it.get("Amount") == Decimal128("1234.50"))


@pytest.mark.parametrize("reference", [7, Int64(7), 7.0, Decimal128("7.00")], ids=repr)
def test_a_contact_finds_its_account_by_any_number_that_equals_its_id(ring: Ring, reference: Any) -> None:
    """MongoDB calls them equal, so do we (case V2)."""
    ring.db.accounts.update_one({"_id": 7}, {"$set": {"Name": "Seven"}}, upsert=True)
    contact = f"contact-of-{type(reference).__name__}"
    ring.db.contacts.insert_one({"_id": contact, "LastName": "Seven", "AccountId": reference})
    document = ring.wait_document("contacts", contact, lambda it: "salesforce_id" in it.get("_salmon", {}))
    account = ring.wait_document("accounts", 7, lambda it: "salesforce_id" in it.get("_salmon", {}))
    ring.wait_row(
        "Contact",
        document["_salmon"]["salesforce_id"],
        lambda row: row["AccountId"] == account["_salmon"]["salesforce_id"],
    )


def test_an_id_in_15_characters_links_and_comes_back_in_18(ring: Ring) -> None:
    """As people copy it from a report of the org (case V1)."""
    account = ring.ids("Account")[1]
    ring.db.contacts.insert_one({"_id": "copied", "LastName": "Copied", "AccountId": account[:15]})
    document = ring.wait_document("contacts", "copied", lambda it: it["AccountId"] == account)
    assert ring.row("Contact", document["_salmon"]["salesforce_id"])["AccountId"] == account


def test_a_checkbox_that_is_unset_and_an_owner_that_is_left_out(ring: Ring) -> None:
    """The checkbox is false on both sides; the owner stays, and the document gets it back (case V4)."""
    opportunity = ring.ids("Opportunity")[1]
    ring.db.opportunities.update_one({"_id": opportunity}, {"$set": {"IsPrivate": True}})
    ring.wait_row("Opportunity", opportunity, lambda row: row["IsPrivate"] is True)
    before = ring.db.opportunities.find_one({"_id": opportunity})
    assert before is not None
    saved = {name: value for name, value in before.items() if name not in {"IsPrivate", "OwnerId"}}
    ring.db.opportunities.replace_one({"_id": opportunity}, {**saved, "NextStep": "Saved as a whole"})
    ring.wait_row(
        "Opportunity",
        opportunity,
        lambda row: row["IsPrivate"] is False and row["NextStep"] == "Saved as a whole",
    )
    ring.wait_document(
        "opportunities",
        opportunity,
        lambda it: it.get("IsPrivate") is False and it.get("OwnerId") == before["OwnerId"],
    )
    assert ring.row("Opportunity", opportunity)["OwnerId"] == before["OwnerId"]


def test_a_date_that_salesforce_cannot_hold_keeps_no_other_field_waiting(ring: Ring) -> None:
    """That field alone is refused, and why names it (case V3)."""
    contact = ring.ids("Contact")[0]
    born = {"Birthdate": datetime(1, 1, 1, tzinfo=UTC), "Title": "Nestor"}
    ring.db.contacts.update_one({"_id": contact}, {"$set": born})
    ring.wait_row("Contact", contact, lambda row: row["Title"] == "Nestor")
    told = until(
        lambda: told if "Birthdate" in (told := salmon(ring, "why", "Contact", contact).stdout) else None,
        "why names the field",
    )
    assert "VALUE_OUT_OF_RANGE" in str(told)
    ring.db.contacts.update_one({"_id": contact}, {"$unset": {"Birthdate": ""}})


def test_a_rule_at_the_top_of_the_page_refuses_one_field_and_keeps_no_other_waiting(ring: Ring) -> None:
    """The org names no field; the other four of the save arrive, and a later edit of the fifth is sent as always (case V3)."""
    account = ring.ids("Account")[2]
    others = ("Phone", "Website", "Site", "AccountNumber")
    with ring.trigger(object="Account", when={"field": "Fax"}, refuse="record"):
        ring.db.accounts.update_one({"_id": account}, {"$set": dict.fromkeys((*others, "Fax"), "31")})
        ring.wait_row("Account", account, lambda row: all(row[name] == "31" for name in others))
        ring.wait_document(
            "accounts",
            account,
            lambda document: all(
                text in document["_salmon"].get("error", "")
                for text in ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "refused it for Fax")
            ),
        )
        told = salmon(ring, "why", "Account", account).stdout
        assert "Fax" in told
    ring.db.accounts.update_one({"_id": account}, {"$set": {"Fax": "32"}})
    ring.wait_row("Account", account, lambda row: row["Fax"] == "32")


def test_a_document_that_can_have_no_key_is_found_by_why_and_verify(ring: Ring) -> None:
    """Both say why it is not synced (case V8)."""
    long = "x" * 300
    ring.db.accounts.insert_one({"_id": long, "Name": "Long"})
    try:
        told = salmon(ring, "why", "Account", long)
        assert told.returncode == 1
        assert "is not synced: an _id of 300 bytes cannot be a record key" in told.stdout
        found = salmon(ring, "verify", "--object", "Account")
        assert found.returncode == 1
        assert "an _id of 300 bytes" in " ".join(found.stdout.split())
    finally:
        ring.db.accounts.delete_one({"_id": long})
