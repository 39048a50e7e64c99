"""
Runs `salmon verify` on a schedule, beside merge. Each run gives one log event and a few metrics.

It runs the command in a child process of low priority: merge's loop never waits for it, its memory is returned to the
system, and a failure in it is only a number in merge's metrics. Only merge's first replica does this.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final

import structlog

from salmon.config.models import SyncConfig
from salmon.foreign_json import json_in
from salmon.ops.metrics import Metrics
from salmon.runtime.program import command

log = structlog.get_logger(__name__)

_NICENESS: Final = 10
_AGAIN_S: Final = 600.0  # wait after a run without a result, if that is sooner than the schedule
_LOOK_S: Final = 0.5
_END_MAX_S: Final = 5.0
_REASON_MAX: Final = 500
_WITH_VERDICT: Final = (0, 1, 2)  # exit codes of runs with a verdict, if there is one on standard output


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: exit code, standard output, and the last line of standard error. *code* None: it was stopped."""

    code: int | None
    output: str
    complaint: str


# Runs a command until it ends, or the event is set.
Runner = Callable[[Sequence[str], Event], Ended]


def scheduled(config_path: Path, config: SyncConfig, metrics: Metrics) -> ScheduledVerify | None:
    """Return the part that runs beside merge with this configuration; None if it has no schedule."""
    every_s = config.verify.every_s
    if every_s is None:
        return None
    folder = (
        None if config.merge.state_dir is None else Path(config.merge.state_dir).expanduser() / config.name
    )
    return ScheduledVerify(
        command("verify", "-c", str(config_path), "--json"), every_s, metrics, folder=folder
    )


class ScheduledVerify:
    """
    A part of merge's process; see salmon.runtime.lifecycle.

    Args:
        command: The command to run; it prints the verdict as JSON.
        folder: Keeps the time of the last run, and the progress of an interrupted run, across restarts. None: they are lost.
        now_s: A wall clock.
    """

    name = "verify"

    def __init__(
        self,
        command: Sequence[str],
        every_s: float,
        metrics: Metrics,
        *,
        folder: Path | None = None,
        runner: Runner | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._command = list(command)
        self._note: Path | None = None
        if folder is not None:
            self._command += ["--resume", str(folder / "verify")]
            self._note = folder / "verified.json"
        self._every_s, self._metrics, self._now_s = every_s, metrics, now_s
        self._run_command = runner or run_command
        self._stop = Event()
        self._due_s = self._last_s() + every_s

    def run(self) -> None:
        """Run verify on schedule until stop()."""
        while not self._stop.wait(max(0.0, self._due_s - self._now_s())):
            self.turn()

    def turn(self) -> None:
        """Run verify once. Merge continues, whatever the result."""
        began_s = self._now_s()
        try:
            ended = self._run_command(self._command, self._stop)
            if ended.code is None:
                return
            self._report(_verdict_of(ended), self._now_s() - began_s)
            self._due_s = began_s + self._every_s
            self._remember(began_s)
        except Exception as error:  # noqa: BLE001 - a failed comparison must never end the sync
            self._metrics.verify_failures.inc()
            self._due_s = self._now_s() + min(self._every_s, _AGAIN_S)
            log.warning("verify_failed", reason=str(error)[:_REASON_MAX])

    def stop(self) -> None:
        """End a run that is under way. With a folder, the next process continues it."""
        self._stop.set()

    def cut(self) -> None:
        """Do nothing: stop() is enough."""

    def _report(self, result: Mapping[str, Any], took_s: float) -> None:
        totals: dict[str, int] = {}
        for name, each in result["objects"].items():
            counts = {
                "equal": each["equal"],
                "different": each["summary"]["different"] + each["not_looked_at"],
                "missing": each["summary"]["missing"],
                "parked": each["summary"]["parked"],
                "moving": len(each["moving"]),
            }
            self._metrics.verified(name, counts)
            for verdict, count in counts.items():
                totals[verdict] = totals.get(verdict, 0) + count
        self._metrics.verify_ended.set(self._now_s())
        self._metrics.verify_seconds.set(took_s)
        say = log.info if result["equal"] else log.warning
        say("verified", all_equal=result["equal"], took_s=round(took_s, 1), **totals)

    def _last_s(self) -> float:
        """Return when the last run began; now, if that is not known."""
        if self._note is not None:
            try:
                return float(json_in(self._note.read_text(encoding="utf-8"))["began_s"])
            except (OSError, ValueError, TypeError, KeyError):
                pass  # there is no note, or it cannot be used: the schedule begins now
        return self._now_s()

    def _remember(self, began_s: float) -> None:
        if self._note is not None:
            self._note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._note.write_text(json.dumps({"began_s": began_s}), encoding="utf-8")


def run_command(command: Sequence[str], stop: Event) -> Ended:
    """Run *command* with low priority until it ends; when *stop* is set, end it."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(command, stdout=output, stderr=complaints, stdin=subprocess.DEVNULL)
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
            while process.poll() is None and not stop.wait(_LOOK_S):
                pass
        finally:
            stopped = process.poll() is None
            if stopped:
                process.terminate()
                try:
                    process.wait(_END_MAX_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        output.seek(0)
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").strip().splitlines()
        return Ended(
            None if stopped else process.returncode,
            output.read().decode(errors="replace"),
            lines[-1] if lines else "",
        )


def _verdict_of(ended: Ended) -> Mapping[str, Any]:
    try:
        result: Mapping[str, Any] = json_in(ended.output)
    except ValueError:
        result = {}
    if ended.code not in _WITH_VERDICT or "objects" not in result:
        raise RuntimeError(ended.complaint or f"`salmon verify` ended with exit code {ended.code}")
    return result
