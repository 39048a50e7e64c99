"""
Writes a sink's records to Kafka: outcomes, requests to send again, and whether the sink stopped cleanly.

The producer is here, and each record is written in a transaction. Only the sink's loop uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog
from confluent_kafka import Message, TopicPartition

from salmon.errors import DataError
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.kafka.transactions import Listener
from salmon.model.change import Write
from salmon.plugin.contract import Position
from salmon.runtime.error_limit import ENTRY, Counts, ErrorLimit
from salmon.runtime.instance import Instance
from salmon.sink.buffer import SinkBuffer
from salmon.sink.commands import Command, Place
from salmon.sink.identity_tables import IdentityTables
from salmon.sink.reporting import Landed, OutcomeEncoder, Report
from salmon.sink.waiting.deferrals import RecordId, Waits
from salmon.sink.waiting.refusals import Refused

log = structlog.get_logger(__name__)

_CLEAN: Final = "clean/"  # entries: one for each ordinal


class SinkReports:
    """
    Args:
        outcomes: Encodes an outcome.
        entries: The connector's entries in `offsets`.
        group: Returns the consumer's group metadata, for offsets in a transaction.
        listener: Is called when a transaction waits for Kafka.
        limit: What it has counted is stored with the dead letters.
    """

    def __init__(
        self,
        instance: Instance,
        buffer: SinkBuffer,
        outcomes: OutcomeEncoder,
        entries: OffsetStore,
        *,
        group: Callable[[], Any],
        listener: Listener | None = None,
        limit: ErrorLimit | None = None,
    ) -> None:
        self._limit = limit or ErrorLimit(instance.tolerance)
        self._limit_entry, self._is_restored = f"{ENTRY}/{instance.ordinal}", False
        self._instance, self._metrics = instance, instance.metrics
        self._buffer, self._outcomes, self._entries, self._group = buffer, outcomes, entries, group
        self._landed: list[Landed] = []  # not reported yet
        # Records whose Ids may be known now, and whose children have not been sent again yet.
        self._known_parents: set[RecordId] = set()
        self._no_longer_refused: dict[RecordId, Refused] = {}  # and not reported yet
        self.waits = Waits()
        self._producer = instance.producer(listener)
        self.side_was_reached = False  # by any instance of this sink, at any time; valid after load()

    # Starting and stopping.

    def start(self) -> None:
        """Fence the older instance. Raises Unavailable, SetupError."""
        self._producer.start()

    def load(self) -> dict[str, Position]:
        """Read all entries of the connector. Raises Unavailable, SetupError."""
        entries = self._entries.load(self._instance.connector)
        if not self._is_restored:
            self._limit.restore(entries.get(self._limit_entry))
            self._is_restored = True
        self.side_was_reached |= any(
            bool(mark.get("reached")) for entry, mark in entries.items() if entry.startswith(_CLEAN)
        )
        return entries

    def was_clean(self, entries: Mapping[str, Position]) -> bool:
        """Whether no write can be in doubt, because this instance and all others there ever were have stopped cleanly."""
        own = entries.get(self._clean_entry)
        return own is not None and bool(own["clean"]) and self.others_were_clean(entries)

    def others_were_clean(self, entries: Mapping[str, Position]) -> bool:
        """Whether no other instance runs now or was interrupted."""
        return all(
            bool(mark["clean"])
            for entry, mark in entries.items()
            if entry.startswith(_CLEAN) and entry != self._clean_entry
        )

    def note_clean(self, clean: bool) -> None:
        """Store whether this instance leaves no write in doubt. Raises Unavailable, Fenced."""
        mark = {"clean": clean, "reached": self.side_was_reached}
        self._produce([self._entries.output(self._instance.connector, self._clean_entry, mark)])

    def note_reached(self) -> None:
        """Store that the side has answered. If it does not answer later, that is an outage. Raises Unavailable, Fenced."""
        self.side_was_reached = True
        self.note_clean(False)

    def close(self) -> None:
        """Cut short what waits for Kafka. From any thread."""
        self._producer.close()

    # Outcomes.

    def take(self, landed: Iterable[Landed]) -> None:
        """Take outcomes for the next report()."""
        self._landed.extend(landed)

    @property
    def has_news(self) -> bool:
        """Whether there are outcomes to report."""
        return bool(self._landed)

    def report(self, more: Sequence[Output] = ()) -> None:
        """
        Write the outcomes, in one transaction with the offsets that they finish.

        Args:
            more: Records that must be written no later than these offsets.

        Raises:
            Unavailable: nothing was written. The next call repeats it, except for partitions that are lost by then.
            Fenced: a newer instance has taken over.
        """
        self._drop_lost()
        if not self._landed and not more:
            return
        counted = self._limit.unsaved()
        report = Report([*more, *(() if counted is None else (self._limit_output(counted),))])
        for each in self._landed:
            self._outcomes.add(each, self.waits, report)
        commands = [each.command for each in self._landed]
        positions = self._buffer.positions(commands)
        try:
            self._produce(report.outputs, positions)
        except DataError:
            # With its headers a dead letter may be larger than the record was. Then only the headers are written.
            log.warning("dead_letters_without_originals", dead_letters=report.dead_letters)
            self._produce([self._without_original(output) for output in report.outputs], positions)
        self._landed = []
        if counted is not None:
            self._limit.saved(counted)
        self._finish(report, commands, positions)

    def set_aside(self, message: Message, error: DataError, stage: str) -> None:
        """Write a dead letter for a record that is not a command. Raises Unavailable, Fenced."""
        letter = self._outcomes.dead_letter(message, error, stage)
        try:
            self._produce([letter])
        except DataError:  # with its headers it may be larger than the record was
            log.warning("dead_letters_without_originals", dead_letters=1)
            self._produce([self._without_original(letter)])
        self._metrics.records_set_aside(1)

    def _drop_lost(self) -> None:
        """Drop the outcomes of commands whose partitions are lost: the new owners repeat and report these commands."""
        lost = [each.command for each in self._landed if each.command.lost]
        if lost:
            self._buffer.done(lost)
            self._landed = [each for each in self._landed if not each.command.lost]

    def _finish(self, report: Report, commands: Iterable[Command], positions: Mapping[Place, int]) -> None:
        self._buffer.done(commands)
        self._buffer.committed(positions)
        for wait in report.waits:
            self.waits.put(wait)
            # They may have been created since the task asked.
            self._known_parents |= wait.parents - wait.deleted
        for wait in report.settled:
            self.waits.drop(wait.id)
        for refused in report.no_longer_refused:
            self.waits.refusals.drop(refused.id)
        for refused in report.refused:
            self.waits.refusals.put(refused)
        self._metrics.records_set_aside(report.dead_letters)

    def _without_original(self, output: Output) -> Output:
        return replace(output, value=None) if output.headers else output

    # Writes that wait for a parent.

    def take_waits(self, entries: Mapping[str, Position], owned: Iterable[tuple[str, int]]) -> None:
        """Take over the waits of the *owned* (object, partition) pairs. Their parents may be known already."""
        self.waits.load(entries, frozenset(owned))
        self._known_parents |= self.waits.parents

    def answer_waits(self, identities: IdentityTables) -> None:
        """
        Ask merge to send again what waited for a parent whose Id is known now, and the writes whose time has come.

        Raises:
            Unavailable: nothing was written; call again.
        """
        self._known_parents |= identities.follow()
        known = [parent for parent in self._known_parents if identities.native_id(*parent) is not None]
        if answered := self.waits.answered_by(known):
            self._produce(output for wait in answered for output in self._outcomes.retry(wait))
            for wait in answered:
                self.waits.drop(wait.id)
            log.info("waits_answered", records=len(answered))
        self._known_parents.clear()
        self._try_again(round(self._outcomes.clock() * 1000))
        self._metrics.waits.set(len(self.waits))

    def keeps_away(self, record: RecordId) -> bool:
        """Whether a write was refused because this record has a unique value."""
        return bool(self.waits.refusals.kept_by(record))

    def note_write(self, record: RecordId, write: Write) -> None:
        """Note a write to a record with a unique value. If it may change the value, the refused writes are sent again."""
        ended = [each for each in self.waits.refusals.kept_by(record) if each.may_end_with(write)]
        self._no_longer_refused |= {refused.id: refused for refused in ended}

    def send_again_refused(self) -> None:
        """
        Ask merge to send again what was refused because of another record, if that record has been written since.

        Raises:
            Unavailable: nothing was written; call again.
        """
        if ended := self._no_longer_refused:
            self._produce(
                output for refused in ended.values() for output in self._outcomes.send_again(refused)
            )
            for refused in ended.values():
                self.waits.refusals.drop(refused.id)
            log.info("refused_writes_sent_again", records=len(ended))
            self._no_longer_refused = {}

    def _try_again(self, now_ms: int) -> None:
        due = self.waits.due(now_ms)
        asked = [(wait, wait.after_asking(now_ms)) for wait in due if not wait.asked]
        ended = [wait for wait in due if wait.asked]
        if not due:
            return
        outputs = [output for wait, still in asked for output in self._outcomes.retry(wait, still)]
        self._produce([*outputs, *(output for wait in ended for output in self._outcomes.end(wait))])
        for _, still in asked:
            self.waits.put(still)
        for wait in ended:
            self.waits.drop(wait.id)
        log.info("waiting_writes_tried_again", records=len(asked))

    def _limit_output(self, counted: Counts) -> Output:
        return self._entries.output(self._instance.connector, self._limit_entry, counted.position())

    @property
    def _clean_entry(self) -> str:
        return f"{_CLEAN}{self._instance.ordinal}"

    def _produce(self, outputs: Iterable[Output], positions: Mapping[Place, int] | None = None) -> None:
        outputs = tuple(outputs)
        letters = sum(1 for output in outputs if output.headers)
        with self._metrics.committing(dead_letters=letters), self._producer.transaction() as transaction:
            for output in outputs:
                transaction.produce(output.topic, output.key, output.value, headers=output.headers)
            if positions:
                offsets = [TopicPartition(topic, number, at) for (topic, number), at in positions.items()]
                transaction.send_offsets(offsets, self._group())
