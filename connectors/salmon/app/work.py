"""
The part of a process that does its work: it builds the connector's worker and runs it, unless a person has paused or stopped
the connector.

To pause is to stop as on SIGTERM, and to wait: what is in flight is finished and committed, and nothing is left open. To resume
is to restart. So neither needs anything of a worker that a normal stop and start do not need.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from threading import Event
from typing import Final, Protocol

import structlog

from salmon.errors import StartAgain, Stopping
from salmon.ops.connect.standing import Standing
from salmon.ops.connect.status_topic import Target, Wanted
from salmon.ops.health import Health, State
from salmon.runtime.lifecycle import Part
from salmon.runtime.retry import Retrying

log = structlog.get_logger(__name__)

_LOOK_S: Final = 0.2
_DONE: Final = {Target.PAUSED: "Paused", Target.STOPPED: "Stopped"}


class Asked(StartAgain):
    """A person has asked for a restart, or has resumed the connector."""


class Builds(Protocol):
    """The process, as its work needs it."""

    @property
    def health(self) -> Health: ...

    def part(self, retrying: Retrying) -> Part:
        """Build the worker. It may take long; see Retrying."""

    def consequence_of(self, error: BaseException) -> BaseException:
        """What an error does to the process: StartAgain, or the error with which the process ends."""

    def pause_s(self) -> float:
        """Count one more restart, and return how many seconds to wait before it."""


class Work:
    """Builds the worker in its own thread and runs it there, so that a signal also stops a process that still connects."""

    def __init__(self, process: Builds, standing: Standing) -> None:
        self.name = "work"
        self._process, self._standing = process, standing
        self._stop = Event()
        self._halt = Event()  # ends the building of the worker: to stop the process, or to obey a request
        self._inner: Part | None = None
        self._interrupted = False
        standing.listen(self._interrupt)

    def run(self) -> None:
        health = self._process.health
        try:
            self._build_and_run(health)
            self._obey(health)
        except Stopping:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process decides
            self._ended(self._process.consequence_of(error), error)
        health.ended()

    def _build_and_run(self, health: Health) -> None:
        try:
            self._inner = self._process.part(Retrying(self._halt, health))
            if not self._halt.is_set() and not self._standing.must_end:
                self._inner.run()
        except Stopping:
            pass  # while it was built; what was asked for is obeyed next

    def stop(self) -> None:
        self._stop.set()
        self._halt.set()
        if self._inner is not None:
            self._inner.stop()

    def cut(self) -> None:
        if self._inner is not None:
            self._inner.cut()

    def _interrupt(self) -> None:
        """The worker must end, because a person has asked for it. Called in the thread that follows the status topic."""
        self._interrupted = True
        self._halt.set()
        if self._inner is not None:
            self._inner.stop()

    def _obey(self, health: Health) -> None:
        """
        Do what made the worker end. Returns if nobody has asked for it.

        Raises:
            Asked: the process has to restart.
            Stopping: the process was asked to stop.
        """
        hold(self._standing, health, self._stop)
        if self._interrupted and not self._stop.is_set():
            raise Asked("a restart was asked for")  # also after a pause that has ended meanwhile

    def _ended(self, meaning: BaseException, error: BaseException) -> None:
        """The worker ended with *error*: raise *meaning*, after a pause if it is a restart. While stopping, nothing restarts."""
        if not isinstance(meaning, StartAgain):
            self._process.health.ended(meaning)
            raise meaning from (None if meaning is error else error)
        if self._stop.is_set():
            log.warning("stopped_in_disorder", reason=str(meaning))
            return
        pause_s = self._process.pause_s()
        log.warning("process_restarts", reason=str(meaning), in_s=round(pause_s, 2))
        self._process.health.restarting(str(meaning))
        if not self._stop.wait(pause_s):
            raise meaning from error


def hold(standing: Standing, health: Health, stop: Event) -> None:
    """
    Wait while the connector is paused or stopped; return at once if it is not, and no restart was asked for.

    Raises:
        Asked: it was resumed, or a restart was asked for. What was built before the pause is of no use any more.
        Stopping: the process was asked to stop meanwhile.
    """
    held: Wanted | None = None
    while (wanted := standing.wanted).target is not Target.STARTED and not standing.restart_asked:
        if stop.is_set():
            raise Stopping
        if wanted != held:
            held = wanted
            health.put_down(State(wanted.target), time.time() - wanted.at_ms / 1000, _sentence(wanted))
            log.info("connector_put_down", state=wanted.target)
        stop.wait(_LOOK_S)
    if stop.is_set():
        raise Stopping
    if standing.restart_asked:
        raise Asked("a restart was asked for")
    if held is not None:
        raise Asked("it was resumed")


def _sentence(wanted: Wanted) -> str:
    since = datetime.fromtimestamp(wanted.at_ms / 1000, UTC).isoformat(timespec="seconds")
    return (
        f"{_DONE[wanted.target]} by a person since {since}: it does nothing until it is resumed (PUT "
        f"/connectors/NAME/resume). What happens meanwhile is made up for then."
    )
