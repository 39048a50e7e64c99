"""Two collections of one object, on real processes: a document is where its record belongs, with all that is in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from salmon.status.overview import Look
from support.ring import Document, Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

BY_TYPE = {
    "collection": None,
    "collections": [
        {"collection": "prospects", "filter": 'Type == "Prospect"'},
        {"collection": "customers"},
    ],
}
_MANY = 40


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """Accounts: prospects in a collection of their own."""
    records = {"Account": 6, "Contact": 0, "Opportunity": 0}
    with running_ring(embedded_stack, "places", records=records, objects={"Account": BY_TYPE}) as ring:
        ring.start()
        ring.wait_equal()
        yield ring


def has(**fields: Any) -> Callable[[Document], bool]:
    return lambda document: all(document.get(name) == value for name, value in fields.items())


def where(ring: Ring, key: str) -> list[str]:
    """The collections that have a document with the key."""
    return [name for name in ("prospects", "customers") if ring.db[name].find_one({"_id": key}) is not None]


def why(ring: Ring, key: str) -> str:
    """What `salmon why` says of a record."""
    command = [sys.executable, "-m", "salmon", "why", "Account", key, "-c", str(ring.config_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout


def prospect(ring: Ring, **fields: Any) -> str:
    """A prospect that both sides have, in whose document the application has something of its own."""
    key: str = ring.sf.Account.create({"Name": "Acme", "Type": "Prospect", **fields})["id"]
    ring.wait_document("prospects", key, has(Name="Acme"))
    ring.db.prospects.update_one({"_id": key}, {"$set": {"own": {"rating": 5}}})
    return key


def test_an_edit_in_the_org_moves_the_document_and_one_of_the_application_moves_it_back(ring: Ring) -> None:
    """With what the application has in it; nobody is told of a deletion or a conflict."""
    key = prospect(ring)
    ring.sf.Account.update(key, {"Type": "Customer - Direct"})
    moved = ring.wait_document("customers", key, has(Type="Customer - Direct"))
    assert (where(ring, key), moved["own"]) == (["customers"], {"rating": 5})
    ring.db.customers.update_one({"_id": key}, {"$set": {"Type": "Prospect", "Phone": "555 0101"}})
    ring.wait_row("Account", key, lambda row: row["Type"] == "Prospect" and row["Phone"] == "555 0101")
    moved = ring.wait_document("prospects", key, has(Phone="555 0101"))
    assert (where(ring, key), moved["own"]) == (["prospects"], {"rating": 5})
    ring.wait_equal()
    assert ring.conflicts == 0


def test_status_counts_the_documents_of_each_collection(ring: Ring) -> None:
    """As MongoDB has them, once all that was edited has arrived."""
    prospect(ring)
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ring.ports.items()}

    def counted() -> object:
        return Look(ring.config, urls).overview().as_dict()["objects"]["Account"]["collections"]

    def there() -> dict[str, int]:
        return {name: ring.db[name].count_documents({}) for name in ("prospects", "customers")}

    until(lambda: counted() == there(), "status and MongoDB agree", within_s=60, seen=counted)
    assert there()["prospects"] > 0


def test_a_document_that_is_born_in_the_wrong_collection_is_moved(ring: Ring) -> None:
    """The application does not need to know the rules; the record enters the org all the same."""
    ring.db.prospects.insert_one({"_id": "born", "Name": "Born", "Type": "Other", "own": 1})
    moved = ring.wait_document(
        "customers", "born", lambda seen: bool(seen.get("_salmon", {}).get("salesforce_id"))
    )
    assert (where(ring, "born"), moved["own"]) == (["customers"], 1)
    ring.wait_equal()


def test_a_deletion_in_a_collection_is_one_of_the_record(ring: Ring) -> None:
    """It goes to the org."""
    key = prospect(ring)
    ring.wait_equal()
    ring.db.prospects.delete_one({"_id": key})
    ring.wait_query(f"SELECT Id FROM Account WHERE Id = '{key}'", 0)


def test_the_same_id_twice_is_told_and_over_when_one_is_left(ring: Ring) -> None:
    """Nothing is taken of either, nor written to it; then the document that is left counts."""
    key = prospect(ring)
    ring.wait_equal()
    copy = ring.db.prospects.find_one({"_id": key})
    assert copy is not None
    ring.db.customers.insert_one(copy)
    until(lambda: "Delete all but one" in why(ring, key), "why says what to do")
    ring.db.prospects.update_one({"_id": key}, {"$set": {"Phone": "555 0102"}})
    ring.db.customers.delete_one({"_id": key})
    ring.wait_row("Account", key, lambda row: row["Phone"] == "555 0102")
    ring.wait_equal()


def test_a_sink_that_is_killed_while_documents_move_loses_and_doubles_none(ring: Ring) -> None:
    """Each is in the one collection, once, with what the application has in it."""
    keys = [prospect(ring, Site=str(n)) for n in range(_MANY)]
    ring.wait_equal()
    for key in keys:
        ring.sf.Account.update(key, {"Type": "Customer - Direct"})
    until(lambda: ring.db.customers.count_documents({"_id": {"$in": keys}}) > 2, "some have moved")
    ring.kill("mongodb-sink")
    ring.start("mongodb-sink")
    until(
        lambda: ring.db.customers.count_documents({"_id": {"$in": keys}}) == _MANY,
        "all have moved",
        within_s=180,
        seen=lambda: [(key, where(ring, key)) for key in keys if where(ring, key) != ["customers"]],
    )
    assert ring.db.prospects.count_documents({"_id": {"$in": keys}}) == 0
    assert ring.db.customers.count_documents({"_id": {"$in": keys}, "own.rating": 5}) == _MANY
    ring.wait_equal()


def test_with_other_filters_every_document_is_moved_where_it_belongs_now(ring: Ring) -> None:
    """All are judged again; `salmon verify` agrees, and nothing is deleted in the org."""
    key = prospect(ring)
    ring.wait_equal()
    told: dict[str, Any] = yaml.safe_load(ring.config_path.read_text())
    told["objects"]["Account"]["collections"][0]["filter"] = 'Type != "Prospect"'
    ring.config_path.write_text(yaml.safe_dump(told))
    ring.reload()
    ring.stop()
    ring.start()
    moved = ring.wait_document("customers", key, has(Name="Acme"))
    assert (where(ring, key), moved["own"]) == (["customers"], {"rating": 5})
    ring.wait_equal()
    assert ring.conflicts == 0
