"""Which addresses of servers can be used at all; said when the configuration is read, and not by a client in its own words."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def with_usable_host(url: str) -> str:
    """Return *url*. Raises ValueError: no client can make anything of its host or port. The url is not quoted."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")  # an empty or too long part of a name
        usable = bool(host) and parts.port != 0  # reading the port checks it, too
    except ValueError:  # UnicodeError is one
        usable = False
    if not usable:
        raise ValueError("must name a host, or an IP address, and a port between 1 and 65535 if there is one")
    return url


# The root of a server's HTTP API, in a configuration.
Address = Annotated[str, AfterValidator(with_usable_host)]
