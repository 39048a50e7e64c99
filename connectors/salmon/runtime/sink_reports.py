"""
What a sink writes to Kafka: outcomes, retries of what waited, and whether it stopped in good order.

The producer is here, and every record goes into a transaction. One thread uses it: the sink's loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog
from confluent_kafka import Message, TopicPartition

from salmon.errors import DataError
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.transactions import Observer
from salmon.model.connector import Position
from salmon.runtime.commands import Command, Place
from salmon.runtime.identity_tables import IdentityTables
from salmon.runtime.instance import Instance
from salmon.runtime.sink_buffer import SinkBuffer
from salmon.runtime.telling import Landed, Output, Telling, Told
from salmon.runtime.waits import RecordId, Waits

log = structlog.get_logger(__name__)

_CLEAN: Final = "clean/"  # entries: one for each ordinal


class SinkReports:
    """
    Args:
        telling: What an outcome leads to.
        entries: The connector's entries in `offsets`.
        group: The consumer's group, for offsets in a transaction.
        observer: Is told when a transaction waits for Kafka.
    """

    def __init__(
        self,
        instance: Instance,
        buffer: SinkBuffer,
        telling: Telling,
        entries: OffsetStore,
        *,
        group: Callable[[], Any],
        observer: Observer | None = None,
    ) -> None:
        self._instance, self._metrics = instance, instance.metrics
        self._buffer, self._telling, self._entries, self._group = buffer, telling, entries, group
        self._landed: list[Landed] = []  # not told yet
        self._known_parents: set[RecordId] = (
            set()
        )  # whose Ids may be known, and whose children are not told yet
        self.waits = Waits()
        self._producer = instance.producer(observer)
        self.side_was_reached = False  # by an instance of this sink, some time ago; after load()

    # Starting and stopping.

    def start(self) -> None:
        """Fence the older instance. Raises Unavailable, SetupError."""
        self._producer.start()

    def load(self) -> dict[str, Position]:
        """All entries of the connector. Raises Unavailable, SetupError."""
        entries = self._entries.load(self._instance.connector)
        self.side_was_reached |= any(
            bool(mark.get("reached")) for entry, mark in entries.items() if entry.startswith(_CLEAN)
        )
        return entries

    def was_clean(self, entries: Mapping[str, Position]) -> bool:
        """
        Whether no write can be in doubt: this instance stopped in good order, and so did all others there ever were.
        """
        own = entries.get(self._clean_entry)
        return own is not None and bool(own["clean"]) and self.others_were_clean(entries)

    def others_were_clean(self, entries: Mapping[str, Position]) -> bool:
        """Whether no other instance is at work now, or stopped in disorder."""
        return all(
            bool(mark["clean"])
            for entry, mark in entries.items()
            if entry.startswith(_CLEAN) and entry != self._clean_entry
        )

    def note_clean(self, clean: bool) -> None:
        """Note whether this instance leaves nothing in doubt. Raises Unavailable, Fenced."""
        mark = {"clean": clean, "reached": self.side_was_reached}
        key, value = self._entries.record(self._instance.connector, self._clean_entry, mark)
        self._produce([Output(self._entries.topic, key, value)])

    def note_reached(self) -> None:
        """The side has answered: from now on, when it does not, that is an outage. Raises Unavailable, Fenced."""
        self.side_was_reached = True
        self.note_clean(False)

    def close(self) -> None:
        """Cut short what waits for Kafka. From any thread."""
        self._producer.close()

    # Outcomes.

    def take(self, landed: Iterable[Landed]) -> None:
        """Outcomes to be told by the next tell()."""
        self._landed.extend(landed)

    @property
    def has_news(self) -> bool:
        """Whether the next tell() has outcomes to tell."""
        return bool(self._landed)

    def tell(self, besides: Sequence[Output] = ()) -> None:
        """
        Tell the outcomes, in one transaction with the offsets that they finish.

        Args:
            besides: What must be kept before any of these offsets.

        Raises:
            Unavailable: nothing happened; they are told by the next call, unless their partitions are lost by then.
            Fenced: a newer instance has taken over.
        """
        self._drop_lost()
        if not self._landed and not besides:
            return
        told = Told([*besides])
        for each in self._landed:
            self._telling.of(each, self.waits, told)
        commands = [each.command for each in self._landed]
        positions = self._buffer.positions(commands)
        try:
            self._produce(told.outputs, positions)
        except DataError:
            # With its headers a dead letter may be larger than the record was: then the headers must do.
            log.warning("dead_letters_without_originals", dead_letters=told.dead_letters)
            self._produce([self._without_original(output) for output in told.outputs], positions)
        self._landed = []
        self._finish(told, commands, positions)

    def set_aside(self, message: Message, error: DataError, stage: str) -> None:
        """A record that is not even a command. Raises Unavailable, Fenced."""
        self._produce([self._telling.dead_letter(message, error, stage)])
        self._count_dead_letters(1)

    def _drop_lost(self) -> None:
        """What became of commands whose partitions are somebody else's now is for those to tell: they repeat them."""
        lost = [each.command for each in self._landed if each.command.lost]
        if lost:
            self._buffer.done(lost)
            self._landed = [each for each in self._landed if not each.command.lost]

    def _finish(self, told: Told, commands: Iterable[Command], positions: Mapping[Place, int]) -> None:
        self._buffer.done(commands)
        self._buffer.committed(positions)
        for wait in told.waits:
            self.waits.put(wait)
            self._known_parents |= wait.parents  # They may have come since the task looked.
        for wait in told.settled:
            self.waits.drop(wait.id)
        self._count_dead_letters(told.dead_letters)

    def _count_dead_letters(self, count: int) -> None:
        self._metrics.record_errors.inc(count)
        self._metrics.records_skipped.inc(count)
        self._metrics.dead_letters.inc(count)

    def _without_original(self, output: Output) -> Output:
        return replace(output, value=None) if output.headers else output

    # Writes that wait for a parent.

    def take_waits(self, entries: Mapping[str, Position], owned: Iterable[tuple[str, int]]) -> None:
        """Look after the waits of the (object, partition) pairs that are *owned*; their parents may be there."""
        self.waits.load(entries, frozenset(owned))
        self._known_parents |= self.waits.parents

    def answer_waits(self, identities: IdentityTables) -> None:
        """
        Where the Id of a parent is known now, let merge send again what waited for it.

        Raises:
            Unavailable: nothing happened; call again.
        """
        self._known_parents |= identities.follow()
        known = [parent for parent in self._known_parents if identities.native_id(*parent) is not None]
        if answered := self.waits.answered_by(known):
            self._produce(output for wait in answered for output in self._telling.retry(wait))
            for wait in answered:
                self.waits.drop(wait.id)
            log.info("waits_answered", records=len(answered))
        self._known_parents.clear()
        self._metrics.waits.set(len(self.waits))

    @property
    def _clean_entry(self) -> str:
        return f"{_CLEAN}{self._instance.ordinal}"

    def _produce(self, outputs: Iterable[Output], positions: Mapping[Place, int] | None = None) -> None:
        began = time.monotonic()
        with self._producer.transaction() as transaction:
            for output in outputs:
                transaction.produce(output.topic, output.key, output.value, headers=output.headers)
            if positions:
                offsets = [TopicPartition(topic, number, at) for (topic, number), at in positions.items()]
                transaction.send_offsets(offsets, self._group())
        self._metrics.transaction_seconds.observe(time.monotonic() - began)
