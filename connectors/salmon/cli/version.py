"""What `salmon --version` prints."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import salmon
from salmon import __version__

_PACKAGE: Final = Path(salmon.__file__).parent
_SHOWN: Final = 12


def version(package: Path = _PACKAGE) -> str:
    """The version, and the commit that it was built of, if that is known: in a built package, or in a clone."""
    known = commit(package)[:_SHOWN]
    return f"salmon {__version__} ({known})" if known else f"salmon {__version__}"


def commit(package: Path) -> str:
    """The full commit of a package that was built (deploy/build_hook.py), or of the clone that it is in; empty: not known."""
    built = package / "COMMIT"
    if built.is_file():
        return built.read_text(encoding="ascii").strip()
    clone = package.parents[1]
    if not (clone / ".git").exists():
        return ""
    try:
        asked = subprocess.run(
            ["git", "-C", str(clone), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()
