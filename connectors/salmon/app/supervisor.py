"""
`salmon run all`: the connectors of a sync on one machine (five, and two for each further side), each in a process of its own.

A process that crashes is started again with backoff, and a process that hangs is replaced. Two endings stop all,
because the sync cannot continue without the process: a person has to change something (exit code 2 of a process that has
never been ready), or a newer instance of it runs (exit code 3). A process that was ready once is started again after exit code
2 too: what it needs has worked before, and may work again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

import structlog

from salmon import ports
from salmon.app.asked import is_live, is_ready
from salmon.app.ending import EXIT_FATAL, EXIT_FENCED, EXIT_OK, EXIT_UNEXPECTED, report_end
from salmon.app.process import PARENT_VARIABLE, REACHED_VARIABLE
from salmon.backoff import Backoff
from salmon.config import models as configuration
from salmon.errors import ConfigError, FatalError
from salmon.kafka.topics import CONNECTORS
from salmon.model.sides import DESCRIBING
from salmon.ops import logs
from salmon.runtime.every import Every
from salmon.runtime.lifecycle import DRAIN_DEADLINE_S, RELOADS, terminal_is_there
from salmon.runtime.program import command

log = structlog.get_logger(__name__)

API: Final = "api"  # the process that serves applications; it starts if the configuration has the section
_LOOK_S: Final = 0.2
_READY_LOOK_S: Final = 0.5
FIRST_ALONE_S: Final = 30.0
_GRACE_S: Final = 3.0  # after a child's own drain deadline, before it is killed
_STEADY_S: Final = 60.0  # after a run of this length, the backoff starts from its beginning
_RESTARTS: Final = Backoff(first_s=0.5, max_s=30.0)
_LIVE_LOOK_S: Final = 2.0
# A process is replaced after so many checks in a row without an answer, or with "not live". Its own watchdog is faster;
# this is for a process that can do nothing itself. We count checks and not seconds, because nothing is checked while we
# are suspended.
NOT_LIVE_MAX: Final = 30
_HUNG_GRACE_S: Final = 5.0  # from SIGTERM to SIGKILL, for a process that hangs


def run_all(
    config_path: str | Path,
    *,
    port: int | None = None,
    ports_file: str | Path | None = None,
    log_format: logs.LogFormat = "auto",
    log_level: str | None = None,
) -> int:
    """
    Run all processes until a signal arrives; also that of the API, if the configuration has the section `api`.

    Args:
        port: Port of the first REST server; the others take the next ones. None: the one in the configuration;
            0: free ones. The API has api.port.
        ports_file: File for the addresses, as JSON: connector -> {"url", "port", "pid"}; rewritten at each restart.

    Returns:
        The exit code: that of the process whose end stopped all others, or 0.
    """
    try:
        config = configuration.load(config_path)
        logs.configure(
            log_format=log_format,
            level=log_level or config.log.level,
            secrets=logs.secrets_of(config),
            connector="all",
        )
        file = _ports_file(ports_file)
        connectors = config.roster.connectors
        chosen = choose_ports(
            config.rest.host, config.rest.port if port is None else port, connectors, sync=config.name
        )
    except FatalError as error:
        return report_end(error)
    options = ["--log-format", log_format, *(["--log-level", log_level] if log_level else [])]
    secure = config.rest.tls is not None
    children = [
        Child(
            name, command_of(name, config_path, chosen[name], options), chosen[name], config.rest.host, secure
        )
        for name in connectors
    ]
    if config.api is not None:
        own, given = config.api, config.api.port if port != 0 else 0
        number = given or ports.free_ports(1, own.host)[0]
        started = command_of(API, config_path, number, options)
        children.append(Child(API, started, number, own.host, own.tls is not None))
    by_tls = {child.port for child in children if child.secure}
    return Supervisor(
        children,
        file,
        first=DESCRIBING.source,
        is_ready=lambda host, number: is_ready(host, number, secure=number in by_tls),
        is_live=lambda host, number: is_live(host, number, secure=number in by_tls),
    ).run()


def command_of(name: str, config_path: str | Path, port: int, options: Sequence[str]) -> list[str]:
    """Return the command line that starts one connector."""
    return command("run", name, "-c", str(config_path), "--port", str(port), *options)


def _ports_file(name: str | Path | None) -> Path | None:
    """The file, which can be written. Raises ConfigError if it cannot."""
    if not name:
        return None
    file = Path(name)
    try:
        _fresh(file).touch()
        _fresh(file).unlink()
    except OSError as error:
        raise ConfigError(
            f"--ports-file {file} cannot be written ({error.strerror}). Name another file."
        ) from None
    return file


def _fresh(file: Path) -> Path:
    return file.with_suffix(f"{file.suffix}.new")


def choose_ports(
    host: str,
    first: int,
    connectors: Sequence[str] = CONNECTORS,
    *,
    sync: str = "",
    patience_s: float = ports.PATIENCE_S,
) -> dict[str, int]:
    """
    Choose a port for each connector: *first* and the ones after it, or free ones if it is 0.

    Raises:
        ConfigError: another program uses one of them. The processes of a former `run all` of this *sync* that was
            killed may have them for some seconds: they are waited for, for *patience_s*.
    """
    wanted = first
    try:
        if not first:
            return dict(zip(connectors, ports.free_ports(len(connectors), host), strict=True))
        chosen: dict[str, int] = {}
        for wanted, name in enumerate(connectors, first):
            ports.listening(host, wanted, sync=sync, patience_s=patience_s).close()
            chosen[name] = wanted
        return chosen
    except OSError as error:
        raise ConfigError(
            f"rest.port: {host}:{wanted} cannot be bound ({error.strerror}). `run all` takes {len(connectors)} ports "
            f"in a row; choose another first one, or --port 0 for free ones."
        ) from None


@dataclass(slots=True)
class Child:
    """One of the processes, and what is known of it."""

    name: str
    command: Sequence[str]
    port: int
    host: str = "127.0.0.1"
    secure: bool = False
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    crashes: int = 0  # in a row
    start_at: float | None = 0.0  # when it is to be started (again); None while it runs
    is_ready: bool = False  # has been ready since its last start
    was_ready: bool = False  # has been ready at any time, so the servers that it needs can be reached
    not_live: int = 0  # checks in a row
    kill_at: float | None = None  # when to kill a process that hangs and was asked to end

    def start(self, environment: Mapping[str, str], now: float) -> None:
        reached = {REACHED_VARIABLE: "1"} if self.was_ready else {}
        # A session of its own: Ctrl-C at the terminal comes only to us, and we pass it on once.
        # A SIGHUP that comes before it can handle one waits for it; it would end the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, RELOADS)
        try:
            self.process = subprocess.Popen(
                self.command, env={**environment, **reached}, start_new_session=True
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, RELOADS)
        self.started_at, self.start_at = now, None
        self.is_ready, self.not_live, self.kill_at = False, 0, None

    def checked(self, *, live: bool, ready: bool) -> None:
        """Note the result of one check."""
        self.not_live = 0 if live else self.not_live + 1
        if ready:
            self.is_ready = self.was_ready = True

    def ended(self) -> int | None:
        """Return the exit code of a process that has ended, once; None if it runs or has been reported already."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.process = None
        return code

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


