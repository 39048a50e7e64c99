"""
The five processes of the sync, each started again when it ends, and a book of what ended and why.

Two supervisors: one of ours, which does what Kubernetes does (restartPolicy: Always, with backoff, whatever the exit
code), or `salmon run all`, which is started again the same way when it ends itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from salmon.app.process import PARENT_VARIABLE
from salmon.kafka.topics import CONNECTORS
from salmon.ports import free_ports
from support.chaos.plan import RUN_ALL, SUPERVISOR

_LOOK_S: Final = 0.1
_BACKOFF_S: Final = (0.5, 10.0)  # Kubernetes waits 10 s to 5 min; a test has less time
_STEADY_S: Final = 30.0  # what ran for so long begins its backoff anew
_STOP_MAX_S: Final = 45.0
_HEALTH_MAX_S: Final = 2.0


@dataclass(slots=True)
class _Kept:
    """A process that is kept running."""

    name: str
    command: Sequence[str]
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    ends: int = 0  # in a row


@dataclass(frozen=True, slots=True)
class _Told:
    """A child of `run all`, as its ports file names it; without a pid while it waits to be started again."""

    url: str
    pid: int | None


class Crew:
    """
    The processes; a context manager.

    Attributes:
        ended: What has ended by itself, e.g. "merge: exit code 3", and how often. Our own kills are not in it.
    """

    def __init__(self, config: Path, folder: Path, supervisor: str) -> None:
        self.supervisor = supervisor
        self.ended: Counter[str] = Counter()
        self._config = str(config)
        self._ports_file = folder / "ports.json"
        self._ports = dict(zip(CONNECTORS, free_ports(len(CONNECTORS)), strict=True))
        base = [sys.executable, "-m", "salmon", "run"]
        said = ["-c", str(config), "--log-format", "json"]
        logs = folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        if supervisor == RUN_ALL:
            command = [*base, "all", *said, "--port", "0", "--ports-file", str(self._ports_file)]
            self._kept = [_Kept(SUPERVISOR, command, logs / "run-all.log")]
        else:
            self._kept = [
                _Kept(name, [*base, name, *said, "--port", str(port)], logs / f"{name}.log")
                for name, port in self._ports.items()
            ]
        self._ours: set[int] = set()  # pids that we have killed
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="crew", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; the exit code of each."""
        self._stopped.set()
        self._thread.join()
        for pid in self.pids().values():
            _signal(pid, signal.SIGCONT)
        running = {kept.name: kept.process for kept in self._kept if kept.process is not None}
        for process in running.values():
            process.terminate()
        deadline = time.monotonic() + _STOP_MAX_S
        codes = {}
        for name, process in running.items():
            try:
                codes[name] = process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        for kept in self._kept:
            kept.process = None
        return codes

    @property
    def restarted_by_hand(self) -> int:
        """How often `salmon run all` has ended by itself: nobody but a person would start it again."""
        return sum(times for what, times in self.ended.items() if what.startswith(f"{SUPERVISOR}:"))

    # Striking.

    def kill(self, name: str) -> bool:
        """SIGKILL; whether there was such a process."""
        if (pid := self.pids().get(name)) is None:
            return False
        with self._lock:
            self._ours.add(pid)
        return _signal(pid, signal.SIGKILL)

    def suspend(self, name: str) -> int | None:
        """SIGSTOP; the pid for resume()."""
        pid = self.pids().get(name)
        return pid if pid is not None and _signal(pid, signal.SIGSTOP) else None

    @staticmethod
    def resume(pid: int) -> None:
        _signal(pid, signal.SIGCONT)

    # Looking.

    def pids(self) -> dict[str, int]:
        """The processes that run now, the supervisor among them if it is one."""
        with self._lock:
            own = {kept.name: kept.process.pid for kept in self._kept if kept.process is not None}
        children = {name: each.pid for name, each in self._told().items() if each.pid is not None}
        return own | {name: pid for name, pid in children.items() if self._is_ours(pid)}

    def ready(self) -> list[str]:
        """Those of the five whose /health says that they are at work."""
        return [name for name, url in self._urls().items() if _is_ready(url)]

    def says(self, name: str) -> str:
        """What its /health says in words, or why it cannot be asked."""
        url = self._urls().get(name, "")
        try:
            answer = requests.get(f"{url}/health", timeout=_HEALTH_MAX_S, proxies={"http": ""})
            return str(answer.json()["message"])
        except (requests.RequestException, ValueError, KeyError) as error:
            return f"no answer ({type(error).__name__})"

    def _urls(self) -> dict[str, str]:
        if self.supervisor == RUN_ALL:
            return {name: each.url for name, each in self._told().items()}
        return {name: f"http://127.0.0.1:{port}" for name, port in self._ports.items()}

    def _is_ours(self, pid: int) -> bool:
        """Whether it is still what `run all` started: the pid of what has ended may be anybody's by now."""
        try:
            return self._config.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def _told(self) -> dict[str, _Told]:
        """What `run all` wrote of its children; empty before that, and with our own supervisor."""
        if self.supervisor != RUN_ALL:
            return {}
        try:
            told = json.loads(self._ports_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {name: _Told(each["url"], each["pid"]) for name, each in told.items()}

    # Keeping.

    def _keep(self) -> None:
        while not self._stopped.wait(_LOOK_S):
            for kept in self._kept:
                self._look_after(kept, time.monotonic())

    def _look_after(self, kept: _Kept, now: float) -> None:
        if kept.process is not None and (code := kept.process.poll()) is not None:
            with self._lock:
                pid, kept.process = kept.process.pid, None
                if pid not in self._ours:
                    self.ended[f"{kept.name}: {_how(code)}"] += 1
            kept.ends = 1 if now - kept.started_at > _STEADY_S else kept.ends + 1
            first_s, most_s = _BACKOFF_S
            kept.start_at = now + min(most_s, first_s * 2 ** (kept.ends - 1))
        if kept.process is None and now >= kept.start_at:
            with kept.log_file.open("ab") as log:
                # A process whose parent ends, ends too: a run that is killed leaves nothing behind.
                process = subprocess.Popen(
                    kept.command,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
                )
            with self._lock:
                kept.process = process
            kept.started_at = now


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _signal(pid: int, number: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=_HEALTH_MAX_S, proxies={"http": ""}).status_code == 200
    except requests.RequestException:
        return False
