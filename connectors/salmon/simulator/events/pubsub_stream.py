"""
One Subscribe stream: how many events the client has asked for, what it gets and when, and when the stream ends.

Two threads run it: `listen` reads the client's requests, and `responses` sends the answers. They share the bus's condition.
Who may connect, and how errors look on the wire, is in salmon.simulator.events.pubsub.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc

from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.simulator.events.eventbus import EventBus, Preset, ReplayIdCorrupted, Subscription, TopicNotFound

# Pub/Sub API, Allocations: a stream owes at most so many events; more is treated as this.
OWED_MAX: Final = 100
# Clients receive 4 MB unless told otherwise, and are advised to take 3 MB at least.
_RESPONSE_BYTES_MAX: Final = 3_000_000

_PRESETS: Final = {
    pb2.ReplayPreset.LATEST: Preset.LATEST,
    pb2.ReplayPreset.EARLIEST: Preset.EARLIEST,
    pb2.ReplayPreset.CUSTOM: Preset.CUSTOM,
}


class Refused(Exception):
    """The call ends with *status*; *code* is the API's own code without its prefix, None for a broken line."""

    def __init__(self, status: Any, code: str | None, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text

    @classmethod
    def no_topic(cls, topic: str) -> Refused:
        """There is no such topic; names are case-sensitive."""
        return cls(
            grpc.StatusCode.NOT_FOUND,
            "topic.not.found",
            f"topic {topic} does not exist, or its object is not selected for Change Data Capture",
        )


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """How long a stream waits, by a real clock."""

    keepalive_s: float  # until a keepalive is sent
    demand_timeout_s: float  # for a client that asks for nothing more, until it ends
    publish_timeout_s: float = 70.0  # for a client that publishes nothing more, until its stream ends


class Stream:
    """
    A subscription on the wire.

    Args:
        bus: Where the events are.
        rpc_id: To name in every response.
        times: How long to wait.
        latency_s: Returns how late a response with events arrives; called for each response. Responses keep their order,
            and the stream continues while they are on their way, as over a slow connection.
    """

    def __init__(
        self, bus: EventBus, rpc_id: str, times: StreamTimes, latency_s: Callable[[], float]
    ) -> None:
        self._bus = bus
        self._rpc_id = rpc_id
        self._times = times
        self._latency_s = latency_s
        # All below is shared, and touched with bus.changed held.
        self._subscription: Subscription | None = None
        self._owed = 0
        self._underway: deque[tuple[float, Any]] = deque()
        self._requests_over = False
        self._refused: Refused | None = None
        self._closed = False
        self._said_at_s = self._asked_at_s = time.monotonic()

    def listen(self, requests: Iterable[Any]) -> None:
        """Read the client's requests until there are no more."""
        refused, closed = None, False
        try:
            for request in requests:
                with self._bus.changed:
                    self._ask(request)
                    self._bus.changed.notify_all()
        except Refused as error:
            refused = error
        except grpc.RpcError:  # The call was cancelled, or its connection broke.
            closed = True
        with self._bus.changed:
            self._requests_over = True
            self._refused = refused or self._refused
            self._closed = self._closed or closed
            self._bus.changed.notify_all()

    def responses(self) -> Iterator[Any]:
        """
        Yield what the client gets. It blocks while there is nothing to send, and ends when the stream does.

        Raises:
            Refused: The stream ends with an error.
        """
        while True:
            with self._bus.changed:
                response = self._next()
                while response is None:
                    wait_s = self._wait_s()
                    if wait_s is None:
                        return
                    self._bus.changed.wait(wait_s)
                    response = self._next()
            yield response

    def refuse(self, refused: Refused) -> None:
        """End the stream with an error."""
        with self._bus.changed:
            self._refused = refused
            self._bus.changed.notify_all()

    def close(self) -> None:
        """The call has ended, on either side. Idempotent."""
        with self._bus.changed:
            self._closed = True
            if self._subscription is not None:
                self._subscription.close()
            self._bus.changed.notify_all()

    def _ask(self, request: Any) -> None:
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        if request.num_requested <= 0:
            raise Refused(
                invalid, "subscription.fetch.requested.events.invalid", "num_requested must be above 0"
            )
        if self._subscription is None:
            if not request.topic_name:
                raise Refused(invalid, "topic.validation.empty", "the first request names no topic")
            self._subscription = self._open(request)
        elif request.topic_name and request.topic_name != self._subscription.topic:
            raise Refused(invalid, "subscription.fetch.topic.mismatch", "the topic of a stream cannot change")
        self._owed = min(OWED_MAX, self._owed + request.num_requested)

    def _open(self, request: Any) -> Subscription:
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        preset = _PRESETS[request.replay_preset]
        if preset is Preset.CUSTOM and not request.replay_id:
            raise Refused(
                invalid, "subscription.fetch.replayid.validation.failed", "CUSTOM needs a replay id"
            )
        try:
            subscription = self._bus.subscribe(request.topic_name, preset, request.replay_id)
        except TopicNotFound:
            raise Refused.no_topic(request.topic_name) from None
        except ReplayIdCorrupted:
            raise Refused(
                invalid,
                "subscription.fetch.replayid.corrupted",
                "the replay id is not of this org's event bus, or older than the retention window",
            ) from None
        if self._closed:
            subscription.close()
        return subscription

    # What is said next. With the bus held.

    def _next(self) -> Any:
        """A response that is due now, or None."""
        if self._closed:
            return None
        if self._refused is not None:
            raise self._refused
        if self._subscription is None:
            return None
        if self._subscription.cut:
            raise Refused(grpc.StatusCode.UNAVAILABLE, None, "RST_STREAM closed stream")
        if self._bus.silent_s() > 0:
            return None
        now_s = time.monotonic()
        if self._owed and (response := self._with_events()) is not None:
            self._underway.append((now_s + self._latency_s(), response))
        if self._underway:
            if self._underway[0][0] > now_s:
                return None
            self._said_at_s = now_s
            return self._underway.popleft()[1]
        if now_s - self._said_at_s >= self._times.keepalive_s:
            self._said_at_s = now_s
            return self._response(self._subscription.position())
        return None

    def _with_events(self) -> Any:
        assert self._subscription is not None
        allowed = min(self._owed, self._bus.deliveries_left())
        if allowed == 0 and self._subscription.is_behind():
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "subscription.limit.exceeded",
                "You have exceeded the event delivery limit for your org.",
            )
        taken = self._subscription.take(allowed, _RESPONSE_BYTES_MAX)
        if not taken:
            return None
        self._owed -= len(taken)
        self._asked_at_s = time.monotonic()  # From now on it is the client's turn, if nothing is owed.
        response = self._response(taken[-1].replay_id)
        for delivery in taken:
            event = delivery.event
            consumed = response.events.add(replay_id=delivery.replay_id)
            consumed.event.id = event.id
            consumed.event.schema_id = event.schema_id
            consumed.event.payload = event.payload
        return response

    def _response(self, position: bytes) -> Any:
        return pb2.FetchResponse(
            latest_replay_id=position, rpc_id=self._rpc_id, pending_num_requested=self._owed
        )

    def _wait_s(self) -> float | None:
        """For how long there is nothing to say, if nothing happens; None if the stream is at its end."""
        if self._closed:
            return None
        if (silent_s := self._bus.silent_s()) > 0:
            return silent_s
        now_s = time.monotonic()
        if self._underway:
            return max(0.0, self._underway[0][0] - now_s)
        demand_left_s = self._asked_at_s + self._times.demand_timeout_s - now_s
        if self._owed == 0 and (self._requests_over or demand_left_s <= 0):
            return None
        keepalive_left_s = self._said_at_s + self._times.keepalive_s - now_s
        if self._subscription is None:
            return demand_left_s
        return max(0.0, keepalive_left_s if self._owed else min(keepalive_left_s, demand_left_s))
