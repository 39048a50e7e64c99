"""
Which addresses of servers can be used at all; said when the configuration is read, and not by a client in its own words. And which one a
request names.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

# What is left of a name of any alphabet as the name service has it. Names of containers may have underscores.
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+")
_KEPT: Final = 256  # answers about what each request names
_BROKER: Final = re.compile(
    r"(?:[A-Za-z_]+://)?(?:\[(?P<ip>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?"
)


def is_host(host: str) -> bool:
    """Whether *host* can be the name of a host, or an IP address."""
    try:
        if ":" in host:
            return bool(IPv6Address(host))
        # An empty or too long part of a name is an error.
        return _HOST.fullmatch(host.encode("idna").decode()) is not None
    except ValueError:  # UnicodeError is one
        return False


@lru_cache(_KEPT)
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(_KEPT)
def host_of(header: str) -> str | None:
    """The host that a request's Host header names; empty: it names none. None: the header is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # reading it checks it
    except ValueError:
        return None
    host = parts.hostname or ""
    is_one = parts.netloc == header and header.isascii() and "@" not in header
    return host if is_one and (not host or is_host(host)) else None


def is_broker(text: str) -> bool:
    """Whether *text* is an address of a broker as librdkafka takes it: a host, and perhaps a port and a protocol before."""
    found = _BROKER.fullmatch(text)
    if found is None or not 0 < int(found["port"] or 1) < 65536:
        return False
    return is_host(found["host"]) if found["ip"] is None else ":" in found["ip"] and is_host(found["ip"])


def with_usable_host(url: str) -> str:
    """Return *url*. Raises ValueError: no client can make anything of its host or port. The url is not quoted."""
    try:
        parts = urlsplit(url)
        usable = is_host(parts.hostname or "") and parts.port != 0  # reading the port checks it, too
    except ValueError:  # UnicodeError is one
        usable = False
    if not usable:
        raise ValueError("must name a host, or an IP address, and a port between 1 and 65535 if there is one")
    return url


def with_usable_hosts(urls: str) -> str:
    """Return *urls*, which commas divide. Raises ValueError as `with_usable_host` does."""
    for url in urls.split(","):
        with_usable_host(url.strip())
    return urls


# The root of a server's HTTP API, in a configuration; or the roots of several instances of a server.
Address = Annotated[str, AfterValidator(with_usable_host)]
Addresses = Annotated[str, AfterValidator(with_usable_hosts)]
