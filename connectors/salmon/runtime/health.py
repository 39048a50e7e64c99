"""
How a process is: the one answer behind /health, the status of a connector and the liveness probe.

Live means that the loop turns; ready means that it does its work now or stands by for its leader. The words
healthy, starting and unhealthy are Kafka Connect's (KIP-1017).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Final

TURN_MAX_S: Final = 60.0  # a loop that has not turned for so long hangs: no step of it may take half as long
FAILING_MAX_S: Final = 30.0  # what fails for longer is no hiccup: somebody should look


class Status(StrEnum):
    """KIP-1017's words, and the HTTP status that goes with each."""

    HEALTHY = "healthy"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"

    @property
    def http_status(self) -> int:
        return {Status.HEALTHY: 200, Status.STARTING: 503, Status.UNHEALTHY: 500}[self]


class State(StrEnum):
    """Kafka Connect's states of connectors and tasks, as far as they occur here."""

    UNASSIGNED = "UNASSIGNED"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class Report:
    """What /health says. *live*: no need to kill the process. *leads*: False while it stands by."""

    status: Status
    message: str
    live: bool
    state: State
    trace: str | None = None  # why it FAILED

    @property
    def ready(self) -> bool:
        return self.status is Status.HEALTHY


class Health:
    """The health of one process. Its loop tells, its REST server asks; safe between threads."""

    def __init__(
        self,
        *,
        turn_max_s: float = TURN_MAX_S,
        failing_max_s: float = FAILING_MAX_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._turn_max_s = turn_max_s
        self._failing_max_s = failing_max_s
        self._clock = clock
        self._lock = Lock()
        self._state = State.UNASSIGNED
        self._phase = "starting"
        self._standby = False
        self._turned_at: float | None = None  # None until the loop has begun
        self._failing_since: float | None = None
        self._failure = ""
        self._note = ""
        self.has_run = False  # start-up was done once: what it needs was reached

    @property
    def wheel(self) -> float | None:
        """Something that changes as the loop turns; None where no loop has to turn."""
        return self._turned_at

    def starting(self, doing: str) -> None:
        """What is being done before the loop begins, e.g. "waiting for the schema of Account"."""
        with self._lock:
            self._phase = doing

    def standing_by(self) -> None:
        """Another instance leads; this one takes over when that one is gone."""
        with self._lock:
            self._standby = True
            self._turned_at = self._clock()

    def running(self) -> None:
        """Start-up is done; from now on the loop must turn."""
        with self._lock:
            self._state, self._standby, self.has_run = State.RUNNING, False, True
            self._turned_at = self._clock()

    def turned(self) -> None:
        """The loop (or the standby's) has come round once more."""
        self._turned_at = self._clock()

    def failing(self, doing: str, error: Exception) -> None:
        """Something fails and is tried again."""
        with self._lock:
            if self._failing_since is None:
                self._failing_since = self._clock()
            self._failure = f"{doing}: {error}"
            if self._turned_at is not None:
                self._turned_at = self._clock()  # A loop that waits for its next try is not hung.

    def note(self, sentence: str) -> None:
        """Something waits for a person, though the process is well; an empty sentence takes it back."""
        self._note = sentence

    def recovered(self) -> None:
        with self._lock:
            self._failing_since, self._failure = None, ""

    def begins_again(self, reason: str) -> None:
        """What was built is of no use any more; the process becomes a new one."""
        with self._lock:
            self._state, self._standby, self._turned_at = State.UNASSIGNED, False, None
            self._phase = f"beginning again, because {reason}"

    def ended(self, error: BaseException | None = None) -> None:
        """The loop is over: in good order, or by *error*."""
        with self._lock:
            self._state, self._turned_at = State.STOPPED if error is None else State.FAILED, None
            self._failure = "" if error is None else f"{type(error).__name__}: {error}"

    def report(self) -> Report:
        """How it is now."""
        with self._lock:
            return self._report()

    def _report(self) -> Report:
        now = self._clock()
        if self._state is State.FAILED:
            return Report(Status.UNHEALTHY, self._failure, False, self._state, trace=self._failure)
        if self._state is State.STOPPED:
            return Report(Status.UNHEALTHY, "Stopped.", True, self._state)
        if self._turned_at is not None and (silence_s := now - self._turned_at) > self._turn_max_s:
            message = f"The loop has not turned for {silence_s:.0f} s."
            return Report(Status.UNHEALTHY, message, False, self._state)
        if self._failing_since is not None and now - self._failing_since > self._failing_max_s:
            message = f"Failing for {now - self._failing_since:.0f} s: {self._failure}"
            return Report(Status.UNHEALTHY, message, True, self._state)
        if self._standby:
            message = "Standing by: another instance leads, this one takes over when it is gone."
            return Report(Status.HEALTHY, message, True, State.UNASSIGNED)
        if self._state is State.UNASSIGNED:
            return Report(Status.STARTING, f"Worker is still starting up: {self._phase}.", True, self._state)
        suffix = f" Trying again: {self._failure}" if self._failing_since is not None else ""
        suffix += f" {self._note}" if self._note else ""
        return Report(Status.HEALTHY, f"Worker has completed startup and runs.{suffix}", True, self._state)
