"""The life of a process: order of stopping, the deadline, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from itertools import count
from threading import Event

import pytest
from structlog.testing import capture_logs

from salmon.runtime.lifecycle import Lifecycle


class Part:
    """A part that notes what happens to it."""

    def __init__(
        self, name: str, story: list[str], *, deaf: bool = False, error: Exception | None = None
    ) -> None:
        self.name, self.story, self.deaf, self.error = name, story, deaf, error
        self.told, self.was_cut = Event(), Event()

    def run(self) -> None:
        if self.error is not None:
            raise self.error
        (self.was_cut if self.deaf else self.told).wait(10)
        self.story.append(f"{self.name} ended")

    def stop(self) -> None:
        self.story.append(f"{self.name} told")
        self.told.set()

    def cut(self) -> None:
        self.story.append(f"{self.name} cut")
        self.was_cut.set()


def test_parts_end_one_after_the_other_newest_first() -> None:
    """The REST server, started first, is there until the work is over."""
    story: list[str] = []
    life = Lifecycle()
    life.start(Part("rest", story))
    life.start(Part("work", story))
    life.stop("test")
    assert life.wait() is None
    assert story == ["work told", "work ended", "rest told", "rest ended"]


def test_the_error_that_ended_a_part_ends_all_and_is_told() -> None:
    """One part fails: the others stop in good order."""
    story: list[str] = []
    life = Lifecycle()
    life.start(Part("rest", story))
    life.start(Part("work", story, error=ValueError("broken")))
    assert isinstance(life.wait(), ValueError)
    assert "rest ended" in story


def test_what_does_not_end_by_itself_is_cut_before_the_deadline() -> None:
    """A part that drains for too long is told to give up; the log says where it was."""
    story: list[str] = []

    def clock() -> float:
        """Time passes until the part is cut. Then it stands still, so that the part has as long as it needs."""
        return next(seconds) if "work cut" not in story else 0.0

    seconds = count(step=0.05)
    life = Lifecycle(drain_deadline_s=0.2, clock=clock)
    life.start(Part("work", story, deaf=True))
    life.stop("test")
    with capture_logs() as logged:
        assert life.wait() is None
    assert story == ["work told", "work cut", "work ended"]
    [cut] = [line for line in logged if line["event"] == "drain_cut_short"]
    assert any("test_lifecycle.py" in frame for frame in cut["threads"]["work"])


def test_what_does_not_even_end_then_is_left_behind_and_named() -> None:
    """Nobody waits longer than the deadline."""

    class Stuck(Part):
        def cut(self) -> None:
            pass

    life = Lifecycle(drain_deadline_s=0.1)
    life.start(Stuck("work", [], deaf=True))
    life.stop("test")
    error = life.wait()
    assert isinstance(error, TimeoutError)
    assert "work" in str(error)


def test_a_part_that_hangs_when_it_is_told_does_not_keep_the_others_from_being_told() -> None:
    """Its stop() and its cut() never return: it is left behind, named, and the REST server still ends in good order."""
    story: list[str] = []
    over = Event()

    class Hangs(Part):
        def stop(self) -> None:
            over.wait(60)

        def cut(self) -> None:
            over.wait(60)

    life = Lifecycle(drain_deadline_s=0.2)
    life.start(Part("rest", story))
    life.start(Hangs("work", story))
    life.stop("test")
    error = life.wait()
    over.set()
    assert isinstance(error, TimeoutError)
    assert "work" in str(error)
    assert "rest told" in story


def test_a_child_whose_parent_is_gone_stops() -> None:
    """No process outlives the one that started it."""
    life = Lifecycle(parent=os.getpid())  # not our parent's id, so our parent is "gone"
    life.start(Part("work", []))
    assert life.wait() is None


SCRIPT = textwrap.dedent(
    """
    import sys, threading
    from salmon.runtime.lifecycle import Lifecycle

    class Part:
        name = "work"
        told = threading.Event()
        def run(self):
            print("up", flush=True)
            self.told.wait(60)
            if sys.argv[1] == "slow":
                threading.Event().wait(60)
        def stop(self):
            print("told", flush=True)
            self.told.set()
        def cut(self): ...

    def reload():
        print("reload", flush=True)
        raise ValueError("a fault of ours")

    terminal = [True]
    def has_terminal():
        return terminal.pop() if sys.argv[1] == "closed" and terminal else False

    life = Lifecycle(reload=reload, has_terminal=has_terminal)
    life.install()
    life.start(Part())
    sys.exit(0 if life.wait() is None else 1)
    """
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_good_order_and_exits_0(number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C alike."""
    process = _script("quick")
    process.send_signal(number)
    assert process.wait(10) == 0


def test_a_second_signal_exits_now() -> None:
    """Whoever signals twice does not want to wait for the drain."""
    process = _script("slow")
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    while process.stdout.readline() != "told\n":
        pass
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 128 + signal.SIGTERM


def test_a_hangup_has_the_configuration_read_again_and_ends_nothing() -> None:
    """Not even if that fails for a reason that nobody foresaw; a signal stops the process as before."""
    process = _script("quick")
    assert process.stdout is not None
    for _ in range(2):
        process.send_signal(signal.SIGHUP)
        while process.stdout.readline() != "reload\n":
            assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_process_ends_with_the_terminal_in_which_it_was_started() -> None:
    """SIGHUP has two meanings. Whoever closes the window expects it to stop, in good order."""
    process = _script("closed")
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    assert "told" in lines
    assert "reload" not in lines


_THREAD = """
import threading
from salmon.ops import logs
from salmon.runtime.lifecycle import Lifecycle

def work():
    raise KeyError("Ada Lovelace")

logs.configure(log_format="json")
Lifecycle().install()
thread = threading.Thread(target=work, name="subscription")
thread.start()
thread.join()
"""


def test_a_thread_that_ends_with_an_error_is_one_line_of_the_log() -> None:
    """Which thread it was and where; not what the error quotes, as Python would write it."""
    command = [sys.executable, "-c", _THREAD]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    (line,) = ended.stderr.splitlines()
    told = json.loads(line)
    assert (told["event"], told["thread"]) == ("thread_ended_unexpectedly", "subscription")
    assert "KeyError" in told["exception"]
    assert "Ada" not in line


def _script(mode: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, mode], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


_KEPT = textwrap.dedent(
    """
    import ctypes, os, signal
    from salmon.runtime import lifecycle
    from salmon.runtime.watchdog import LastResort

    class Holds:
        name = "work"
        def run(self):
            os.kill(os.getpid(), signal.SIGTERM)
        def stop(self):
            ctypes.PyDLL(None).sleep(60)  # a library that waits, and keeps Python's lock meanwhile
        def cut(self):
            pass

    lifecycle._LAST_RESORT_S = 0.5
    life = lifecycle.Lifecycle(drain_deadline_s=0.5, end_within=LastResort().end_within)
    life.install()
    life.start(Holds())
    life.wait()
    """
)


def test_a_library_that_keeps_pythons_lock_cannot_keep_the_process_from_its_end() -> None:
    """After the deadline the process is over with exit code 1, and has said what its threads were doing (case S8)."""
    ended = subprocess.run(
        [sys.executable, "-c", _KEPT], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert "in stop" in ended.stderr
