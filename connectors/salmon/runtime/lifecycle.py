"""
Starts and stops the parts of a process, and handles its signals; nothing else handles signals.

On SIGTERM or SIGINT the parts are asked to stop, the newest first, and joined within one deadline that is shorter than
a pod's grace period. A second signal exits at once. Each part decides itself how it finishes its work. On SIGHUP the
configuration is read again; but if the terminal was closed in which the process was started, it stops.
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

from salmon.runtime.watchdog import dump

log = structlog.get_logger(__name__)

# Not delivered between the start of a process and install(), nor lost: it waits, also through os.execv().
RELOADS: Final = frozenset({signal.SIGHUP})
DRAIN_DEADLINE_S: Final = 25.0  # Kubernetes' default grace period is 30 s.
_SIGNAL_LOOK_S: Final = 0.2
_LAST_RESORT_S: Final = 3.0  # after the deadline, for what is left to do in good order
_PARENT_LOOK_S: Final = 1.0
_HANGUP: Final = "SIGHUP"


def terminal_is_there() -> bool:
    """Whether this process has a terminal that controls it, and that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    """Log it. Python would write it to standard error as it is, with all that it may quote."""
    if not issubclass(ended.exc_type, SystemExit):
        name = ended.thread.name if ended.thread is not None else ""
        log.error("thread_ended_unexpectedly", thread=name, exc_info=ended.exc_value)


class Part(Protocol):
    """Something that runs in a thread of its own until it is asked to stop."""

    @property
    def name(self) -> str: ...

    def run(self) -> None:
        """Work until stop() is called; an exception ends the whole process."""

    def stop(self) -> None:
        """Ask run() to finish what it has begun, and return at once. Idempotent; from any thread."""

    def cut(self) -> None:
        """Abandon what is unfinished, because the deadline is near. Idempotent; from any thread."""


@dataclass(slots=True)
class Lifecycle:
    """
    Starts parts, waits for a signal or for the end of one of them, and stops them in reverse order.

    Args:
        drain_deadline_s: Seconds from the signal to the end of the last part.
        parent: Process id of the parent, if this process must end with it.
        end_within: Ends the process after so many seconds, whatever hangs; called when the stop begins.
        exit_now: Called on a second signal; tests replace os._exit.
        reload: Called on SIGHUP, in the main thread: it must not take long, and no error of it ends the process.
        has_terminal: See terminal_is_there().
    """

    drain_deadline_s: float = DRAIN_DEADLINE_S
    parent: int | None = None
    end_within: Callable[[float], object] = lambda _seconds: None
    exit_now: Callable[[int], object] = os._exit
    clock: Callable[[], float] = time.monotonic
    reload: Callable[[], object] = lambda: None
    has_terminal: Callable[[], bool] = terminal_is_there
    # Both signal handlers and threads put here. A SimpleQueue because its put() may interrupt its own get():
    # an Event set by a handler can deadlock with the wait it interrupts.
    _news: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _running: list[_Running] = field(default_factory=list)
    _signals: int = 0
    _had_terminal: bool = False

    def install(self) -> None:
        """Take over SIGTERM, SIGINT and SIGHUP, and what threads end with. From the main thread only."""
        threading.excepthook = _thread_ended
        self._had_terminal = self.has_terminal()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, lambda _number, _frame: self._news.put(_HANGUP))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, RELOADS)

    def start(self, part: Part) -> None:
        """Run *part* in a thread of its own from now on."""
        running = _Running(part, self._news)
        self._running.append(running)
        running.start()

    def stop(self, why: str) -> None:
        """Stop the process as a signal would. *why*: for the log."""
        self._news.put(why)

    @property
    def is_signalled(self) -> bool:
        """Whether a signal has asked this process to stop."""
        return self._signals > 0

    def wait(self) -> BaseException | None:
        """
        Wait for a signal or the end of a part, then stop everything.

        Returns:
            The error that ended a part; TimeoutError if a part was still busy at the deadline; None if all went well.
        """
        why = self._wait_for_news()
        self.end_within(self.drain_deadline_s + _LAST_RESORT_S)
        log.info("stop_began", why=why)
        deadline = self.clock() + self.drain_deadline_s
        # One after the other: the REST server was started first, so it shows the drain until the end.
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
        """
        Stop a part and wait for its end; cut it short a little before the deadline. Returns whether it has ended.

        It is asked in threads, because a part whose stop() or cut() never returns must not keep the others from being stopped.
        """
        stopping = _asked(running.part.stop, f"stop {running.part.name}")
        cut_at = deadline - self.drain_deadline_s / 5
        self._join(running, cut_at)
        self._join(stopping, cut_at)
        if running.is_alive():
            log.warning("drain_cut_short", part=running.part.name, threads=dump())
            cutting = _asked(running.part.cut, f"cut {running.part.name}")
            self._join(running, deadline)
            self._join(cutting, deadline)
        return not running.is_alive()

    def _join(self, thread: threading.Thread, until: float) -> None:
        """Wait in pieces, because Python handles a signal that arrives just before a wait only after that wait."""
        while thread.is_alive() and (left_s := until - self.clock()) > 0:
            thread.join(min(left_s, _SIGNAL_LOOK_S))

    def _wait_for_news(self) -> str:
        while True:
            try:
                why = self._news.get(timeout=_PARENT_LOOK_S)
            except Empty:
                if self.parent is not None and os.getppid() != self.parent:
                    return "the parent process is gone"
                continue
            if why != _HANGUP:
                return why
            if self._had_terminal and not self.has_terminal():
                return "its terminal was closed"
            self._reload()

    def _reload(self) -> None:
        try:
            self.reload()
        except Exception as error:
            log.exception("configuration_not_reloaded", exc_info=error)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self.exit_now(128 + number)
        self._news.put(signal.Signals(number).name)


def _asked(call: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=call, name=name, daemon=True)
    thread.start()
    return thread


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
