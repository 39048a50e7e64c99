"""Three sides: what a further one is told, and what it says."""

from __future__ import annotations

from salmon.model.change import (
    MONGODB,
    OWNED_BY_MERGE,
    PLACE,
    SALESFORCE,
    SALESFORCE_ID,
    SIDES,
    Change,
    Op,
    WriteOp,
)
from salmon.model.fold import Fact
from salmon.model.policies import side_wins
from salmon.model.rules import Rules
from salmon.model.steps.first_load import fold_first_row
from support.at_hand.stories import KEY, Story, Teller, rules

FILES = "files"


def of_three(**settings: object) -> Rules:
    return rules(sides=(*SIDES, FILES), guarded=frozenset({MONGODB, FILES}), **settings)


class Three(Story):
    """A story with a third side."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.files = Teller(self, FILES)


def in_step(told: Rules | None = None) -> Three:
    """A record that all three hold alike."""
    story = Three(told or of_three())
    story.salesforce.row(Name="Acme", City="Oslo")
    for side in (story.mongodb, story.files):
        side.acks(story.writes[side.name])
    assert story.writes == {}
    return story


def test_an_edit_of_a_further_side_goes_to_both_others() -> None:
    """And comes back from each as an echo, after which nobody is owed anything."""
    story = in_step()
    story.files.edits(City="Rome")
    assert {side: write.fields for side, write in story.writes.items()} == {
        SALESFORCE: {"City": "Rome"},
        MONGODB: {"City": "Rome"},
    }
    story.salesforce.acks(story.writes[SALESFORCE])
    story.mongodb.acks(story.writes[MONGODB])
    assert story.writes == {}
    assert story.conflicts == []


def test_an_edit_that_saw_another_sides_edit_wins_on_the_third() -> None:
    """MongoDB answers what the file's edit had set, before Salesforce has heard of either."""
    story = in_step()
    story.files.edits(City="Rome")
    story.mongodb.acks(story.writes[MONGODB])
    story.mongodb.edits(City="Bern", at=1)
    assert story.conflicts == []
    assert story.writes[SALESFORCE].fields == story.writes[FILES].fields == {"City": "Bern"}


def test_a_deletion_on_a_further_side_is_one_on_both_others() -> None:
    """Each is owed it with the marker that its record carries."""
    story = in_step()
    story.files.deletes()
    assert {write.op for write in story.writes.values()} == {WriteOp.DELETE}
    assert story.writes.keys() == set(SIDES)
    assert story.seen[Fact.DELETED]


def test_a_further_side_may_be_the_one_that_wins() -> None:
    """Its name is a policy; between two others, the later edit wins."""
    story = in_step(of_three(policy=side_wins(FILES)))
    story.files.edits(City="Rome", at=1)
    story.mongodb.edits(City="Bern", at=2)
    assert len(story.conflicts) == 1
    assert story.record is not None
    assert story.record["City"] == "Rome"


def test_a_field_that_salesforce_has_not_told_is_not_cleared_on_a_further_side() -> None:
    """It may not set the field, but what stands there may be right; once Salesforce has told, it is put right."""
    story = Three(of_three())
    story.files.row(Name="Acme", Shout="from a file")
    assert FILES not in story.writes
    story.salesforce.creates(Name="Acme", Shout="ACME", ack=story.writes[SALESFORCE].seq)
    assert story.writes[FILES].fields["Shout"] == "ACME"


def test_what_merge_tells_a_document_it_tells_no_further_side() -> None:
    """The Salesforce Id and the error are properties of documents; also a second creation names them there alone."""
    story = Three(of_three())
    story.salesforce.row(Name="Acme")
    assert SALESFORCE_ID in story.writes[MONGODB].fields
    assert story.writes[FILES].fields == {"Name": "Acme"}
    story.salesforce.edits(Name="Globex")
    again, document = story.writes[FILES], story.writes[MONGODB]
    assert (again.op, again.differs) == (WriteOp.CREATE, frozenset({"Name"}))
    assert document.differs == frozenset({"Name"}) | OWNED_BY_MERGE - {PLACE}


def test_the_short_way_of_a_first_row_tells_a_further_side_its_fields_alone() -> None:
    """It is taken with three sides, too."""
    row = Change(SALESFORCE, Op.ROW, as_of=5, native_id=KEY, fields={"Name": "Acme"})
    short = fold_first_row(row, offset=0, rules=of_three())
    assert short is not None
    told = {side: write.fields for side, write in short.writes.items() if write}
    assert told == {MONGODB: {"Name": "Acme", SALESFORCE_ID: KEY}, FILES: {"Name": "Acme"}}
