"""The sink worker on real brokers and on the fake one: newest only, in order, outages waited out, outcomes told once, waits kept."""

from __future__ import annotations

import pytest

from salmon.errors import Fenced, SetupError, Unavailable
from salmon.kafka.codecs.serdes import Signals
from salmon.model.change import Op
from salmon.plugin.contract import Outcome, OutcomeKind, SignalKind, SinkRecord
from salmon.sink.worker import SinkWorker
from support.broker_fixtures import ON_EVERY_BROKER
from support.runtime import OBJECT, SCHEMA, Answer, Sink, Sync, applied, error_of, headers_of, running
from support.waiting import until

CONNECTOR = "mongodb-sink"
pytestmark = ON_EVERY_BROKER


def worker(sync: Sync, sink: Sink, ordinal: int = 0) -> SinkWorker:
    return SinkWorker(sync.instance(CONNECTOR, ordinal), sink, {OBJECT: SCHEMA}, [OBJECT])


def once(outcome: Outcome) -> Answer:
    """Answer each key's first write with *outcome*, and apply what comes later."""
    seen: set[str] = set()

    def answer(record: SinkRecord) -> Outcome:
        if record.key in seen:
            return Outcome(OutcomeKind.APPLIED)
        seen.add(record.key)
        return outcome

    return answer


def committed(sync: Sync) -> int:
    """How many records the sink has committed."""
    offsets = sync.committed(f"{sync.name}-{CONNECTOR}", sync.topics.writes("mongodb", OBJECT))
    return sum(max(0, offset) for offset in offsets)


# What is put.


def test_a_first_start_puts_what_is_owed_and_nothing_older(sync: Sync) -> None:
    """Superseded commands and settled ones are never carried out."""
    for key, seq in (("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", None)):
        sync.write(key, seq, Name=str(seq))
    sink = Sink()
    with running(worker(sync, sink)) as (run,):
        until(sink.caught_up_seen.is_set)
        run.stop()
    assert sink.clean is False
    assert {(each.key, each.write.seq) for each in sink.written} == {("a", 3), ("c", 4)}


def test_it_goes_on_behind_what_was_confirmed(sync: Sync) -> None:
    """A second start puts only what came since, and knows that the first ended cleanly."""
    sync.write("a", 1)
    first = Sink()
    with running(worker(sync, first)) as (run,):
        until(lambda: first.written and first.caught_up_seen.is_set())
        run.stop()
    sync.write("b", 2)
    second = Sink()
    with running(worker(sync, second)) as (run,):
        until(lambda: second.written)
        run.stop()
    assert [each.key for each in second.written] == ["b"]
    assert second.clean is True


def test_only_the_newest_command_of_a_key_is_put_and_one_at_a_time(sync: Sync) -> None:
    """Commands that arrive while one of their key flies wait, and only the last of them is put."""
    sink = Sink(concurrency=2)
    sink.gate.clear()
    it = worker(sync, sink)
    with running(it) as (run,):
        sync.write("a", 1)
        until(lambda: sink.tries == 1)
        for seq in (2, 3, 4):
            sync.write("a", seq)
        sync.write("b", 5)
        until(lambda: sink.tries == 2, "the other key does not wait")
        until(lambda: it.buffer.count == 3)
        sink.gate.set()
        until(lambda: 4 in sink.seqs("a"))
        run.stop()
    assert sink.seqs("a") == [1, 4]
    assert sink.seqs("b") == [5]


def test_a_tombstone_takes_a_waiting_command_away(sync: Sync) -> None:
    """What is no longer owed is not written."""
    sink = Sink()
    sink.gate.clear()
    it = worker(sync, sink)
    with running(it) as (run,):
        sync.write("a", 1)
        until(lambda: sink.tries)
        sync.write("a", 2)
        until(lambda: it.buffer.count == 2)
        sync.write("a", None)
        until(lambda: it.buffer.count == 1)
        sink.gate.set()
        sync.write("b", 3)
        until(lambda: sink.seqs("b"))
        run.stop()
    assert sink.seqs("a") == [1]


