"""
The REST server of a process. What it answers is in ops.connect.

It only reads health and metrics and stores requests; it never waits for the loop.
"""

from __future__ import annotations

from collections.abc import Callable

from salmon.ops.connect.application import application
from salmon.ops.connect.described import Served
from salmon.ops.server import HttpServer
from salmon.ops.tls import Tls


class RestServer(HttpServer):
    """
    Args:
        host: The address to listen on; 127.0.0.1 unless the configuration has another.
        port: 0: any free port; the attribute *port* has the real one.
        served: Makes what is served; it gets the server, whose port is known by then.
        tls: None: plain HTTP.

    Raises:
        ConfigError: the address is in use, or does not belong to this machine; or a certificate cannot be used.
    """

    def __init__(
        self, *, host: str, port: int, served: Callable[[RestServer], Served], tls: Tls | None = None
    ) -> None:
        super().__init__("rest", host=host, port=port, key="rest", tls=tls)
        what = served(self)
        self.serve(application(what), what.health, what.metrics)
