"""Platform events with real processes, killed at any moment: from the org into a collection, and from a collection to the org."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from support.ring import Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

SHIPPED, PLACED, SENT = "Order_Shipped__e", "Order_Placed__e", "Invoice_Sent__e"
RECORDS = {"Account": 3, "Contact": 0, "Opportunity": 0}
EVENTS = {
    SHIPPED: {"collection": "shipments"},
    PLACED: {
        "direction": "to_salesforce",
        "object": "Account",
        "fields": {"Key__c": "$key", "Name__c": "Name"},
    },
    SENT: {
        "direction": "to_salesforce",
        "collection": "outbox",
        "fields": {"Number__c": "number", "At__c": "$changed_at"},
    },
    "Not_There__e": {},
}


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    with running_ring(embedded_stack, "events", records=RECORDS) as ring:
        said = yaml.safe_load(ring.config_path.read_text())
        ring.config_path.write_text(yaml.safe_dump({**said, "events": EVENTS}))
        ring.reload()
        fields_of = {SHIPPED: ("Number__c",), PLACED: ("Key__c", "Name__c"), SENT: ("Number__c", "At__c")}
        for event, fields in fields_of.items():
            body = {"event": event, "fields": dict.fromkeys(fields, "Text")}
            ring.http.post(f"{ring.org['control_url']}/events", json=body).raise_for_status()
        yield ring


def ship(ring: Ring, *numbers: int) -> None:
    """Publish events, as a person's program does."""
    for number in numbers:
        getattr(ring.sf, SHIPPED).create({"Number__c": str(number)})


def shipments(ring: Ring) -> list[int]:
    return sorted(int(each["Number__c"]) for each in ring.db.shipments.find())


def started(ring: Ring) -> None:
    if not ring.processes:
        ring.start()


def counted(ring: Ring, connector: str, event: str, step: str) -> float:
    """How many events got as far as *step*, as the process counts them since its start."""
    metrics = ring.http.get(f"http://127.0.0.1:{ring.ports[connector]}/metrics").text
    said = [line for line in metrics.splitlines() if f'event="{event}",step="{step}"}}' in line]
    return sum(float(line.rpartition(" ")[2]) for line in said if line.startswith("salmon_events_total"))


def test_events_arrive_once_in_spite_of_kills_and_an_insert_is_published(ring: Ring) -> None:
    """Each process of the way is killed with work in its hands; an event that the org lacks holds up nothing."""
    ship(ring, 1, 2)
    started(ring)
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
    source = ring.ports["salesforce-source"]
    until(lambda: "Not_There__e" in str(ring.health(source)), "/health names the event that the org lacks")

    ring.db.accounts.insert_one({"_id": "new", "Name": "Placed"})
    ring.wait_query("SELECT Id FROM Account WHERE Name = 'Placed'", 1, within_s=60)
    until(
        lambda: counted(ring, "salesforce-sink", PLACED, "published") == 1,
        "the insert is published, and its echo in the org is not",
        within_s=60,
    )


def test_documents_of_an_outbox_are_published_and_told_so_in_spite_of_kills(ring: Ring) -> None:
    """
    Each process of the way is killed with work in its hands. What was there at first is published too, unless it has an outcome; a
    document that cannot be an event stops no other; to be told makes no event.
    """
    box = ring.db.outbox
    box.insert_many([{"_id": n, "number": str(n)} for n in range(3)])
    box.insert_one({"_id": "old", "_salmon": {"published_at": 1}})
    started(ring)
    published = {"_salmon.published_at": {"$type": "date"}, "_salmon.event": {"$type": "string"}}
    until(lambda: box.count_documents(published) == 3, "what was there is published", within_s=90)
    box.insert_one({"_id": "poison", "number": float("nan")})
    box.insert_one({"_id": "five", "number": "x", "_salmon": 5})
    for n, name in enumerate(("mongodb-source", "salesforce-sink", "mongodb-sink"), start=1):
        box.insert_many([{"_id": 100 * n + each, "number": "x"} for each in range(10)])
        ring.kill(name)
        box.insert_many([{"_id": 100 * n + 50 + each, "number": "x"} for each in range(10)])
        ring.start(name)
    until(lambda: box.count_documents(published) == 63, "each document is told", within_s=90)
    topic = ring.config.topic_names.outbox(SENT)
    keys = [each.key() for each in ring.read(topic) if each.value() is not None]
    assert len(keys) == len(set(keys)) == 64, "each was read once"
    owed = {each.key(): each.value() for each in ring.read(topic)}
    assert set(owed.values()) == {None}, "and none is owed any more"
    until(lambda: box.count_documents({"_salmon.error": {"$exists": True}}) == 1, "it is told", within_s=60)
    poison = box.find_one({"_id": "poison"})
    assert poison is not None
    assert poison["_salmon"]["error"].startswith("number: the document holds a double that is not finite")
    until(lambda: {b"poison", b"five"} <= {each.key() for each in ring.dead_letters}, "both are dead letters")
    assert box.find_one({"_id": "five"}) == {"_id": "five", "number": "x", "_salmon": 5}, (
        "what it has is left"
    )
    assert counted(ring, "salesforce-sink", SENT, "published") > 0
