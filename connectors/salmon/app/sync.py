"""
One handle on a sync, for what an operator asks of it: its configuration, its Kafka, its registry, and the rules of its objects.

Nothing is opened before it is used, and what was opened is closed with the handle. The connectors do not use it: they are
watched as they wait for Kafka (app.process), and an operator wants an answer at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import Final, Self

from confluent_kafka.admin import AdminClient

from salmon.config.models import SyncConfig
from salmon.config.registries import registry_of
from salmon.errors import ConfigError, SetupError
from salmon.kafka import clients
from salmon.kafka.codecs.registry import SchemaRegistry, object_schema
from salmon.merge.settings import rules_of
from salmon.merge.states import States
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema

_CONNECT_S: Final = 10.0


class Sync:
    """
    A context manager: entering it reaches Kafka, so that who asks hears first if it is away. One thread uses it.

    Args:
        client_id: Our name in the logs of the brokers.
        connect_s: So long a broker has to answer.

    Raises:
        ConfigError: a Kafka property that cannot be.
        Unavailable, SetupError: as Kafka and the registry answer, wherever one of them is asked.
    """

    def __init__(
        self, config: SyncConfig, *, client_id: str = "salmon", connect_s: float = _CONNECT_S
    ) -> None:
        self.config = config
        self.kafka = config.kafka_properties()
        self.topics = config.topic_names
        self._client_id, self._connect_s = client_id, connect_s
        self._schemas: dict[str, ObjectSchema] = {}

    @cached_property
    def admin(self) -> AdminClient:
        """An admin client that a broker has answered."""
        return clients.connect(self.kafka, client_id=self._client_id, timeout_s=self._connect_s)

    @cached_property
    def registry(self) -> SchemaRegistry:
        return registry_of(self.config)

    def close(self) -> None:
        """Close what was opened. Idempotent; what is used again is opened again."""
        if (registry := self.__dict__.pop("registry", None)) is not None:
            registry.close()

    def __enter__(self) -> Self:
        _ = self.admin
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What it knows of an object.

    def check_object(self, name: str, *, given_as: str = "") -> None:
        """Raises ConfigError for an object that the configuration does not have. *given_as*: the option that named it."""
        if name not in self.config.objects:
            said = f"{given_as} {name}".lstrip()
            raise ConfigError(
                f"{said}: this object is not in the configuration. It has {', '.join(self.config.objects)}."
            )

    def schema(self, name: str) -> ObjectSchema:
        """
        What the registry has of an object.

        Raises:
            ConfigError: the configuration has no such object.
            SetupError: the registry does not know it yet.
        """
        self.check_object(name)
        if name not in self._schemas:
            schema = object_schema(self.registry, self.topics.records(name))
            if schema is None:
                raise SetupError(
                    f"objects.{name}: the schema registry does not know {name} yet. Start the connectors of this sync "
                    f"(`salmon run all`): salesforce-source registers it."
                )
            self._schemas[name] = schema
        return self._schemas[name]

    def rules(self, name: str) -> Rules:
        """The rules of an object. Raises as schema()."""
        return rules_of(self.schema(name), self.config.objects[name])

    def state_codec(self, name: str) -> States:
        """How merge's states of an object are read. Raises as schema()."""
        return States(self.rules(name), self.registry, self.topics.state(name))

    @contextmanager
    def producer(self, purpose: str) -> Iterator[clients.TransactionalProducer]:
        """
        A producer of transactions of this sync, started, and closed with the block.

        Two of one *purpose* fence each other, the newer the older: what the older has not committed did not happen.
        """
        name = f"{self.config.name}-{purpose}"
        producer = clients.producer(self.kafka, transactional_id=name, client_id=name)
        producer.start()
        try:
            yield producer
        finally:
            producer.close()
