"""
Who may ask what of the REST server.

With credentials in the configuration, every request needs them, except for the pages that probes and Prometheus read. The same goes for
certificates of clients. Without either, a request that changes something is only taken on a loopback address, and not from a web page.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from salmon.addresses import host_of, is_loopback

CERTIFIED: Final = "certified"  # of a connection: its client has shown a certificate that we trust
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="salmon"'}


class Refused(Exception):
    """A request is not carried out. *status*: the HTTP status; the message says why and what to do."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Access:
    """
    Args:
        host: The address that the server listens on.
        username, password, token: Of the configuration; either may be missing.
        by_certificate: Whether every request needs a certificate of a client.
    """

    host: str = "127.0.0.1"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    by_certificate: bool = False

    @property
    def has_credentials(self) -> bool:
        return self.password is not None or self.token is not None

    def headers(self) -> dict[str, str]:
        """The headers with which this process asks another one of the same sync."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        if self.password is not None:
            pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def check(self, headers: Mapping[str, str], *, changes: bool, certified: bool = False) -> None:
        """
        Let a request pass.

        Args:
            headers: Of the request; its names in lower case.
            changes: Whether it changes anything.
            certified: Whether the client has shown a certificate that we trust.

        Raises:
            Refused: 400 with a malformed Host; 401 without the right credentials; 403 if there are none that would do, or no
                certificate.
        """
        if host_of(headers.get("host", "")) is None:
            raise Refused(400, "The header Host is not a host and a port. Correct it.")
        if self.by_certificate and not certified:
            raise Refused(
                403, "This request needs a certificate of a client, from a CA in rest.tls.client_ca_file."
            )
        if self.has_credentials:
            if not self._are_right(headers.get("authorization", "")):
                raise Refused(
                    401, "This request needs the user and password, or the token, of rest.auth.", _CHALLENGE
                )
        elif changes and self.by_certificate:
            _check_no_page(headers)
        elif changes:
            self._check_local(headers)

    def _check_local(self, headers: Mapping[str, str]) -> None:
        if not is_loopback(self.host):
            raise Refused(
                403,
                "This request changes something, and the server is not bound to a loopback address. Set rest.auth in the "
                "configuration, and send its user and password, or its token.",
            )
        _check_no_page(headers)
        if not is_loopback(host_of(headers.get("host", "")) or ""):
            raise Refused(403, _ELSEWHERE)

    def _are_right(self, said: str) -> bool:
        kind, _, value = said.partition(" ")
        if kind.lower() == "bearer" and self.token is not None:
            return _is_same(value.strip(), self.token)
        if kind.lower() == "basic" and self.password is not None:
            try:
                user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                return False
            # Both are compared, so that the time says nothing about the user.
            return _is_same(user, self.username or "") & _is_same(password, self.password)
        return False


_ELSEWHERE: Final = "This request comes from a web page, or names another host. Set rest.auth to allow it."


def _check_no_page(headers: Mapping[str, str]) -> None:
    """A web page must not reach us by a browser on this machine, which shows a certificate without being asked."""
    if "origin" in headers:
        raise Refused(403, _ELSEWHERE)


def _is_same(said: str, wanted: str) -> bool:
    return hmac.compare_digest(said.encode(), wanted.encode())
