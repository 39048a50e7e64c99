"""Kafka lost as a whole, and MongoDB restored from a backup, as deploy/disaster.md says what to do then: real processes on real servers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient

from salmon.devstack.broker import EmbeddedBroker
from salmon.devstack.mongod import EmbeddedMongod, binary
from salmon.devstack.registry_process import RegistryProcess
from salmon.errors import SetupError
from salmon.kafka import clients
from support.ring import Ring, running_ring
from support.stacks import EMBEDDED, Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("disasters")]

RECORDS = {"Account": 40, "Contact": 20, "Opportunity": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disasters")


@pytest.fixture(scope="module")
def mongod(folder: Path) -> Iterator[EmbeddedMongod]:
    """One of its own, since it goes back in time."""
    try:
        binary()
    except SetupError:
        pytest.skip("there is no embedded mongod here")
    mongod = EmbeddedMongod(folder / "mongodb", folder / "mongodb.log")
    mongod.start()
    yield mongod
    mongod.stop()


@pytest.fixture(scope="module")
def ring(folder: Path, mongod: EmbeddedMongod) -> Iterator[Ring]:
    """It has taken its snapshots, and some edits have gone round."""
    kafka = EmbeddedBroker(folder / "kafka", folder / "kafka.log")
    registry = RegistryProcess(folder / "registry", folder / "registry.log")
    try:
        kafka.start()
        registry.start()
        stack = Stack(EMBEDDED, folder, kafka.bootstrap_servers, registry.url, mongod.uri, kafka)
        with running_ring(stack, "disasters", records=RECORDS) as ring:
            ring.start()
            ring.wait_equal()
            edit_both_sides(ring, "before")
            yield ring
    finally:
        registry.stop()
        kafka.stop()


def edit_both_sides(ring: Ring, value: str) -> None:
    """An edit on each side arrives on the other; then all is equal."""
    one, two = ring.ids("Account")[:2]
    ring.sf.Account.update(one, {"Site": value})
    ring.db.accounts.update_one({"_id": two}, {"$set": {"Site": value}})
    ring.wait_document("accounts", one, lambda seen: seen.get("Site") == value)
    ring.wait_row("Account", two, lambda seen: seen["Site"] == value)
    ring.wait_equal()


def everything(ring: Ring) -> dict[Any, Any]:
    """All documents, without what Salmon notes in them, and without the org's stamps of who wrote last."""
    stamps = (
        "LastModifiedDate",
        "LastModifiedById",
        "SystemModstamp",
        "LastViewedDate",
        "LastReferencedDate",
    )
    without = dict.fromkeys(("_salmon", *stamps), 0)
    names = ("accounts", "contacts", "opportunities")
    return {each["_id"]: each for name in names for each in ring.db[name].find({}, without)}


def lost(before: dict[Any, Any], after: dict[Any, Any]) -> list[tuple[Any, str]]:
    """Key and field of all that is no longer as it was. What a record has besides is no loss: a row tells more than an event."""
    assert after.keys() == before.keys(), "no record is lost, doubled or invented"
    return [
        (key, field)
        for key, document in before.items()
        for field, value in document.items()
        if after[key].get(field) != value
    ]


def given_back(ring: Ring) -> set[str]:
    """The keys of the records that a restored side got back, as merge's log lists them."""
    log = (ring.folder / "merge.log").read_text().splitlines()
    named = [json.loads(line) for line in log if '"fields_given_back"' in line]
    return {each["key"] for each in named if each["side"] == "mongodb"}


def test_a_kafka_that_is_lost_as_a_whole_is_filled_again_from_both_sides(ring: Ring) -> None:
    """All topics are gone: nothing is doubled, deleted or changed on either side, and edits flow again."""
    before = everything(ring)
    ring.stop()
    admin = clients.admin(ring.config.kafka_properties())
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith("disasters.")]
    for gone in admin.delete_topics(names).values():
        gone.result()
    until(
        lambda: not any(name.startswith("disasters.") for name in admin.list_topics(timeout=10).topics),
        "the topics are deleted",
    )
    shutil.rmtree(ring.folder / "state")
    ring.start()
    ring.wait_equal()
    assert lost(before, everything(ring)) == []
    assert ring.conflicts == 0
    edit_both_sides(ring, "after Kafka was lost")


def test_a_mongodb_that_is_restored_from_a_backup_gets_back_what_it_lost(
    ring: Ring, mongod: EmbeddedMongod, folder: Path
) -> None:
    """Edits and records of the time since the backup come back from the agreed records; nothing in the org is undone."""
    ring.db.client.admin.command("fsync", lock=True)
    shutil.copytree(folder / "mongodb", folder / "backup")
    ring.db.client.admin.command("fsyncUnlock")
    edit_both_sides(ring, "since the backup")
    created = ring.sf.Account.create({"Name": "Since the backup"})["id"]
    ring.wait_document("accounts", created, lambda seen: seen["Name"] == "Since the backup")
    before = everything(ring)

    ring.stop()
    mongod.stop()
    shutil.rmtree(folder / "mongodb")
    shutil.copytree(folder / "backup", folder / "mongodb")
    _serve_again(ring, mongod)
    assert everything(ring) != before
    ring.start()
    until(lambda: "history_went_back" in (ring.folder / "mongodb-source.log").read_text(), "it is noticed")
    one, two = ring.ids("Account")[:2]
    for key in (one, two):
        ring.wait_document("accounts", key, lambda seen: seen.get("Site") == "since the backup")
        assert ring.row("Account", key)["Site"] == "since the backup"
    # What only the later history had: merge's log lists the records, and each says it itself.
    until(lambda: given_back(ring) >= {one, two}, "merge has named what it gives back")
    command = [sys.executable, "-m", "salmon", "why", "Account", one, "-c", str(ring.config_path)]
    story = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    assert "because this side was restored to an earlier time: it gets the agreed value again" in story
    # A record that the backup lacks is unknown to its source: the page says to let verify repair it.
    command = [sys.executable, "-m", "salmon", "verify", "--repair", "-c", str(ring.config_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    ring.wait_document("accounts", created, lambda seen: seen["Name"] == "Since the backup")
    assert created in given_back(ring)
    assert lost(before, everything(ring)) == []


def _serve_again(ring: Ring, mongod: EmbeddedMongod) -> None:
    """Start MongoDB, on another port, and let the sync and the test find it there."""
    mongod.start()
    said = yaml.safe_load(ring.config_path.read_text())
    said["mongodb"]["uri"] = mongod.uri
    ring.config_path.write_text(yaml.safe_dump(said))
    ring.reload()
    ring.db.client.close()
    ring.db = MongoClient(mongod.uri, tz_aware=True)[ring.name]
