"""The status topic and the offsets resource on real brokers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial

import fastavro
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from salmon.errors import Unavailable
from salmon.kafka import clients
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.offsets import OffsetStore
from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import Offset
from salmon.ops.connect.groups import Group
from salmon.ops.connect.places import SinkPlaces, SourcePlaces
from salmon.ops.connect.standing import KafkaStatusLog
from salmon.ops.connect.status_topic import Target
from salmon.plugin.contract import FIRST_READ
from salmon.sink.worker import SinkWorker
from support.at_hand.connect_rest import Worker, running
from support.broker_fixtures import REAL_BROKERS
from support.runtime import OBJECT, SCHEMA, Sink, Sync
from support.runtime import running as worker_running
from support.waiting import until

CONNECTOR = "mongodb-sink"
SEEN, TOLD = "Seen__e", "Told__e"
pytestmark = pytest.mark.parametrize("broker", REAL_BROKERS, indirect=True, scope="session")


def _opened(sync: Sync) -> KafkaStatusLog:
    """As a process does: it tries again, for the partition of a topic that was just made may have no leader yet."""
    logs: list[KafkaStatusLog] = []

    def is_there() -> bool:
        with suppress(Unavailable):
            logs.append(KafkaStatusLog(sync.kafka, sync.topics.status, "test"))
        return bool(logs)

    until(is_there, "the topic can be read")
    return logs[0]


@pytest.fixture
def pair(sync: Sync) -> Iterator[tuple[Worker, Worker]]:
    """Two processes that follow the topic of one sync."""
    opened = partial(_opened, sync)
    workers = Worker(CONNECTOR, 0), Worker(CONNECTOR, 1)
    for each in workers:
        each.open_log = opened
        each.health.running()
    with running(*workers):
        yield workers


def test_what_one_process_is_asked_all_obey_and_a_stock_consumer_can_read_it(
    sync: Sync, pair: tuple[Worker, Worker]
) -> None:
    """Keys and states are Kafka Connect's, values are JSON."""
    one, other = pair
    one.standing.ask_for(Target.STOPPED)
    assert one.standing.target is Target.STOPPED
    other.wanted_is(Target.STOPPED)
    one.standing.ask_for_restart(1)
    until(lambda: other.standing.restart_asked)
    assert not one.standing.restart_asked
    until(lambda: len(one.standing.processes()) == 2)
    found = {message.key(): message.value() for message in sync.records(sync.topics.status)}
    assert json.loads(found[b"target-state-mongodb-sink"] or b"")["state"] == "STOPPED"
    assert json.loads(found[b"status-task-mongodb-sink-1"] or b"")["state"] == "RUNNING"


def sink_places(sync: Sync, *stopped: int) -> SinkPlaces:
    """Those of a sink that also inserts the event Seen__e and publishes Told__e, both read in topics that are there already."""
    entries = OffsetStore(sync.kafka, sync.topics, sync.registry)
    name = f"{sync.name}-{CONNECTOR}"
    topics = {"": sync.topics.writes("mongodb", OBJECT), SEEN: sync.topics.records(OBJECT)}
    topics[TOLD] = sync.topics.changes(OBJECT)
    groups = [
        Group(
            sync.kafka,
            CONNECTOR,
            f"{name}-{event}" if event else name,
            [topic],
            lambda: stopped,
            event,
            event == TOLD,
        )
        for event, topic in topics.items()
    ]
    return SinkPlaces(entries, CONNECTOR, groups)


def test_a_sink_that_was_sent_back_writes_again_and_does_not_trust_its_clean_stop(sync: Sync) -> None:
    """Only back: what lies ahead would never be written. And not while it runs."""
    sync.write("a", 1, Name="x")
    sink = Sink()
    places = sink_places(sync)
    with worker_running(SinkWorker(sync.instance(CONNECTOR), sink, {OBJECT: SCHEMA}, [OBJECT])):
        until(lambda: sink.written)
        until(lambda: any((each.offset or {}).get("kafka_offset") for each in places.read()))
        with pytest.raises(Refused, match="still works"):
            places.reset()
    assert sync.entries(CONNECTOR)["clean/0"]["clean"]
    [place] = [each for each in places.read() if (each.offset or {}).get("kafka_offset")]
    with pytest.raises(Refused, match="still works"):
        places.reset()  # Kafka has not missed it yet, and it has not reported that it is stopped
    ahead = Offset(partition=place.partition, offset={"kafka_offset": 99})
    elsewhere = Offset(partition={**place.partition, "kafka_partition": 77}, offset=None)

    places = sink_places(sync, 0)
    for wrong in ([ahead], [elsewhere], [place, place], [Offset(partition={}, offset=None)]):
        with pytest.raises(Refused) as caught:
            places.alter(wrong)
        assert caught.value.status == 400
    assert place in places.read(), "nothing was done in part"
    places.alter([Offset(partition=place.partition, offset=None)])
    assert not sync.entries(CONNECTOR)["clean/0"]["clean"]
    again = Sink()
    with worker_running(SinkWorker(sync.instance(CONNECTOR), again, {OBJECT: SCHEMA}, [OBJECT])):
        until(lambda: again.seqs("a") == [1])


