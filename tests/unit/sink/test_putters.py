"""The putters: whose outage it is that a batch meets, and which keys it leaves in doubt."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest

from salmon.config.sections.deletions import DeleteGuardConfig
from salmon.errors import SalmonError, SignInRefused, Unavailable, UnfitServer
from salmon.kafka.codecs.serdes import Writes
from salmon.model.change import Write, WriteOp
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord
from salmon.salesforce.wire.rest import COLLECTION_ROWS, RowResult
from salmon.sink.buffer import SinkBuffer
from salmon.sink.dividing import CALL_FAILED
from salmon.sink.guard.delete_guard import DeleteGuard
from salmon.sink.putters import Putters
from salmon.sink.waiting.deferrals import Waits
from support.orgs.salesforce_org import SinkRig
from support.waiting import until

PLACE = ("crm.writes.mongodb.Account", 0)


class Side:
    """A task that takes all it is given, unless it is away."""

    def __init__(self) -> None:
        self.away: SalmonError | None = None
        self.outcome = Outcome(OutcomeKind.APPLIED)
        self.seen = 0

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        self.seen += len(records)
        if self.away:
            raise self.away
        return [self.outcome for _ in records]


class Codec:
    """A codec whose registry may be away."""

    away = False

    def decode(self, value: bytes) -> Write:
        if self.away:
            raise Unavailable("the registry is away")
        return Write(seq=1, op=WriteOp(value.decode()), expected=0)


class Told:
    """An listener that remembers."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.recoveries = 0

    def failing(self, doing: str, error: Exception) -> None:
        self.failures.append(f"{doing}: {error}")

    def recovered(self) -> None:
        self.recoveries += 1


class Sink:
    """A buffer with one partition, and the putters that empty it into *task*, or else into `side`."""

    def __init__(self, task: Any = None) -> None:
        self.side, self.codec, self.told = Side(), Codec(), Told()
        self.metrics = Metrics("mongodb-sink")
        self.kafka_away = False
        self.buffer = SinkBuffer()
        self.buffer.open(PLACE, 0)
        guard = DeleteGuard({"Account": DeleteGuardConfig(share_floor=0)}, size_of=self.size)
        guard.own([("Account", 0)], {}, partitions=1)
        self.putters = Putters(
            cast("Any", task or self.side),
            self.buffer,
            {PLACE[0]: cast("Writes", self.codec)},
            Waits(),
            guard,
            metrics=self.metrics,
            listener=self.told,
            direction="to_mongodb",
            rng=random.Random(1),
        )

    def size(self, _: str) -> int:
        if self.kafka_away:
            raise Unavailable("Kafka is away")
        return 1_000

    def owes(self, op: WriteOp, key: str = "001", offset: int = 0) -> None:
        self.buffer.renew(self.buffer.now())
        self.buffer.add(PLACE, offset, ("Account", key), op.encode())

    @property
    def outage(self) -> float:
        return self.metrics.registry.get_sample_value("salmon_outage", {"connector": "mongodb-sink"}) or 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        self.putters.start()
        try:
            yield
        finally:
            self.buffer.stop()
            self.putters.join(10)


@pytest.mark.parametrize(("what", "op"), [("registry", WriteOp.CREATE), ("Kafka", WriteOp.DELETE)])
def test_what_fails_before_a_batch_is_sent_is_no_outage_of_the_side(what: str, op: WriteOp) -> None:
    """The registry, or Kafka for the guard, is away: that is said, and no key is in doubt (case S12)."""
    sink = Sink()
    sink.codec.away, sink.kafka_away = what == "registry", what == "Kafka"
    sink.owes(op)
    with sink.running():
        until(lambda: len(sink.told.failures) > 1, "it is tried again")
        assert {f"preparing writes: {'the registry' if what == 'registry' else what} is away"} == set(
            sink.told.failures
        )
        assert (sink.side.seen, sink.putters.in_doubt, sink.outage) == (0, set(), 0.0)
        sink.codec.away = sink.kafka_away = False
        until(lambda: sink.side.seen == 1, "it is sent")
        until(lambda: sink.told.recoveries == 1, "health is told that it is over")
    assert sink.buffer.idle


@pytest.mark.parametrize(
    "refusal", [SignInRefused("the certificate does not verify"), UnfitServer("a right is missing")]
)
def test_a_side_that_does_not_serve_us_any_more_is_waited_for(refusal: UnfitServer) -> None:
    """A certificate that was renewed late, a right that was taken away: /health says what to mend, and it goes on by itself (case S4)."""
    sink = Sink()
    sink.side.away = refusal
    sink.owes(WriteOp.CREATE)
    with sink.running():
        until(lambda: sink.outage, "the outage is the side's")
        assert set(sink.told.failures) == {f"writing: {refusal}"}
        sink.side.away = None
        until(lambda: not sink.putters.in_doubt, "the write was carried out")
    assert sink.putters.failure is None


def test_an_outage_of_the_side_leaves_the_keys_in_doubt_that_were_sent() -> None:
    """Nobody knows whether they were carried out, until they are put again."""
    sink = Sink()
    sink.side.away = Unavailable("the side is away")
    sink.owes(WriteOp.CREATE)
    with sink.running():
        until(lambda: sink.outage, "the outage is the side's")
        assert sink.putters.in_doubt == {("Account", "001")}
        sink.side.away = None
        until(lambda: not sink.putters.in_doubt, "nothing is in doubt any more")
        until(lambda: sink.told.recoveries == 1, "health is told that it is over")


def test_a_key_whose_calls_fail_stays_in_doubt_while_its_record_waits_by_itself() -> None:
    """Nobody knows whether such a call was carried out: a stop meanwhile is not a clean one."""
    sink = Sink()
    sink.side.outcome = Outcome(
        OutcomeKind.DEFERRED, code=CALL_FAILED, reason="each call fails", again_s=60.0
    )
    sink.owes(WriteOp.UPDATE)
    with sink.running():
        (landed,) = until(sink.putters.landed, "its outcome is reported")
        assert landed.outcome == sink.side.outcome
        assert sink.putters.in_doubt == {("Account", "001")}
        sink.side.outcome = Outcome(OutcomeKind.APPLIED)
        sink.buffer.done([landed.command])
        sink.owes(WriteOp.UPDATE)
        until(lambda: not sink.putters.in_doubt, "it was carried out")


def test_a_write_goes_at_once_while_the_org_is_idle_and_calls_are_full_while_it_is_busy() -> None:
    """No write waits for a batch to fill; what arrives during a call goes with the next ones, 200 records in each."""
    rig = SinkRig()
    insert, answer = rig.org.insert, threading.Event()

    def slow(records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        results = insert(records)
        assert answer.wait(30.0)
        return results

    def calls() -> list[int]:
        return [len(records) for _, records in rig.org.calls]

    rig.org.insert = slow  # type: ignore[method-assign]
    sink = Sink(rig.task)
    with sink.running():
        sink.owes(WriteOp.CREATE, "$oid:0")
        until(lambda: calls() == [1], "the only write that waits is under way")
        for number in range(1, 2 * COLLECTION_ROWS + 51):
            sink.owes(WriteOp.CREATE, f"$oid:{number}", number)
        assert calls() == [1]
        answer.set()
        until(lambda: sum(calls()) == 2 * COLLECTION_ROWS + 51, "all are written")
    assert sorted(calls()[1:]) == [50, COLLECTION_ROWS, COLLECTION_ROWS]
