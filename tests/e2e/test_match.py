"""Both sides have customers already: `salmon match`, a person who edits its files, `--apply` that is killed, and the first load."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from support.ring import Document, Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]

CONTACTS = 420
SOURCES = ("salesforce-source", "mongodb-source")


@dataclass
class Both:
    """A sync whose sides had the same customers before, under different keys."""

    ring: Ring
    folder: Path
    accounts: dict[str, ObjectId]  # Id -> the _id of the same customer
    contacts: dict[str, ObjectId]
    said: dict[str, dict[str, str]] = field(default_factory=dict)

    def start_command(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "salmon", "match", "-c", str(self.ring.config_path), "--json"]
        command += ["--folder", str(self.folder), *map(str, arguments)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def salmon_match(self, *arguments: object, code: int) -> dict[str, Any]:
        """What the command says."""
        process = self.start_command(*arguments)
        said, complaint = process.communicate(timeout=120)
        assert (process.returncode, complaint) == (code, "")
        told: dict[str, Any] = json.loads(said)
        return told

    def waits(self, connector: str) -> dict[str, str]:
        """What a connector's /health says of each object that waits; what it said last, while it restarts."""
        url = f"http://127.0.0.1:{self.ring.ports[connector]}/health"
        if self.ring.is_ready(connector):
            waiting = self.ring.http.get(url).json()["waiting_for"]
            self.said[connector] = {each["what"]: each["sentence"] for each in waiting}
        return self.said.get(connector, {})

    def lines(self, name: str, kind: str) -> list[list[str]]:
        with (self.folder / f"{name}.{kind}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    def rewrite(self, name: str, kind: str, lines: Sequence[Sequence[str]]) -> None:
        """As a person who saves the file in a spreadsheet that writes semicolons."""
        path = self.folder / f"{name}.{kind}.csv"
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, delimiter=";").writerows(lines)

    def with_keys(self, name: str) -> int:
        """How many records of the org carry a key."""
        found: int = self.ring.sf.query(f"SELECT COUNT() FROM {name} WHERE Salmon_Id__c != null")["totalSize"]
        return found


@pytest.fixture(scope="module")
def both(embedded_stack: Stack) -> Iterator[Both]:
    records = {"Account": 20, "Contact": CONTACTS, "Opportunity": 10}
    objects = {"Account": {"match": {"on": ["Name"]}}, "Contact": {"match": {"on": ["Email", "LastName"]}}}
    with running_ring(embedded_stack, "match", records=records, objects=objects) as ring:
        accounts = {native_id: ObjectId() for native_id in ring.ids("Account")}
        for number, native_id in enumerate(accounts):
            ring.sf.Account.update(native_id, {"Name": f"Customer {number}", "Site": None})
        ids = ring.ids("Contact")
        changes = [
            {"Id": each, "Email": f"c{number}@x.example", "LastName": f"L{number}"}
            for number, each in enumerate(ids)
        ]
        ring.sf.bulk2.Contact.update(records=changes)
        contacts = {native_id: ObjectId() for native_id in ids}
        ring.db.accounts.insert_many(
            {"_id": key, "Name": f"Customer {n}", "Site": "from MongoDB"}
            for n, key in enumerate(accounts.values())
        )
        first, second, *others = list(contacts.items())
        documents: list[Document] = [
            {"_id": first[1], "Email": "C0@X.example", "LastName": "L0"},  # nearly the same
            {"_id": second[1], "Email": "c1@x.example", "LastName": "L1"},  # one of two
            {"_id": ObjectId(), "Email": "c1@x.example", "LastName": "L1", "Title": "twin"},
            {"_id": "born-there", "Email": "born@there.example", "LastName": "There"},
        ]
        documents += [
            {
                "_id": key,
                "Email": f"c{n}@x.example",
                "LastName": f"L{n}",
                "AccountId": accounts[ring.ids("Account")[0]],
            }
            for n, (_, key) in enumerate(others[:-10], start=2)
        ]
        ring.db.contacts.insert_many(documents)
        yield Both(ring, ring.folder / "matching", accounts, contacts)


