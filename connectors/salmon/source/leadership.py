"""
Elects the leader of a source: the instance that owns the only partition of the source's `signals` topic. It also reads
the signals.

The consumer has a thread of its own, which polls however long the task takes. So an instance does not lose the lead
because of a slow snapshot. An instance that loses the lead writes nothing more and restarts: it leads again if no other
instance has taken the lead, or stands by.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from salmon.errors import ClientLost, PositionLost, RetriableError, Stopping
from salmon.kafka import clients
from salmon.kafka.clients import translated
from salmon.runtime.instance import Instance
from salmon.runtime.membership import Seat
from salmon.runtime.retry import Retrying, Streak

log = structlog.get_logger(__name__)

SIGNALS_MAX: Final = 1_000  # read and not yet taken by the loop
POLL_S: Final = 0.1
_ASK_S: Final = 10.0
_JOIN_MAX_S: Final = 5.0


def seat_of(instance: Instance) -> Seat:
    """Return the place of a source's instance in the group that elects the leader."""
    return instance.seat([instance.topics.signals(instance.connector)])


class Leadership:
    """
    Args:
        elected: Called first on a new leader; it fences the former leader. May raise RetriableError.
        again: Whether this instance joins once more; see Seat.consumer.
        deposed: Called in the consumer's thread when the lead is lost; it unblocks the loop.
    """

    def __init__(
        self,
        instance: Instance,
        retrying: Retrying,
        *,
        elected: Callable[[], None],
        deposed: Callable[[], None],
        again: bool = False,
    ) -> None:
        self._instance, self._retrying = instance, retrying
        self._reading = Streak(retrying)
        self._elected, self._deposed = elected, deposed
        self._topic = instance.topics.signals(instance.connector)
        self._signals: deque[Message] = deque()
        self._leads = False
        self.chosen = False  # by the group; it leads as soon as the former leader is fenced
        self._news = threading.Event()  # we lead, or the consumer has failed
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._held_up = False
        # Whether signals left the topic before they were read. The loop sets it to False after it has reacted.
        self.signals_lost = False
        self._group: Any = None
        self._consumer = seat_of(instance).consumer(again=again)
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)

    # The loop's view.

    def start(self) -> None:
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait up to *timeout_s* for the lead. Returns whether we lead. Raises the errors of check()."""
        self._news.wait(timeout_s)
        self.check()
        return self._leads

    def check(self) -> None:
        """Raise ClientLost if the lead is lost, or the error that ended the consumer."""
        if self._failure is not None:
            raise self._failure

    def signals(self, limit: int) -> list[Message]:
        """Return the signals that arrived since the last call, at most *limit*; the others come with the next call."""
        found: list[Message] = []
        while self._signals and len(found) < limit:
            found.append(self._signals.popleft())
        return found

    def offsets(self, offset: int) -> tuple[list[TopicPartition], Any]:
        """Return the arguments of send_offsets() for a transaction that answers all signals before *offset*."""
        return [TopicPartition(self._topic, 0, offset)], self._group

    def close(self) -> None:
        """Leave the group. Idempotent."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_MAX_S)

    # The consumer's thread. No other thread uses the consumer.

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._taken_away, on_lost=self._taken_away
            )
            while not self._closing.is_set() and self._failure is None:
                self._turn()
        except Stopping:
            pass
        except BaseException as failure:  # noqa: BLE001 - raised again by the loop, through check()
            self._fail(failure)
        finally:
            self._closing.set()
            clients.close(self._consumer)

    def _turn(self) -> None:
        try:
            self._signals.extend(clients.read(self._consumer, SIGNALS_MAX, POLL_S))
            self._reading.worked()
        except PositionLost as lost:
            # Kafka kept them for days, but no instance read them.
            log.warning("signals_lost", reason=str(lost))
            self.signals_lost = True
            low = self._retrying.until_it_works("asking for the first signal", self._low)
            clients.continue_at(self._consumer, [TopicPartition(self._topic, 0, low)])
        except RetriableError as trouble:
            self._reading.failed("reading signals", trouble)
        # Its generation changes whenever an instance comes or goes; a transaction needs the present one.
        self._group = self._consumer.consumer_group_metadata()
        self._hold_up_or_go_on()

    def _hold_up_or_go_on(self) -> None:
        if not self._leads:
            return
        full = len(self._signals) >= SIGNALS_MAX
        if full != self._held_up:
            place = [TopicPartition(self._topic, 0)]
            if full:
                self._consumer.pause(place)
            else:
                self._consumer.resume(place)
            self._held_up = full

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions or self._failure is not None or self._closing.is_set():
            return  # this instance has lost the lead before, and restarts; or it joins again
        self.chosen = True
        try:
            with self._instance.metrics.taking_over():
                self._retrying.until_it_works("taking the lead", self._elected)
                start = self._retrying.until_it_works("asking for the first signal", self._start)
        except BaseException as failure:  # noqa: BLE001 - raised again by the loop, through check()
            self._fail(failure)
            start = TopicPartition(self._topic, 0, 0)
        consumer.incremental_assign([start])
        if self._failure is None:
            self._group = consumer.consumer_group_metadata()
            log.info("lead_taken", instance=self._instance.id, signals_from=start.offset)
            self._leads = True
            self._news.set()

    def _taken_away(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions and not self._closing.is_set():
            self._fail(
                ClientLost(
                    f"{self._instance.connector}: this instance has lost the lead, because Kafka received no heartbeat of it "
                    f"for too long or gave the lead to another instance. It writes nothing more, and restarts."
                )
            )

    def _start(self) -> TopicPartition:
        """Return the position of the first unanswered signal; if none is committed, or it expired, of the oldest signal."""
        asked = TopicPartition(self._topic, 0)
        try:
            offset = self._consumer.committed([asked], timeout=_ASK_S)[0].offset
            low, high = self._consumer.get_watermark_offsets(asked, timeout=_ASK_S)
        except KafkaException as error:
            raise translated(error, f"asking for the committed offset of {self._topic}") from error
        known = low <= offset <= high
        # Without a committed offset, no signal is lost only if the topic still starts at offset 0.
        if not known and (low > 0 or offset >= 0):
            log.warning("signals_lost", offset=offset, begins_at=low)
            self.signals_lost = True
        return TopicPartition(self._topic, 0, offset if known else low)

    def _low(self) -> int:
        try:
            low, _ = self._consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=_ASK_S)
        except KafkaException as error:
            raise translated(error, f"asking for the start of {self._topic}") from error
        return low

    def _fail(self, failure: BaseException) -> None:
        if self._failure is None and not isinstance(failure, Stopping):
            self._failure = failure
        self._news.set()
        self._deposed()
