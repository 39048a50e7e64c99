"""
Replicas of one connector: partitions are shared, a standby takes over, a zombie writes nothing.

On Apache Kafka only: the embedded broker never gives up a dead member of a group, and is for one instance of each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from salmon.sink.worker import SinkWorker
from support.runtime import OBJECT, SCHEMA, Sink, Sync, running
from support.waiting import until

TESTS = Path(__file__).parents[2]
TAKE_OVER_MAX_S = 60.0  # how long it is waited for; no promise, and never waited for in full when all is well
pytestmark = pytest.mark.parametrize(
    "broker",
    [pytest.param("jvm", marks=[pytest.mark.jvm, pytest.mark.xdist_group("jvm")])],
    indirect=True,
)


@contextmanager
def process(kind: str, sync: Sync, ordinal: int, file: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "support.worker_process", kind, sync.kafka["bootstrap.servers"]]
    running_process = subprocess.Popen(
        [*command, sync.name, str(ordinal), str(file)], env={**os.environ, "PYTHONPATH": str(TESTS)}
    )
    try:
        yield running_process
    finally:
        running_process.send_signal(signal.SIGCONT)
        running_process.kill()
        running_process.wait(10)


def _sink(sync: Sync, task: Sink, ordinal: int) -> SinkWorker:
    return SinkWorker(sync.instance("mongodb-sink", ordinal), task, {OBJECT: SCHEMA}, [OBJECT])


def _told(sync: Sync) -> int:
    return int(sync.entries("mongodb-source").get("stream", {}).get("at", 0))


def _notes(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def test_two_sinks_share_the_partitions_and_one_takes_over_from_the_other(sync: Sync) -> None:
    """Each key is written by one of them; when one has gone, the other writes the keys of both."""
    first, second = Sink(), Sink()
    one, two = _sink(sync, first, 0), _sink(sync, second, 1)
    keys = [f"k{number}" for number in range(20)]
    with running(one) as (run,):
        until(lambda: len(one.buffer.places) == 2)
        with running(two):
            until(lambda: len(one.buffer.places) == len(two.buffer.places) == 1, within_s=30)
            for seq, key in enumerate(keys, 1):
                sync.write(key, seq)
            until(lambda: len(first.written) + len(second.written) == len(keys))
            assert {each.key for each in first.written}.isdisjoint({each.key for each in second.written})
            until(second.caught_up_seen.is_set)
            second.caught_up_seen.clear()
            doubts = second.doubts
            run.stop()
            until(lambda: len(two.buffer.places) == 2, within_s=TAKE_OVER_MAX_S)
            until(lambda: second.doubts > doubts, "told that the first may have left in disorder")
            until(second.caught_up_seen.is_set, "told again when all that was owed is put")
            for seq, key in enumerate(keys, 100):
                sync.write(key, seq)
            until(lambda: {each.key for each in second.written if each.write.seq >= 100} == set(keys))


def test_a_standby_takes_over_when_the_leader_is_killed(sync: Sync, tmp_path: Path) -> None:
    """SIGKILL: the standby goes on where the leader was, without a gap and without a repetition."""
    with process("source", sync, 0, tmp_path / "none") as leader:
        until(lambda: _told(sync) > 50, within_s=30)
        with process("source", sync, 1, tmp_path / "none"):
            until(lambda: _told(sync) > 200, within_s=30)
            leader.kill()
            leader.wait(10)
            reached = _told(sync)
            until(lambda: _told(sync) > reached, within_s=TAKE_OVER_MAX_S)
    numbers = [int(str(change.fields["Name"])) for _, change in sync.changes()]
    assert sorted(numbers) == list(range(len(numbers)))


def test_a_suspended_sink_finds_out_that_its_partitions_are_gone_before_it_writes(
    sync: Sync, tmp_path: Path
) -> None:
    """SIGSTOP past the session's time-out, take-over, SIGCONT: what came meanwhile is the other's to write."""
    notes = tmp_path / "notes"
    with process("sink", sync, 0, notes) as zombie:
        sync.write("a", 1)
        until(lambda: "0 a 1" in _notes(notes), within_s=30)
        zombie.send_signal(signal.SIGSTOP)
        task = Sink()
        successor = _sink(sync, task, 1)
        with running(successor):
            until(lambda: len(successor.buffer.places) == 2, within_s=TAKE_OVER_MAX_S + 5)
            sync.write("a", 2)
            until(lambda: 2 in task.seqs("a"))
            zombie.send_signal(signal.SIGCONT)
            # The zombie comes back as a member and gets its share; what is written then, it may write.
            until(lambda: len(successor.buffer.places) == 1, within_s=30)
            assert "0 a 2" not in _notes(notes)
