"""What a caller may do: scopes by object and verb, and a role in the console. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from salmon.config.sections.api import ANY, OPERATOR, VERBS, VIEWER

_WRITES: Final = frozenset({"create", "update", "delete"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request. *name*: for the audit, the rate limit and idempotency keys."""

    name: str
    allowed: frozenset[tuple[str, str]] = frozenset()  # object or *, verb
    roles: frozenset[str] = frozenset()

    def may(self, verb: str, name: str) -> bool:
        """Whether the caller may do this to records of the object *name*."""
        return (name, verb) in self.allowed or (ANY, verb) in self.allowed

    @property
    def views(self) -> bool:
        """Whether the caller may look at the console. An operator may."""
        return not self.roles.isdisjoint({VIEWER, OPERATOR})

    @property
    def operates(self) -> bool:
        """Whether the caller may act in the console."""
        return OPERATOR in self.roles


def caller(name: str, scopes: Iterable[str]) -> Caller:
    """The caller of this name, with what its scopes allow."""
    allowed: set[tuple[str, str]] = set()
    roles: set[str] = set()
    for scope in scopes:
        of, colon, verb = scope.partition(":")
        if not colon:
            roles.add(scope)
        elif verb == "write":
            allowed |= {(of, each) for each in _WRITES}
        elif verb == ANY:
            allowed |= {(of, each) for each in VERBS}
        else:
            allowed.add((of, verb))
    return Caller(name, frozenset(allowed), frozenset(roles))


# Where no credentials are configured: whoever reaches the loopback address may do everything.
LOCAL: Final = caller("local", ("*:*", OPERATOR))
