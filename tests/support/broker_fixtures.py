"""The brokers that the workers' contract is held against, each in turn. No registry and no MongoDB are needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.devstack import jvm
from salmon.devstack.broker import EmbeddedBroker, Kafka
from support.at_hand.memory_broker import MemoryBroker
from support.runtime import Sync

MEMORY, EMBEDDED, JVM = "memory", "embedded", "jvm"
REAL_BROKERS = [
    pytest.param(EMBEDDED, marks=pytest.mark.xdist_group("embedded")),
    pytest.param(JVM, marks=[pytest.mark.jvm, pytest.mark.xdist_group("jvm")]),
]
# For a module's pytestmark: the fake of the unit tests is held to what the real ones do.
ON_EVERY_BROKER = pytest.mark.parametrize(
    "broker", [pytest.param(MEMORY), *REAL_BROKERS], indirect=True, scope="session"
)


@pytest.fixture(scope="session", params=REAL_BROKERS)
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kafka | MemoryBroker]:
    if request.param == MEMORY:
        yield MemoryBroker()
        return
    folder = tmp_path_factory.mktemp(request.param)
    server: Kafka
    if request.param == JVM:
        if lacks := jvm.missing():
            pytest.skip(f"Apache Kafka cannot run: {lacks}")
        server = jvm.ApacheKafka(folder / "kafka", folder / "kafka.log")
    else:
        server = EmbeddedBroker(folder / "kafka", folder / "kafka.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def sync(broker: Kafka | MemoryBroker) -> Sync:
    if isinstance(broker, MemoryBroker):
        return Sync(broker.clients())
    return Sync({"bootstrap.servers": broker.bootstrap_servers})
