"""An HTTP server as a part of a process: a socket, a thread, and TLS. It knows nothing of what is served."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from salmon import ports
from salmon.errors import ConfigError
from salmon.ops.connect.access import CERTIFIED
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.ops.tls import ServerContext, Tls
from salmon.plugin.contract import WaitingObject


class HttpServer:
    """
    A part (see lifecycle): HTTP on one socket, which is bound before the thread starts, so that its port is known.

    Args:
        host: The address to listen on.
        port: 0: any free port; the attribute *port* has the real one.
        key: The group of settings that *host* and *port* are from, for an error.
        tls: None: plain HTTP.
        drain_s: How long requests may finish after stop().
        sync: Its former processes are waited for, if one has the port.
        listener: A socket that listens there already.

    Raises:
        ConfigError: the address is in use, or does not belong to this machine.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        key: str,
        tls: Tls | None = None,
        drain_s: int = 1,
        sync: str = "",
        listener: socket.socket | None = None,
    ) -> None:
        self.name = name
        self._key, self._tls, self._drain_s = key, tls, drain_s
        self._socket = listener or _bound(host, port, key, sync)
        self.port: int = self._socket.getsockname()[1]
        self.url = ports.url_of(host, self.port, secure=tls is not None)
        self.worker_id = f"{host}:{self.port}"

    def serve(self, application: ASGIApp, health: Health, metrics: Metrics) -> None:
        """
        Say what is served, before run(). *health*, *metrics*: where trouble with the certificate is shown.

        Raises:
            ConfigError: a certificate cannot be used.
        """
        # No lifespan and no access log; signals are handled in lifecycle.
        settings = uvicorn.Config(
            application,
            http=_Protocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=self._drain_s,
            ssl_context_factory=self._contexts(health, metrics),
        )
        self._server = uvicorn.Server(settings)

    def run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def stop(self) -> None:
        self._server.should_exit = True

    def cut(self) -> None:
        self._server.force_exit = True

    def _contexts(self, health: Health, metrics: Metrics) -> Callable[..., ssl.SSLContext] | None:
        if self._tls is None:
            return None
        of = f"{self._key}.tls"
        context = ServerContext(self._tls, partial(_show, health, of), metrics.certificate_ends)
        return lambda *_: context


class _Protocol(H11Protocol):
    """Tells the application whether the client has shown a certificate that we trust."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, CERTIFIED: bool(transport.get_extra_info("peercert"))}


def _show(health: Health, of: str, trouble: str) -> None:
    health.objects_wait([WaitingObject(of, 0.0, trouble)] if trouble else [], of=of)


def _bound(host: str, port: int, key: str, sync: str) -> socket.socket:
    try:
        return ports.listening(host, port, sync=sync)
    except OSError as error:
        raise ConfigError(
            f"{key}: {host}:{port} cannot be used ({error.strerror or error}). Choose another {key}.port, or --port 0 "
            f"for any free port."
        ) from None
