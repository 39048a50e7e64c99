"""
What is told of a write that did not simply succeed: a change for merge, a signal, a dead letter, an entry of a wait.

Pure but for the codecs: one landed command in, the records of its transaction out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Message

from salmon.errors import DataError, RequestRejected
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.serdes import Changes, Signals
from salmon.kafka.topics import Topics
from salmon.model.change import Change, Op
from salmon.model.connector import Outcome, OutcomeKind, Signal, SignalKind, SinkRecord
from salmon.runtime.commands import Command
from salmon.runtime.dead_letters import dead_letter_headers
from salmon.runtime.waits import Wait, Waits

QUIET: Final = frozenset({OutcomeKind.APPLIED, OutcomeKind.SKIPPED})
_OPS: Final[Mapping[OutcomeKind, Op]] = {
    OutcomeKind.REFUSED: Op.REFUSED,
    OutcomeKind.GONE: Op.GONE,
    OutcomeKind.EXISTS: Op.EXISTS,
    OutcomeKind.DEFERRED: Op.DEFERRED,
}


@dataclass(frozen=True, slots=True)
class Landed:
    """A command whose outcome must be told. Without a record, it could not even be read: *error*."""

    command: Command
    record: SinkRecord | None = None
    outcome: Outcome | None = None
    error: DataError | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One record to produce."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(slots=True)
class Told:
    """The records of one transaction, and what changes in memory once it is committed."""

    outputs: list[Output] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    settled: list[Wait] = field(default_factory=list)
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Telling:
    """
    Args:
        changes: Object -> the codec of its `changes`.
        task_class: For dead letters: what refused.
    """

    connector: str
    side: str
    topics: Topics
    changes: Mapping[str, Changes]
    signals: Signals
    entries: OffsetStore
    task_class: str

    def of(self, landed: Landed, waits: Waits, told: Told) -> None:
        """
        Add to *told* what one outcome leads to. A spoilt record can only be set aside; since it may have taken the
        place of a command, the record is read again, and merge then says anew what is owed.
        """
        record, outcome = landed.record, landed.outcome
        if record is None or outcome is None:
            assert landed.error is not None
            self._set_aside(landed.command, landed.error, "VALUE_CONVERTER", told)
            told.outputs.append(self._read_signal(*landed.command.key, (), "a write cannot be read"))
            return
        if outcome.kind in QUIET:
            if (wait := waits.settled_by(record)) is not None:
                told.outputs.append(self._entry(wait, None))
                told.settled.append(wait)
            return
        change = outcome_change(self.side, record, outcome)
        encoded = self.changes[record.object].encode(change)
        told.outputs.append(Output(self.topics.changes(record.object), record.key, encoded))
        match outcome.kind:
            case OutcomeKind.REFUSED:
                error = RequestRejected(
                    f"{self.side} refused write {record.write.seq} of {record.object} {record.key}: "
                    f"{outcome.code or 'without a code'}: {outcome.reason}",
                    code=outcome.code,
                    fields=tuple(sorted(outcome.fields)),
                )
                self._set_aside(landed.command, error, "TASK_PUT", told)
            case OutcomeKind.GONE | OutcomeKind.EXISTS:
                native_id = outcome.native_id or record.write.native_id
                told.outputs.append(
                    self._read_signal(
                        record.object,
                        record.key,
                        (native_id,) if native_id else (),
                        f"{outcome.kind} {outcome.code}".rstrip(),
                    )
                )
            case OutcomeKind.DEFERRED:
                wait = waits.deferred(record, outcome, landed.command.partition.place[1])
                told.outputs.append(self._entry(wait, wait))
                told.waits.append(wait)

    def retry(self, wait: Wait) -> Iterator[Output]:
        """A parent is there: merge may send the fields again, and nobody waits any more."""
        change = Change(
            self.side,
            Op.RETRY,
            ack=wait.seq,
            changed=wait.fields,
            source={"reason": "a record that it refers to is there now"},
        )
        yield Output(self.topics.changes(wait.object), wait.key, self.changes[wait.object].encode(change))
        yield self._entry(wait, None)

    def _read_signal(self, name: str, key: str, native_ids: tuple[str, ...], why: str) -> Output:
        signal = Signal(
            0, SignalKind.READ, name, keys=(key,), native_ids=native_ids, reason=f"{self.connector}: {why}"
        )
        return Output(self.topics.signals(f"{self.side}-source"), key, self.signals.encode(signal))

    def _entry(self, wait: Wait, now: Wait | None) -> Output:
        key, value = self.entries.record(self.connector, wait.entry, now.position() if now else None)
        return Output(self.topics.offsets, key, value)

    def _set_aside(self, command: Command, error: DataError, stage: str, told: Told) -> None:
        told.outputs.append(self.dead_letter(command.message, error, stage))
        told.dead_letters += 1

    def dead_letter(self, message: Message, error: DataError, stage: str) -> Output:
        """*message* as it came, with Kafka Connect's headers that say why it is set aside."""
        headers = dead_letter_headers(
            message, error, connector=self.connector, stage=stage, class_name=self.task_class
        )
        topic = self.topics.dlq(self.connector)
        return Output(topic, message.key(), message.value(), tuple(headers))


def outcome_change(side: str, record: SinkRecord, outcome: Outcome) -> Change:
    """What merge is told of a write that did not simply succeed."""
    write = record.write
    source = {"code": outcome.code, "reason": outcome.reason, "correlation": write.correlation}
    return Change(
        side,
        _OPS[outcome.kind],
        native_id=outcome.native_id or write.native_id,
        ack=write.seq,
        # An outcome that names no field is of the whole write.
        changed=outcome.fields or None,
        source={name: text for name, text in source.items() if text},
    )
