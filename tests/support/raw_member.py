"""
A member of a consumer group that speaks Kafka's protocol by itself, so that it can do what no library does: go before it is
told that it is a member, or lead the group and give nobody anything.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import TracebackType
from typing import Final

from support.waiting import until

_FIND, _JOIN, _HEARTBEAT, _SYNC = (10, 1), (11, 5), (12, 3), (14, 3)  # API key and version
_REBALANCING: Final = 27  # REBALANCE_IN_PROGRESS
_NOT_YET: Final = frozenset({14, 15, 16})  # the coordinator loads, or there is none yet
_NO_MEMBER: Final = frozenset({22, 25, 27, 82})  # of another generation, or none at all
_BEAT_S: Final = 0.3
_NOBODY: Final = struct.pack(">hii", 0, 0, 0)  # an assignment: version, no topics, no user data

# The ids of the members, its own first -> the id of the one that gets all partitions; None: nobody does.
Chooses = Callable[[Sequence[str]], str | None]


class ForgetsTheFirst:
    """Chooses the newest member besides its own; the first one it never gives anything, as a coordinator that has lost an answer."""

    def __init__(self) -> None:
        self._forgotten: str | None = None

    def __call__(self, members: Sequence[str]) -> str | None:
        others = members[1:]
        if others and self._forgotten is None:
            self._forgotten = others[0]
        return next((each for each in others if each != self._forgotten), None)


class RawMember:
    """A static member of *group* that reads *topic*; *name* is its client's id and its group instance id."""

    def __init__(self, brokers: str, group: str, topic: str, name: str, *, partitions: int = 1) -> None:
        host, _, port = brokers.partition(":")
        self._group, self._topic, self._name, self._partitions = group, topic, name, partitions
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self.member = ""

    def __enter__(self) -> RawMember:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    def ask_to_join(self) -> None:
        """Send the request, and wait for no answer."""
        # Version 1 of ConsumerProtocolSubscription: one topic, no user data, no partitions that it has.
        subscription = struct.pack(">hi", 1, 1) + _text(self._topic) + struct.pack(">ii", 0, 0)
        body = _text(self._group) + struct.pack(">ii", 6_000, 60_000) + _text(self.member) + _text(self._name)
        body += _text("consumer") + struct.pack(">i", 1) + _text("cooperative-sticky") + _bytes(subscription)
        self._send(_JOIN, body)

    @contextmanager
    def leading(self, chooses: Chooses) -> Iterator[None]:
        """Be in the group inside, as its first member and so its leader: the partitions go to whom *chooses* says."""
        stop, joined = Event(), Event()
        thread = Thread(target=self._serve, args=(chooses, stop, joined), daemon=True)
        thread.start()
        try:
            assert joined.wait(30), "it has not joined"
            yield
        finally:
            stop.set()
            self._socket.close()
            thread.join(10)

    def _serve(self, chooses: Chooses, stop: Event, joined: Event) -> None:
        with suppress(OSError, struct.error):
            while not stop.is_set():
                generation, members = self._join()
                chosen = chooses([self.member, *(each for each in members if each != self.member)])
                gets = {each: self._all if each == chosen else _NOBODY for each in members}
                self._sync(generation, gets)
                joined.set()
                while not stop.wait(_BEAT_S) and not self._is_rebalancing(generation):
                    pass

    def _join(self) -> tuple[int, list[str]]:
        """Join, and return the generation and, of a leader, the members."""
        until(self._has_coordinator, "the group has a coordinator")
        self.ask_to_join()
        answer = self._answer(refused=_NOT_YET)
        if answer.error:  # the coordinator has moved meanwhile
            return self._join()
        generation = answer.number(">i")
        for _ in ("protocol", "leader"):
            answer.text()
        self.member = answer.text()
        members = []
        for _ in range(answer.number(">i")):
            members.append(answer.text())
            answer.text()  # its group instance id
            answer.blob()
        return generation, members

    def _has_coordinator(self) -> bool:
        self._send(_FIND, _text(self._group) + b"\0")
        self._answer(refused=_NOT_YET)
        self._send(_HEARTBEAT, self._of(-1))  # an unknown member is refused by a coordinator only
        return self._answer(refused={*_NOT_YET, *_NO_MEMBER}).error not in _NOT_YET

    def _sync(self, generation: int, gets: Mapping[str, bytes]) -> None:
        given = b"".join(_text(member) + _bytes(assignment) for member, assignment in gets.items())
        self._send(_SYNC, self._of(generation) + struct.pack(">i", len(gets)) + given)
        self._answer(refused={_REBALANCING})

    def _is_rebalancing(self, generation: int) -> bool:
        self._send(_HEARTBEAT, self._of(generation))
        return self._answer(refused={_REBALANCING}).error == _REBALANCING

    @property
    def _all(self) -> bytes:
        numbers = range(self._partitions)
        given = struct.pack(f">i{self._partitions}i", self._partitions, *numbers)
        return struct.pack(">hi", 0, 1) + _text(self._topic) + given + struct.pack(">i", 0)

    def _of(self, generation: int) -> bytes:
        return _text(self._group) + struct.pack(">i", generation) + _text(self.member) + _text(self._name)

    def _send(self, api: tuple[int, int], body: bytes) -> None:
        self._socket.sendall(_bytes(struct.pack(">hhi", *api, 1) + _text(self._name) + body))

    def _answer(self, refused: frozenset[int] | set[int] = frozenset()) -> _Answer:
        size = struct.unpack(">i", self._receive(4))[0]
        answer = _Answer(self._receive(size))
        assert answer.error in {0, *refused}, f"the broker answered with error {answer.error}"
        return answer

    def _receive(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += self._socket.recv(size - len(found)) or _gone()
        return found


class _Answer:
    """An answer, read from its beginning: correlation id, throttle time, error, the rest."""

    def __init__(self, frame: bytes) -> None:
        self._frame, self._at = frame, 8
        self.error = self.number(">h")

    def number(self, layout: str) -> int:
        self._at += struct.calcsize(layout)
        return int(struct.unpack_from(layout, self._frame, self._at - struct.calcsize(layout))[0])

    def text(self) -> str:
        length = max(0, self.number(">h"))
        self._at += length
        return self._frame[self._at - length : self._at].decode()

    def blob(self) -> None:
        length = max(0, self.number(">i"))
        self._at += length


def _text(said: str) -> bytes:
    return struct.pack(">h", len(said)) + said.encode()


def _bytes(blob: bytes) -> bytes:
    return struct.pack(">i", len(blob)) + blob


def _gone() -> bytes:
    raise ConnectionResetError("the broker has closed the connection")
