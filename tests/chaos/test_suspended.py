"""
Processes and brokers that stand still and wake up again: a laptop that sleeps, a broker that pauses for some seconds.

A time-out says nothing about others: whoever stood still comes back by itself, and only a newer instance that lives ends
an older one.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable

import pytest

from salmon.app.ending import EXIT_FENCED, EXIT_OK
from salmon.config.registries import registry_of
from salmon.kafka.codecs.registry import object_schema
from salmon.kafka.codecs.serdes import Changes
from salmon.kafka.topics import CONNECTORS
from salmon.model.change import Change
from support.ring import Ring
from support.stacks import seconds
from support.waiting import until

pytestmark = pytest.mark.processes

# Longer than a session (6 s), and than a transaction (10 s), may last without a word.
SESSION_LOST_S, TRANSACTION_LOST_S = 8.0, 12.0
# The promise is 15 s on a machine of its own; `make test` shares it with other tests.
RECOVERY_MAX_S = seconds("SALMON_TEST_RECOVERY_S", 45)


def stand_still(pids: Iterable[int], for_s: float) -> None:
    """SIGSTOP, a while, SIGCONT."""
    pids = tuple(pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    ends = time.monotonic() + for_s
    try:
        until(lambda: time.monotonic() >= ends, "the time is over", within_s=for_s + 10, every_s=0.5)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def edit(ring: Ring, text: str) -> None:
    """One edit on each side, of different records."""
    person, application = ring.ids("Account")[:2]
    ring.sf.Account.update(person, {"Site": text})
    ring.db.accounts.update_one({"_id": application}, {"$set": {"Site": text}})


def has_gone_through(ring: Ring, text: str) -> bool:
    """Whether both edits have reached the other side, and nobody has ended."""
    for name, process in ring.processes.items():
        assert process.poll() is None, f"{name} ended by itself: {ring.last_words(name)}"
    person, application = ring.ids("Account")[:2]
    found = ring.db.accounts.find_one({"_id": person}) or {}
    return found.get("Site") == text and ring.row("Account", application)["Site"] == text


def healthy_again(ring: Ring, text: str) -> None:
    """An edit goes through and all five are ready, in time."""
    until(lambda: has_gone_through(ring, text), f"{text}: edits go through", within_s=RECOVERY_MAX_S)
    until(
        lambda: all(ring.is_ready(name) for name in CONNECTORS),
        f"{text}: all are ready",
        within_s=RECOVERY_MAX_S,
    )


def told(ring: Ring) -> list[tuple[bytes, Change]]:
    """All events of accounts, with their keys; no rows and outcomes."""
    names, registry = ring.config.topic_names, registry_of(ring.config)
    schema = object_schema(registry, names.records("Account"))
    assert schema is not None
    codec = Changes(schema, registry, names.changes("Account"))
    changes = [(each.key() or b"", codec.decode(each.value() or b"")) for each in ring.read(codec.topic)]
    return [(key, change) for key, change in changes if change.order]


def once(found: Iterable[object]) -> bool:
    """Whether nothing is there twice."""
    return max(Counter(found).values()) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("salesforce-source", "mongodb-source"),
        ("merge",),
        ("mongodb-sink", "salesforce-sink"),
    ],
    ids=lambda names: names[0],
)
def test_a_process_that_was_suspended_goes_on(ring: Ring, names: tuple[str, ...]) -> None:
    """Past its session's time-out: nobody has taken its place, and it is the one that goes on (case S1)."""
    text = f"while {names[0]} stood still"
    edit(ring, text)
    stand_still([ring.processes[name].pid for name in names], SESSION_LOST_S)
    healthy_again(ring, text)


def test_all_five_that_were_suspended_at_once_go_on(ring: Ring) -> None:
    """A laptop that sleeps, longer than Kafka keeps their transactions (case S1)."""
    edit(ring, "before the laptop slept")
    stand_still([process.pid for process in ring.processes.values()], TRANSACTION_LOST_S)
    edit(ring, "after the laptop slept")
    healthy_again(ring, "after the laptop slept")


