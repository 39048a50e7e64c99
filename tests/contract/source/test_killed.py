"""A source process that is killed in the middle of its work, on real brokers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.runtime import Sync
from support.waiting import until

CONNECTOR = "mongodb-source"
TESTS = Path(__file__).parents[2]


def test_killed_again_and_again_it_tells_every_change_once(sync: Sync) -> None:
    """SIGKILL in the middle, four times: each number is in Kafka once, and each key's in order."""
    script = [sys.executable, "-m", "support.worker_process", "source"]
    script += [sync.kafka["bootstrap.servers"], sync.name, "0", "none"]
    goals = (200, 500, 900, 1300)
    for goal in goals:
        process = subprocess.Popen(script, env={**os.environ, "PYTHONPATH": str(TESTS)})
        try:
            until(lambda goal=goal: _told(sync) >= goal, within_s=30)  # type: ignore[misc]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    told = [(key, int(str(change.fields["Name"]))) for key, change in sync.changes()]
    numbers = [number for _, number in told]
    assert len(numbers) == len(set(numbers)), "nothing doubled"
    assert sorted(numbers) == list(range(len(numbers))), "nothing lost"
    for key in {key for key, _ in told}:
        of_key = [number for each, number in told if each == key]
        assert of_key == sorted(of_key), "in order"


def _told(sync: Sync) -> int:
    return int(sync.entries(CONNECTOR).get("stream", {}).get("at", 0))
