"""
The Pub/Sub API of the simulated org over gRPC, on the org's event bus: who may call, and how errors look on the wire.

What the streams and Publish do is in the modules beside this one. The bus itself, and its faults on request, are in
salmon.simulator.events.eventbus.
Source: Pub/Sub API Developer Guide (RPC Method Reference, Error Codes, Allocations) and its public proto.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
import structlog

from salmon.errors import SetupError
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.simulator.events.bus_org import BusOrg, BusSettings
from salmon.simulator.events.eventbus import EventBus, TopicNotFound
from salmon.simulator.events.managed import ManagedStream
from salmon.simulator.events.publishing import Publisher, can_publish
from salmon.simulator.events.pubsub_stream import Refused, Stream, StreamTimes

log = structlog.get_logger(__name__)

SERVICE: Final = "eventbus.v1.PubSub"

# A synchronous gRPC server spends a thread on each open stream, so streams are refused before unary calls starve.
STREAMS_MAX: Final = 200
_UNARY_THREADS: Final = 16

_SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a second server on it
    # Subscribers check idle connections with pings; by default, gRPC treats that as abuse and closes the connection.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class Sessions(Protocol):
    """What this module needs of the org's sessions."""

    def valid(self, token: str) -> bool: ...
    def add_listener(self, listener: Callable[[frozenset[str]], None]) -> None: ...


class Settings(BusSettings, Protocol):
    """What is asked of the org's settings, besides what the bus asks."""

    @property
    def revocation_ends_streams(self) -> bool: ...


class Instance(Protocol):
    """What is asked of the place where the org is."""

    def has_left(self, authority: str) -> bool: ...


class PubSubOrg(BusOrg, Protocol):
    """What the Pub/Sub API needs of the org, besides what its bus needs."""

    @property
    def org_id(self) -> str: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def instance(self) -> Instance: ...


@dataclass(frozen=True, slots=True)
class PubSubServer:
    """A running server, and the bus it serves."""

    port: int
    bus: EventBus
    _server: Any
    _threads: ThreadPoolExecutor

    def stop(self) -> None:
        """End every stream and call at once, and return when they have ended. Idempotent."""
        self._server.stop(None).wait()
        self._threads.shutdown()


def serve(
    org: PubSubOrg,
    *,
    credentials: Any,
    port: int = 0,
    host: str = "127.0.0.1",
    bus: EventBus | None = None,
    keepalive_s: float = 60.0,
    demand_timeout_s: float = 60.0,
    publish_timeout_s: float = 70.0,
) -> PubSubServer:
    """
    Serve the Pub/Sub API of *org*.

    Args:
        org: Its commits become events from now on, unless *bus* has been listening already.
        credentials: A grpc.ServerCredentials; real clients insist on TLS.
        port: 0 for any that is free.
        host: Address to listen on.
        bus: The event bus; None to make one.
        keepalive_s: A stream on which nothing was said for so long gets an empty response (real ones: 60 to 120,
            at most 270).
        demand_timeout_s: A stream whose client asks for no more events for so long is ended.
        publish_timeout_s: A stream on which nothing is published for so long is ended.

    Raises:
        SetupError: The port is taken.
    """
    bus = bus or EventBus(org)
    service = _Service(org, bus, StreamTimes(keepalive_s, demand_timeout_s, publish_timeout_s))
    threads = ThreadPoolExecutor(STREAMS_MAX + _UNARY_THREADS, thread_name_prefix="pubsub")
    server = grpc.server(threads, options=_SERVER_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, service.handlers()),))
    try:
        bound = server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError:
        bound = 0
    if not bound:
        raise SetupError(
            f"{host}:{port} is taken; give the Pub/Sub API another port, or 0 for any that is free"
        )
    server.start()
    log.info("pubsub_started", host=host, port=bound)
    return PubSubServer(bound, bus, server, threads)


