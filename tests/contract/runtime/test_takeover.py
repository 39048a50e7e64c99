"""A sink that was down for a month takes over what came meanwhile: its loop turns all the while."""

from __future__ import annotations

import itertools
import time
from threading import Event

from confluent_kafka import Producer

from salmon.runtime import writes_scan
from support.runtime import OBJECT, Sync

WRITES = 1_000_000
KEYS = 50_000  # each written twenty times: so many are owed
# A tenth of what a loop may take to turn (health.TURN_MAX_S): more than enough for any machine.
SILENCE_MAX_S = 6.0


def test_a_million_writes_are_taken_over_while_the_wheel_turns(sync: Sync) -> None:
    """What is owed is found in one go, within a poll; health sees the loop turn with each batch (case S9)."""
    topic = sync.topics.writes("mongodb", OBJECT)
    producer = Producer({**sync.kafka, "linger.ms": 20, "queue.buffering.max.messages": WRITES})
    for n in range(WRITES):
        producer.produce(topic, b"x", b"%d" % (n % KEYS), partition=0)
    assert producer.flush(60) == 0

    turns = [time.monotonic()]
    found = writes_scan.scan(
        sync.kafka, "test", {(topic, 0): 0}, Event(), turned=lambda: turns.append(time.monotonic())
    )
    turns.append(time.monotonic())

    assert found[topic, 0].end == WRITES
    assert len(found[topic, 0].newest) == KEYS
    assert min(found[topic, 0].newest.values()) == WRITES - KEYS, "the newest of each key"
    assert len(turns) > 20
    assert max(b - a for a, b in itertools.pairwise(turns)) < SILENCE_MAX_S
