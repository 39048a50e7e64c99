"""
The two stacks that tests of the real processes run on: the embedded one, and Apache Kafka with Apicurio.

A stack is the servers that rings share: a broker, a registry and a MongoDB. Each ring (support.ring) brings its own
org, topics and database.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from salmon.devstack import jvm
from salmon.devstack.broker import EmbeddedBroker, Kafka
from salmon.devstack.mongod import Mongo, mongo
from salmon.devstack.processes import Server
from salmon.devstack.registry_process import Registry, RegistryProcess

EMBEDDED = "embedded"
JVM = "jvm"
# For parametrize: with `pytest --dist loadgroup` one worker runs all tests of a stack, and starts it once.
STACKS = (
    pytest.param(EMBEDDED, marks=pytest.mark.xdist_group(EMBEDDED)),
    pytest.param(JVM, marks=[pytest.mark.jvm, pytest.mark.xdist_group(JVM)]),
)


@dataclass(frozen=True, slots=True)
class Stack:
    """Servers that run. *folder* is for what rings on them write."""

    name: str
    folder: Path
    bootstrap_servers: str
    registry_url: str
    mongodb_uri: str
    kafka: Kafka


@contextmanager
def running_stack(name: str, folder: Path) -> Iterator[Stack]:
    """
    The stack called *name*, until the block ends.

    The test is skipped where Java or Maven is missing; never in CI that has both.
    """
    if name == JVM and (lacks := jvm.missing()):
        pytest.skip(f"the real stack cannot run: {lacks}")
    kafka: Kafka
    registry: Registry
    if name == JVM:
        kafka = jvm.ApacheKafka(folder / "kafka", folder / "kafka.log")
        registry = jvm.Apicurio(folder / "registry", folder / "registry.log")
    else:
        kafka = EmbeddedBroker(folder / "kafka", folder / "kafka.log")
        registry = RegistryProcess(folder / "registry", folder / "registry.log")
    mongodb: Mongo = mongo(folder / "mongodb", folder / "mongodb.log")
    servers: tuple[Server, ...] = (kafka, registry, mongodb)
    with ExitStack() as started:
        for server in servers:
            started.callback(server.stop)
            server.start()
        yield Stack(name, folder, kafka.bootstrap_servers, registry.url, mongodb.uri, kafka)


def seconds(variable: str, default: float) -> float:
    """A time that the environment may set."""
    return float(os.environ.get(variable, default))
