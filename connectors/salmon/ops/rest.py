"""
The REST server of a process. What it answers is in ops.connect.

It only reads health and metrics and stores requests; it never waits for the loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from salmon.ops.connect.described import Served
from salmon.ops.connect.pages import PAGES
from salmon.ops.server import HttpServer
from salmon.ops.tls import Tls

# The descriptor of a socket that listens, from before this process executed its command again.
HANDED_OVER: Final = "SALMON_REST_SOCKET"


class RestServer(HttpServer):
    """
    Args:
        host: The address to listen on; 127.0.0.1 unless the configuration has another.
        port: 0: any free port; the attribute *port* has the real one.
        served: Makes what is served; it gets the server, whose port is known by then.
        tls: None: plain HTTP.
        sync: Its former processes are waited for, if one has the port.

    Raises:
        ConfigError: the address is in use, or does not belong to this machine; or a certificate cannot be used.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        served: Callable[[RestServer], Served],
        tls: Tls | None = None,
        sync: str = "",
    ) -> None:
        super().__init__(
            "rest", host=host, port=port, key="rest", tls=tls, sync=sync, listener=_handed_over(host, port)
        )
        self._kept: socket.socket | None = None
        what = served(self)
        self.serve(_PagesFirst(what), what.health, what.metrics)

    # A process that restarts executes its command again, which takes some seconds. Its port listens all the while.

    def keep_port(self) -> None:
        """Let the port listen after stop(), too, until give_up_port() or the end of the process."""
        self._kept = self._socket.dup()

    def give_up_port(self) -> None:
        """Undo keep_port(). Idempotent."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def hand_over_port(self) -> None:
        """Leave the kept port to the program that this process executes next: who asks meanwhile waits for its answer."""
        if self._kept is not None:
            self._kept.set_inheritable(True)
            os.environ[HANDED_OVER] = str(self._kept.fileno())


class _PagesFirst:
    """
    Answers the pages by itself, and everything else by the application, which it makes for the first such request.

    FastAPI and the application take a quarter of a second of CPU. Most processes are only asked how they are, and each restart
    would pay for it again.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._making = asyncio.Lock()
        self._application: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_get = scope["type"] == "http" and scope["method"] == "GET"
        if is_get and (page := PAGES.get(scope["path"].rstrip("/") or "/")) is not None:
            await page(self._served)(scope, receive, send)
        else:
            await (await self._made())(scope, receive, send)

    async def _made(self) -> ASGIApp:
        async with self._making:
            if self._application is None:
                # In a thread: the pages are answered meanwhile.
                self._application = await asyncio.to_thread(_application, self._served)
            return self._application


def _application(served: Served) -> ASGIApp:
    from salmon.ops.connect.application import application

    return application(served)


def _handed_over(host: str, port: int) -> socket.socket | None:
    """The socket of before the restart; None if there is none, or if it listens elsewhere than it should now."""
    number = os.environ.pop(HANDED_OVER, "")
    if not number.isdigit():
        return None
    try:
        listener = socket.socket(fileno=int(number))
    except OSError:
        return None
    try:
        listener.set_inheritable(False)
        family, _, _, _, wanted = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        at = listener.getsockname()
        if listener.family == family and at[0] == wanted[0] and port in (0, at[1]):
            return listener
    except OSError:
        pass
    listener.close()
    return None
