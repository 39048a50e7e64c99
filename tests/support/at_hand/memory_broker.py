"""
A Kafka broker in memory, and clients of it that behave as librdkafka's do: for unit tests of the workers.

Topics with partitions; transactions that are open, committed or aborted, with their markers in the log; groups that
call on_assign, on_revoke and on_lost from within a poll, as cooperative-sticky does; and errors on demand. What it
promises is held against a real broker by tests/contract/kafka/test_memory_broker.py.

A static member that has left is missed after `session_s`. Everybody else is always heard, until drop_out() is called.
"""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from salmon.kafka.clients import Clients
from salmon.kafka.partitions import murmur2

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[str, int]
Rebalanced = Callable[[Any, list[TopicPartition]], None]
NO_OFFSET = -1001
OPEN, COMMITTED, ABORTED = "open", "committed", "aborted"
_LATEST = -1


@dataclass(slots=True)
class _Transaction:
    state: str = OPEN
    places: set[Place] = field(default_factory=set)
    offsets: list[tuple[str, Place, int]] = field(default_factory=list)  # group, place, offset


@dataclass(frozen=True, slots=True)
class _Entry:
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]] | None
    at_ms: int
    transaction: _Transaction
    is_marker: bool = False


@dataclass(slots=True)
class _Partition:
    entries: list[_Entry] = field(default_factory=list)
    low: int = 0

    @property
    def stable(self) -> int:
        """How far readers of what is committed may read."""
        for offset, entry in enumerate(self.entries):
            if entry.transaction.state == OPEN:
                return offset
        return len(self.entries)


@dataclass(slots=True)
class _Group:
    members: dict[str, MemoryConsumer] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)  # static members that were closed, and when
    owners: dict[Place, str] = field(default_factory=dict)
    wanted: dict[Place, str] = field(default_factory=dict)
    offsets: dict[Place, int] = field(default_factory=dict)
    generation: int = 0
    withheld: bool = False


