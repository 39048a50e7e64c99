"""Asking the sources to read records anew, on a real broker: signals of bounded size, and answers that are waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from salmon.kafka import clients, topics
from salmon.kafka.codecs.serdes import Signals
from salmon.kafka.topics import Topics
from salmon.model.change import MONGODB, SALESFORCE, SIDES
from salmon.plugin.contract import Signal, SignalKind
from salmon.verify.asking import SIGNAL_KEYS_MAX, Sources
from support import kafka as servers
from support.at_hand.registries import MemoryRegistry

pytestmark = pytest.mark.xdist_group("embedded")

TOPICS = Topics("asking")
REGISTRY = MemoryRegistry()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with servers.embedded_broker(tmp_path_factory.mktemp("broker")) as kafka:
        wanted = topics.specs(TOPICS, ["Account"], partitions=1, replication_factor=1)
        topics.ensure(clients.connect(kafka), wanted)
        yield kafka


class Scene:
    """Sources that answer when a test says so, and a clock that only pauses move."""

    def __init__(self, kafka: dict[str, Any]) -> None:
        self.kafka, self.registry = kafka, REGISTRY
        self.now_s = 0.0
        self.at_pause: Callable[[], object] = lambda: None
        self.sources = Sources(
            kafka, TOPICS, self.registry, answer_max_s=60, clock=lambda: self.now_s, pause=self._pause
        )
        self.began = {side: len(self.signals(side)) for side in SIDES}

    def _pause(self, seconds: float) -> None:
        self.now_s += seconds
        self.at_pause()

    def signals(self, side: str) -> list[Signal]:
        """All signals to a side's source."""
        topic = TOPICS.signals(f"{side}-source")
        codec = Signals(self.registry, topic)
        reader = clients.consumer(self.kafka, group_id="test", client_id="test", enable_partition_eof=True)
        found: list[Signal] = []
        try:
            reader.assign([TopicPartition(topic, 0, 0)])
            while True:
                for message in reader.consume(1000, 0.1):
                    if message.error() is not None:
                        return found
                    found.append(codec.decode(message.value() or b"", offset=message.offset() or 0))
        finally:
            reader.close()

    def new(self, side: str) -> list[Signal]:
        return self.signals(side)[self.began[side] :]

    def answer(self, side: str, up_to: int) -> None:
        """What a source commits with the rows: all signals before *up_to* are answered."""
        consumer = clients.consumer(self.kafka, group_id=f"{TOPICS.name}-{side}-source", client_id="source")
        place = TopicPartition(TOPICS.signals(f"{side}-source"), 0, up_to)
        consumer.commit(offsets=[place], asynchronous=False)
        consumer.close()


def test_very_many_records_are_asked_for_in_many_small_signals(kafka: dict[str, Any]) -> None:
    """Each source gets every key once, with its Id where that is known; and both are waited for."""
    scene = Scene(kafka)
    records = [(f"key {number}", f"001{number:015}" if number % 2 else None) for number in range(1_000)]

    def answer() -> None:
        for side in SIDES:
            scene.answer(side, scene.signals(side)[-1].id + 1)

    scene.at_pause = answer
    told: list[tuple[int, int]] = []
    unanswered = scene.sources.ask(
        "Account", records, SIDES, lambda _what, done, total: told.append((done, total))
    )
    scene.sources.close()
    assert unanswered == frozenset()
    for side in SIDES:
        signals = scene.new(side)
        assert all(
            signal.kind is SignalKind.READ and len(signal.keys) <= SIGNAL_KEYS_MAX for signal in signals
        )
        asked = {key for signal in signals for key in signal.keys}
        assert asked == {key for key, _ in records}
        pairs = {
            pair
            for signal in signals
            if signal.native_ids
            for pair in zip(signal.keys, signal.native_ids, strict=True)
        }
        assert pairs == {record for record in records if record[1]}
    assert told[0] == (0, 12)
    assert told[-1] == (12, 12)


def test_a_source_that_answers_slowly_is_waited_for_and_one_that_does_not_is_named(
    kafka: dict[str, Any],
) -> None:
    """While answers come, patience begins anew; a minute without any ends it."""
    scene = Scene(kafka)
    records = [(f"key {number}", None) for number in range(600)]

    def answer() -> None:
        if scene.now_s in (50, 100, 150):
            scene.answer(SALESFORCE, scene.new(SALESFORCE)[int(scene.now_s / 50) - 1].id + 1)

    scene.at_pause = answer
    assert scene.sources.ask("Account", records, SIDES, lambda *_: None) == {MONGODB}
    scene.sources.close()
    assert 150 + 60 <= scene.now_s < 150 + 62
