"""Where a result comes from: the product's commit, what it was run with, and on which machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
_DEPENDENCIES: Final = ("fastavro", "pymongo", "confluent-kafka", "structlog", "rocksdict")


def versions(commit: str | None = None) -> dict[str, str]:
    """*commit*: of the product; git is asked if it is not given."""
    return {
        "salmon": version("salmon-connect"),
        "commit": commit or _commit(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: version(name) for name in _DEPENDENCIES},
    }


def machine() -> dict[str, Any]:
    """The machine, without its name."""
    return {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()}


def _commit() -> str:
    """The commit that is checked out; with a word, where files differ from it."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return "unknown"
    # What is measured and tested, not what came out of it before.
    changed = _git("status", "--porcelain", "--", "connectors", "tests", "schemas-avro")
    return f"{commit} and changes" if changed else commit


def _git(*arguments: str) -> str | None:
    try:
        asked = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return asked.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