class MemoryBroker:
    """
    Attributes:
        refuses: Of topic, key and value: whether the broker refuses the record for what it is.
        away: No request is answered.
        commits: Cleared while the coordinator of groups is away: a commit of offsets is not answered.
    """

    def __init__(self, *, session_s: float = 0.02) -> None:
        self.changed = Condition()
        self.session_s = session_s
        self.away = False
        self.commits = Event()
        self.commits.set()
        self.refuses: Callable[[str, bytes | None, bytes | None], bool] = lambda *_: False
        self.topics: dict[str, list[_Partition]] = {}
        self.groups: dict[str, _Group] = defaultdict(_Group)
        self.producers: dict[str, MemoryProducer] = {}  # transactional id -> the newest
        self._errors: dict[tuple[str, str], list[KafkaError]] = defaultdict(list)

    def clients(self, **properties: Any) -> Clients:
        """What a worker is handed."""
        return Clients(
            properties,
            consumer_kind=lambda settings: cast("Any", MemoryConsumer(self, settings)),
            producer_kind=lambda settings: cast("Any", MemoryProducer(self, settings)),
            admin_kind=lambda _: cast("Any", MemoryAdmin(self)),
        )

    # The test's view.

    def create(self, topic: str, partitions: int = 1) -> None:
        with self.changed:
            self.topics[topic] = [_Partition() for _ in range(partitions)]

    def fail(self, call: str, *errors: KafkaError, of: str = "") -> None:
        """
        Answer the next calls of the client's method *call* with *errors*, each once.

        Args:
            of: Only those of the producer with this transactional id.
        """
        with self.changed:
            self._errors[call, of].extend(errors)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Answer nothing for the length of the block."""
        self.away = True
        try:
            yield
        finally:
            with self.changed:
                self.away = False
                self.changed.notify_all()

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """As retention does."""
        with self.changed:
            self.topics[topic][partition].low = offset
            self.changed.notify_all()

    def drop_out(self, group: str, member: str) -> None:
        """Give the partitions of *member* to others, as if it had not been heard for the length of a session."""
        with self.changed:
            self._remove(self.groups[group], member)
            self.changed.notify_all()

    def withhold(self, group: str) -> None:
        """Give the partitions of *group* to nobody, until another member joins than those that have joined by then."""
        with self.changed:
            self.groups[group].withheld = True

    def committed(self, group: str) -> dict[Place, int]:
        with self.changed:
            return dict(self.groups[group].offsets)

    def transactions(self, *topics: str) -> list[list[str]]:
        """The committed transactions that wrote to *topics*, each as the topics of its records, in the log's order."""
        with self.changed:
            found: dict[int, list[str]] = {}
            for topic in topics:
                for partition in self.topics[topic]:
                    for entry in partition.entries:
                        if entry.transaction.state == COMMITTED and not entry.is_marker:
                            found.setdefault(id(entry.transaction), []).append(topic)
            return list(found.values())

    # The clients' view; with `changed` held.

    def answer(self, call: str, client: str = "") -> None:
        """Raise what *call* is to be answered with."""
        for errors in (self._errors[call, client], self._errors[call, ""]):
            if errors:
                raise KafkaException(errors.pop(0))
        if self.away:
            raise KafkaException(error(KafkaError._TIMED_OUT, retriable=True))

    def partition(self, topic: str, number: int) -> _Partition:
        partitions = self.topics.get(topic, [])
        if number >= len(partitions):
            raise KafkaException(error(KafkaError.UNKNOWN_TOPIC_OR_PART))
        return partitions[number]

    def append(self, place: Place, entry: _Entry) -> None:
        self.partition(*place).entries.append(entry)
        self.changed.notify_all()

    def end(self, transaction: _Transaction, state: str) -> None:
        transaction.state = state
        for place in sorted(transaction.places):
            self.append(place, _Entry(None, None, None, _now_ms(), transaction, is_marker=True))
        if state == COMMITTED:
            for group, place, offset in transaction.offsets:
                self.groups[group].offsets[place] = offset
        self.changed.notify_all()

    def join(self, consumer: MemoryConsumer) -> None:
        group = self.groups[consumer.group]
        before = group.members.get(consumer.member)
        if before is consumer:
            return
        if before is not None:
            before.fenced = True
        returns = consumer.member in group.left or before is not None
        if not returns and (group.members or group.left):
            group.withheld = False
        group.left.pop(consumer.member, None)
        group.members[consumer.member] = consumer
        if returns:  # a static member: it takes up what it had, and nobody else is asked
            group.owners = {place: owner for place, owner in group.owners.items() if owner != consumer.member}
            group.wanted = group.wanted or self._shared_out(group)
        else:
            self._rebalance(group)
        self.changed.notify_all()

    def leave(self, consumer: MemoryConsumer) -> None:
        group = self.groups[consumer.group]
        if group.members.get(consumer.member) is not consumer:
            return
        if consumer.is_static:
            group.left[consumer.member] = time.monotonic()
        else:
            self._remove(group, consumer.member)
        self.changed.notify_all()

    def miss(self, group: _Group) -> None:
        """Miss those that left and did not come back."""
        now = time.monotonic()
        for member, since in list(group.left.items()):
            if now - since >= self.session_s:
                del group.left[member]
                self._remove(group, member)

    def _remove(self, group: _Group, member: str) -> None:
        if (consumer := group.members.pop(member, None)) is not None:
            consumer.lost = {place for place, owner in group.owners.items() if owner == member}
        group.owners = {place: owner for place, owner in group.owners.items() if owner != member}
        self._rebalance(group)

    def _rebalance(self, group: _Group) -> None:
        group.generation += 1
        group.wanted = self._shared_out(group)

    def _shared_out(self, group: _Group) -> dict[Place, str]:
        """Who is to have what: as evenly as it goes, and everybody keeps what can be kept."""
        members = group.members
        if not members or group.withheld:
            return {}
        topics = {topic for each in members.values() for topic in each.subscribed}
        places = [(t, n) for t in sorted(topics) for n in range(len(self.topics.get(t, ())))]
        kept: dict[str, list[Place]] = {member: [] for member in members}
        for place in places:
            if (owner := group.owners.get(place)) in kept:
                kept[owner].append(place)
        share, over = divmod(len(places), len(members))
        most = sorted(kept, key=lambda member: (-len(kept[member]), member))
        sizes = {member: share + (rank < over) for rank, member in enumerate(most)}
        wanted = {place: member for member, had in kept.items() for place in had[: sizes[member]]}
        free = iter([place for place in places if place not in wanted])
        for member in most:
            for _ in range(sizes[member] - min(len(kept[member]), sizes[member])):
                wanted[next(free)] = member
        return wanted


