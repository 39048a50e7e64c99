"""Topics that are deleted while the sync runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from salmon.errors import TopicGone
from salmon.kafka.kept import KeptAdmin
from salmon.kafka.topics import TopicSpec
from salmon.ops.health import Health, State
from salmon.runtime.topic_watch import TopicWatch

WANTED = tuple(TopicSpec(name, 2, 1, {}) for name in ("crm.changes.Account", "crm.state.Account"))


class Admin:
    """Kafka: which topics it has at each look, and how many partitions; the last answer stays."""

    def __init__(self, *looks: dict[str, int] | None) -> None:
        self.looks = list(looks)
        self.asked = 0

    def list_topics(self, **_: object) -> SimpleNamespace:
        self.asked += 1
        counts = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if counts is None:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        found = {
            name: SimpleNamespace(topic=name, partitions=dict.fromkeys(range(count)), error=None)
            for name, count in counts.items()
        }
        return SimpleNamespace(topics=found)


def watching(admin: Admin) -> tuple[TopicWatch, Health]:
    health = Health()
    watch = TopicWatch(health, look_every_s=0.001)
    watch.watch(KeptAdmin(admin, lambda: admin), WANTED)  # type: ignore[arg-type,return-value]
    return watch, health


ALL = {"crm.changes.Account": 2, "crm.state.Account": 2}


def test_a_topic_that_was_deleted_ends_the_process_and_is_named() -> None:
    """With what is lost, and what to do (case S14)."""
    watch, health = watching(Admin(ALL, {"crm.state.Account": 2}))
    with pytest.raises(
        TopicGone, match=r"^crm\.changes\.Account: deleted while the sync ran.*--repair"
    ) as gone:
        watch.run()
    assert "crm.state" not in str(gone.value)
    assert health.report().state is State.FAILED


def test_a_topic_that_the_broker_made_anew_is_gone_as_well() -> None:
    """By a producer's next record, with as many partitions as it thinks fit."""
    watch, _ = watching(Admin(ALL | {"crm.changes.Account": 1}))
    with pytest.raises(
        TopicGone, match=r"has created crm\.changes\.Account again by itself.*delete that first"
    ):
        watch.run()


def test_a_broker_that_has_just_come_back_may_forget_a_topic_for_a_moment() -> None:
    """Two looks in vain, or no answer at all, are no reason to end."""
    admin = Admin({}, {}, ALL, None, None, None, {}, None, {}, ALL)
    watch, _ = watching(admin)
    missing_topic = watch.missing_topic

    def stop_at_last() -> TopicGone | None:
        if admin.asked >= 12:
            watch.stop()
        return missing_topic()

    watch.missing_topic = stop_at_last  # type: ignore[method-assign]
    watch.run()
    assert admin.asked >= 12