def test_events_can_be_carried_again_and_what_is_published_only_by_name(sync: Sync) -> None:
    """A reset of all leaves published events out: whoever listens would get a week of them once more."""
    store = OffsetStore(sync.kafka, sync.topics, sync.registry)
    sync.produce(store.topic, *store.record(CONNECTOR, "clean/0", {"clean": True}))
    for event, topic in ((SEEN, sync.topics.records(OBJECT)), (TOLD, sync.topics.changes(OBJECT))):
        group = f"{sync.name}-{CONNECTOR}-{event}"
        with closing(clients.consumer(sync.kafka, group_id=group, client_id="test")) as consumer:
            consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    places = sink_places(sync, 0)

    def offsets() -> dict[str, int]:
        return {
            str(each.partition["event"]): int((each.offset or {})["kafka_offset"])
            for each in places.read()
            if "event" in each.partition
        }

    assert offsets() == {SEEN: 1, TOLD: 1}
    by_event = {each.partition.get("event"): each for each in places.read()}
    wrong = Offset(partition={**by_event[SEEN].partition, "event": "Other__e"}, offset=None)
    ahead = Offset(partition=by_event[SEEN].partition, offset={"kafka_offset": 5})
    for refused in ([wrong], [by_event[TOLD], ahead]):
        with pytest.raises(Refused) as caught:
            places.alter(refused)
        assert caught.value.status == 400
    assert offsets() == {SEEN: 1, TOLD: 1}, "nothing was done in part"
    assert f"Not those of {TOLD}" in places.reset()
    assert offsets() == {SEEN: 0, TOLD: 1}
    assert sync.entries(CONNECTOR)["clean/0"] == {"clean": False}
    told = places.alter([Offset(partition=by_event[TOLD].partition, offset={"kafka_offset": 0})])
    assert f"Who listens to {TOLD}" in told
    assert offsets() == {SEEN: 0, TOLD: 0}


def source_places(sync: Sync, registry: Registry) -> SourcePlaces:
    entries = OffsetStore(sync.kafka, sync.topics, registry)
    return SourcePlaces(sync.kafka, entries, "mongodb-source", f"{sync.name}-mongodb-source")


def test_a_source_can_only_be_reset_and_keeps_what_says_that_it_has_read(sync: Sync) -> None:
    """So the lost position counts as a hole, and no deletion is missed."""
    store = OffsetStore(sync.kafka, sync.topics, sync.registry)
    for part in ("stream", f"{FIRST_READ}{OBJECT}"):
        sync.produce(store.topic, *store.record("mongodb-source", part, {"at": 5}))
    places = source_places(sync, sync.registry)
    stored = places.read()
    assert [each.partition for each in stored] == [{"part": f"{FIRST_READ}{OBJECT}"}, {"part": "stream"}]
    places.alter(stored)  # as it is: nothing to do
    for part, offset in (("stream", {"at": 9}), (f"{FIRST_READ}{OBJECT}", None), ("other", None)):
        with pytest.raises(Refused):
            places.alter([Offset(partition={"part": part}, offset=offset)])
    assert places.read() == stored
    places.reset()
    assert sync.entries("mongodb-source") == {f"{FIRST_READ}{OBJECT}": {"at": 5}}


def stock_rows(sync: Sync, topic: str) -> dict[str, bytes]:
    """What the documented consumer finds: the newest value of each key, of committed records, from the beginning."""
    consumer = Consumer(
        {
            **sync.kafka,
            "group.id": "somebody",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    found: dict[str, bytes] = {}
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        while (message := consumer.poll(10)) is not None and message.error() is None:
            found[(message.key() or b"").decode()] = message.value() or b""
        return found
    finally:
        consumer.close()


def test_a_stock_consumer_reads_where_every_connector_is(sync: Sync) -> None:
    """As deploy/README says: Avro with Confluent's header, by the schema that the registry has; nothing that was rolled back."""
    store = OffsetStore(sync.kafka, sync.topics, sync.registry)
    at = {"at": 7, "resume_token": "82F"}
    sync.produce(store.topic, *store.record("mongodb-source", "stream", at))
    producer = clients.producer(sync.kafka, transactional_id=f"{sync.name}-zombie", client_id="zombie")
    producer.start()
    with suppress(ZeroDivisionError), producer.transaction() as transaction:
        transaction.produce(store.topic, *store.record("mongodb-source", "stream", {"at": 8}))
        raise ZeroDivisionError  # its transaction is rolled back, as that of an instance that was killed
    producer.close()
    value = stock_rows(sync, store.topic)["mongodb-source/stream"]
    assert value[:1] == b"\0"
    schema = sync.registry.schema_by_id(int.from_bytes(value[1:5], "big"))
    read = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema)
    assert isinstance(read, dict)
    assert json.loads(str(read["position"])) == at
