"""Computed fields in the fold: documents have what is made of the agreed values, and nobody enters it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from salmon.model.change import MONGODB, SALESFORCE, SALESFORCE_ID, Value, WriteOp
from salmon.model.fold import Fact
from salmon.model.policies import HOLD, MONGODB_WINS, POLICIES
from salmon.model.rules import Rules
from salmon.model.steps.admission import is_current
from salmon.model.views import Compute, View
from support.at_hand.stories import SCHEMA, Story, born_in_mongodb, in_step, text

WITH_LABEL = SCHEMA.with_computed([text("Label", create=False, update=False, live=False, computed=True)])


def label(record: Mapping[str, Value]) -> Value:
    """The name and the city, where there is a name."""
    name = record.get("Name")
    return None if name is None else f"{name} ({record.get('City', '?')})"


def labelled(made: Compute = label, *, digest: str = "label", **settings: Any) -> Rules:
    return Rules(WITH_LABEL, views={MONGODB: View(digest, computed={"Label": made})}, **settings)


def acme(**settings: Any) -> Story:
    """A record of Salesforce that both sides have."""
    return in_step(labelled(**settings), Name="Acme", City="Rome", Label="Acme (Rome)")


def test_a_document_has_what_is_made_of_the_record_and_the_org_has_not() -> None:
    """It is published as well: whoever reads `records` need not know how it is made."""
    story = Story(labelled())
    story.salesforce.creates(Name="Acme", City="Rome")
    assert story.writes[MONGODB].fields == {
        "Name": "Acme",
        "City": "Rome",
        "Label": "Acme (Rome)",
        SALESFORCE_ID: story.key,
    }
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "City": "Rome", "Label": "Acme (Rome)"}
    assert (story.writes, story.conflicts) == ({}, [])


def test_a_record_that_is_born_in_mongodb_gets_its_value_there() -> None:
    """Salesforce is told of the record without it."""
    story = born_in_mongodb(labelled(), Name="Acme", City="Rome")
    assert story.writes[MONGODB].fields == {"Label": "Acme (Rome)"}
    assert story.writes[SALESFORCE].fields == {"Name": "Acme", "City": "Rome"}


@pytest.mark.parametrize("side", [SALESFORCE, MONGODB])
def test_an_edit_of_what_it_is_made_of_makes_it_again(side: str) -> None:
    """Whoever has edited that; nobody else is written to because of it."""
    story = acme()
    (story.salesforce if side == SALESFORCE else story.mongodb).edits(City="Oslo")
    assert story.writes[MONGODB].fields["Label"] == "Acme (Oslo)"
    assert story.writes.get(SALESFORCE) is None or story.writes[SALESFORCE].fields == {"City": "Oslo"}
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "City": "Oslo", "Label": "Acme (Oslo)"}


@pytest.mark.parametrize("typed", ["mine", None])
@pytest.mark.parametrize("policy", [MONGODB_WINS, HOLD])
def test_what_an_application_enters_is_set_right_again(typed: str | None, policy: Any) -> None:
    """It is reported as overruled, is in no conflict, and never comes to Salesforce."""
    story = acme(policy=policy)
    story.mongodb.edits(Label=typed)
    assert story.facts() == [Fact.OVERRULED]
    assert story.writes[MONGODB].fields == {"Label": "Acme (Rome)"}
    assert SALESFORCE not in story.writes
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "City": "Rome", "Label": "Acme (Rome)"}
    assert story.conflicts == []


def test_what_an_application_enters_of_another_type_is_set_right_again() -> None:
    """A value that cannot be taken is not left there, as it would be in a field of the application's own."""
    story = acme()
    story.mongodb.edits(misfits=("Label",))
    assert story.writes[MONGODB].fields == {"Label": "Acme (Rome)"}


def test_a_value_that_can_no_longer_be_made_is_cleared() -> None:
    """Also what an application had put there before the org knew the record."""
    story = acme()
    story.salesforce.edits(Name=None)
    assert story.writes[MONGODB].fields == {"Name": None, "Label": None}
    story = born_in_mongodb(labelled(), City="Rome", Label="mine")
    assert story.writes[MONGODB].fields == {"Label": None}


def test_a_fault_in_how_it_is_made_keeps_nobody_waiting() -> None:
    """The value is missing, and the record goes on."""

    def broken(record: Mapping[str, Value]) -> Value:
        raise ZeroDivisionError

    story = Story(labelled(broken))
    story.salesforce.creates(Name="Acme")
    story.come_to_rest()
    assert story.record == {"Name": "Acme"}


def test_edits_in_turn_of_what_it_is_made_of_are_no_oscillation() -> None:
    """Each side edits a field of its own, many times: what is made of both is nobody's."""
    story = acme()
    story.timed = True
    for turn in range(12):
        story.mongodb.edits(City=f"City {turn}")
        story.come_to_rest()
        story.salesforce.edits(Name=f"Name {turn}")
        story.come_to_rest()
    assert story.seen[Fact.OSCILLATING] == 0
    assert story.record == {"Name": "Name 11", "City": "City 11", "Label": "Name 11 (City 11)"}


def test_an_application_that_insists_on_its_own_value_is_left_with_it_and_reported() -> None:
    """Two automations that undo each other come to rest; once the application agrees, it goes on."""
    story = acme()
    story.timed = True
    for _ in range(20):
        story.mongodb.edits(Label="mine")
        if MONGODB not in story.writes:
            break
        story.mongodb.acks(story.writes[MONGODB])
    else:
        raise AssertionError("it does not come to rest")
    assert story.seen[Fact.OSCILLATING] == 1
    story.mongodb.edits(Label="Acme (Rome)")
    assert "Label" not in story.mongodb.parked


def test_what_is_made_contests_no_deletion() -> None:
    """Somebody deletes the document while its value is on its way."""
    story = acme(policy=POLICIES[SALESFORCE])
    story.mongodb.edits(Label="mine")
    story.mongodb.deletes()
    assert story.conflicts == []
    assert story.record is None
    assert story.writes[SALESFORCE].op is WriteOp.DELETE


def test_with_another_expression_each_record_gets_its_new_value() -> None:
    """Merge has the record judged again, though nobody has edited it."""
    story = acme()
    story.rules = labelled(lambda record: f"{record.get('City')}!", digest="another")
    assert not is_current(story.state, story.rules)
    story.judge_again()
    assert story.writes[MONGODB].fields == {"Label": "Rome!"}
    story.come_to_rest()
    assert story.record == {"Name": "Acme", "City": "Rome", "Label": "Rome!"}
    assert is_current(story.state, story.rules)


def test_a_one_way_object_has_it_too() -> None:
    """The target is sent the whole record, and never asked."""
    story = Story(labelled(one_way_to=MONGODB))
    story.salesforce.creates(Name="Acme", City="Rome")
    assert story.writes[MONGODB].fields["Label"] == "Acme (Rome)"
    story.salesforce.edits(City="Oslo")
    assert story.writes[MONGODB].fields["Label"] == "Acme (Oslo)"
