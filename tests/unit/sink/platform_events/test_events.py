"""Events on their way to a side, on a broker in memory: in order, outages waited out, poison set aside, nothing lost by a kill."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError

from salmon.backoff import Backoff
from salmon.errors import SchemaOutdated, SetupError, Unavailable
from salmon.kafka.codecs.events import Events
from salmon.kafka.codecs.outbox import Documents, Outcomes, Published, document_event_id
from salmon.model.event_schema import event_schema
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.sink.platform_events.event_records import (
    document_decoder,
    event_decoder,
    outcome_decoder,
    outcome_teller,
)
from salmon.sink.platform_events.events import UNTOLD, Carrier, EventSink
from support.at_hand.memory_broker import error
from support.at_hand.memory_sync import MemorySync, reading
from support.impatient_members import look_every
from support.runtime import Sink, applied, error_of, headers_of, running
from support.waiting import until

CONNECTOR = "mongodb-sink"
EVENT = "Order_Shipped__e"
SCHEMA = event_schema(
    EVENT,
    {
        "fields": [
            {"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
            {"name": "Number__c", "type": ["null", "string"], "doc": "Data:Text:00N"},
        ]
    },
)
QUICK = Backoff(first_s=0.01, max_s=0.02)


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salmon.sink.platform_events.events.POLL_S", 0.01)


@pytest.fixture
def sync() -> MemorySync:
    sync = MemorySync()
    sync.broker.create(sync.topics.events(EVENT))
    return sync


def codec(sync: MemorySync) -> Events:
    return Events(SCHEMA, sync.registry, sync.topics.events(EVENT))


def event_sink(
    sync: MemorySync, sink: Sink, *, prepare: Callable[[], object] = lambda: True, ordinal: int = 0
) -> EventSink:
    def carrier() -> Carrier | None:
        if not prepare():
            return None
        return Carrier(sink, event_decoder(EVENT, codec(sync)), "inserted")

    topic = sync.topics.events(EVENT)
    return EventSink(sync.instance(CONNECTOR, ordinal), EVENT, topic, carrier, backoff=QUICK)


def publish(sync: MemorySync, *uuids: str) -> None:
    for uuid in uuids:
        value = codec(sync).encode({"EventUuid": uuid, "CreatedDate": 5, "Number__c": uuid})
        sync.produce(sync.topics.events(EVENT), uuid, value)


def committed(sync: MemorySync) -> int:
    return sum(sync.broker.committed(f"{sync.name}-{CONNECTOR}-{EVENT}").values())


def keys(sink: Sink) -> list[str]:
    return [record.key for record in sink.written]


def test_what_becomes_of_each_record_is_told_in_the_transaction_of_the_offsets(sync: MemorySync) -> None:
    """One is published, one refused, one cannot be read: an outcome for each, and none after a kill before it is committed."""
    documents = Documents(sync.registry, sync.topics.outbox(EVENT))
    outcomes = Outcomes(sync.registry, sync.topics.outcomes(EVENT))
    for topic in (documents.topic, outcomes.topic):
        sync.broker.create(topic)
    sync.produce(documents.topic, "good", documents.encode({"Number__c": "1"}, 5))
    sync.produce(documents.topic, "bad", documents.encode({"Number__c": "2"}, 0))
    sync.produce(documents.topic, "odd", b"{}")

    def judged(record: SinkRecord) -> Outcome:
        return (
            Outcome(OutcomeKind.REFUSED, reason="no")
            if record.write.fields["Number__c"] == "2"
            else applied(record)
        )

    sink = Sink(judged)
    decode, tell = document_decoder(EVENT, documents), outcome_teller(documents.topic, outcomes)
    instance = sync.instance("salesforce-sink")
    carrier = Carrier(sink, decode, "published", tell)
    with running(EventSink(instance, EVENT, documents.topic, lambda: carrier, backoff=QUICK)) as (run,):
        until(lambda: len(sync.values(outcomes.topic)) == 3)
        run.stop()
    told = {
        (each.key() or b"").decode(): outcomes.decode(each.value() or b"")
        for each in sync.records(outcomes.topic)
    }
    assert told["good"].error == ""
    assert told["good"].event_uuid == document_event_id(documents.topic, "good") == keys(sink)[0]
    assert told["bad"].error == f"{EVENT} {told['bad'].event_uuid} was refused: no"
    assert told["odd"].error
    dlq = sync.topics.dlq("salesforce-sink")
    (written,) = sync.broker.transactions(outcomes.topic, dlq)
    assert sorted(written) == sorted([outcomes.topic] * 3 + [dlq] * 2)
    owed = {each.key(): each.value() for each in sync.records(documents.topic)}
    assert set(owed.values()) == {None}, "nothing is owed any more, however long the sink was away"
    (decoded,) = [
        outcome_decoder(EVENT, outcomes)(each)
        for each in sync.records(outcomes.topic)
        if each.key() == b"bad"
    ]
    assert decoded is not None
    assert decoded.key == "bad"
    assert decoded.write.fields["error"] == told["bad"].error


def test_events_are_put_in_their_order_and_committed_after_they_are_confirmed(sync: MemorySync) -> None:
    """From the first one that the topic has; a second start puts only what came since."""
    publish(sync, "a", "b")
    first, second = Sink(), Sink()
    with running(event_sink(sync, first)) as (run,):
        until(lambda: committed(sync) >= 2)
        run.stop()
    publish(sync, "c")
    with running(event_sink(sync, second)) as (run,):
        until(lambda: keys(second))
        run.stop()
    assert keys(first) == ["a", "b"]
    assert keys(second) == ["c"]
    assert first.written[0].write.fields == {"EventUuid": "a", "CreatedDate": 5, "Number__c": "a"}
    assert first.written[0].write.committed_at == 5


def test_where_nobody_has_the_partitions_of_its_events_it_joins_again(
    sync: MemorySync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group has given them to nobody, and a member that it knows would wait for ever. /health says so after ten seconds."""
    look_every(0.01, monkeypatch)
    monkeypatch.setattr("salmon.sink.platform_events.events._SHOWN_AFTER_S", 0.0)
    sync.broker.withhold(f"{sync.name}-{CONNECTOR}-{EVENT}")
    publish(sync, "a")
    sink = Sink()
    it = event_sink(sync, sink)
    health = it._instance.health
    health.running()
    with running(it) as (run,):
        until(lambda: "given its partitions to nobody" in health.report().message)
        until(lambda: committed(sync) >= 1)
        assert keys(sink) == ["a"]
        assert reading(it._instance.metrics.rejoins) >= 1
        until(lambda: health.report().waiting_for == ())
        run.stop()


