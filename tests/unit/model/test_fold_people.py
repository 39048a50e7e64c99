"""Accounts of an org with person accounts: businesses and persons in one object, each with fields of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.model.change import SALESFORCE, SALESFORCE_ID, Change, Op, Value, WriteOp
from salmon.model.fold import Fact, fold
from salmon.model.rules import Rules
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.model.state import new_state
from salmon.model.steps.first_load import fold_first_row
from support.at_hand.stories import KEY, Story, born_in_mongodb, in_step, text

FLAG = FieldSchema("IsPersonAccount", "boolean", Kind.BOOLEAN, create=False, update=False, nillable=False)
SCHEMA = ObjectSchema(
    "Account",
    (
        text("Name", required=True, nillable=False, compound="Name", only="business"),
        text("Salutation", compound="Name", only="person"),
        text("FirstName", compound="Name", only="person"),
        text("LastName", compound="Name", only="person"),
        text("PersonEmail", type="email", only="person"),
        text("Phone"),
        FLAG,
    ),
    "001",
)
RULES = Rules(SCHEMA)
CONTACTS = Rules(replace(SCHEMA, name="Contact", fields=(text("LastName", only="business"), FLAG)))


def ada(**more: str) -> Story:
    """A person that both sides hold alike."""
    return in_step(RULES, FirstName="Ada", LastName="Byron", Name="Ada Byron", IsPersonAccount=True, **more)


def acme() -> Story:
    """A business that both sides hold alike."""
    return in_step(RULES, Name="Acme", IsPersonAccount=False)


def test_a_persons_name_follows_from_the_part_that_an_event_names() -> None:
    """She marries: the event says the last name alone, and the document gets the whole name, without a read."""
    story = ada()
    folded = story.salesforce.edits(LastName="King", IsPersonAccount=True)
    assert story.writes["mongodb"].fields == {"LastName": "King", "Name": "Ada King"}
    assert (folded.to_read, story.conflicts) == (set(), [])
    story.come_to_rest()
    assert story.salesforce.holds["Name"] == story.mongodb.holds["Name"] == "Ada King"


def test_a_persons_name_follows_from_a_part_that_is_cleared() -> None:
    """Nothing is left of the first name, nor of the space after it."""
    story = ada()
    story.salesforce.edits(FirstName=None, IsPersonAccount=True)
    assert story.writes["mongodb"].fields == {"FirstName": None, "Name": "Byron"}


def test_a_name_with_the_family_name_first_stays_so() -> None:
    """The org puts names together by its user's locale; how it does, the former name shows."""
    story = in_step(RULES, FirstName="Ichiro", LastName="Suzuki", Name="Suzuki Ichiro", IsPersonAccount=True)
    story.salesforce.edits(LastName="Tanaka", IsPersonAccount=True)
    assert story.writes["mongodb"].fields["Name"] == "Tanaka Ichiro"


def test_a_name_that_was_put_together_in_another_way_is_read() -> None:
    """It is not guessed: the document gets the part at once, and the name with the row."""
    story = in_step(RULES, FirstName="Ada", LastName="Byron", Name="Byron, A.", IsPersonAccount=True)
    folded = story.salesforce.edits(LastName="King", IsPersonAccount=True)
    assert story.writes["mongodb"].fields == {"LastName": "King"}
    assert folded.to_read == {SALESFORCE}
    story.salesforce.row(FirstName="Ada", LastName="King", Name="King, A.", IsPersonAccount=True)
    assert story.writes["mongodb"].fields["Name"] == "King, A."


def test_a_new_person_has_a_name_by_its_creation_alone() -> None:
    """The event has the parts only."""
    story = Story(RULES)
    story.salesforce.creates(Salutation="Ms.", FirstName="Ada", LastName="Byron", IsPersonAccount=True)
    assert story.writes["mongodb"].fields == {
        "Salutation": "Ms.",
        "FirstName": "Ada",
        "LastName": "Byron",
        "Name": "Ada Byron",
        "IsPersonAccount": True,
        SALESFORCE_ID: KEY,
    }


