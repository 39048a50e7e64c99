"""Platform events with real processes, killed at any moment: from the org into a collection, and from a collection to the org."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

SHIPPED, PLACED = "Order_Shipped__e", "Order_Placed__e"
RECORDS = {"Account": 3, "Contact": 0, "Opportunity": 0}
EVENTS = {
    SHIPPED: {"collection": "shipments"},
    PLACED: {
        "direction": "to_salesforce",
        "object": "Account",
        "fields": {"Key__c": "$key", "Name__c": "Name"},
    },
    "Not_There__e": {},
}


@pytest.fixture
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    with running_ring(embedded_stack, "events", records=RECORDS) as ring:
        said = yaml.safe_load(ring.config_path.read_text())
        ring.config_path.write_text(yaml.safe_dump({**said, "events": EVENTS}))
        ring.reload()
        for event, fields in ((SHIPPED, ("Number__c",)), (PLACED, ("Key__c", "Name__c"))):
            body = {"event": event, "fields": dict.fromkeys(fields, "Text")}
            ring.http.post(f"{ring.org['control_url']}/events", json=body).raise_for_status()
        yield ring


def ship(ring: Ring, *numbers: int) -> None:
    """Publish events, as a person's program does."""
    for number in numbers:
        getattr(ring.sf, SHIPPED).create({"Number__c": str(number)})


def shipments(ring: Ring) -> list[int]:
    return sorted(int(each["Number__c"]) for each in ring.db.shipments.find())


def test_events_arrive_once_in_spite_of_kills_and_an_insert_is_published(ring: Ring) -> None:
    """Each process of the way is killed with work in its hands; an event that the org lacks holds up nothing."""
    ship(ring, 1, 2)
    ring.start()
    until(lambda: shipments(ring) == [1, 2], "the first events are inserted", within_s=60)
    for n, name in enumerate(("salesforce-source", "mongodb-sink")):
        ship(ring, *range(10 + 10 * n, 15 + 10 * n))
        ring.kill(name)
        ship(ring, *range(15 + 10 * n, 20 + 10 * n))
        ring.start(name)
    until(
        lambda: shipments(ring) == [1, 2, *range(10, 30)], "all events are inserted, each once", within_s=60
    )
    keys = [each.key() for each in ring.read(ring.config.topic_names.events(SHIPPED))]
    assert len(keys) == len(set(keys)) == 22, "and each is in Kafka once"
    health = ring.http.get(f"http://127.0.0.1:{ring.ports['salesforce-source']}/health").json()
    assert "Not_There__e" in str(health["waiting_for"])

    ring.db.accounts.insert_one({"_id": "new", "Name": "Placed"})
    ring.wait_query("SELECT Id FROM Account WHERE Name = 'Placed'", 1, within_s=60)
    port = ring.ports["salesforce-sink"]

    def is_published() -> bool:
        metrics = ring.http.get(f"http://127.0.0.1:{port}/metrics").text
        return f'event="{PLACED}",step="published"}} 1.0' in metrics

    until(is_published, "the insert is published, and its echo in the org is not", within_s=60)
