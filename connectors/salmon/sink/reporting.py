"""
Builds the records that report the outcome of a write: a change for merge, a signal, a dead letter, the entry of a wait.

Pure except for the codecs: one finished command in, the records of its transaction out. A write that simply succeeded
needs no report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import Message

from salmon.errors import DataError, RequestRejected
from salmon.kafka.codecs.serdes import Changes, Signals
from salmon.kafka.dead_letters import dead_letter_headers
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.kafka.topics import Topics
from salmon.model import sides
from salmon.model.change import Change, Op
from salmon.plugin.contract import Outcome, OutcomeKind, Signal, SignalKind, SinkRecord
from salmon.sink.commands import Command
from salmon.sink.waiting.deferrals import Wait, Waits
from salmon.sink.waiting.refusals import RecordId, Refused

QUIET: Final = frozenset({OutcomeKind.APPLIED, OutcomeKind.SKIPPED})
_SAID_MAX: Final = 500
_OPS: Final[Mapping[OutcomeKind, Op]] = {
    OutcomeKind.REFUSED: Op.REFUSED,
    OutcomeKind.GONE: Op.GONE,
    OutcomeKind.EXISTS: Op.EXISTS,
    OutcomeKind.DEFERRED: Op.DEFERRED,
}


@dataclass(frozen=True, slots=True)
class Landed:
    """A command whose outcome has to be reported. Without a record, it could not be decoded; *error* says why."""

    command: Command
    record: SinkRecord | None = None
    outcome: Outcome | None = None
    error: DataError | None = None


@dataclass(slots=True)
class Report:
    """The records of one transaction, and what changes in memory after its commit."""

    outputs: list[Output] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    settled: list[Wait] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    no_longer_refused: list[Refused] = field(default_factory=list)
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class OutcomeEncoder:
    """
    Args:
        changes: Object -> the codec of its `changes` topic.
        signals: The codec of the source's `signals` topic.
        entries: The connector's entries in `offsets`.
        task_class: Name of the task's class, for the headers of dead letters.
        seen: See Refused.seen; by the record that holds a value.
    """

    connector: str
    side: str
    topics: Topics
    changes: Mapping[str, Changes]
    signals: Signals
    entries: OffsetStore
    task_class: str
    clock: Callable[[], float] = time.time
    seen: Callable[[RecordId], int | None] = lambda _: None

    def add(self, landed: Landed, waits: Waits, report: Report) -> None:
        """
        Add one outcome to *report*.

        A command that cannot be decoded can only be set aside. It may have replaced a valid one in the buffer, so the source
        is asked to read the record again; merge then sends what is missing.
        """
        record, outcome = landed.record, landed.outcome
        if record is None or outcome is None:
            assert landed.error is not None
            self._set_aside(landed.command, landed.error, "VALUE_CONVERTER", report)
            report.outputs.append(self._read_signal(*landed.command.key, (), "a write cannot be read"))
            return
        if outcome.kind in QUIET and (refused := waits.refusals.settled_by(record)) is not None:
            report.outputs.append(self._entry(refused, None))
            report.no_longer_refused.append(refused)
        if outcome.kind is not OutcomeKind.DEFERRED and (locked := waits.timed(record)) is not None:
            if outcome.kind not in QUIET:
                self._not_applied(landed.command, record, outcome, waits, report)
            # Whatever became of this write, the lock is gone: what was set aside for it is sent again at once.
            report.outputs.extend([self._entry(locked, None)] if locked.asked else self.retry(locked))
            report.settled.append(locked)
            return
        if outcome.kind in QUIET:
            if (wait := waits.settled_by(record)) is not None:
                report.outputs.append(self._entry(wait, None))
                report.settled.append(wait)
            return
        self._not_applied(landed.command, record, outcome, waits, report)

    def _not_applied(
        self, command: Command, record: SinkRecord, outcome: Outcome, waits: Waits, report: Report
    ) -> None:
        wait: Wait | None = None
        if outcome.kind is OutcomeKind.DEFERRED:
            wait = waits.deferred(record, outcome, command.partition.place[1], round(self.clock() * 1000))
            if outcome.again_s is not None and wait.due_ms is not None:
                again_at = datetime.fromtimestamp(wait.due_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                outcome = replace(outcome, reason=f"{outcome.reason}; it is tried again at {again_at}")
            report.outputs.append(self._entry(wait, wait))
            report.waits.append(wait)
        change = outcome_change(self.side, record, outcome)
        encoded = self.changes[record.object].encode(change)
        report.outputs.append(Output(self.topics.changes(record.object), record.key, encoded))
        match outcome.kind:
            case OutcomeKind.REFUSED:
                words = f"{outcome.reason.rstrip('. ')}. Its own words: {words_of(outcome)}"
                error = RequestRejected(
                    f"{self.side} refused write {record.write.seq} of {record.object} {record.key}: "
                    f"{outcome.code or 'without a code'}: {words if outcome.said else outcome.reason}",
                    code=outcome.code,
                    fields=tuple(sorted(outcome.fields)),
                )
                self._set_aside(command, error, "TASK_PUT", report)
                refused = Refused.by(record, outcome, command.partition.place[1], self.seen)
                if refused is not None:
                    report.outputs.append(self._entry(refused, refused))
                    report.refused.append(refused)
            case OutcomeKind.GONE | OutcomeKind.EXISTS:
                native_id = outcome.native_id or record.write.native_id
                report.outputs.append(
                    self._read_signal(
                        record.object,
                        record.key,
                        (native_id,) if native_id else (),
                        f"{outcome.kind} {outcome.code}".rstrip(),
                    )
                )

    def end(self, wait: Wait) -> Iterator[Output]:
        """Remove the entry of a wait that has ended without a retry."""
        yield self._entry(wait, None)

    def retry(self, wait: Wait, still: Wait | None = None) -> Iterator[Output]:
        """Ask merge to send the fields again. *still*: the entry from now on, until merge answers; None: it is removed."""
        reason = "a record that it refers to is there now" if wait.due_ms is None else "it is tried again"
        change = Change(
            self.side, Op.RETRY, ack=wait.seq, changed=wait.fields or None, source={"reason": reason}
        )
        yield Output(self.topics.changes(wait.object), wait.key, self.changes[wait.object].encode(change))
        yield self._entry(wait, still)

    def send_again(self, refused: Refused) -> Iterator[Output]:
        """Ask merge to send again what was refused, because the record with the unique value was written; remove the entry."""
        source = {"reason": "the record that kept its unique value is written"}
        change = Change(self.side, Op.RETRY, ack=refused.seq, changed=refused.fields or None, source=source)
        encoded = self.changes[refused.object].encode(change)
        yield Output(self.topics.changes(refused.object), refused.key, encoded)
        yield self._entry(refused, None)

    def _read_signal(self, name: str, key: str, native_ids: tuple[str, ...], why: str) -> Output:
        signal = Signal(
            0, SignalKind.READ, name, keys=(key,), native_ids=native_ids, reason=f"{self.connector}: {why}"
        )
        return Output(self.topics.signals(sides.named(self.side).source), key, self.signals.encode(signal))

    def _entry(self, wait: Wait | Refused, now: Wait | Refused | None) -> Output:
        return self.entries.output(self.connector, wait.entry, now.position() if now else None)

    def _set_aside(self, command: Command, error: DataError, stage: str, report: Report) -> None:
        report.outputs.append(self.dead_letter(command.message, error, stage))
        report.dead_letters += 1

    def dead_letter(self, message: Message, error: DataError, stage: str) -> Output:
        """Make a dead letter: the original record, with Kafka Connect's headers that say why it was set aside."""
        headers = dead_letter_headers(
            message,
            error,
            connector=self.connector,
            stage=stage,
            class_name=self.task_class,
            subject=(message.topic() or "").removeprefix(self.topics.writes(self.side, "")),
        )
        topic = self.topics.dlq(self.connector)
        return Output(topic, message.key(), message.value(), tuple(headers))


def words_of(outcome: Outcome) -> str:
    """
    The side's own words in one line of a bounded length. They may quote the record, also a field that is masked elsewhere. So they
    are kept in topics, for `salmon why` and `salmon dlq`, and go into no log and no document.
    """
    said = " ".join(outcome.said.split())
    return said if len(said) <= _SAID_MAX else f"{said[:_SAID_MAX]}..."


def outcome_change(side: str, record: SinkRecord, outcome: Outcome) -> Change:
    """Build the change that reports the outcome of a write to merge."""
    write = record.write
    source = {
        "code": outcome.code,
        "reason": outcome.reason,
        "said": words_of(outcome),
        "correlation": write.correlation,
    }
    return Change(
        side,
        _OPS[outcome.kind],
        native_id=outcome.native_id or write.native_id,
        ack=write.seq,
        # An outcome without fields is about the whole write.
        changed=outcome.fields or None,
        source={name: text for name, text in source.items() if text},
    )
