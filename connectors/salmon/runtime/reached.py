"""
Remembers whether this machine has reached a sync's Kafka and registry before. If so, the processes wait for them.

A server that has never answered is probably a mistake in the configuration; it ends the process with one sentence. For the
sides, the positions in Kafka are the proof. For Kafka itself the proof is a file beside the working copies.
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
        state_dir: The setting; None for a folder in the system's place for temporary files.
        addresses: Whose: a sync that is given other servers has not reached those.
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
        """Whether they have answered once."""
        with suppress(OSError):
            return self._file.is_file() and self._file.stat().st_uid == os.getuid()
        return False

    def note(self) -> None:
        """They have answered. Where no file can be made, the next start knows nothing of it."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file.touch(mode=0o600)
