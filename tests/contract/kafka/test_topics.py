"""Topics are created as they must be, by several processes at once, and unsafe ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from salmon.errors import ConfigError, SetupError, UnsafeTopic
from salmon.kafka import clients, topics
from salmon.kafka.topics import Topics, TopicSpec
from support.waiting import until

Create = Callable[..., str]


@pytest.fixture
def admin(kafka: dict[str, Any]) -> AdminClient:
    return clients.connect(kafka)


def specs(name: str, *, partitions: int = 2, replication_factor: int = 1) -> tuple[TopicSpec, ...]:
    return topics.specs(
        Topics(name), ["Account"], partitions=partitions, replication_factor=replication_factor
    )


def settings(admin: AdminClient, topic: str) -> dict[str, str]:
    (answer,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {key: entry.value for key, entry in answer.result(30).items()}


def test_what_is_missing_is_created_with_the_settings_it_needs(admin: AdminClient, name: str) -> None:
    """Tables are compacted and keep tombstones for a week; logs are not compacted."""
    topics.ensure(admin, specs(name))
    counts = topics.partition_counts(admin)
    assert (
        counts.items()
        >= {f"{name}.changes.Account": 2, f"{name}.state.Account": 2, f"{name}.offsets": 1}.items()
    )
    table, log = (
        settings(admin, f"{name}.writes.salesforce.Account"),
        settings(admin, f"{name}.changes.Account"),
    )
    assert (table["cleanup.policy"], log["cleanup.policy"]) == ("compact", "delete")
    assert table["delete.retention.ms"] == log["retention.ms"] == str(7 * 24 * 3600 * 1000)


def test_topics_that_are_there_are_left_as_they_are(admin: AdminClient, name: str, create: Create) -> None:
    """What an operator has chosen is the operator's, as long as it loses nothing."""
    create("records.Account", segment_ms="1234567", cleanup_policy="compact")
    for _ in range(2):
        topics.ensure(admin, specs(name))
    assert settings(admin, f"{name}.records.Account")["segment.ms"] == "1234567"


def test_five_processes_may_create_them_at_once(kafka: dict[str, Any], name: str) -> None:
    """`salmon run all` starts them together; each of them finds all topics there afterwards."""
    wanted = specs(name)

    def process(_: int) -> set[str]:
        admin = clients.connect(kafka)
        topics.ensure(admin, wanted)
        return {spec.name for spec in wanted} - topics.partition_counts(admin).keys()

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(process, range(5))) == [set()] * 5


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_table_that_would_forget_is_refused(
    admin: AdminClient, name: str, create: Create, policy: str
) -> None:
    """To go on would lose the state of a key in silence, a week later."""
    create("state.Account", cleanup_policy=policy)
    with pytest.raises(UnsafeTopic, match=rf"{name}\.state\.Account: cleanup\.policy is .*must be 'compact'"):
        topics.ensure(admin, specs(name))


def test_a_log_that_would_lose_changes_is_refused(admin: AdminClient, name: str, create: Create) -> None:
    """Compaction would drop all changes of a key but the last, before merge has seen them."""
    create("changes.Account", cleanup_policy="compact")
    with pytest.raises(UnsafeTopic, match=rf"{name}\.changes\.Account: .*must be 'delete'"):
        topics.ensure(admin, specs(name))


def test_another_number_of_partitions_is_refused(admin: AdminClient, name: str, create: Create) -> None:
    """One key would be in different partitions of the object's topics; the mend is said."""
    create("records.Account", 3)
    with pytest.raises(ConfigError, match=rf"{name}\.records\.Account has 3 partitions.*topics\.partitions"):
        topics.ensure(admin, specs(name))


def test_nothing_is_created_where_something_is_refused(admin: AdminClient, name: str, create: Create) -> None:
    """A start that fails leaves no half of a sync."""
    create("state.Account", cleanup_policy="delete")
    with pytest.raises(UnsafeTopic):
        topics.ensure(admin, specs(name))
    assert [topic for topic in topics.partition_counts(admin) if topic.startswith(f"{name}.")] == [
        f"{name}.state.Account"
    ]


def test_what_is_missing_can_be_told_without_making_it(admin: AdminClient, name: str, create: Create) -> None:
    """`salmon doctor` looks and creates nothing; what is there is refused as at a start."""
    create("records.Account", cleanup_policy="compact")
    before = topics.partition_counts(admin)
    missing = topics.missing(admin, specs(name))
    assert f"{name}.records.Account" not in missing
    assert len(missing) == len(specs(name)) - 1
    assert topics.partition_counts(admin) == before
    create("state.Account", cleanup_policy="delete")
    with pytest.raises(UnsafeTopic):
        topics.missing(admin, specs(name))


def test_too_few_brokers_are_told(admin: AdminClient, name: str) -> None:
    """Three copies need three brokers."""
    with pytest.raises(SetupError, match="replication factor"):
        topics.ensure(admin, specs(name, replication_factor=3))


def test_a_topic_that_is_deleted_is_named_and_one_that_has_more_partitions_is_not(
    admin: AdminClient, name: str
) -> None:
    """Kafka's own clients say nothing of it, or speak of sequence numbers (case S14)."""
    wanted = specs(name)
    topics.ensure(admin, wanted)
    assert topics.gone(admin, wanted) is None
    deleted = f"{name}.changes.Account"
    admin.delete_topics([deleted])[deleted].result(30)
    until(lambda: topics.gone(admin, wanted) is not None, "it is gone")
    gone = topics.gone(admin, wanted)
    assert gone is not None
    assert str(gone).startswith(f"{deleted}: deleted while the sync ran")
    admin.create_topics([NewTopic(deleted, 3, 1)])[deleted].result(30)
    until(lambda: topics.gone(admin, wanted) is None, "it is there, with a partition more")
