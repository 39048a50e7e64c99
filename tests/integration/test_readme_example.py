"""The README's example for a configuration of one's own runs as it stands."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.proof.evidence import ROOT
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("readme")]

WAIT_S = 120
SALMON = [sys.executable, "-m", "salmon"]


def example(name: str) -> str:
    """The Python block of the README after the comment that names it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- example: {re.escape(name)}.*?```python\n(.*?)```", text, re.DOTALL)
    assert found is not None, name
    return found[1]


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, check=True, timeout=WAIT_S, stdout=subprocess.PIPE, text=True)
    return done.stdout


def test_the_example_copies_and_carries_an_edit_each_way(tmp_path: Path) -> None:
    """It ends when both edits are on the other side, and says so."""
    addresses = run(tmp_path, *SALMON, "dev", "up", "--dir", "dev", "--records", "5", "--json")
    try:
        (tmp_path / "dev.json").write_text(addresses)
        run(tmp_path, sys.executable, "-c", example("configure.py"))
        assert json.loads((tmp_path / "mine.yaml").read_text())["topics"]["replication_factor"] == 1
        with (
            (tmp_path / "run.log").open("wb") as log,
            subprocess.Popen(
                [*SALMON, "run", "all", "-c", "mine.yaml", "--port", "0"],
                cwd=tmp_path,
                stdout=log,
                stderr=log,
            ) as sync,
        ):
            try:
                until(lambda: b"all_are_ready" in (tmp_path / "run.log").read_bytes(), within_s=WAIT_S)
                shown = run(tmp_path, sys.executable, "-c", example("edit.py"))
            finally:
                sync.send_signal(signal.SIGTERM)
        assert re.fullmatch(r"Both edits of 001\w{15} are on both sides\.\n", shown)
    finally:
        run(tmp_path, *SALMON, "dev", "down", "--dir", "dev")
