"""Plugins as pip leaves them: a folder with a `.dist-info` that names entry points, on the path for one test."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, group: str, **entries: str) -> None:
    """Let *entries* (name -> module:object) of a group be found; their modules are looked for in *folder* too."""
    about = folder / f"{group.replace('.', '_')}_of_a_test-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {group}-of-a-test\nVersion: 1.0\n")
    lines = [f"{name} = {value}\n" for name, value in entries.items()]
    (about / "entry_points.txt").write_text(f"[{group}]\n" + "".join(lines))
    monkeypatch.syspath_prepend(str(folder))


def install_example(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> None:
    """Let the entry points of an example in deploy/examples be found, as its own pyproject.toml names them."""
    project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text())["project"]
    for group, entries in project["entry-points"].items():
        install(monkeypatch, folder, group, **entries)
    monkeypatch.syspath_prepend(str(EXAMPLES / name))
