"""
Starts connectors as forks of a process that has imported them.

A run of all tests starts hundreds, and each would import the same modules for most of a second of CPU. A fork runs the same program, with
arguments, environment, log and session of its own; only the command line that the kernel shows is another's. What a user types is run
as it is typed, in tests/e2e.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

import pytest

from salmon.app.process import PARENT_VARIABLE

_TESTS: Final = Path(__file__).parents[2]
# Looked at as modules are imported: who has one gets a process that imports them itself.
_SEEN_AT_IMPORT: Final = frozenset({"SALMON_CODEC", "PYTHONPATH"})


class Fork:
    """A process, with what tests use of subprocess.Popen."""

    def __init__(self, process: ForkServerProcess) -> None:
        assert process.pid is not None
        self._process, self.pid = process, process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative if a signal ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if (code := self.returncode) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Running = subprocess.Popen[bytes] | Fork


def started(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, program: Sequence[str] | None = None
) -> Running:
    """
    Start `salmon ARGUMENTS` in a session of its own. It ends with this process: a test run that is killed leaves nothing behind.

    Args:
        log: What it says is added to this file.
        program: Arguments of Python that run it in another way than `-m salmon`; then it is no fork.
    """
    if program is None and _SEEN_AT_IMPORT.isdisjoint(environment):
        return _forked(arguments, environment, log)
    command = [sys.executable, *(program or ("-m", "salmon")), *arguments]
    with log.open("ab") as said:
        return subprocess.Popen(
            command,
            stdout=said,
            stderr=said,
            env={**environment, PARENT_VARIABLE: str(os.getpid())},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )


def _forked(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Fork:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.programs.forks_preloaded"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(_TESTS))  # the fork server knows no other path before Python 3.12
        forkserver.ensure_running()
    process = context.Process(target=_run, args=([*arguments], dict(environment), str(log)), daemon=True)
    process.start()
    return Fork(process)


def _run(arguments: list[str], environment: dict[str, str], log: str) -> None:
    os.setsid()
    said, nothing = (
        os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644),
        os.open(os.devnull, os.O_RDONLY),
    )
    for ours, theirs in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(ours, theirs)
    os.environ.clear()
    os.environ.update(environment)
    os.environ[PARENT_VARIABLE] = str(os.getppid())
    sys.orig_argv = [sys.executable, "-m", "salmon", *arguments]  # which it executes to restart
    sys.argv = ["salmon", *arguments]
    from salmon.__main__ import program

    try:
        program()
    finally:
        atexit._run_exitfuncs()
