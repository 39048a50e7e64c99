"""
A temporary folder for one run. If the run is killed, the next run removes the folder.

A running process holds a lock in its folder. The system releases the lock when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from salmon.locks import locked, locked_now

log = structlog.get_logger(__name__)

_LOCK: Final = "owner.lock"
# A folder without a lock belongs to a run that is just starting, or that was killed at that moment.
_UNLOCKED_MAX_S: Final = 3600.0


@contextlib.contextmanager
def scratch(command: str) -> Iterator[Path]:
    """Make a folder for this run of *command*, open to its user alone, after removing the folders of killed runs."""
    sweep(command)
    with tempfile.TemporaryDirectory(prefix=_prefix(command), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with locked(folder / _LOCK):
            yield folder


def sweep(command: str) -> None:
    """Remove the folders of killed runs of *command*, of this user."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix(command)}*"):
        with contextlib.suppress(OSError):
            if _is_left_behind(folder):
                shutil.rmtree(folder, ignore_errors=True)
                log.info("folder_of_a_dead_run_removed", folder=str(folder))


def _prefix(command: str) -> str:
    return f"salmon-{command}-"


def _is_left_behind(folder: Path) -> bool:
    """Whether it is a folder of this user whose run has ended. Raises OSError if that cannot be found out."""
    status = folder.lstat()
    if status.st_uid != os.getuid() or folder.is_symlink() or not folder.is_dir():
        return False
    if not os.path.lexists(folder / _LOCK):
        return time.time() - status.st_mtime > _UNLOCKED_MAX_S
    if (lock := locked_now(folder / _LOCK)) is None:
        return False
    lock.release()
    return True
