"""
Objects that the org refuses as a whole: a field of them is gone or hidden, or the object itself.

Such an object waits and is tried again each minute, until somebody has corrected it; the others go on. So does an object
that alone cannot be read, again and again, though the org answers otherwise; it is tried again sooner.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Final, Generic, TypeVar

import structlog

from salmon.errors import RequestRejected, RetriableError
from salmon.plugin.contract import WaitingObject
from salmon.salesforce.catalog import ObjectUnusable

log = structlog.get_logger(__name__)
T = TypeVar("T")

AGAIN_S: Final = 60.0
# What fails more briefly, or fewer times, is an outage like any other: all objects wait.
_FAILURES_MIN: Final = 3
_FAILING_MIN_S: Final = 10.0
_FAILING_AGAIN_S: Final = 10.0
_DESCRIBES_MIN: Final = 3  # before an object counts as one that the org cannot describe

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
        self.error = error


@dataclass(slots=True)
class _Trouble:
    sentence: str
    since: float
    until: float  # when it may be asked for again; math.inf for an object that is blocked


class Troubles:
    """
    The objects that wait. Threads may share it.

    An object that is *blocked* is not asked for at all, because the org does not describe it as Salmon needs it; Rechecks
    finds out when it does. One that was *found* to be refused may be asked for again after *again_s*.

    Args:
        again_s: How long an object waits until it is tried again.
        clock: Seconds that only ever grow.
    """

    def __init__(self, *, again_s: float = AGAIN_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.again_s = again_s
        self._clock = clock
        self._lock = Lock()
        self._found: dict[str, _Trouble] = {}
        self._failures: dict[str, tuple[int, float]] = {}  # reads of an object in a row; since when

    def failed(self, name: str, error: RetriableError) -> bool:
        """
        Count a read of the object that failed though the org answers. Returns whether this has gone on for so long that it is
        about this object: then it waits, and the others can go on.
        """
        now = self._clock()
        with self._lock:
            count, since = self._failures.get(name, (0, now))
            self._failures[name] = count + 1, since
        if count + 1 < _FAILURES_MIN or now - since < _FAILING_MIN_S:
            return False
        why = (
            f"objects.{name}: its records cannot be read: {str(error).rstrip('.')}. They are tried again every {_FAILING_AGAIN_S:.0f} s, "
            f"and the other objects go on. If it lasts, query these records in the org to see what fails."
        )
        self._note(name, why, now + min(_FAILING_AGAIN_S, self.again_s), since)
        return True

    def found(self, name: str, error: RequestRejected) -> None:
        """The org has refused the object."""
        self._note(name, sentence(name, error), self._clock() + self.again_s)

    def block(self, name: str, why: str) -> None:
        """The org does not have the object as Salmon needs it. *why*: a sentence, with the mend."""
        self._note(name, why, math.inf)

    def over(self, name: str) -> None:
        """The org accepts what has to do with the object."""
        with self._lock:
            self._failures.pop(name, None)
            if name in self._found and not self._is_blocked(name):
                del self._found[name]
            else:
                return
        log.info("object_accepted_again", object=name)

    def unblock(self, name: str) -> None:
        """The org has the object again as Salmon needs it."""
        with self._lock:
            was = self._found.pop(name, None)
        if was is not None:
            log.info("object_accepted_again", object=name)

    def blocks(self, name: str) -> bool:
        """Whether the object is blocked."""
        with self._lock:
            return self._is_blocked(name)

    def sentence_of(self, name: str) -> str:
        """Why the object waits; empty if it does not."""
        with self._lock:
            return self._found[name].sentence if name in self._found else ""

    def waiting(self) -> frozenset[str]:
        """The objects that are not to be asked for now."""
        now = self._clock()
        with self._lock:
            return frozenset(name for name, trouble in self._found.items() if now < trouble.until)

    def report(self) -> list[WaitingObject]:
        """Every object that waits, for people."""
        now = self._clock()
        with self._lock:
            return [
                WaitingObject(name, now - trouble.since, trouble.sentence)
                for name, trouble in sorted(self._found.items())
            ]

    def _is_blocked(self, name: str) -> bool:
        trouble = self._found.get(name)
        return trouble is not None and trouble.until == math.inf

    def _note(self, name: str, why: str, until: float, since: float | None = None) -> None:
        began = self._clock() if since is None else since
        with self._lock:
            known = self._found.get(name)
            is_new = known is None or known.sentence != why
            until = until if known is None else max(until, known.until)  # what is blocked stays so
            self._found[name] = _Trouble(why, began if known is None else known.since, until)
        if is_new:
            log.error("object_refused", object=name, reason=why, others="go on")


def described(
    names: Iterable[str], describe: Callable[[str], T], failures: Counter[str], may_wait: Container[str]
) -> tuple[dict[str, T], dict[str, ObjectUnusable]]:
    """
    Describe each object. Return what the org has, and what is wrong with each of the others.

    Args:
        failures: How often the org could not describe an object, in earlier calls and this one.
        may_wait: The objects that have worked before.

    Raises:
        RetriableError: the org cannot be asked. One object alone that it cannot describe, time and again, is not usable.
    """
    found: dict[str, T] = {}
    wrong: dict[str, ObjectUnusable] = {}
    unanswered: list[RetriableError] = []
    for name in names:
        try:
            found[name] = describe(name)
        except ObjectUnusable as error:
            wrong[name] = error
        except RetriableError as error:
            failures[name] += 1
            if failures[name] < _DESCRIBES_MIN or name not in may_wait:
                raise
            unanswered.append(error)
            wrong[name] = ObjectUnusable(
                name,
                f"objects.{name}: the org does not describe {name}: {error} It is asked again each minute.",
            )
    if unanswered and not found:
        raise unanswered[0]
    return found, wrong


class Rechecks(Generic[T]):
    """
    Describes blocked objects again, each minute, in a thread of its own, until the org has them as Salmon needs them; and
    looks whether the others are still as they must be, if that would not show by itself.

    Args:
        check: Describes an object. Raises ObjectUnusable if the org still does not have it so.
        mended: Is called from the thread, each time an object is as it must be again, with its name and what *check* returned.
        watch: Looks at an object that is not blocked. Raises ObjectUnusable if it is not as it must be any more.
        broken: Is called from the thread, each time *watch* has found an object to be so, when it is blocked.
    """

    def __init__(
        self,
        troubles: Troubles,
        check: Callable[[str], T],
        mended: Callable[[str, T], None],
        *,
        watch: Callable[[str], object] | None = None,
        broken: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._troubles, self._check, self._mended = troubles, check, mended
        self._watch, self._broken = watch, broken
        self._names: list[str] = []
        self._watched: list[str] = []
        self._closing = Event()

    def begin(self, names: Iterable[str], watched: Iterable[str] = ()) -> None:
        """Check these objects from now on, and watch the others."""
        self._names, self._watched = list(names), list(watched) if self._watch else []
        if self._names or self._watched:
            Thread(target=self._run, name="objects", daemon=True).start()

    def close(self) -> None:
        """End the thread; return at once. Idempotent."""
        self._closing.set()

    def _run(self) -> None:
        while (self._names or self._watched) and not self._closing.wait(self._troubles.again_s):
            for name in list(self._watched):
                self._look_at(name)
            for name in list(self._names):
                try:
                    answer = self._check(name)
                except ObjectUnusable as error:
                    self._troubles.block(name, str(error))
                except Exception as error:  # noqa: BLE001 - the org cannot be asked now: it is asked again
                    log.info("object_not_checked", object=name, error=type(error).__name__, reason=str(error))
                else:
                    if not self._closing.is_set():
                        self._names.remove(name)
                        if self._watch is not None:
                            self._watched.append(name)
                        self._mended(name, answer)

    def _look_at(self, name: str) -> None:
        assert self._watch is not None
        try:
            self._watch(name)
        except ObjectUnusable as error:
            self._troubles.block(name, str(error))
            self._watched.remove(name)
            self._names.append(name)
            if not self._closing.is_set():
                self._broken(name)
        except Exception as error:  # noqa: BLE001 - the org cannot be asked now: it is asked again
            log.info("object_not_checked", object=name, error=type(error).__name__, reason=str(error))


def sentence(name: str, error: RequestRejected) -> str:
    """What is wrong with the object, in the org's own words, and the mend."""
    words = f": {error.words}" if error.words else ""
    mend = _MENDS.get(error.code, _ELSE)
    return f"objects.{name}: the org refuses {name} with {error.code}{words}. {mend}."


def job_is_slow(name: str) -> str:
    """What we say of an object whose bulk query takes long."""
    return (
        f"objects.{name}: the org has not finished the bulk query of its records. Its rows are read when it has. See Setup, Bulk "
        f"Data Load Jobs, in the org; if the job is aborted there, another is made. Events are synced meanwhile."
    )


def reading_fails(name: str, error: RetriableError) -> str:
    """What we say of an object whose reading as a whole, or polling, fails."""
    return (
        f"objects.{name}: reading its records fails: {str(error).rstrip('.')}. It is tried again, and goes on where it stopped; "
        f"until then records may be missing in MongoDB. If it lasts, query the object in the org to see what fails."
    )
