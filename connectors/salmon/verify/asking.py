"""
Asks the sources to read records again. What they read goes through the fold like any other change.

Nothing is written to a side from here. A signal names at most 200 records, so no signal gets too large. A source
commits its place in `signals` when the rows that answer them are in `changes`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from salmon.errors import Unavailable
from salmon.kafka import clients
from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Signals
from salmon.kafka.errors import translated
from salmon.kafka.properties import common, made
from salmon.kafka.topics import Topics
from salmon.model.sides import named
from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.wire.batches import batches
from salmon.verify.reading import Progress

log = structlog.get_logger(__name__)

SIGNAL_KEYS_MAX: Final = 200  # with keys of 255 bytes a signal of 100 KB
_SEND_MAX_S: Final = 30.0
_ASK_S: Final = 10.0
_LOOK_S: Final = 0.5
# A running source answers within seconds. A source that is starting, or that waits for its side, needs longer.
ANSWER_MAX_S: Final = 60.0
REASON: Final = "salmon verify --repair"


class Sources:
    """
    Sends requests to both sources of a sync. Call close() at the end.

    Args:
        answer_max_s: How long to wait without any answer. After that, the source does not run or cannot reach its side.
    """

    def __init__(
        self,
        kafka: Mapping[str, Any],
        topics: Topics,
        registry: Registry,
        *,
        answer_max_s: float = ANSWER_MAX_S,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._kafka, self._topics, self._registry = kafka, topics, registry
        self._answer_max_s, self._clock, self._pause = answer_max_s, clock, pause
        self._failed: KafkaError | None = None
        settings = {**common(kafka, f"{topics.name}-verify"), "acks": "all", "enable.idempotence": True}
        self._producer: Producer = made(Producer, settings, kafka)

    def ask(
        self, name: str, records: Sequence[tuple[str, str | None]], sides: Collection[str], progress: Progress
    ) -> frozenset[str]:
        """
        Ask the sources of *sides* to read records, and wait until the rows are in `changes`.

        Args:
            name: The object.
            records: Keys, each with its Salesforce Id if that is known.

        Returns:
            The sides whose source has not answered.

        Raises:
            Unavailable, SetupError: Kafka cannot be used.
        """
        places = {side: self._send(named(side).source, name, records) for side in sides}
        log.info("records_asked_for", object=name, keys=len(records), sides=sorted(sides))
        return frozenset(self._unanswered(places, f"repair of {len(records):,}", progress))

    def _send(self, connector: str, name: str, records: Sequence[tuple[str, str | None]]) -> list[int]:
        """Write the signals, and return their offsets."""
        topic = self._topics.signals(connector)
        codec = Signals(self._registry, topic)
        offsets: list[int] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed = error
            elif (offset := message.offset()) is not None:
                offsets.append(offset)

        # The source pairs keys with Ids only if there are equally many of both.
        known = [record for record in records if record[1] is not None]
        for group in (known, [record for record in records if record[1] is None]):
            for some in batches(group, SIGNAL_KEYS_MAX):
                signal = Signal(
                    0,
                    SignalKind.READ,
                    name,
                    keys=tuple(key for key, _ in some),
                    native_ids=tuple(native_id for _, native_id in some if native_id is not None),
                    reason=REASON,
                )
                self._producer.produce(
                    topic, codec.encode(signal), name.encode(), partition=0, on_delivery=delivered
                )
                self._producer.poll(0)
        left = self._producer.flush(_SEND_MAX_S)
        if self._failed is not None:
            raise translated(self._failed, f"writing to {topic}")
        if left:
            raise Unavailable(
                f"{topic}: Kafka has not accepted the requests within {_SEND_MAX_S:.0f} s. Check the brokers, and try again."
            )
        return sorted(offsets)

    def _unanswered(self, places: Mapping[str, Sequence[int]], what: str, progress: Progress) -> set[str]:
        """Wait for the answers, and return the sides that did not answer in time."""
        waiting = dict(places)
        total = sum(map(len, places.values()))
        answered, moved_at = 0, self._clock()
        progress(what, 0, total)
        while True:
            left = 0
            for side, offsets in list(waiting.items()):
                done_up_to = self._answered(named(side).source)
                count = sum(offset >= done_up_to for offset in offsets)
                left += count
                if not count:
                    del waiting[side]
            if total - left > answered:
                answered, moved_at = total - left, self._clock()
            progress(what, answered, total)
            if not waiting or self._clock() - moved_at >= self._answer_max_s:
                return set(waiting)
            self._pause(_LOOK_S)

    def _answered(self, connector: str) -> int:
        """Return the offset up to which a source has answered its signals."""
        place = TopicPartition(self._topics.signals(connector), 0)
        group = f"{self._topics.name}-{connector}"
        asking = clients.consumer(self._kafka, group_id=group, client_id=f"{self._topics.name}-verify")
        try:
            return max(0, asking.committed([place], timeout=_ASK_S)[0].offset)
        except KafkaException as error:
            raise translated(error, f"asking for the committed offset of {connector}") from error
        finally:
            asking.close()

    def close(self) -> None:
        """Close the connections."""
        self._producer.flush(_ASK_S)
