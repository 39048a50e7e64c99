"""A sync at work, with real processes: what a person does in the org and an application in MongoDB reaches the other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from bson import ObjectId
from confluent_kafka import Message

from salmon.kafka.topics import CONNECTORS
from support.ring import Document, Ring
from support.waiting import until

pytestmark = pytest.mark.processes

_NEXT = count()


@pytest.fixture
def account(ring: Ring) -> str:
    """An account that no other test uses: its Id, and the `_id` of its document."""
    return ring.ids("Account")[next(_NEXT)]


@pytest.fixture(autouse=True, scope="module")
def agreed_in_the_end(ring: Ring) -> Iterator[None]:
    """Whatever the tests did, both sides end equal."""
    yield
    ring.wait_equal()


def has_id(document: Document) -> bool:
    """Whether the document names its record in the org."""
    return "salesforce_id" in document.get("_salmon", {})


def headers_of(message: Message) -> dict[str, str]:
    told: list[tuple[str, bytes]] = message.headers() or []  # type: ignore[assignment]
    return {name: value.decode() for name, value in told}


def dlq(ring: Ring, *arguments: str) -> dict[str, Any]:
    """What `salmon dlq` prints."""
    command = [sys.executable, "-m", "salmon", "dlq", *arguments, "--json", "-c", str(ring.config_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    printed: dict[str, Any] = json.loads(ran.stdout)
    return printed


# Edits


def test_an_edit_in_the_org_arrives_in_mongodb(ring: Ring, account: str) -> None:
    """A person changes one field and clears another; the document shows both."""
    ring.sf.Account.update(account, {"Site": "Rome", "Phone": None})
    document = ring.wait_document("accounts", account, lambda seen: seen.get("Site") == "Rome")
    assert "Phone" not in document


def test_an_edit_in_mongodb_arrives_in_the_org(ring: Ring, account: str) -> None:
    """An application changes one field and unsets another; the record shows both."""
    ring.db.accounts.update_one({"_id": account}, {"$set": {"Site": "Oslo"}, "$unset": {"Phone": ""}})
    row = ring.wait_row("Account", account, lambda seen: seen["Site"] == "Oslo")
    assert row["Phone"] is None


def test_an_edit_can_be_followed_from_its_report_to_its_echo_by_one_correlation(
    ring: Ring, account: str
) -> None:
    """The source, the sink, and the sink again when it has come back: three debug lines, and none has a value."""
    ring.db.accounts.update_one({"_id": account}, {"$set": {"Site": "Planted in Bergen"}})
    ring.wait_row("Account", account, lambda seen: seen["Site"] == "Planted in Bergen")

    def steps(connector: str, event: str) -> list[Document]:
        lines = (ring.folder / f"{connector}.log").read_text().splitlines()
        told = [json.loads(line) for line in lines if f'"{event}"' in line]
        return [each for each in told if each.get("key") == account and each.get("correlation")]

    until(lambda: steps("salesforce-sink", "write_came_back"), "the write came back")
    # MongoDB's source also reports the echo of the stamps that the org's update brought.
    (reported,) = [each for each in steps("mongodb-source", "change_reported") if each["answers"] is None]
    (finished,) = steps("salesforce-sink", "write_finished")
    (back,) = steps("salesforce-sink", "write_came_back")
    assert reported["correlation"] == finished["correlation"] == back["correlation"]
    assert finished["outcome"] == "APPLIED"
    assert finished["seq"] == back["seq"]
    echoes = [each["answers"] for each in steps("salesforce-source", "change_reported")]
    assert finished["seq"] in echoes
    for connector in CONNECTORS:
        assert "Planted in Bergen" not in ring.last_words(connector)


def test_the_metrics_of_a_sync_name_no_record_and_say_how_far_it_has_read(ring: Ring) -> None:
    """No label is an Id; both sources say how old their position is, and how long their side keeps what follows."""

    def metrics(connector: str) -> str:
        return ring.http.get(f"http://127.0.0.1:{ring.ports[connector]}/metrics", timeout=10).text

    for connector in CONNECTORS:
        assert re.findall(r'="[0-9a-zA-Z]{15}(?:[0-9a-zA-Z]{3})?"', metrics(connector)) == []
    for connector in ("salesforce-source", "mongodb-source"):
        labels = f'{{connector="{connector}",stream="stream"}}'
        told = until(
            lambda name=connector: re.search(r"salmon_position_age_seconds{.*} (\S+)", metrics(name)),  # type: ignore[misc]
            f"{connector} says how old its position is",
        )
        assert isinstance(told, re.Match)
        assert float(told[1]) < 400
        kept = re.search(
            re.escape(f"salmon_position_retention_seconds{labels} ") + r"(\S+)", metrics(connector)
        )
        assert kept is not None
        assert float(kept[1]) > 0


def test_edits_of_different_fields_on_both_sides_both_survive(ring: Ring, account: str) -> None:
    """Neither side knew of the other's edit, and neither is lost, nor is there a conflict."""
    conflicts = ring.conflicts
    ring.sf.Account.update(account, {"Site": "Bern"})
    ring.db.accounts.update_one({"_id": account}, {"$set": {"Phone": "+41 31 555 0101"}})
    row = ring.wait_row("Account", account, lambda seen: seen["Phone"] == "+41 31 555 0101")
    document = ring.wait_document("accounts", account, lambda seen: seen.get("Site") == "Bern")
    assert (row["Site"], document["Phone"]) == ("Bern", "+41 31 555 0101")
    ring.wait_equal()
    assert ring.conflicts == conflicts


