"""
A warden beside a run: whatever becomes of the tool, nothing that it has started outlives it.

Everything that a run starts, at whichever remove, inherits a mark in its environment. The warden holds the other end of a
pipe. When the tool ends, however it ends, the pipe closes, and the warden kills whatever still bears the mark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MARK_VARIABLE: Final = "SALMON_CHAOS_RUN"
_AGAIN_S: Final = 0.1
_KILLED_WITHIN_S: Final = 30.0


@contextmanager
def watched_over() -> Iterator[None]:
    """What this process starts within the block does not outlive this process. It needs /proc."""
    mark = uuid.uuid4().hex
    # The warden does not bear the mark itself.
    warden = subprocess.Popen(
        [sys.executable, "-m", "support.chaos.warden", mark], stdin=subprocess.PIPE, start_new_session=True
    )
    os.environ[MARK_VARIABLE] = mark
    try:
        yield
    finally:
        del os.environ[MARK_VARIABLE]
        assert warden.stdin is not None
        warden.stdin.close()
        warden.wait()


def marked(mark: str) -> list[int]:
    """The processes that bear *mark*; zombies bear none."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for root in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
            if root.name.isdigit() and wanted in (root / "environ").read_bytes().split(b"\0"):
                found.append(int(root.name))
    return found


def _end_all(mark: str) -> None:
    """SIGKILL, until none is left: one that was just being started may come after the first look."""
    deadline = time.monotonic() + _KILLED_WITHIN_S
    while (pids := marked(mark)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_AGAIN_S)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends when the tool does, not before
    sys.stdin.read()
    _end_all(sys.argv[1])
