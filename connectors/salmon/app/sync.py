"""
A handle on a sync for the operator's commands: its configuration, its Kafka, its registry, and the rules of its objects.

Each of them is opened when it is first used, and closed with the handle. The connectors do not use it: they wait for Kafka
and show that in /health (app.process), while an operator wants an answer at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Final, Self

from confluent_kafka.admin import AdminClient

from salmon.closing import Closing
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


class Sync(Closing):
    """
    A context manager. Entering it connects to Kafka, so that an outage is reported first. For one thread only.

    Args:
        client_id: Our name in the brokers' logs.
        connect_s: Seconds in which a broker has to answer.

    Raises:
        ConfigError: a Kafka property is not valid.
        Unavailable, SetupError: Kafka or the registry does not answer, or refuses us; from every method that asks one.
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
        """An admin client that is connected to a broker."""
        return clients.connect(self.kafka, client_id=self._client_id, timeout_s=self._connect_s)

    @cached_property
    def registry(self) -> SchemaRegistry:
        return registry_of(self.config)

    def close(self) -> None:
        """Close what was opened. Idempotent; a later use opens it again."""
        if (registry := self.__dict__.pop("registry", None)) is not None:
            registry.close()

    def __enter__(self) -> Self:
        _ = self.admin
        return self

    # Objects.

    def check_object(self, name: str, *, given_as: str = "") -> None:
        """Raise ConfigError if the object is not in the configuration. *given_as*: the option that named it."""
        if name not in self.config.objects:
            said = f"{given_as} {name}".lstrip()
            raise ConfigError(
                f"{said}: this object is not in the configuration. It has {', '.join(self.config.objects)}."
            )

    def schema(self, name: str) -> ObjectSchema:
        """
        Return the schema of an object from the registry.

        Raises:
            ConfigError: the object is not in the configuration.
            SetupError: the registry does not have it yet.
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
        """Return the rules of an object. Raises the errors of schema()."""
        return rules_of(self.schema(name), self.config.objects[name], self.config.roster.of(name))

    def state_codec(self, name: str) -> States:
        """Return the codec that reads merge's states of an object. Raises the errors of schema()."""
        return States(self.rules(name), self.registry, self.topics.state(name))

    @contextmanager
    def producer(self, purpose: str) -> Iterator[clients.TransactionalProducer]:
        """
        Open a transactional producer of this sync; it is closed at the end of the block.

        Of two producers with the same *purpose*, the newer one fences the older, whose open transaction is aborted.
        """
        name = f"{self.config.name}-{purpose}"
        producer = clients.producer(self.kafka, transactional_id=name, client_id=name)
        producer.start()
        try:
            yield producer
        finally:
            producer.close()
