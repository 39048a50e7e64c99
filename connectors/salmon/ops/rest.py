"""
The REST server of a process: a socket and a thread. What it answers is in ops.connect.

It only reads health and metrics and stores requests; it never waits for the loop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from salmon import ports
from salmon.errors import ConfigError
from salmon.ops.connect.access import CERTIFIED
from salmon.ops.connect.application import application
from salmon.ops.connect.described import Served
from salmon.ops.health import Health
from salmon.ops.tls import ServerContext, Tls
from salmon.plugin.contract import WaitingObject

# The descriptor of a socket that listens, from before this process executed its command again.
HANDED_OVER: Final = "SALMON_REST_SOCKET"


class RestServer:
    """
    A part (see lifecycle): HTTP on one socket, which is bound before the thread starts, so that its port is known.

    Args:
        host: The address to listen on; 127.0.0.1 unless the configuration has another.
        port: 0: any free port; the attribute *port* has the real one.
        served: Makes what is served; it gets the server, whose port is known by then.
        tls: None: plain HTTP.
        sync: Its former processes are waited for, if one has the port.

    Raises:
        ConfigError: the address is in use, or does not belong to this machine; or a certificate cannot be used.
    """

    name = "rest"

    def __init__(
        self,
        *,
        host: str,
        port: int,
        served: Callable[[RestServer], Served],
        tls: Tls | None = None,
        sync: str = "",
    ) -> None:
        self._socket = _handed_over(host, port) or _bound(host, port, sync)
        self._kept: socket.socket | None = None
        self.port: int = self._socket.getsockname()[1]
        self.url = ports.url_of(host, self.port, secure=tls is not None)
        self.worker_id = f"{host}:{self.port}"
        what = served(self)
        # No lifespan and no access log; signals are handled in lifecycle.
        settings = uvicorn.Config(
            application(what),
            http=_Protocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            ssl_context_factory=None if tls is None else _contexts(tls, what),
        )
        self._server = uvicorn.Server(settings)

    def run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def stop(self) -> None:
        self._server.should_exit = True

    def cut(self) -> None:
        self._server.force_exit = True

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


class _Protocol(H11Protocol):
    """Tells the application whether the client has shown a certificate that we trust."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, CERTIFIED: bool(transport.get_extra_info("peercert"))}


def _contexts(tls: Tls, what: Served) -> Callable[..., ssl.SSLContext]:
    context = ServerContext(tls, partial(_show, what.health), what.metrics.certificate_ends)
    return lambda *_: context


def _show(health: Health, trouble: str) -> None:
    health.objects_wait([WaitingObject("rest.tls", 0.0, trouble)] if trouble else [], of="rest.tls")


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


def _bound(host: str, port: int, sync: str) -> socket.socket:
    try:
        return ports.listening(host, port, sync=sync)
    except OSError as error:
        raise ConfigError(
            f"rest: {host}:{port} cannot be used ({error.strerror or error}). Choose another rest.port, or --port 0 "
            f"for any free port."
        ) from None
