"""Goes back in the log to the last commit, after a transaction that failed."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from salmon.kafka import clients
from salmon.merge.store import Place

log = structlog.get_logger(__name__)


def rewind(consumer: Consumer, following: Mapping[Place, int]) -> None:
    """Let *consumer* continue at these offsets. Raises as the broker answers, unless a partition was taken away meanwhile."""
    for (topic, partition), offset in following.items():
        try:
            consumer.seek(TopicPartition(topic, partition, offset))
        except KafkaException as error:
            if (topic, partition) in {(p.topic, p.partition) for p in consumer.assignment()}:
                # To go on would pass over what was not committed; a new start begins at the last commit.
                raise clients.translated(error, f"going back in {topic}") from error
            log.info("partition_not_rewound", topic=topic, partition=partition)  # it was taken away
