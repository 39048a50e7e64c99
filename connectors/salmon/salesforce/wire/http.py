"""
One HTTPS request, with a deadline and with requests' errors translated, once, into ours.

Large bodies of JSON travel in gzip, both ways. The REST API is documented to take compressed requests ("Compression Headers"); Bulk
API 2.0 to give compressed answers only ("Use Compression for Bulk API 2.0 Ingest Responses"), so CSV is uploaded as it is.
What a response means is for auth and rest.
"""

from __future__ import annotations

import gzip
import re
import ssl
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.utils import should_bypass_proxies
from urllib3.exceptions import ReadTimeoutError

from salmon.calls import Calls, Peer
from salmon.errors import ConfigError, SignInRefused, Unavailable
from salmon.salesforce.config import Proxy
from salmon.salesforce.wire.deadlines import Adapter, ends_within

CONNECT_TIMEOUT_S: Final = 10.0
# A query may take two minutes, a call of 200 writes with triggers as long (API Request Limits and Allocations).
READ_TIMEOUT_S: Final = 130.0
# `concurrent_writes` may be 20, and others call meanwhile. Beyond it, each call would open a connection of its own, and drop it.
CALLS_AT_ONCE: Final = 24
# An answer may be as long in coming as this times the longest silence in it; what drips in ends then.
_WHOLE: Final = 1.2
# A smaller body fits into the first packets as it is. Level 1 makes records three to ten times smaller, at 100 MB/s and more.
_GZIP_FROM_BYTES: Final = 2_048
_GZIP_LEVEL: Final = 1
# What a proxy answers that wants a name and a password (RFC 9110). The client tells it in words alone.
_PROXY_REFUSES: Final = re.compile(r"Tunnel connection failed: 407\b")


class Unreachable(Unavailable):
    """There is no connection to the host, or it broke: perhaps it is not there any more."""


class Https:
    """HTTPS to Salesforce's hosts. Its calls may come from several threads, each with a connection of its own."""

    def __init__(
        self,
        ca_file: str | None,
        *,
        proxy: Proxy | None = None,
        timeout_s: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
        calls: Calls | None = None,
    ) -> None:
        """
        Args:
            ca_file: The config's `salesforce.ca_file`.
            proxy: The config's `salesforce.proxy`. Without it, the environment's variables count.
            timeout_s: To connect, and between two bytes of an answer. Together, and a fifth more, they limit a call as a whole.
            calls: Where our calls are watched, if anywhere.

        Raises:
            ConfigError: there is no such file, or it holds no certificate.
        """
        if ca_file is not None and not Path(ca_file).is_file():
            raise ConfigError(
                f"salesforce.ca_file: the file {ca_file} does not exist. Give the PEM file of the CA."
            )
        if ca_file is not None:
            try:
                ssl.create_default_context(cafile=ca_file)
            except OSError:  # ssl.SSLError is one
                raise ConfigError(
                    f"salesforce.ca_file: {ca_file} has no certificate that can be read. Name the PEM file of the "
                    f"authority."
                ) from None
        self._verify: str | bool = ca_file or True
        self._timeout_s = timeout_s
        self._calls = calls or Calls()
        self._proxy = proxy
        self._session = requests.Session()
        # Where the environment counts, a ~/.netrc would replace the token of each call by what it has for the host.
        self._session.auth = _as_it_is
        self._session.mount("https://", _Adapter(proxy))

    def send(
        self, method: str, url: str, *, key: str, patience_s: float = READ_TIMEOUT_S, **request: Any
    ) -> requests.Response:
        """
        Send a request and return the response, whatever its status.

        Args:
            method, url, request: As requests takes them.
            key: The config key that led to this host, for the error's sentence.
            patience_s: How long to wait between two bytes of the answer, if that is shorter than for others.

        Raises:
            SignInRefused: the server's certificate does not verify, or the proxy does not let us through.
            Unreachable, Unavailable: no answer. The request may have been carried out.
        """
        parts = urlsplit(url)
        host = parts.netloc
        try:
            with self._calls.calling(Peer.SALESFORCE, f"{method} {parts.path}"):
                connect_s, read_s = self._timeout_s
                return self._exchanged(method, url, (connect_s, min(read_s, patience_s)), **request)
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise SignInRefused(
                    f"salesforce.ca_file: the certificate of {host} ({key}) does not verify"
                    f" {_by_what(self._verify)}. Set it to the PEM file of the authority that signed it."
                ) from error
            raise Unavailable(
                f"TLS with {host} ({key}) failed. Check that the address belongs to a server that speaks TLS."
            ) from error
        except requests.exceptions.ProxyError as error:
            raise self._proxy_trouble(host, error) from error
        except requests.exceptions.ConnectTimeout as error:
            raise Unreachable(f"{host} ({key}) cannot be reached: it did not answer in time.") from error
        except requests.exceptions.Timeout as error:
            raise Unavailable(f"{host} ({key}) did not answer in time.") from error
        except requests.exceptions.ConnectionError as error:
            if any(isinstance(each, ReadTimeoutError) for each in error.args):  # in the middle of an answer
                raise Unavailable(f"{host} ({key}) did not answer in time.") from error
            raise Unreachable(
                f"{host} ({key}) cannot be reached. Check the address, the network and that the server runs."
            ) from error
        except requests.exceptions.RequestException as error:
            raise Unavailable(f"{host} ({key}): the answer broke off.") from error

    def ask(self, url: str, *, timeout_s: float) -> None:
        """See whether anybody answers there, whatever the answer is. Raises requests' own errors."""
        self._exchanged("GET", url, (timeout_s, timeout_s))

    def _exchanged(
        self, method: str, url: str, timeout_s: tuple[float, float], **request: Any
    ) -> requests.Response:
        # `verify` goes with each call: set on the session, the environment's REQUESTS_CA_BUNDLE would win.
        proxies = None
        if self._proxy is not None and not is_direct(url):
            proxies = {"https": self._proxy.url}
        with ends_within(sum(timeout_s) * _WHOLE):
            return self._session.request(
                method,
                url,
                verify=self._verify,
                timeout=timeout_s,
                allow_redirects=False,
                proxies=proxies,
                **request,
            )

    def _proxy_trouble(self, host: str, error: requests.exceptions.ProxyError) -> SignInRefused | Unreachable:
        key = "HTTPS_PROXY, in the environment" if self._proxy is None else "salesforce.proxy"
        if _PROXY_REFUSES.search(str(error)):
            return SignInRefused(
                f"{key}: the proxy does not let us through to {host} without a name and a password that it knows. Correct"
                " its username and password."
            )
        return Unreachable(
            f"{key}: the proxy cannot be reached, or has no way to {host}. Check its address, and that it lets Salmon"
            f" through to {host}."
        )

    def close(self) -> None:
        """Give up the connections."""
        self._session.close()


