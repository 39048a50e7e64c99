"""
A commit of offsets that holds up nobody.

librdkafka's own waiting has no time-out: it lasted a minute while the coordinator of the group was away, and meanwhile the consumer
cannot be polled from another thread either. So the answer comes within a later poll of the consumer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from salmon.calls import Calls, Peer
from salmon.kafka.reader import Place

_DOING: Final = "committing offsets"


class OffsetCommit:
    """
    One commit, under way from its creation. answered() must be called by the consumer's on_commit.

    Args:
        positions: The next offset to read in each partition.

    Attributes:
        failure: Why Kafka did not accept it; None if it did. Valid when it is answered.
        took_s: How long Kafka took, in seconds.
    """

    def __init__(self, consumer: Consumer, positions: Mapping[Place, int], calls: Calls) -> None:
        self.positions = dict(positions)
        self.is_answered = False
        self.failure: KafkaError | None = None
        self.took_s = 0.0
        self._began, self._calls = time.monotonic(), calls
        self._call = calls.begin(Peer.KAFKA, _DOING, ours=False)
        offsets = [TopicPartition(topic, number, at) for (topic, number), at in self.positions.items()]
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except BaseException:
            calls.dropped(self._call)
            raise

    def answered(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        """Take note of the answer."""
        errors = [error, *(each.error for each in partitions)]
        self.failure = next((each for each in errors if each is not None), None)
        self.is_answered, self.took_s = True, time.monotonic() - self._began
        # librdkafka's own errors, e.g. that nobody has answered, are below 0.
        is_kafkas_word = self.failure is None or self.failure.code() > 0
        (self._calls.answered if is_kafkas_word else self._calls.given_up)(self._call)

    def dropped(self) -> None:
        """Nobody will hear what becomes of it."""
        self._calls.dropped(self._call)
