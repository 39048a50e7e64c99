"""
A small HTTP proxy that makes tunnels (CONNECT, RFC 9110, section 9.3.6), for tests: it says where it was asked to go.

It can lead names to other addresses, as if it alone knew them, and want basic authentication.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from base64 import b64encode
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

_HEAD_MAX_S: Final = 10.0
_CHUNK: Final = 65_536


class ConnectProxy:
    """
    A proxy on 127.0.0.1; a context manager.

    Args:
        routes: Where to go instead: host:port as clients name it -> host:port. Others are not known.
        credentials: username:password that clients must give.
    """

    def __init__(self, routes: Mapping[str, str], *, credentials: str | None = None) -> None:
        self.routes = dict(routes)
        self._wanted = None if credentials is None else f"Basic {b64encode(credentials.encode()).decode()}"
        self.asked: list[str] = []  # the host:port of each tunnel, in order
        self.refused = 0  # for want of the right credentials
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="connect-proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_HEAD_MAX_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_HEAD_MAX_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def drop(self) -> None:
        """Break every tunnel; new ones are made."""
        asyncio.run_coroutine_threadsafe(self._drop(), self._loop).result(_HEAD_MAX_S)

    async def _drop(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._drop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_MAX_S)).decode("latin-1")
            request, *lines = head.strip().split("\r\n")
            headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
            method, target, _ = request.split(" ")
            if self._wanted is not None and headers.get("proxy-authorization") != self._wanted:
                self.refused += 1
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            elif method != "CONNECT" or target not in self.routes:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            else:
                self.asked.append(target)
                host, _, port = self.routes[target].rpartition(":")
                up_reader, up_writer = await asyncio.open_connection(host, int(port))
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._tunnel(reader, writer, up_reader, up_writer)
        writer.close()

    async def _tunnel(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        ends = {writer, up_writer}
        self._writers |= ends
        ways = [
            asyncio.create_task(_pass(reader, up_writer)),
            asyncio.create_task(_pass(up_reader, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._writers -= ends
        up_writer.close()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
