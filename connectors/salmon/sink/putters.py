"""
The threads that give writes to a sink task: each takes a batch from the buffer, and reports the outcome of each command.

The buffer never gives commands of one key to two threads. An outage is waited out here: the batch goes back, nothing is given out
until the next attempt, and it does not count as an error of a record. If the registry fails, or Kafka when the guard asks it,
nothing was sent yet, so no key is left in doubt.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from salmon.backoff import Backoff
from salmon.errors import DataError, RetriableError, SalmonError, TooManyErrors, UnfitServer
from salmon.kafka.codecs.serdes import Writes
from salmon.kafka.foreign import FOREIGN
from salmon.model.change import Write, WriteOp
from salmon.ops import trail
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.plugin.contract import Outcome, OutcomeKind, SinkRecord, SinkTask, SizesBatches, TakesBacklogs
from salmon.plugin.leave import AsksForLeave
from salmon.runtime.error_limit import ErrorLimit, Tolerance
from salmon.runtime.retry import Listener
from salmon.sink.buffer import SinkBuffer
from salmon.sink.commands import Command, Key
from salmon.sink.dividing import CALL_FAILED, Dividing
from salmon.sink.guard.delete_guard import Delete, DeleteGuard
from salmon.sink.leave import Leave
from salmon.sink.reporting import QUIET, Landed
from salmon.sink.waiting.deferrals import Waits
from salmon.sink.waiting.parking import Parking
from salmon.sink.waiting.unanswered import Unanswered

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 500  # see SizesBatches
LANDED_MAX: Final = 5_000
_BUSY_FIRST_S: Final = 0.2  # for one record that is to be tried again
_LIMIT: Final = "ERROR_LIMIT"  # code of an outcome: it was refused, and is not set aside
_OUTAGE: Final = Backoff(first_s=0.2, max_s=5.0)  # for the side; we notice within 5 s that it is back


class Putters:
    """
    Args:
        codecs: Topic -> the codec of its writes.
        graces: Object -> seconds that a deletion waits for the record to be created again; other objects do not wait.
        direction: For metrics, e.g. "to_mongodb".
        limit: When to stop setting refused writes aside; it also says how long a write is tried.
        unanswered: Is told what was carried out.
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
        listener: Listener,
        direction: str,
        rng: random.Random,
        graces: Mapping[str, float] | None = None,
        limit: ErrorLimit | None = None,
        unanswered: Unanswered | None = None,
    ) -> None:
        self._limit = limit or ErrorLimit(Tolerance())
        self.parking = Parking(self._limit.tolerance.retry_timeout_s, buffer.now)
        self._stops = 0  # tries in a row in which nothing could be set aside
        self._unanswered = unanswered or Unanswered({})
        self._dividing = Dividing(task, rng=rng, clock=buffer.now)
        self._buffer = buffer
        self._leave = Leave(buffer)
        if isinstance(task, AsksForLeave):
            task.ask_leave(self._leave.may_send)
        self._codecs = codecs
        self._waits, self._guard = waits, guard
        self._graces = {} if graces is None else graces
        self._metrics = metrics
        self._listener = listener
        self._direction = direction
        self._rng = rng
        self._outages = 0  # attempts in a row in which the side was away
        self._unprepared = 0  # attempts in a row in which the registry, or Kafka, was away
        self._landed: deque[Landed] = deque()
        self._threads: list[threading.Thread] = []
        self.failure: BaseException | None = None  # an error that no retry can fix; the loop raises it
        # Keys whose last put was interrupted: it is not known whether it was carried out.
        self.in_doubt: set[Key] = set()
        self.batch_max, self.concurrency = BATCH_MAX, 1
        if isinstance(task, SizesBatches):
            self.batch_max, self.concurrency = task.batch_max, task.concurrency
        self._batch = task.batch_for if isinstance(task, TakesBacklogs) else self.batch_max

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
        """Return commands whose outcome has to be reported. They stay in flight until the loop calls done()."""
        found: list[Landed] = []
        while self._landed and len(found) < LANDED_MAX:
            found.append(self._landed.popleft())
        return found

    def show_parked(self, health: Health) -> None:
        """Show in metrics and health how many writes wait for their next try, and since when; and end a stop if none does."""
        if self._buffer.idle and self._limit.nothing_left():
            self._answered()
        for key in self.parking.records():
            if self._buffer.newest(key) is None:
                self.parking.forget(key)
        self._metrics.parked_writes.set(len(self.parking.records()))
        self._metrics.parked_oldest_seconds.set(self.parking.oldest_s)
        health.objects_wait(self.parking.waiting(self._direction.removeprefix("to_")), of="parked writes")

    def owed(self, object: str, key: str) -> Write | None:  # noqa: A002
        """Return the newest write to a record that was read and is not finished. From any thread."""
        command = self._buffer.newest((object, key))
        return self.decoded(command.partition.place[0], command.value) if command is not None else None

    def decoded(self, topic: str, value: bytes | None) -> Write | None:
        """Decode the value of a record of *topic*; None for a tombstone, and for a value that cannot be decoded."""
        try:
            return self._codecs[topic].decode(value) if value is not None else None
        except DataError:
            return None

    def _run(self) -> None:
        try:
            while (commands := self._buffer.take(self._size)) is not None:
                self._put(commands)
        except BaseException as failure:  # noqa: BLE001 - raised again by the loop
            self.failure = failure
            self._buffer.stop()

    def _size(self, ready: Collection[Key]) -> int:
        return self._limit.at_most(self._batch if isinstance(self._batch, int) else self._batch(ready))

    def _put(self, commands: Sequence[Command]) -> None:
        began = time.monotonic()
        try:
            commands, in_flight, unreadable = self._prepared(commands)
        except RetriableError as trouble:
            self._wait_to_prepare(commands, trouble)
            return
        except BaseException:
            self._buffer.again(commands)  # otherwise the drain would wait for them without end
            raise
        self._prepared_again()
        try:
            with self._leave.holding(commands):
                outcomes = self._dividing.put([record for _, record in in_flight]) if in_flight else ()
        except (RetriableError, UnfitServer) as outage:  # it has served us, or we would not have started
            self.in_doubt.update(command.key for command, _ in in_flight)
            self._wait_out(commands, outage)
            return
        except BaseException:
            self.in_doubt.update(command.key for command, _ in in_flight)
            self._buffer.again(commands)
            raise
        self._metrics.put_seconds.observe(time.monotonic() - began)
        self._metrics.records_sent.inc(len(in_flight))
        self._metrics.batch_put(len(in_flight))
        assert len(outcomes) == len(in_flight), "one outcome for each record"
        outcomes, is_allowed = self._judged(in_flight, outcomes)
        done, again = self._sorted(in_flight, outcomes, unreadable)
        self._buffer.postpone(
            (command, outcome.again_s)
            for (command, _), outcome in zip(in_flight, outcomes, strict=True)
            if outcome.kind is OutcomeKind.RETRY_LATER and outcome.again_s is not None
        )
        self._buffer.land(done, again, delay_s=self._busy_s)
        if not is_allowed:
            self._hold_by_limit()
        elif any(outcome.code != CALL_FAILED for outcome in outcomes) and not self._limit.stopped:
            self._answered()

    def _prepared(
        self, commands: Sequence[Command]
    ) -> tuple[Sequence[Command], list[tuple[Command, SinkRecord]], list[Landed]]:
        """
        Decode commands, and put back those that must wait.

        Returns:
            The commands that are still in flight; those of them that can be sent; those that cannot be decoded.

        Raises:
            RetriableError: the registry, or Kafka (which the guard asks), does not answer. Nothing was sent.
        """
        unreadable: list[Landed] = []
        in_flight: list[tuple[Command, SinkRecord]] = []
        for command in commands:
            try:
                in_flight.append((command, self._record(command)))
            except DataError as error:
                topic, partition = command.partition.place
                FOREIGN.pass_over(topic, partition, command.offset, command.key[1].encode(), str(error))
                unreadable.append(Landed(command, error=error))
        commands, in_flight = self._permitted(commands, in_flight)
        return commands, in_flight, unreadable

    def _permitted(
        self, commands: Sequence[Command], in_flight: Sequence[tuple[Command, SinkRecord]]
    ) -> tuple[Sequence[Command], list[tuple[Command, SinkRecord]]]:
        """
        Return what may be carried out. Deletes whose grace period has not passed, and those that the guard holds back, go back
        into the buffer and wait there.
        """
        commands, in_flight = self._without_early_deletes(commands, in_flight)
        deletes = {
            command.key: (command, delete_of(command, record))
            for command, record in in_flight
            if record.write.op is WriteOp.DELETE
        }
        held = self._guard.held_back(delete for _, delete in deletes.values()) if deletes else ()
        if not held:
            return commands, list(in_flight)
        back = [deletes[each.object, each.key][0] for each in held]
        self._buffer.hold(back)
        return _without(back, commands, in_flight)

    def _without_early_deletes(
        self, commands: Sequence[Command], in_flight: Sequence[tuple[Command, SinkRecord]]
    ) -> tuple[Sequence[Command], list[tuple[Command, SinkRecord]]]:
        """
        Put back the deletes whose grace period has not passed.

        Some applications save a record by deleting it and inserting it again. So a deletion waits for a while. If a write
        creates the record again, that write replaces the deletion, and the record's children are not deleted with it.

        The wait starts when we read the command. So the clock of another machine cannot shorten it; and after an outage
        the write that creates the record again may be the next one that we read.
        """
        early = [
            (command, left_s)
            for command, record in in_flight
            if record.write.op is WriteOp.DELETE
            and (left_s := self._graces.get(record.object, 0.0) - self._buffer.age_s(command)) > 0
        ]
        if not early:
            return commands, list(in_flight)
        self._buffer.postpone(early)
        return _without([command for command, _ in early], commands, in_flight)

    def _record(self, command: Command) -> SinkRecord:
        write = self._codecs[command.partition.place[0]].decode(command.value)
        return SinkRecord(*command.key, write)

    def _judged(
        self, in_flight: Sequence[tuple[Command, SinkRecord]], outcomes: Sequence[Outcome]
    ) -> tuple[Sequence[Outcome], bool]:
        """
        Give up what was tried for long enough; and if too many writes are refused, set none of them aside.

        Returns:
            The outcomes that are reported, and whether what was refused may be set aside.
        """
        self.parking.timeout_s = self._limit.tolerance.retry_timeout_s  # which may have changed
        outcomes = [
            outcome if outcome.code == CALL_FAILED else self.parking.judged(record, outcome)
            for (_, record), outcome in zip(in_flight, outcomes, strict=True)
        ]
        refused = sum(outcome.kind is OutcomeKind.REFUSED for outcome in outcomes)
        good = sum(outcome.kind in QUIET for outcome in outcomes)
        if self._limit.allows(good, refused):
            return outcomes, True
        return [
            replace(outcome, kind=OutcomeKind.RETRY_LATER, code=_LIMIT, again_s=None)
            if outcome.kind is OutcomeKind.REFUSED
            else outcome
            for outcome in outcomes
        ], False

    def _sorted(
        self,
        in_flight: Sequence[tuple[Command, SinkRecord]],
        outcomes: Sequence[Outcome],
        unreadable: Sequence[Landed],
    ) -> tuple[list[Command], list[Command]]:
        """Return the commands that are done, and those to try again; outcomes to report are queued for the loop."""
        done: list[Command] = []
        again: list[Command] = []
        now_s, is_followed = time.time(), trail.followed()
        for (command, record), outcome in zip(in_flight, outcomes, strict=True):
            self._metrics.write_finished(
                record.object, outcome.kind.lower(), self._direction, record.write.committed_at, now_s
            )
            if outcome.code == CALL_FAILED:
                self.in_doubt.add(command.key)
            if outcome.kind is OutcomeKind.RETRY_LATER:
                self._metrics.record_failures.inc()
                log.info("write_repeated_later", **_facts(record), code=outcome.code)
                if outcome.again_s is None:
                    again.append(command)
                continue
            if outcome.code != CALL_FAILED:
                self.in_doubt.discard(command.key)
            self._guard.landed(record.object, record.key)
            if is_followed:
                at_ms = record.write.committed_at
                trail.went(trail.Step.FINISHED, **_facts(record), outcome=outcome.kind, edited_at_ms=at_ms)
            if outcome.kind in QUIET:
                self._unanswered.carried_out(command.partition.place, command.offset, record)
            if outcome.kind in QUIET and not self._waits.holds(record.object, record.key):
                done.append(command)
            else:
                if outcome.kind not in QUIET:
                    # What was to be deleted and is not there is as it should be.
                    is_well = outcome.kind is OutcomeKind.GONE and record.write.op is WriteOp.DELETE
                    (log.info if is_well else log.warning)(
                        "write_not_applied",
                        **_facts(record),
                        outcome=outcome.kind,
                        code=outcome.code,
                        fields=sorted(outcome.fields),
                        reason=outcome.reason,
                    )
                self._landed.append(Landed(command, record, outcome))
        self._landed.extend(unreadable)
        return done, again

    def _busy_s(self, tries: int) -> float:
        busy = Backoff(_BUSY_FIRST_S, self._limit.tolerance.retry_delay_max_s)
        return busy.delay_s(tries, rng=self._rng)

    def _wait_to_prepare(self, commands: Sequence[Command], trouble: RetriableError) -> None:
        """Put *commands* back and wait. None of them was sent, so this is not an outage of the side."""
        self._unprepared += 1
        delay_s = self._hold_up(commands, self._unprepared)
        self._listener.failing("preparing writes", trouble)
        log.warning("writes_not_prepared", **_try(self._unprepared, delay_s, trouble))

    def _prepared_again(self) -> None:
        if not self._unprepared:
            return
        log.info("writes_prepared_again", tries=self._unprepared + 1)
        self._unprepared = 0
        if not self._outages:
            self._buffer.unblock()
            self._listener.recovered()

    def _wait_out(self, commands: Sequence[Command], outage: SalmonError) -> None:
        self._outages += 1
        delay_s = self._hold_up(commands, self._outages)
        self._metrics.outage.set(1)
        self._listener.failing("writing", outage)
        log.warning("side_unavailable", **_try(self._outages, delay_s, outage))

    def _hold_up(self, commands: Sequence[Command], tries: int) -> float:
        """Put *commands* back, and block the buffer for a while. Returns for how many seconds."""
        delay_s = _OUTAGE.delay_s(tries, rng=self._rng)
        self._buffer.block(delay_s)
        self._buffer.again(commands)
        return delay_s

    def _hold_by_limit(self) -> None:
        """Nothing is given out for a while, and then one record to try; each one that is refused makes the wait longer."""
        self._stops += 1
        delay_s = self._busy_s(self._stops)
        self._buffer.block(delay_s)
        self._metrics.limit_stopped.set(1)
        error = TooManyErrors(self._limit.why)
        self._listener.failing("setting records aside", error)
        if self._stops == 1:
            log.error("error_limit_reached", reason=str(error))
        else:
            log.info("error_limit_tried", tries=self._stops, next_in_s=round(delay_s, 3))

    def _answered(self) -> None:
        if self._stops:
            log.info("error_limit_passed", tries=self._stops)
            self._stops = 0
            self._metrics.limit_stopped.set(0)
        if self._buffer.unblock():
            log.info("side_available", tries=self._outages + 1)
            self._outages = 0
            self._metrics.outage.set(0)
            self._listener.recovered()


def _without(
    back: Sequence[Command], commands: Sequence[Command], in_flight: Sequence[tuple[Command, SinkRecord]]
) -> tuple[list[Command], list[tuple[Command, SinkRecord]]]:
    waiting = set(map(id, back))
    return (
        [command for command in commands if id(command) not in waiting],
        [(command, record) for command, record in in_flight if id(command) not in waiting],
    )


def delete_of(command: Command, record: SinkRecord) -> Delete:
    """Describe a delete for the guard. Its time is the commit of the change that caused it, or that of merge's record if earlier."""
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
