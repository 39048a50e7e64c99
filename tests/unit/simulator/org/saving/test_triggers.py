"""Triggers: what an org's own automation does inside the transaction of a write."""

from __future__ import annotations

from typing import Any

import pytest

from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.saving.triggers import BadTrigger
from support.orgs.orgs import OrgAtHand


@pytest.fixture
def at_hand() -> OrgAtHand:
    return OrgAtHand()


def test_a_trigger_that_normalises_keeps_its_own_value_in_one_transaction(at_hand: OrgAtHand) -> None:
    """We write one phone number, the event shows another: the case that is no echo."""
    at_hand.trigger({"object": "Contact", "when": {"field": "Phone"}, "set": {"Phone": "{Phone|e164}"}})
    contact = at_hand.contact(Phone="(415) 555-0101")
    [change] = at_hand.changes
    assert change.after is not None
    assert change.after["Phone"] == "+14155550101"
    at_hand.update("Contact", contact, LastName="Other")
    at_hand.update("Contact", contact, Phone="+44 20 7946 0000")
    assert at_hand.row("Contact", contact)["Phone"] == "+442079460000"


def test_a_trigger_derives_a_field_from_others_and_the_rest_follows(at_hand: OrgAtHand) -> None:
    """Filters chain, text in between stays, and what Salesforce derives from the result is derived again."""
    at_hand.trigger(
        {
            "object": "Contact",
            "when": {"field": "LastName"},
            "set": {"FirstName": "{FirstName|trim|title}", "Description": "{{{LastName|upper}}}: {Title}"},
        }
    )
    contact = at_hand.contact(FirstName="ada", LastName="Baker")
    row = at_hand.row("Contact", contact)
    assert (row["Name"], row["Description"]) == ("Ada Baker", "{BAKER}:")
    at_hand.update("Contact", contact, FirstName="eve")
    assert at_hand.row("Contact", contact)["FirstName"] == "eve", "it waits for LastName only"


def test_a_trigger_may_refuse_and_names_the_field(at_hand: OrgAtHand) -> None:
    """A validation rule: the write that sets the field is refused for good, others pass."""
    account = at_hand.account()
    at_hand.trigger({"object": "Account", "when": {"field": "Rating"}, "refuse": True})
    with pytest.raises(Refusal) as refused:
        at_hand.update("Account", account, Rating="Hot", Phone="1")
    assert (refused.value.code, refused.value.fields) == ("FIELD_CUSTOM_VALIDATION_EXCEPTION", ["Rating"])
    at_hand.update("Account", account, Phone="1")


def test_a_trigger_may_refuse_the_record_and_name_no_field(at_hand: OrgAtHand) -> None:
    """As a rule whose message stands at the top of the page."""
    account = at_hand.account()
    at_hand.trigger({"object": "Account", "when": {"field": "Rating"}, "refuse": "record"})
    with pytest.raises(Refusal) as refused:
        at_hand.update("Account", account, Rating="Hot", Phone="1")
    assert (refused.value.code, refused.value.fields) == ("FIELD_CUSTOM_VALIDATION_EXCEPTION", [])
    at_hand.update("Account", account, Phone="1")


@pytest.mark.parametrize(
    "body",
    [
        {"object": "Nothing", "when": {"field": "Phone"}, "refuse": True},
        {"object": "Account", "when": {"field": "Nothing"}, "refuse": True},
        {"object": "Account", "when": {}, "refuse": True},
        {"object": "Account", "when": {"field": "Phone"}},
        {"object": "Account", "when": {"field": "Phone"}, "set": {"Phone": "x"}, "refuse": True},
        {"object": "Account", "when": {"field": "Phone"}, "set": {"Nothing": "x"}},
        {"object": "Account", "when": {"field": "Phone"}, "set": {"Phone": "{Nothing}"}},
        {"object": "Account", "when": {"field": "Phone"}, "set": {"Phone": "{Phone|shout}"}},
        {"object": "Account", "when": {"field": "Phone"}, "set": {"Phone": 5}},
    ],
)
def test_a_trigger_that_makes_no_sense_is_refused_at_once(at_hand: OrgAtHand, body: dict[str, Any]) -> None:
    """Not when the first write comes by."""
    with pytest.raises(BadTrigger):
        at_hand.trigger(body)