def test_offsets_are_committed_up_to_the_first_unfinished_record(sync: Sync) -> None:
    """A write in flight holds back the commit of those behind it in its partition, and of no others."""
    sink = Sink(concurrency=2, batch_max=1)
    sink.gate.clear()
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 1)
        until(lambda: sink.tries)
        run.worker.stop()
        assert committed(sync) == 0
        sink.gate.set()
        run.stop()
    assert committed(sync) == 1


def test_a_full_buffer_stops_reading_and_everything_is_put_in_the_end(sync: Sync) -> None:
    """Backpressure: what does not fit stays in Kafka until there is room."""
    from salmon.sink.buffer import SinkBuffer

    sink = Sink(batch_max=5)
    sink.gate.clear()
    buffer = SinkBuffer(commands_max=10)
    it = SinkWorker(sync.instance(CONNECTOR), sink, {OBJECT: SCHEMA}, [OBJECT], buffer=buffer)
    for number in range(60):
        sync.write(f"k{number}", number)
    with running(it) as (run,):
        until(lambda: buffer.full)
        sink.gate.set()
        until(lambda: len(sink.written) == 60)
        run.stop()
    assert committed(sync) >= 60


# Outages.


def test_an_outage_is_waited_out_and_nobody_calls_it_an_error_of_a_record(sync: Sync) -> None:
    """The same writes are put when the side is back; nothing is set aside and nothing is told."""
    sink = Sink()
    sink.outage = Unavailable("away")
    with running(worker(sync, sink)) as (run,):
        for number in range(5):
            sync.write(f"k{number}", number + 1)
        until(lambda: sink.tries >= 3)
        sync.write("k0", 9)
        sink.outage = None
        until(lambda: {each.key for each in sink.written} == {f"k{n}" for n in range(5)})
        until(lambda: 9 in sink.seqs("k0"))
        run.stop()
    assert sync.dead_letters(CONNECTOR) == []
    assert sync.changes() == []


def test_what_was_cut_off_in_an_outage_leaves_doubt_behind(sync: Sync) -> None:
    """Stopped while nobody knows whether a write was carried out: the next start is told so."""
    sink = Sink()
    sink.outage = Unavailable("away")
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 1)
        until(lambda: sink.tries)
        run.stop()
    again = Sink()
    with running(worker(sync, again)) as (run,):
        until(lambda: again.written)
        run.stop()
    assert again.clean is False


def test_a_write_to_be_repeated_later_is_and_a_newer_one_takes_its_place(sync: Sync) -> None:
    """RETRY_LATER: again after a while, unless a newer command of the key has come."""
    sink = Sink(once(Outcome(OutcomeKind.RETRY_LATER, code="UNABLE_TO_LOCK_ROW")))
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 1)
        until(lambda: sink.seqs("a") == [1, 1])
        run.stop()
    assert sync.changes() == []


def test_a_side_that_was_never_reached_is_a_mistake_in_the_configuration(sync: Sync) -> None:
    """The first contact has a bound; then the process ends with the sentence that the task gave."""
    sink = Sink()

    def away(*_: object, **__: object) -> None:
        raise Unavailable("no MongoDB answers. Start it, or correct mongodb.uri.")

    sink.start = away  # type: ignore[method-assign]
    it = SinkWorker(sync.instance(CONNECTOR), sink, {OBJECT: SCHEMA}, [OBJECT], first_contact_max_s=0.1)
    with running(it) as (run,):
        assert "mongodb.uri" in str(error_of(run))


def test_what_no_retry_mends_ends_the_worker(sync: Sync) -> None:
    """A task that raises SetupError while writing ends the process, and the write is not lost."""
    sink = Sink()
    sink.outage = SetupError("the password has changed. Correct it.")
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 1)
        assert isinstance(error_of(run), SetupError)
    assert committed(sync) == 0


# Outcomes.


