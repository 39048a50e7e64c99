"""
API keys: how they are made, and whose a key is.

A key is 32 random bytes, so a plain SHA-256 of it cannot be turned back; only that is stored. Keys are in the configuration, or in a
collection of the database, which is looked at again after some seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from pydantic import ValidationError

from salmon.api.grants import Caller, caller
from salmon.api.keeping import Kept
from salmon.config.sections.api import NAME_PATTERN, ApiKeyConfig

log = structlog.get_logger(__name__)

PREFIX: Final = "salmon_"
LOOK_EVERY_S: Final = 10.0
KEYS_MAX: Final = 10_000  # of a collection


def new_key() -> str:
    """Make a key."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """What is stored of a key."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def named(key: str, keys: Mapping[str, ApiKeyConfig]) -> Caller | None:
    """The caller whose key it is; None: nobody's. All are compared, so that the time says nothing."""
    wanted, found = hash_of(key), None
    for name, each in keys.items():
        if hmac.compare_digest(each.hash, wanted):
            found = caller(name, each.scopes)
    return found


class StoredKeys:
    """
    The keys of a collection, as they were a few seconds ago. If the collection cannot be read, the former ones count on.

    Args:
        read: Returns all its documents. Raises our errors.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Mapping[str, Any]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept = Kept(
            "api.keys_collection", lambda: dict(_usable(read())), kept_s=LOOK_EVERY_S, clock=clock
        )

    def keys(self) -> Mapping[str, ApiKeyConfig]:
        """Raises Unavailable: they could never be read."""
        return self._kept.get()


def _usable(documents: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, ApiKeyConfig]]:
    for document in documents:
        name = document.get("_id")
        try:
            key = ApiKeyConfig.model_validate(
                {"hash": document.get("hash"), "scopes": document.get("scopes")}
            )
        except ValidationError as error:
            wrong = ", ".join(sorted({".".join(map(str, each["loc"][:1])) for each in error.errors()}))
            log.warning("api_key_not_usable", wrong=wrong)
            continue
        if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name):
            yield name, key
        else:  # as in the configuration: it must not look like the name of somebody else, e.g. of a user of api.oidc
            log.warning("api_key_not_usable", wrong="_id")
