"""
The topics of a sync: their names, the settings they need, and the refusal of settings that would lose data.

Salmon never alters a topic that exists. The schemas in schemas-avro describe the records.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from salmon.errors import ConfigError, TopicGone, Unavailable, UnsafeTopic
from salmon.kafka.errors import answered, translated
from salmon.model import sides
from salmon.model.sides import OWN_ROSTER, Roster

log = structlog.get_logger(__name__)

# Of a sync that has no further sides.
CONNECTORS: Final = sides.connectors_of(sides.OWN)

_DAY_MS: Final = 24 * 3600 * 1000
_NAMED_MAX: Final = 5
_SEEN_S: Final = 0.02  # between two checks whether all brokers know a new topic
_HOUR_MS: Final = 3600 * 1000
# A state of one record holds its row and what the sides show instead; Salesforce's long text areas alone may come to
# 1.6 million characters an object (Salesforce Features and Editions Limits).
RECORD_BYTES_MAX: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of a sync's topics. *name*: of the sync."""

    name: str

    def changes(self, object: str) -> str:  # noqa: A002
        return f"{self.name}.changes.{object}"

    def records(self, object: str) -> str:  # noqa: A002
        return f"{self.name}.records.{object}"

    def described(self, object: str) -> str:  # noqa: A002
        """The subject of what the org says of the object for those who fill it in. There is no topic of this name."""
        return f"{self.name}.described.{object}"

    def state(self, object: str) -> str:  # noqa: A002
        return f"{self.name}.state.{object}"

    def writes(self, side: str, object: str) -> str:  # noqa: A002
        return f"{self.name}.writes.{side}.{object}"

    def identity(self, object: str) -> str:  # noqa: A002
        return f"{self.name}.identity.{object}"

    def events(self, event: str) -> str:
        return f"{self.name}.events.{event}"

    def outbox(self, event: str) -> str:
        return f"{self.name}.outbox.{event}"

    def outcomes(self, event: str) -> str:
        return f"{self.name}.outcomes.{event}"

    def signals(self, connector: str) -> str:
        return f"{self.name}.signals.{connector}"

    def dlq(self, connector: str) -> str:
        return f"{self.name}.dlq.{connector}"

    def replays(self, event: str) -> str:
        """Where `salmon dlq replay` puts the records that the event's sink could not carry."""
        return f"{self.name}.replays.{event}"

    @property
    def handled(self) -> str:
        """Which dead letters were dealt with."""
        return f"{self.name}.handled"

    @property
    def offsets(self) -> str:
        return f"{self.name}.offsets"

    @property
    def status(self) -> str:
        return f"{self.name}.status"

    @property
    def conflicts(self) -> str:
        return f"{self.name}.conflicts"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as we need it. *settings* are Kafka's topic configs, by name."""

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str]

    @property
    def compacted(self) -> bool:
        return self.settings["cleanup.policy"] == "compact"


