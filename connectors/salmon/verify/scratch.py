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

_PREFIX: Final = "salmon-verify-"
_LOCK: Final = "owner.lock"
# One without a lock is of a run that is just beginning, or of one that died there.
_UNLOCKED_MAX_S: Final = 3600.0


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for this run, after those of dead ones were swept."""
    sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with locked(folder / _LOCK):
            yield folder


def sweep() -> None:
    """Remove the folders of runs of ours that are dead."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_left_behind(folder):
                shutil.rmtree(folder, ignore_errors=True)
                log.info("folder_of_a_dead_run_removed", folder=str(folder))


def _is_left_behind(folder: Path) -> bool:
    """Whether it is a folder of ours whose owner is dead. Raises OSError where that cannot be found out."""
    told = folder.lstat()
    if told.st_uid != os.getuid() or folder.is_symlink() or not folder.is_dir():
        return False
    if not os.path.lexists(folder / _LOCK):
        return time.time() - told.st_mtime > _UNLOCKED_MAX_S
    if (lock := locked_now(folder / _LOCK)) is None:
        return False
    lock.release()
    return True
