"""The source worker on a broker in memory: what is written together, what is tried again, what ends it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from salmon.errors import ClientLost, DataError, SchemaOutdated, SetupError, TooManyErrors, Unavailable
from salmon.kafka import cluster
from salmon.kafka.codecs.outbox import Documents
from salmon.kafka.codecs.registry import SchemaRefused, subject
from salmon.model.change import Change, Op
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.plugin.contract import (
    DeadLetter,
    EventRecord,
    IdentityRecord,
    Signal,
    SignalKind,
    SnapshotProgress,
    SourceBatch,
    SourceRecord,
    WaitingObject,
)
from salmon.runtime.error_limit import Tolerance
from salmon.source.worker import SourceWorker
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync, PromptSource, reading
from support.impatient_members import look_every
from support.runtime import OBJECT, SCHEMA, error_of, running
from support.waiting import until

CONNECTOR = "mongodb-source"


@pytest.fixture
def sync() -> MemorySync:
    return MemorySync(partitions=1)


def edit(key: str, name: str) -> SourceRecord:
    return SourceRecord(OBJECT, key, Change("mongodb", Op.UPDATE, fields={"Name": name}))


def batch(number: int, **more: Any) -> SourceBatch:
    return SourceBatch((edit(f"k{number}", f"n{number}"),), {"stream": {"at": number}}, **more)


def names(sync: MemorySync) -> list[object]:
    """The names that were written, in their order."""
    codec = sync.changes_codec
    topic = sync.topics.changes(OBJECT)
    return [codec.decode(value or b"").fields.get("Name") for value in sync.values(topic)]


def test_a_batch_its_identities_and_its_position_are_one_transaction(sync: MemorySync) -> None:
    """None of them is ever in Kafka without the others."""
    source = PromptSource()
    changes, identity = sync.topics.changes(OBJECT), sync.topics.identity(OBJECT)
    source.offers.put(batch(1, identities=(IdentityRecord(OBJECT, "a00000000000001AAA", "k1"),)))
    with running(SourceWorker(sync.instance(CONNECTOR), source, (OBJECT,))) as (run,):
        until(lambda: names(sync))
        run.stop()
    written = sync.broker.transactions(changes, identity, sync.topics.offsets)
    assert [sorted(each) for each in written] == [sorted([changes, identity, sync.topics.offsets])]


def test_a_standby_that_nobody_leads_joins_again_and_takes_the_lead(
    sync: MemorySync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group has given the lead to nobody, and a member that it knows would wait for ever."""
    look_every(0.01, monkeypatch)
    monkeypatch.setattr("salmon.source.standby.STANDBY_AFTER_S", 0.01)
    monkeypatch.setattr("salmon.source.standby.STANDBY_LOOK_S", 0.01)
    source, instance = PromptSource(), sync.instance(CONNECTOR)
    sync.broker.withhold(instance.group)
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: source.started_with, "it leads")
        assert reading(instance.metrics.rejoins) >= 1
        source.offers.put(batch(1))
        until(lambda: names(sync) == ["n1"])
        assert instance.health.report().ready
        run.stop()


