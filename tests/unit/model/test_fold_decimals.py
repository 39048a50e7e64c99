"""Decimals with more digits than the doubles by which Salesforce shows them (case V5)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind
from support.at_hand.stories import SCHEMA, in_step

RATE = FieldSchema("Rate__c", "double", Kind.DECIMAL, precision=18, scale=8)
RULES = Rules(replace(SCHEMA, fields=(*SCHEMA.fields, RATE)))
EXACT = Decimal("1234567890.12345678")
SHOWN = Decimal("1234567890.12345670")  # the nearest double of EXACT, in eight places


def test_the_echo_of_a_long_number_is_an_echo() -> None:
    """The org keeps all the digits and shows fewer: nobody's number is cut, and nobody is told of an edit."""
    story = in_step(RULES, Name="Acme")
    story.mongodb.edits(Rate__c=EXACT)
    story.salesforce.acks(story.writes["salesforce"], Rate__c=SHOWN)
    assert story.writes == {}
    assert story.record == {"Name": "Acme", "Rate__c": EXACT}
    story.salesforce.row(Name="Acme", Rate__c=SHOWN)
    assert story.writes == {}, "nor by a row"
    assert story.record == {"Name": "Acme", "Rate__c": EXACT}


def test_another_number_is_an_edit() -> None:
    """What a double can tell apart from the known number was entered by somebody."""
    story = in_step(RULES, Name="Acme", Rate__c=EXACT)
    other = Decimal("1234567890.12345000")
    story.salesforce.edits(Rate__c=other)
    assert story.writes["mongodb"].fields == {"Rate__c": other}


def test_mongodb_is_taken_at_its_word() -> None:
    """A Decimal128 shows all its digits: the smallest change of them is an edit."""
    story = in_step(RULES, Name="Acme", Rate__c=EXACT)
    story.mongodb.edits(Rate__c=SHOWN)
    assert story.writes["salesforce"].fields == {"Rate__c": SHOWN}
