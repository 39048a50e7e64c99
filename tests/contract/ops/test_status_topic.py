"""The status topic and the offsets resource on real brokers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from salmon.errors import Unavailable
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.offsets import OffsetStore
from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import Offset
from salmon.ops.connect.places import SinkPlaces, SourcePlaces
from salmon.ops.connect.standing import KafkaStatusLog
from salmon.ops.connect.status_topic import Target
from salmon.plugin.contract import FIRST_READ
from salmon.sink.worker import SinkWorker
from support.broker_fixtures import REAL_BROKERS
from support.connect_rest import Worker, running
from support.runtime import OBJECT, SCHEMA, Sink, Sync, eventually
from support.runtime import running as worker_running
from support.waiting import until

CONNECTOR = "mongodb-sink"
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
    eventually(lambda: other.standing.restart_asked)
    assert not one.standing.restart_asked
    eventually(lambda: len(one.standing.processes()) == 2)
    found = {message.key(): message.value() for message in sync.records(sync.topics.status)}
    assert json.loads(found[b"target-state-mongodb-sink"] or b"")["state"] == "STOPPED"
    assert json.loads(found[b"status-task-mongodb-sink-1"] or b"")["state"] == "RUNNING"


def sink_places(sync: Sync, *stopped: int) -> SinkPlaces:
    entries = OffsetStore(sync.kafka, sync.topics, sync.registry)
    topics = [sync.topics.writes("mongodb", OBJECT)]
    return SinkPlaces(
        sync.kafka, entries, CONNECTOR, f"{sync.name}-{CONNECTOR}", topics, stopped=lambda: stopped
    )


def test_a_sink_that_was_sent_back_writes_again_and_does_not_trust_its_clean_stop(sync: Sync) -> None:
    """Only back: what lies ahead would never be written. And not while it runs."""
    sync.write("a", 1, Name="x")
    sink = Sink()
    places = sink_places(sync)
    with worker_running(SinkWorker(sync.instance(CONNECTOR), sink, {OBJECT: SCHEMA}, [OBJECT])):
        eventually(lambda: sink.written)
        eventually(lambda: any((each.offset or {}).get("kafka_offset") for each in places.read()))
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
        eventually(lambda: again.seqs("a") == [1])


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
