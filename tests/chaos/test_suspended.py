"""
Processes and brokers that stand still and wake up again: a laptop that sleeps, a broker that pauses for some seconds.

A time-out says nothing about others: whoever stood still comes back by itself, and only a newer instance that lives ends
an older one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

import pytest

from salmon.app.ending import EXIT_FENCED, EXIT_OK
from salmon.kafka.topics import CONNECTORS
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


def test_one_that_wakes_up_beside_its_successor_ends_and_says_why(ring: Ring) -> None:
    """The newer one goes on as if nothing had been; the older ends with exit code 3, and never comes back."""
    older = ring.processes.pop("merge")
    os.kill(older.pid, signal.SIGSTOP)
    try:
        ring.start("merge")
        ring.wait_ready("merge")
        edit(ring, "by the successor")
        healthy_again(ring, "by the successor")
    finally:
        os.kill(older.pid, signal.SIGCONT)
    code = until(lambda: (older.poll(), older.poll() is not None)[0], "the older ends", within_s=60)
    assert code == EXIT_FENCED, ring.last_words("merge")
    assert "a newer instance has taken its place" in ring.last_words("merge")
    edit(ring, "after the older has gone")
    healthy_again(ring, "after the older has gone")


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
