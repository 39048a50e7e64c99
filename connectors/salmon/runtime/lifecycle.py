"""
The life of a process: what starts, what stops in which order, and the one place that owns signals.

SIGTERM or SIGINT: the parts are asked to stop, newest first, and joined within one deadline that is shorter than
a pod's grace period. A second signal exits now. What a part does between "stop" and its end is its own business.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final, Protocol

import structlog

log = structlog.get_logger(__name__)

DRAIN_DEADLINE_S: Final = 25.0  # Kubernetes' default grace period is 30 s.
_SIGNAL_LOOK_S: Final = 0.2
_LAST_RESORT_S: Final = 3.0  # after the deadline, for what is left to do in good order
_PARENT_LOOK_S: Final = 1.0


class Part(Protocol):
    """Something that runs in a thread of its own until it is told to stop."""

    @property
    def name(self) -> str: ...

    def run(self) -> None:
        """Work until stop() is called; an exception ends the whole process."""

    def stop(self) -> None:
        """Ask run() to finish what it has begun, and return at once. Idempotent; from any thread."""

    def cut(self) -> None:
        """The deadline is near: give up what is unfinished. Idempotent; from any thread."""


@dataclass(slots=True)
class Lifecycle:
    """
    Starts parts, waits for a signal or for the end of one of them, and stops them in reverse order.

    Args:
        drain_deadline_s: From the signal to the end of the last part.
        parent: Our parent's process id, if we must not outlive it.
        end_within: Ends the process after so many seconds, whatever hangs on the way to its end.
        exit_now: What a second signal does; os._exit but for tests.
    """

    drain_deadline_s: float = DRAIN_DEADLINE_S
    parent: int | None = None
    end_within: Callable[[float], object] = lambda _seconds: None
    exit_now: Callable[[int], object] = os._exit
    clock: Callable[[], float] = time.monotonic
    # Both signal handlers and threads put here. A SimpleQueue because its put() may interrupt its own get():
    # an Event set by a handler can deadlock with the wait it interrupts.
    _news: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _running: list[_Running] = field(default_factory=list)
    _signals: int = 0

    def install(self) -> None:
        """Take over SIGTERM and SIGINT. From the main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def start(self, part: Part) -> None:
        """Run *part* in a thread of its own from now on."""
        running = _Running(part, self._news)
        self._running.append(running)
        running.start()

    def stop(self, why: str) -> None:
        """Begin to stop, as a signal would."""
        self._news.put(why)

    @property
    def is_signalled(self) -> bool:
        """Whether a signal has told us to stop."""
        return self._signals > 0

    def wait(self) -> BaseException | None:
        """
        Wait until told to stop, stop everything, and say what went wrong, if anything did.

        Returns:
            The first error that ended a part; TimeoutError if a part outlived the deadline; None for good order.
        """
        why = self._wait_for_news()
        self.end_within(self.drain_deadline_s + _LAST_RESORT_S)
        log.info("stop_began", why=why)
        deadline = self.clock() + self.drain_deadline_s
        # One after the other: the REST server, started first, tells of the drain until it is over.
        late = [running.part.name for running in reversed(self._running) if not self._ends(running, deadline)]
        for running in self._running:
            if running.error is not None:
                return running.error
        if late:
            return TimeoutError(
                f"{', '.join(late)}: still busy {self.drain_deadline_s:.0f} s after the signal. What was not "
                f"committed is repeated after the next start."
            )
        log.info("stopped")
        return None

    def _ends(self, running: _Running, deadline: float) -> bool:
        """Stop it and wait for its end; a little before the deadline cut short what it waits for."""
        running.part.stop()
        cut_at = deadline - self.drain_deadline_s / 5
        self._join(running, cut_at)
        if running.is_alive():
            log.warning("drain_cut_short", part=running.part.name)
            running.part.cut()
            self._join(running, deadline)
        return not running.is_alive()

    def _join(self, running: _Running, until: float) -> None:
        """In pieces: a signal that comes just before a wait is heard only after it."""
        while running.is_alive() and (left_s := until - self.clock()) > 0:
            running.join(min(left_s, _SIGNAL_LOOK_S))

    def _wait_for_news(self) -> str:
        while True:
            try:
                return self._news.get(timeout=_PARENT_LOOK_S)
            except Empty:
                if self.parent is not None and os.getppid() != self.parent:
                    return "the parent process is gone"

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self.exit_now(128 + number)
        self._news.put(signal.Signals(number).name)


class _Running(threading.Thread):
    """The thread of one part."""

    def __init__(self, part: Part, news: SimpleQueue[str]) -> None:
        super().__init__(name=part.name, daemon=True)
        self.part = part
        self.error: BaseException | None = None
        self._news = news

    def run(self) -> None:
        try:
            self.part.run()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it ends the process in order
            self.error = error
        self._news.put(f"{self.part.name} ended")
