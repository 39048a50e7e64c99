"""
One subscription that is kept alive: whatever befalls the stream, it goes on after the last event that came.

A thread receives into a bounded queue and asks for more before it is needed (see demand). It never moves a position: who takes
the responses does. A position that the server has lost ends it; it is not for this module to start elsewhere.
Sources: Pub/Sub API, "Subscribe RPC Method", "Event Message Durability", "Pub/Sub API Error Codes".
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

import grpc
import structlog

from salmon.backoff import LIMITED, Backoff, Tries
from salmon.errors import (
    FatalError,
    PositionLost,
    RateLimited,
    RequestRejected,
    SalmonError,
    SetupError,
    StartAgain,
)
from salmon.salesforce.reading.stream.demand import Requests
from salmon.salesforce.reading.stream.split_events import SplitEvents
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub, TokenRefused, was_asked_too_much
from salmon.salesforce.wire.signing_in.auth import Token

log = structlog.get_logger(__name__)

RESPONSES_MAX: Final = 64  # of up to 100 events each, received ahead of need; then the server waits
# A stream that is refused is refused at once; an idle one brings nothing for minutes.
_STANDS_AFTER_S: Final = 10.0
_WATCH_EVERY_S: Final = 1.0
# Events are kept for a day at least. A stream on which nothing came for so long has been away for most of that time:
# keepalives come within minutes.
BEGINNING_GOOD_S: Final = 3600.0
# For so long nothing is asked for ahead, after the server has said that it is asked too much.
NOTHING_AHEAD_S: Final = 600.0
_NO_EVENTS: Final = "For {} s now, the stream of change events has not stayed open."
_EVENTS_KEPT: Final = (
    "It is tried again, and goes on where it stopped. Salesforce keeps events for 72 hours; if it lasts longer, everything "
    "is read again."
)
SELECT: Final = "Select the objects of the sync under Setup, Change Data Capture."


class Preset(Enum):
    """Where a subscription starts that has no position yet."""

    LATEST = "latest"
    EARLIEST = "earliest"


Start = Preset | bytes  # bytes: after this replay id


@dataclass(frozen=True, slots=True)
class Received:
    """
    One response. Without events it is a keepalive, and *latest* a position that may be stored.

    Args:
        whole: The replay id behind which to go on, if it is not the last that came; b"" if it tells none.
    """

    events: Sequence[Any]  # ConsumerEvent
    latest: bytes
    whole: bytes | None = None

    @property
    def place(self) -> bytes:
        """The replay id behind which to go on once it is taken; b"" if it tells none."""
        if self.whole is not None:
            return self.whole
        return self.events[-1].replay_id if self.events else self.latest

    @property
    def first_place(self) -> bytes:
        """As `place`, if no row was read before it came: those that follow hold all of its events, also what is to come of the last."""
        return self.place or (self.events[-1].replay_id if self.events else b"")


@dataclass(frozen=True, slots=True)
class Ended:
    """The subscription has ended for good: PositionLost, an error that only a person can mend, or a fault of ours."""

    error: Exception


def start_at(place: str | None) -> Start:
    """Where a stream begins whose stored position is *place*, in hex; "" is its beginning, None: it has none yet."""
    if place is None:
        return Preset.LATEST
    return bytes.fromhex(place) or Preset.EARLIEST


class Stream(Protocol):
    """A subscription as feed sees it: the next response, without waiting."""

    def peek(self) -> Received | Ended | None: ...
    def pop(self) -> None: ...
    def close(self) -> None: ...


class Subscription:
    """Responses of one topic, from *start* on. Ended by `close`, which any thread may call."""

    def __init__(
        self,
        pubsub: PubSub,
        topic: str,
        start: Start,
        *,
        fetch_size: int,
        silence_max_s: float,
        wake: Callable[[], None] = lambda: None,
        backoff: Backoff = Backoff(),
        limited: Backoff = LIMITED,
        beginning_good_s: float = BEGINNING_GOOD_S,
        nothing_ahead_s: float = NOTHING_AHEAD_S,
        mend: str = SELECT,
    ) -> None:
        """
        Args:
            pubsub, topic, start: What is subscribed to.
            fetch_size: Events asked for ahead of need, at most 100.
            silence_max_s: A stream that said nothing for so long is opened again.
            wake: Called when there is something to take.
            backoff: Between tries to open it.
            limited: The same, where the server says that we ask for too much.
            beginning_good_s: For so long the stream's beginning may be asked for again, when nothing came of it.
            nothing_ahead_s: For so long nothing is asked for ahead, once the server has said that it is asked too much.
            mend: What a person should do where the org has no such topic.
        """
        self._pubsub = pubsub
        self._topic = topic
        self._resume: Start = start
        self._split = SplitEvents(topic, start if isinstance(start, bytes) else b"")
        self._fetch_size = fetch_size
        self._silence_max_s = silence_max_s
        self._wake = wake
        self._mend = mend
        self._tries = Tries(backoff)
        self._limited = Tries(limited)
        self._nothing_ahead_s = nothing_ahead_s
        self._ahead_from_s = 0.0  # when we may ask ahead again
        self._opened_s: float | None = None
        # Since when no stream has stood, and the latest reason.
        self._failure: tuple[float, SalmonError] | None = None
        self._received: queue.Queue[Received | Ended] = queue.Queue(RESPONSES_MAX)
        self._head: Received | Ended | None = None
        self._stopped = threading.Event()
        self._call: Any = None
        self._instance_url = ""  # where the org was when the stream was opened
        self._last_response_s = time.monotonic()
        self._beginning_good_until_s = time.monotonic() + beginning_good_s
        for work in (self._receive, self._watch):
            threading.Thread(target=work, name=f"subscription-{work.__name__}", daemon=True).start()

    def peek(self) -> Received | Ended | None:
        """The next response, or None if there is none yet. The same one until `pop`."""
        if self._head is None:
            try:
                self._head = self._received.get_nowait()
            except queue.Empty:
                return None
        return self._head

    def pop(self) -> None:
        """Go on to the next response."""
        self._head = None

    def waiting(self) -> tuple[float, str] | None:
        """For how many seconds no stream could be opened, or none that lasts, and why; None if one stands."""
        failure, opened_s, now = self._failure, self._opened_s, time.monotonic()
        if (
            failure is None
            or self._stopped.is_set()
            or (opened_s is not None and now - opened_s > _STANDS_AFTER_S)
        ):
            return None
        return now - failure[0], str(failure[1])

    def waiting_said(self) -> tuple[float, str] | None:
        """For how long the stream has not stayed open, and what a person should know of it; None while it is open."""
        if (stream := self.waiting()) is None:
            return None
        since_s, why = stream
        return since_s, f"{_NO_EVENTS.format(round(since_s))} {why} {_EVENTS_KEPT}"

    def close(self) -> None:
        """End it and return at once."""
        self._stopped.set()
        if (call := self._call) is not None:
            call.cancel()

    def _receive(self) -> None:
        """The receiving thread."""
        try:
            self._receive_all()
        except Exception as error:  # noqa: BLE001 -- a thread has no caller: peek() raises it
            self._put(Ended(error))

    def _receive_all(self) -> None:
        """Stream after stream, until it is closed or cannot go on."""
        refused: Token | None = None
        while not self._stopped.is_set():
            try:
                token = self._pubsub.sign_in.token()
                if refused is not None and token.access_token == refused.access_token:
                    token = self._pubsub.sign_in.renew(refused)
                self._listen(token)
                error: SalmonError | None = None  # The server ended the stream in good order: open another.
            except grpc.RpcError as broken:
                error = self._pubsub.trouble(broken)
                if was_asked_too_much(broken):
                    self._ahead_from_s = time.monotonic() + self._nothing_ahead_s
            except SalmonError as trouble:
                error = trouble
            if self._stopped.is_set():
                return
            if isinstance(error, RequestRejected):
                error = SetupError(f"{self._topic} cannot be subscribed to ({error.code}). {self._mend}")
            if isinstance(error, PositionLost | FatalError | StartAgain):
                self._put(Ended(error))
                return
            refused = token if isinstance(error, TokenRefused) else None
            if self._resume is Preset.EARLIEST and time.monotonic() > self._beginning_good_until_s:
                self._put(
                    Ended(PositionLost("the stream has been silent, and its first events may have expired."))
                )
                return
            if error is not None:
                began_s = (
                    time.monotonic() if self._failure is None or self.waiting() is None else self._failure[0]
                )
                self._failure = began_s, error
            self._opened_s = None
            wait_s = (self._limited if isinstance(error, RateLimited) else self._tries).failed()
            log.warning("stream_ended", topic=self._topic, error=str(error or "completed"), again_in_s=wait_s)
            self._stopped.wait(wait_s)

    def _listen(self, token: Token) -> None:
        requests = Requests(self._first_request(), may_ask_ahead=time.monotonic() >= self._ahead_from_s)
        self._last_response_s = self._opened_s = time.monotonic()
        self._instance_url = token.instance_url
        self._call = call = self._pubsub.subscribe(requests, token)
        try:
            if self._stopped.is_set():
                return
            for response in call:
                self._tries.worked()
                self._limited.worked()
                self._failure = None
                self._pubsub.heard()
                # Before it is handed over: whoever takes it may keep this thread waiting.
                requests.answered(len(response.events), response.pending_num_requested)
                place = self._split.place(
                    [each.replay_id for each in response.events],
                    response.latest_replay_id,
                    response.pending_num_requested,
                )
                self._put(Received(tuple(response.events), response.latest_replay_id, place))
                self._last_response_s = time.monotonic()
                # In-process, a stream goes on after what came last, taken or not.
                if place:
                    self._resume = place
                elif response.events and self._resume is Preset.LATEST:
                    self._resume = response.events[-1].replay_id  # the latest by then would be a later one
        finally:
            requests.close()
            call.cancel()

    def _first_request(self) -> pb2.FetchRequest:
        request = pb2.FetchRequest(topic_name=self._topic, num_requested=self._fetch_size)
        match self._resume:
            case Preset.LATEST:
                request.replay_preset = pb2.ReplayPreset.LATEST
            case Preset.EARLIEST:
                request.replay_preset = pb2.ReplayPreset.EARLIEST
            case bytes() as replay_id:
                request.replay_preset = pb2.ReplayPreset.CUSTOM
                request.replay_id = replay_id
        return request

    def _put(self, item: Received | Ended) -> None:
        while not self._stopped.is_set():
            try:
                self._received.put(item, timeout=0.5)
            except queue.Full:
                self._last_response_s = time.monotonic()  # It is we who are slow.
                continue
            self._wake()
            return

    def _watch(self) -> None:
        """The watchdog: a connection that is dead on one side only reports nothing, nor does the instance that an org has left."""
        while not self._stopped.wait(min(_WATCH_EVERY_S, self._silence_max_s / 4)):
            token = self._pubsub.sign_in.known
            if token is not None and self._instance_url not in ("", token.instance_url):
                log.warning("stream_follows_org", topic=self._topic, to_url=token.instance_url)
                self._instance_url = ""
                self._call.cancel()
            silent_s = time.monotonic() - self._last_response_s
            if silent_s > self._silence_max_s and (call := self._call) is not None:
                log.warning("stream_fell_silent", topic=self._topic, silent_s=round(silent_s))
                self._last_response_s = time.monotonic()
                call.cancel()
