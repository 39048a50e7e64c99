"""
Lists, approves and discards the deletes that wait for a decision.

The waiting deletes are in `writes`, and a sink's pause is an entry in `offsets`; so the sink need not run. Approving is a
signal to the sink. It names offsets, so it covers exactly the deletes written up to now. Discarding is an operator's edit in
`changes`: the record is kept as the side has it that was to delete it, and merge gives it back to the other side.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from salmon.config.models import SyncConfig
from salmon.config.registries import registry_of
from salmon.errors import ConfigError, SetupError
from salmon.kafka import clients, tables
from salmon.kafka.codecs.registry import Registry, object_schema
from salmon.kafka.codecs.serdes import Changes, Signals, Writes
from salmon.kafka.offsets import OffsetStore
from salmon.model.change import OPERATOR, SIDES, Change, Op, WriteOp
from salmon.model.policies import EXISTENCE
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Signal, SignalKind
from salmon.sink.delete_guard import PREFIX

_CONNECT_S: Final = 10.0
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

    config: SyncConfig
    registry: Registry
    kafka: Mapping[str, Any] = field(repr=False)
    by: str  # the operator's name, for the record

    def waiting(self, objects: Sequence[str] = (), sides: Sequence[str] = SIDES) -> list[WaitingDeletes]:
        """
        What waits, of these objects (all, if none is named) and on these sides.

        Raises:
            Unavailable, SetupError: as the brokers and the registry answer.
        """
        topics = self.config.topic_names
        entries = OffsetStore(self.kafka, topics, self.registry)
        found = []
        for side in sides:
            kept = entries.load(f"{side}-sink")
            paused = {
                entry.removeprefix(PREFIX).partition("/")[0]
                for entry, position in kept.items()
                if entry.startswith(PREFIX) and position["paused"]
            }
            for name in sorted(paused & self.config.objects.keys()):
                if not objects or name in objects:
                    found.append(self._waiting(side, name))
        return [each for each in found if each.keys]

    def approve(self, waiting: WaitingDeletes) -> None:
        """Let the sink carry out exactly these deletes. Raises Unavailable, SetupError."""
        codec = Signals(self.registry, self.config.topic_names.signals(f"{waiting.side}-sink"))
        signal = Signal(
            0, SignalKind.APPROVE, waiting.object, reason=f"approved {self._by()}", until=waiting.until
        )
        with self._producer() as producer, producer.transaction() as transaction:
            transaction.produce(codec.topic, waiting.object, codec.encode(signal), partition=0)

    def discard(self, waiting: WaitingDeletes) -> None:
        """
        Let these records live on, and the side that deleted them have them back.

        Raises:
            ConfigError: the object is one-way: the side that deleted them is never written to.
            Unavailable, SetupError: as the brokers and the registry answer.
        """
        if self.config.objects[waiting.object].direction != "both":
            raise ConfigError(
                f"objects.{waiting.object}.direction is {self.config.objects[waiting.object].direction}, so its source is never "
                f"written to, and cannot get the records back. Restore them there, or use `salmon guard approve`."
            )
        topic = self.config.topic_names.changes(waiting.object)
        codec = Changes(self._schema(waiting.object), self.registry, topic)
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
        with self._producer() as producer:
            for first in range(0, len(waiting.keys), _DISCARDED_AT_ONCE):
                with producer.transaction() as transaction:
                    for key in waiting.keys[first : first + _DISCARDED_AT_ONCE]:
                        transaction.produce(topic, key, value)

    def _waiting(self, side: str, name: str) -> WaitingDeletes:
        topic = self.config.topic_names.writes(side, name)
        codec = Writes(self._schema(name), self.registry, topic)
        with tables.Table(self.kafka, topic, lambda value: codec.decode(value).op) as table:
            table.load()
            until = tuple(offset for _, offset in sorted(table.next_offsets.items()))
            keys = [key for key, op in table.rows.items() if op is WriteOp.DELETE]
        return WaitingDeletes(name, side, tuple(sorted(keys)), until)

    def _schema(self, name: str) -> ObjectSchema:
        topic = self.config.topic_names.records(name)
        if (schema := object_schema(self.registry, topic)) is None:
            raise SetupError(
                f"{topic} has no schema yet. Start the connectors of this sync: they register it."
            )
        return schema

    def _by(self) -> str:
        return f"by {self.by} at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}"

    @contextmanager
    def _producer(self) -> Iterator[clients.TransactionalProducer]:
        # One operator at a time: a second one fences the first, so that no decision is carried out by half.
        name = f"{self.config.name}-guard"
        producer = clients.producer(self.kafka, transactional_id=name, client_id=name)
        producer.start()
        try:
            yield producer
        finally:
            producer.close()


@contextmanager
def opened(config: SyncConfig, *, by: str) -> Iterator[Desk]:
    """
    Raises:
        Unavailable, SetupError: Kafka or the registry cannot be reached, or the sync has not begun yet.
    """
    kafka = config.kafka_properties()
    clients.connect(kafka, client_id="salmon-guard", timeout_s=_CONNECT_S)
    with closing(registry_of(config)) as registry:
        yield Desk(config, registry, kafka, by)


def _now_ms() -> int:
    return round(time.time() * 1000)