def test_customers_of_both_sides_become_one_each(both: Both) -> None:
    """Nothing is loaded before; a kill in the middle of --apply, and edits of the files, leave no customer twice."""
    ring = both.ring
    ring.start()
    for name in SOURCES:
        until(
            lambda name=name: (
                ring.is_ready(name) and set(both.waits(name)) >= {"Account", "Contact", "Opportunity"}
            ),  # type: ignore[misc]
            f"{name} says what waits",
            within_s=90,
        )
        assert "`salmon match --apply`" in both.waits(name)["Account"]
        assert "refers to Account" in both.waits(name)["Opportunity"]

    found = both.salmon_match(code=1)["objects"]
    assert (found["Account"]["pairs"], found["Account"]["doubts"]) == (20, {"salesforce": 0, "mongodb": 0})
    contacts = found["Contact"]
    assert contacts["doubts"] == {"salesforce": 2, "mongodb": 3}
    assert (contacts["pairs"], contacts["only_salesforce"], contacts["only_mongodb"]) == (
        CONTACTS - 12,
        10,
        1,
    )
    assert both.with_keys("Account") == both.with_keys("Contact") == 0, "nothing is written before --apply"

    head, *doubts = both.lines("Contact", "doubts")
    reason = head.index("reason")
    wanted = {str(key) for key in list(both.contacts.values())[:2]}
    kept = [line for line in doubts if line[1].removeprefix("$oid:") in wanted]
    assert len(kept) == 2
    pairs = both.lines("Contact", "pairs")
    both.rewrite("Contact", "pairs", [*pairs, *([*line[:reason], *line[reason + 1 :]] for line in kept)])

    slow = {"fault": "latency", "api": "collections", "ms": 1500}
    ring.http.post(
        f"{ring.org['control_url']}/faults", json=slow, verify=ring.org["ca_file"]
    ).raise_for_status()
    killed = both.start_command("--apply")
    until(lambda: 0 < both.with_keys("Contact") < CONTACTS - 10, "some keys are written", within_s=90)
    killed.kill()
    killed.communicate()
    ring.http.delete(f"{ring.org['control_url']}/faults", verify=ring.org["ca_file"]).raise_for_status()
    until(
        lambda: "it refers to Contact" in both.waits("salesforce-source").get("Account", ""),
        "accounts are matched, but refer to contacts that are not",
        within_s=90,
    )

    waits = both.salmon_match("--apply", code=1)["objects"]
    assert waits["Account"]["complete"]
    assert waits["Contact"]["doubts"] == 3, "their lines are still in the file of doubts"
    both.rewrite("Contact", "doubts", [head])
    done = both.salmon_match("--apply", code=0)
    assert done["objects"]["Contact"] == {
        "written": 0,
        "there": CONTACTS - 10,
        "refused": {},
        "doubts": 0,
        "loaded": False,
        "complete": True,
    }

    ring.wait_equal()
    for name in SOURCES:
        until(lambda name=name: not both.waits(name), f"{name} waits for nothing", within_s=60)  # type: ignore[misc]
    assert len(ring.ids("Account")) == ring.db.accounts.count_documents({}) == 20
    # The twin and the one born there are new in the org; ten contacts of the org are new in MongoDB.
    assert len(ring.ids("Contact")) == ring.db.contacts.count_documents({}) == CONTACTS + 2
    document = ring.db.accounts.find_one({"_id": both.accounts[ring.ids("Account")[3]]})
    assert document is not None
    assert document["Site"] == ring.row("Account", ring.ids("Account")[3])["Site"] == "from MongoDB"
    contact = ring.db.contacts.find_one({"_id": list(both.contacts.values())[5]})
    assert contact is not None
    assert contact["AccountId"] in both.accounts.values(), "references hold the documents' own keys"
    assert contact["_salmon"]["salesforce_id"] == list(both.contacts)[5]
    assert ring.conflicts == 0
    assert ring.dead_letters == []


def test_what_is_loaded_is_not_matched_any_more(both: Both) -> None:
    """Keys never change: nothing is written, and it says so."""
    both.ring.wait_equal()
    both.rewrite("Account", "pairs", [["salesforce_id", "key"], [both.ring.ids("Account")[0], "born-there"]])
    done = both.salmon_match("--apply", code=0)["objects"]
    assert all(each["loaded"] and not each["written"] for each in done.values())
