"""The brokers that the workers' contract is held against, each in turn. No registry and no MongoDB are needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salmon.devstack import jvm
from salmon.devstack.broker import EmbeddedBroker, Kafka
from support.runtime import Sync

EMBEDDED, JVM = "embedded", "jvm"


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(EMBEDDED, marks=pytest.mark.xdist_group("embedded")),
        pytest.param(JVM, marks=[pytest.mark.jvm, pytest.mark.xdist_group("jvm")]),
    ],
)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
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
def sync(broker: Kafka) -> Sync:
    return Sync({"bootstrap.servers": broker.bootstrap_servers})
