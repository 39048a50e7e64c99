"""Writes the commit into what is built, for `salmon --version`. Run by hatchling (pyproject.toml)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILE = "COMMIT"


class CommitHook(BuildHookInterface[Any]):
    """A wheel that is made of an sdist has the sdist's commit."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or not (commit := self._commit()):
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name, FILE)
        file.write_text(f"{commit}\n", encoding="ascii")
        build_data["force_include"][str(file)] = FILE if self.target_name == "sdist" else f"salmon/{FILE}"

    def _commit(self) -> str:
        if (kept := Path(self.root) / FILE).exists():  # in an sdist
            return kept.read_text(encoding="ascii").strip()
        if given := os.environ.get("SALMON_COMMIT"):
            return given
        if not (Path(self.root) / ".git").exists():
            return ""
        asked = subprocess.run(
            ["git", "-C", self.root, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip()
