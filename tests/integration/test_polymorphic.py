"""Lookups that can point to several objects, with real processes: who an event is with, what it is about, who owns it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from salmon.devstack.simulator_process import Org
from salmon.simulator.org.objects.describes import PACKAGED
from support.orgs.describes import AT_HAND
from support.ring import Document, Ring, running_ring
from support.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

RECORDS = {"Account": 2, "Contact": 2, "Lead": 2, "Event": 0}
AT = {"DurationInMinutes": 30, "ActivityDateTime": "2026-12-01T09:00:00Z"}


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """A sync of events, and of all that they can be with."""
    folder: Path = tmp_path_factory.mktemp("describes")
    for name in RECORDS:
        at_hand = PACKAGED / f"{name}.json"
        shutil.copy(at_hand if at_hand.exists() else AT_HAND / f"{name}.json", folder)
    org = Org(tuple(RECORDS), RECORDS, folder)
    with running_ring(embedded_stack, "polymorphic", org=org) as ring:
        make(ring, Subject="Before", WhoId=ring.ids("Lead")[0])
        ring.start()
        ring.wait_equal()
        yield ring


@pytest.fixture(autouse=True, scope="module")
def all_is_well(ring: Ring) -> Iterator[None]:
    """Whatever the tests did: both sides end equal, and nothing was refused or contested."""
    yield
    ring.wait_equal()
    assert ring.dead_letters == []
    assert ring.conflicts == 0


def make(ring: Ring, **fields: Any) -> str:
    """A person in the org makes an event."""
    event_id: str = ring.sf.Event.create({**AT, **fields})["id"]
    return event_id


def who_is(type_: str, id_: Any) -> Document:
    return {"type": type_, "id": id_}


def test_a_row_says_of_which_object_the_target_is(ring: Ring) -> None:
    """An event that was there before is with a lead; its owner is a user, and no queue."""
    document = ring.db.events.find_one({"Subject": "Before"})
    assert document is not None
    assert document["WhoId"] == who_is("Lead", ring.ids("Lead")[0])
    assert document["OwnerId"]["type"] == "User"


def test_an_edit_in_the_org_changes_both_at_once(ring: Ring) -> None:
    """From a contact to a lead, and to nobody."""
    contact, lead = ring.ids("Contact")[0], ring.ids("Lead")[1]
    event = make(ring, Subject="Whose", WhoId=contact, WhatId=ring.ids("Account")[0])
    document = ring.wait_document("events", event, lambda seen: "WhoId" in seen)
    assert document["WhoId"] == who_is("Contact", contact)
    assert document["WhatId"] == who_is("Account", ring.ids("Account")[0])
    (found,) = ring.db.events.aggregate(
        [
            {"$match": {"_id": event}},
            {"$lookup": {"from": "contacts", "localField": "WhoId.id", "foreignField": "_id", "as": "who"}},
        ]
    )
    assert [each["_id"] for each in found["who"]] == [contact]
    ring.sf.Event.update(event, {"WhoId": lead, "WhatId": None})
    ring.wait_document("events", event, lambda seen: seen["WhoId"] == who_is("Lead", lead))
    ring.sf.Event.update(event, {"WhoId": None})
    ring.wait_document("events", event, lambda seen: "WhoId" not in seen)


def test_a_contact_and_a_lead_with_one_key_are_told_apart(ring: Ring) -> None:
    """Documents of two collections may have the same _id; an event with either goes to the right one, also before it is there."""
    with_lead, with_contact = ObjectId(), ObjectId()
    ring.db.events.insert_many(
        [
            {"_id": with_lead, "Subject": "Lead", **_at(), "WhoId": who_is("Lead", 7)},
            {"_id": with_contact, "Subject": "Contact", **_at(), "WhoId": who_is("Contact", 7)},
        ]
    )
    ring.db.leads.insert_one({"_id": 7, "LastName": "Seven", "Company": "Primes"})
    ring.db.contacts.insert_one({"_id": 7, "LastName": "Seven"})
    for event, object_name in ((with_lead, "Lead"), (with_contact, "Contact")):
        (target,) = ring.wait_query(f"SELECT Id FROM {object_name} WHERE Salmon_Id__c = '$int:7'", 1)
        query = f"SELECT Id FROM Event WHERE Salmon_Id__c = '$oid:{event}' AND WhoId = '{target['Id']}'"
        ring.wait_query(query, 1)
        document = ring.db.events.find_one({"_id": event})
        assert document is not None
        assert document["WhoId"] == who_is(object_name, 7)


def test_an_edit_of_the_type_alone_is_one_of_the_target(ring: Ring) -> None:
    """`WhoId.id` and `WhoId.type` set by two operators of one update are read as one value; so is a bare Id."""
    contact, lead = ring.ids("Contact")[0], ring.ids("Lead")[0]
    event = make(ring, Subject="Edited", WhoId=contact)
    ring.wait_document("events", event, lambda seen: "WhoId" in seen)
    ring.db.events.update_one({"_id": event}, {"$set": {"WhoId.type": "Lead", "WhoId.id": lead}})
    ring.wait_row("Event", event, lambda row: row["WhoId"] == lead)
    ring.db.events.update_one({"_id": event}, {"$set": {"WhoId": contact}})
    ring.wait_row("Event", event, lambda row: row["WhoId"] == contact)


def _at() -> Document:
    return {"DurationInMinutes": 30, "Description": "of an application"}
