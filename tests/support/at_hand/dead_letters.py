"""A sync of one object and two events, as `salmon dlq` sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from salmon.errors import DataError
from salmon.kafka import clients, topics
from salmon.kafka.codecs.serdes import Changes, Offsets, Writes
from salmon.kafka.dead_letters import Headers, dead_letter_headers
from salmon.kafka.output import Output
from salmon.model.change import Change, Write, WriteOp
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema
from salmon.model.sides import OWN_ROSTER
from salmon.story.lookup import Lookup
from support.at_hand.memory_sync import MemorySync
from support.runtime import OBJECT, SCHEMA, Sync

INSERTED, PUBLISHED = "Order_Shipped__e", "Order_Placed__e"


class Desk(Lookup):
    """
    What the commands hold in their hands.

    Args:
        sync: The sync of the workers, on any broker. None: on one in memory.
    """

    def __init__(self, sync: Sync | None = None) -> None:
        self.sync = sync or MemorySync()
        carried = (INSERTED, PUBLISHED)
        needed = topics.specs(self.sync.topics, [OBJECT], partitions=2, replication_factor=1, carried=carried)
        replays = {self.sync.topics.replays(event) for event in carried}
        topics.ensure(self.sync.clients.admin(), [each for each in needed if each.name in replays])
        self.config: Any = SimpleNamespace(
            name=self.sync.name,
            roster=OWN_ROSTER,
            objects={OBJECT: SimpleNamespace(direction="both")},
            events={
                INSERTED: SimpleNamespace(object=None, outbox=None),
                PUBLISHED: SimpleNamespace(object=OBJECT, outbox=None),
            },
        )
        self.kafka: Any = self.sync.clients
        self.topics = self.sync.topics
        self.__dict__["admin"] = self.sync.clients.admin()
        self.__dict__["registry"] = self.sync.registry
        Offsets(self.sync.registry, self.topics.handled).register()
        self.one_way_to: str | None = None

    @property
    def memory(self) -> MemorySync:
        """The same as `sync`, if it is in memory."""
        assert isinstance(self.sync, MemorySync)
        return self.sync

    def close(self) -> None:
        """The broker and the registry are the test's."""

    def schema(self, name: str) -> ObjectSchema:
        assert name == OBJECT
        return SCHEMA

    def rules(self, name: str) -> Rules:
        return Rules(self.schema(name), one_way_to=self.one_way_to)

    @contextmanager
    def producer(self, purpose: str) -> Iterator[clients.TransactionalProducer]:
        name = f"{self.sync.name}-{purpose}"
        producer = self.sync.clients.producer(transactional_id=name, client_id=name)
        producer.start()
        yield producer
        producer.close()

    # What the workers set aside.

    def letter(
        self,
        queue: str,
        key: str | bytes | None,
        value: bytes | None,
        error: Exception | None = None,
        *,
        stage: str = "VALUE_CONVERTER",
        topic: str = "",
        subject: str = OBJECT,
        offset: int = 0,
    ) -> None:
        """A dead letter in the queue of a connector. *topic*: from which the record came; none: from a side."""
        headers: Headers = dead_letter_headers(
            _message(topic, offset, key, value) if topic else None,
            error or DataError("It cannot be read."),
            connector=queue,
            stage=stage,
            subject=subject,
        )
        with self.producer("test") as producer, producer.transaction() as transaction:
            transaction.produce(self.topics.dlq(queue), key, value, headers=headers)

    def changes_of(self, output: Output) -> Change:
        """A change that is about to be written."""
        return Changes(self.schema(OBJECT), self.registry, output.topic).decode(output.value or b"")

    def refused(self, key: str, seq: int, error: Exception | None = None, **fields: Any) -> None:
        """A write that Salesforce refused."""
        topic = self.topics.writes("salesforce", OBJECT)
        value = Writes(self.schema(OBJECT), self.registry, topic).encode(
            Write(seq, WriteOp.UPDATE, fields=fields)
        )
        self.letter("salesforce-sink", key, value, error, stage="TASK_PUT", topic=topic, offset=seq)


def _message(topic: str, offset: int, key: str | bytes | None, value: bytes | None) -> Any:
    return SimpleNamespace(
        topic=lambda: topic,
        partition=lambda: 0,
        offset=lambda: offset,
        timestamp=lambda: (1, 1_700_000_000_000),
        key=lambda: key,
        value=lambda: value,
        headers=lambda: None,
    )
