"""What a stream asks for, against a server at the end of a slow line, in a time made here."""

from __future__ import annotations

import heapq
import threading
from itertools import count

import pytest

from salmon.salesforce.reading.stream import demand
from salmon.salesforce.reading.stream.demand import AHEAD_EVERY_S, AHEAD_MAX, OWED_MAX, Demand, Requests
from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2

ROUND_TRIP_S = 0.05


class Line:
    """A server with *backlog* events, and a client that asks as a Demand says; what either sends takes half a round trip."""

    def __init__(self, backlog: int, *, fetch_size: int = OWED_MAX, handing_over_s: float = 0.008) -> None:
        self.demand = Demand(fetch_size)
        self.backlog, self.handing_over_s = backlog, handing_over_s
        self.owed = self.received = self.requests = self.owed_most = 0
        self.now_s = 0.0
        self._count = count()
        self._coming: list[tuple[float, int, str, tuple[int, ...]]] = []
        self._answered_at_s: float | None = None
        self.ask(fetch_size)

    def ask(self, events: int) -> None:
        self.requests += 1
        self._later(ROUND_TRIP_S / 2, "request", events)

    def run(self, seconds: float) -> None:
        while self._coming and self._coming[0][0] <= seconds:
            self.now_s, _, what, numbers = heapq.heappop(self._coming)
            getattr(self, f"_{what}")(*numbers)

    def publish(self, events: int) -> None:
        self.backlog += events
        self._send()

    def _request(self, events: int) -> None:
        self.owed = min(OWED_MAX, self.owed + events)
        self.owed_most = max(self.owed_most, self.owed)
        self._send()

    def _send(self) -> None:
        sent = min(self.owed, self.backlog)
        if sent:
            self.backlog -= sent
            self.owed -= sent
            # Its threads take some time until the client asks for more.
            self._later(ROUND_TRIP_S / 2 + self.handing_over_s, "response", sent, self.owed)

    def _response(self, events: int, owed: int) -> None:
        self.received += events
        if more := self.demand.answered(events, owed):
            self.ask(more)
        self._answered_at_s = self.now_s
        self._later(AHEAD_EVERY_S, "silence", self.received)

    def _silence(self, received: int) -> None:
        if received == self.received and self.demand.is_behind:
            self.ask(self.demand.ahead())
            self._later(AHEAD_EVERY_S, "silence", received)

    def _later(self, in_s: float, what: str, *numbers: int) -> None:
        heapq.heappush(self._coming, (self.now_s + in_s, next(self._count), what, numbers))


def test_a_slow_line_does_not_limit_how_fast_a_backlog_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for what has come carries 100 events in each round trip and what the threads take: 1,724 a second here."""
    line = Line(100_000)
    line.run(1)
    assert line.received >= 1_900
    monkeypatch.setattr(demand, "AHEAD_MAX", 0)
    plain = Line(100_000)
    plain.run(1)
    assert plain.received < 1_800, "only what is asked for ahead makes the difference"


def test_nothing_is_asked_for_ahead_where_events_come_now_and_then() -> None:
    """The server owes enough: there is one request for each 50 events, as without a slow line."""
    line = Line(0)
    for each in range(100):
        line.run(each * 0.1)
        line.now_s = each * 0.1
        line.publish(1)
    line.run(20)
    assert line.received == 100
    assert line.requests <= 3


def test_a_backlog_that_has_come_is_asked_for_a_few_times_more_and_no_longer() -> None:
    """What follows it is owed by then; the server takes all that is too much for 100."""
    line = Line(1_000)
    line.run(60)
    assert line.received == 1_000
    assert line.owed == line.owed_most == OWED_MAX
    assert line.requests <= 1 + 10 * (1 + AHEAD_MAX)


@pytest.mark.parametrize("fetch_size", [1, 20, 99])
def test_who_wants_fewer_at_a_time_gets_no_more(fetch_size: int) -> None:
    """The server would add up what is asked for ahead, to a hundred."""
    line = Line(1_000, fetch_size=fetch_size)
    line.run(60)
    assert line.owed_most <= fetch_size
    assert line.received == 1_000


def test_the_next_request_is_not_waited_for_while_a_backlog_comes() -> None:
    """gRPC reads them in a thread of its own; it is let go when the stream ends."""
    requests = Requests(pb2.FetchRequest(topic_name="/data/ChangeEvents", num_requested=OWED_MAX))
    assert next(requests).topic_name == "/data/ChangeEvents"
    requests.answered(OWED_MAX, 0)
    asked = [next(requests).num_requested for _ in range(1 + AHEAD_MAX)]
    assert asked == [OWED_MAX] * (1 + AHEAD_MAX), "one for the response, and those ahead"
    let_go = threading.Thread(target=lambda: list(requests), daemon=True)
    let_go.start()
    requests.close()
    let_go.join(10)
    assert not let_go.is_alive()


def test_a_server_that_has_complained_is_asked_for_nothing_ahead() -> None:
    """There is one request for each response; the next waits for the next response, however far behind we are."""
    first = pb2.FetchRequest(topic_name="/data/ChangeEvents", num_requested=OWED_MAX)
    requests = Requests(first, may_ask_ahead=False)
    next(requests)
    for _ in range(3):
        requests.answered(OWED_MAX, 0)
    requests.close()
    assert [each.num_requested for each in requests] == [OWED_MAX] * 3
