"""
Deletes that wait for a person: which they are, and what becomes of them.

What is held back stands in `writes`, and that a sink has paused is an entry of its in `offsets`; so they can be listed,
approved and discarded whether the sink runs or not. To approve is a signal to the sink, that names offsets: exactly the
deletes written up to now. To discard is an operator's edit in `changes`: the record lives again, as the side has it that
was to delete it, and merge gives it back to the other.
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
from salmon.model.change import OPERATOR, SIDES, Change, Op, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.plugin.contract import Signal, SignalKind
from salmon.sink.delete_guard import PREFIX

# One operator at a time: a second one fences the first, whose decision is not half taken.
_PURPOSE: Final = "guard"
_DISCARDED_AT_ONCE: Final = 500  # edits in one transaction


@dataclass(frozen=True, slots=True)
class Held:
    """The deletes of one object that wait on one side."""

    object: str
    side: str  # that would delete
    keys: tuple[str, ...]  # of the records, in their order
    until: tuple[int, ...]  # of each partition of `writes`: where it ended

    def as_dict(self) -> dict[str, Any]:
        return {"object": self.object, "side": self.side, "deletes": len(self.keys), "keys": list(self.keys)}


@dataclass(slots=True)
class Desk:
    """One look at what is held back, and the means to decide. Made by opened()."""

    sync: Sync
    by: str  # the operator's name, for the record

    def held(self, objects: Sequence[str] = (), sides: Sequence[str] = SIDES) -> list[Held]:
        """
        What waits, of these objects (all, if none is named) and on these sides.

        Raises:
            Unavailable, SetupError: as the brokers and the registry answer.
        """
        sync = self.sync
        entries = OffsetStore(sync.kafka, sync.topics, sync.registry)
        found = []
        for side in sides:
            kept = entries.load(f"{side}-sink")
            paused = {
                entry.removeprefix(PREFIX).partition("/")[0]
                for entry, position in kept.items()
                if entry.startswith(PREFIX) and position["paused"]
            }
            for name in sorted(paused & sync.config.objects.keys()):
                if not objects or name in objects:
                    found.append(self._held(side, name))
        return [each for each in found if each.keys]

    def approve(self, held: Held) -> None:
        """Let the sink carry out exactly these deletes. Raises Unavailable, SetupError."""
        codec = Signals(self.sync.registry, self.sync.topics.signals(f"{held.side}-sink"))
        signal = Signal(0, SignalKind.APPROVE, held.object, reason=f"approved {self._by()}", until=held.until)
        with self.sync.producer(_PURPOSE) as producer, producer.transaction() as transaction:
            transaction.produce(codec.topic, held.object, codec.encode(signal), partition=0)

    def discard(self, held: Held) -> None:
        """
        Let these records live on, and the side that deleted them have them back.

        Raises:
            ConfigError: the object is one-way: the side that deleted them is never written to.
            Unavailable, SetupError: as the brokers and the registry answer.
        """
        if (direction := self.sync.config.objects[held.object].direction) != "both":
            raise ConfigError(
                f"objects.{held.object}.direction is {direction}: what its source has "
                f"deleted cannot be given back to it. Restore the records there, or approve."
            )
        topic = self.sync.topics.changes(held.object)
        codec = Changes(self.sync.schema(held.object), self.sync.registry, topic)
        change = Change(
            OPERATOR,
            Op.EDIT,
            committed_at=_now_ms(),
            changed=frozenset({EXISTENCE}),
            source={"by": self.by, "reason": f"held deletes of {held.side} discarded {self._by()}"},
        )
        value = codec.encode(change)
        with self.sync.producer(_PURPOSE) as producer:
            for first in range(0, len(held.keys), _DISCARDED_AT_ONCE):
                with producer.transaction() as transaction:
                    for key in held.keys[first : first + _DISCARDED_AT_ONCE]:
                        transaction.produce(topic, key, value)

    def _held(self, side: str, name: str) -> Held:
        topic = self.sync.topics.writes(side, name)
        codec = Writes(self.sync.schema(name), self.sync.registry, topic)
        with tables.Table(self.sync.kafka, topic, lambda value: codec.decode(value).op) as table:
            table.load()
            until = tuple(offset for _, offset in sorted(table.next_offsets.items()))
            keys = [key for key, op in table.rows.items() if op is WriteOp.DELETE]
        return Held(name, side, tuple(sorted(keys)), until)

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
