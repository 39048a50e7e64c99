"""Nothing that a run has started outlives the tool, however the tool ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chaos.warden import MARK_VARIABLE, marked
from support.proof.evidence import ROOT
from support.waiting import until

# Starts a child in a session of its own, which starts a grandchild, tells the mark, and waits.
_TOOL = """
import os, subprocess, sys, time
from support.chaos.warden import MARK_VARIABLE, watched_over
sleep = "import time; time.sleep(600)"
child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleep!r}]); {sleep}"
with watched_over():
    subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    print(os.environ[MARK_VARIABLE], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def tool() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _TOOL],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tool:
        yield tool


def begun(tool: subprocess.Popen[str]) -> str:
    """The mark of its children, when both run."""
    assert tool.stdout is not None
    mark = tool.stdout.readline().strip()
    until(lambda: len(marked(mark)) == 2, "child and grandchild run", within_s=30)
    return mark


def test_a_tool_that_is_killed_leaves_nothing_running(tool: subprocess.Popen[str]) -> None:
    """SIGKILL of the tool alone ends its children and theirs, the suspended ones too."""
    mark = begun(tool)
    os.kill(marked(mark)[0], signal.SIGSTOP)
    tool.kill()
    tool.wait()  # not for the end of its output: its children hold the other end
    until(lambda: not marked(mark), "nothing is left", within_s=30)


def test_a_tool_that_ends_in_good_order_leaves_nothing_running(tool: subprocess.Popen[str]) -> None:
    """When the block is over, it is over."""
    mark = begun(tool)
    assert tool.stdin is not None
    tool.stdin.close()
    assert tool.wait(60) == 0
    assert marked(mark) == []


@pytest.mark.processes
def test_a_run_that_is_killed_while_it_starts_leaves_no_server(tmp_path: Path) -> None:
    """The tool itself: brokers, databases and the simulator end with it."""
    folder = tmp_path / "run"
    with (tmp_path / "said").open("w") as said:
        chaos = subprocess.Popen(
            [sys.executable, "tests/chaos/chaos.py", f"--dir={folder}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "tests"},
            stdout=said,
            stderr=said,
        )
    try:
        until(lambda: len(servers_in(folder)) >= 3, "servers run", within_s=120)
    finally:
        chaos.kill()
        chaos.wait()
    until(lambda: not servers_in(folder), "no server is left", within_s=30)


def servers_in(folder: Path) -> list[int]:
    """Processes, but the tool itself, whose command names something in *folder*."""
    found = []
    for root in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if root.name.isdigit() and f"{folder}/".encode() in (root / "cmdline").read_bytes():
                found.append(int(root.name))
    return found


def test_others_are_left_alone() -> None:
    """A process that bears another run's mark is not found."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], env={**os.environ, MARK_VARIABLE: "ours"}, stdin=subprocess.PIPE
    ) as other:
        until(lambda: marked("ours") == [other.pid], "it has begun", within_s=30)
        assert marked("our") == []
        other.communicate(b"\n")