def test_a_standby_of_a_leader_that_works_does_not_join_again(
    sync: MemorySync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take a rebalance each time."""
    look_every(0.005, monkeypatch)
    monkeypatch.setattr("salmon.source.standby.STANDBY_AFTER_S", 0.01)
    leader, standby = PromptSource(), PromptSource()
    second = sync.instance(CONNECTOR, 1)
    looks, shares = list[cluster.Shares](), cluster.shares

    def counted(*said: Any) -> cluster.Shares:
        looks.append(shares(*said))
        return looks[-1]

    monkeypatch.setattr(cluster, "shares", counted)
    with running(SourceWorker(sync.instance(CONNECTOR), leader, (OBJECT,))) as (first_run,):
        until(lambda: leader.started_with)
        with running(SourceWorker(second, standby, (OBJECT,))) as (run,):
            until(lambda: len(looks) > 10, "the group was looked at")
            assert reading(second.metrics.rejoins) == 0
            assert second.health.report().waiting_for == ()
            run.stop()
        first_run.stop()


class Outbox:
    """A source of events that gives what the test offers."""

    event, tells = "Sent__e", True

    def __init__(self, *offers: SourceBatch) -> None:
        self.offers, self.began_at, self.ended = list(offers), None, False

    def start(self, positions: Mapping[str, Any]) -> None:
        self.began_at = positions.get("outbox/Sent__e")

    def take(self) -> SourceBatch | None:
        return self.offers.pop(0) if self.offers else None

    def waiting(self) -> Sequence[WaitingObject]:
        return [WaitingObject(self.event, 11.0, "It waits.")]

    def note(self) -> str:
        return "It was lost."

    def progress(self) -> Sequence[SnapshotProgress]:
        return ()

    def stop(self) -> None:
        self.ended = True

    def close(self) -> None:
        pass


def test_events_from_beside_are_committed_with_their_position_also_while_the_task_fails(
    sync: MemorySync,
) -> None:
    """An outbox is not held up by the objects, and goes on where it was; its trouble is shown."""
    topic = sync.topics.outbox("Sent__e")
    sync.broker.create(topic)
    source = PromptSource()
    for _ in range(3):
        source.offers.put(Unavailable("the side is away"))
    event = EventRecord("Sent__e", "$int:1", {"A__c": 1}, b"", published_at=7)
    beside = Outbox(SourceBatch(events=(event,), positions={"outbox/Sent__e": {"at": 1}}))
    instance = sync.instance(CONNECTOR)
    with running(SourceWorker(instance, source, (OBJECT,), [beside])) as (run,):
        until(lambda: sync.values(topic))
        until(lambda: "It waits." in str(instance.health.report()))
        run.stop()
    assert beside.ended
    (value,) = sync.values(topic)
    assert Documents(sync.registry, topic).decode(value or b"") == ({"A__c": 1}, 7)
    assert sync.broker.transactions(topic, sync.topics.offsets) == [[topic, sync.topics.offsets]]
    again = Outbox()
    with running(SourceWorker(sync.instance(CONNECTOR), PromptSource(), (OBJECT,), [again])) as (run,):
        until(lambda: again.began_at)
        run.stop()
    assert again.began_at == {"at": 1}


def test_a_record_that_kafka_refuses_is_set_aside_in_the_transaction_of_the_others(sync: MemorySync) -> None:
    """One of three is refused for what it says (case L9): what fits of it goes on with the others and the position."""
    changes, offsets, dlq = sync.topics.changes(OBJECT), sync.topics.offsets, sync.topics.dlq(CONNECTOR)
    sync.broker.refuses = lambda topic, _, value: topic == changes and b"n2" in (value or b"")
    source = PromptSource()
    source.offers.put(SourceBatch(tuple(edit(f"k{n}", f"n{n}") for n in (1, 2, 3)), {"stream": {"at": 3}}))
    with running(SourceWorker(sync.instance(CONNECTOR), source, (OBJECT,))) as (run,):
        until(lambda: names(sync))
        run.stop()
    assert names(sync) == ["n1", None, "n3"]
    assert sync.broker.transactions(changes, offsets, dlq) == [[changes] * 3 + [offsets, dlq]]


def unreadable(number: int) -> DeadLetter:
    return DeadLetter(OBJECT, f"k{number}", b"{}", DataError("no"))


def test_when_nothing_can_be_read_nothing_more_is_set_aside_and_the_process_restarts(
    sync: MemorySync,
) -> None:
    """Neither the dead letters nor the position of that batch are written, and a restart does not begin to count at 0."""
    instance = replace(sync.instance(CONNECTOR), tolerance=Tolerance(consecutive=3))
    source = PromptSource()
    source.offers.put(SourceBatch((), {"stream": {"at": 1}}, dead_letters=[unreadable(n) for n in range(3)]))
    source.offers.put(SourceBatch((), {"stream": {"at": 2}}, dead_letters=[unreadable(4)]))
    for _ in range(2):
        with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
            assert isinstance(error_of(run), TooManyErrors)
        assert len(sync.dead_letters(CONNECTOR)) == 3
        assert sync.entries(CONNECTOR)["stream"] == {"at": 1}
        source = PromptSource()
        source.offers.put(SourceBatch((), {"stream": {"at": 2}}, dead_letters=[unreadable(5)]))
    source = PromptSource()
    source.offers.put(batch(2))
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: names(sync))
        run.stop()
    assert source.started_with is not None
    assert source.started_with[0] == {"stream": {"at": 1}}, "what was counted is no position of the task"


def test_a_record_that_is_written_in_part_is_no_failure(sync: MemorySync) -> None:
    """However many of its values are set aside: the others are synced."""
    instance = replace(sync.instance(CONNECTOR), tolerance=Tolerance(tolerates=False))
    source = PromptSource()
    source.offers.put(batch(1, dead_letters=[unreadable(1), unreadable(1)]))
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: names(sync))
        run.stop()
    assert len(sync.dead_letters(CONNECTOR)) == 2


def test_a_commit_that_did_not_happen_is_done_again_and_nothing_is_doubled(sync: MemorySync) -> None:
    """The broker aborted it: the same batch is written once more, before the task is asked again."""
    sync.broker.fail("commit_transaction", error(KafkaError.COORDINATOR_NOT_AVAILABLE, abort=True))
    instance, source = sync.instance(CONNECTOR), PromptSource()
    source.offers.put(batch(1))
    source.offers.put(batch(2))
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: len(names(sync)) == 2)
        run.stop()
    assert names(sync) == ["n1", "n2"]
    assert reading(instance.metrics.retries) == 1


def test_a_side_that_is_away_is_an_outage_until_it_answers(sync: MemorySync) -> None:
    """The metric says so meanwhile, and what the side has afterwards is written."""
    instance, source = sync.instance(CONNECTOR), PromptSource()
    source.offers.put(Unavailable("the side is away"))
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: reading(instance.metrics.retries))
        source.offers.put(batch(1))
        until(lambda: names(sync))
        assert reading(instance.metrics.outage) == 0
        run.stop()


def test_a_signal_is_forgotten_in_the_transaction_that_answers_it(sync: MemorySync) -> None:
    """Not as it is taken: whoever starts after a crash is asked again."""
    instance, source = sync.instance(CONNECTOR), PromptSource()
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        sync.signal(CONNECTOR, Signal(0, SignalKind.SNAPSHOT, OBJECT, reason="by a test"))
        until(lambda: source.asked)
        (asked,) = source.asked
        source.offers.put(batch(1))
        until(lambda: len(names(sync)) == 1)
        place = (sync.topics.signals(CONNECTOR), 0)
        assert sync.broker.committed(instance.group).get(place, 0) <= asked.id
        source.offers.put(batch(2, answered=(asked.id,)))
        until(lambda: len(names(sync)) == 2)
        assert sync.broker.committed(instance.group)[place] == asked.id + 1
        run.stop()


def test_a_leader_that_kafka_took_for_dead_writes_nothing_more(sync: MemorySync) -> None:
    """It ends with what makes the process begin again (cases S1, S2)."""
    instance, source = sync.instance(CONNECTOR), PromptSource()
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: source.started_with)
        sync.broker.drop_out(instance.group, instance.id)
        assert isinstance(error_of(run), ClientLost)
    source.offers.put(batch(1))
    assert names(sync) == []
    assert reading(instance.metrics.leads) == 0


def test_a_stop_commits_what_the_task_has_given_and_asks_for_no_more(sync: MemorySync) -> None:
    """What stays with the task is given again after the next start: its position says so."""
    source = PromptSource()
    worker = SourceWorker(sync.instance(CONNECTOR), source, (OBJECT,))
    give = source.poll

    def stopped_as_it_gives(timeout_s: float) -> SourceBatch:
        worker.stop()
        return give(timeout_s)

    source.poll = stopped_as_it_gives  # type: ignore[method-assign]
    source.offers.put(batch(1))
    source.offers.put(batch(2))
    with running(worker) as (run,):
        run.join()
    assert names(sync) == ["n1"]
    assert sync.entries(CONNECTOR) == {"stream": {"at": 1}}


class KeepingSource(PromptSource):
    """Describes an object whose schema the registry does not accept."""

    def __init__(self) -> None:
        super().__init__()
        self.registered: Mapping[str, ObjectSchema] = {}
        self.kept: list[WaitingObject] = []

    def schemas(self) -> Mapping[str, ObjectSchema]:
        return {OBJECT: replace(SCHEMA, fields=(FieldSchema("Odd", "string", Kind.STRING),))}

    def use_registered(self, schemas: Mapping[str, ObjectSchema]) -> None:
        self.registered = schemas

    def keep_registered(self, name: str, why: SetupError) -> ObjectSchema:
        if name not in self.registered:
            raise why
        self.kept.append(WaitingObject(name, 0.0, str(why)))
        return self.registered[name]

    def waiting(self) -> Sequence[WaitingObject]:
        return self.kept


def refuse_odd(sync: MemorySync) -> None:
    """Let the registry accept no schema with the field Odd."""
    accept = sync.registry.register

    def register(subject: str, schema: Mapping[str, Any]) -> int:
        if '"Odd"' in json.dumps(schema):
            raise SchemaRefused("the registry does not accept Odd")
        return accept(subject, schema)

    sync.registry.register = register  # type: ignore[method-assign]


def test_an_object_whose_new_schema_is_refused_waits_with_the_one_it_had(sync: MemorySync) -> None:
    """It worked before: the process goes on for the others, and /health names the object and the reason (case V10)."""
    with running(SourceWorker(sync.instance(CONNECTOR), first := PromptSource(), (OBJECT,))) as (run,):
        first.offers.put(batch(1))
        until(lambda: names(sync))
        run.stop()
    refuse_odd(sync)
    instance, source = sync.instance(CONNECTOR), KeepingSource()
    source.offers.put(batch(2))
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: instance.health.report().degraded)
        (waits,) = instance.health.report().waiting_for
        assert (waits.what, waits.sentence) == (OBJECT, "the registry does not accept Odd")
        run.stop()
    assert source.registered == {OBJECT: SCHEMA}
    assert names(sync) == ["n1", "n2"], "written with the schema that is registered"


def test_a_refused_schema_that_somebody_else_registers_is_taken(sync: MemorySync) -> None:
    """By `salmon schemas register`, where the process's account may only read: the process restarts, and uses it."""
    with running(SourceWorker(sync.instance(CONNECTOR), first := PromptSource(), (OBJECT,))) as (run,):
        first.offers.put(batch(1))
        until(lambda: names(sync))
        run.stop()
    accept = sync.registry.register
    refuse_odd(sync)
    instance, source = sync.instance(CONNECTOR), KeepingSource()
    with running(SourceWorker(instance, source, (OBJECT,))) as (run,):
        until(lambda: instance.health.report().degraded)
        newer = replace(source.schemas()[OBJECT], generation=2**33)
        accept(subject(sync.topics.records(OBJECT)), newer.to_avro())
        assert isinstance(error_of(run), SchemaOutdated)


def test_an_object_that_never_worked_ends_the_process(sync: MemorySync) -> None:
    """At a first start nothing proves that it ever was as it must be: a person is there to correct it (case V10)."""
    refuse_odd(sync)
    source = KeepingSource()
    with running(SourceWorker(sync.instance(CONNECTOR), source, (OBJECT,))) as (run,):
        assert isinstance(error_of(run), SetupError)
    assert source.registered == {}