def test_what_was_put_and_not_committed_is_put_again_after_a_kill(sync: MemorySync) -> None:
    """The commit fails for good: the next instance has them again, and none is passed over."""
    publish(sync, "a")
    first, second = Sink(), Sink()
    fenced = error(KafkaError._FENCED, fatal=True)
    sync.broker.fail("commit_transaction", *[fenced] * 100, of=f"{sync.name}-{CONNECTOR}-{EVENT}-0")
    with running(event_sink(sync, first)):
        until(lambda: keys(first))
    sync.broker._errors.clear()
    with running(event_sink(sync, second)) as (run,):
        until(lambda: committed(sync) >= 1)
        run.stop()
    assert keys(second) == ["a"]


def test_an_outage_of_the_side_sets_nothing_aside_and_is_shown(sync: MemorySync) -> None:
    """It is tried again for as long as it takes, whether the side is away or refuses us as a whole."""
    publish(sync, "a")
    sink = Sink()
    sink.outage = Unavailable("MongoDB is away.")
    it = event_sink(sync, sink)
    it._clock = iter(range(0, 10_000_000, 5)).__next__  # each look is five seconds later
    with running(it) as (run,):
        until(lambda: sink.tries > 2)
        sink.outage = SetupError("the user lacks a permission. Grant it.")
        until(lambda: it._trouble is not None and "Grant it" in it._trouble[1])
        health = it._instance.health
        health.running()
        until(lambda: [each.what for each in health.report().waiting_for] == [EVENT])
        assert committed(sync) == 0
        sink.outage = None
        until(lambda: committed(sync) >= 1)
        until(lambda: health.report().waiting_for == ())
        run.stop()
    assert keys(sink) == ["a"]
    assert sync.values(sync.topics.dlq(CONNECTOR)) == []


def test_a_poison_record_is_set_aside_with_its_offset_and_the_others_go_on(sync: MemorySync) -> None:
    """Bytes that are no event, an event without a key, and one that the side refuses."""

    def answer(record: SinkRecord) -> Outcome:
        if record.key == "bad":
            return Outcome(OutcomeKind.REFUSED, code="TooLarge", reason="it is too large")
        return applied(record)

    topic = sync.topics.events(EVENT)
    publish(sync, "a", "bad")
    sync.produce(topic, "odd", b"{}")
    sync.produce(topic, b"", codec(sync).encode({}))
    publish(sync, "b")
    sink = Sink(answer)
    with running(event_sink(sync, sink)) as (run,):
        until(lambda: len(sync.dead_letters(CONNECTOR)) == 3)
        until(lambda: keys(sink)[-1] == "b")
        run.stop()
    letters = {(m.key() or b"").decode(): headers_of(m) for m in sync.dead_letters(CONNECTOR)}
    assert letters.keys() == {"bad", "odd", ""}
    assert "it is too large" in letters["bad"]["__connect.errors.exception.message"]
    assert letters["odd"]["__connect.errors.topic"] == topic