def test_a_broker_that_stood_still_for_eight_seconds_ends_nobody(ring: Ring) -> None:
    """Its clients join again, some of them twice: then they are fenced by themselves (case S2)."""
    edit(ring, "while the broker stood still")
    stand_still([each.pid for each in ring.stack.kafka.processes], SESSION_LOST_S)
    healthy_again(ring, "while the broker stood still")


def test_all_five_that_wake_up_beside_their_successors_end_and_have_done_nothing_more(ring: Ring) -> None:
    """
    Suspended in the middle of edits, past every time-out. The newer ones go on as if nothing had been. What the older ones had in hand is
    refused when they wake up: nothing is told twice or taken for a conflict. They end with exit code 3, and never come back.
    """
    ring.wait_equal()
    until(lambda: ring.owes_nothing, "all echoes are in")
    conflicts, letters = ring.conflicts, len(ring.dead_letters)
    accounts = ring.ids("Account")[
        2:22
    ]  # edit() has the first two: an edit of the other side, at once, would be a conflict indeed
    before = len(told(ring))

    def edit_all(text: str) -> None:
        """Ten records in the org, and ten other documents."""
        for person, application in zip(accounts[:10], accounts[10:], strict=True):
            ring.sf.Account.update(person, {"Site": text})
            ring.db.accounts.update_one({"_id": application}, {"$set": {"Site": text}})

    edit_all("as they were suspended")
    older = {name: ring.processes.pop(name) for name in CONNECTORS}
    suspended_at = time.monotonic()
    for process in older.values():
        os.kill(process.pid, signal.SIGSTOP)
    try:
        ring.start()
        ring.wait_ready()
        edit_all("by the successors")
        until(
            lambda: time.monotonic() - suspended_at > TRANSACTION_LOST_S,
            "every time-out is over",
            within_s=TRANSACTION_LOST_S + 10,
        )
        edit(ring, "beside the older ones")
        healthy_again(ring, "beside the older ones")
    finally:
        for process in older.values():
            os.kill(process.pid, signal.SIGCONT)
    until(lambda: all(each.poll() is not None for each in older.values()), "the older ones end", within_s=90)
    assert {name: each.poll() for name, each in older.items()} == dict.fromkeys(CONNECTORS, EXIT_FENCED)
    for name in CONNECTORS:
        assert "a newer instance has taken its place" in (ring.folder / f"{name}.log").read_text()
    edit(ring, "after the older ones have gone")
    healthy_again(ring, "after the older ones have gone")
    ring.wait_equal()
    until(lambda: ring.owes_nothing, "all echoes are in")
    events = told(ring)
    assert len(events) > before
    assert once((key, change.origin, change.order) for key, change in events), "each event is told once"
    assert (ring.conflicts, len(ring.dead_letters)) == (conflicts, letters)


def test_processes_that_are_told_to_stop_while_kafka_stands_still_stop_in_good_order(ring: Ring) -> None:
    """By their deadline, with exit code 0 and no stack trace; what they could not commit is repeated (case S8)."""
    ring.wait_equal()
    brokers = [each.pid for each in ring.stack.kafka.processes]
    for pid in brokers:
        os.kill(pid, signal.SIGSTOP)
    try:
        edit(ring, "while Kafka was away")
        codes = ring.stop()
    finally:
        for pid in brokers:
            os.kill(pid, signal.SIGCONT)
    assert codes == dict.fromkeys(CONNECTORS, EXIT_OK), {name: ring.last_words(name) for name in CONNECTORS}
    assert not [name for name in CONNECTORS if "Traceback" in (ring.folder / f"{name}.log").read_text()]
    ring.start()
    ring.wait_equal()
    healthy_again(ring, "while Kafka was away")
    assert (ring.conflicts, ring.dead_letters) == (0, [])
