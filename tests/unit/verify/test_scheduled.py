"""Verify on a schedule: a look at the records never stops what keeps them in step."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

from salmon.config.models import SyncConfig
from salmon.ops.metrics import Metrics
from salmon.verify.comparing import ObjectVerdict
from salmon.verify.scheduled import Ended, ScheduledVerify, run_command, scheduled
from salmon.verify.verifying import VerifyResult
from support.sync_config import sync_config

HOUR_S = 3600.0


class Days:
    """A clock, and a command that takes a minute of it and says what it is told to."""

    def __init__(self, folder: Path | None = None) -> None:
        self.now_s = 1_000_000.0
        self.metrics = Metrics("merge")
        self.ended = Ended(0, "", "")
        self.commands: list[list[str]] = []
        self.part = ScheduledVerify(
            ["salmon"], HOUR_S, self.metrics, folder=folder, runner=self._run, now_s=lambda: self.now_s
        )

    def _run(self, command: Sequence[str], _stop: Event) -> Ended:
        self.commands.append(list(command))
        self.now_s += 60
        return self.ended

    def says(self, code: int, **verdicts: ObjectVerdict) -> None:
        self.ended = Ended(code, json.dumps(VerifyResult(verdicts, 1.0).as_dict()), "")

    @property
    def due_in_s(self) -> float:
        return self.part._due_s - self.now_s

    def shown(self, metric: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, {"connector": "merge", **labels})


def test_what_a_run_finds_shows_in_the_metrics_of_its_object() -> None:
    """Counts by verdict, when it ended and how long it took; and the next one an hour after it began."""
    days = Days()
    found = ObjectVerdict("Account", equal=7, different={"a": {"mongodb": ("Phone",)}}, not_looked_at=2)
    found.missing_in["salesforce"].append("b")
    days.says(1, Account=found)
    days.part.turn()
    shown = {
        verdict: days.shown("salmon_verify_records", object="Account", verdict=verdict)
        for verdict in ("equal", "different", "missing", "parked", "moving")
    }
    assert shown == {"equal": 7, "different": 3, "missing": 1, "parked": 0, "moving": 0}
    assert days.shown("salmon_verify_last_run_timestamp_seconds") == days.now_s
    assert days.shown("salmon_verify_last_run_duration_seconds") == 60
    assert days.due_in_s == HOUR_S - 60


def test_a_run_that_could_not_tell_is_counted_and_tried_again_soon() -> None:
    """The org is down, or the command dies: merge goes on, and what was found before stays shown."""
    days = Days()
    days.says(0, Account=ObjectVerdict("Account", equal=7))
    days.part.turn()
    before = days.shown("salmon_verify_last_run_timestamp_seconds")
    for ended in (Ended(2, "", "salmon: no broker answers"), Ended(-9, "", ""), Ended(0, "no JSON", "")):
        days.ended = ended
        days.part.turn()
    assert days.shown("salmon_verify_failures_total") == 3
    assert days.shown("salmon_verify_last_run_timestamp_seconds") == before
    assert days.due_in_s == 600


def test_some_records_that_were_edited_all_the_while_are_a_result() -> None:
    """Exit code 2 with a verdict: of all the others it could tell."""
    days = Days()
    days.says(2, Account=ObjectVerdict("Account", equal=6, moving=["a"]))
    days.part.turn()
    assert days.shown("salmon_verify_records", object="Account", verdict="moving") == 1
    assert days.shown("salmon_verify_failures_total") == 0


def test_a_restart_does_not_put_a_run_off(tmp_path: Path) -> None:
    """A pod that is restarted every half hour verifies every hour all the same, and resumes what was cut."""
    days = Days(tmp_path)
    days.says(0, Account=ObjectVerdict("Account"))
    days.part.turn()
    assert days.commands == [["salmon", "--resume", str(tmp_path / "verify")]]
    again = Days(tmp_path)
    again.now_s = days.now_s + 1800
    assert again.due_in_s == HOUR_S - 60 - 1800
    (tmp_path / "verified.json").write_text("spoilt")
    assert Days(tmp_path).due_in_s == HOUR_S


def test_to_stop_ends_a_run_that_is_under_way() -> None:
    """Merge drains within its grace period, however long the org takes to be read."""
    begun = Event()

    def runner(command: Sequence[str], stop: Event) -> Ended:
        begun.set()
        return run_command(command, stop)

    endless = [sys.executable, "-c", "import signal; signal.pause()"]
    part = ScheduledVerify(endless, 1e-3, Metrics("merge"), runner=runner)
    thread = Thread(target=part.run)
    thread.start()
    assert begun.wait(60)
    part.stop()
    thread.join(60)
    assert not thread.is_alive()


def test_a_command_runs_with_low_priority_and_its_last_complaint_is_told() -> None:
    """Merge's loop comes first on the pod's processors."""
    script = "import os, sys; print(os.nice(0)); sys.stderr.write('a\\nsalmon: no\\n'); sys.exit(2)"
    ended = run_command([sys.executable, "-c", script], Event())
    assert (ended.code, ended.complaint) == (2, "salmon: no")
    assert int(ended.output) >= 10


def test_without_a_schedule_nothing_runs_beside_merge() -> None:
    """It reads the whole org each time: whoever wants that says so."""

    def made(**verify: Any) -> ScheduledVerify | None:
        config = SyncConfig.model_validate(sync_config(verify=verify))
        return scheduled(Path("sync.yaml"), config, Metrics("merge"))

    assert made() is None
    assert made(every="24h") is not None
