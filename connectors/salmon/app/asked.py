"""How a parent asks its processes whether they are well: as a kubelet asks its pods."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

_HEALTH_ANSWER_S: Final = 0.5
_LIVE_ANSWER_S: Final = 2.0


def is_ready(host: str, port: int, *, secure: bool = False) -> bool:
    """Whether /health says that the process is ready; False also if nothing answers yet."""
    return _is_well(host, port, "/health", _HEALTH_ANSWER_S, secure=secure)


def is_live(host: str, port: int, *, secure: bool = False) -> bool:
    """Whether /health/live says that the process is live; False also if nothing answers."""
    return _is_well(host, port, "/health/live", _LIVE_ANSWER_S, secure=secure)


def _is_well(host: str, port: int, path: str, answer_s: float, *, secure: bool) -> bool:
    connection = HTTPConnection(host, port, timeout=answer_s)
    if secure:
        # As a kubelet asks: nothing secret is sent, and the certificate need not have the name that a parent uses.
        connection = HTTPSConnection(host, port, timeout=answer_s, context=ssl._create_unverified_context())
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