def test_an_edit_of_a_part_in_mongodb_writes_no_name_and_brings_it_back() -> None:
    """Salesforce is sent the part; its event, the echo, gives the document the new name."""
    story = ada()
    story.mongodb.edits(LastName="King")
    assert story.writes["salesforce"].fields == {"LastName": "King"}
    story.salesforce.acks(story.writes["salesforce"], IsPersonAccount=True)
    assert story.writes["mongodb"].fields == {"Name": "Ada King"}
    story.come_to_rest()
    assert story.mongodb.holds == story.salesforce.holds | {SALESFORCE_ID: KEY}


def test_an_edit_of_a_persons_name_in_mongodb_is_put_right() -> None:
    """Nobody can write it: Salesforce is sent nothing, the document gets it back, and it is reported."""
    story = ada()
    story.mongodb.edits(Name="Countess")
    assert "salesforce" not in story.writes
    assert story.writes["mongodb"].fields == {"Name": "Ada Byron"}
    assert story.facts() == [Fact.OVERRULED]


def test_a_business_has_its_name_written_and_no_field_of_persons() -> None:
    """The one is sent; the other is put right in the document, with no write that the org would refuse."""
    story = acme()
    story.mongodb.edits(Name="Acme Ltd.", PersonEmail="info@acme.example")
    assert story.writes["salesforce"].fields == {"Name": "Acme Ltd."}
    assert story.writes["mongodb"].fields == {"PersonEmail": None}
    assert Fact.OVERRULED in story.facts()


@pytest.mark.parametrize(
    ("document", "sent"),
    [
        ({"Name": "Acme"}, {"Name": "Acme"}),
        ({"LastName": "Byron"}, {"LastName": "Byron"}),
        (
            {"Name": "Ada B.", "FirstName": "Ada", "LastName": "Byron"},
            {"FirstName": "Ada", "LastName": "Byron"},
        ),
        ({"Name": "Acme", "FirstName": "Ada"}, {"Name": "Acme"}),
        ({"FirstName": "Ada"}, {"FirstName": "Ada"}),
        ({"Name": "Acme", "IsPersonAccount": True}, {"Name": "Acme"}),
    ],
)
def test_a_new_document_with_a_last_name_is_a_person_and_with_a_name_alone_a_business(
    document: dict[str, str | bool], sent: dict[str, str]
) -> None:
    """The creation has the fields of one kind only. IsPersonAccount is Salesforce's to say."""
    story = born_in_mongodb(RULES, **document)
    assert (story.writes["salesforce"].op, story.writes["salesforce"].fields) == (WriteOp.CREATE, sent)


def test_a_business_on_its_way_to_salesforce_is_one() -> None:
    """A last name that an application adds before Salesforce has told of it comes too late: it is put right, and not refused."""
    story = born_in_mongodb(RULES, Name="Acme")
    made = story.writes["salesforce"]
    story.mongodb.edits(LastName="Byron", Phone="1")
    assert story.writes["salesforce"].fields == {"Name": "Acme", "Phone": "1"}
    story.salesforce.acks(made, IsPersonAccount=False)
    story.come_to_rest()
    assert "LastName" not in story.mongodb.holds


def test_a_person_that_is_born_in_mongodb_gets_its_name_from_salesforce() -> None:
    """What the application has typed as the name gives way to what the org puts together."""
    story = born_in_mongodb(RULES, Name="Ada B.", FirstName="Ada", LastName="Byron")
    assert "mongodb" not in story.writes, "nobody has said yet what it is called"
    story.salesforce.acks(story.writes["salesforce"], IsPersonAccount=True)
    assert story.writes["mongodb"].fields["Name"] == "Ada Byron"
    story.come_to_rest()
    assert (story.mongodb.holds["Name"], story.conflicts) == ("Ada Byron", [])


def test_a_persons_last_name_is_never_cleared() -> None:
    """A document that lacks it gets it back, as with every field that must not be empty."""
    story = ada()
    story.mongodb.edits(LastName=None)
    assert "salesforce" not in story.writes
    assert story.writes["mongodb"].fields == {"LastName": "Byron"}


