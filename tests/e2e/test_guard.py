"""A collection is emptied: the org keeps its records until a person decides, whatever happens to the sink meanwhile."""

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

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

CONTACTS = 600
LIMIT = 20


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync whose contacts are guarded."""
    guard = {"delete_guard": {"deletes_max": LIMIT, "share_floor": LIMIT}}
    records = {"Account": 5, "Contact": CONTACTS, "Opportunity": 0}
    with running_ring(embedded_stack, "guard", records=records, objects={"Contact": guard}) as ring:
        ring.start()
        ring.wait_equal()
        yield ring


def salmon(ring: Ring, *arguments: str) -> dict[str, Any]:
    """What a command says, by --json."""
    command = [sys.executable, "-m", "salmon.cli.main", *arguments, "-c", str(ring.config_path), "--json"]
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
