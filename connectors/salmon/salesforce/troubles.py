"""
Objects that the org refuses as a whole: a field of them is gone or hidden, or the object itself.

Such an object waits and is tried again, until somebody has mended it; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final

import structlog

from salmon.errors import RequestRejected, RetriableError

log = structlog.get_logger(__name__)

AGAIN_S: Final = 60.0

_MENDS: Final[Mapping[str, str]] = {
    "INVALID_FIELD": "Give the object this field back (for a field of Salmon's own: run the set-up again), or let the "
    "integration user read it; if it was removed on purpose, restart salesforce-source",
    "INVALID_TYPE": "Give the org this object back, let the integration user read it, or take it out of `objects`",
    "INSUFFICIENT_ACCESS": "Let the integration user read the object and all synced fields",
}
_ELSE: Final = (
    "Look the code up in the REST API Developer Guide, and let the integration user read the object"
)


class ObjectRefused(RetriableError):
    """The org refuses what has to do with the object *name*; what has to do with others may work."""

    def __init__(self, name: str, error: RequestRejected) -> None:
        super().__init__(sentence(name, error))
        self.name = name


class Troubles:
    """
    The objects that wait. Threads may share it.

    Args:
        again_s: How long an object waits until it is tried again.
        clock: Seconds that only ever grow.
    """

    def __init__(self, *, again_s: float = AGAIN_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.again_s = again_s
        self._clock = clock
        self._lock = Lock()
        self._found: dict[str, tuple[str, float]] = {}  # object -> what is wrong, and when it is tried again

    def found(self, name: str, error: RequestRejected) -> None:
        """The org has refused the object."""
        told = sentence(name, error)
        with self._lock:
            is_new = self._found.get(name, ("", 0.0))[0] != told
            self._found[name] = told, self._clock() + self.again_s
        if is_new:
            log.error("object_refused", object=name, reason=told, others="go on")

    def over(self, name: str) -> None:
        """The org takes what has to do with the object."""
        with self._lock:
            was = self._found.pop(name, None)
        if was is not None:
            log.info("object_taken_again", object=name)

    def waiting(self) -> frozenset[str]:
        """The objects that are not to be asked for now."""
        now = self._clock()
        with self._lock:
            return frozenset(name for name, (_, until) in self._found.items() if now < until)

    def told(self) -> Mapping[str, str]:
        """Object -> one sentence with the mend, for people."""
        with self._lock:
            return {name: told for name, (told, _) in self._found.items()}


def sentence(name: str, error: RequestRejected) -> str:
    """What is wrong with the object, in the org's own words, and the mend."""
    words = f": {error.words}" if error.words else ""
    mend = _MENDS.get(error.code, _ELSE)
    return f"objects.{name}: the org refuses {name} with {error.code}{words}. {mend}."
