"""A sink that is down, a source that runs twice, and nothing at all happening: with real processes."""

from __future__ import annotations

import time

import pytest

from salmon.app.ending import EXIT_FENCED, EXIT_OK
from salmon.ports import free_ports
from support.ring import Ring
from support.stacks import seconds
from support.waiting import until

pytestmark = pytest.mark.processes

EDITS = 300
# How long nothing must happen. `make test` looks for 20 s; SALMON_TEST_QUIET_S=60 looks longer.
QUIET_S = seconds("SALMON_TEST_QUIET_S", 20)
# The promise is 10 s on a machine of its own; `make test` shares it with other tests.
TAKEOVER_MAX_S = seconds("SALMON_TEST_TAKEOVER_S", 45)


@pytest.mark.parametrize("sink", ["mongodb-sink", "salesforce-sink"])
def test_a_sink_that_was_down_while_edits_came_in_catches_up(ring: Ring, sink: str) -> None:
    """All edits of both sides get through when it is back, and none of them is taken for a conflict."""
    conflicts = ring.conflicts
    accounts = ring.ids("Account")
    half = len(accounts) // 2
    assert ring.stop(sink) == {sink: EXIT_OK}
    for n in range(EDITS // 2):
        person, application = accounts[n % half], accounts[half + n % half]
        ring.sf.Account.update(person, {"Site": f"{sink} {n}"})
        ring.db.accounts.update_one({"_id": application}, {"$set": {"Site": f"{sink} {n}"}})
    ring.start(sink)
    ring.wait_equal()
    last = EDITS // 2 - 1
    assert ring.row("Account", accounts[half + last % half])["Site"] == f"{sink} {last}"
    assert (ring.db.accounts.find_one({"_id": accounts[last % half]}) or {})["Site"] == f"{sink} {last}"
    assert (ring.conflicts, ring.dead_letters) == (conflicts, [])


@pytest.mark.parametrize("source", ["salesforce-source", "mongodb-source"])
def test_of_two_instances_of_a_source_the_older_is_fenced_and_nothing_is_doubled(
    ring: Ring, source: str
) -> None:
    """The older ends with exit code 3 and one sentence; each of the edits is one change."""
    ring.wait_equal()
    accounts = ring.ids("Account")[:20]
    older = ring.processes.pop(source)
    ring.start(source)
    code = until(lambda: (older.poll(), older.poll() is not None)[0], f"the older {source} ends", within_s=60)
    assert code == EXIT_FENCED, ring.last_words(source)
    ring.wait_ready(source)
    side = source.removesuffix("-source")
    before = len(ring.read(ring.config.topic_names.changes("Account")))
    for n, key in enumerate(accounts):
        if side == "salesforce":
            ring.sf.Account.update(key, {"Site": f"once {n}"})
        else:
            ring.db.accounts.update_one({"_id": key}, {"$set": {"Site": f"only once {n}"}})
    ring.wait_equal()
    # An edit is a change of its side, and its echo is one of the other side.
    until(
        lambda: len(ring.read(ring.config.topic_names.changes("Account"))) >= before + 2 * len(accounts),
        "all echoes are there",
    )
    assert len(ring.read(ring.config.topic_names.changes("Account"))) == before + 2 * len(accounts)
    assert "Traceback" not in ring.last_words(source)


def test_a_standby_source_takes_over_from_one_that_was_killed(ring: Ring) -> None:
    """It waits until Kafka has missed the leader for as long as a session lasts; the edits from meanwhile get through."""
    source = "mongodb-source"
    ring.wait_equal()
    (port,) = free_ports(1)
    standby = ring.spawn(source, port, "--ordinal", "1")
    try:
        until(lambda: "On standby" in str(ring.health(port).get("message")), "it stands by", within_s=60)
        ring.kill(source)
        person, application = ring.ids("Account")[:2]
        ring.sf.Account.update(person, {"Site": f"while {source} was dead"})
        ring.db.accounts.update_one({"_id": application}, {"$set": {"Site": f"while {source} was dead"}})
        until(
            lambda: (
                (ring.db.accounts.find_one({"_id": person}) or {}).get("Site")
                == ring.row("Account", application)["Site"]
                == f"while {source} was dead"
            ),
            "the edits get through",
            within_s=TAKEOVER_MAX_S,
        )
        assert "On standby" not in str(ring.health(port).get("message"))
        ring.start(source)
        ring.wait_ready(source)
    finally:
        standby.terminate()
        assert standby.wait(60) == EXIT_OK
    ring.wait_equal()


def test_when_nobody_edits_nobody_writes(ring: Ring) -> None:
    """After all these edits and echoes: no write is commanded, no call to the org writes, no document moves."""
    ring.wait_equal()
    until(lambda: ring.owes_nothing, "all echoes are in")
    writes, calls, document_writes = len(ring.writes), ring.calls, ring.document_writes
    ends = time.monotonic() + QUIET_S
    until(
        lambda: time.monotonic() >= ends or ring.calls != calls or ring.document_writes != document_writes,
        "the time is over",
        within_s=QUIET_S + 10,
        every_s=0.5,
    )
    assert (len(ring.writes), ring.calls, ring.document_writes) == (writes, calls, document_writes)
