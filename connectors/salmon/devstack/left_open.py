"""
Ends transactions that a dead client has left open in the embedded broker.

Apache Kafka aborts a transaction that has not ended within its client's `transaction.timeout.ms`, and raises the epoch, so
that the client cannot commit it even if it is still alive. `noida-db` 0.2.3 keeps it open until a client with the same
transactional id starts; until then, every reader of committed records waits at it. So the proxy ends it in place of the
broker, if the client has disconnected: it asks for the next epoch itself, as a newer client would.

A client that is silent on an open connection, e.g. because it is suspended, is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# API keys of Kafka's protocol (Kafka Protocol Guide), each with its first version of flexible lengths.
INIT_PRODUCER_ID: Final = 22
ADD_PARTITIONS: Final = 24
_ADD_OFFSETS: Final = 25
END_TRANSACTION: Final = 26
HEARD: Final = {INIT_PRODUCER_ID: 2, ADD_PARTITIONS: 3, _ADD_OFFSETS: 3, END_TRANSACTION: 3}

_REQUEST: Final = struct.Struct(">hhi")  # API key, API version, correlation id
_SHORT: Final = struct.Struct(">h")
_INT: Final = struct.Struct(">i")
_TIMEOUT_S: Final = 60.0  # Apache Kafka's default, for a client that began before this front did
_AGAIN_S: Final = 1.0
_ANSWER_MAX_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a request says of a transaction. *timeout_s*: of INIT_PRODUCER_ID alone."""

    api_key: int
    api_version: int
    transactional_id: bytes
    timeout_s: float = 0.0

    @property
    def is_flexible(self) -> bool:
        return self.api_version >= HEARD[self.api_key]


def heard(request: bytes) -> Heard | None:
    """*request*: the frame without its size. None where it is about no transaction."""
    api_key, version, _ = _REQUEST.unpack_from(request)
    if api_key not in HEARD:
        return None
    at = _REQUEST.size
    at += 2 + max(0, _SHORT.unpack_from(request, at)[0])  # the client's id
    if version >= HEARD[api_key]:
        length, at = request[at + 1] - 1, at + 2  # behind the header's tags; one byte serves below 127
    else:
        length, at = _SHORT.unpack_from(request, at)[0], at + 2
    if length <= 0:
        return None  # an idempotent producer without transactions
    transactional_id = request[at : at + length]
    is_first = api_key == INIT_PRODUCER_ID
    timeout_s = _INT.unpack_from(request, at + length)[0] / 1000 if is_first else 0.0
    return Heard(api_key, version, transactional_id, timeout_s)


class LeftOpen:
    """
    Knows which clients have an open transaction, and ends those of dead clients.

    Args:
        broker: Its host and port.
        ended: Called after each transaction that was ended here.
    """

    def __init__(self, broker: tuple[str, int], ended: Callable[[], None]) -> None:
        self._broker = broker
        self._ended = ended
        self._open: dict[bytes, object] = {}  # transactional id -> the link that spoke of it last
        self._timeouts_s: dict[bytes, float] = {}
        self._ending: dict[bytes, asyncio.Task[None]] = {}

    async def asks(self, link: object, said: Heard) -> None:
        """A client asks on *link*: called before the broker is asked. It waits while we end that client's transaction."""
        if (ending := self._ending.get(said.transactional_id)) is not None:
            await asyncio.wait([ending])
        if said.api_key == INIT_PRODUCER_ID:
            self._timeouts_s[said.transactional_id] = said.timeout_s
            self._open.pop(said.transactional_id, None)
        elif said.api_key != END_TRANSACTION or said.transactional_id in self._open:
            self._open[said.transactional_id] = link

    def answered(self, link: object, said: Heard, answer: bytes | bytearray) -> None:
        """The broker has answered; *answer*: the frame without its size."""
        if said.api_key != END_TRANSACTION or self._open.get(said.transactional_id) is not link:
            return
        if _error_of(answer, said.is_flexible) == 0:
            del self._open[said.transactional_id]

    def gone(self, link: object) -> None:
        """A client's connection has ended. It may come back with another within the transaction's time."""
        for transactional_id, last in self._open.items():
            if last is link:
                self._look_after(transactional_id, link, self._timeouts_s.get(transactional_id, _TIMEOUT_S))

    def _look_after(self, transactional_id: bytes, link: object, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s, self._look, transactional_id, link)

    def _look(self, transactional_id: bytes, link: object) -> None:
        if self._open.get(transactional_id) is link:
            task = asyncio.create_task(self._end(transactional_id, link))
            self._ending[transactional_id] = task
            task.add_done_callback(lambda _: self._ending.pop(transactional_id))

    async def _end(self, transactional_id: bytes, link: object) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            answer = await answer_to(_next_epoch(transactional_id, self._timeouts_s), self._broker)
            if _error_of(answer, flexible=False) == 0:
                del self._open[transactional_id]
                self._ended()
                return
        self._look_after(transactional_id, link, _AGAIN_S)


async def answer_to(request: bytes, broker: tuple[str, int]) -> bytes:
    """
    Ask the broker on a connection of its own; frames without their sizes.

    Raises OSError (also where it takes too long), IncompleteReadError: there is no answer.
    """
    async with asyncio.timeout(_ANSWER_MAX_S):
        source, target = await asyncio.open_connection(*broker)
        try:
            target.write(_INT.pack(len(request)) + request)
            return await source.readexactly(_INT.unpack(await source.readexactly(4))[0])
        finally:
            target.close()


def _error_of(answer: bytes | bytearray, flexible: bool) -> int:
    """Behind correlation id, tags and throttle time."""
    error: int = _SHORT.unpack_from(answer, 4 + flexible + 4)[0]
    return error


def _next_epoch(transactional_id: bytes, timeouts_s: dict[bytes, float]) -> bytes:
    """InitProducerId, version 0: aborts what is open, and whoever opened it can do no more."""
    timeout_ms = int(timeouts_s.get(transactional_id, _TIMEOUT_S) * 1000)
    return b"".join(
        (
            _REQUEST.pack(INIT_PRODUCER_ID, 0, 1),
            _SHORT.pack(-1),  # no client id
            _SHORT.pack(len(transactional_id)) + transactional_id,
            _INT.pack(timeout_ms),
        )
    )
