"""
Who makes a request, and whether they may: one dependency for all routers, of the API, the console and the reports.

A caller shows an API key (X-API-Key, Bearer, or as the password of Basic authentication, which browsers ask for) or a token of the
identity provider (Bearer). Without credentials in the configuration, only a loopback address is served, and only what comes from this
machine and not from somebody else's web page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader, HTTPBasic, HTTPBearer

from salmon.addresses import host_of, is_loopback
from salmon.api.grants import LOCAL, Caller
from salmon.api.keys import PREFIX, StoredKeys, named
from salmon.api.limits import Buckets, too_many
from salmon.api.oidc import NotGood, Provider
from salmon.api.problems import Problem
from salmon.config.sections.api import ApiConfig, ApiKeyConfig
from salmon.errors import SalmonError

HEADER: Final = "x-api-key"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# What comes by a proxy comes from this machine, whoever has sent it.
_OF_PROXIES: Final = frozenset({"forwarded", "via", "x-real-ip"})
# Of one address: attempts without good credentials, a second and at once.
_FAILURES_PER_S, _FAILURES_BURST = 2.0, 20.0
# What a description of the API says of credentials. The checks are ours.
SCHEMES: Final = (
    Depends(APIKeyHeader(name="X-API-Key", auto_error=False)),
    Depends(HTTPBearer(auto_error=False)),
    Depends(HTTPBasic(auto_error=False)),
)


class Access:
    """
    Args:
        settings: Returns the settings that count now.
        stored: The keys of a collection, if there is one.
        provider: The identity provider, if there is one.
    """

    def __init__(
        self,
        settings: Callable[[], ApiConfig],
        *,
        stored: StoredKeys | None = None,
        provider: Provider | None = None,
        buckets: Buckets | None = None,
    ) -> None:
        self._settings, self._stored, self._provider = settings, stored, provider
        self._buckets = buckets or Buckets()
        # Whoever takes the last key out of the file means to let nobody in, and not everybody.
        self._closed = settings().has_credentials

    @property
    def provider(self) -> Provider | None:
        """The identity provider, if there is one."""
        return self._provider

    @property
    def needs_credentials(self) -> bool:
        """Whether each request needs a key or a token. If it did when the process started, only a restart changes that."""
        return self._closed or self._settings().has_credentials

    async def __call__(self, request: Request) -> Caller:
        """
        The dependency: who makes the request.

        Raises:
            Problem: 401 without good credentials, 403 from where it may not come, 429 too many requests.
        """
        self.check_place(request, self._settings().cors_origins)
        if self.needs_credentials:
            found = await self.known(request, _shown(request.headers))
        else:
            found = LOCAL
        self.count(found)
        request.state.caller = found
        return found

    def check_place(self, request: Request, allowed: Collection[str] = ()) -> None:
        """Raise Problem if the request comes from where it may not come. *allowed*: origins whose pages may send it."""
        _check_origin(request, allowed)
        if not self.needs_credentials:
            _check_local(request)

    def count(self, caller: Caller) -> None:
        """Count a request of this caller. Raises Problem: it makes too many."""
        self._take(caller, 1)

    def count_records(self, caller: Caller, records: int) -> None:
        """
        Count the records of a request that has been counted itself: each is as much work as a request of its own. A full bucket is enough
        for any list. Raises Problem: it makes too many.
        """
        self._take(caller, min(records, self._settings().rate_burst) - 1)

    def _take(self, caller: Caller, tokens: int) -> None:
        settings = self._settings()
        wait_s = self._buckets.take(
            caller.name, per_s=settings.rate_per_s, burst=settings.rate_burst, tokens=tokens
        )
        if wait_s:
            # Who comes back is counted once more.
            raise too_many(wait_s + (1 / settings.rate_per_s if tokens > 1 else 0))

    def keys(self) -> Mapping[str, ApiKeyConfig]:
        """All keys that count now, by their names. Those of the configuration take precedence over those of the collection."""
        stored = {} if self._stored is None else self._stored.keys()
        return {**stored, **self._settings().known_keys}

    @property
    def whoever(self) -> Any:
        """A dependency: the caller, whoever it is."""
        return Depends(self)

    def may(self, verb: str, name: str) -> Any:
        """A dependency: the caller, who may do this to records of the object *name*; 403 for others."""

        whoever = self.whoever

        async def check(caller: Caller = whoever) -> Caller:
            require(caller, verb, name)
            return caller

        return Depends(check)

    def views(self) -> Any:
        """A dependency: the caller, who may look at the console."""
        return self._with_role("viewer", lambda caller: caller.views)

    def operates(self) -> Any:
        """A dependency: the caller, who may act in the console."""
        return self._with_role("operator", lambda caller: caller.operates)

    def _with_role(self, role: str, has: Callable[[Caller], bool]) -> Any:
        whoever = self.whoever

        async def check(caller: Caller = whoever) -> Caller:
            if not has(caller):
                raise Problem(403, "not-allowed", f"This needs the scope {role}.")
            return caller

        return Depends(check)

    async def known(self, request: Request, secret: str | None) -> Caller:
        """The caller whose key or token this is. Raises Problem: 401 nobody's, 429 too many attempts of this address."""
        settings = self._settings()
        reason = "it is missing"
        if secret is not None:
            # A good key is never made to wait for what others of the same address have tried.
            try:
                found = await run_in_threadpool(self._known, secret, settings)
            except NotGood as error:
                found, reason = None, str(error)
            except SalmonError:
                self.count_failure(request)
                raise
            else:
                reason = "it is not known"
            if found is not None:
                return found
        self.count_failure(request)
        raise Problem(
            401,
            "not-signed-in",
            f"This request needs an API key or a token, and {reason}. Send X-API-Key: KEY or Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": 'Basic realm="salmon", charset="UTF-8"'},
        )

    def count_failure(self, request: Request) -> None:
        """Count an attempt of this address without good credentials. Raises Problem: it makes too many."""
        client = f"address:{request.client.host if request.client else ''}"
        wait_s = self._buckets.take(client, per_s=_FAILURES_PER_S, burst=_FAILURES_BURST)
        if wait_s:
            raise too_many(wait_s)

    def _known(self, secret: str, settings: ApiConfig) -> Caller | None:
        if (found := named(secret, settings.known_keys)) is not None:
            return found
        if self._stored is not None and (found := named(secret, self.keys())) is not None:
            return found
        if self._provider is not None and settings.oidc is not None and not secret.startswith(PREFIX):
            return self._provider.caller_of(secret, settings.oidc.grants)
        return None