def retry_after_s_of(response: requests.Response) -> float | None:
    """For how many seconds the server does not want to be asked, where it says so (RFC 9110, section 10.2.3)."""
    wish = response.headers.get("Retry-After", "")
    if wish.isdecimal():
        return float(wish)
    try:
        until, now = (parsedate_to_datetime(each) for each in (wish, response.headers.get("Date", "")))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):  # not a date, or one with a time zone and one without
        return None


def is_direct(url: str) -> bool:
    """Whether the environment's NO_PROXY has the host."""
    return bool(should_bypass_proxies(url, no_proxy=None))


class _Adapter(Adapter):
    """
    Without retries: a write that was sent may have been carried out (see sink). What a proxy of ours wants to know goes to
    it in a header, and is in no URL, which an error would show.
    """

    def __init__(self, proxy: Proxy | None) -> None:
        super().__init__(pool_connections=4, pool_maxsize=CALLS_AT_ONCE, max_retries=0)
        self._ours = proxy

    def send(self, request: requests.PreparedRequest, *given: Any, **named: Any) -> requests.Response:
        _compress(request)
        return super().send(request, *given, **named)

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        if self._ours is None:
            return super().proxy_headers(proxy)
        authorization = self._ours.authorization
        return {} if authorization is None else {"Proxy-Authorization": authorization}


def _compress(request: requests.PreparedRequest) -> None:
    """Put a large body of JSON into gzip."""
    body, headers = request.body, request.headers
    if (
        isinstance(body, bytes)
        and len(body) >= _GZIP_FROM_BYTES
        and headers.get("Content-Type") == "application/json"
    ):
        request.body = packed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        headers.update({"Content-Encoding": "gzip", "Content-Length": str(len(packed))})


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _by_what(verify: str | bool) -> str:
    return f"against {verify}" if isinstance(verify, str) else "against the public authorities"
