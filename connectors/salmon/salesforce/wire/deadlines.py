"""
Calls that end in time, however slowly the other end gives its answer.

A socket's time-out begins again with each byte, so an answer that drips in, or a proxy that does, may keep a call for ever. The
sockets of these connections know how long the thread that uses them may still wait, and wait no longer: while a tunnel is made,
a request is sent, and an answer is read, its headers as well as its body.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

_SHORTEST_S: Final = 0.001  # 0 would mean: do not wait at all, which is another kind of socket


class _Limit(threading.local):
    """Until when the thread may wait, by the monotonic clock."""

    at_s: float | None = None


_limit = _Limit()


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """What this thread reads or sends inside, by an Adapter, ends within *seconds*, or by a time-out."""
    before = _limit.at_s
    at_s = time.monotonic() + seconds
    _limit.at_s = at_s if before is None else min(before, at_s)
    try:
        yield
    finally:
        _limit.at_s = before


class _Timed(socket.socket):
    """A socket that waits for a byte no longer than it was told, and than its thread may wait at all."""

    _told_s: float | None = None

    def settimeout(self, value: float | None) -> None:
        self._told_s = value
        super().settimeout(value)

    def recv_into(self, *given: Any, **named: Any) -> int:
        self._look_at_the_time()
        return super().recv_into(*given, **named)

    def send(self, *given: Any, **named: Any) -> int:
        self._look_at_the_time()
        return super().send(*given, **named)

    def sendall(self, *given: Any, **named: Any) -> None:
        self._look_at_the_time()
        super().sendall(*given, **named)

    def _look_at_the_time(self) -> None:
        if (at_s := _limit.at_s) is None:
            return
        left_s = at_s - time.monotonic()
        if left_s < _SHORTEST_S:
            raise TimeoutError("the call's time is up")
        super().settimeout(left_s if self._told_s is None else min(left_s, self._told_s))


class _TimedTls(_Timed, ssl.SSLSocket):
    """The same over TLS. Its handshake is one wait, as long as one to connect may take."""


class _Connection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        told_s = made.gettimeout()
        timed = _Timed(made.family, made.type, made.proto, fileno=made.detach())
        timed.settimeout(told_s)
        return timed


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class Adapter(HTTPAdapter):
    """For a session of requests: https alone, by connections whose waits end_within limits."""

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        super().init_poolmanager(*given, **named, ssl_context=_context())
        _use_timed(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **named, ssl_context=_context())
        _use_timed(manager)
        return manager


def _use_timed(manager: PoolManager) -> None:
    if manager.pool_classes_by_scheme["https"] is HTTPSConnectionPool:  # not those of a SOCKS proxy
        manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": _Pool}


def _context() -> ssl.SSLContext:
    context = create_urllib3_context()
    context.sslsocket_class = _TimedTls
    return context
