"""
A rolling upgrade to a version with other formats, in any order, and a downgrade: who is older waits for its own turn, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.kafka.topics import CONNECTORS
from support.next_version import PROGRAM, next_version
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

ACCOUNTS = 20
WITHIN_S = 180.0


@pytest.fixture
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync whose five processes are of this version."""
    with running_ring(embedded_stack, "upgrade", records={"Account": ACCOUNTS}) as ring:
        yield ring


def upgrade(ring: Ring, *names: str) -> None:
    """Replace these processes by ones of the next version."""
    ring.stop(*names)
    ring.programs |= dict.fromkeys(names, PROGRAM)
    ring.start(*names)


def downgrade(ring: Ring, name: str) -> None:
    """Replace a process by one of this version again."""
    ring.stop(name)
    del ring.programs[name]
    ring.start(name)


def answers(ring: Ring, name: str, path: str) -> int:
    return ring.http.get(f"http://127.0.0.1:{ring.ports[name]}{path}", timeout=10).status_code


def waits_for_its_upgrade(ring: Ring, name: str) -> None:
    """It says why; it is not ready, but it is live: a restart by a probe would not help."""

    def says() -> str:
        return str(ring.health(ring.ports[name]).get("message", ""))

    until(
        lambda: "newer version of Salmon" in says(),
        f"{name} says that it is older",
        within_s=WITHIN_S,
        seen=says,
    )
    assert answers(ring, name, "/health/live") == 200
    assert answers(ring, name, "/health/ready") == 503
    assert ring.processes[name].poll() is None


def test_a_rolling_upgrade_in_the_worst_order_and_a_downgrade_lose_nothing(ring: Ring) -> None:
    """
    Sources first: merge waits for its upgrade, then the sinks for theirs. A merge that is set back meets its own newer states, and
    waits until it is upgraded again. Nothing is set aside, no conflict is invented, and all edits arrive.
    """
    ring.start()
    ring.wait_equal()
    by_person, by_application = ring.ids("Account")[:2]

    upgrade(ring, "salesforce-source", "mongodb-source")
    ring.sf.Account.update(by_person, {"Site": "Rome"})
    ring.db.accounts.update_one({"_id": by_application}, {"$set": {"Site": "Oslo"}})
    waits_for_its_upgrade(ring, "merge")

    upgrade(ring, "merge")
    waits_for_its_upgrade(ring, "salesforce-sink")
    waits_for_its_upgrade(ring, "mongodb-sink")

    upgrade(ring, "mongodb-sink", "salesforce-sink")
    ring.wait_document("accounts", by_person, lambda seen: seen.get("Site") == "Rome", within_s=WITHIN_S)
    ring.wait_row("Account", by_application, lambda seen: seen["Site"] == "Oslo", within_s=WITHIN_S)

    downgrade(ring, "merge")
    ring.sf.Account.update(by_person, {"Site": "Bern"})
    waits_for_its_upgrade(ring, "merge")
    upgrade(ring, "merge")
    ring.wait_document("accounts", by_person, lambda seen: seen.get("Site") == "Bern", within_s=WITHIN_S)

    ring.wait_ready(*CONNECTORS)
    with next_version():
        ring.wait_equal()
    assert (ring.conflicts, ring.dead_letters) == (0, [])
