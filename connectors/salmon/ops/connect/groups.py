"""
The committed offsets of a sink's consumer group: read, and sent back while the sink is stopped.

Only back, because what lies ahead would never be carried out. Before that, every instance is fenced by its transactional id, so that
none of them, not even one that is only suspended, commits its own place again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from salmon.errors import Fenced
from salmon.kafka import clients, cluster
from salmon.kafka.errors import translated
from salmon.kafka.extents import extents_of
from salmon.kafka.output import Output
from salmon.kafka.reader import Place
from salmon.ops.connect.access import Refused

OFFSET: Final = "kafka_offset"
_ASK_S: Final = 10.0


def still_works(connector: str) -> str:
    """Why nothing can be changed while an instance may still commit."""
    return f"A process of {connector} still works, or has just stopped and Kafka has not noticed yet. Try again in ten seconds."


@dataclass(frozen=True, slots=True)
class Group:
    """
    One consumer group of a sink.

    Args:
        name: Its id; with "-" and an ordinal behind it, it is the client id and the transactional id of an instance.
        topics: What it reads.
        stopped: The ordinals of the instances that have reported that they are stopped.
        event: The kind of event that it carries; "": it carries writes.
        published: Whether what it carries is seen by others as something new each time.
    """

    kafka: clients.Brokers
    connector: str
    name: str
    topics: Collection[str]
    stopped: Callable[[], Collection[int]]
    event: str = ""
    published: bool = False

    def committed(self) -> dict[Place, int]:
        """The committed offset of each partition that has one."""
        admin = clients.admin(self.kafka)
        consumer = clients.consumer(self.kafka, group_id=self.name, client_id=f"{self.name}-offsets")
        try:
            found = admin.list_topics(timeout=_ASK_S).topics
            places = [
                TopicPartition(topic, number)
                for topic in sorted(found.keys() & set(self.topics))
                for number in found[topic].partitions
            ]
            answers = consumer.committed(places, timeout=_ASK_S) if places else []
        except KafkaException as error:
            raise translated(error, f"asking for the offsets of {self.name}") from error
        finally:
            clients.close(consumer)
        return {(each.topic, each.partition): each.offset for each in answers if each.offset >= 0}

    def targets(self, committed: Mapping[Place, int], asked: Mapping[Place, int | None]) -> dict[Place, int]:
        """
        Where each partition is to continue. *asked*: None is the beginning.

        Raises:
            Refused: 400 for an offset that cannot be; 409 while an instance may still commit.
        """
        admin = clients.admin(self.kafka)
        # One that has stopped stays a member for a while (it is a static one), and does nothing more: it has reported that.
        stopped = {f"{self.name}-{ordinal}" for ordinal in self.stopped()}
        if any(member.client_id not in stopped for member in cluster.members(admin, self.name)):
            raise Refused(409, still_works(self.connector))
        starts = {place: extent.start for place, extent in extents_of(admin, asked).items()}
        targets: dict[Place, int] = {}
        for place, offset in asked.items():
            target = starts[place] if offset is None else offset
            if not starts[place] <= target <= max(committed[place], starts[place]):
                raise Refused(
                    400,
                    f"{place[0]}/{place[1]}: {OFFSET} must be between {starts[place]}, where the partition begins, and "
                    f"{committed[place]}, where the sink is: what lies ahead of it would never be carried out.",
                )
            targets[place] = target
        return targets

    def send_back(self, targets: Mapping[Place, int], notes: Mapping[str, Sequence[Output]]) -> None:
        """
        Commit *targets* under the transactional ids of all instances, which fences one that still runs.

        Args:
            notes: Ordinal -> what is written in the same transaction.
        """
        for ordinal, outputs in notes.items():
            producer = clients.producer(
                self.kafka, transactional_id=f"{self.name}-{ordinal}", client_id=f"{self.name}-offsets"
            )
            try:
                producer.start()
                with producer.transaction() as transaction:
                    for each in outputs:
                        transaction.produce(each.topic, each.key, each.value)
                    if ordinal == max(notes):
                        self._send_offsets(transaction, targets)
            except Fenced:
                raise Refused(409, still_works(self.connector)) from None
            finally:
                producer.close()

    def _send_offsets(self, transaction: clients.Transaction, targets: Mapping[Place, int]) -> None:
        # Of no member: so brokers take them also while members that have stopped are still in the group.
        consumer = clients.consumer(self.kafka, group_id=self.name, client_id=f"{self.name}-offsets")
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in targets.items()]
        try:
            transaction.send_offsets(offsets, consumer.consumer_group_metadata())
        finally:
            clients.close(consumer)
