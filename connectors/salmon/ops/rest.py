"""
The REST server of a process: a socket and a thread. What it answers is in ops.connect.

It only reads health and metrics and stores requests; it never waits for the loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from salmon import ports
from salmon.errors import ConfigError
from salmon.ops.connect.application import application
from salmon.ops.connect.described import Served


class RestServer:
    """
    A part (see lifecycle): HTTP on one socket, which is bound before the thread starts, so that its port is known.

    Args:
        host: The address to listen on; 127.0.0.1 unless the configuration has another.
        port: 0: any free port; the attribute *port* has the real one.
        served: Makes what is served; it gets the server, whose port is known by then.

    Raises:
        ConfigError: the address is in use, or does not belong to this machine.
    """

    name = "rest"

    def __init__(self, *, host: str, port: int, served: Callable[[RestServer], Served]) -> None:
        self._socket = _bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = url_of(host, self.port)
        self.worker_id = f"{host}:{self.port}"
        # No lifespan and no access log; signals are handled in lifecycle.
        settings = uvicorn.Config(
            application(served(self)),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(settings)

    def run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def stop(self) -> None:
        self._server.should_exit = True

    def cut(self) -> None:
        self._server.force_exit = True


def url_of(host: str, port: int) -> str:
    """The address of a REST server."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    try:
        return ports.listening(host, port)
    except OSError as error:
        raise ConfigError(
            f"rest: {host}:{port} cannot be used ({error.strerror or error}). Choose another rest.port, or --port 0 "
            f"for any free port."
        ) from None