def test_a_refused_write_is_told_and_set_aside_as_it_came(sync: Sync) -> None:
    """One transaction: the change for merge, the dead letter with Connect's headers, the offset."""
    refusal = Outcome(
        OutcomeKind.REFUSED, fields=frozenset({"Name"}), code="STRING_TOO_LONG", reason="Name: too long"
    )
    sink = Sink(once(refusal))
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 7, Name="x")
        until(lambda: sync.dead_letters(CONNECTOR))
        sync.write("b", 8)
        run.stop()
    ((key, change),) = [each for each in sync.changes() if each[0] == "a"]
    assert (key, change.op, change.ack, change.changed) == (
        "a",
        Op.REFUSED,
        7,
        frozenset({"Name"}),
    )
    assert change.origin == "mongodb"
    assert change.source["code"] == "STRING_TOO_LONG"
    letter = sync.dead_letters(CONNECTOR)[0]
    (original,) = [each for each in sync.records(sync.topics.writes("mongodb", OBJECT)) if each.key() == b"a"]
    assert letter.value() == original.value()
    headers = headers_of(letter)
    assert headers["__connect.errors.topic"] == original.topic()
    assert headers["__connect.errors.offset"] == str(original.offset())
    assert headers["__connect.errors.stage"] == "TASK_PUT"
    assert headers["__connect.errors.connector.name"] == CONNECTOR
    assert "STRING_TOO_LONG" in headers["__connect.errors.exception.message"]


@pytest.mark.parametrize("kind", [OutcomeKind.GONE, OutcomeKind.EXISTS])
def test_what_nobody_knew_is_told_and_the_source_is_asked_to_read_it(sync: Sync, kind: OutcomeKind) -> None:
    """GONE and EXISTS: a change for merge, and a signal to the side's source."""
    from salmon.kafka.codecs.serdes import Signals

    sink = Sink(once(Outcome(kind, native_id="a00000000000001AAA")))
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 7)
        until(sync.changes)
        run.stop()
    ((_, change),) = sync.changes()
    assert change.op.value == kind.value
    topic = sync.topics.signals("mongodb-source")
    (message,) = sync.records(topic)
    signal = Signals(sync.registry, topic).decode(message.value() or b"", offset=0)
    assert (signal.kind, signal.object, signal.keys) == (SignalKind.READ, OBJECT, ("a",))
    assert signal.native_ids == ("a00000000000001AAA",)
    assert sync.dead_letters(CONNECTOR) == []


def test_bytes_that_are_no_write_are_set_aside_and_the_rest_goes_on(sync: Sync) -> None:
    """A record that cannot be decoded goes to the dead letters; its neighbour is written."""
    sync.produce(sync.topics.writes("mongodb", OBJECT), "a", b"no avro")
    sync.write("a2", 2)
    sink = Sink()
    with running(worker(sync, sink)) as (run,):
        until(lambda: sink.written)
        until(lambda: sync.dead_letters(CONNECTOR))
        run.stop()
    (letter,) = sync.dead_letters(CONNECTOR)
    assert letter.value() == b"no avro"
    assert headers_of(letter)["__connect.errors.stage"] == "VALUE_CONVERTER"


def test_a_foreign_record_takes_no_commands_place_and_stops_nobody(sync: Sync) -> None:
    """In `writes`, `identity` and `offsets`, before the start and after it: what is owed is still put (case L7)."""
    topic = sync.topics.writes("mongodb", OBJECT)
    sync.identify("a00000000000001AAA", "p")
    for identities in (sync.topics.identity(OBJECT), sync.topics.offsets):
        sync.produce(identities, b"\xff\xfe", b"x")
        sync.produce(identities, "a00000000000001AAA", b'{"a":1}')
    sync.produce(sync.topics.offsets, f"{CONNECTOR}/clean/0", b'{"a":1}')
    sync.write("a", 1)
    sync.produce(topic, "a", b'{"a":1}')
    sink = Sink()
    it = worker(sync, sink)
    with running(it) as (run,):
        until(lambda: sink.seqs("a") == [1])
        sink.gate.clear()
        sync.write("b", 2)
        until(lambda: sink.tries == 2)
        sync.write("b", 3)
        sync.produce(topic, "b", b'{"a":1}')
        sync.produce(topic, b"\xff\xfe", b"x")
        until(lambda: len(sync.dead_letters(CONNECTOR)) == 3)
        sink.gate.set()
        until(lambda: sink.seqs("b") == [2, 3])
        run.stop()
    assert sink.identities is not None
    assert sink.identities.key(OBJECT, "a00000000000001AAA") == "p"
    assert {letter.key() for letter in sync.dead_letters(CONNECTOR)} == {b"a", b"b", b"\xff\xfe"}