def test_edits_of_the_same_field_at_once_are_one_conflict_and_the_last_writer_wins(
    ring: Ring, account: str
) -> None:
    """merge is down while both sides edit, so that neither can know of the other; later both hold one value."""
    conflicts = ring.conflicts
    ring.stop("merge")
    ring.sf.Account.update(account, {"Site": "of a person"})
    ring.db.accounts.update_one({"_id": account}, {"$set": {"Site": "of an application"}})
    ring.start("merge")
    ring.wait_equal()
    document = ring.db.accounts.find_one({"_id": account})
    assert document is not None
    assert document["Site"] == ring.row("Account", account)["Site"]
    assert document["Site"] in {"of a person", "of an application"}
    until(lambda: ring.conflicts == conflicts + 1, "the conflict is recorded", within_s=60)


# Births and deaths


def test_a_document_becomes_a_record_and_gets_its_id_back(ring: Ring) -> None:
    """What an application inserts is created in the org; the document then names the record's Id."""
    key = f"customer-{uuid4()}"
    ring.db.accounts.insert_one({"_id": key, "Name": "Born in MongoDB", "Site": "Lima"})
    document = ring.wait_document("accounts", key, has_id)
    row = ring.row("Account", document["_salmon"]["salesforce_id"])
    assert (row["Name"], row["Site"], row["Salmon_Id__c"]) == ("Born in MongoDB", "Lima", key)
    assert len(ring.wait_query(f"SELECT Id FROM Account WHERE Salmon_Id__c = '{key}'", 1)) == 1


@pytest.mark.parametrize("first", ["account", "contact"])
def test_a_contact_born_together_with_its_account_points_at_it_on_both_sides(ring: Ring, first: str) -> None:
    """The reference holds the account's _id in its own type in MongoDB, and its Id in the org, in either order."""
    parent, child = ObjectId(), ObjectId()
    births: list[tuple[str, Document]] = [
        ("accounts", {"_id": parent, "Name": "Parent"}),
        ("contacts", {"_id": child, "LastName": "Child", "AccountId": parent}),
    ]
    for collection, document in births if first == "account" else reversed(births):
        ring.db[collection].insert_one(document)
    its_account = ring.wait_document("accounts", parent, has_id)
    contact = ring.wait_document("contacts", child, has_id)
    account_id = its_account["_salmon"]["salesforce_id"]
    ring.wait_row("Contact", contact["_salmon"]["salesforce_id"], lambda row: row["AccountId"] == account_id)
    ring.wait_equal()
    assert ring.db.contacts.find_one({"_id": child}, {"AccountId": 1}) == {"_id": child, "AccountId": parent}