def specs(
    topics: Topics,
    objects: Iterable[str],
    *,
    partitions: int,
    replication_factor: int,
    events: Iterable[str] = (),
    outboxes: Iterable[str] = (),
    carried: Iterable[str] = (),
    roster: Roster = OWN_ROSTER,
) -> tuple[TopicSpec, ...]:
    """
    List every topic that a sync of *objects* (sObject names) needs.

    Args:
        partitions: Number for each topic of an object; the topics of an object are co-partitioned by the record key.
        replication_factor: 1 only if there is only one broker.
        events: The platform events that are read. Each has one partition, which keeps the org's order: an org publishes
            250,000 an hour at most (Platform Event Allocations).
        outboxes: The platform events that are made of a collection's documents. One partition, for the same reason.
        carried: The platform events that a sink carries: into a collection, or out of the object's changes.
        roster: The sides of the sync, and of each object.
    """
    found: list[TopicSpec] = []

    def add(name: str, settings: Mapping[str, str], count: int = partitions) -> None:
        durable = {"min.insync.replicas": "2"} if replication_factor >= 3 else {}
        found.append(TopicSpec(name, count, replication_factor, {**settings, **durable}))

    for sobject in objects:
        add(topics.changes(sobject), _LOG)
        add(topics.records(sobject), _TABLE)
        add(topics.state(sobject), _TABLE)
        for side in roster.of(sobject):
            add(topics.writes(side.name, sobject), _TABLE)
        add(topics.identity(sobject), _TABLE)
    for event in events:
        add(topics.events(event), _LOG, 1)
    for event in outboxes:
        # What is still owed, however long a sink is away; a sink clears what it has done.
        add(topics.outbox(event), _TABLE, 1)
        add(topics.outcomes(event), _TABLE, 1)
    for event in carried:
        add(topics.replays(event), _LOG, 1)
    add(topics.offsets, _SMALL_TABLE, 1)
    add(topics.handled, _SMALL_TABLE, 1)
    add(topics.status, _SMALL_TABLE, 1)
    add(topics.conflicts, _LOG, 1)
    for connector in roster.connectors:
        add(topics.signals(connector), _LOG, 1)
        add(topics.dlq(connector), _DEAD_LETTERS, 1)
    return tuple(found)


def partition_counts(admin: AdminClient, *, timeout_s: float = 30.0) -> dict[str, int]:
    """
    Return how many partitions each topic of the cluster has.

    Raises:
        Unavailable: no broker answers.
    """
    # Of all topics: to ask for one that is missing would create it on brokers that create topics by themselves.
    try:
        topics = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise translated(error, "listing topics") from error
    return {name: len(topic.partitions) for name, topic in topics.items()}


def ensure(admin: AdminClient, specs: Iterable[TopicSpec], *, timeout_s: float = 30.0) -> None:
    """
    Create missing topics, and refuse existing ones whose settings would lose data.

    Several processes may do this at the same time.

    Raises:
        UnsafeTopic: a table is not compacted, or a log is.
        ConfigError: the number of partitions is not the configured one.
        SetupError: the broker refuses (authorization, replication factor, policy).
        Unavailable: the broker does not answer.
    """
    wanted = {spec.name: spec for spec in specs}
    sound: set[str] = set()  # checked, or created by this process
    deadline = time.monotonic() + timeout_s
    while True:
        counts = partition_counts(admin, timeout_s=timeout_s)
        found = [spec for name, spec in wanted.items() if name in counts and name not in sound]
        _check(admin, found, counts, timeout_s)
        sound.update(spec.name for spec in found)
        missing = wanted.keys() - counts.keys()
        if not missing:
            return
        if time.monotonic() >= deadline:
            raise Unavailable(f"{min(missing)}: created, but no broker knows it yet. It is tried again.")
        # A topic that another process created first is checked in a later round, like any topic that existed before.
        if asked := [wanted[name] for name in sorted(missing - sound)]:
            sound.update(_create(admin, asked, timeout_s))
        else:
            time.sleep(_SEEN_S)


def missing(admin: AdminClient, specs: Iterable[TopicSpec], *, timeout_s: float = 30.0) -> list[str]:
    """
    Check the topics that exist as `ensure` does, and return the names of those that do not. Nothing is created.

    Raises:
        UnsafeTopic, ConfigError, SetupError, Unavailable: as `ensure`.
    """
    wanted = list(specs)
    counts = partition_counts(admin, timeout_s=timeout_s)
    _check(admin, [spec for spec in wanted if spec.name in counts], counts, timeout_s)
    return [spec.name for spec in wanted if spec.name not in counts]


