"""Bulk API 2.0 between real processes that are killed: each record is there once, and holds what it should."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from salmon.salesforce.writing.bulk_writes import BULK_ROWS_MIN
from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

BORN_IN_MONGODB = BULK_ROWS_MIN + 600
RECORDS = {"Account": 300, "Contact": 0, "Opportunity": 0}


@pytest.fixture
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """A sync of one object that is read by Bulk whatever it costs."""
    with running_ring(embedded_stack, "bulk", records=RECORDS) as ring:
        told = yaml.safe_load(ring.config_path.read_text())
        told["salesforce"]["bulk"] = {"query": "always"}
        told["salesforce"]["concurrent_writes"] = (
            1  # else most of the backlog is written before it is large enough for a job
        )
        told["objects"] = {"Account": told["objects"]["Account"]}
        ring.config_path.write_text(yaml.safe_dump(told))
        ring.reload()
        yield ring


def working_for(ring: Ring, seconds: float) -> None:
    """How long the org works at a job."""
    changed = {"bulk_processing_s": seconds}
    ring.http.post(f"{ring.org['control_url']}/settings", json=changed).raise_for_status()


def bulk_calls(ring: Ring) -> int:
    return ring.calls.get("bulk", 0)


def is_done(ring: Ring) -> bool:
    """Whether the org has all that was born in MongoDB."""
    found = ring.sf.query("SELECT COUNT() FROM Account WHERE Salmon_Id__c != null")["totalSize"]
    return bool(found >= BORN_IN_MONGODB)


def test_a_source_and_a_sink_that_are_killed_while_the_org_works_at_their_jobs(ring: Ring) -> None:
    """The source goes on with its job. Nothing is written before the sink's job has ended, and nothing twice."""
    working_for(ring, 4)
    ring.start("salesforce-source")
    until(lambda: bulk_calls(ring) >= 2, "the source looks at its job", within_s=60)
    ring.kill("salesforce-source")
    ring.start("salesforce-source", "mongodb-source", "merge", "mongodb-sink")
    until(lambda: ring.db.accounts.count_documents({}) == 300, "all accounts are documents", within_s=60)
    working_for(ring, 0)
    ring.db.accounts.insert_many(
        {"_id": f"born-{number}", "Name": f"Born {number}"} for number in range(BORN_IN_MONGODB)
    )
    until(lambda: len(ring.writes) >= BORN_IN_MONGODB, "they wait for the sink", within_s=60)
    working_for(ring, 4)
    before = bulk_calls(ring)
    ring.start("salesforce-sink")
    until(lambda: bulk_calls(ring) >= before + 5, "the sink looks at its job", within_s=60)
    ring.kill("salesforce-sink")
    ring.start("salesforce-sink")
    until(lambda: is_done(ring), "all are accounts", within_s=90)
    ring.wait_equal()
    found = ring.sf.query_all("SELECT Salmon_Id__c FROM Account WHERE Salmon_Id__c != null")["records"]
    assert len(found) == len({row["Salmon_Id__c"] for row in found}) == BORN_IN_MONGODB
    assert ring.calls.get("collections", 0) < 10, "they went by Bulk"
    assert ring.dead_letters == []
    assert ring.conflicts == 0
