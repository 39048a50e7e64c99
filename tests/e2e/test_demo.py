"""`salmon demo`, as the README's first command types it, with fewer records."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from salmon.devstack.processes import ProcessId
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]

WITHIN_S: Final = 240
DEMO: Final = (sys.executable, "-m", "salmon", "demo", "--scale", "0.02", "--seconds", "6")


def test_the_demo_proves_what_it_promises_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Exit code 0, every act passed, and the numbers for scripts on standard output."""
    ended = subprocess.run(
        [*DEMO, "--json"],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert ended.stdout, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.returncode, told["proven"], told["unmet"]) == (0, True, []), ended.stderr
    assert [act["name"] for act in told["acts"] if act["passed"]] == [
        "different_fields",
        "same_field",
        "trigger",
        "born_in_mongodb",
        "family",
        "deletes",
        "event_to_document",
        "document_to_event",
        "report_moves",
    ]
    moved = next(act["detail"] for act in told["acts"] if act["name"] == "report_moves")
    assert re.match(r"an edit in Salesforce changed the report Pipeline by stage in [\d,]+ ms", moved)
    assert told["verify"]["equal"] is True
    assert told["conflicts"] == 1
    for direction in ("to_mongodb", "to_salesforce"):
        assert told["edits"][direction]["count"] > 0
        assert told["edits"][direction]["p99_ms"] > 0
    assert list(tmp_path.iterdir()) == [], "its folder is removed"


def test_ctrl_c_ends_everything_that_the_demo_started(tmp_path: Path) -> None:
    """Servers and connectors, in the middle of the play."""
    folder = tmp_path / "demo"
    demo = subprocess.Popen(
        [*DEMO, "--dir", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        # The ports file is there once the connectors are started, the note of the stack before that.
        until((folder / "ports.json").exists, "the connectors are started", within_s=WITHIN_S)
        connectors = json.loads((folder / "ports.json").read_text())
        note = json.loads((folder / "stack.json").read_text())
        started = [ProcessId(**each) for each in note["processes"]]
        started += [ProcessId.of(each["pid"]) for each in connectors.values()]
        demo.send_signal(signal.SIGINT)
        _, said = demo.communicate(timeout=WITHIN_S)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 130, said
    assert "Traceback" not in said
    assert [process for process in started if process.is_alive] == []


def test_what_is_kept_can_be_looked_at_in_a_browser_and_ended_as_it_says(tmp_path: Path) -> None:
    """--keep serves the API and the console and prints where; each command that it prints works, the last one ends everything."""
    folder = tmp_path / "demo"
    kept = [*DEMO, "--keep", "--json", "--dir", str(folder)]
    ended = subprocess.run(
        kept, capture_output=True, text=True, timeout=WITHIN_S, check=False, stdin=subprocess.DEVNULL
    )
    assert ended.stdout, ended.stderr
    look: dict[str, str] = json.loads(ended.stdout)["look"]
    ports = json.loads((folder / "ports.json").read_text())
    note = json.loads((folder / "stack.json").read_text())
    started = [ProcessId(**each) for each in note["processes"]]
    started += [ProcessId.of(each["pid"]) for each in ports.values()]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def typed(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            shell=True,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
            env={**os.environ, "PATH": path},
        )

    try:
        assert ended.returncode == 0, ended.stderr
        console = requests.get(look["console"], timeout=30)
        assert (console.status_code, "Overview" in console.text) == (200, True)
        assert requests.get(look["API"], timeout=30).status_code == 200
        accounts = json.loads(typed(look["an example"]).stdout)
        assert len(accounts) == 3
        assert all("LastName" in contact for each in accounts for contact in each["Contacts"])
        status = typed(f"{look['status']} --json")
        assert json.loads(status.stdout)["processes"]["api"]["status"] == "healthy", status.stderr
        assert status.returncode == 0
    finally:
        gone = typed(look["to end it"])
        left = [process for process in started if process.is_alive]
        for process in left:
            process.end(grace_s=5)
    assert gone.returncode == 0, gone.stderr
    assert left == []
    assert not (folder / "stack.json").exists(), "and the data of the servers is gone"


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path: Path) -> None:
    """The demo begins anew, and asks for a folder of its own."""
    (tmp_path / "mine.txt").write_text("precious")
    ended = subprocess.run(
        [*DEMO, "--dir", str(tmp_path)], capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert ended.returncode == 2
    assert f"--dir {tmp_path}: is not empty" in ended.stderr
    assert (tmp_path / "mine.txt").read_text() == "precious"