class MemoryProducer:
    """As confluent_kafka.Producer, with a transactional id."""

    def __init__(self, broker: MemoryBroker, settings: dict[str, Any]) -> None:
        self._broker, self._changed = broker, broker.changed
        self._id = str(settings["transactional.id"])
        self._bytes_max = int(settings.get("message.max.bytes", 1_000_000))
        self._on_delivery: Callable[[KafkaError, Message], None] = settings["on_delivery"]
        self._transaction: _Transaction | None = None
        self._undelivered: list[tuple[KafkaError, Message]] = []
        self._failed = False

    def init_transactions(self, _timeout_s: float) -> None:
        with self._changed:
            self._broker.answer("init_transactions", self._id)
            before = self._broker.producers.get(self._id)
            self._broker.producers[self._id] = self
            if before is not None and before is not self and before._transaction is not None:
                self._broker.end(before._transaction, ABORTED)

    def begin_transaction(self) -> None:
        with self._changed:
            self._fence()
            assert self._transaction is None, "a transaction is open"
            self._transaction, self._failed = _Transaction(), False

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: str | bytes | None,
        *,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> None:
        raw_key = key.encode() if isinstance(key, str) else key
        if len(value or b"") + len(raw_key or b"") > self._bytes_max:
            raise KafkaException(error(KafkaError.MSG_SIZE_TOO_LARGE))
        with self._changed:
            assert self._transaction is not None, "no transaction is open"
            if topic not in self._broker.topics:
                self._undeliver(KafkaError._UNKNOWN_TOPIC, topic, raw_key)
                return
            count = len(self._broker.topics[topic])
            number = (murmur2(raw_key or b"") & 0x7FFFFFFF) % count if partition is None else partition
            if self._broker.refuses(topic, raw_key, value):
                self._undeliver(KafkaError.INVALID_RECORD, topic, raw_key)
                return
            if self._broker.producers.get(self._id) is self:
                self._transaction.places.add((topic, number))
                kept: list[tuple[str, str | bytes | None]] | None = [*headers] if headers else None
                self._broker.append(
                    (topic, number), _Entry(raw_key, value, kept, _now_ms(), self._transaction)
                )

    def poll(self, _timeout_s: float) -> int:
        return 0

    def flush(self, _timeout_s: float) -> int:
        with self._changed:
            self._deliver()
            return int(self._broker.away)

    def send_offsets_to_transaction(
        self, offsets: list[TopicPartition], group: tuple[str, str, int, MemoryConsumer], _timeout_s: float
    ) -> None:
        name, member, generation, consumer = group
        with self._changed:
            self._broker.answer("send_offsets_to_transaction", self._id)
            self._fence()
            assert self._transaction is not None, "no transaction is open"
            if refusal := _refusal(self._broker.groups[name], member, generation, consumer):
                self._failed = True
                raise KafkaException(error(refusal, abort=True))
            self._transaction.offsets += [
                (name, (each.topic, each.partition), each.offset) for each in offsets
            ]

    def commit_transaction(self, _timeout_s: float) -> None:
        with self._changed:
            self._broker.answer("commit_transaction", self._id)
            self._fence()
            self._deliver()
            if self._failed:
                raise KafkaException(error(KafkaError._STATE, abort=True))
            self._end(COMMITTED)

    def abort_transaction(self, _timeout_s: float) -> None:
        with self._changed:
            self._broker.answer("abort_transaction", self._id)
            self._fence()
            self._undelivered.clear()
            self._end(ABORTED)

    def _end(self, state: str) -> None:
        if self._transaction is not None:
            self._broker.end(self._transaction, state)
        self._transaction = None

    def _undeliver(self, code: int, topic: str, key: bytes | None) -> None:
        self._undelivered.append((error(code), Message(topic=topic, partition=0, key=key)))

    def _deliver(self) -> None:
        for failure, message in self._undelivered:
            self._failed = True
            self._on_delivery(failure, message)
        self._undelivered.clear()

    def _fence(self) -> None:
        if self._broker.producers.get(self._id) is not self:
            raise KafkaException(error(KafkaError._FENCED, fatal=True))


