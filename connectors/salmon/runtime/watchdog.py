"""
Ends a process whose loop hangs. If a library call never returns, nothing else helps.

It counts its own ticks instead of asking a clock: a suspended process does not tick, so it is left alone when it wakes up.
A loop that waits for a server turns with each try (health.failing), and is left alone too.
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
EXIT_HUNG: Final = 1  # as of any crash: whoever started the process starts it again


class Watchdog:
    """
    Args:
        end: Ends the process at once, whatever hangs; os._exit but for tests.
    """

    def __init__(
        self,
        health: Health,
        *,
        turn_max_s: float = TURN_MAX_S,
        tick_s: float = TICK_S,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._health, self._end = health, end
        self._tick_s, self._ticks_max = tick_s, round(turn_max_s / tick_s)
        self._seen: float | None = None
        self._ticks = 0  # since the wheel was seen to turn

    def start(self) -> None:
        """Watch from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def tick(self) -> None:
        """A while has passed in which this process ran."""
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
            time.sleep(self._tick_s)
            self.tick()


def end_within(seconds: float) -> None:
    """
    End this process that long from now with exit code 1 and its threads' stacks on standard error, unless it has ended.

    A thread of C does it: it needs no lock of Python's, so nothing that a library holds can keep the process.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)


def dump() -> dict[str, list[str]]:
    """What each thread is doing now: thread -> its frames, the innermost last. Code and lines, no values."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        names.get(number) or str(number): [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_stack(stack)
        ]
        for number, stack in sys._current_frames().items()
    }