def test_a_person_that_is_created_again_stays_a_person() -> None:
    """Deleted in the org and edited in MongoDB at the same time, the edit wins: what is created has no Name."""
    story = ada()
    story.salesforce.deletes(at=1)
    story.mongodb.edits(Phone="555 0101")
    assert story.writes["salesforce"].op is WriteOp.CREATE
    assert story.writes["salesforce"].fields == {
        "FirstName": "Ada",
        "LastName": "Byron",
        "Phone": "555 0101",
    }


def test_a_business_that_becomes_a_person_is_read() -> None:
    """An admin converts it: what it is called now, the event alone does not say."""
    story = acme()
    folded = story.salesforce.edits(LastName="Acme", IsPersonAccount=True)
    assert folded.to_read == {SALESFORCE}
    story.salesforce.row(LastName="Acme", Name="Acme", IsPersonAccount=True)
    story.come_to_rest()
    story.mongodb.edits(LastName="Ackme")
    assert story.writes["salesforce"].fields == {"LastName": "Ackme"}


def test_the_contact_behind_a_person_is_never_written() -> None:
    """Salesforce lets its account alone be edited, so what an application does to it is put right."""
    story = in_step(CONTACTS, LastName="Byron", IsPersonAccount=True)
    story.mongodb.edits(LastName="King")
    assert "salesforce" not in story.writes
    assert story.writes["mongodb"].fields == {"LastName": "Byron"}
    ordinary = in_step(CONTACTS, LastName="Byron", IsPersonAccount=False)
    ordinary.mongodb.edits(LastName="King")
    assert ordinary.writes["salesforce"].fields == {"LastName": "King"}


@pytest.mark.parametrize("flag", [True, False])
def test_a_first_row_is_folded_the_same_by_the_short_way(flag: bool) -> None:
    """For a record of either kind, and what only Salesforce sets in it."""
    last: dict[str, Value] = {"LastName": "Byron"} if flag else {}
    fields: dict[str, Value] = {"Name": "Ada Byron", "IsPersonAccount": flag, **last}
    row = Change(SALESFORCE, Op.ROW, committed_at=5, as_of=7, native_id=KEY, fields=fields)
    short = fold_first_row(row, offset=3, rules=RULES)
    assert short == fold(new_state(RULES.names), row, object="Account", key=KEY, offset=3, rules=RULES)


def test_in_a_sync_to_salesforce_alone_each_kind_is_sent_what_it_can_be_given() -> None:
    """The whole record is written each time, and the fields of the other kind are not even cleared."""
    to_salesforce = replace(RULES, one_way_to=SALESFORCE)
    person = born_in_mongodb(to_salesforce, LastName="Byron", Name="Ada")
    assert "Name" not in person.writes["salesforce"].fields
    business = born_in_mongodb(to_salesforce, Name="Acme")
    assert business.writes["salesforce"].fields == {"Name": "Acme", "Phone": None}


def test_a_lookup_that_an_earlier_version_has_stored_as_a_bare_id_gets_its_object() -> None:
    """The record is read again after the update: the document is given the new form, and nothing is sent to the org."""
    who = text("WhoId", type="reference", reference_to=("Contact", "Lead"))
    story = in_step(Rules(ObjectSchema("Event", (who,), "00U")), WhoId="0035g00000Xyz12AAA")
    story.salesforce.row(WhoId="Contact:0035g00000Xyz12AAA")
    assert story.writes.keys() == {"mongodb"}
    assert story.writes["mongodb"].fields == {"WhoId": "Contact:0035g00000Xyz12AAA"}
    story.come_to_rest()
    assert story.conflicts == []


def test_a_bare_key_in_a_document_gets_its_object_from_the_orgs_answer() -> None:
    """The application has not said of which of two objects it is; the sink has found it, and no conflict comes of it."""
    who = text("WhoId", type="reference", reference_to=("Contact", "Lead"))
    story = in_step(Rules(ObjectSchema("Event", (who,), "00U")), WhoId="Contact:$int:1")
    story.mongodb.edits(WhoId=":$int:7")
    story.salesforce.acks(story.writes["salesforce"], WhoId="Lead:$int:7")
    assert story.writes["mongodb"].fields == {"WhoId": "Lead:$int:7"}
    story.come_to_rest()
    assert story.conflicts == []
