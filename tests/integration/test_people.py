"""An org with person accounts, with real processes: businesses and persons in one object and one collection."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from pymongo.errors import WriteError

from salmon.devstack.simulator_process import Org
from support.ring import Document, Ring, running_ring
from support.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

RECORDS = {"Account": 5, "Contact": 5}


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync of an org that has some businesses, and a person."""
    org = Org(tuple(RECORDS), RECORDS, person_accounts=True)
    with running_ring(embedded_stack, "people", org=org) as ring:
        ring.sf.Account.create(
            {"FirstName": "Grace", "LastName": "Hopper", "PersonEmail": "grace@example.com"}
        )
        ring.start()
        ring.wait_equal()
        yield ring


@pytest.fixture(autouse=True, scope="module")
def nothing_was_refused(ring: Ring) -> Iterator[None]:
    """Whatever the tests did: both sides end equal, and no write has asked for what the org does not take."""
    yield
    ring.wait_equal()
    assert ring.dead_letters == []
    assert ring.conflicts == 0


def create(ring: Ring, **fields: str) -> str:
    """A person in the org makes an account."""
    account_id: str = ring.sf.Account.create(fields)["id"]
    return account_id


def synced(document: Document) -> bool:
    """Whether Salesforce has told of it."""
    return "IsPersonAccount" in document


def contact_of(ring: Ring, person: str) -> str:
    """The Id of the contact behind a person."""
    document = ring.wait_document("accounts", person, lambda seen: "PersonContactId" in seen)
    contact_id: str = document["PersonContactId"]
    return contact_id


def test_a_person_that_was_there_before_is_in_the_collection_of_accounts(ring: Ring) -> None:
    """By its row: the name that the org puts together and its parts, and which contact is behind it."""
    document = ring.db.accounts.find_one({"LastName": "Hopper"})
    assert document is not None
    assert (document["Name"], document["FirstName"]) == ("Grace Hopper", "Grace")
    assert (document["IsPersonAccount"], document["PersonEmail"]) == (True, "grace@example.com")
    contact = ring.db.contacts.find_one({"_id": document["PersonContactId"]})
    assert contact is not None
    assert (contact["LastName"], contact["Email"]) == ("Hopper", "grace@example.com")


def test_both_kinds_are_created_and_renamed_in_the_org(ring: Ring) -> None:
    """By their events: a text for a business, parts for a person, in one stream."""
    business, person = create(ring, Name="Acme"), create(ring, FirstName="Ada", LastName="Byron")
    ring.wait_document("accounts", business, synced)
    ring.wait_document("accounts", person, lambda seen: seen.get("Name") == "Ada Byron")
    ring.sf.Account.update(business, {"Name": "Acme Ltd."})
    ring.sf.Account.update(person, {"LastName": "King"})
    document = ring.wait_document("accounts", business, lambda seen: seen["Name"] == "Acme Ltd.")
    assert document["IsPersonAccount"] is False
    assert "LastName" not in document
    document = ring.wait_document("accounts", person, lambda seen: seen["Name"] == "Ada King")
    assert (document["FirstName"], document["LastName"]) == ("Ada", "King")
    assert document["IsPersonAccount"] is True


def test_both_kinds_are_created_in_mongodb(ring: Ring) -> None:
    """A last name makes a person, whose name the org puts together, also where the application has given one."""
    business, person = f"acme-{uuid4()}", f"ada-{uuid4()}"
    ring.db.accounts.insert_many(
        [
            {"_id": business, "Name": "Works"},
            {"_id": person, "Name": "A. Byron", "FirstName": "Ada", "LastName": "Byron", "Phone": "1"},
        ]
    )
    document = ring.wait_document("accounts", person, lambda seen: seen.get("Name") == "Ada Byron")
    row = ring.row("Account", document["_salmon"]["salesforce_id"])
    assert (row["Name"], row["IsPersonAccount"], row["Salmon_Id__c"]) == ("Ada Byron", True, person)
    contact = ring.wait_document("contacts", contact_of(ring, person), bool)
    assert (contact["LastName"], contact["IsPersonAccount"]) == ("Byron", True)
    document = ring.wait_document("accounts", business, synced)
    row = ring.row("Account", document["_salmon"]["salesforce_id"])
    assert (row["Name"], row["IsPersonAccount"]) == ("Works", False)


def test_a_person_is_edited_in_mongodb(ring: Ring) -> None:
    """A part reaches the org, and its contact, and the name comes back; an edit of the name itself is put right."""
    person = create(ring, FirstName="Mary", LastName="Godwin")
    ring.wait_document("accounts", person, lambda seen: seen.get("Name") == "Mary Godwin")
    ring.db.accounts.update_one(
        {"_id": person}, {"$set": {"LastName": "Shelley", "PersonEmail": "m@example.com"}}
    )
    document = ring.wait_document("accounts", person, lambda seen: seen["Name"] == "Mary Shelley")
    row = ring.row("Account", person)
    assert (row["Name"], row["PersonEmail"]) == ("Mary Shelley", "m@example.com")
    ring.wait_document(
        "contacts", document["PersonContactId"], lambda seen: seen.get("LastName") == "Shelley"
    )
    ring.db.accounts.update_one({"_id": person}, {"$set": {"Name": "M. S.", "Site": "Geneva"}})
    ring.wait_row("Account", person, lambda row: row["Site"] == "Geneva")
    ring.wait_document("accounts", person, lambda seen: seen["Name"] == "Mary Shelley")


def test_a_field_of_persons_in_a_business_is_put_right(ring: Ring) -> None:
    """The document has it back as the org has it, and no write was refused for it."""
    business = create(ring, Name="No Body")
    ring.wait_document("accounts", business, synced)
    ring.db.accounts.update_one({"_id": business}, {"$set": {"PersonEmail": "x@example.com", "Site": "Oslo"}})
    ring.wait_row("Account", business, lambda row: row["Site"] == "Oslo")
    ring.wait_document("accounts", business, lambda seen: "PersonEmail" not in seen)


def test_the_contact_behind_a_person_follows_its_account_alone(ring: Ring) -> None:
    """What an application writes into its document is put right; deleting the account deletes both."""
    person = create(ring, LastName="Solo")
    contact = contact_of(ring, person)
    ring.wait_document("contacts", contact, synced)
    ring.db.contacts.update_one({"_id": contact}, {"$set": {"LastName": "Duo"}})
    ring.wait_document("contacts", contact, lambda seen: seen["LastName"] == "Solo")
    ring.db.accounts.delete_one({"_id": person})
    ring.wait_query(f"SELECT Id FROM Account WHERE Id = '{person}'", 0)
    ring.wait_gone("contacts", contact)


def test_the_validator_takes_documents_of_both_kinds_and_no_wrong_values(ring: Ring) -> None:
    """One collection, one schema: what only the other kind has is never required."""
    (told,) = ring.db.list_collections(filter={"name": "accounts"})
    strict = ring.db.create_collection("strict_accounts", validator=told["options"]["validator"])
    for document in ring.db.accounts.find():
        strict.insert_one(document)
    with pytest.raises(WriteError):
        strict.insert_one({"_id": "ada", "LastName": 7})
