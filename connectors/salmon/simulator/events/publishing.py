"""
Publish and PublishStream: platform events by the Pub/Sub API, with a result for each.

The call itself fails where the request is wrong; an event that cannot be published has an error in its result, and the
call ends OK. What a subscriber gets has the event's own id, or one of the org's where the publisher gave none.
Source: Pub/Sub API ("Publish RPC Method", "PublishStream RPC Method", "Handle Errors", "Allocations") and its proto. Which
code a topic that cannot be published to is refused with is our reading: topic.meta.permission.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final

import grpc

from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.simulator.events.cdc import EVENT_BYTES_MAX
from salmon.simulator.events.event_faults import Faults
from salmon.simulator.events.eventbus import EventBus, TopicNotFound
from salmon.simulator.events.platform_schema import BadPayload, PlatformSchema
from salmon.simulator.events.pubsub_stream import Refused
from salmon.simulator.org.objects.platform_events import PREFIX, PlatformEvents

_INVALID: Final = grpc.StatusCode.INVALID_ARGUMENT


class Publisher:
    """Publishes on one org's bus."""

    def __init__(self, bus: EventBus, events: PlatformEvents, faults: Faults) -> None:
        self._bus = bus
        self._events = events
        self._faults = faults

    def publish(self, request: Any, rpc_id: str) -> Any:
        """The answer to one PublishRequest. Raises Refused where it is wrong as a whole."""
        topic = request.topic_name
        if not topic:
            raise Refused(_INVALID, "publish.topic.validation.empty", "the topic name is empty")
        if not request.events:
            raise Refused(_INVALID, "publish.event.count.invalid", "the request has no events")
        try:
            self._bus.schema_id_of(topic)
        except TopicNotFound:
            raise Refused.no_topic(topic) from None
        if not can_publish(topic, self._events):
            denied = grpc.StatusCode.PERMISSION_DENIED
            raise Refused(denied, "topic.meta.permission", f"topic {topic} cannot be published to")
        schema = self._bus.platform_schema(topic)
        results = [self._one(topic, schema, event) for event in request.events]
        return pb2.PublishResponse(results=results, schema_id=schema.schema_id, rpc_id=rpc_id)

    def _one(self, topic: str, schema: PlatformSchema, event: Any) -> Any:
        problem = None
        if self._faults.take("refuse_publish", topic=topic) is not None:
            problem = "injected by the control API"
        elif event.schema_id != schema.schema_id:
            problem = f"the schema id {event.schema_id or '(none)'} is not that of {topic} now"
        elif len(event.payload) > EVENT_BYTES_MAX:
            problem = "the event is larger than 1 MB"
        else:
            try:
                schema.check(event.payload)
            except BadPayload as bad:
                problem = str(bad)
        if problem is None and not self._events.allow(1):
            problem = "LIMIT_EXCEEDED: the hourly limit of published platform events is exceeded"
        if problem is not None:
            error = pb2.Error(code=pb2.ErrorCode.PUBLISH, msg=problem)
            return pb2.PublishResult(error=error, correlation_key=event.id)
        event_id = event.id or str(uuid.uuid4())
        replay_id = self._bus.publish_payload(topic, event_id, schema.schema_id, event.payload)
        return pb2.PublishResult(replay_id=replay_id, correlation_key=event_id)

    def stream(self, requests: Iterable[Any], rpc_id: str, silence_max_s: float) -> Iterator[Any]:
        """
        The answers to the requests of one stream. All of them are for the topic of the first.

        Raises:
            Refused: A request is wrong, or nothing was published for *silence_max_s*.
        """
        arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(requests, arrived), name="pubsub-publishes", daemon=True).start()
        topic = ""
        while True:
            try:
                request = arrived.get(timeout=silence_max_s)
            except queue.Empty:
                raise Refused(
                    grpc.StatusCode.UNAVAILABLE,
                    "publish.stream.sweeper.timeout",
                    "nothing was published on this stream for too long",
                ) from None
            if request is None:
                return
            if topic and request.topic_name not in {"", topic}:
                raise Refused(_INVALID, "publish.topic.mismatch", "the topic of a stream cannot change")
            topic = topic or request.topic_name
            asked = pb2.PublishRequest(topic_name=topic, events=request.events)
            yield self.publish(asked, rpc_id)


def can_publish(topic: str, events: PlatformEvents) -> bool:
    """Whether a topic that exists takes events: those of platform events do unless only the platform fires them; no other does."""
    return topic.startswith(PREFIX) and events.takes(topic.removeprefix(PREFIX))


def _read(requests: Iterable[Any], arrived: queue.SimpleQueue[Any]) -> None:
    try:
        for request in requests:
            arrived.put(request)
    except grpc.RpcError:  # The call was cancelled, or its connection broke.
        pass
    arrived.put(None)
