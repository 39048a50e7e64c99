"""An object without change events, with real processes: what people do to it in the org arrives, in spite of kills."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

RECORDS = {"Account": 12, "Contact": 0, "Opportunity": 0}
SOURCE = "salesforce-source"


@pytest.fixture
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    with running_ring(embedded_stack, "polling", records=RECORDS) as ring:
        said = yaml.safe_load(ring.config_path.read_text())
        account = {**said["objects"]["Account"], "capture": {"mode": "poll", "every": "2s"}}
        ring.config_path.write_text(yaml.safe_dump({**said, "objects": {"Account": account}}))
        ring.reload()
        for name in ("Account", "Contact", "Opportunity"):
            body = {"fault": "cdc", "object": name, "on": False}
            ring.http.post(f"{ring.org['control_url']}/faults", json=body).raise_for_status()
        yield ring


def undelete(ring: Ring, record_id: str) -> None:
    """As a person does it, from the recycle bin."""
    ring.http.post(
        f"{ring.org['control_url']}/recycle_bin",
        json={"object": "Account", "ids": [record_id], "do": "undelete"},
    ).raise_for_status()


def test_what_is_edited_created_deleted_and_undeleted_arrives_in_spite_of_kills(ring: Ring) -> None:
    """No event of the object is ever published; both ways work, and nothing is owed in the end."""
    edited, deleted, gone, *_ = ring.ids("Account")
    ring.start()
    ring.wait_document("accounts", edited, bool)
    ring.sf.Account.update(edited, {"Site": "Rome"})
    born = ring.sf.Account.create({"Name": "Born in the org"})["id"]
    ring.sf.Account.delete(deleted)
    ring.sf.Account.delete(gone)
    ring.wait_document("accounts", edited, lambda document: document.get("Site") == "Rome")
    ring.wait_document("accounts", born, bool)
    ring.wait_gone("accounts", deleted)
    ring.wait_gone("accounts", gone)

    undelete(ring, deleted)
    ring.sf.Account.update(edited, {"Site": "Oslo"})
    ring.kill(SOURCE)
    ring.sf.Account.update(born, {"Site": "Paris"})
    late = ring.sf.Account.create({"Name": "Born while nobody looked"})["id"]
    ring.start(SOURCE)
    ring.wait_document("accounts", deleted, bool)
    ring.wait_document("accounts", edited, lambda document: document.get("Site") == "Oslo")
    ring.wait_document("accounts", born, lambda document: document.get("Site") == "Paris")
    ring.wait_document("accounts", late, bool)

    ring.db.accounts.update_one({"_id": edited}, {"$set": {"Site": "Lima"}})
    ring.db.accounts.delete_one({"_id": late})
    ring.wait_row("Account", edited, lambda row: row["Site"] == "Lima")
    ring.wait_equal()
    until(lambda: ring.owes_nothing, "every write has its answer", within_s=60)
    assert ring.conflicts == 0
    assert ring.dead_letters == []
    metrics = ring.http.get(f"http://127.0.0.1:{ring.ports[SOURCE]}/metrics").text
    assert 'salmon_poll_age_seconds{connector="salesforce-source",object="Account"}' in metrics
    delivered = ring.http.get(f"{ring.org['control_url']}/calls").json()
    assert not delivered.get("events_delivered"), "nothing was charged to the allowance of deliveries"
