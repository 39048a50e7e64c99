"""The command that starts this installation of Salmon, for everything that starts processes of it."""

from __future__ import annotations

import sys


def command(*arguments: str) -> list[str]:
    """`salmon ARGUMENTS` with the Python that runs now, wherever it is installed."""
    return [sys.executable, "-m", "salmon", *arguments]