def test_an_account_and_a_contact_born_in_mongodb_that_refer_to_each_other_do_so_in_the_org(
    ring: Ring,
) -> None:
    """Neither can be created with its reference: one is created without it, and gets it once the other is there."""
    firm, person = ObjectId(), ObjectId()
    ring.db.accounts.insert_one({"_id": firm, "Name": "Firm", "Primary_Contact__c": person})
    ring.db.contacts.insert_one({"_id": person, "LastName": "Head", "AccountId": firm})
    firm_id, person_id = (
        ring.wait_document(collection, key, has_id)["_salmon"]["salesforce_id"]
        for collection, key in (("accounts", firm), ("contacts", person))
    )
    ring.wait_row("Account", firm_id, lambda row: row["Primary_Contact__c"] == person_id)
    ring.wait_row("Contact", person_id, lambda row: row["AccountId"] == firm_id)
    ring.wait_equal()
    assert ring.db.accounts.find_one({"_id": firm}, {"Primary_Contact__c": 1}) == {
        "_id": firm, "Primary_Contact__c": person,
    }  # fmt: skip
    assert ring.db.contacts.find_one({"_id": person}, {"AccountId": 1}) == {"_id": person, "AccountId": firm}


def test_a_record_created_in_the_org_becomes_a_document_under_its_id(ring: Ring) -> None:
    """Its `_id` is the 18-character Id, and its reference the account's."""
    parent = ring.sf.Account.create({"Name": "Parent"})["id"]
    child = ring.sf.Contact.create({"LastName": "Child", "AccountId": parent})["id"]
    assert ring.wait_document("accounts", parent, lambda seen: seen["Name"] == "Parent")
    assert ring.wait_document("contacts", child, lambda seen: seen["AccountId"] == parent)


def test_a_record_deleted_in_the_org_is_deleted_in_mongodb(ring: Ring) -> None:
    """One that was born in the org."""
    key = ring.sf.Account.create({"Name": "Short-lived"})["id"]
    ring.wait_document("accounts", key, lambda seen: seen["Name"] == "Short-lived")
    ring.sf.Account.delete(key)
    ring.wait_gone("accounts", key)


def test_a_document_deleted_in_mongodb_is_deleted_in_the_org(ring: Ring) -> None:
    """One that was born in the org."""
    key = ring.sf.Account.create({"Name": "Short-lived"})["id"]
    ring.wait_document("accounts", key, lambda seen: seen["Name"] == "Short-lived")
    ring.db.accounts.delete_one({"_id": key})
    ring.wait_query(f"SELECT Id FROM Account WHERE Id = '{key}'", 0)


def test_a_lookup_that_the_org_clears_for_us_brings_no_deleted_record_back(ring: Ring) -> None:
    """
    An application deletes a contact, and then an opportunity of it, of whose cleared lookup nobody has heard yet. It stays
    deleted on both sides, and no conflict is told. (Case L1.)
    """
    conflicts = ring.conflicts
    contact = ring.sf.Contact.create({"LastName": "Leaver"})["id"]
    deal = {"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-12-31", "ContactId": contact}
    opportunity = ring.sf.Opportunity.create(deal)["id"]
    ring.wait_document("opportunities", opportunity, lambda seen: seen["ContactId"] == contact)
    ring.wait_document("contacts", contact, has_id)
    ring.stop("salesforce-source")
    ring.db.contacts.delete_one({"_id": contact})
    ring.wait_row("Opportunity", opportunity, lambda seen: seen["ContactId"] is None)
    ring.db.opportunities.delete_one({"_id": opportunity})
    ring.wait_query(f"SELECT Id FROM Opportunity WHERE Id = '{opportunity}'", 0)
    ring.start("salesforce-source")
    until(lambda: ring.owes_nothing, "the org's events are heard", within_s=60)
    ring.wait_query("SELECT Id FROM Opportunity WHERE Name = 'Deal'", 0)
    assert ring.db.opportunities.count_documents({"Name": "Deal"}) == 0
    assert ring.conflicts == conflicts


def test_a_document_that_is_deleted_and_inserted_again_at_once_keeps_its_record(ring: Ring) -> None:
    """Some applications save like that: the account keeps its Id and its contact (case L11)."""
    key = ring.sf.Account.create({"Name": "Saved", "Site": "Rome"})["id"]
    contact = ring.sf.Contact.create({"LastName": "Stays", "AccountId": key})["id"]
    document = ring.wait_document("accounts", key, lambda seen: seen["Site"] == "Rome")
    ring.wait_document("contacts", contact, lambda seen: seen["AccountId"] == key)
    ring.db.accounts.delete_one({"_id": key})
    ring.db.accounts.insert_one({**document, "Site": "Oslo"})
    ring.wait_row("Account", key, lambda seen: seen["Site"] == "Oslo")
    assert ring.sf.Contact.get(contact)["AccountId"] == key


