"""salesforce-source's worker on the simulator and a broker in memory, started while one object of the org is broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from salmon.errors import SetupError
from salmon.kafka import topics
from salmon.kafka.codecs.serdes import Changes
from salmon.model.change import Value
from salmon.runtime import schemas
from salmon.runtime.instance import Instance
from salmon.salesforce.reading.source import SalesforceSourceTask
from salmon.source.worker import SourceWorker
from support.at_hand.memory_sync import MemorySync
from support.orgs.salesforce_box import AGAIN_S, SETTLE_S, BoxProcess, configured
from support.runtime import error_of, running
from support.waiting import until

CONNECTOR = "salesforce-source"
OBJECTS = ("Account", "Contact")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path, "--records", "Account=5", "--records", "Contact=5") as process:
        yield process


@pytest.fixture
def sync() -> MemorySync:
    sync = MemorySync(partitions=1)
    specs = topics.specs(sync.topics, OBJECTS, partitions=1, replication_factor=1)
    topics.ensure(sync.clients.admin(), [each for each in specs if each.name not in sync.broker.topics])
    return sync


def worker(sync: MemorySync, box: BoxProcess) -> tuple[SourceWorker, Instance]:
    instance = sync.instance(CONNECTOR)
    task = SalesforceSourceTask(
        box.config(), configured(*OBJECTS), sync.name, settle_s=SETTLE_S, again_s=AGAIN_S
    )
    return SourceWorker(instance, task, OBJECTS), instance


def written(sync: MemorySync, name: str, field: str) -> list[Value]:
    """What was written of one field, in its order."""
    topic = sync.topics.changes(name)
    codec = Changes(schemas.registered(sync.registry, sync.topics, OBJECTS)[name], sync.registry, topic)
    return [codec.decode(value or b"").fields.get(field) for value in sync.values(topic)]


def test_the_others_go_on_health_names_the_broken_one_and_it_joins_without_a_restart(
    sync: MemorySync, box: BoxProcess
) -> None:
    """It worked before: somebody has taken its marker field from the integration user, and gives it back (case V10)."""
    with running(worker(sync, box)[0]) as (run,):
        until(lambda: len(sync.values(sync.topics.changes("Account"))) >= 5)
        until(lambda: len(sync.values(sync.topics.changes("Contact"))) >= 5)
        run.stop()
    account, contact = box.ids("Account")[0], box.ids("Contact")[0]
    box.fault("hide", object="Account", fields=["Salmon_Seq__c"])
    again, instance = worker(sync, box)
    with running(again) as (run,):
        until(lambda: instance.health.report().degraded)
        report = instance.health.report()
        (waits,) = report.waiting_for
        assert (report.ready, waits.what) == (True, "Account")
        assert waits.sentence.startswith("objects.Account: Account has no field Salmon_Seq__c")
        box.edit("Account", account, Phone="missed")
        box.edit("Contact", contact, Phone="goes on")
        until(lambda: "goes on" in written(sync, "Contact", "Phone"))
        assert "missed" not in written(sync, "Account", "Phone")
        box.heal()
        until(lambda: not instance.health.report().waiting_for)
        box.advance(5)
        until(lambda: "missed" in written(sync, "Account", "Phone"))
        run.stop()


def test_a_first_start_ends_with_what_to_change(sync: MemorySync, box: BoxProcess) -> None:
    """Nothing of it has ever worked, so a person is there to correct it; nothing is registered (case V10)."""
    box.fault("hide", object="Account", fields=["Salmon_Seq__c"])
    with running(worker(sync, box)[0]) as (run,):
        error = error_of(run)
    assert isinstance(error, SetupError)
    assert "Account has no field Salmon_Seq__c" in str(error)
    assert schemas.registered(sync.registry, sync.topics, OBJECTS) == {}
