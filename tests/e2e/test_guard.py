"""What nobody may obey for ever: an emptied collection, and two automations that undo each other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]

CONTACTS = 600
LIMIT = 20


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync whose contacts are guarded closely."""
    guard = {"delete_guard": {"deletes_max": LIMIT, "share_floor": LIMIT}}
    records = {"Account": 5, "Contact": CONTACTS, "Opportunity": 0}
    with running_ring(embedded_stack, "guard", records=records, objects={"Contact": guard}) as ring:
        ring.start()
        ring.wait_equal()
        yield ring


def salmon(ring: Ring, *arguments: str) -> dict[str, Any]:
    """What a command says, by --json."""
    command = [sys.executable, "-m", "salmon", *arguments, "-c", str(ring.config_path), "--json"]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )
    assert ended.stderr == ""
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def in_the_org(ring: Ring) -> int:
    count: int = ring.sf.query("SELECT COUNT() FROM Contact")["totalSize"]
    return count


def held(ring: Ring) -> int:
    """As `salmon status` tells it."""
    said: int = salmon(ring, "status")["objects"]["Contact"]["deletes_held"]["salesforce"]
    return said


def test_an_emptied_collection_is_given_back_and_a_wanted_deletion_is_carried_out(ring: Ring) -> None:
    """Held back and told; a killed sink lets no more through; discard brings all back; approve deletes them."""
    ring.db.contacts.delete_many({})
    until(lambda: held(ring) >= CONTACTS - LIMIT, "the deletes are held back", within_s=120)
    left = in_the_org(ring)
    assert left >= CONTACTS - LIMIT
    (waiting,) = salmon(ring, "guard", "list")["wait"]
    assert (waiting["object"], waiting["side"]) == ("Contact", "salesforce")
    assert set(waiting["keys"]) >= set(ring.ids("Contact"))
    says = salmon(ring, "why", "Contact", waiting["keys"][0])["now"]["says"]
    assert "the delete guard holds its deletion in Salesforce" in says
    assert "salmon guard approve --object Contact --side salesforce" in says

    ring.kill("salesforce-sink")
    ring.start("salesforce-sink")
    account = ring.ids("Account")[0]
    ring.db.accounts.update_one({"_id": account}, {"$set": {"Site": "Oslo"}})
    ring.wait_row("Account", account, lambda seen: seen["Site"] == "Oslo", within_s=120)
    assert in_the_org(ring) >= CONTACTS - LIMIT, "other objects go on, and it did not count from zero"

    salmon(ring, "guard", "discard", "--object", "Contact", "--by", "the test")
    ring.wait_equal(within_s=180)
    assert ring.db.contacts.count_documents({}) == in_the_org(ring) >= CONTACTS - LIMIT
    until(lambda: held(ring) == 0, "nothing waits any more", within_s=60)

    gone = [each["_id"] for each in ring.db.contacts.find({}, {"_id": 1}).limit(100)]
    ring.db.contacts.delete_many({"_id": {"$in": gone}})
    until(lambda: held(ring) >= 100 - LIMIT, "these wait, too", within_s=120)
    salmon(ring, "guard", "approve", "--side", "salesforce", "--by", "the test")
    ring.wait_equal(within_s=180)
    assert not set(gone) & set(ring.ids("Contact"))


def test_two_automations_that_undo_each_other_come_to_rest(ring: Ring) -> None:
    """A trigger of the org and an application each insist on their value: after five rounds both keep it, and it is told."""
    account = ring.ids("Account")[1]
    ours = {"$set": {"Site": "by the application"}}

    def insisted() -> bool:
        """The application looks again and again; whether the document tells of the breaker."""
        ring.db.accounts.update_one({"_id": account, "Site": "by the org"}, ours)
        document = ring.db.accounts.find_one({"_id": account}) or {}
        return str(document.get("_salmon", {}).get("error", "")).startswith("OSCILLATING: Site")

    with ring.trigger(object="Account", when={"field": "Site"}, set={"Site": "by the org"}):
        ring.db.accounts.update_one({"_id": account}, ours)
        until(insisted, "the breaker trips", within_s=120)
        insisted()
        until(lambda: ring.owes_nothing, "nothing is written any more", within_s=60)
        written = len(ring.writes)
        ring.db.accounts.update_one({"_id": account}, {"$set": {"Site": "by the application, later"}})
        ring.db.accounts.update_one({"_id": account}, {"$set": {"Phone": "555 0101"}})
        ring.wait_row("Account", account, lambda seen: seen["Phone"] == "555 0101", within_s=60)
    assert ring.row("Account", account)["Site"] == "by the org"
    until(lambda: ring.owes_nothing, "the other field is settled", within_s=60)
    assert len(ring.writes) - written <= 2, "the Phone, and the tombstone after it"
    ring.wait_equal()
    topic = ring.config.topic_names.changes("Account")
    assert len([each for each in ring.read(topic) if each.key() == account.encode()]) < 40
