"""How this room calls servers: again where that may help, and within the org's allowance of API calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from salmon.backoff import Backoff
from salmon.errors import RateLimited, RetriableError

_T = TypeVar("_T")

_AGAIN: Final = Backoff(first_s=0.5, max_s=30.0)
_TRIES_MAX: Final = 6


class Usage(Protocol):
    """What is asked of Rest."""

    @property
    def usage(self) -> tuple[int, int] | None: ...
    @property
    def calls(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """
    How much of the org's allowance of API calls may be used up, by all that use it. The org says with each answer how much is.

    Args:
        share: Of the allowance of 24 hours.
    """

    org: Usage
    share: float

    def check(self) -> None:
        """Raise RateLimited if more is used up."""
        used, allowed = self.org.usage or (0, 0)
        if used > allowed * self.share:
            raise RateLimited(
                f"{used:,} of the {allowed:,} API calls that the org allows in 24 hours are used up. What is beyond {self.share:.0%} is "
                f"left to others. Run this again later: nothing is done twice. Or give a larger --api-share."
            )


def retried(call: Callable[[], _T]) -> _T:
    """The call's answer. What may pass by itself is waited for, a few times; an allowance that is used up is not."""
    tries = 0
    while True:
        try:
            return call()
        except RateLimited:
            raise
        except RetriableError:
            tries += 1
            if tries == _TRIES_MAX:
                raise
            pause(tries)


def pause(tries: int) -> None:
    """Wait before the next try; the longer, the more there were."""
    time.sleep(_AGAIN.bound_s(tries))
