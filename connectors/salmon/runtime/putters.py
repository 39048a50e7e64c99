"""
The threads that put writes to a sink task: each takes a batch from the buffer, and says how each command landed.

Keys are disjoint between them by the buffer. An outage is waited out here: the batch goes back, nothing is given out
until the next try, and nobody calls that an error of a record. Whose outage it was is told apart: what fails before a
batch is sent (the registry, Kafka for the guard) leaves no key in doubt.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from salmon.errors import DataError, RetriableError
from salmon.kafka.foreign import FOREIGN
from salmon.kafka.serdes import Writes
from salmon.model.change import WriteOp
from salmon.model.connector import Outcome, OutcomeKind, SinkRecord, SinkTask
from salmon.runtime.commands import Command, Key
from salmon.runtime.delete_guard import Delete, DeleteGuard
from salmon.runtime.metrics import Metrics
from salmon.runtime.retry import Backoff, Observer
from salmon.runtime.sink_buffer import SinkBuffer
from salmon.runtime.telling import QUIET, Landed
from salmon.runtime.waits import Waits

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 500  # where the task does not say what it likes
LANDED_MAX: Final = 5_000
_BUSY: Final = Backoff(first_s=0.2, max_s=60.0)  # of one record that is to be put again
_OUTAGE: Final = Backoff(first_s=0.2, max_s=5.0)  # of the side; it is found again that soon at the latest


class Putters:
    """
    Args:
        codecs: Topic -> the codec of its writes.
        direction: For metrics, e.g. "to_mongodb".
    """

    def __init__(
        self,
        task: SinkTask,
        buffer: SinkBuffer,
        codecs: Mapping[str, Writes],
        waits: Waits,
        guard: DeleteGuard,
        *,
        metrics: Metrics,
        observer: Observer,
        direction: str,
        rng: random.Random,
    ) -> None:
        self._task = task
        self._buffer = buffer
        self._codecs = codecs
        self._waits, self._guard = waits, guard
        self._metrics = metrics
        self._observer = observer
        self._direction = direction
        self._rng = rng
        self._outages = 0  # tries in a row that found the side away
        self._unprepared = 0  # tries in a row that found the registry, or Kafka, away
        self._landed: deque[Landed] = deque()
        self._threads: list[threading.Thread] = []
        self.failure: BaseException | None = None  # what no retry mends; the loop raises it
        # Keys whose last put was cut off: nobody knows whether it was carried out.
        self.in_doubt: set[Key] = set()
        self.batch_max: int = getattr(task, "batch_max", BATCH_MAX)
        self.concurrency: int = getattr(task, "concurrency", 1)

    def start(self) -> None:
        for number in range(self.concurrency):
            thread = threading.Thread(target=self._run, name=f"put-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def join(self, timeout_s: float) -> None:
        """Wait for the threads, after the buffer was stopped."""
        deadline = time.monotonic() + timeout_s
        for thread in reversed(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def landed(self) -> list[Landed]:
        """The commands whose outcome is to be told, since the last call. They fly until the loop says done()."""
        found: list[Landed] = []
        while self._landed and len(found) < LANDED_MAX:
            found.append(self._landed.popleft())
        return found

    def _run(self) -> None:
        try:
            while (commands := self._buffer.take(self.batch_max)) is not None:
                self._put(commands)
        except BaseException as failure:  # noqa: BLE001 - raised again by the loop
            self.failure = failure
            self._buffer.stop()

    def _put(self, commands: Sequence[Command]) -> None:
        began = time.monotonic()
        try:
            commands, flying, spoilt = self._prepared(commands)
        except RetriableError as trouble:
            self._wait_to_prepare(commands, trouble)
            return
        except BaseException:
            self._buffer.again(commands)  # so that nothing is waited for that never lands
            raise
        self._prepared_again()
        try:
            outcomes = self._task.put([record for _, record in flying]) if flying else ()
        except RetriableError as outage:
            self.in_doubt.update(command.key for command, _ in flying)
            self._wait_out(commands, outage)
            return
        except BaseException:
            self.in_doubt.update(command.key for command, _ in flying)
            self._buffer.again(commands)
            raise
        self._metrics.put_seconds.observe(time.monotonic() - began)
        self._metrics.records_sent.inc(len(flying))
        assert len(outcomes) == len(flying), "one outcome for each record"
        self._buffer.land(*self._sorted(flying, outcomes, spoilt), delay_s=self._busy_s)
        if flying:
            self._answered()

    def _prepared(
        self, commands: Sequence[Command]
    ) -> tuple[Sequence[Command], list[tuple[Command, SinkRecord]], list[Landed]]:
        """
        The commands that still fly, those of them that can be sent, and those that cannot even be read.

        Raises:
            RetriableError: the registry, or Kafka (which the guard asks), cannot be asked now; the side was not.
        """
        spoilt: list[Landed] = []
        flying: list[tuple[Command, SinkRecord]] = []
        for command in commands:
            try:
                flying.append((command, self._record(command)))
            except DataError as error:
                topic, partition = command.partition.place
                FOREIGN.pass_over(topic, partition, command.offset, command.key[1].encode(), str(error))
                spoilt.append(Landed(command, error=error))
        commands, flying = self._let_go(commands, flying)
        return commands, flying, spoilt

    def _let_go(
        self, commands: Sequence[Command], flying: Sequence[tuple[Command, SinkRecord]]
    ) -> tuple[Sequence[Command], list[tuple[Command, SinkRecord]]]:
        """What may be carried out; deletes that the guard does not believe go back into the buffer, and wait there."""
        deletes = {
            command.key: (command, delete_of(command, record))
            for command, record in flying
            if record.write.op is WriteOp.DELETE
        }
        held = self._guard.held_back(delete for _, delete in deletes.values()) if deletes else ()
        if not held:
            return commands, list(flying)
        back = [deletes[each.object, each.key][0] for each in held]
        self._buffer.hold(back)
        waiting = set(map(id, back))
        return (
            [command for command in commands if id(command) not in waiting],
            [(command, record) for command, record in flying if id(command) not in waiting],
        )

    def _record(self, command: Command) -> SinkRecord:
        write = self._codecs[command.partition.place[0]].decode(command.value)
        return SinkRecord(*command.key, write)

    def _sorted(
        self,
        flying: Sequence[tuple[Command, SinkRecord]],
        outcomes: Sequence[Outcome],
        spoilt: Sequence[Landed],
    ) -> tuple[list[Command], list[Command]]:
        """Those that are done, and those that are to be put again; what must be told is queued for the loop."""
        done: list[Command] = []
        again: list[Command] = []
        now_s = time.time()
        for (command, record), outcome in zip(flying, outcomes, strict=True):
            self._metrics.write_finished(
                record.object, outcome.kind.lower(), self._direction, record.write.committed_at, now_s
            )
            if outcome.kind is OutcomeKind.RETRY_LATER:
                self._metrics.record_failures.inc()
                log.info("write_repeated_later", **_facts(record), code=outcome.code)
                again.append(command)
                continue
            self.in_doubt.discard(command.key)
            self._guard.landed(record.object, record.key)
            if outcome.kind in QUIET and not self._waits.holds(record.object, record.key):
                log.debug("write_finished", **_facts(record), outcome=outcome.kind)
                done.append(command)
            else:
                if outcome.kind not in QUIET:
                    log.warning(
                        "write_not_applied", **_facts(record), outcome=outcome.kind, code=outcome.code
                    )
                self._landed.append(Landed(command, record, outcome))
        self._landed.extend(spoilt)
        return done, again

    def _busy_s(self, tries: int) -> float:
        return _BUSY.delay_s(tries, rng=self._rng)

    def _wait_to_prepare(self, commands: Sequence[Command], trouble: RetriableError) -> None:
        """Nothing of *commands* was sent, and the side is not to blame."""
        self._unprepared += 1
        delay_s = self._hold_up(commands, self._unprepared, trouble)
        self._observer.failing("preparing writes", trouble)
        log.warning("writes_not_prepared", **_try(self._unprepared, delay_s, trouble))

    def _prepared_again(self) -> None:
        if not self._unprepared:
            return
        log.info("writes_prepared_again", tries=self._unprepared + 1)
        self._unprepared = 0
        if not self._outages:
            self._buffer.unblock()
            self._observer.recovered()

    def _wait_out(self, commands: Sequence[Command], outage: RetriableError) -> None:
        self._outages += 1
        delay_s = self._hold_up(commands, self._outages, outage)
        self._metrics.outage.set(1)
        self._observer.failing("writing", outage)
        log.warning("side_unavailable", **_try(self._outages, delay_s, outage))

    def _hold_up(self, commands: Sequence[Command], tries: int, trouble: RetriableError) -> float:
        """Give out nothing for a while, and *commands* first then; says for how long."""
        delay_s = _OUTAGE.delay_s(tries, trouble, rng=self._rng)
        self._buffer.block(delay_s)
        self._buffer.again(commands)
        return delay_s

    def _answered(self) -> None:
        if self._buffer.unblock():
            log.info("side_available", tries=self._outages + 1)
            self._outages = 0
            self._metrics.outage.set(0)
            self._observer.recovered()


def delete_of(command: Command, record: SinkRecord) -> Delete:
    """What the guard counts of a delete: at the time of its cause's commit, which is not later than merge's record."""
    logged_at = max(0, command.message.timestamp()[1]) if command.message is not None else 0
    known = [at for at in (record.write.committed_at, logged_at) if at]
    at = min(known, default=round(time.time() * 1000))
    return Delete(*command.key, record.write.seq, command.partition.place[1], command.offset, at)


def _try(number: int, next_in_s: float, error: Exception) -> dict[str, Any]:
    return {
        "tries": number,
        "next_in_s": round(next_in_s, 3),
        "error": type(error).__name__,
        "reason": str(error),
    }


def _facts(record: SinkRecord) -> dict[str, Any]:
    write = record.write
    return {
        "object": record.object,
        "key": record.key,
        "op": write.op,
        "seq": write.seq,
        "correlation": write.correlation,
    }
