"""The watchdog: it ends a process whose loop hangs, and no other."""

from __future__ import annotations

import subprocess
import sys
import threading

from structlog.testing import capture_logs

from salmon.errors import Unavailable
from salmon.ops.health import Health
from salmon.runtime.watchdog import EXIT_HUNG, Watchdog, dump


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def watched(clock: Clock) -> tuple[Health, Watchdog, list[int]]:
    ended: list[int] = []
    health = Health(clock=clock)
    return health, Watchdog(health, turn_max_s=60, tick_s=1, end=ended.append), ended


def test_a_loop_that_does_not_turn_ends_the_process_with_what_its_threads_do() -> None:
    """A library that never returns: nothing else would ever end it (case S3)."""
    clock = Clock()
    health, watchdog, ended = watched(clock)
    health.running()
    with capture_logs() as said:
        for _ in range(61):
            watchdog.tick()
            assert ended == [], "not before it has hung for so long"
        watchdog.tick()
    assert ended == [EXIT_HUNG]
    (entry,) = [each for each in said if each["event"] == "loop_hangs"]
    assert any("test_watchdog" in frame for frame in entry["threads"]["MainThread"])


def test_a_process_that_was_suspended_is_left_alone() -> None:
    """The clock has moved on by ten minutes, the watchdog has not ticked: nothing hangs (case S1)."""
    clock = Clock()
    health, watchdog, ended = watched(clock)
    health.running()
    for _ in range(50):
        watchdog.tick()
    clock.now_s += 600
    watchdog.tick()
    assert ended == []
    health.turned()
    for _ in range(50):
        watchdog.tick()
    assert ended == []


def test_a_loop_that_waits_for_a_server_is_left_alone() -> None:
    """Each try that fails turns the wheel, however long the server is away."""
    clock = Clock()
    health, watchdog, ended = watched(clock)
    health.running()
    for _ in range(10):
        for _ in range(30):
            clock.now_s += 1
            watchdog.tick()
        health.failing("committing", Unavailable("nobody answers"))
    assert ended == []


def test_what_starts_or_has_ended_has_no_wheel() -> None:
    """A start waits for others as long as it takes; an end has a deadline of its own."""
    clock = Clock()
    health, watchdog, ended = watched(clock)
    for _ in range(100):
        watchdog.tick()
    health.running()
    health.restarting("Kafka was away")
    for _ in range(100):
        watchdog.tick()
    health.running()
    health.ended()
    for _ in range(100):
        watchdog.tick()
    assert ended == []


def test_the_dump_names_every_thread() -> None:
    """And says where each one is."""
    inside, leave = threading.Event(), threading.Event()

    def wait_here() -> None:
        inside.set()
        leave.wait()

    thread = threading.Thread(target=wait_here, name="waiting")
    thread.start()
    inside.wait()
    try:
        assert any("wait_here" in frame for frame in dump()["waiting"])
    finally:
        leave.set()
        thread.join()


# A process whose loop waits for a lock that nobody gives back, as in a library that hangs.
HANGING = """
import threading
from salmon.ops import logs
from salmon.ops.health import Health
from salmon.runtime.watchdog import Watchdog
logs.configure(log_format="json", level="info", secrets=[], connector="merge")
health = Health()
health.running()
Watchdog(health, turn_max_s=0.2, tick_s=0.05).start()
def send_offsets_to_transaction():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
send_offsets_to_transaction()
"""


def test_a_process_that_hangs_in_a_library_ends_itself_and_says_where() -> None:
    """With the exit code of a crash, so that whoever started it starts it again (case S3)."""
    ended = subprocess.run(
        [sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == EXIT_HUNG
    said = ended.stdout + ended.stderr
    assert "loop_hangs" in said
    assert "send_offsets_to_transaction" in said


# A library that waits for ever and keeps Python's lock meanwhile: no thread of Python's runs any more.
LOCKED = """
import ctypes, threading, time
from salmon.ops.health import Health
from salmon.runtime.watchdog import LastResort, Watchdog
ticked = threading.Event()
last_resort = LastResort(locked_max_s=1.0)
def renew():
    last_resort.renew()
    ticked.set()
Watchdog(Health(), tick_s=0.05, renew=renew).start()
for _ in range(40):  # for longer than a second: as long as it ticks, nothing ends it
    ticked.clear()
    ticked.wait()
print("ticking", flush=True)
def rebalance_protocol():
    ctypes.PyDLL(None).sleep(60)
rebalance_protocol()
"""


def test_a_process_whose_library_keeps_pythons_lock_is_ended_by_a_thread_of_c() -> None:
    """With the exit code of a crash and the place where it hangs, and only after it has hung for so long (case S3)."""
    ended = subprocess.run(
        [sys.executable, "-c", LOCKED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (EXIT_HUNG, "ticking\n")
    assert "in rebalance_protocol" in ended.stderr


# It is to end in two tenths of a second; the watchdog goes on ticking, and must not give it more time.
ENDING = """
import threading
from salmon.ops.health import Health
from salmon.runtime.watchdog import LastResort, Watchdog
last_resort = LastResort()
Watchdog(Health(), tick_s=0.01, renew=last_resort.renew).start()
last_resort.end_within(0.2)
threading.Event().wait()
"""


def test_a_process_that_is_ending_gets_no_more_time_from_its_watchdog() -> None:
    """The deadline of a stop holds while the watchdog still ticks (case S8)."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == EXIT_HUNG
