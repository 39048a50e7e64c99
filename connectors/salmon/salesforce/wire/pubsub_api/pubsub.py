"""
The Pub/Sub API over gRPC: topics, event schemas, and the call that a subscription is made of.

Errors are translated here by the code in their trailer; what to do about them, and when to call again, is for
who calls (subscription keeps a stream alive; source reads again what a lost position hides).
Sources: Pub/Sub API, "RPC Method Reference", "Error Codes", "Allocations", and its public proto.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import fastavro
import grpc

from salmon.calls import Calls, Peer
from salmon.errors import (
    PositionLost,
    RateLimited,
    RequestRejected,
    SalmonError,
    SignInRefused,
    Unavailable,
    UnfitServer,
)
from salmon.foreign_json import json_in
from salmon.salesforce.config import Proxy, SalesforceConfig
from salmon.salesforce.wire.http import is_direct
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.salesforce.wire.pubsub_api.layout import EventLayout, layout_of
from salmon.salesforce.wire.signing_in.auth import SignIn, Token

UNARY_TIMEOUT_S: Final = 30.0
_PROBE_TIMEOUT_S: Final = 10.0
_SERVICE: Final = "/eventbus.v1.PubSub"
_CODES: Final = "sfdc.platform.eventbus.grpc."
_OPTIONS: Final = (
    (
        "grpc.max_receive_message_length",
        16 * 1024 * 1024,
    ),  # a response may hold 100 events of up to 1 MB each
    # Not more often than gRPC's own servers allow by default; a silent stream is the watchdog's to find.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
_LOST: Final = ("fetch.replayid.corrupted", "fetch.replayid.validation.failed")
_LIMITED: Final = ("subscription.limit.exceeded", "service.protection", "concurrent.client.limit.exceeded")
# The server's protection of itself; more requests than it takes in; a request that it says is not as it should be.
_ASKED_TOO_MUCH: Final = ("service.protection", "subscription.fetch.overflow", "subscription.fetch.request")
_MISSING: Final = ("topic.not.found", "schema.validation.failed")
_FATAL: Final = (
    "service.auth.headers.invalid",
    "service.tenant.license",
    "topic.meta.permission",
    "schema.meta.permission",
    "subscription.topic.cannot.subscribe",
)


class TokenRefused(Unavailable):
    """The token is not good any more: with another, the same call works."""


@dataclass(frozen=True, slots=True)
class EventSchema:
    """One version of an object's event schema: how its payloads are read, and how they are laid out."""

    layout: EventLayout
    _parsed: Any

    def read(self, payload: bytes) -> Mapping[str, Any]:
        """The event that *payload* holds. Raises ValueError and the like where it is not of this schema."""
        return cast("Mapping[str, Any]", fastavro.schemaless_reader(io.BytesIO(payload), self._parsed))


