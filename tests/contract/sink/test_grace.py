"""A deletion waits for a while in the sink: what is created again within it is an edit (case L11)."""

from __future__ import annotations

from salmon.model.change import WriteOp
from salmon.sink.worker import SinkWorker
from support.runtime import OBJECT, SCHEMA, Sink, Sync, running
from support.waiting import until

CONNECTOR = "mongodb-sink"


def worker(sync: Sync, sink: Sink, grace_s: float) -> SinkWorker:
    instance = sync.instance(CONNECTOR, 0)
    return SinkWorker(instance, sink, {OBJECT: SCHEMA}, [OBJECT], graces={OBJECT: grace_s})


def _ops(sink: Sink, key: str) -> list[WriteOp]:
    return [record.write.op for record in sink.written if record.key == key]


def test_a_record_that_is_created_again_within_the_grace_is_never_deleted(sync: Sync) -> None:
    """The update that lets it live again takes the deletion's place, and other keys do not wait (case L11)."""
    sink = Sink()
    it = worker(sync, sink, grace_s=600)
    with running(it) as (run,):
        sync.delete("a", 1)
        sync.write("b", 2)
        until(lambda: _ops(sink, "b"), "the other key does not wait")
        until(lambda: it.buffer.count == 1, "the deletion waits")
        sync.write("a", 3)
        until(lambda: _ops(sink, "a"))
        run.stop()
    assert _ops(sink, "a") == [WriteOp.UPDATE]


def test_a_deletion_is_carried_out_when_its_grace_has_passed(sync: Sync) -> None:
    """Nothing took its place; it is put once."""
    sink = Sink()
    with running(worker(sync, sink, grace_s=0.3)) as (run,):
        sync.delete("a", 1)
        until(lambda: _ops(sink, "a"))
        until(sink.caught_up_seen.is_set)
        run.stop()
    assert _ops(sink, "a") == [WriteOp.DELETE]


def test_a_sink_that_ends_within_the_grace_loses_no_deletion(sync: Sync) -> None:
    """Nothing is committed past a deletion that waits: the next start carries it out, once its own grace has passed."""
    first, second = Sink(), Sink()
    it = worker(sync, first, grace_s=600)
    with running(it) as (run,):
        sync.delete("a", 1)
        until(lambda: it.buffer.count == 1)
        run.stop()
    assert first.written == []
    with running(worker(sync, second, grace_s=0)) as (run,):
        until(lambda: _ops(second, "a"))
        run.stop()
    assert _ops(second, "a") == [WriteOp.DELETE]
