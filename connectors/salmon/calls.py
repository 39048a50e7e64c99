"""
Calls to the servers that we depend on: who owes us an answer, since when, and to what.

Whoever calls a server says so, with calling(), or with begin() where a library reports its own calls. An answer is
any answer, also a refusal. A call that still waits, or was given up, has none; what is owed so for too long is a silence,
which health and metrics show. Nothing here waits or ends a call: time-outs are the clients' own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# A silence is to be seen within half a minute, also by those who look only now and then.
CALL_MAX_S: Final = 25.0
# The longest time-out of any client of ours is 168 s. Whoever waits for longer is not waiting for a server any more.
GIVEN_UP_S: Final = 180.0


class Peer(StrEnum):
    """The servers, as metrics name them."""

    SALESFORCE = "salesforce"
    PUBSUB = "pubsub"
    MONGODB = "mongodb"
    KAFKA = "kafka"
    REGISTRY = "registry"


# Asks a peer something cheap, and returns when there was an answer; False if there is nobody to ask yet. Raises where no
# answer came within a few seconds.
Probe = Callable[[], object]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call. Compared by identity."""

    peer: Peer
    doing: str
    began: float
    patience_s: float
    thread: int | None

    @property
    def late_at(self) -> float:
        return self.began + self.patience_s


@dataclass(frozen=True, slots=True)
class Silence:
    """A peer that has owed us an answer for too long. *since_s*: for how long, in seconds."""

    peer: Peer
    doing: str
    since_s: float


class _OnBehalf(threading.local):
    """The thread that waits for what this thread is doing; None if nobody does."""

    thread: int | None = None


_on_behalf = _OnBehalf()


@contextmanager
def on_behalf_of(thread: int) -> Iterator[None]:
    """This thread's calls inside are those of *thread*, which waits for them: it is not hanging meanwhile."""
    before, _on_behalf.thread = _on_behalf.thread, thread
    try:
        yield
    finally:
        _on_behalf.thread = before


class Calls:
    """
    The calls of one process; safe between threads.

    Args:
        patience_s: After how long without an answer somebody should know, where a call does not say.
    """

    def __init__(
        self, *, patience_s: float = CALL_MAX_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience_s, self._clock = patience_s, clock
        self._lock = threading.Lock()
        self._waiting: set[Call] = set()
        self._given_up: dict[Peer, Call] = {}  # the first one since the peer answered
        self._heard: dict[Peer, float] = {}
        self._last_call: dict[int, float] = {}  # thread -> when its last call ended

    # The callers' view.

    @contextmanager
    def calling(self, peer: Peer, doing: str, *, patience_s: float | None = None) -> Iterator[None]:
        """
        Call *peer* inside. To leave in good order is an answer, by an exception is none.

        Args:
            doing: For the operator, e.g. "POST /services/oauth2/token". No values, no secrets.
            patience_s: After how long without an answer somebody should know.
        """
        call = self.begin(peer, doing, patience_s=patience_s)
        try:
            yield
        except BaseException:
            self.given_up(call)
            raise
        self.answered(call)

    def begin(self, peer: Peer, doing: str, *, patience_s: float | None = None, ours: bool = True) -> Call:
        """
        A call has begun; answered(), given_up() or dropped() must follow.

        Args:
            ours: Whether this very thread waits for the answer (or the one it works for), and for no other. If not, any answer of the peer will do.
        """
        thread = (_on_behalf.thread or threading.get_ident()) if ours else None
        patience_s = self._patience_s if patience_s is None else patience_s
        call = Call(peer, doing, self._clock(), patience_s, thread)
        with self._lock:
            self._waiting.add(call)
        return call

    def answered(self, call: Call) -> None:
        with self._lock:
            self._end(call)
            self._heard[call.peer] = self._clock()
            self._given_up.pop(call.peer, None)

    def given_up(self, call: Call) -> None:
        """No answer came, and none is waited for any more."""
        with self._lock:
            self._end(call)
            former = self._given_up.get(call.peer)
            if former is None or call.late_at < former.late_at:
                self._given_up[call.peer] = call

    def dropped(self, call: Call) -> None:
        """It says nothing about the peer: nothing was sent after all, or another call tells."""
        with self._lock:
            self._end(call)

    def heard(self, peer: Peer) -> None:
        """The peer has said something unasked: it is there."""
        with self._lock:
            self._heard[peer] = self._clock()
            self._given_up.pop(peer, None)

    # The view of those who tell.

    def silences(self) -> list[Silence]:
        """The peers that have owed us an answer for too long, each with its longest wait."""
        now = self._clock()
        longest: dict[Peer, Silence] = {}
        with self._lock:
            waits = [(call, self._owed_since(call)) for call in self._waiting]
            # Whoever gave up may not have asked again: what the peer said to others since then counts.
            waits += [(call, self._unheard_since(call)) for call in self._given_up.values()]
        for call, since in waits:
            silent_s = now - since
            if silent_s >= call.patience_s and (
                call.peer not in longest or longest[call.peer].since_s < silent_s
            ):
                longest[call.peer] = Silence(call.peer, call.doing, silent_s)
        return [longest[peer] for peer in Peer if peer in longest]

    def unheard_s(self, peer: Peer) -> float:
        """For how long the peer has said nothing, asked or unasked."""
        return self._clock() - self._heard.get(peer, float("-inf"))

    def attended(self, thread: int) -> float:
        """When *thread* last waited for a server's answer; now, if it does. A wait beyond all time-outs is none."""
        now = self._clock()
        with self._lock:
            if any(call.thread == thread and now - call.began < GIVEN_UP_S for call in self._waiting):
                return now
            return self._last_call.get(thread, float("-inf"))

    def _owed_since(self, call: Call) -> float:
        return self._unheard_since(call) if call.thread is None else call.began

    def _unheard_since(self, call: Call) -> float:
        return max(call.began, self._heard.get(call.peer, call.began))

    def _end(self, call: Call) -> None:
        self._waiting.discard(call)
        if call.thread is not None:
            self._last_call[call.thread] = self._clock()
