"""Brokers and registries for tests: the embedded ones and the real ones, each ended with its block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from salmon.devstack import jvm
from salmon.devstack.broker import EmbeddedBroker, Kafka
from salmon.devstack.processes import Server
from salmon.devstack.registry_process import Registry, RegistryProcess
from salmon.kafka.clients import TransactionalProducer

EMBEDDED: Final = "embedded"
JVM: Final = "jvm"


@contextmanager
def embedded_broker(folder: Path) -> Iterator[dict[str, Any]]:
    """Run the broker from the wheel; yields the `kafka` block that reaches it."""
    with broker(EMBEDDED, folder) as kafka:
        yield kafka


@contextmanager
def broker(stack: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Run the broker of a stack; yields the `kafka` block that reaches it."""
    kind = jvm.ApacheKafka if stack == JVM else EmbeddedBroker
    server: Kafka = kind(folder / "kafka", folder / "kafka.log")
    with _running(server):
        yield {"bootstrap.servers": server.bootstrap_servers}


@contextmanager
def registry(stack: str, folder: Path) -> Iterator[str]:
    """Run the registry of a stack; yields its URL."""
    kind = jvm.Apicurio if stack == JVM else RegistryProcess
    server: Registry = kind(folder / "registry", folder / "registry.log")
    with _running(server):
        yield server.url


class Failure(Exception):
    """Something of the caller's own, in the middle of a transaction."""


def fail_writing(producer: TransactionalProducer, topic: str, **rows: bytes | None) -> None:
    """Write *rows* into an open transaction, and fail in it when the broker has them."""
    with producer.transaction() as transaction:
        for key, value in rows.items():
            transaction.produce(topic, key, value)
        producer._producer.flush(10)
        raise Failure


@contextmanager
def _running(server: Server) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()
