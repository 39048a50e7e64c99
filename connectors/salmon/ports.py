"""
Ports to listen on: free ones, and one that a former process still has.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Final

import structlog

from salmon.foreign_json import json_in

log = structlog.get_logger(__name__)

# Below the ports that Linux (32768) and others (49152) give to outgoing connections: each of those would be in the way of a
# server that binds its port later.
_FREE: Final = range(15_000, 32_768)
_BACKLOG: Final = 128
# A process that was asked to stop, or whose parent is gone, ends within 28 s.
PATIENCE_S: Final = 30.0
_PAUSE_S: Final = 0.25
_ANSWER_S: Final = 0.5
_ANSWER_MAX: Final = 10_000


def free_ports(count: int, host: str = "127.0.0.1") -> tuple[int, ...]:
    """
    Return *count* different ports that nobody has now.

    Raises:
        OSError: *host* is not an address of this machine.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(_FREE)
        with contextlib.suppress(_InUse):
            _listening(host, port).close()
            found.add(port)
    return tuple(found)


def listening(
    host: str,
    port: int,
    *,
    sync: str = "",
    patience_s: float = PATIENCE_S,
    pause: Callable[[float], object] = time.sleep,
) -> socket.socket:
    """
    Return a socket that listens there. A port that is in use is waited for: the process that had it before may still be ending.
    But not if another program answers there: it will not go.

    Args:
        port: 0 for any free one.
        sync: Whose processes are waited for; "": anybody.
        patience_s: For how long.

    Raises:
        OSError: the address cannot be used.
    """
    for number in range(round(patience_s / _PAUSE_S)):
        try:
            return _listening(host, port)
        except _InUse:
            if sync and another_answers(host, port, sync):
                raise
            if number == 0:
                log.warning("port_in_use", host=host, port=port, waits_s=patience_s)
            pause(_PAUSE_S)
    return _listening(host, port)


def another_answers(host: str, port: int, sync: str) -> bool:
    """Whether an HTTP server answers there that is not a process of the sync; False if nothing answers that we understand."""
    connection = HTTPConnection(host, port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse().read(_ANSWER_MAX)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    try:
        said = json_in(answer)
    except ValueError:
        return True
    return not isinstance(said, dict) or said.get("sync") != sync


class _InUse(OSError):
    """Somebody listens on this port."""


def _listening(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # A port whose last connections are only waiting out their time is free. One that has a listener is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _InUse(*error.args) from None
        raise
    return listener


def url_of(host: str, port: int, *, secure: bool = False) -> str:
    """The address of a REST server."""
    return f"http{'s' if secure else ''}://{f'[{host}]' if ':' in host else host}:{port}"
