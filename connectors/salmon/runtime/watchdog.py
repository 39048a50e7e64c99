"""
Ends a process whose loop hangs. If a library call never returns, nothing else helps.

It counts its own ticks instead of asking a clock: a suspended process does not tick, so it is not ended when it wakes up.
A loop that waits for a server reports a turn at each attempt (health.failing), so it is not ended either.

The watchdog is a thread of Python's, so it stands still itself if a library holds Python's lock and never returns. librdkafka can
do that in a rebalance callback while a consumer closes (librdkafka's issue 4041). For that there is LastResort.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

import structlog

from salmon.ops.health import TURN_MAX_S, Health

log = structlog.get_logger(__name__)

TICK_S: Final = 1.0
EXIT_HUNG: Final = 1  # like any crash: the process is started again
# Longer than the longest suspension that a process is to survive (10 min): this clock goes on meanwhile. Whoever asks
# /health/live replaces the process much sooner.
LOCKED_MAX_S: Final = 900.0


class LastResort:
    """
    A thread of C that ends this process with exit code 1, with its threads' stacks on standard error. It needs no lock of
    Python's, so nothing that a library holds can keep the process.
    """

    def __init__(self, *, locked_max_s: float = LOCKED_MAX_S) -> None:
        self._locked_max_s = locked_max_s
        self._ending = False
        self._lock = threading.Lock()

    def renew(self) -> None:
        """End the process unless this is called again in time."""
        with self._lock:
            if not self._ending:
                faulthandler.dump_traceback_later(self._locked_max_s, exit=True)

    def end_within(self, seconds: float) -> None:
        """End the process that long from now, unless it has ended by itself."""
        with self._lock:
            self._ending = True
            faulthandler.dump_traceback_later(seconds, exit=True)


class Watchdog:
    """
    Args:
        renew: Is called at each tick, e.g. LastResort.renew.
        end: Ends the process at once, whatever hangs; tests replace os._exit.
    """

    def __init__(
        self,
        health: Health,
        *,
        turn_max_s: float = TURN_MAX_S,
        tick_s: float = TICK_S,
        renew: Callable[[], object] = lambda: None,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._health, self._renew, self._end = health, renew, end
        self._tick_s, self._ticks_max = tick_s, round(turn_max_s / tick_s)
        self._seen: float | None = None
        self._ticks = 0  # since the loop was last seen to turn

    def start(self) -> None:
        """Watch from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def tick(self) -> None:
        """Count one tick, in which this process was running. End the process if the loop has not turned for too long."""
        wheel = self._health.wheel
        if wheel is None or wheel != self._seen:
            self._seen, self._ticks = wheel, 0
            return
        self._ticks += 1
        if self._ticks > self._ticks_max:
            log.critical(
                "loop_hangs",
                turned_s_ago=round(self._ticks * self._tick_s),
                mend="this process ends, so that a new one takes its place; report what its threads were doing",
                threads=dump(),
            )
            sys.stdout.flush()
            sys.stderr.flush()
            self._end(EXIT_HUNG)

    def _run(self) -> None:
        while True:
            self._renew()
            time.sleep(self._tick_s)
            self.tick()


def dump() -> dict[str, list[str]]:
    """Return what each thread does now: thread -> its frames, the innermost last. Code positions only, no values."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        names.get(number) or str(number): [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_stack(stack)
        ]
        for number, stack in sys._current_frames().items()
    }
