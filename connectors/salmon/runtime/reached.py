"""
Remembers whether this machine has reached a sync's Kafka and registry before. If so, the processes wait for them.

A server that has never answered is probably a mistake in the configuration; it ends the process with one sentence. For the
sides, the positions in Kafka are the proof. For Kafka itself the proof is a file in the folder of merge's working copies.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class Reached:
    """
    Args:
        state_dir: The setting merge.state_dir; None for a folder in the system's folder for temporary files.
        addresses: Of the servers. After a change of the addresses, the servers count as never reached.
    """

    def __init__(self, state_dir: str | None, sync: str, addresses: Sequence[str]) -> None:
        base = (
            Path(state_dir).expanduser()
            if state_dir
            else Path(tempfile.gettempdir()) / f"salmon-{os.getuid()}"
        )
        self._folder = base / sync
        self._file = self._folder / f"reached-{hashlib.sha256(repr(addresses).encode()).hexdigest()[:16]}"

    def before(self) -> bool:
        """Whether the servers have answered at any time before."""
        with suppress(OSError):
            return self._file.is_file() and self._file.stat().st_uid == os.getuid()
        return False

    def note(self) -> None:
        """Note that the servers have answered. If the file cannot be written, the next start does not know it."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file.touch(mode=0o600)