@dataclass(slots=True)
class Supervisor:
    """
    Starts the children, restarts those that crash or hang, and stops all of them on a signal or when one cannot continue. On SIGHUP
    they read the configuration again (see lifecycle).

    Args:
        ports_file: See run_all().
        drain_deadline_s: How long each child may finish its work after SIGTERM.
        first: Name of the child that starts before all others; None: all start together.
        is_ready, is_live: Ask a process at (host, port).
        live_look_s: Seconds between two checks of a child.
        not_live_max: Failed checks in a row after which a child hangs.
        hung_grace_s: Seconds from SIGTERM to SIGKILL, for a child that hangs.
    """

    children: Sequence[Child]
    ports_file: Path | None = None
    drain_deadline_s: float = DRAIN_DEADLINE_S
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)
    first: str | None = None
    is_ready: Callable[[str, int], bool] = is_ready
    is_live: Callable[[str, int], bool] = is_live
    live_look_s: float = _LIVE_LOOK_S
    not_live_max: int = NOT_LIVE_MAX
    hung_grace_s: float = _HUNG_GRACE_S
    has_terminal: Callable[[], bool] = terminal_is_there
    _all_may_start: bool = field(init=False)
    _ready_look: Every = field(default_factory=lambda: Every(_READY_LOOK_S))
    _reported_ready: bool = False
    _signals: SimpleQueue[int] = field(default_factory=SimpleQueue)  # put() is safe in a signal handler

    def __post_init__(self) -> None:
        self._all_may_start = self.first is None

    def run(self) -> int:
        """Run until all children have ended, and return the exit code. Main thread only: it handles SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        had_terminal = self.has_terminal()
        code = EXIT_OK
        stopped = threading.Event()
        # A child that hangs may never answer, so a thread of its own asks.
        threading.Thread(target=self._check_children, args=(stopped,), name="checks", daemon=True).start()
        try:
            while (told := self._next_signal(_LOOK_S)) is None or told == signal.SIGHUP:
                if told is not None:
                    if had_terminal and not self.has_terminal():
                        break  # it was closed
                    self._reload()
                self._start_due()
                self._report_when_all_are_ready()
                self._replace_hung()
                if (final := self._note_ended()) is not None:
                    code = final
                    break
        except BaseException:
            self._stop(EXIT_UNEXPECTED)  # without us, nobody would start them again
            raise
        finally:
            stopped.set()
        return self._stop(code)

    def _reload(self) -> None:
        """All processes read the configuration again. One that is to be started reads it then."""
        log.info("reload_passed_on")
        for child in self.children:
            child.signal(signal.SIGHUP)

    def _check_children(self, stopped: threading.Event) -> None:
        while not stopped.wait(self.live_look_s):
            for child in self.children:
                self.check(child)

    def check(self, child: Child) -> None:
        """Ask a child whether it is live and ready, and note the answer."""
        process = child.process
        if process is None or child.kill_at is not None:
            return
        live = self.is_live(child.host, child.port)
        ready = live and not child.is_ready and self.is_ready(child.host, child.port)
        if child.process is process:  # otherwise the answer came from the process before this one
            child.checked(live=live, ready=ready)

    def _replace_hung(self) -> None:
        """Ask a child that hangs to end, and kill it if it does not. _note_ended() then starts it again."""
        for child in self.children:
            if child.process is None:
                continue
            if child.kill_at is None and child.not_live >= self.not_live_max:
                log.error("connector_hangs", name=child.name, looks=child.not_live, pid=child.process.pid)
                child.kill_at = self.clock() + self.hung_grace_s
                child.signal(signal.SIGTERM)
            elif child.kill_at is not None and self.clock() >= child.kill_at:
                child.signal(signal.SIGKILL)

    def _start_due(self) -> None:
        now = self.clock()
        due = [child for child in self.children if child.start_at is not None and child.start_at <= now]
        if self._first_is_alone(now):
            due = [child for child in due if child.name == self.first]
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
        for child in due:
            try:
                child.start(environment, now)
            except OSError as error:  # no memory, or too many processes
                child.start_at = now + self._pause_s(child, now)
                log.warning("connector_not_started", name=child.name, reason=error.strerror)
        if due:
            self._note_ports()

    def _first_is_alone(self, now: float) -> bool:
        """
        Whether the source that registers the schemas must run alone for now. The others read the schemas when they start,
        and would otherwise use those of an earlier configuration. After FIRST_ALONE_S they start anyway, because
        they can work while its side is down.
        """
        if self._all_may_start:
            return False
        first = next(child for child in self.children if child.name == self.first)
        if first.started_at:
            waited_long = first.crashes > 0 or now - first.started_at > FIRST_ALONE_S
            self._all_may_start = waited_long or self.is_ready(first.host, first.port)
        return not self._all_may_start

    def _report_when_all_are_ready(self) -> None:
        """Log it once, for a person at a terminal who waits for it."""
        if not self._reported_ready and self._ready_look.due():
            self._reported_ready = all(self.is_ready(child.host, child.port) for child in self.children)
            if self._reported_ready:
                log.info("all_are_ready", connectors=[child.name for child in self.children])

    def _note_ended(self) -> int | None:
        """Plan the restart of children that ended. Returns an exit code if all have to stop because of one of them."""
        for child in self.children:
            code = child.ended()
            if code is None:
                continue
            if code == EXIT_FENCED or (code == EXIT_FATAL and not child.was_ready):
                log.error("connector_gave_up", name=child.name, exit_code=code)
                return code
            now = self.clock()
            delay_s = self._pause_s(child, now)
            child.start_at = now + delay_s
            event = "connector_cannot_run" if code == EXIT_FATAL else "connector_crashed"
            log.warning(event, name=child.name, exit_code=code, restart_in_s=round(delay_s, 2))
        return None

    def _pause_s(self, child: Child, now: float) -> float:
        """Count one more end of *child*, and return after how many seconds it is started again."""
        child.crashes = 1 if now - child.started_at >= _STEADY_S else child.crashes + 1
        return _RESTARTS.delay_s(child.crashes, rng=self.rng)

    def _stop(self, code: int) -> int:
        for child in self.children:
            child.signal(signal.SIGTERM)
        deadline = self.clock() + self.drain_deadline_s + _GRACE_S
        running = [child for child in self.children if child.process is not None]
        while running and self.clock() < deadline:
            number = self._next_signal(_LOOK_S)
            if number is not None and number != signal.SIGHUP:
                for child in running:
                    child.signal(number)  # It is their second signal: they exit at once.
            for child in list(running):
                if (ended := child.ended()) is not None:
                    running.remove(child)
                    if ended != EXIT_OK and code == EXIT_OK:
                        log.warning("connector_stopped_badly", name=child.name, exit_code=ended)
                        code = EXIT_UNEXPECTED
        for child in running:
            log.warning("connector_killed", name=child.name)
            child.signal(signal.SIGKILL)
            code = code or EXIT_UNEXPECTED
        return code

    def _note_ports(self) -> None:
        if self.ports_file is None or not all(child.started_at for child in self.children):
            return  # the file lists all of them
        try:
            self._write_ports(self.ports_file)
        except OSError as error:
            log.warning("ports_file_not_written", file=str(self.ports_file), reason=error.strerror)

    def _write_ports(self, file: Path) -> None:
        content = {
            child.name: {
                "url": ports.url_of(child.host, child.port, secure=child.secure),
                "port": child.port,
                "pid": child.process.pid if child.process else None,
            }
            for child in self.children
        }
        fresh = _fresh(file)
        fresh.write_text(json.dumps(content, indent=2), encoding="utf-8")
        fresh.replace(file)  # A reader sees the old file or the new one, never half of it.

    def _next_signal(self, timeout_s: float) -> int | None:
        try:
            return self._signals.get(timeout=timeout_s)
        except Empty:
            return None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.put(number)
