"""
A file that one process locks against the others: the one way of the house.

The system takes the lock back when its process ends, however it ends. The file stays.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

Lock = FileLock


def locked(path: Path) -> Lock:
    """
    Lock *path*, after whoever has it now has let it go: as a context manager, or until release().

    Raises:
        OSError: the file cannot be made or opened.
    """
    return _acquired(path, wait_s=-1)


def locked_now(path: Path) -> Lock | None:
    """
    Lock *path* until release(); None where another process has it.

    Raises:
        OSError: the file cannot be made or opened.
    """
    try:
        return _acquired(path, wait_s=0)
    except Timeout:
        return None


def _acquired(path: Path, *, wait_s: float) -> Lock:
    # Of the process, not of the thread: who closes may be another one.
    lock = FileLock(path, thread_local=False)
    lock.acquire(timeout=wait_s)
    return lock
