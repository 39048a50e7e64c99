"""A subscription that is kept alive, on a Pub/Sub API made here."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest

from salmon.backoff import Backoff
from salmon.errors import LoginChanged, PositionLost, RateLimited, SalmonError, SetupError, Unavailable
from salmon.salesforce.reading import source
from salmon.salesforce.reading.source import SalesforceSourceTask
from salmon.salesforce.reading.stream import demand, subscription
from salmon.salesforce.reading.stream.demand import AHEAD_MAX
from salmon.salesforce.reading.stream.subscription import (
    BEGINNING_GOOD_S,
    NOTHING_AHEAD_S,
    Ended,
    Preset,
    Received,
    Start,
    Subscription,
)
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub, TokenRefused
from salmon.salesforce.wire.signing_in.auth import Token
from support.orgs.salesforce_org import CONFIG
from support.waiting import until

WAIT_S = 10.0


class Broken(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    """An error of a call, with a code in its trailers."""

    def __init__(self, code: str = "", status: str = "UNAVAILABLE") -> None:
        super().__init__(code)
        self._code, self._status = code, status

    def code(self) -> Any:
        return getattr(grpc.StatusCode, self._status)

    def trailing_metadata(self) -> Sequence[tuple[str, str]]:
        return [("error-code", f"sfdc.platform.eventbus.grpc.{self._code}")] if self._code else []


class Call:
    """One stream: what the server says, until it is cancelled, broken or over."""

    def __init__(self, requests: Iterator[pb2.FetchRequest]) -> None:
        self.requests = requests
        self.asked: queue.Queue[pb2.FetchRequest] = queue.Queue()
        self.let_go = threading.Event()  # the iterator of requests has ended
        self._said: queue.Queue[pb2.FetchResponse | grpc.RpcError | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, what: pb2.FetchResponse | grpc.RpcError | None) -> None:
        self._said.put(what)

    def cancel(self) -> None:
        self._said.put(Broken(status="CANCELLED"))

    def __iter__(self) -> Iterator[pb2.FetchResponse]:
        while (said := self._said.get()) is not None:
            if isinstance(said, grpc.RpcError):
                raise said
            yield said

    def _listen(self) -> None:
        for request in self.requests:
            self.asked.put(request)
        self.let_go.set()


class SignsIn:
    def __init__(self) -> None:
        self.number = 1

    def token(self) -> Token:
        return Token(f"token {self.number}", "https://x", "00D", "005")

    @property
    def known(self) -> Token:
        return self.token()

    def renew(self, refused: Token) -> Token:
        if refused.access_token == f"token {self.number}":
            self.number += 1
        return self.token()


class Server:
    """PubSub, as far as a subscription uses it."""

    def __init__(self) -> None:
        self.sign_in = SignsIn()
        self.calls: queue.Queue[Call] = queue.Queue()
        self.tokens: list[str] = []

    def subscribe(self, requests: Iterator[pb2.FetchRequest], token: Token) -> Call:
        self.tokens.append(token.access_token)
        call = Call(requests)
        self.calls.put(call)
        return call

    def heard(self) -> None:
        """Nobody watches."""

    def trouble(self, error: grpc.RpcError) -> SalmonError:
        return PubSub.trouble(self, error)  # type: ignore[arg-type]

    _endpoint = "api.example:7443"
    _checks = "salesforce.pubsub.endpoint"

    def call(self) -> Call:
        return self.calls.get(timeout=WAIT_S)


class Rig:
    def __init__(
        self,
        start: Start = Preset.LATEST,
        silence_max_s: float = 300,
        beginning_good_s: float = BEGINNING_GOOD_S,
        limited: Backoff = Backoff(first_s=0.001),
        nothing_ahead_s: float = NOTHING_AHEAD_S,
    ) -> None:
        self.server = Server()
        self.woken = threading.Event()
        self.subscription = Subscription(
            self.server,  # type: ignore[arg-type]
            "/data/ChangeEvents",
            start,
            fetch_size=100,
            silence_max_s=silence_max_s,
            wake=self.woken.set,
            backoff=Backoff(first_s=0.001),
            limited=limited,
            beginning_good_s=beginning_good_s,
            nothing_ahead_s=nothing_ahead_s,
        )

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.subscription.close()

    def opens_no_other(self) -> bool:
        """Wait until nobody is left who could open a stream; whether none was opened."""
        until(lambda: "subscription-_receive" not in {thread.name for thread in threading.enumerate()})
        return self.server.calls.empty()

    def next(self) -> Received | Ended:
        deadline_s = time.monotonic() + WAIT_S
        while (item := self.subscription.peek()) is None:
            assert self.woken.wait(deadline_s - time.monotonic()), "nothing came"
            self.woken.clear()
        self.subscription.pop()
        return item


def response(*numbers: int, owed: int = 99, latest: int = 0) -> pb2.FetchResponse:
    events = [pb2.ConsumerEvent(replay_id=number.to_bytes(8, "big")) for number in numbers]
    last = (latest or (numbers[-1] if numbers else 0)).to_bytes(8, "big")
    return pb2.FetchResponse(events=events, latest_replay_id=last, pending_num_requested=owed)


def asked(call: Call) -> pb2.FetchRequest:
    return call.asked.get(timeout=WAIT_S)


@pytest.mark.parametrize(
    ("start", "preset", "replay_id"),
    [
        (Preset.LATEST, pb2.ReplayPreset.LATEST, b""),
        (Preset.EARLIEST, pb2.ReplayPreset.EARLIEST, b""),
        (b"\x01", pb2.ReplayPreset.CUSTOM, b"\x01"),
    ],
)
def test_it_starts_where_it_is_told(start: Start, preset: int, replay_id: bytes) -> None:
    """After a stored position, or by one of the two presets."""
    with Rig(start) as rig:
        request = asked(rig.server.call())
        assert (request.replay_preset, request.replay_id, request.num_requested) == (preset, replay_id, 100)


def test_it_asks_for_more_before_the_server_runs_out() -> None:
    """When half of what was asked for is used up; not for every single event."""
    with Rig() as rig:
        call = rig.server.call()
        assert asked(call).num_requested == 100
        call.say(response(1, owed=99))
        call.say(response(2, owed=50))
        assert asked(call).num_requested == 50
        assert [len(item.events) for item in (rig.next(), rig.next()) if isinstance(item, Received)] == [1, 1]


@pytest.mark.parametrize(
    "end", [None, Broken(), Broken("service.unavailable"), Broken("subscription.internal.error", "INTERNAL")]
)
def test_a_stream_that_ends_is_opened_again_after_the_last_event(end: grpc.RpcError | None) -> None:
    """However it ended, and never at the latest one."""
    with Rig() as rig:
        call = rig.server.call()
        call.say(response(1, 2))
        call.say(end)
        request = asked(rig.server.call())
        assert (request.replay_preset, request.replay_id) == (pb2.ReplayPreset.CUSTOM, (2).to_bytes(8, "big"))


@pytest.mark.parametrize(
    ("start", "preset", "replay_id"),
    [
        ((1).to_bytes(8, "big"), pb2.ReplayPreset.CUSTOM, (1).to_bytes(8, "big")),
        (Preset.EARLIEST, pb2.ReplayPreset.EARLIEST, b""),
        (Preset.LATEST, pb2.ReplayPreset.CUSTOM, (2).to_bytes(8, "big")),
    ],
)
def test_a_stream_that_is_torn_between_events_of_one_replay_id_goes_on_before_them(
    start: Start, preset: int, replay_id: bytes
) -> None:
    """The rest of them would not come behind it. Only the latest place of all is not asked for again: what came since would be missed."""
    with Rig(start) as rig:
        call = rig.server.call()
        call.say(response(2, 2))
        call.say(Broken())
        request = asked(rig.server.call())
        assert (request.replay_preset, request.replay_id) == (preset, replay_id)
        item = rig.next()
        assert isinstance(item, Received)
        assert item.place == (start if isinstance(start, bytes) else b"")


def test_a_keepalive_tells_a_position_to_go_on_from() -> None:
    """The latest replay id of an empty response."""
    with Rig() as rig:
        call = rig.server.call()
        call.say(response(latest=9))
        call.say(None)
        assert asked(rig.server.call()).replay_id == (9).to_bytes(8, "big")
        item = rig.next()
        assert isinstance(item, Received)
        assert (item.events, item.latest) == ((), (9).to_bytes(8, "big"))


def test_a_refused_token_is_replaced() -> None:
    """And the stream goes on with the new one."""
    with Rig() as rig:
        rig.server.call().say(Broken("service.auth.error", "UNAUTHENTICATED"))
        rig.server.call()
        assert rig.server.tokens == ["token 1", "token 2"]


@pytest.mark.parametrize(
    "code", ["subscription.fetch.replayid.corrupted", "subscription.fetch.replayid.validation.failed"]
)
def test_a_lost_position_ends_it(code: str) -> None:
    """It is told, and nothing is opened in its place."""
    with Rig(b"\x01") as rig:
        rig.server.call().say(Broken(code, "INVALID_ARGUMENT"))
        item = rig.next()
        assert isinstance(item, Ended)
        assert isinstance(item.error, PositionLost)
        assert rig.opens_no_other()


def test_the_streams_beginning_is_not_asked_for_again_after_a_long_outage() -> None:
    """Nothing was ever heard, and what came meanwhile may have expired: that is a hole (case L2)."""
    with Rig(Preset.EARLIEST, beginning_good_s=0) as rig:
        rig.server.call().say(Broken("service.unavailable"))
        item = rig.next()
        assert isinstance(item, Ended)
        assert isinstance(item.error, PositionLost)
        assert rig.opens_no_other()


@pytest.mark.parametrize(
    "code", ["topic.not.found", "service.tenant.license", "subscription.topic.cannot.subscribe"]
)
def test_what_only_a_person_can_mend_ends_it(code: str) -> None:
    """With a sentence that says what to look at."""
    with Rig() as rig:
        rig.server.call().say(Broken(code, "PERMISSION_DENIED"))
        item = rig.next()
        assert isinstance(item, Ended)
        assert isinstance(item.error, SetupError)
        assert rig.opens_no_other()


def test_another_user_than_before_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process begins again; the stream must not go on meanwhile as if nothing had happened."""

    def renew(_: SignsIn, refused: Token) -> Token:
        raise LoginChanged(refused.user_id)

    monkeypatch.setattr(SignsIn, "renew", renew)
    with Rig() as rig:
        rig.server.call().say(Broken("service.auth.error"))
        item = rig.next()
        assert isinstance(item, Ended)
        assert isinstance(item.error, LoginChanged)
        assert rig.opens_no_other()


