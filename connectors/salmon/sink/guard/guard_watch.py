"""
Connects a sink's delete guard with Kafka: stores what it has counted, reads approvals, and reports what it holds back.

The counts are entries in `offsets`, and are written before the offsets of the deletes that they count. So every delete that is
carried out has been counted, however often a sink is killed. Approvals come through the sink's `signals`, which each instance
reads from the beginning. They name offsets of `writes`, so that reading one twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import structlog

from salmon.config.sections.deletions import DeleteGuardConfig
from salmon.errors import SchemaMismatch
from salmon.kafka import tables
from salmon.kafka.codecs.serdes import Signals
from salmon.kafka.extents import extents
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.kafka.topics import partition_counts
from salmon.plugin.contract import Position, SignalKind
from salmon.runtime.every import Every
from salmon.runtime.instance import Instance
from salmon.sink.buffer import SinkBuffer
from salmon.sink.guard.delete_guard import PREFIX, DeleteGuard, PartitionId

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.25
# The records are counted by reading the `records` topic. Of a larger one, the share is above the default deletes_max anyway.
RECORDS_READ_MAX: Final = 200_000


class GuardWatch:
    """
    Only the sink's loop uses it; `guard` is also used by the putters.

    Args:
        settings: Object -> its limits.
    """

    def __init__(
        self,
        instance: Instance,
        settings: Mapping[str, DeleteGuardConfig],
        buffer: SinkBuffer,
        entries: OffsetStore,
    ) -> None:
        self._instance, self._settings, self._buffer, self._entries = instance, settings, buffer, entries
        self._objects = {instance.topics.writes(instance.side, name): name for name in settings}
        self._codec = Signals(instance.registry, instance.topics.signals(instance.connector))
        self._signals: tables.Table | None = None
        self._partitions = 1
        self._held: dict[PartitionId, int] = {}
        self._look_time = Every(LOOK_EVERY_S)
        self.guard = DeleteGuard(settings, size_of=self._size, tripped=self._tripped)

    def start(self) -> None:
        """Read the approvals that Kafka still has. Raises Unavailable, SetupError."""
        instance = self._instance
        counts = partition_counts(instance.clients.admin())
        self._partitions = next((counts[topic] for topic in self._objects if topic in counts), 1)
        signals = self._signals = tables.Table(instance.clients, self._codec.topic)
        signals.load()
        for value in signals.rows.values():
            self._take_signal(value, is_new=False)

    def take(self, entries: Mapping[str, Position], owned: Collection[PartitionId]) -> None:
        """Guard the *owned* partitions from now on. *entries*: what all instances have stored about them."""
        self.guard.own(owned, entries, partitions=self._partitions)

    def turn(self, *, settled: bool) -> None:
        """
        Read what an operator has decided, and report what waits.

        Args:
            settled: Whether everything that was read is carried out or held back.
        """
        if not self._look_time.due():
            return
        assert self._signals is not None
        for value in self._signals.follow().values():
            self._take_signal(value, is_new=True)
        paused, before = self.guard.paused, self._held
        self._held = self._held_now()
        if any(name not in paused for name, _ in self._held):
            # An approval came after a putter was told to hold a delete back, and before the buffer held it.
            self._buffer.release(lambda command: self._objects[command.partition.place[0]] not in paused)
            self._held = self._held_now()
        differs = {
            each for each in before.keys() | self._held.keys() if before.get(each) != self._held.get(each)
        }
        self.guard.keep(f"{PREFIX}{name}/{number}" for name, number in differs)
        held = dict.fromkeys(self._settings, 0)
        for (name, _), count in self._held.items():
            held[name] += count
        for name in sorted(paused):
            if settled and not held[name]:
                self.guard.resume(name)
                log.info("deletes_resumed", object=name)
        for name, count in held.items():
            self._instance.metrics.guard_holds(name, count)
        self._instance.health.note(
            " ".join(_sentence(name, held[name]) for name in sorted(paused) if held[name])
        )

    def outputs(self) -> dict[str, Output]:
        """Return entry -> the record to write before any offset is committed."""
        changed = self.guard.entries(self._held)
        connector = self._instance.connector
        return {
            entry: self._entries.output(connector, entry, position) for entry, position in changed.items()
        }

    def close(self) -> None:
        if self._signals is not None:
            self._signals.close()

    def _held_now(self) -> dict[PartitionId, int]:
        return {(self._objects[topic], number): n for (topic, number), n in self._buffer.held().items()}

    def _take_signal(self, value: bytes | None, *, is_new: bool) -> None:
        try:
            signal = self._codec.decode(value or b"", offset=0)
        except SchemaMismatch as error:
            log.warning("signal_unreadable", reason=str(error))
            return
        if signal.kind is not SignalKind.APPROVE or signal.object not in self._settings:
            return
        self.guard.approve(signal.object, signal.until, is_new=is_new)
        topic = self._instance.topics.writes(self._instance.side, signal.object)
        # Those that came later are judged again.
        released = self._buffer.release(lambda command: command.partition.place[0] == topic)
        if is_new:
            log.info("deletes_approved", object=signal.object, deletes=released, reason=signal.reason)

    def _tripped(self, name: str, count: int) -> None:
        self._instance.metrics.guard_tripped(name)
        limits = self._settings[name]
        paused = limits.beyond == "pause"
        log.error(
            "deletes_paused" if paused else "deletes_beyond_limit",
            object=name,
            deletes=count,
            window_s=limits.window_s,
            deletes_max=limits.deletes_max,
            share_max=limits.share_max,
            mend="salmon guard list, then approve or discard" if paused else "look for what deletes them",
        )

    def _size(self, name: str) -> int | None:
        """Count an object's records in its `records` topic; None if there are too many. Raises Unavailable, SetupError."""
        clients, topic = self._instance.clients, self._instance.topics.records(name)
        found = extents(clients.admin(), topic, range(self._partitions))
        if sum(extent.end - extent.start for extent in found.values()) > RECORDS_READ_MAX:
            return None
        return len(tables.load(clients, topic))


def _sentence(name: str, held: int) -> str:
    return (
        f"{name}: {held:,} deletes are held back, because there were too many at once; `salmon guard list` shows them, "
        f"`salmon guard approve` or `discard` decides."
    )