def test_a_write_whose_bytes_are_garbage_has_the_record_read_again(sync: Sync) -> None:
    """Only the putter finds out; it may have taken a command's place, and merge then says anew what is owed (case L7)."""
    sync.write("a", 1, Name="Acme")
    sync.produce(sync.topics.writes("mongodb", OBJECT), "a", _newest(sync)[:-3])
    with running(worker(sync, Sink())) as (run,):
        until(lambda: sync.dead_letters(CONNECTOR))
        run.stop()
    (message,) = sync.records(sync.topics.signals("mongodb-source"))
    signal = Signals(sync.registry, message.topic() or "").decode(message.value() or b"", offset=0)
    assert (signal.kind, signal.object, signal.keys) == (SignalKind.READ, OBJECT, ("a",))


def _newest(sync: Sync) -> bytes:
    return sync.records(sync.topics.writes("mongodb", OBJECT))[-1].value() or b""


# Parents that are not there yet.

DEFERRAL = Outcome(
    OutcomeKind.DEFERRED, fields=frozenset({"ParentId"}), waits_for=((OBJECT, "p"),), applied=True
)


def test_a_deferred_field_is_retried_when_its_parent_has_an_id(sync: Sync) -> None:
    """DEFERRED is told at once, RETRY when identity shows the parent, and then nothing waits any more."""
    sink = Sink(once(DEFERRAL))
    with running(worker(sync, sink)) as (run,):
        sync.write("child", 7, ParentId="p")
        until(lambda: f"waits/{OBJECT}/child" in sync.entries(CONNECTOR))
        sync.identify("a00000000000001AAA", "p")
        until(lambda: len(sync.changes()) == 2)
        run.stop()
    told = [(change.op, change.ack, change.changed) for _, change in sync.changes()]
    assert told == [(op, 7, frozenset({"ParentId"})) for op in (Op.DEFERRED, Op.RETRY)]
    assert [entry for entry in sync.entries(CONNECTOR) if entry.startswith("waits/")] == []


def test_a_parent_that_came_while_the_sink_was_down_is_seen_at_its_start(sync: Sync) -> None:
    """Waits survive a restart and are looked at when it begins."""
    with running(worker(sync, Sink(once(DEFERRAL)))) as (run,):
        sync.write("child", 7, ParentId="p")
        until(sync.changes)
        run.stop()
    sync.identify("a00000000000001AAA", "p")
    with running(worker(sync, Sink())) as (run,):
        until(lambda: len(sync.changes()) == 2)
        run.stop()
    assert [change.op for _, change in sync.changes()] == [Op.DEFERRED, Op.RETRY]


def test_a_parent_that_came_between_the_look_and_the_deferral_is_not_missed(sync: Sync) -> None:
    """The Id became known before the deferral was even told: it is retried all the same."""
    sink = Sink(once(DEFERRAL))
    with running(worker(sync, sink)) as (run,):
        sync.identify("a00000000000001AAA", "p")
        until(lambda: sink.identities and sink.identities.native_id(OBJECT, "p"))
        sync.write("child", 7, ParentId="p")
        until(lambda: len(sync.changes()) == 2)
        run.stop()


# Records that are locked.


def locked(again_s: float) -> Outcome:
    return Outcome(
        OutcomeKind.DEFERRED, code="ENTITY_IS_LOCKED", reason="the record is locked", again_s=again_s
    )


