"""
Whether the user that Salmon signs in as still sees all records of an object.

What a query does not show was deleted, or is hidden from the user: an administrator may have taken View All from it. The
answer must be newer than the reading in doubt, so it is asked for then, seldom, and kept. When the user does not see all, the
org's log of deletions is asked as well: what that lists is deleted for sure, whatever the user sees.
Sources: Object Reference, "UserPermissionAccess", "ObjectPermissions"; Salesforce Help, "View All Records and Modify All Records",
"Restriction Rules" (which do not hold for users with View All).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from salmon.errors import RequestRejected, RetriableError
from salmon.salesforce.reading.polling import REACH_MS
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.rest import Deleted

log = structlog.get_logger(__name__)

AGAIN_S: Final = 60.0
# While absences go on coming and the user sees all: they wait for the next answer, so a minute would be long.
SEEING_AGAIN_S: Final = 5.0


class Org(Protocol):
    """What is asked of Rest."""

    clock: OrgClock

    def deleted(self, name: str, start_ms: int, end_ms: int) -> Deleted: ...


@dataclass(frozen=True, slots=True)
class _Answer:
    at_s: float
    sees: bool
    since_s: float  # since when the answer has been this one, as far as we know
    logged: frozenset[str] = frozenset()


class Sight:
    """
    Threads may share it.

    Args:
        sees_all: Asks the org whether the user sees all records of an object. Raises RequestRejected if it may not know.
        again_s: How long until an object that the user does not see whole is asked for again.
        monotonic_s: Seconds that only ever grow.
    """

    def __init__(
        self,
        org: Org,
        sees_all: Callable[[str], bool],
        *,
        again_s: float = AGAIN_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.again_s = again_s
        self._org, self._sees_all, self.now_s = org, sees_all, monotonic_s
        self._lock = threading.Lock()  # one thread asks
        self._answers: dict[str, _Answer] = {}
        self._ask_at_s: dict[str, float] = {}

    def held_since(self, name: str, read_at_s: float) -> bool | None:
        """
        Whether the user saw all records of the object in a reading that ended at *read_at_s*. None: that is not known yet, and it is
        asked for again in `wait_s`. The org is asked if that may be done now.
        """
        with self._lock:
            answer = self._answers.get(name)
            if answer is None or not answer.sees or answer.at_s < read_at_s:
                answer = self._asked(name, answer)
        if answer is None or (answer.sees and not answer.since_s <= read_at_s <= answer.at_s):
            return None
        return answer.sees

    def look(self, name: str) -> bool | None:
        """Ask the org whether the user sees all records of the object. None: it may not be asked now, or does not answer."""
        with self._lock:
            before = self._answers.get(name)
            answer = self._asked(name, before)
        return None if answer is None or answer is before else answer.sees

    def wait_s(self, name: str) -> float:
        """How long until the org may be asked again."""
        return max(0.0, self._ask_at_s.get(name, 0.0) - self.now_s())

    def proves(self, name: str, native_id: str | None) -> bool:
        """Whether the log of deletions had this record when the user was last found not to see all."""
        answer = self._answers.get(name)
        return answer is not None and native_id in answer.logged

    def lacking(self) -> Collection[str]:
        """The objects of which the user did not see all when that was last asked."""
        return [name for name, answer in list(self._answers.items()) if not answer.sees]

    def _asked(self, name: str, before: _Answer | None) -> _Answer | None:
        if self.wait_s(name) > 0:
            return before
        try:
            sees = self._sees_all(name)
        except RequestRejected as error:
            log.warning("rights_not_shown", object=name, code=error.code)
            sees = False
        except RetriableError as error:
            log.info("rights_not_asked", object=name, reason=str(error))
            self._ask_at_s[name] = self.now_s() + min(SEEING_AGAIN_S, self.again_s)
            return before
        logged = frozenset[str]() if sees else self._logged(name)
        now_s = self.now_s()
        self._ask_at_s[name] = now_s + (min(SEEING_AGAIN_S, self.again_s) if sees else self.again_s)
        if before is None or before.sees != sees:
            # A reading that ended before the right came back may not have seen all.
            since_s = -math.inf if before is None else now_s
            (log.info if sees else log.error)(
                "sees_all_records" if sees else "does_not_see_all_records", object=name
            )
        else:
            since_s = before.since_s
        self._answers[name] = _Answer(now_s, sees, since_s, logged)
        return self._answers[name]

    def _logged(self, name: str) -> frozenset[str]:
        now = self._org.clock.now
        try:
            return frozenset(self._org.deleted(name, now - REACH_MS, now).ids)
        except (RequestRejected, RetriableError) as error:
            log.info("deletions_not_in_the_log", object=name, error=type(error).__name__)
            return frozenset()


def mend(name: str) -> str:
    """What an administrator is to do."""
    return f"Give the integration user View All Records of {name} in a permission set, or View All Data"
