"""
The stream of changes: what was agreed, as server-sent events, from the topics `records` on.

An event's id says where the stream was in every partition, so a client that comes back with Last-Event-ID misses nothing that the topics still
have. They are compacted: of a record that changed several times meanwhile, the newest state is certain to come.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Final

import structlog
from confluent_kafka import Message
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from salmon.api.grants import Caller
from salmon.api.handle import Api
from salmon.api.problems import Problem, at_fault, described
from salmon.api.streams import Streamed, Streams, lasting
from salmon.errors import SalmonError
from salmon.foreign_json import json_in
from salmon.kafka.codecs.serdes import Records
from salmon.kafka.extents import extents_of
from salmon.kafka.foreign import decoded
from salmon.kafka.reader import Place, Reader
from salmon.kafka.topics import partition_counts
from salmon.model.change import MONGODB, Value
from salmon.model.convert import to_json
from salmon.model.rules import Rules
from salmon.story.lookup import Lookup

log = structlog.get_logger(__name__)

HEARTBEAT_S: Final = 10.0
_STEP_S: Final = 0.1
_BATCH: Final = 500
_ID_MAX: Final = 20_000
Positions = dict[str, dict[int, int]]  # object -> partition -> offset


def router(api: Api) -> APIRouter:
    """Its route."""
    routes = APIRouter(prefix="/api/v1", tags=["changes"])
    whoever = api.access.whoever
    streams = Streams()

    @routes.get(
        "/changes",
        response_class=StreamingResponse,
        summary="Stream of changes",
        responses={
            200: {
                "description": "Server-sent events.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **described(400, 401, 403, 429, 503),
        },
        openapi_extra={
            "parameters": [
                {
                    "name": "objects",
                    "in": "query",
                    "description": "Only these objects, separated by commas. Without it: all that the caller may read.",
                    "schema": {"type": "string"},
                },
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "description": "Continue after this event. Without it: from now on; `beginning`: everything that is there.",
                    "schema": {"type": "string"},
                },
            ]
        },
    )
    async def changes(request: Request, caller: Caller = whoever) -> StreamingResponse:
        """
        What was agreed between the sides, as it happens: an event for each record that changed. Its data is JSON: object, key, deleted, and the
        record's fields.
        """
        names = _names(api, request.query_params.get("objects"), caller)
        positions = _positions(request.headers.get("last-event-id"), names)
        streams.begin(caller.name)
        try:
            stream = await streams.in_thread(_Stream, api, names, positions)
        except BaseException:
            streams.end(caller.name)
            raise
        api.metrics.streams(streams.count)

        async def ended() -> None:
            streams.end(caller.name)
            api.metrics.streams(streams.count)
            with suppress(asyncio.CancelledError):
                await streams.in_thread(stream.close)

        return Streamed(_told(api, stream, streams), ended)

    return routes


def _names(api: Api, text: str | None, caller: Caller) -> list[str]:
    asked = list(api.objects) if text is None else [part.strip() for part in text.split(",")]
    if unknown := [name for name in asked if name not in api.objects]:
        raise at_fault("objects", "unknown-object", f"{ascii(unknown[0][:80])[1:-1]} is not synced")
    names = [name for name in asked if caller.may("read", name)]
    if not names or (text is not None and len(names) < len(asked)):
        raise Problem(403, "not-allowed", "This needs the scope OBJECT:read of each object.")
    return names


def _positions(text: str | None, names: Collection[str]) -> Positions | None:
    """Where an id says that the stream was; {} for the beginning, None for now."""
    if not text:
        return None
    if text == "beginning":
        return {}
    try:
        if len(text) > _ID_MAX:
            raise ValueError
        read = json_in(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return {
            str(name): {int(n): _offset(offset) for n, offset in places.items()}
            for name, places in read.items()
            if name in names
        }
    except (ValueError, binascii.Error, AttributeError, TypeError):
        raise at_fault("Last-Event-ID", "not-an-id", "is not the id of an event of this stream") from None


def _offset(said: Any) -> int:
    if type(said) is not int or not 0 <= said < 2**63:
        raise ValueError
    return said


class _Stream:
    """
    One client's reading of the topics. Its methods block, and may be called in any thread: a client that goes away leaves a
    thread behind in step(), while another one calls close().
    """

    def __init__(self, api: Api, names: Sequence[str], positions: Positions | None) -> None:
        self._lock, self._closed = Lock(), False
        self._lookup = lookup = Lookup(api.live())
        try:
            counts = partition_counts(lookup.admin)
            topics = {lookup.topics.records(name): name for name in names}
            places = [(topic, n) for topic in topics for n in range(counts.get(topic, 0))]
            extents = extents_of(lookup.admin, places, committed=True)
            starts: dict[Place, int] = {}
            for (topic, n), extent in extents.items():
                said = None if positions is None else positions.get(topics[topic], {}).get(n, extent.start)
                starts[topic, n] = extent.end if said is None else min(max(said, extent.start), extent.end)
            self._topics = topics
            self._rules = {name: lookup.rules(name) for name in names}
            self._codecs = {
                topic: Records(lookup.schema(name), lookup.registry, topic) for topic, name in topics.items()
            }
            self._at: Positions = {name: {} for name in names}
            for (topic, n), offset in starts.items():
                self._at[topics[topic]][n] = offset
            self._reader = Reader(lookup.kafka, starts, name="salmon-api-changes", batch=_BATCH)
        except BaseException:
            lookup.close()
            raise

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._reader.close()
                self._lookup.close()

    def step(self) -> list[bytes]:
        """The events that have come; none is a usual answer."""
        found: list[bytes] = []

        def take(messages: Sequence[Message], _: Mapping[Place, int]) -> None:
            found.clear()
            for message in messages:
                if (event := self._event(message)) is not None:
                    found.append(event)

        with self._lock:
            if not self._closed:
                self._reader.step(take, _STEP_S)
        return found

    def id(self) -> str:
        """Where the stream is."""
        written = json.dumps(self._at, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(written).decode().rstrip("=")

    def _event(self, message: Message) -> bytes | None:
        topic = str(message.topic())
        name, codec = self._topics[topic], self._codecs[topic]
        self._at[name][int(message.partition() or 0)] = int(message.offset() or 0) + 1
        record: Mapping[str, Value] | None = None
        if message.value() is not None:
            record = decoded(message, codec.decode)
            if record is None:
                return None
        key = (message.key() or b"").decode(errors="replace")
        if (shown := _shown(record, self._rules[name])) is None:
            return None
        data = {"object": name, "key": key, **shown}
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        return f"id: {self.id()}\nevent: {name}\ndata: {text}\n\n".encode(errors="replace")


def _shown(record: Mapping[str, Value] | None, rules: Rules) -> dict[str, Any] | None:
    """The record as MongoDB has it: with its masks, and deleted where its filter does not want it. None: the filter cannot say."""
    if record is None:
        return {"deleted": True}
    held = {name: value for name, value in record.items() if value is not None}
    view = rules.views.get(MONGODB)
    admitted = view is None or view.admits(held)
    if admitted is None:
        return None
    if not admitted:
        return {"deleted": True}
    seen = rules.seen_by(MONGODB, held)
    return {
        "deleted": False,
        "record": {field.name: to_json(field, seen.get(field.name)) for field in rules.schema.fields},
    }


async def _told(api: Api, stream: _Stream, streams: Streams) -> AsyncIterator[bytes]:
    """The events, and a comment now and then, so that proxies keep the connection and a client knows where it is."""
    yield f"retry: 2000\nid: {stream.id()}\n\n".encode()
    spoke_at, may_go_on = time.monotonic(), lasting()
    while may_go_on() and not api.closing.is_set():
        try:
            events = await streams.in_thread(stream.step)
        except SalmonError as error:
            log.warning("stream_ended", error=type(error).__name__, reason=str(error))
            return  # the client comes back with Last-Event-ID
        for event in events:
            yield event
        if events:
            spoke_at = time.monotonic()
        elif time.monotonic() - spoke_at > HEARTBEAT_S:
            yield b": still here\n\n"
            spoke_at = time.monotonic()
        await asyncio.sleep(0)
