"""
Lists, approves and discards the deletes that wait for a decision.

The waiting deletes are in `writes`, and a sink's pause is an entry in `offsets`; so the sink need not run. Approving is a
signal to the sink. It names offsets, so it covers exactly the deletes written up to now. Discarding is an operator's edit in
`changes`: the record is kept as the side has it that was to delete it, and merge gives it back to the other side.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from salmon.app.sync import Sync
from salmon.config.models import SyncConfig
from salmon.errors import ConfigError
from salmon.kafka import tables
from salmon.kafka.codecs.serdes import Changes, Signals, Writes
from salmon.kafka.offsets import OffsetStore
from salmon.model.change import OPERATOR, Change, Op, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.sides import named
from salmon.plugin.contract import Signal, SignalKind
from salmon.sink.guard.delete_guard import PREFIX

# One operator at a time: a second one fences the first, whose decision is not half taken.
_PURPOSE: Final = "guard"
_DISCARDED_AT_ONCE: Final = 500  # edits in one transaction


@dataclass(frozen=True, slots=True)
class WaitingDeletes:
    """The deletes of one object that wait on one side."""

    object: str
    side: str  # that would delete
    keys: tuple[str, ...]  # of the records, in their order
    until: tuple[int, ...]  # of each partition of `writes`: where it ended

    def as_dict(self) -> dict[str, Any]:
        return {"object": self.object, "side": self.side, "deletes": len(self.keys), "keys": list(self.keys)}


@dataclass(slots=True)
class Desk:
    """Lists what waits, and carries out decisions. Made by opened()."""

    sync: Sync
    by: str  # the operator's name, for the record

    def waiting(
        self, objects: Sequence[str] = (), sides: Sequence[str] | None = None
    ) -> list[WaitingDeletes]:
        """
        What waits, of these objects (all, if none is named) and on these sides (all, if they are not given).

        Raises:
            Unavailable, SetupError: as the brokers and the registry answer.
        """
        sync = self.sync
        entries = OffsetStore(sync.kafka, sync.topics, sync.registry)
        found = []
        for side in sync.config.roster.names if sides is None else sides:
            kept = entries.load(named(side).sink)
            paused = {
                entry.removeprefix(PREFIX).partition("/")[0]
                for entry, position in kept.items()
                if entry.startswith(PREFIX) and position["paused"]
            }
            for name in sorted(paused & sync.config.objects.keys()):
                if not objects or name in objects:
                    found.append(self._waiting(side, name))
        return [each for each in found if each.keys]

    def approve(self, waiting: WaitingDeletes) -> None:
        """Let the sink carry out exactly these deletes. Raises Unavailable, SetupError."""
        codec = Signals(self.sync.registry, self.sync.topics.signals(named(waiting.side).sink))
        signal = Signal(
            0, SignalKind.APPROVE, waiting.object, reason=f"approved {self._by()}", until=waiting.until
        )
        with self.sync.producer(_PURPOSE) as producer, producer.transaction() as transaction:
            transaction.produce(codec.topic, waiting.object, codec.encode(signal), partition=0)

    def discard(self, waiting: WaitingDeletes) -> None:
        """
        Let these records live on, and the side that deleted them have them back.

        Raises:
            ConfigError: the object is one-way: the side that deleted them is never written to.
            Unavailable, SetupError: as the brokers and the registry answer.
        """
        if (direction := self.sync.config.objects[waiting.object].direction) != "both":
            raise ConfigError(
                f"objects.{waiting.object}.direction is {direction}, so its source is never written "
                f"to, and cannot get the records back. Restore them there, or use `salmon guard approve`."
            )
        topic = self.sync.topics.changes(waiting.object)
        codec = Changes(self.sync.schema(waiting.object), self.sync.registry, topic)
        change = Change(
            OPERATOR,
            Op.EDIT,
            committed_at=_now_ms(),
            changed=frozenset({EXISTENCE}),
            source={
                "by": self.by,
                "reason": f"deletes that waited on {waiting.side} were discarded {self._by()}",
            },
        )
        value = codec.encode(change)
        with self.sync.producer(_PURPOSE) as producer:
            for first in range(0, len(waiting.keys), _DISCARDED_AT_ONCE):
                with producer.transaction() as transaction:
                    for key in waiting.keys[first : first + _DISCARDED_AT_ONCE]:
                        transaction.produce(topic, key, value)

    def _waiting(self, side: str, name: str) -> WaitingDeletes:
        topic = self.sync.topics.writes(side, name)
        codec = Writes(self.sync.schema(name), self.sync.registry, topic)
        with tables.Table(self.sync.kafka, topic, lambda value: codec.decode(value).op) as table:
            table.load()
            until = tuple(offset for _, offset in sorted(table.next_offsets.items()))
            keys = [key for key, op in table.rows.items() if op is WriteOp.DELETE]
        return WaitingDeletes(name, side, tuple(sorted(keys)), until)

    def _by(self) -> str:
        return f"by {self.by} at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"


@contextmanager
def opened(config: SyncConfig, *, by: str) -> Iterator[Desk]:
    """
    Raises:
        Unavailable, SetupError: Kafka or the registry cannot be reached, or the sync has not begun yet.
    """
    with Sync(config, client_id="salmon-guard") as sync:
        yield Desk(sync, by)


def _now_ms() -> int:
    return round(time.time() * 1000)
