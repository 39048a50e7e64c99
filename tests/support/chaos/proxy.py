"""
A TCP proxy between a process and a server, which can cut, stall and delay what passes.

Of Kafka's protocol it reads which requests pass, so that a coordinator alone can be away: whoever asks one anything loses the
connection, as from a broker that restarts, while records are produced and fetched as ever (cases, S2).

All proxies of a run share one event loop in one thread. TLS passes through unopened.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")
_NO_LINGERING: Final = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: on, for 0 s
_CHUNK: Final = 65_536
# What only a group's or a transaction's coordinator answers (Kafka Protocol Guide, API keys): OffsetCommit, OffsetFetch, JoinGroup,
# Heartbeat, LeaveGroup, SyncGroup, InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit.
_COORDINATED: Final = frozenset({8, 9, 11, 12, 13, 14, 22, 24, 25, 26, 28})
_REQUEST: Final = struct.Struct(">ih")  # size of what follows it, API key
_SIZE_BYTES: Final = 4
_ANSWER_MAX_S: Final = 10.0


class Requests:
    """Follows the requests of one client of Kafka, in whatever pieces they come."""

    def __init__(self) -> None:
        self._head = bytearray()  # of the next request, as far as it has come
        self._left = 0  # bytes of this request that are still to come

    def begun_in(self, chunk: bytes) -> list[int]:
        """The API keys of the requests whose head ends in *chunk*."""
        keys, at = [], 0
        while at < len(chunk):
            if self._left:
                passed = min(self._left, len(chunk) - at)
                self._left -= passed
                at += passed
                continue
            needed = chunk[at : at + _REQUEST.size - len(self._head)]
            self._head += needed
            at += len(needed)
            if len(self._head) == _REQUEST.size:
                size, key = _REQUEST.unpack(self._head)
                self._left = size - (_REQUEST.size - _SIZE_BYTES)
                self._head.clear()
                keys.append(key)
        return keys


@dataclass(eq=False)
class Proxy:
    """One proxy; made by Proxies. *host* and *port* are where it listens; *kafka*: whether Kafka's protocol passes."""

    name: str
    host: str
    port: int
    upstream: tuple[str, int]
    kafka: bool = False
    lacks_coordinator: bool = False
    delay_s: float = 0.0
    is_cut: bool = False
    flows: asyncio.Event = field(default_factory=asyncio.Event)  # not set: stalled
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either end closes it, or it is cut."""
        if self.is_cut:
            _reset(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            _reset(writer)  # as if the server itself had refused
            return
        ends = {writer, up_writer}
        self.writers |= ends
        ways = [
            asyncio.create_task(self._pass(reader, up_writer, Requests() if self.kafka else None)),
            asyncio.create_task(self._pass(up_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.writers -= ends
            for end in ends:
                if self.lacks_coordinator:
                    _reset(end)
                end.close()

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, requests: Requests | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK):
                if (
                    requests
                    and _COORDINATED.intersection(requests.begun_in(chunk))
                    and self.lacks_coordinator
                ):
                    return  # and the connection ends
                await self.flows.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                target.write(chunk)
                await target.drain()

    async def cut(self) -> None:
        self.is_cut = True
        for writer in tuple(self.writers):
            _reset(writer)

    async def stall(self) -> None:
        self.flows.clear()

    async def slow_down(self, delay_s: float) -> None:
        self.delay_s = delay_s

    async def lose_coordinator(self) -> None:
        self.lacks_coordinator = True

    async def heal(self) -> None:
        self.is_cut, self.lacks_coordinator, self.delay_s = False, False, 0.0
        self.flows.set()


class Proxies:
    """All proxies of a run; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._proxies: dict[str, Proxy] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(
        self,
        name: str,
        upstream: tuple[str, int],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        kafka: bool = False,
    ) -> Proxy:
        """Listen on *host* and *port* (0: any free one) for *upstream*, which need not be there yet."""
        return self._do(self._open(Proxy(name, host, port, upstream, kafka)))

    def cut(self, name: str) -> None:
        """Break every connection now, and refuse new ones."""
        self._do(self._proxies[name].cut())

    def stall(self, name: str) -> None:
        """Connections stay, new ones are accepted, and nothing passes."""
        self._do(self._proxies[name].stall())

    def delay(self, name: str, seconds: float) -> None:
        """Whatever passes takes so much longer."""
        self._do(self._proxies[name].slow_down(seconds))

    def lose_coordinator(self, name: str) -> None:
        """Break each connection that asks a coordinator anything; all other requests of Kafka's pass."""
        self._do(self._proxies[name].lose_coordinator())

    def heal(self, name: str) -> None:
        """Let everything pass again."""
        self._do(self._proxies[name].heal())

    def heal_all(self) -> None:
        for name in self._proxies:
            self.heal(name)

    async def _open(self, proxy: Proxy) -> Proxy:
        proxy.flows.set()
        server = await asyncio.start_server(proxy.connected, proxy.host, proxy.port)
        proxy.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)
        self._proxies[proxy.name] = proxy
        return proxy

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for proxy in self._proxies.values():
            await proxy.cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(_ANSWER_MAX_S)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection without a farewell: the other end gets a RST, as from a machine that has restarted."""
    if (connection := writer.get_extra_info("socket")) is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    writer.transport.abort()
