"""Converting leads: who is made of one, who is taken, and what change events are made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.saving.converting import Conversion, Converted, convert
from support.orgs.describes import describe
from support.orgs.orgs import OrgAtHand

NOW_MS = 1_795_946_400_000  # 2026-11-29
CLOSED = "Closed - Converted"


@pytest.fixture
def at_hand(tmp_path: Path) -> OrgAtHand:
    for name in ("Account", "Contact", "Opportunity", "Lead"):
        (tmp_path / f"{name}.json").write_text(json.dumps(describe(name)))
    return OrgAtHand(tmp_path)


def lead(at_hand: OrgAtHand) -> str:
    made = at_hand.insert(
        "Lead", LastName="Ruiz", FirstName="Ana", Company="Acme", Email="a@acme.example", City="Lima"
    )
    at_hand.told.clear()
    return made


def converted(at_hand: OrgAtHand, lead_id: str, said: Conversion) -> Converted:
    org = at_hand.org
    with org.transaction(org.person) as unit:
        return convert(org, unit, org.table("Lead"), lead_id, said, now_ms=NOW_MS)


def test_a_lead_becomes_an_account_a_contact_and_an_opportunity_in_one_transaction(
    at_hand: OrgAtHand,
) -> None:
    """With its values; it stays as converted, and says whom it has become."""
    lead_id = lead(at_hand)
    made = converted(at_hand, lead_id, Conversion(CLOSED))
    assert made.opportunity_id is not None
    account, contact = at_hand.row("Account", made.account_id), at_hand.row("Contact", made.contact_id)
    assert (account["Name"], account["BillingCity"]) == ("Acme", "Lima")
    assert (contact["LastName"], contact["FirstName"], contact["Email"]) == ("Ruiz", "Ana", "a@acme.example")
    assert contact["AccountId"] == made.account_id
    deal = at_hand.row("Opportunity", made.opportunity_id)
    assert (deal["Name"], deal["CloseDate"], deal["AccountId"]) == ("Acme", "2026-12-31", made.account_id)
    row = at_hand.row("Lead", lead_id)
    assert (row["IsConverted"], row["Status"], row["ConvertedDate"]) == (True, CLOSED, "2026-11-29")
    assert row["ConvertedContactId"] == made.contact_id
    (transaction,) = at_hand.told
    assert [(each.entity, each.change_type) for each in transaction.changes] == [
        ("Account", "CREATE"), ("Contact", "CREATE"), ("Opportunity", "CREATE"), ("Lead", "UPDATE"),
    ]  # fmt: skip


def test_who_is_named_is_taken_and_keeps_its_values(at_hand: OrgAtHand) -> None:
    """Without an opportunity, where none is wanted."""
    account = at_hand.account(Name="There")
    contact = at_hand.contact(LastName="Old", AccountId=account)
    said = Conversion(CLOSED, account, contact, without_opportunity=True)
    made = converted(at_hand, lead(at_hand), said)
    assert made == Converted(account, contact, None)
    assert at_hand.row("Contact", contact)["LastName"] == "Old"


def test_what_cannot_be_converted_is_refused_and_leaves_nothing_behind(at_hand: OrgAtHand) -> None:
    """A lead that was converted before, a status that there is not, and a contact of another account."""
    lead_id = lead(at_hand)
    stranger = at_hand.contact()
    account = at_hand.account(Name="There")
    at_hand.told.clear()
    for said, code in (
        (Conversion("Nonsense"), "INVALID_STATUS"),
        (Conversion(CLOSED, account, stranger), "INVALID_CROSS_REFERENCE_KEY"),
        (Conversion(CLOSED, stranger), "INVALID_CROSS_REFERENCE_KEY"),
    ):
        with pytest.raises(Refusal, match=code):
            converted(at_hand, lead_id, said)
    assert at_hand.told == []
    converted(at_hand, lead_id, Conversion(CLOSED))
    with pytest.raises(Refusal, match="CANNOT_UPDATE_CONVERTED_LEAD"):
        converted(at_hand, lead_id, Conversion(CLOSED))