def require(caller: Caller, verb: str, name: str) -> None:
    """Raise Problem if the caller may not do this to records of the object *name*."""
    if not caller.may(verb, name):
        raise Problem(403, "not-allowed", f"This needs the scope {name}:{verb}.")


def _check_origin(request: Request, allowed: Collection[str]) -> None:
    """A page of another origin must not make a browser write, or read at our cost, for the person who sits before it."""
    origin = request.headers.get("origin")
    if origin in allowed:
        return
    reads = request.method in _READS
    followed = reads and request.headers.get("sec-fetch-mode") == "navigate"  # a link
    foreign = request.headers.get("sec-fetch-site") == "cross-site" and not followed
    if origin is not None and not reads:
        place = origin.partition("://")[2]
        foreign = foreign or not place or place != request.headers.get("host")
    if foreign:
        raise Problem(
            403,
            "other-origin",
            "This request comes from a web page of another origin. Add the origin to api.cors_origins to allow it.",
        )


def _check_local(request: Request) -> None:
    host = host_of(request.headers.get("host", "")) or ""
    client = request.client.host if request.client else ""
    if not is_loopback(host) or not is_loopback(client) or any(map(_is_of_a_proxy, request.headers)):
        raise Problem(
            403,
            "not-local",
            "Without api.keys or api.oidc, only requests from this machine to a loopback address are served, and none that a proxy passes "
            "on. Configure credentials to serve others.",
        )


def _is_of_a_proxy(header: str) -> bool:
    return header in _OF_PROXIES or header.startswith("x-forwarded-")


def _shown(headers: Mapping[str, str]) -> str | None:
    """The key or token that a request shows."""
    if (key := headers.get(HEADER)) is not None:
        return key
    kind, _, value = headers.get("authorization", "").partition(" ")
    value = value.strip()
    match kind.lower():
        case "bearer" if value:
            return value
        case "basic":
            try:
                return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
            except (binascii.Error, ValueError):
                return None
        case _:
            return None