class MemoryConsumer:
    """As confluent_kafka.Consumer, of committed records."""

    pending: Exception | None = None

    def __init__(self, broker: MemoryBroker, settings: dict[str, Any]) -> None:
        self._broker, self._changed = broker, broker.changed
        self.group = str(settings["group.id"])
        self.client_id = str(settings.get("client.id"))
        self.is_static = "group.instance.id" in settings
        self.member = str(settings.get("group.instance.id") or f"member-{id(self)}")
        self.subscribed: tuple[str, ...] = ()
        self._commits: list[list[TopicPartition]] = []  # not answered yet
        self._on_commit: Callable[[KafkaError | None, list[TopicPartition]], None] = settings.get(
            "on_commit", lambda *_: None
        )
        self.fenced = False
        self.lost: set[Place] = set()
        self._tells_ends = bool(settings.get("enable.partition.eof"))
        self._next: dict[Place, int] = {}
        self._ends_told: set[Place] = set()
        self._unserved: set[Place] = (
            set()
        )  # whose next offset the partition does not have: nothing is fetched there
        self._paused: set[Place] = set()
        self._generation = -1
        self._calls: dict[str, Rebalanced] = {}
        self._closed = False

    # Groups.

    def subscribe(
        self, topics: Sequence[str], *, on_assign: Rebalanced, on_revoke: Rebalanced, on_lost: Rebalanced
    ) -> None:
        self.subscribed = tuple(topics)
        self._calls = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}

    def consumer_group_metadata(self) -> tuple[str, str, int, MemoryConsumer]:
        return self.group, self.member, self._generation, self

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._serve_commits()
        with self._changed:
            group = self._broker.groups[self.group]
            mine = {place for place, owner in group.owners.items() if owner == self.member}
            held = mine if group.members.get(self.member) is self else set()
        if held:
            self._calls["revoke"](self, _partitions(held))
        with self._changed:
            self._broker.leave(self)

    def _rebalance(self) -> None:
        """Call what the group's state asks for, as librdkafka does in a poll: outside of any lock."""
        while self.subscribed and not self.fenced and not self._broker.away:
            with self._changed:
                kind, places = self._due()
            if kind is None:
                return
            self._calls[kind](self, _partitions(places))
            self._serve_commits()
            with self._changed:
                if kind != "assign":
                    self._give_up(kind, places)
                self._changed.notify_all()

    def _due(self) -> tuple[str | None, set[Place]]:
        broker, group = self._broker, self._broker.groups[self.group]
        if self.lost:
            lost, self.lost = self.lost, set()
            return "lost", lost
        broker.join(self)
        broker.miss(group)
        if revoked := {
            place
            for place, owner in group.owners.items()
            if owner == self.member and group.wanted.get(place) != owner
        }:
            self._generation = group.generation  # they are given back under the new one
            return "revoke", revoked
        added = {
            place
            for place, member in group.wanted.items()
            if member == self.member and place not in group.owners
        }
        if not added and self._generation == group.generation:
            return None, set()
        self._generation = group.generation
        group.owners |= dict.fromkeys(added, self.member)
        return "assign", added

    def _give_up(self, kind: str, places: set[Place]) -> None:
        owners = self._broker.groups[self.group].owners
        for place in places:
            self._next.pop(place, None)
            self._paused.discard(place)
            if kind == "revoke":
                owners.pop(place, None)

    # What is read.

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._next = {(each.topic, each.partition): each.offset for each in partitions}

    def incremental_assign(self, partitions: Iterable[TopicPartition]) -> None:
        for each in partitions:
            self._next[each.topic, each.partition] = each.offset
            self._ends_told.discard((each.topic, each.partition))

    def incremental_unassign(self, partitions: Iterable[TopicPartition]) -> None:
        for each in partitions:
            del self._next[each.topic, each.partition]
            self._unserved.discard((each.topic, each.partition))

    def seek(self, to: TopicPartition) -> None:
        if (to.topic, to.partition) in self._unserved:
            raise KafkaException(error(KafkaError._STATE))  # as librdkafka: it fetches there no more
        self.incremental_assign([to])

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused |= {(each.topic, each.partition) for each in partitions}

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused -= {(each.topic, each.partition) for each in partitions}

    def poll(self, timeout_s: float) -> Message | None:
        deadline = time.monotonic() + timeout_s
        while True:
            self._serve_commits()
            self._rebalance()
            with self._changed:
                if self.fenced:
                    return Message(error=error(KafkaError._FATAL, fatal=True))
                if (message := self._take()) is not None:
                    return message
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return None
                # Somebody may have to be missed meanwhile.
                self._changed.wait(min(left_s, self._broker.session_s))

    def consume(self, n: int, _timeout_s: float) -> list[Message]:
        found: list[Message] = []
        with self._changed:
            while len(found) < n and (message := self._take()) is not None:
                found.append(message)
        return found

    def _take(self) -> Message | None:
        if self._broker.away:
            return None
        for place in sorted(self._next.keys() - self._paused):
            if (message := self._take_from(place)) is not None:
                return message
        return None

    def _take_from(self, place: Place) -> Message | None:
        topic, number = place
        partition = self._broker.partition(*place)
        at, stable = self._next[place], partition.stable
        if not partition.low <= at <= len(partition.entries):
            self._unserved.add(place)
            return _trouble(KafkaError._AUTO_OFFSET_RESET, place, at) if self._tell_end(place) else None
        while at < stable:
            entry = partition.entries[at]
            at += 1
            self._next[place] = at
            if not entry.is_marker and entry.transaction.state == COMMITTED:
                self._ends_told.discard(place)
                return Message(
                    topic=topic,
                    partition=number,
                    offset=at - 1,
                    key=entry.key,
                    value=entry.value,
                    headers=entry.headers,
                    timestamp=(1, entry.at_ms),
                )
            self._ends_told.discard(place)
        if self._tells_ends and self._tell_end(place):
            return _trouble(KafkaError._PARTITION_EOF, place, at)
        return None

    def _tell_end(self, place: Place) -> bool:
        """Once for each time that it is met."""
        if place in self._ends_told:
            return False
        self._ends_told.add(place)
        return True

    # Offsets.

    def committed(self, partitions: Iterable[TopicPartition], timeout: float = 0) -> list[TopicPartition]:
        with self._changed:
            self._broker.answer("committed")
            known = self._broker.groups[self.group].offsets
            return [
                TopicPartition(each.topic, each.partition, known.get((each.topic, each.partition), NO_OFFSET))
                for each in partitions
            ]

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        if not asynchronous:
            self._commit(offsets)
            return offsets
        self._commits.append(offsets)
        return None

    def _commit(self, offsets: list[TopicPartition]) -> None:
        with self._changed:
            self._broker.answer("commit")
            group = self._broker.groups[self.group]
            if refusal := _refusal(group, self.member, self._generation, self):
                raise KafkaException(error(refusal))
            group.offsets |= {(each.topic, each.partition): each.offset for each in offsets}

    def _serve_commits(self) -> None:
        """Carry out what was committed without waiting, and tell of it: in a poll, or as the consumer is closed."""
        while self._commits and self._broker.commits.is_set():
            offsets, refusal = self._commits.pop(0), None
            try:
                self._commit(offsets)
            except KafkaException as failure:
                refusal = failure.args[0]
            self._on_commit(refusal, offsets)

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = 0, *, cached: bool = False
    ) -> tuple[int, int]:
        with self._changed:
            if not cached:
                self._broker.answer("get_watermark_offsets")
            found = self._broker.partition(partition.topic, partition.partition)
            return found.low, found.stable


