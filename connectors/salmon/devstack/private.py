"""Files and folders that nobody else on the machine may read: they hold passwords and keys of the stack."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import IO, Final

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


def folder(path: Path, *, ours: Collection[str]) -> None:
    """
    Make the folder, or close one that is empty or ours: one that holds one of *ours*. What else somebody has there is left
    as open as it is.

    Raises:
        OSError: as the system says.
    """
    path.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    if any((path / name).exists() for name in ours) or not any(path.iterdir()):
        path.chmod(_FOLDER_MODE)


def opened(path: Path) -> IO[bytes]:
    """A new file to write bytes to, in the place of one that is there."""
    path.unlink(missing_ok=True)
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, _FILE_MODE))


def written(path: Path, text: str) -> None:
    """Write *text* in one step: a process that reads it meanwhile sees the former or the new one."""
    new = path.with_name(f"{path.name}.new")
    with opened(new) as file:
        file.write(text.encode())
    new.replace(path)
