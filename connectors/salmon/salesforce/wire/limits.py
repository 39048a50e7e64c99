"""
What an org may use, and what is left of it, as its limits resource shows it.

Source: REST API Developer Guide, "Limits" (up to five minutes old).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from salmon.errors import RequestRejected


@dataclass(frozen=True, slots=True)
class Limit:
    """What an org may use of something, by its name in 24 hours or in an hour, and what is left of it."""

    most: int
    left: int

    @property
    def share_left(self) -> float:
        return self.left / self.most if self.most else 0.0


class Asks(Protocol):
    """What is asked of Rest."""

    def ask(self, method: str, below: str, *, resource: str) -> Any: ...


def read_limits(org: Asks) -> Mapping[str, Limit]:
    """
    The org's limits by their names in the resource, as far as the user may see them. Costs one API call.

    Raises:
        RequestRejected: the user may see none; or what answers is no org.
        RetriableError: the org cannot be asked now.
    """
    answer = org.ask("GET", "limits", resource="limits")
    if not isinstance(answer, Mapping):
        raise RequestRejected(
            "Salesforce's limits resource does not answer as documented. Check for a proxy.", code="NOT_SHOWN"
        )
    return {
        name: Limit(int(each["Max"]), int(each["Remaining"]))
        for name, each in answer.items()
        if isinstance(each, Mapping) and "Max" in each and "Remaining" in each
    }