def gone(admin: AdminClient, wanted: Iterable[TopicSpec], *, timeout_s: float = 5.0) -> TopicGone | None:
    """
    Check whether topics that existed have been deleted. Returns the error; None if all exist.

    Many brokers create a topic again when the next record for it arrives, with their own number of partitions. Such a
    topic also counts as deleted.

    Raises:
        Unavailable: no broker answers.
    """
    counts = partition_counts(admin, timeout_s=timeout_s)
    # Somebody may have added partitions. The next start refuses that.
    lost = [spec.name for spec in wanted if counts.get(spec.name, 0) < spec.partitions]
    if not lost:
        return None
    named = ", ".join(lost[:_NAMED_MAX]) + (
        f" and {len(lost) - _NAMED_MAX} more" if lost[_NAMED_MAX:] else ""
    )
    recreated = [name for name in lost if name in counts]
    also = (
        f" The broker has created {', '.join(recreated[:_NAMED_MAX])} again by itself, with settings that cannot be used: "
        f"delete that first."
        if recreated
        else ""
    )
    return TopicGone(
        f"{named}: deleted while the sync ran, so its records are lost. Restore it from a backup; or start again, "
        f"which creates it empty, and then run `salmon verify --repair`.{also}"
    )


def _check(
    admin: AdminClient, existing: list[TopicSpec], counts: Mapping[str, int], timeout_s: float
) -> None:
    for spec in existing:
        if counts[spec.name] != spec.partitions:
            raise ConfigError(
                f"{spec.name} has {counts[spec.name]} partitions, and {spec.partitions} are needed, because the topics "
                f"of one object must always have the same number. Set topics.partitions to what the topics of this sync "
                f"have, or choose another sync name; a topic that was created by accident may be deleted."
            )
    for spec, settings in zip(existing, _settings(admin, existing, timeout_s), strict=True):
        _check_settings(spec, settings)


def _settings(admin: AdminClient, existing: list[TopicSpec], timeout_s: float) -> Iterator[Mapping[str, Any]]:
    if not existing:
        return
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in existing]
    for resource, answer in admin.describe_configs(resources, request_timeout=timeout_s).items():
        yield answered(answer, timeout_s, f"reading the settings of {resource.name}")


def _check_settings(spec: TopicSpec, settings: Mapping[str, Any]) -> None:
    """Refuse only settings that would lose data; the operator may choose all others."""
    policy = settings["cleanup.policy"].value
    if {part.strip() for part in policy.split(",")} != {spec.settings["cleanup.policy"]}:
        raise UnsafeTopic(spec.name, "cleanup.policy", found=policy, needed=spec.settings["cleanup.policy"])


def _create(admin: AdminClient, missing: list[TopicSpec], timeout_s: float) -> list[str]:
    """Create topics. Returns the names of those that this process created, and not another one."""
    created = []
    asked = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=spec.replication_factor,
            config=dict(spec.settings),
        )
        for spec in missing
    ]
    for name, answer in admin.create_topics(asked, request_timeout=timeout_s).items():
        try:
            answer.result(timeout_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise translated(error, f"creating {name}") from error
        else:
            log.info("topic_created", topic=name)
            created.append(name)
    return created


# A log: what happened, for a week. Long enough for a weekend's outage of merge.
_LOG: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * _DAY_MS),
    "max.message.bytes": str(RECORD_BYTES_MAX),
}
# Dead letters wait until a person looks at them.
_DEAD_LETTERS: Final[Mapping[str, str]] = {**_LOG, "retention.ms": str(30 * _DAY_MS)}
# A table: the newest value of each key, for ever. Its reader begins at the start, so what is superseded is cleaned
# within a day, even where a quiet topic would keep it in its active segment for a week.
_TABLE: Final[Mapping[str, str]] = {
    "cleanup.policy": "compact",
    "delete.retention.ms": str(7 * _DAY_MS),
    "max.compaction.lag.ms": str(_DAY_MS),
    "min.cleanable.dirty.ratio": "0.3",
    "segment.bytes": str(128 * 1024 * 1024),
    "max.message.bytes": str(RECORD_BYTES_MAX),
}
# A few keys, each written with every transaction: read at every start, so kept short.
_SMALL_TABLE: Final[Mapping[str, str]] = {
    **_TABLE,
    "max.compaction.lag.ms": str(_HOUR_MS),
    "min.cleanable.dirty.ratio": "0.1",
    "segment.bytes": str(16 * 1024 * 1024),
}
