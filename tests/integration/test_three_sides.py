"""Salesforce, MongoDB and a folder of JSON lines in one sync, with real processes: deploy/examples/jsonl-side as it is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jsonl_side import append
from jsonl_side.journal import Journal
from salmon.devstack.simulator_process import Org
from salmon.status.overview import Look
from support.plugins import EXAMPLES, install_example
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

NAME = "Account"
BORN = "born-in-a-file"


class Three:
    """The ring, and the folder beside it."""

    def __init__(self, ring: Ring, folder: Path) -> None:
        self.ring, self.folder = ring, folder

    def record(self, key: str) -> dict[str, Any] | None:
        """What the file says of a record."""
        journal = Journal(self.folder / f"{NAME}.jsonl")
        journal.open()
        found = journal.records.get(key)
        return None if found is None else found.fields

    def in_file(self, key: str, **fields: Any) -> None:
        """Wait until the file has these values."""
        until(
            lambda: (shown := self.record(key)) is not None and fields.items() <= shown.items(),
            f"{key} in the file has {sorted(fields)}",
            within_s=60,
            seen=lambda: self.record(key),
        )

    def in_org(self, key: str, **fields: Any) -> None:
        self.ring.wait_row(NAME, key, lambda row: fields.items() <= row.items())

    def in_mongodb(self, key: str, **fields: Any) -> None:
        self.ring.wait_document("accounts", key, lambda document: fields.items() <= document.items())


@pytest.fixture(scope="module")
def three(embedded_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """All seven connectors, after the first load."""
    installed, folder = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patched:
        install_example(patched, installed, "jsonl-side")
        paths = [str(installed), str(EXAMPLES / "jsonl-side"), os.environ.get("PYTHONPATH", "")]
        patched.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        append(folder, NAME, BORN, {"Name": "Of a file", "Site": "Lima"})
        sides = {"jsonl": {"folder": str(folder), "poll_s": 0.1}}
        org = Org((NAME,), {NAME: 6})
        with running_ring(embedded_stack, "three", org=org, sides=sides) as ring:
            ring.start()
            ring.wait_equal()
            yield Three(ring, folder)
            ring.wait_equal()
            assert ring.dead_letters == []


def test_the_first_load_reaches_all_three(three: Three) -> None:
    """What one side has is made on the two others, under one key."""
    ids = three.ring.ids(NAME)
    for key in ids[:6]:
        if key_of(three, key) == key:
            three.in_file(key, Name=three.ring.row(NAME, key)["Name"])
    three.in_mongodb(BORN, Name="Of a file")
    (row,) = three.ring.wait_query(f"SELECT Id, Site FROM {NAME} WHERE Salmon_Id__c = '{BORN}'", 1)
    assert row["Site"] == "Lima"


def key_of(three: Three, record_id: str) -> str:
    """The record key of a record of the org."""
    return three.ring.row(NAME, record_id).get("Salmon_Id__c") or record_id


def test_an_edit_on_any_side_is_on_the_two_others(three: Three) -> None:
    """Also a cleared field."""
    first, second, third = keys(three)[:3]
    append(three.folder, NAME, first, {"Site": "Rome", "Fax": None})
    three.ring.sf.Account.update(second, {"Site": "Oslo"})
    three.ring.db.accounts.update_one({"_id": third}, {"$set": {"Site": "Bern"}})
    three.in_org(first, Site="Rome", Fax=None)
    three.in_mongodb(first, Site="Rome")
    three.in_file(second, Site="Oslo")
    three.in_mongodb(second, Site="Oslo")
    three.in_file(third, Site="Bern")
    three.in_org(third, Site="Bern")


def keys(three: Three) -> list[str]:
    """Of the records that were born in the org and live."""
    return [key for key in three.ring.ids(NAME) if key_of(three, key) == key]


def test_edits_at_once_are_a_conflict_and_end_equal(three: Three) -> None:
    """Merge is away while all three sides edit one field; the kills of the further side's processes lose nothing."""
    ring, key, told = three.ring, keys(three)[3], three.ring.conflicts
    ring.kill("merge")
    ring.kill("jsonl-source")
    ring.kill("jsonl-sink")
    append(three.folder, NAME, key, {"Site": "from the file"})
    ring.sf.Account.update(key, {"Site": "from the org"})
    ring.db.accounts.update_one({"_id": key}, {"$set": {"Site": "from a document"}})
    ring.start("merge", "jsonl-source", "jsonl-sink")
    until(lambda: ring.conflicts >= told + 2, "both later edits are told as conflicts", within_s=60)
    ring.wait_equal()
    agreed = ring.row(NAME, key)["Site"]
    assert agreed.startswith("from ")
    three.in_file(key, Site=agreed)
    three.in_mongodb(key, Site=agreed)


def test_a_deletion_on_one_side_is_one_on_all(three: Three) -> None:
    """From the file, and to it."""
    ring, (here, there) = three.ring, keys(three)[4:6]
    append(three.folder, NAME, here, None)
    ring.db.accounts.delete_one({"_id": there})
    ring.wait_gone("accounts", here)
    ring.wait_query(f"SELECT Id FROM {NAME} WHERE Id IN ('{here}', '{there}')", 0)
    until(lambda: three.record(there) is None, "it is gone from the file", within_s=60)


def test_status_shows_the_further_side(three: Three) -> None:
    """Its processes, what it is owed, and where it goes on."""
    ring = three.ring
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ring.ports.items()}
    until(lambda: Look(ring.config, urls).overview().healthy, "all seven are well", within_s=60)
    seen = Look(ring.config, urls).overview().as_dict()
    assert list(seen["processes"]) == list(ring.config.roster.connectors)
    assert "to_jsonl" in seen["objects"][NAME]["in_flight"]
    assert f"stream/{NAME}" in seen["positions"]["jsonl-source"]
