"""Both brokers and both registries, one after the other: what holds on one must hold on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from salmon.devstack import jvm
from salmon.errors import Unavailable
from salmon.kafka import clients, extents, topics
from support import kafka as servers
from support.waiting import until

_numbers = count()


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(servers.EMBEDDED, marks=pytest.mark.xdist_group("embedded")),
        pytest.param(servers.JVM, marks=[pytest.mark.jvm, pytest.mark.xdist_group("jvm")]),
    ],
)
def stack(request: pytest.FixtureRequest) -> str:
    if request.param == servers.JVM and (lacks := jvm.missing()):
        pytest.skip(f"the real stack cannot run: {lacks}")
    return str(request.param)


@pytest.fixture(scope="session")
def kafka(stack: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with servers.broker(stack, tmp_path_factory.mktemp(f"broker-{stack}")) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def registry_url(stack: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.registry(stack, tmp_path_factory.mktemp(f"registry-{stack}")) as url:
        yield url


@pytest.fixture
def name() -> str:
    """A name that no other test has: of a sync, a topic, a subject."""
    return f"sync{next(_numbers)}"


def _is_led(admin: AdminClient, topic: str, partitions: int) -> bool:
    """Whether each partition has a leader that knows it is one: Apache Kafka tells of leaders a moment before."""
    try:
        return len(extents.end_offsets(admin, topic, range(partitions))) == partitions
    except Unavailable:
        return False


@pytest.fixture
def create(kafka: dict[str, Any], name: str) -> Callable[..., str]:
    """Creates a topic, compacted with two partitions if nothing else is said, and returns its name."""

    admin = clients.admin(kafka)

    def create(suffix: str = "table", partitions: int = 2, **settings: str) -> str:
        topic = f"{name}.{suffix}"
        config = {"cleanup.policy": "compact"} | {
            key.replace("_", "."): value for key, value in settings.items()
        }
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config)
        for made in admin.create_topics([new]).values():
            made.result(30)
        until(lambda: topic in topics.partition_counts(admin), "the broker knows the new topic")
        until(lambda: _is_led(admin, topic, partitions), "each of its partitions has a leader")
        return topic

    return create


@pytest.fixture
def producer(kafka: dict[str, Any], name: str) -> clients.TransactionalProducer:
    made = clients.producer(kafka, transactional_id=name, client_id=name)
    made.start()
    return made
