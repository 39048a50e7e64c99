"""
One PublishStream of the Pub/Sub API, opened when it is needed, and again after it has ended.

Whether an event is published again, or refused for good, is for who publishes.
Sources: Pub/Sub API, "PublishStream RPC Method" (an event every 70 seconds, or the stream is ended), "Allocations" (200 events
and 3 MB a request).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import grpc

from salmon.errors import RequestRejected, SetupError, Unavailable, UnfitServer
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub, TokenRefused

EVENTS_MAX: Final = 200
REQUEST_BYTES_MAX: Final = 3 * 1024 * 1024
EVENT_BYTES_MAX: Final = 1024 * 1024
ANSWER_MAX_S: Final = 30.0
# The server ends a stream on which nothing was published for 70 seconds: it is not left to chance which of us is first.
_IDLE_MAX_S: Final = 50.0


class PublishStream:
    """Publishes to one topic. One thread publishes; close() may come from any."""

    def __init__(
        self,
        pubsub: PubSub,
        topic: str,
        *,
        answer_max_s: float = ANSWER_MAX_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pubsub, self._topic = pubsub, topic
        self._answer_max_s, self._clock = answer_max_s, clock
        self._open: _Open | None = None
        self._used_at = 0.0
        self._closed = threading.Event()

    def publish(self, events: Sequence[pb2.ProducerEvent]) -> Sequence[pb2.PublishResult]:
        """
        Publish up to EVENTS_MAX events; return one result for each, in their order.

        Raises:
            Unavailable, RateLimited: it is not known what became of any of them.
            SetupError: the topic cannot be published to; a person must correct that.
        """
        request = pb2.PublishRequest(topic_name=self._topic, events=events)
        for last in (False, True):
            if self._closed.is_set():
                raise Unavailable(f"{self._topic}: publishing was stopped.")
            token = self._pubsub.sign_in.token()
            try:
                results = self._asked(request, token)
            except grpc.RpcError as error:
                self._end()
                trouble = self._pubsub.trouble(error)
                if isinstance(trouble, TokenRefused) and not last:
                    self._pubsub.sign_in.renew(token)
                    continue
                if isinstance(trouble, RequestRejected | UnfitServer):
                    raise SetupError(
                        f"{self._topic} cannot be published to: {trouble} Let the integration user create the event."
                    ) from error
                raise trouble from error
            if len(results) != len(events):
                self._end()
                raise Unavailable(
                    f"{self._topic}: the Pub/Sub API answered {len(results)} of {len(events)} events."
                )
            return results
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the stream; who waits for an answer is told that there is none. Idempotent."""
        self._closed.set()
        self._end()

    def _asked(self, request: pb2.PublishRequest, token: Any) -> Sequence[pb2.PublishResult]:
        if self._clock() - self._used_at > _IDLE_MAX_S:
            self._end()
        stream = self._open = self._open or _Open(self._pubsub, token)
        self._used_at = self._clock()
        answer = stream.ask(request, self._answer_max_s)
        if answer is None:
            self._end()
            raise Unavailable(
                f"{self._topic}: the Pub/Sub API has not answered for {self._answer_max_s:.0f} s. The events are published again."
            )
        if isinstance(answer, Exception):
            raise answer
        self._pubsub.heard()
        return list(answer.results)

    def _end(self) -> None:
        if (stream := self._open) is not None:
            self._open = None
            stream.close()


class _Open:
    """An open call: requests go in by a queue, answers come out by another."""

    def __init__(self, pubsub: PubSub, token: Any) -> None:
        self._requests: queue.SimpleQueue[pb2.PublishRequest | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._call = pubsub.publishing(self._sent(), token)
        threading.Thread(target=self._receive, name="publishing", daemon=True).start()

    def ask(self, request: pb2.PublishRequest, within_s: float) -> Any:
        """The response; the error that ended the stream; or None if nothing came in time."""
        self._requests.put(request)
        try:
            return self._answers.get(timeout=within_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()

    def _sent(self) -> Iterator[pb2.PublishRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _receive(self) -> None:
        try:
            for response in self._call:
                self._answers.put(response)
            self._answers.put(Unavailable("the Pub/Sub API has ended the stream. It is opened again."))
        except grpc.RpcError as error:
            self._answers.put(error)