def test_a_record_that_waits_does_not_commit_what_follows(sync: MemorySync) -> None:
    """RETRY_LATER: the rest of the batch is done, and only this one is put again."""
    answers = [Outcome(OutcomeKind.RETRY_LATER, reason="not now")] * 3

    def answer(record: SinkRecord) -> Outcome:
        return answers.pop() if record.key == "b" and answers else applied(record)

    publish(sync, "a", "b", "c")
    sink = Sink(answer)
    with running(event_sink(sync, sink)) as (run,):
        until(lambda: committed(sync) >= 3)
        run.stop()
    assert keys(sink).count("b") == 4
    assert keys(sink).count("a") == keys(sink).count("c") == 1


def test_another_replica_goes_on_where_the_first_has_stopped(sync: MemorySync) -> None:
    """It stands by until then; what was committed is not put again."""
    publish(sync, "a")
    first, second = Sink(), Sink()
    with running(event_sink(sync, first)) as (run,):
        until(lambda: committed(sync) >= 1)
        with running(event_sink(sync, second, ordinal=1)) as (other,):
            publish(sync, "b")
            until(lambda: keys(first) == ["a", "b"] and committed(sync) >= 3)
            run.stop()
            publish(sync, "c")
            until(lambda: keys(second) == ["c"])
            other.stop()


def test_records_that_expired_before_they_were_read_are_reported(
    sync: MemorySync, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes on with the oldest that is left, never with the latest."""
    publish(sync, "a")
    with running(event_sink(sync, Sink())) as (run,):
        until(lambda: committed(sync) >= 1)
        run.stop()
    publish(sync, "b", "c")
    sync.broker.topics[sync.topics.events(EVENT)][0].low = 4  # "b" has expired
    sink = Sink()
    with running(event_sink(sync, sink)) as (run,):
        until(lambda: keys(sink) == ["c"])
        run.stop()
    assert "events_expired" in capsys.readouterr().out


def test_it_waits_for_the_schema_and_goes_on_when_it_is_there(sync: MemorySync) -> None:
    """The source may start later, or may not be allowed to read the event yet."""
    there: list[bool] = []
    sink = Sink()
    publish(sync, "a")
    it = event_sink(sync, sink, prepare=lambda: there)
    with running(it) as (run,):
        until(lambda: it._trouble is not None)
        there.append(True)
        until(lambda: keys(sink) == ["a"])
        run.stop()


def test_a_newer_schema_restarts_the_process(sync: MemorySync, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with the older one, the new field would be lost."""
    publish(sync, "a")

    def outdated(*_: object) -> None:
        raise SchemaOutdated("newer")

    monkeypatch.setattr(Events, "decode", outdated)
    with running(event_sink(sync, Sink())) as (run,):
        assert isinstance(error_of(run), SchemaOutdated)


def test_a_dead_letter_that_kafka_does_not_take_goes_without_its_original(sync: MemorySync) -> None:
    """The reason is kept, and the next event is not held up."""
    dlq = sync.topics.dlq(CONNECTOR)
    sync.broker.refuses = lambda topic, _key, value: topic == dlq and value is not None
    sync.produce(sync.topics.events(EVENT), "odd", b"{}")
    publish(sync, "a")
    sink = Sink()
    with running(event_sink(sync, sink)) as (run,):
        until(lambda: keys(sink) == ["a"] and committed(sync) >= 2)
        run.stop()
    assert sync.values(dlq) == [None]


def test_a_document_that_cannot_be_told_its_outcome_is_a_dead_letter_of_that(sync: MemorySync) -> None:
    """Its event was published: nobody refused that, and the letter says what could not be written, and where."""
    outcomes = Outcomes(sync.registry, sync.topics.outcomes(EVENT))
    sync.broker.create(outcomes.topic)
    sync.produce(outcomes.topic, "$int:7", outcomes.encode(Published("an-id", 5)))
    sink = Sink(lambda _: Outcome(OutcomeKind.REFUSED, reason="its _salmon is not a sub-document."))
    carrier = Carrier(sink, outcome_decoder(EVENT, outcomes), "told", refusal=UNTOLD)
    dlq = sync.topics.dlq(CONNECTOR)
    sink_of = EventSink(sync.instance(CONNECTOR), EVENT, outcomes.topic, lambda: carrier, backoff=QUICK)
    with running(sink_of) as (run,):
        until(lambda: sync.records(dlq))
        run.stop()
    (letter,) = sync.records(dlq)
    assert headers_of(letter)["__connect.errors.exception.message"] == (
        f"What became of {EVENT} $int:7 cannot be written into its document: its _salmon is not a sub-document."
    )


def test_the_key_of_an_event_is_one_of_a_record() -> None:
    """A publisher may give any id; one that begins with $ must not be taken for a tagged key."""
    sync = MemorySync()
    decode = event_decoder(EVENT, codec(sync))
    sync.broker.create(sync.topics.events(EVENT))
    publish(sync, "$oid:65f000000000000000000000")
    (message,) = sync.records(sync.topics.events(EVENT))
    assert decode(message).key == "$$oid:65f000000000000000000000"
