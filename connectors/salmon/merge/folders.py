"""
Where the copies of `state` lie on disk: one folder to a process, and in it one to a partition.

    <state_dir>/<sync>/merge-<ordinal>/<topic>-<partition>/

A folder is locked by its process. Where another one holds the lock (two machines' worth of processes on one disk, or
an older instance that has not noticed yet that it is fenced) a spare beside it is taken: merge-0.1, merge-0.2, ...
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from salmon.errors import SetupError
from salmon.locks import Lock, locked_now
from salmon.merge.cache import Memory, RocksCache, StateCache

log = structlog.get_logger(__name__)

_LOCK: Final = "lock"
_SPARES_MAX: Final = 100
_UNUSED_S_MAX: Final = (
    7 * 24 * 3600.0
)  # as long as a table's tombstones: an older copy is read anew all the same


class StateFolder:
    """
    This process's folder. Locked until close(), or until the process has ended, however it ended.

    Args:
        state_dir: The setting; None for a folder in the system's place for temporary files.

    Raises:
        SetupError: it cannot be written.
    """

    def __init__(self, state_dir: str | None, sync: str, ordinal: int) -> None:
        self._memory = Memory()
        base = Path(state_dir).expanduser() if state_dir else _temporary()
        try:
            self.path, self._lock = _locked(base / sync, f"merge-{ordinal}")
            _swept(base / sync, f"merge-{ordinal}", self.path)
        except OSError as error:
            raise SetupError(
                f"merge.state_dir: {base} cannot be used ({error.strerror}). Name a folder that merge may write to."
            ) from error

    def open_cache(self, topic: str, partition: int) -> StateCache:
        """The copy of one partition, as it was left, or a new one. Raises SetupError."""
        return RocksCache(self.path / f"{topic}-{partition}", self._memory)

    def close(self) -> None:
        self._lock.release()


def _temporary() -> Path:
    # A name of our own in a folder that is everybody's: the records in it are for nobody else to read.
    path = Path(tempfile.gettempdir()) / f"salmon-{os.getuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise SetupError(f"{path} belongs to somebody else. Set merge.state_dir to a folder of Salmon's own.")
    return path


def _locked(parent: Path, name: str) -> tuple[Path, Lock]:
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(_SPARES_MAX):
        path = parent / (f"{name}.{number}" if number else name)
        if (lock := _lock(path)) is not None:
            if number:
                log.warning("state_dir_shared", folder=str(path), taken=str(parent / name))
            return path, lock
    raise SetupError(f"merge.state_dir: {_SPARES_MAX} processes use {parent / name}. Give each an --ordinal.")


def _lock(path: Path) -> Lock | None:
    """Lock *path*; None where another process has it, or has just swept it away."""
    path.mkdir(exist_ok=True, mode=0o700)
    try:
        return locked_now(path / _LOCK)
    except FileNotFoundError:
        return None


def _swept(parent: Path, name: str, ours: Path) -> None:
    """Remove spares that nobody uses any more, and copies of partitions that have long been somebody else's."""
    for spare in parent.glob(f"{name}.*"):
        if spare != ours and (lock := _lock(spare)) is not None:
            shutil.rmtree(spare, ignore_errors=True)
            lock.release()
    for copy in ours.iterdir():
        newest = max((each.stat().st_mtime for each in copy.glob("*")), default=0.0)
        if copy.is_dir() and time.time() - newest > _UNUSED_S_MAX:
            log.info("cache_removed", folder=str(copy))
            shutil.rmtree(copy, ignore_errors=True)
