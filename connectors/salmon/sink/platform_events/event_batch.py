"""The records of a topic of events that were read and are not committed yet, by how far they have come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message, TopicPartition

from salmon.kafka import clients
from salmon.plugin.contract import SinkRecord


@dataclass(slots=True)
class EventBatch:
    """Records that were read and are not committed yet."""

    messages: list[Message] = field(default_factory=list)
    left: list[tuple[Message, SinkRecord]] = field(default_factory=list)
    set_aside: list[tuple[Message, Exception]] = field(default_factory=list)
    done: list[Message] = field(default_factory=list)
    undecoded: list[Message] = field(default_factory=list)

    def add(self, messages: Sequence[Message]) -> None:
        self.messages.extend(messages)
        self.undecoded.extend(messages)

    def forget(self, places: set[tuple[str, int]]) -> None:
        """These partitions are another instance's now."""

        def stays(message: Message) -> bool:
            return clients.place_of(message)[:2] not in places

        self.messages = [each for each in self.messages if stays(each)]
        self.undecoded = [each for each in self.undecoded if stays(each)]
        self.left = [each for each in self.left if stays(each[0])]
        self.set_aside = [each for each in self.set_aside if stays(each[0])]
        self.done = [each for each in self.done if stays(each)]

    @property
    def is_done(self) -> bool:
        return bool(self.messages) and not self.undecoded and not self.left

    def ends(self) -> list[TopicPartition]:
        """The next offset of each partition."""
        ends: dict[tuple[str, int], int] = {}
        for message in self.messages:
            topic, partition, offset = clients.place_of(message)
            ends[topic, partition] = offset + 1
        return [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]
