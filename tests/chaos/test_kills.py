"""Each of the five processes is killed in the middle of edits on both sides: nothing is lost, nothing is doubled."""

from __future__ import annotations

import pytest

from salmon.kafka.topics import CONNECTORS
from support.ring import Ring

pytestmark = pytest.mark.processes

EDITS = 2_000
FIRST_KILL = (
    200  # of the edits; the others follow at the same distance, so that the last edits meet a whole ring
)


def test_five_processes_killed_during_2000_edits_lose_nothing_and_invent_nothing(ring: Ring) -> None:
    """A person and an application edit different records; both sides end equal, without a conflict or a dead letter."""
    accounts, contacts = ring.ids("Account"), ring.ids("Contact")
    of_people, of_applications = accounts[::2], accounts[1::2]
    victims = dict(zip(range(FIRST_KILL, EDITS // 2, 150), CONNECTORS, strict=False))
    for n in range(EDITS // 2):
        person, application = of_people[n % len(of_people)], of_applications[n % len(of_applications)]
        ring.sf.Account.update(person, {"Site": f"person {n}", "Phone": f"+1 555 {n:04}"})
        ring.db.accounts.update_one({"_id": application}, {"$set": {"Site": f"application {n}"}})
        if n % 10 == 0:
            ring.db.contacts.update_one(
                {"_id": contacts[n // 10 % len(contacts)]}, {"$set": {"Title": f"title {n}"}}
            )
        if victim := victims.get(n):
            ring.kill(victim)
            ring.start(victim)
    assert len(victims) == len(CONNECTORS), "each was killed"

    verdict = ring.wait_equal()

    last = EDITS // 2 - 1
    assert ring.row("Account", of_applications[last % 100])["Site"] == f"application {last}"
    found = ring.db.accounts.find_one({"_id": of_people[last % 100]})
    assert found is not None
    assert found["Site"] == f"person {last}"
    assert verdict.objects["Account"].equal == len(accounts)
    assert not any(each.parked for each in verdict.objects.values())
    assert ring.conflicts == 0, "nobody edited what somebody else edited"
    assert ring.dead_letters == []