def test_accounts_swap_their_numbers_and_a_new_one_takes_that_of_a_deleted_one(ring: Ring) -> None:
    """They are unique in MongoDB; in the org, one call swaps them (case L8)."""
    numbers = {"AccountNumber": {"$gte": "unique-", "$lt": "unique."}}
    ring.db.accounts.create_index("AccountNumber", unique=True, partialFilterExpression=numbers)
    one, two = (ring.sf.Account.create({"Name": n, "AccountNumber": f"unique-{n}"})["id"] for n in "12")
    for key, number in ((one, "unique-1"), (two, "unique-2")):
        ring.wait_document("accounts", key, lambda seen, n=number: seen["AccountNumber"] == n)  # type: ignore[misc]
    swapped = [(one, "unique-2"), (two, "unique-1")]
    records = [{"attributes": {"type": "Account"}, "Id": key, "AccountNumber": n} for key, n in swapped]
    ring.sf.restful("composite/sobjects", method="PATCH", json={"records": records})
    for key, number in swapped:
        ring.wait_document("accounts", key, lambda seen, n=number: seen["AccountNumber"] == n)  # type: ignore[misc]
    ring.sf.Account.delete(one)
    new = ring.sf.Account.create({"Name": "3", "AccountNumber": "unique-2"})["id"]
    ring.wait_document("accounts", new, lambda seen: seen["AccountNumber"] == "unique-2")
    ring.wait_gone("accounts", one)


# Triggers of the org


def test_what_a_trigger_tidies_is_kept_and_is_no_conflict(ring: Ring, account: str) -> None:
    """We write a phone number, the org's trigger stores it in another form, and that is what MongoDB shows then."""
    conflicts = ring.conflicts
    with ring.trigger(object="Account", when={"field": "Phone"}, set={"Phone": "{Phone|e164}"}):
        ring.db.accounts.update_one({"_id": account}, {"$set": {"Phone": "(415) 555-0101"}})
        ring.wait_document("accounts", account, lambda seen: seen["Phone"] == "+14155550101")
        ring.wait_equal()
    assert ring.row("Account", account)["Phone"] == "+14155550101"
    assert ring.conflicts == conflicts


def test_a_refused_value_is_told_where_people_look_and_healed_by_the_next_edit(
    ring: Ring, account: str
) -> None:
    """A rule of the org refuses it: a dead letter says so, and the document itself; the next edit is written."""
    letters = len(ring.dead_letters)
    with ring.trigger(object="Account", when={"field": "Fax"}, refuse=True):
        ring.db.accounts.update_one({"_id": account}, {"$set": {"Fax": "666", "Site": "Kyiv"}})
        document = ring.wait_document("accounts", account, lambda seen: seen["_salmon"].get("error"))
        row = ring.wait_row("Account", account, lambda seen: seen["Site"] == "Kyiv")
    assert "Fax" in document["_salmon"]["error"]
    assert document["Fax"] == "666", "the application's value stays as it is"
    assert row["Fax"] != "666"
    (letter,) = ring.dead_letters[letters:]
    headers = headers_of(letter)
    assert letter.topic() == ring.config.topic_names.dlq("salesforce-sink")
    assert headers["__connect.errors.topic"] == ring.config.topic_names.writes("salesforce", "Account")
    assert headers["__connect.errors.connector.name"] == "salesforce-sink"
    assert "FIELD_CUSTOM_VALIDATION_EXCEPTION" in headers["__connect.errors.exception.message"]
    assert "666" not in str(headers), "no value is told"

    listed = dlq(ring, "list", "--key", account)["dead_letters"]
    assert [(each["code"], each["replay"]) for each in listed] == [
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "send")
    ]
    for replayed in (1, 0):
        assert dlq(ring, "replay", listed[0]["id"])["replayed"] == replayed
    ring.wait_row("Account", account, lambda seen: seen["Fax"] == "666")

    ring.db.accounts.update_one({"_id": account}, {"$set": {"Fax": "+1 555 0199"}})

    ring.wait_row("Account", account, lambda seen: seen["Fax"] == "+1 555 0199")
    ring.wait_document("accounts", account, lambda seen: "error" not in seen["_salmon"])
