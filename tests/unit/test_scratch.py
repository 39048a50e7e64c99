"""The temporary folder of a run: what killed runs have left is swept, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from salmon.scratch import scratch, sweep
from support.waiting import until


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made in this test, by us and by our children."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_what_a_killed_run_has_left_is_removed_by_the_next(room: Path) -> None:
    """And what a run that lives uses is not, also where that one is suspended (case X4)."""
    script = (
        "from salmon.scratch import scratch\nwith scratch('verify') as f:\n print(f, flush=True)\n input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        assert folder.parent == room
        os.kill(child.pid, signal.SIGSTOP)
        sweep("verify")
        assert folder.is_dir(), "its owner lives"
    finally:
        child.kill()
        child.wait()
    with scratch("verify") as ours:
        until(lambda: not folder.exists(), "the dead one's folder is gone")
        assert ours.is_dir()
    assert list(room.iterdir()) == []


def test_only_folders_of_dead_runs_are_swept(room: Path) -> None:
    """Neither a link, nor a file, nor one that is just being made, nor anything of another name."""
    target = room / "precious"
    target.mkdir()
    (room / "salmon-verify-link").symlink_to(target)
    (room / "salmon-verify-file").touch()
    (room / "salmon-verify-young").mkdir()
    (room / "salmon-dlq-edit-old").mkdir()
    os.utime(room / "salmon-dlq-edit-old", (0, 0))
    old = room / "salmon-verify-old"
    old.mkdir()
    os.utime(old, (0, 0))
    sweep("verify")
    left = {path.name for path in room.iterdir()}
    others = {"precious", "salmon-verify-link", "salmon-verify-file", "salmon-verify-young"}
    assert left == {*others, "salmon-dlq-edit-old"}
    sweep("dlq-edit")
    assert {path.name for path in room.iterdir()} == others