class PubSub:
    """A channel to the Pub/Sub API. Threads may share it."""

    def __init__(self, config: SalesforceConfig, sign_in: SignIn, *, calls: Calls | None = None) -> None:
        self.sign_in = sign_in
        self._calls = calls or Calls()
        self._endpoint = config.pubsub.endpoint
        roots = Path(config.ca_file).read_bytes() if config.ca_file else None
        self._channel = grpc.secure_channel(
            self._endpoint,
            grpc.ssl_channel_credentials(roots),
            options=(*_OPTIONS, *_way_by(config.proxy, self._endpoint)),
        )
        self._checks = "salesforce.pubsub.endpoint" + (", salesforce.proxy" if config.proxy else "")
        self._get_topic = self._channel.unary_unary(
            f"{_SERVICE}/GetTopic", pb2.TopicRequest.SerializeToString, pb2.TopicInfo.FromString
        )
        self._get_schema = self._channel.unary_unary(
            f"{_SERVICE}/GetSchema", pb2.SchemaRequest.SerializeToString, pb2.SchemaInfo.FromString
        )
        self._subscribe = self._channel.stream_stream(
            f"{_SERVICE}/Subscribe", pb2.FetchRequest.SerializeToString, pb2.FetchResponse.FromString
        )
        self._publish = self._channel.stream_stream(
            f"{_SERVICE}/PublishStream", pb2.PublishRequest.SerializeToString, pb2.PublishResponse.FromString
        )
        self._lock = threading.Lock()
        self._texts: dict[str, Mapping[str, Any]] = {}
        self._schemas: dict[str, EventSchema] = {}

    def schema_of_topic(self, topic: str) -> Mapping[str, Any]:
        """
        The schema that events of *topic* have now, as Avro in JSON.

        Raises:
            RequestRejected: there is no such topic. Other errors as `schema`.
        """
        return self._text(self.topic(topic).schema_id)

    def topic(self, name: str) -> pb2.TopicInfo:
        """What the API says of a topic now. Raises as `schema_of_topic`."""
        info: pb2.TopicInfo = self._unary(self._get_topic, pb2.TopicRequest(topic_name=name))
        return info

    def schema(self, schema_id: str) -> EventSchema:
        """
        The schema with this id, which never changes and is asked for once.

        Raises:
            Unavailable, RateLimited: not now. UnfitServer: never, until somebody mends it.
        """
        known = self._schemas.get(schema_id)
        if known is None:
            text = self._text(schema_id)
            known = EventSchema(layout_of(text), fastavro.parse_schema(dict(text)))
            with self._lock:
                known = self._schemas.setdefault(schema_id, known)
        return known

    def schema_text(self, schema_id: str) -> Mapping[str, Any]:
        """The Avro schema with this id, as JSON: of events that are no change events. Raises as `schema_of_topic`."""
        return self._text(schema_id)

    def subscribe(self, requests: Iterator[pb2.FetchRequest], token: Token) -> Any:
        """Open a Subscribe call: an iterator of FetchResponse that can be cancelled and raises grpc.RpcError."""
        return self._subscribe(requests, metadata=_metadata(token))

    def publishing(self, requests: Iterator[pb2.PublishRequest], token: Token) -> Any:
        """Open a PublishStream call: an iterator of PublishResponse that can be cancelled and raises grpc.RpcError."""
        return self._publish(requests, metadata=_metadata(token))

    def trouble(self, error: grpc.RpcError) -> SalmonError:
        """What an error of a call means."""
        code = _code_of(error)
        what = f"Pub/Sub API at {self._endpoint}: {code or _status_of(error)}"
        if any(lost in code for lost in _LOST):
            return PositionLost(f"{what}: the stored position has expired; everything since is read again.")
        if "service.auth.error" in code or (not code and _status_of(error) == "UNAUTHENTICATED"):
            return TokenRefused(f"{what}. It asks for a new token.")
        if any(limited in code for limited in _LIMITED):
            return RateLimited(
                f"{what}: an allowance of the org is used up: of event deliveries in 24 hours, or of clients at a time. See the"
                " usage of platform events in Setup, and what else subscribes."
            )
        if any(missing in code for missing in _MISSING):
            return RequestRejected(f"{what}.", code=code)
        if any(fatal in code for fatal in _FATAL):
            return UnfitServer(
                f"{what}. Check that the integration user may subscribe to change events (View All Data, or View"
                " All of each object), and salesforce.pubsub.endpoint."
            )
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return SignInRefused(
                f"salesforce.ca_file: the certificate of {self._endpoint} (salesforce.pubsub.endpoint) does not"
                " verify. Set it to the PEM file of the authority that signed it."
            )
        return Unavailable(f"{what}. Check {self._checks}, the network and that the server runs.")

    def heard(self) -> None:
        """A stream has brought something: the API is there."""
        self._calls.heard(Peer.PUBSUB)

    def probe(self, topic: str) -> bool:
        """See whether the API answers at all; False where we have not signed in. Raises where it does not."""
        token = self.sign_in.known
        if token is None:
            return False
        try:
            self._get_topic(
                pb2.TopicRequest(topic_name=topic), metadata=_metadata(token), timeout=_PROBE_TIMEOUT_S
            )
        except grpc.RpcError as error:
            if not _is_answer(error):
                raise
        return True

    def close(self) -> None:
        """End the channel and every call on it."""
        self._channel.close()

    def _text(self, schema_id: str) -> Mapping[str, Any]:
        known = self._texts.get(schema_id)
        if known is None:
            info = self._unary(self._get_schema, pb2.SchemaRequest(schema_id=schema_id))
            known = json_in(info.schema_json)
            with self._lock:
                known = self._texts.setdefault(schema_id, known)
        return known

    def _unary(self, method: Any, request: Any) -> Any:
        token = self.sign_in.token()
        for last in (False, True):
            try:
                return self._asked(method, request, token)
            except grpc.RpcError as error:
                trouble = self.trouble(error)
                if last or not isinstance(trouble, TokenRefused):
                    raise trouble from error
                token = self.sign_in.renew(token)
        raise AssertionError("unreachable")

    def _asked(self, method: Any, request: Any, token: Token) -> Any:
        call = self._calls.begin(Peer.PUBSUB, type(request).__name__)
        try:
            answer = method(request, metadata=_metadata(token), timeout=UNARY_TIMEOUT_S)
        except BaseException as error:
            (self._calls.answered if _is_answer(error) else self._calls.given_up)(call)
            raise
        self._calls.answered(call)
        return answer


def was_asked_too_much(error: grpc.RpcError) -> bool:
    """Whether the server ended a stream for how often, or for how much, it was asked ("Pub/Sub API Error Codes")."""
    code = _code_of(error)
    return any(complaint in code for complaint in _ASKED_TOO_MUCH)


def _way_by(proxy: Proxy | None, endpoint: str) -> Iterator[tuple[str, Any]]:
    """
    The options that lead a channel through a proxy (gRPC Core, "Default HTTP Proxy Mapper User Guide"). What the proxy wants
    to know has an option of its own: in the URL, gRPC does not read every character.
    """
    if proxy is not None and not is_direct(f"https://{endpoint}"):
        yield "grpc.http_proxy", proxy.url
        if (authorization := proxy.authorization) is not None:
            yield "grpc.http_connect_headers", f"Proxy-Authorization:{authorization}"
    elif proxy is not None:
        yield "grpc.enable_http_proxy", 0


def _metadata(token: Token) -> tuple[tuple[str, str], ...]:
    return (
        ("accesstoken", token.access_token),
        ("instanceurl", token.instance_url),
        ("tenantid", token.organization_id),
    )


def _code_of(error: grpc.RpcError) -> str:
    """The API's own code, without its prefix; empty for an error of the line."""
    trailing_metadata = getattr(error, "trailing_metadata", None)
    trailers = (trailing_metadata() if trailing_metadata else None) or ()
    code = next((value for key, value in trailers if key == "error-code"), "")
    return str(code).removeprefix(_CODES)


def _is_answer(error: BaseException) -> bool:
    """Whether the server itself said so, and not the line or the clock."""
    return isinstance(error, grpc.RpcError) and (
        bool(_code_of(error))
        or _status_of(error) not in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN"}
    )


def _status_of(error: grpc.RpcError) -> str:
    code = getattr(error, "code", lambda: None)()
    return getattr(code, "name", "UNKNOWN")