def test_what_is_locked_is_tried_again_when_its_time_has_come_and_holds_up_nobody(sync: Sync) -> None:
    """No dead letter, no refusal; other keys go on and are committed; when it is put at last, nothing waits (case L10)."""
    sink = Sink(once(locked(0.1)))
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 7, Name="x")
        until(lambda: [change.op for _, change in sync.changes()] == [Op.DEFERRED, Op.RETRY])
        sync.write("a", 8, Name="x")
        until(lambda: sink.seqs("a") == [7, 8])
        until(lambda: not [each for each in sync.entries(CONNECTOR) if each.startswith("waits/")])
        run.stop()
    told = [change for _, change in sync.changes()]
    assert [(change.op, change.ack, change.changed) for change in told] == [
        (op, 7, None) for op in (Op.DEFERRED, Op.RETRY)
    ]
    assert told[0].source["code"] == "ENTITY_IS_LOCKED"
    assert told[0].source["reason"].startswith("the record is locked; it is tried again at 2")
    assert committed(sync) >= 2
    assert sync.dead_letters(CONNECTOR) == []


def test_a_restart_keeps_what_waits_for_a_lock(sync: Sync) -> None:
    """The time to try again is kept in Kafka; whoever has the partition then, sees to it (case L10)."""
    with running(worker(sync, Sink(once(locked(1.0))))) as (run,):
        sync.write("a", 7, Name="x")
        until(sync.changes)
        run.stop()
    with running(worker(sync, Sink())) as (run,):
        until(lambda: [change.op for _, change in sync.changes()] == [Op.DEFERRED, Op.RETRY])
        run.stop()


def test_a_write_that_gets_through_tells_that_the_lock_is_gone(sync: Sync) -> None:
    """Another field was edited meanwhile, and taken: what waits need not wait for its time (case L10)."""
    sink = Sink(once(locked(600.0)))
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 7, Name="x")
        until(sync.changes)
        sync.write("a", 8, ParentId="y")
        until(lambda: [change.op for _, change in sync.changes()] == [Op.DEFERRED, Op.RETRY])
        run.stop()
    assert [each for each in sync.entries(CONNECTOR) if each.startswith("waits/")] == []


# Values that another record keeps.


def test_what_another_record_kept_away_is_sent_again_when_that_one_is_written(sync: Sync) -> None:
    """A restart between them forgets nothing; a write to it that leaves the value alone changes nothing (case L8)."""
    fields = frozenset({"Name"})
    refusal = Outcome(
        OutcomeKind.REFUSED, fields=fields, code="DuplicateKey", waits_for=((OBJECT, "holder"),)
    )
    with running(worker(sync, Sink(once(refusal)))) as (run,):
        sync.write("a", 7, Name="x")
        until(lambda: f"refused/{OBJECT}/a" in sync.entries(CONNECTOR))
        run.stop()
    sink = Sink()
    with running(worker(sync, sink)) as (run,):
        sync.write("holder", 8, ParentId="p")
        until(lambda: sink.seqs("holder") == [8])
        assert [change.op for _, change in sync.changes()] == [Op.REFUSED]
        sync.write("holder", 9, Name="y")
        until(lambda: len(sync.changes()) == 2)
        run.stop()
    told = [(change.op, change.ack, change.changed) for _, change in sync.changes()]
    assert told == [(op, 7, fields) for op in (Op.REFUSED, Op.RETRY)]
    assert [each for each in sync.entries(CONNECTOR) if each.startswith("refused/")] == []


# Instances.


def test_a_newer_instance_of_the_same_place_ends_the_older(sync: Sync) -> None:
    """Two of one ordinal: the newer takes the partitions at once, the older stops for good."""
    older, newer = Sink(), Sink()
    with running(worker(sync, older)) as (first,):
        sync.write("a", 1)
        until(lambda: older.written)
        with running(worker(sync, newer)):
            assert isinstance(error_of(first), Fenced)
            sync.write("b", 2)
            until(lambda: newer.seqs("b"))
    assert older.seqs("b") == []


def test_the_last_write_of_a_cut_worker_is_put_again_by_the_next(sync: Sync) -> None:
    """A write that hangs is given up at the deadline, and nothing of it is committed."""
    sink = Sink(applied)
    sink.gate.clear()
    with running(worker(sync, sink)) as (run,):
        sync.write("a", 1)
        until(lambda: sink.tries)
        run.worker.stop()
        sink.outage = Unavailable("cut")
        run.worker.cut()
        run.join()
    again = Sink()
    with running(worker(sync, again)) as (run,):
        until(lambda: again.seqs("a") == [1])
        run.stop()
    assert again.clean is False