LIMIT = Broken("subscription.limit.exceeded", "RESOURCE_EXHAUSTED")


def test_a_stream_that_is_refused_for_an_allowance_waits_longer_before_the_next() -> None:
    """It is counted over a day: to ask more often helps nobody."""
    with Rig(limited=Backoff(first_s=0.3, max_s=0.3, least_share=1.0)) as rig:
        rig.server.call().say(Broken("service.unavailable"))
        call = rig.server.call()
        refused_s = time.monotonic()
        call.say(LIMIT)
        rig.server.call()
        assert time.monotonic() - refused_s >= 0.3


def requests_for(call: Call, *, until_ended: Callable[[Call], None]) -> int:
    """How many requests *call* sends for a response that shows a backlog."""
    asked(call)
    call.say(response(*range(1, 101), owed=0))
    asked(call)
    until_ended(call)
    assert call.let_go.wait(WAIT_S)
    return 1 + call.asked.qsize()


COMPLAINTS = (
    "service.protection.triggered",
    "service.protection.stream.limit.triggered",
    "subscription.fetch.overflow",
    "subscription.fetch.requested.events.invalid",
    "subscription.fetch.request.invalid",
)


@pytest.mark.parametrize("code", COMPLAINTS)
def test_a_server_that_complains_of_being_asked_too_much_is_asked_for_nothing_ahead(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next streams ask for what has come, and a backlog comes at the line's pace; with the first stream, all ahead was sent."""
    monkeypatch.setattr(demand, "AHEAD_EVERY_S", 0.0)

    def ends(call: Call) -> None:
        until(lambda: call.asked.qsize() == AHEAD_MAX)
        call.say(Broken(code, "RESOURCE_EXHAUSTED"))

    with Rig() as rig:
        assert requests_for(rig.server.call(), until_ended=ends) == 1 + AHEAD_MAX
        for _ in range(2):
            next_call = rig.server.call()
            assert requests_for(next_call, until_ended=lambda call: call.say(Broken())) == 1


@pytest.mark.parametrize(("code", "nothing_ahead_s"), [("service.unavailable", 600.0), (COMPLAINTS[0], 0.0)])
def test_a_stream_asks_ahead_again_after_another_error_and_once_the_complaint_is_old(
    code: str, nothing_ahead_s: float
) -> None:
    """A slow line must not stay slow for good, nor for an error that is about something else."""
    with Rig(nothing_ahead_s=nothing_ahead_s) as rig:
        rig.server.call().say(Broken(code))
        call = rig.server.call()
        asked(call)
        call.say(response(*range(1, 101), owed=0))
        until(lambda: call.asked.qsize() == 1 + AHEAD_MAX)


def test_a_stream_that_cannot_be_opened_says_since_when_and_why() -> None:
    """The process would look well otherwise, while the hours run after which events are thrown away."""
    with Rig() as rig:
        assert rig.subscription.waiting() is None
        rig.server.call().say(LIMIT)
        rig.server.call().say(LIMIT)
        call = rig.server.call()
        waiting = rig.subscription.waiting()
        assert waiting is not None
        assert "allowance" in waiting[1]
        call.say(Broken("service.unavailable"))
        call = rig.server.call()
        later = rig.subscription.waiting()
        assert later is not None
        assert later[0] > waiting[0], "all of it is one outage"
        assert "service.unavailable" in later[1]
        call.say(response(1))
        rig.next()
        assert rig.subscription.waiting() is None


def test_an_idle_stream_that_stands_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody works in the org, the first response may take minutes."""
    monkeypatch.setattr(subscription, "_STANDS_AFTER_S", 0.05)
    with Rig() as rig:
        rig.server.call().say(LIMIT)
        rig.server.call()
        until(lambda: rig.subscription.waiting() is None)


def test_people_are_told_of_a_stream_that_stays_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In /health, with what happens if it lasts; not of one that is open again soon."""
    task = SalesforceSourceTask(CONFIG, {}, "crm")
    with Rig() as rig:
        monkeypatch.setattr(task, "_subscription", rig.subscription)
        rig.server.call().say(LIMIT)
        rig.server.call()
        assert rig.subscription.waiting() is not None
        assert task.waiting() == []
        monkeypatch.setattr(source, "WAITS_MIN_S", 0.0)
        (waiting,) = task.waiting()
    assert waiting.object == "change events"
    assert "72 hours" in waiting.sentence


def test_a_stream_that_falls_silent_is_opened_again() -> None:
    """A connection that is dead on one side would never tell."""
    with Rig(b"\x01", silence_max_s=0.05) as rig:
        rig.server.call()
        assert asked(rig.server.call()).replay_id == b"\x01"


def test_a_subscription_that_is_closed_says_nothing_more() -> None:
    """And opens no further stream."""
    with Rig() as rig:
        call = rig.server.call()
        rig.subscription.close()
        assert call.let_go.wait(WAIT_S), "the thread that reads requests would hang for ever"
        assert rig.opens_no_other()


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (Broken("service.auth.error"), TokenRefused, "new token"),
        (Broken(status="UNAUTHENTICATED"), TokenRefused, "new token"),
        (Broken("subscription.limit.exceeded"), RateLimited, "allowance"),
        (Broken("service.protection.triggered"), RateLimited, "allowance"),
        (Broken("concurrent.client.limit.exceeded"), RateLimited, "allowance"),
        (Broken(), Unavailable, "salesforce.pubsub.endpoint"),
    ],
)
def test_errors_are_judged_by_the_code_in_their_trailer(
    error: grpc.RpcError, kind: type[SalmonError], told: str
) -> None:
    """Their text is for people."""
    trouble: Callable[[grpc.RpcError], SalmonError] = Server().trouble
    assert isinstance(trouble(error), kind)
    assert told in str(trouble(error))


def test_a_fault_of_ours_is_told_and_does_not_end_it_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that hears nothing any more looks just like an org in which nobody works."""

    def token(_: SignsIn) -> Token:
        raise KeyError("id")

    monkeypatch.setattr(SignsIn, "token", token)
    with Rig() as rig:
        ended = rig.next()
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, KeyError)
