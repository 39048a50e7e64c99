"""The first start of a sync between sides that both have records already, with real processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from support.ring import Document, Ring, running_ring
from support.stacks import Stack

pytestmark = pytest.mark.processes

RECORDS: Mapping[str, int] = {"Account": 40, "Contact": 20, "Opportunity": 0}
WINNERS = ("salesforce", "mongodb")


@pytest.fixture(scope="module", params=WINNERS)
def met(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Met]:
    """A ring whose sides had records of their own before anything of Salmon ran, after its first start."""
    initial: str = request.param
    objects = {name: {"initial": initial} for name in RECORDS}
    with running_ring(stack, f"first_{initial}", records=RECORDS, objects=objects) as ring:
        met = Met(ring, initial)
        met.write_mongodb()
        ring.start()
        ring.wait_equal()
        yield met


class Met:
    """What the sides had: some records alike, some different, some sparse, some on one side only."""

    def __init__(self, ring: Ring, initial: str) -> None:
        self.ring, self.initial = ring, initial
        keys = ring.ids("Account")
        self.alike, self.different, self.sparse, self.richer = keys[:4]
        for key in keys[:4]:
            ring.sf.Account.update(key, {"Name": "Acme", "Site": "Rome", "Phone": "+39 06 555 0101"})
        ring.sf.Account.update(self.richer, {"Fax": None})
        self.born_there = "customer-1"
        self.counts = {name: len(ring.ids(name)) for name in RECORDS}

    def write_mongodb(self) -> None:
        documents: list[Document] = [
            {"_id": self.alike, "Name": "Acme", "Site": "Rome", "Phone": "+39 06 555 0101"},
            {"_id": self.different, "Name": "Acme", "Site": "Oslo", "Phone": "+39 06 555 0101"},
            {"_id": self.sparse},
            {"_id": self.richer, "Fax": "+39 06 555 0199", "colour": "the application's own"},
            {"_id": self.born_there, "Name": "Only in MongoDB", "Site": "Lima"},
        ]
        self.ring.db.accounts.insert_many(documents)

    def document(self, key: str) -> Document:
        found = self.ring.db.accounts.find_one({"_id": key})
        assert found is not None
        return found

    def row(self, key: str) -> Document:
        return self.ring.row("Account", key)


def test_records_on_both_sides_are_joined_by_key_and_nothing_is_doubled(met: Met) -> None:
    """The org has what it had and the one record that only MongoDB had; MongoDB has as many documents."""
    accounts = met.counts["Account"] + 1
    assert len(met.ring.ids("Account")) == met.ring.db.accounts.count_documents({}) == accounts
    assert len(met.ring.ids("Contact")) == met.ring.db.contacts.count_documents({}) == met.counts["Contact"]
    assert met.ring.dead_letters == []


def test_where_they_differ_the_configured_side_decides_and_that_is_no_conflict(met: Met) -> None:
    """`initial` names the side; nobody edited anything, so nobody is told of a conflict."""
    wins = {"salesforce": "Rome", "mongodb": "Oslo"}[met.initial]
    assert (met.document(met.different)["Site"], met.row(met.different)["Site"]) == (wins, wins)
    assert met.document(met.alike)["Site"] == met.row(met.alike)["Site"] == "Rome"
    assert met.ring.conflicts == 0


def test_what_one_side_merely_lacks_is_filled_and_never_cleared(met: Met) -> None:
    """Whoever decides: a field that only one side has a value in keeps it and gets to the other."""
    for side in (met.document(met.sparse), met.row(met.sparse)):
        assert (side["Name"], side["Site"], side["Phone"]) == ("Acme", "Rome", "+39 06 555 0101")
    assert met.document(met.richer)["Fax"] == met.row(met.richer)["Fax"] == "+39 06 555 0199"
    assert met.document(met.richer)["Site"] == met.row(met.richer)["Site"] == "Rome"
    assert met.document(met.richer)["colour"] == "the application's own", "and what is not synced stays"


def test_a_record_that_only_mongodb_had_is_created_in_the_org_once(met: Met) -> None:
    """It is found there by its key, and the document names its Id."""
    (row,) = met.ring.wait_query(
        f"SELECT Id, Name, Site FROM Account WHERE Salmon_Id__c = '{met.born_there}'", 1
    )
    assert (row["Name"], row["Site"]) == ("Only in MongoDB", "Lima")
    assert met.document(met.born_there)["_salmon"]["salesforce_id"] == row["Id"]
