"""`salmon why` of records that filters and masks keep from a side, or that a side keeps after their deletion."""

from __future__ import annotations

from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind
from salmon.model.views import View
from support.at_hand.stories import SCHEMA, Story, born_in_mongodb, in_step
from support.at_hand.told import now_of, told_of

OSLO = View(
    "oslo", lambda record: record.get("City") == "Oslo", {"Phone": lambda _: "***"}, text='City == "Oslo"'
)
RULES = Rules(SCHEMA, views={MONGODB: OSLO})


def test_it_says_that_the_filter_keeps_the_record_away() -> None:
    """With the filter as it is configured; nothing waits."""
    story = Story(RULES)
    story.salesforce.creates(Name="Acme", City="Bergen")
    now = now_of(story)
    assert now.settled
    assert (
        'is not in MongoDB, because it does not match the filter of MongoDB (City == "Oslo")' in now.sentence
    )
    assert now.sides[MONGODB]["filter"] == {
        "wants_it": False,
        "stays_unwanted": False,
        "is_current": True,
    }


def test_it_says_that_a_record_stays_where_it_was_born() -> None:
    """And that nothing is written to it there."""
    story = born_in_mongodb(RULES, Name="Acme", City="Bergen")
    story.come_to_rest()
    assert "stays there: it was created there" in now_of(story).sentence


def test_it_says_which_fields_are_masked() -> None:
    """An edit of them there would be overruled."""
    story = in_step(RULES, Name="Acme", City="Oslo", Phone="555 0101")
    assert "MongoDB has Phone masked" in now_of(story).sentence


def test_it_waits_for_the_removal_of_what_leaves_and_names_a_refusal() -> None:
    """Refused by the side that it is to leave."""
    story = in_step(RULES, Name="Acme", City="Oslo")
    story.salesforce.edits(City="Bergen")
    assert "waits for MongoDB to carry out write" in now_of(story).sentence
    story.mongodb.refuses(story.writes[MONGODB])
    assert "no longer matches the filter of MongoDB, which refused" in now_of(story).sentence


def test_its_history_says_that_merge_had_it_judged_again() -> None:
    """With why."""
    story = in_step(RULES, Name="Acme", City="Oslo")
    story.judge_again()
    assert "had the record judged again" in told_of(story)[-1].says


def test_it_says_that_a_side_keeps_its_record_after_the_deletion() -> None:
    """It is no longer synced."""
    story = in_step(Rules(SCHEMA, keeps={MONGODB: ""}), Name="Acme")
    story.salesforce.deletes()
    assert "is deleted, and no longer synced; MongoDB keeps its record" in now_of(story).sentence


def test_it_names_what_is_computed_and_the_org_is_in_sync_without_it() -> None:
    """Also after an application has entered something there: the value was set right again."""
    label = FieldSchema("Label", "string", Kind.STRING, create=False, update=False, computed=True)
    view = View("label", computed={"Label": lambda record: f"{record['Name']}!"})
    rules = Rules(SCHEMA.with_computed([label]), views={MONGODB: view})
    story = in_step(rules, Name="Acme", Label="Acme!")
    story.mongodb.edits(Label="mine")
    story.come_to_rest()
    now = now_of(story)
    assert now.sentence.endswith("is in sync: both sides have the agreed values.")
    assert now.sides[MONGODB]["computed"] == ["Label"]
    assert now.sides[SALESFORCE]["differs"] == {}
