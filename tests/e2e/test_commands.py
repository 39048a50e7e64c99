"""The commands that a person types, on a sync of real processes: what they say, and how they end."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salmon.kafka import clients
from salmon.kafka.topics import CONNECTORS
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]

RECORDS = {"Account": 40, "Contact": 30, "Opportunity": 10}


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync that has taken its snapshots."""
    with running_ring(embedded_stack, "commands", records=RECORDS) as ring:
        ring.start()
        ring.wait_equal()
        yield ring


def salmon(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Type a command, and wait for its end."""
    command = [sys.executable, "-m", "salmon", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


def status(ring: Ring, *options: str) -> subprocess.CompletedProcess[str]:
    """`salmon status`, told where the processes are."""
    ports = {name: {"url": f"http://127.0.0.1:{port}"} for name, port in ring.ports.items()}
    (ring.folder / "ports.json").write_text(json.dumps(ports), encoding="utf-8")
    return salmon("status", "-c", ring.config_path, *options)


def test_verify_says_that_both_sides_are_equal(ring: Ring) -> None:
    """Exit code 0, and the counts of all three."""
    ended = salmon("verify", "-c", ring.config_path, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    told: dict[str, Any] = json.loads(ended.stdout)
    assert told["equal"] is True
    for name, count in RECORDS.items():
        shown = told["objects"][name]
        assert (shown["salesforce"], shown["mongodb"], shown["records"], shown["equal"]) == (count,) * 4
        assert shown["different"] == shown["parked"] == []


def test_verify_shows_people_a_table(ring: Ring) -> None:
    """One line for each object that was asked for."""
    ended = salmon("verify", "-c", ring.config_path, "--object", "Account")
    assert ended.returncode == 0
    assert "Account" in ended.stdout
    assert "Contact" not in ended.stdout
    assert "Equal" in ended.stdout


def test_verify_of_an_object_that_is_not_synced_is_refused(ring: Ring) -> None:
    """With the names of those that are."""
    ended = salmon("verify", "-c", ring.config_path, "--object", "Lead")
    assert ended.returncode == 2
    assert ended.stderr.startswith("salmon: --object Lead: ")
    assert "Account, Contact, Opportunity" in ended.stderr


def test_verify_finds_what_nobody_carried_over(ring: Ring) -> None:
    """The MongoDB source is down: an edit, a new and a deleted document are on one side only, and named."""
    edited, deleted = ring.ids("Account")[:2]
    ring.stop("mongodb-source")
    try:
        ring.db.accounts.update_one({"_id": edited}, {"$set": {"Site": "Somewhere else"}})
        ring.db.accounts.delete_one({"_id": deleted})
        ring.db.accounts.insert_one({"_id": "born-here", "Name": "Born here"})
        ended = salmon("verify", "-c", ring.config_path, "--object", "Account", "--json")
        assert ended.returncode == 1
        account = json.loads(ended.stdout)["objects"]["Account"]
        assert account["different"] == [{"key": edited, "fields": {"mongodb": ["Site"]}}]
        assert account["missing_in"] == {"salesforce": [], "mongodb": [deleted], "records": ["born-here"]}
        assert "Somewhere else" not in ended.stdout + ended.stderr, "never a value"
    finally:
        ring.start("mongodb-source")
    ring.wait_equal()


def lose_an_event(ring: Ring, name: str, key: str, **fields: str) -> None:
    """A person edits a record of the org, and the event of it is lost for good: nobody is told."""
    control = ring.org["control_url"]
    ring.http.post(
        f"{control}/faults", json={"fault": "lose_events", "object": name, "count": 1}
    ).raise_for_status()
    getattr(ring.sf, name).update(key, fields)


def test_a_repair_brings_back_in_step_what_no_event_told_of(ring: Ring) -> None:
    """An edit whose event is lost for good: found, named, read anew, and carried over like any other."""
    ring.wait_ready()
    key, other = ring.ids("Account")[2:4]
    lose_an_event(ring, "Account", key, Site="Nobody knows")
    ended = salmon("verify", "-c", ring.config_path, "--json")
    assert ended.returncode == 1
    different = json.loads(ended.stdout)["objects"]["Account"]["different"]
    assert different == [{"key": key, "fields": {"salesforce": ["Site"]}}]

    assert salmon("verify", "-c", ring.config_path, "--keys", other).returncode == 0
    ended = salmon("verify", "-c", ring.config_path, "--keys", key[:15], "--json")
    told: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.returncode, told["pages"], told["nowhere"]) == (1, 0, [])
    assert told["objects"]["Account"]["different"] == different
    assert told["objects"]["Contact"]["records"] == 0

    ended = salmon("verify", "-c", ring.config_path, "--repair", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert told["equal"] is True
    assert told["objects"]["Account"]["repair"] == {
        "asked": 1,
        "repaired": 1,
        "remains": [],
        "unanswered": [],
    }
    document = ring.db.accounts.find_one({"_id": key})
    assert document is not None
    assert document["Site"] == "Nobody knows"


def test_a_repair_of_a_record_that_was_deleted_unseen_lets_the_deletion_be(ring: Ring) -> None:
    """Its event is lost: `records` has it, the org has not. The source finds it absent, and merge deletes it."""
    ring.wait_ready()
    key = ring.ids("Opportunity")[-1]
    control = ring.org["control_url"]
    lost = {"fault": "lose_events", "object": "Opportunity", "count": 1}
    ring.http.post(f"{control}/faults", json=lost).raise_for_status()
    ring.sf.Opportunity.delete(key)
    ended = salmon("verify", "-c", ring.config_path, "--keys", key, "--repair", "--json")
    told: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.returncode, told["nowhere"]) == (0, [key]), told
    assert ring.db.opportunities.find_one({"_id": key}) is None


def test_a_document_that_was_deleted_or_born_while_its_source_lost_its_place_is_repaired(ring: Ring) -> None:
    """The position is lost: deletions are not looked for, so only verify finds them; the fold decides what they mean."""
    ring.wait_ready()
    key = ring.ids("Contact")[-1]
    ring.stop("mongodb-source")
    ring.db.contacts.delete_one({"_id": key})
    kafka, names = ring.config.kafka_properties(), ring.config.topic_names
    producer = clients.producer(kafka, transactional_id="commands-test", client_id="commands-test")
    producer.start()
    stream = next(
        message
        for message in ring.read(names.offsets)
        if b"mongodb-source" in (message.key() or b"") and b"stream" in (message.key() or b"")
    )
    with producer.transaction() as transaction:
        transaction.produce(names.offsets, (stream.key() or b"").decode(), None)
    ring.start("mongodb-source")
    ring.wait_ready("mongodb-source")
    ended = salmon("verify", "-c", ring.config_path, "--object", "Contact", "--json")
    contact = json.loads(ended.stdout)["objects"]["Contact"]
    assert (ended.returncode, contact["missing_in"]["mongodb"]) == (1, [key])
    ended = salmon("verify", "-c", ring.config_path, "--object", "Contact", "--repair", "--json")
    contact = json.loads(ended.stdout)["objects"]["Contact"]
    assert ended.returncode == 0, contact
    assert contact["repair"]["repaired"] == 1
    assert ring.ids("Contact").count(key) == 0, "a deletion that nobody had seen is one"


def test_a_repair_says_which_source_does_not_answer_and_what_to_do(ring: Ring) -> None:
    """The source of Salesforce is down."""
    ring.wait_ready()
    key = ring.ids("Account")[4]
    ring.stop("salesforce-source")
    try:
        ring.sf.Account.update(key, {"Site": "While it is down"})
        repair = ("--repair", "--answer-max-s", "5")
        ended = salmon("verify", "-c", ring.config_path, "--keys", key, *repair, "--json")
        account = json.loads(ended.stdout)["objects"]["Account"]
        assert ended.returncode == 1
        assert account["repair"]["unanswered"] == ["salesforce"]
        assert account["repair"]["remains"] == [{"key": key, "why": "NOT_ANSWERED"}]
    finally:
        ring.start("salesforce-source")
    ring.wait_equal()


def test_a_key_that_nobody_has_is_told_and_a_file_of_none_is_refused(ring: Ring) -> None:
    """It is no difference: it is nowhere. No key at all would be taken for all of them."""
    ended = salmon("verify", "-c", ring.config_path, "--keys", "no-such-record", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["nowhere"]) == (0, ["no-such-record"])
    empty = ring.folder / "keys.txt"
    empty.write_text("\n", encoding="utf-8")
    ended = salmon("verify", "-c", ring.config_path, "--keys-file", empty)
    assert ended.returncode == 2
    assert ended.stderr.startswith("salmon: --keys: no key was given")


def test_verify_of_a_busy_sync_gives_no_false_alarm(ring: Ring) -> None:
    """Both sides are edited all the while: what differs for a moment is read again."""
    ring.wait_ready()
    accounts, contacts = ring.ids("Account"), ring.ids("Contact")
    ended: list[subprocess.CompletedProcess[str]] = []
    verify = threading.Thread(target=lambda: ended.append(salmon("verify", "-c", ring.config_path, "--json")))
    verify.start()
    for number in itertools.count():
        ring.sf.Account.update(accounts[number % len(accounts)], {"Site": f"site {number}"})
        ring.db.contacts.update_one(
            {"_id": contacts[number % len(contacts)]}, {"$set": {"Department": f"department {number}"}}
        )
        verify.join(0.1)  # the pace of the edits: a record comes again after some seconds
        if not verify.is_alive():
            break
    told = json.loads(ended[0].stdout)
    assert (ended[0].returncode, told["equal"]) == (0, True), told


def test_status_says_that_all_is_well(ring: Ring) -> None:
    """Every process answers; nothing is on its way once an edit has arrived, and its lag was measured."""
    ring.wait_ready()
    key = ring.ids("Contact")[0]
    ring.db.contacts.update_one({"_id": key}, {"$set": {"Department": "Status"}})
    ring.wait_row("Contact", key, lambda row: row["Department"] == "Status")

    def told() -> dict[str, Any] | None:
        ended = status(ring, "--json")
        assert ended.returncode == 0, ended.stderr
        said: dict[str, Any] = json.loads(ended.stdout)
        quiet = all(not any(each["in_flight"].values()) for each in said["objects"].values())
        return said if quiet and said["objects"]["Contact"]["lag_s"]["to_salesforce"]["p50"] else None

    said = until(told, "nothing is on its way", within_s=30, every_s=0.2)
    assert said is not None
    assert said["healthy"] is True
    assert {each["status"] for each in said["processes"].values()} == {"healthy"}
    assert said["objects"]["Contact"]["records"] == len(ring.ids("Contact"))
    assert said["dead_letters"] == dict.fromkeys(CONNECTORS, 0)
    assert said["positions"]["merge"].keys() >= {"commands.changes.Contact/0"}
    assert said["processes"]["salesforce-source"]["api_calls"]["describe"] == len(RECORDS), (
        "one for each object, for the schemas and for those who fill in records"
    )


def test_status_shows_people_two_tables(ring: Ring) -> None:
    """The processes and the objects."""
    ended = status(ring)
    assert ended.returncode == 0
    for name in (*CONNECTORS, *RECORDS):
        assert name in ended.stdout


def test_status_works_while_a_process_is_down_and_shows_what_piles_up(ring: Ring) -> None:
    """The sink of Salesforce is down: it says so, and an edit waits for it."""
    ring.wait_ready()
    ring.stop("salesforce-sink")
    try:
        key = ring.ids("Contact")[1]
        ring.db.contacts.update_one({"_id": key}, {"$set": {"Department": "Waiting"}})

        said: dict[str, Any] = {}

        def waits() -> bool:
            ended = status(ring, "--json")
            assert ended.returncode == 1
            said.update(json.loads(ended.stdout))
            return bool(said["objects"]["Contact"]["in_flight"]["to_salesforce"] == 1)

        until(waits, "the edit waits for its sink", within_s=30, every_s=0.2, seen=lambda: said)
        assert said["processes"]["salesforce-sink"]["status"] == "down"
        assert said["processes"]["merge"]["status"] == "healthy"
    finally:
        ring.start("salesforce-sink")
    ring.wait_equal()


def test_run_refuses_what_it_does_not_know(ring: Ring) -> None:
    """A connector of no such name: the known ones are named."""
    ended = salmon("run", "mongo-sink", "-c", ring.config_path)
    assert ended.returncode == 2
    assert "mongodb-sink" in ended.stderr


def test_merge_verifies_on_a_schedule_and_shows_it_in_its_metrics(ring: Ring) -> None:
    """In a process of its own beside it; merge goes on as ever, and ends in good order while a run is under way."""
    before = ring.config_path.read_text(encoding="utf-8")
    ring.config_path.write_text(f"{before}\nverify: {{every: 10s}}\n", encoding="utf-8")
    count = len(ring.ids("Account"))
    equal = f'salmon_verify_records{{connector="merge",object="Account",verdict="equal"}} {count:.1f}'
    ring.stop("merge")
    ring.start("merge")
    try:

        def shown() -> str:
            ring.wait_ready("merge")
            return ring.http.get(f"http://127.0.0.1:{ring.ports['merge']}/metrics", timeout=5).text

        until(lambda: equal in shown(), "the result is shown", within_s=90, every_s=0.5, seen=shown)
        assert "salmon_verify_last_run_timestamp_seconds" in shown()
    finally:
        ring.config_path.write_text(before, encoding="utf-8")
        assert ring.stop("merge") == {"merge": 0}
        ring.start("merge")


def test_an_org_that_does_not_answer_is_seen_and_nobody_is_restarted_for_it(ring: Ring) -> None:
    """
    It refuses nothing and answers nothing, and an edit waits: /health and `status` say so within half a minute, live stays true,
    and once it answers the edit arrives (case S5).
    """
    ring.wait_ready()
    account = ring.ids("Account")[6]
    pids = {name: process.pid for name, process in ring.processes.items()}
    sink = ring.ports["salesforce-sink"]

    def waits() -> list[str]:
        return [each["sentence"] for each in ring.health(sink).get("waiting_for", ())]

    with ring.org_suspended():
        ring.db.accounts.update_one({"_id": account}, {"$set": {"Site": "while the org was silent"}})
        until(
            lambda: any("Salesforce has not answered for" in sentence for sentence in waits()),
            "the silence is seen",
            seen=waits,
        )
        for path, code in (("live", 200), ("ready", 503)):
            answer = ring.http.get(f"http://127.0.0.1:{sink}/health/{path}", timeout=5)
            assert answer.status_code == code, path
        said = json.loads(status(ring, "--json").stdout)["processes"]["salesforce-sink"]
        assert said["degraded"] is True
        assert any("Salesforce has not answered for" in each["sentence"] for each in said["waiting_for"])
        assert "Salesforce has not answered for" in status(ring).stdout
    ring.wait_row("Account", account, lambda row: row["Site"] == "while the org was silent")
    ring.wait_ready()
    assert {name: process.pid for name, process in ring.processes.items()} == pids
    assert all(process.poll() is None for process in ring.processes.values())


EVIL = "x\x1b[2J\x1b]0;t\x07\r\nsalmon: all is well\x9b31m\u202ey"


def test_foreign_records_and_values_stop_no_command_and_reach_no_terminal(ring: Ring, tmp_path: Path) -> None:
    """
    Somebody writes into Salmon's tables, and control characters into fields, an _id and a record's key: each command
    still answers, and shows them without sending them (cases L7, X1).
    """
    ring.wait_ready()
    names = ring.config.topic_names
    account = ring.ids("Account")[5]
    ring.db.accounts.update_one({"_id": account}, {"$set": {"Description": EVIL, "Site": EVIL[:20]}})
    ring.db.contacts.insert_one({"_id": EVIL, "LastName": EVIL[:20]})
    ring.wait_equal()
    kafka = ring.config.kafka_properties()
    producer = clients.producer(kafka, transactional_id="commands-evil", client_id="commands-evil")
    producer.start()
    tables = [
        names.offsets,
        *(make(name) for name in RECORDS for make in (names.identity, names.records, names.state)),
        *(names.writes(side, name) for side in ("mongodb", "salesforce") for name in RECORDS),
    ]
    with producer.transaction() as transaction:
        for topic in tables:
            for key in (b"\xff\xfe", EVIL.encode(), account.encode(), b"merge/x", b"mongodb-source/stream"):
                transaction.produce(topic, key, b'{"a":1}')
    ring.stop()
    ring.start()
    ring.wait_ready()
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"Name": EVIL, "Site": EVIL[:20]}), encoding="utf-8")
    commands: list[tuple[int, tuple[object, ...]]] = [
        (0, ("why", "Account", account)),
        (0, ("why", "Contact", EVIL)),
        (1, ("why", "Account", f"nobody{EVIL}")),
        (0, ("conflicts", "list")),
        (2, ("conflicts", "show", "Account", f"nobody{EVIL}")),
        (0, ("guard", "list")),
        (0, ("dlq", "list")),
        (2, ("dlq", "show", EVIL)),
        (0, ("retry", "--dry-run")),
        (2, ("retry", "--object", EVIL)),
        (1, ("doctor",)),
        (2, ("match", "--waive", "--object", EVIL)),
        (0, ("flow", "test", "--object", "Account", "--record", record)),
        (2, ("flow", "test", "--object", EVIL, "--record", record)),
        (0, ("verify",)),
        (1, ("verify", "--keys", f"{account},nobody\x1b[2J")),
        (2, ("verify", "--object", EVIL)),
        (2, ("status", "-c", f"{EVIL}.yaml")),
    ]
    for code, (name, *more) in commands:
        ended = salmon(name, *more, *(() if "-c" in more else ("-c", ring.config_path)))
        said = f"{name} {more}: {ended.stdout}{ended.stderr}"
        assert ended.returncode in {code, 0 if code == 1 else code}, said
        for line in (ended.stdout + ended.stderr).split("\n"):
            assert line.isprintable(), said
            assert not line.startswith("salmon: all is well"), said
    ended = status(ring)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "foreign_record_passed_over" in ended.stderr
    ring.db.accounts.update_one({"_id": account}, {"$set": {"Site": "still in step"}})
    ring.wait_row("Account", account, lambda row: row["Site"] == "still in step")
