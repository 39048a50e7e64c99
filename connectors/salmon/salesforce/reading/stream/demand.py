"""
What a stream of events asks for, and when: before the server has nothing left that it may send.

A server owes a stream 100 events at most, and takes what is asked for beyond that for 100. So a client that asks for what it has
received gets 100 events per round trip, less what its threads need to hand over: that limits a backlog over a slow line. While there
is one, more is therefore asked for without an answer, in short intervals. Each of these requests reaches the server when it has
sent what the one before asked for; one that comes too early changes nothing. A server that complains of being asked too much is
asked for what has come, and for nothing ahead (see subscription).
Source: Pub/Sub API, "Pull Subscription and Flow Control", "Pub/Sub API and Event Allocations".
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Final

from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2

OWED_MAX: Final = 100
AHEAD_EVERY_S: Final = 0.01
# Requests in a row without an answer. They bridge 80 ms. On a slower line, each answer lets as many follow.
AHEAD_MAX: Final = 8


class Demand:
    """
    How many events to ask for; it knows no time.

    Args:
        fetch_size: What the server shall owe. If it is less than OWED_MAX, nothing is asked for ahead: the server would add it up.
        may_ask_ahead: False for a server that has complained of being asked too much.
    """

    def __init__(self, fetch_size: int, *, may_ask_ahead: bool = True) -> None:
        self._fetch_size = fetch_size
        self._may_ask_ahead = may_ask_ahead and fetch_size >= OWED_MAX
        self._ahead_left = 0

    def answered(self, events: int, owed: int) -> int:
        """How many to ask for now that a response has come; 0: nothing. *owed*: what the server owed when it sent it."""
        if owed > self._fetch_size // 2:
            self._ahead_left = 0
            return 0
        if events and owed == 0 and self._may_ask_ahead:  # it had more than it might send
            self._ahead_left = AHEAD_MAX
        return self._fetch_size - owed

    @property
    def is_behind(self) -> bool:
        """Whether to ask again after AHEAD_EVERY_S, if no response comes before."""
        return self._ahead_left > 0

    def ahead(self) -> int:
        """How many to ask for, since no response has come. Only if `is_behind`."""
        self._ahead_left -= 1
        return self._fetch_size


class Requests:
    """The requests of one stream, as gRPC takes them: an iterator that waits."""

    def __init__(self, first: pb2.FetchRequest, *, may_ask_ahead: bool = True) -> None:
        self._demand = Demand(first.num_requested, may_ask_ahead=may_ask_ahead)
        self._queue: queue.SimpleQueue[pb2.FetchRequest | None] = queue.SimpleQueue()
        self._queue.put(first)

    def answered(self, events: int, owed: int) -> None:
        """Ask for more, if that is due after a response. From the thread that receives."""
        if more := self._demand.answered(events, owed):
            self._queue.put(pb2.FetchRequest(num_requested=more))

    def close(self) -> None:
        """End the iteration, which lets go the thread that gRPC reads it with."""
        self._queue.put(None)

    def __iter__(self) -> Iterator[pb2.FetchRequest]:
        return self

    def __next__(self) -> pb2.FetchRequest:
        try:
            request = self._queue.get(timeout=AHEAD_EVERY_S if self._demand.is_behind else None)
        except queue.Empty:
            return pb2.FetchRequest(num_requested=self._demand.ahead())
        if request is None:
            raise StopIteration
        return request