class MemoryAdmin:
    """As confluent_kafka.admin.AdminClient, as far as the workers ask it."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker, self._changed = broker, broker.changed

    def list_topics(self, timeout: float = 0) -> Any:
        with self._changed:
            self._broker.answer("list_topics")
            return SimpleNamespace(
                cluster_id="memory",
                topics={
                    name: SimpleNamespace(partitions=dict(enumerate(partitions)))
                    for name, partitions in self._broker.topics.items()
                },
            )

    def list_groups(self, group: str, *, timeout: float = 0) -> list[Any]:
        with self._changed:
            self._broker.answer("list_groups")
            found = self._broker.groups[group]
            members = [
                SimpleNamespace(client_id=each.client_id, assignment=_assignment(found, member))
                for member, each in found.members.items()
            ]
            return [SimpleNamespace(error=None, members=members)]

    def create_topics(self, wanted: Iterable[Any], **_: Any) -> dict[str, Future[None]]:
        answers: dict[str, Future[None]] = {}
        for each in wanted:
            self._broker.create(each.topic, each.num_partitions)
            answers[each.topic] = _answered(None)
        return answers

    def describe_topics(self, topics: Any, **_: Any) -> dict[str, Future[Any]]:
        return {name: _answered(SimpleNamespace(topic_id=f"id of {name}")) for name in topics.topic_names}

    def describe_configs(self, resources: Iterable[Any], **_: Any) -> dict[Any, Future[Any]]:
        keeps = SimpleNamespace(value="86400000")
        return {each: _answered({"delete.retention.ms": keeps}) for each in resources}

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Future[Any]]:
        with self._changed:
            answers: dict[TopicPartition, Future[Any]] = {}
            for place, spec in asked.items():
                try:
                    self._broker.answer("list_offsets")
                    partition = self._broker.partition(place.topic, place.partition)
                except KafkaException as failure:
                    answers[place] = Future()
                    answers[place].set_exception(failure)
                    continue
                latest = spec._value == _LATEST
                offset = len(partition.entries) if latest else partition.low
                answers[place] = _answered(SimpleNamespace(offset=offset))
            return answers


def error(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaError:
    """An error as librdkafka makes them."""
    return KafkaError(code, "as the test says", fatal, retriable, abort)


def _refusal(group: _Group, member: str, generation: int, consumer: MemoryConsumer) -> int | None:
    """Why the group takes no offsets of a member."""
    if group.members.get(member) is consumer:
        return None if generation == group.generation else KafkaError.ILLEGAL_GENERATION
    return KafkaError.FENCED_INSTANCE_ID if member in group.members else KafkaError.UNKNOWN_MEMBER_ID


def _assignment(group: _Group, member: str) -> bytes:
    """What a member has, as in ConsumerProtocolAssignment.json: version, topics with their partitions, no user data."""
    places = [place for place, owner in group.owners.items() if owner == member]
    given = b"".join(
        struct.pack(f">h{len(topic)}sii", len(topic), topic.encode(), 1, number) for topic, number in places
    )
    return struct.pack(">hi", 0, len(places)) + given + struct.pack(">i", -1)


def _trouble(code: int, place: Place, offset: int) -> Message:
    return Message(topic=place[0], partition=place[1], offset=offset, error=error(code))


def _partitions(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in sorted(places)]


def _answered(answer: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(answer)
    return future


def _now_ms() -> int:
    return int(time.time() * 1000)