class _Service:
    """The RPCs. Each checks the call's metadata first; a refused call ends with an error code and an rpc id."""

    def __init__(self, org: PubSubOrg, bus: EventBus, times: StreamTimes) -> None:
        self._org = org
        self._bus = bus
        self._times = times
        self._publisher = Publisher(bus, org.platform_events, org.faults)
        self._streams: dict[Stream, str] = {}  # each with its access token
        self._publishing: set[str] = set()  # rpc ids of the streams that publish
        org.sessions.add_listener(self._revoked)

    def handlers(self) -> dict[str, Any]:
        """gRPC's method table."""
        return {
            "GetTopic": _unary(self._guarded("GetTopic", self._get_topic), pb2.TopicRequest),
            "GetSchema": _unary(self._guarded("GetSchema", self._get_schema), pb2.SchemaRequest),
            "Publish": _unary(self._guarded("Publish", self._publisher.publish), pb2.PublishRequest),
            "PublishStream": _streams(self._publish_stream, pb2.PublishRequest),
            "Subscribe": _streams(self._subscribe, pb2.FetchRequest),
            "ManagedSubscribe": _streams(self._subscribe_managed, pb2.ManagedFetchRequest),
        }

    def _get_topic(self, request: pb2.TopicRequest, rpc_id: str) -> pb2.TopicInfo:
        if not request.topic_name:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT, "topic.validation.empty", "the topic name is empty"
            )
        try:
            schema_id = self._bus.schema_id_of(request.topic_name)
        except TopicNotFound:
            raise Refused.no_topic(request.topic_name) from None
        return pb2.TopicInfo(
            topic_name=request.topic_name,
            tenant_guid=f"core/salmon/{self._org.org_id}",
            can_publish=can_publish(request.topic_name, self._org.platform_events),
            can_subscribe=True,
            schema_id=schema_id,
            rpc_id=rpc_id,
        )

    def _get_schema(self, request: pb2.SchemaRequest, rpc_id: str) -> pb2.SchemaInfo:
        text = self._bus.schema_text(request.schema_id)
        if text is None:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                "schema.validation.failed",
                "there is no schema with this id",
            )
        return pb2.SchemaInfo(schema_json=text, schema_id=request.schema_id, rpc_id=rpc_id)

    def _subscribe(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        return self._serve(
            "Subscribe",
            requests,
            context,
            lambda rpc_id: Stream(self._bus, rpc_id, self._times, self._latency_s),
        )

    def _subscribe_managed(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        channels = self._org.channels
        return self._serve(
            "ManagedSubscribe",
            requests,
            context,
            lambda rpc_id: ManagedStream(self._bus, rpc_id, self._times, self._latency_s, channels),
        )

    def _serve(
        self, rpc: str, requests: Iterator[Any], context: Any, opened: Callable[[str], Stream]
    ) -> Iterator[Any]:
        rpc_id = str(uuid.uuid4())
        try:
            self._admit_stream(context, rpc)
            stream = opened(rpc_id)
            self._streams[stream] = dict(context.invocation_metadata())["accesstoken"]
            if not context.add_callback(lambda: self._ended(stream)):
                self._ended(stream)
                return
            threading.Thread(
                target=stream.listen, args=(requests,), name="pubsub-requests", daemon=True
            ).start()
            yield from stream.responses()
        except Refused as refused:
            _abort(context, refused, rpc_id)

    def _publish_stream(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        rpc_id = str(uuid.uuid4())
        try:
            self._admit_stream(context, "PublishStream")
            self._publishing.add(rpc_id)
            if not context.add_callback(lambda: self._publishing.discard(rpc_id)):
                self._publishing.discard(rpc_id)
                return
            yield from self._publisher.stream(requests, rpc_id, self._times.publish_timeout_s)
        except Refused as refused:
            _abort(context, refused, rpc_id)

    def _admit_stream(self, context: Any, rpc: str) -> None:
        self._admit(context, rpc)
        if len(self._streams) + len(self._publishing) >= STREAMS_MAX:
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "service.protection.stream.limit.triggered",
                "too many streams are open",
            )

    def _ended(self, stream: Stream) -> None:
        self._streams.pop(stream, None)
        stream.close()

    def _revoked(self, tokens: frozenset[str]) -> None:
        if self._org.settings.revocation_ends_streams:
            for stream, token in tuple(self._streams.items()):
                if token in tokens:
                    stream.refuse(_invalid_session())

    def _guarded(self, rpc: str, answer: Callable[[Any, str], Any]) -> Callable[[Any, Any], Any]:
        def call(request: Any, context: Any) -> Any:
            rpc_id = str(uuid.uuid4())
            try:
                self._admit(context, rpc)
                time.sleep(self._latency_s())
                return answer(request, rpc_id)
            except Refused as refused:
                _abort(context, refused, rpc_id)

        return call

    def _admit(self, context: Any, rpc: str) -> None:
        """Refuse a call without good metadata, or by a fault. A stream that is open is not cut when its token expires."""
        if (fault := self._org.faults.take("grpc", rpc=rpc)) is not None:
            status = grpc.StatusCode[fault.get("status", "UNAVAILABLE")]
            raise Refused(status, str(fault["code"]), "injected by the control API")
        metadata = dict(context.invocation_metadata())
        missing = [key for key in ("accesstoken", "instanceurl", "tenantid") if not metadata.get(key)]
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        if missing:
            raise Refused(
                unauthenticated,
                "service.auth.headers.invalid",
                f"{', '.join(missing)} missing in the metadata",
            )
        if metadata["tenantid"] not in {self._org.org_id, self._org.org_id[:15]}:
            raise Refused(unauthenticated, "service.auth.headers.invalid", "tenantid is not that of this org")
        left = self._org.instance.has_left(metadata["instanceurl"].partition("://")[2].rstrip("/"))
        if left or not self._org.sessions.valid(metadata["accesstoken"]):
            raise _invalid_session()

    def _latency_s(self) -> float:
        fault = self._org.faults.active("latency", api="pubsub")
        return 0.0 if fault is None else float(fault.get("ms", 0)) / 1000


def _invalid_session() -> Refused:
    return Refused(
        grpc.StatusCode.UNAUTHENTICATED, "service.auth.error", "the session has expired or is invalid"
    )


def _unary(behaviour: Callable[[Any, Any], Any], request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        behaviour,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def _streams(behaviour: Callable[[Any, Any], Any], request: Any) -> Any:
    return grpc.stream_stream_rpc_method_handler(
        behaviour,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def _abort(context: Any, refused: Refused, rpc_id: str) -> None:
    if refused.code is None:  # A connection that breaks says no more than that.
        context.abort(refused.status, refused.text)
    code = f"sfdc.platform.eventbus.grpc.{refused.code}"
    context.set_trailing_metadata((("error-code", code), ("rpc-id", rpc_id)))
    context.abort(refused.status, f"{code}: {refused.text}. rpcId: {rpc_id}")
