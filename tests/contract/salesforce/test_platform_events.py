"""Platform events from the org to a collection: the real tasks on the simulator and a mongod, workers on a broker in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.app.events import collecting
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.registry import object_schema
from salmon.salesforce.reading.source import SalesforceSourceTask
from salmon.sink.platform_events.events import EventSink
from salmon.source.worker import SourceWorker
from support.at_hand.memory_sync import MemorySync
from support.mongo import Mongo
from support.orgs.describes import batch_apex_error_event
from support.orgs.salesforce_box import AGAIN_S, SETTLE_S, BoxProcess, configured
from support.runtime import running
from support.waiting import until

OBJECT = "Account"
DEFINED = {"Order_Number__c": "Text", "Amount__c": "Number", "Sent__c": "DateTime", "Gift__c": "Checkbox"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    with BoxProcess(tmp_path_factory.mktemp("box"), "--records", f"{OBJECT}=3") as process:
        yield process


class Chain:
    """One event of a test's own, from the org into a collection."""

    def __init__(self, box: BoxProcess, mongo: Mongo, event: str) -> None:
        self.box, self.mongo, self.event = box, mongo, event
        self.sync = MemorySync()
        for topic in ("changes", "records", "state", "identity"):
            self.sync.broker.create(getattr(self.sync.topics, topic)(OBJECT), 2)
        self.topic = self.sync.topics.events(event)
        self.sync.broker.create(self.topic)
        self.collection = mongo.database["shipments"]

    def define(self, **fields: str) -> None:
        self.box._control("POST", "events", {"event": self.event, "fields": {**DEFINED, **fields}})

    def publish(self, number: str, **fields: Any) -> str:
        """As a person does over REST; the EventUuid."""
        body = {"Order_Number__c": number, **fields}
        answer = self.box._call("POST", f"sobjects/{self.event}", body).json()
        return str(answer["errors"][0]["message"])

    @contextmanager
    def source(self) -> Iterator[Any]:
        task = SalesforceSourceTask(
            self.box.config(), configured(OBJECT), "crm", settle_s=SETTLE_S, again_s=AGAIN_S
        )
        task.listen([self.event])
        with running(SourceWorker(self.sync.instance("salesforce-source"), task, (OBJECT,))) as (run,):
            yield run

    @contextmanager
    def sink(self) -> Iterator[Any]:
        instance = self.sync.instance("mongodb-sink")
        config = SimpleNamespace(settings_of=lambda _: self.mongo.config, name=self.sync.name)
        part = EventSink(
            instance,
            self.event,
            self.topic,
            lambda: collecting(config, instance, self.event, "shipments"),  # type: ignore[arg-type]
        )
        with running(part) as (run,):
            yield run

    def numbers(self) -> list[str]:
        return sorted(each["Order_Number__c"] for each in self.collection.find())

    def in_kafka(self) -> list[str]:
        schema = object_schema(self.sync.registry, self.topic)
        assert schema is not None
        codec = Events(schema, self.sync.registry, self.topic)
        return [
            str(codec.decode(each.value() or b"")["Order_Number__c"])
            for each in self.sync.records(self.topic)
        ]


@pytest.fixture
def chain(box: BoxProcess, mongo: Mongo, request: pytest.FixtureRequest) -> Iterator[Chain]:
    yield Chain(box, mongo, f"E{abs(hash(request.node.name)) % 10**8}__e")
    box.heal()


def test_events_of_the_org_are_inserted_once_with_their_types(chain: Chain) -> None:
    """Also those that were published before the first start; the `_id` is the EventUuid, and the validator is Salmon's."""
    chain.define()
    uuid = chain.publish("1", Amount__c=12.5, Sent__c="2026-11-29T10:00:00Z", Gift__c=True)
    with chain.source(), chain.sink():
        chain.publish("2")
        until(lambda: chain.numbers() == ["1", "2"])
    document = chain.collection.find_one({"_id": uuid})
    assert document is not None
    assert (document["Amount__c"], document["Gift__c"]) == (12.5, True)
    assert document["Sent__c"].isoformat() == "2026-11-29T10:00:00+00:00"
    assert document["EventUuid"] == uuid
    (options,) = chain.mongo.database.list_collections(filter={"name": "shipments"})
    assert options["options"]["validator"]["$jsonSchema"]["title"] == f"Salmon: {chain.event}"


def test_a_standard_event_of_the_platform_becomes_a_document(box: BoxProcess, mongo: Mongo) -> None:
    """One that no API may publish: its describe is as the org has it, and its topic and collection are as those of custom ones."""
    box._control("POST", "events", {"describe": batch_apex_error_event()})
    chain = Chain(box, mongo, "BatchApexErrorEvent")
    failure = {
        "ExceptionType": "System.MathException",
        "Phase": "EXECUTE",
        "DoesExceedJobScopeMaxLength": True,
    }
    with chain.source(), chain.sink():
        uuid = box._control("POST", f"events/{chain.event}", failure).json()["EventUuid"]
        until(lambda: chain.collection.find_one({"_id": uuid}), "its document is there")
    document = chain.collection.find_one({"_id": uuid}) or {}
    assert {name: document[name] for name in failure} == failure
    assert len(chain.sync.values(chain.topic)) == 1


def test_what_is_published_while_nobody_listens_comes_once_after_a_restart(chain: Chain) -> None:
    """The position is committed with the events; and a stream that is cut in between loses and repeats nothing."""
    chain.define()
    with chain.source():
        chain.publish("1")
        until(lambda: chain.in_kafka() == ["1"] if chain.sync.values(chain.topic) else False)
    chain.publish("2")
    with chain.source(), chain.sink():
        until(lambda: chain.numbers() == ["1", "2"])
        chain.box.fault("cut_streams")
        chain.publish("3")
        until(lambda: chain.numbers() == ["1", "2", "3"])
    assert chain.in_kafka() == ["1", "2", "3"]


def test_a_lost_position_repeats_events_and_the_collection_has_each_once(chain: Chain) -> None:
    """EARLIEST: the events that the org still has come again under their EventUuids."""
    chain.define()
    with ExitStack() as first:
        first.enter_context(chain.sink())
        first.enter_context(chain.source())
        chain.publish("1")
        until(lambda: chain.numbers() == ["1"])
    chain.box.fault("corrupt_replay")
    chain.publish("2")
    with chain.source() as run, chain.sink():
        until(lambda: chain.numbers() == ["1", "2"])
        health = run.worker._instance.health
        until(lambda: "was lost" in health.report().message)


def test_an_event_that_the_org_gets_later_is_read_after_a_restart_of_the_process(chain: Chain) -> None:
    """Until then it waits alone: the records of the objects are read."""
    with chain.source() as run:
        health = run.worker._instance.health
        until(lambda: chain.sync.values(chain.sync.topics.changes(OBJECT)))
        until(lambda: [each.what for each in health.report().waiting_for] == [chain.event])
        chain.define()
        until(lambda: run.error)
    with chain.source(), chain.sink():
        chain.publish("1")
        until(lambda: chain.numbers() == ["1"])


def test_a_new_field_of_the_event_arrives(chain: Chain) -> None:
    """Both processes restart, and nothing is lost in between."""
    chain.define()
    with chain.source() as source, chain.sink() as sink:
        chain.publish("1")
        until(lambda: chain.numbers() == ["1"])
        chain.define(City__c="Text")
        chain.publish("2", City__c="Ulm")
        until(lambda: source.error)
        with chain.source():
            until(lambda: sink.error)
            with chain.sink():
                until(lambda: chain.collection.find_one({"City__c": "Ulm"}))
    assert chain.in_kafka() == ["1", "2"]
