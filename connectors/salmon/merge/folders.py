"""
The folders of the working copies on disk: one per process, and in it one per partition.

    <state_dir>/<sync>/merge-<ordinal>/<topic>-<partition>/

Each process locks its folder. If another process has the lock (processes of two machines on one disk, or an older
instance that has not noticed yet that it is fenced), a spare folder is used: merge-0.1, merge-0.2, ...
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
# As long as a table keeps its tombstones. An older copy would be discarded anyway.
_UNUSED_S_MAX: Final = 7 * 24 * 3600.0


class StateFolder:
    """
    The folder of this process. It is locked until close(), or until the process has ended in any way.

    Args:
        state_dir: The setting merge.state_dir; None for a folder in the system's folder for temporary files.

    Raises:
        SetupError: the folder cannot be written.
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
        """Open the copy of one partition; a new one if there is none. Raises SetupError."""
        return RocksCache(self.path / f"{topic}-{partition}", self._memory)

    def close(self) -> None:
        self._lock.release()


def _temporary() -> Path:
    # Everybody can use the system's folder, so the one in it is closed to other users: it contains records.
    path = Path(tempfile.gettempdir()) / f"salmon-{os.getuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise SetupError(
            f"{path} belongs to another user. Set merge.state_dir to a folder that only Salmon uses."
        )
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
    """Lock *path*; None if another process has the lock, or has just removed the folder."""
    path.mkdir(exist_ok=True, mode=0o700)
    try:
        return locked_now(path / _LOCK)
    except FileNotFoundError:
        return None


def _swept(parent: Path, name: str, ours: Path) -> None:
    """Remove spare folders that no process uses, and copies of partitions that other instances have had for long."""
    for spare in parent.glob(f"{name}.*"):
        if spare != ours and (lock := _lock(spare)) is not None:
            shutil.rmtree(spare, ignore_errors=True)
            lock.release()
    for copy in ours.iterdir():
        newest = max((each.stat().st_mtime for each in copy.glob("*")), default=0.0)
        if copy.is_dir() and time.time() - newest > _UNUSED_S_MAX:
            log.info("cache_removed", folder=str(copy))
            shutil.rmtree(copy, ignore_errors=True)
