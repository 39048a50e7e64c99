"""
What was asked of this connector by any of its processes, and what this process reports to the others: one thread that follows
`<name>.status`.

A request is written to Kafka before it is answered. So it survives restarts, and every replica obeys it, also one that starts
later. A restart is obeyed once: by the processes that run when it is asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import structlog

from salmon.errors import RetriableError, SalmonError, Unavailable
from salmon.kafka import clients
from salmon.kafka.tables import Table
from salmon.ops.connect.loggers import set_level
from salmon.ops.connect.status_topic import (
    Process,
    Restart,
    Row,
    Target,
    Wanted,
    decode,
    levels_of,
    logger_record,
    process_record,
    processes_of,
    restart_of,
    restart_record,
    target_record,
    wanted_of,
)
from salmon.ops.health import Health, State

log = structlog.get_logger(__name__)

FOLLOW_S: Final = 0.5  # also how soon a new state of this process is reported
_AGAIN_S: Final = 2.0
_SEEN_MAX_S: Final = 5.0
_JOIN_MAX_S: Final = 1.0
_LAST_WORD_S: Final = 3.0
_TOLD: Final = frozenset({State.RUNNING, State.PAUSED, State.STOPPED, State.FAILED})


class StatusLog(Protocol):
    """The status topic as a table."""

    @property
    def rows(self) -> Mapping[str, Row]: ...

    def follow(self, timeout_s: float) -> None:
        """Bring the rows up to date; wait up to *timeout_s* for a new one. Raises Unavailable, SetupError, PositionLost."""

    def write(self, key: str, value: bytes) -> None:
        """Write a record, and wait until the brokers have it. From any thread. Raises Unavailable, SetupError."""

    def close(self) -> None: ...


class KafkaStatusLog:
    """The status topic in Kafka. Raises Unavailable, SetupError."""

    def __init__(self, kafka: Mapping[str, Any], topic: str, client_id: str) -> None:
        self._kafka, self._topic, self._client_id = kafka, topic, client_id
        self._table = Table(kafka, topic, decode)
        self._table.load()

    @property
    def rows(self) -> Mapping[str, Row]:
        return self._table.rows

    def follow(self, timeout_s: float) -> None:
        self._table.follow(timeout_s)

    def write(self, key: str, value: bytes) -> None:
        clients.write(self._kafka, self._client_id, self._topic, key, value)

    def close(self) -> None:
        self._table.close()


class Standing:
    """
    A part (see lifecycle). Until begin() is called, it knows nothing and takes no request.

    Args:
        worker_id: host:port of this process; *url*: where its REST server answers the other processes.
        wall_clock: Seconds since 1970.
    """

    name = "standing"

    def __init__(
        self,
        connector: str,
        ordinal: int,
        health: Health,
        *,
        worker_id: str,
        url: str,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._connector, self._ordinal, self._health = connector, ordinal, health
        self._worker_id, self._url, self._wall_clock = worker_id, url, wall_clock
        self._stop, self._changed = threading.Event(), threading.Condition()
        self._open: Callable[[], StatusLog] | None = None
        self._log: StatusLog | None = None
        self._rows: dict[str, Row] = {}
        self._wanted = Wanted()
        self._restart_id: str | None = None
        self._reported: Process | None = None
        self._trouble = ""
        self._failure: BaseException | None = None
        self._listener: Callable[[], None] = lambda: None
        self.restart_asked = False

    # The worker's view.

    def begin(self, open_log: Callable[[], StatusLog]) -> None:
        """
        Read what was asked so far, and follow the topic from now on.

        Raises:
            Unavailable, SetupError: the brokers' answer.
        """
        opened = open_log()
        # What was asked of earlier processes is not asked of this one, except for the target state.
        last = restart_of(opened.rows, self._connector)
        with self._changed:
            self._restart_id = None if last is None else last.id
            self._rows, self._wanted = dict(opened.rows), wanted_of(opened.rows, self._connector)
            self._open, self._log = open_log, opened
            self._changed.notify_all()

    @property
    def wanted(self) -> Wanted:
        """What a person wants this connector to do."""
        return self._wanted

    @property
    def must_end(self) -> bool:
        """Whether the worker must not run now: it is to pause, to stop, or to restart."""
        return self.restart_asked or self._wanted.target is not Target.STARTED

    def listen(self, listener: Callable[[], None]) -> None:
        """Call *listener*, in this part's thread, whenever the worker must end."""
        self._listener = listener

    # The REST server's view; from any thread.

    @property
    def target(self) -> Target:
        """What a person wants this connector to do."""
        return self._wanted.target

    def ask_for(self, target: Target, connector: str = "") -> None:
        """
        Ask all processes of a connector for a state; "": of this one. When this returns, the request is in Kafka.

        Raises:
            Unavailable, SetupError: the brokers' answer; Unavailable also if this process has not reached them yet.
        """
        name, at_ms = connector or self._connector, self._now_ms()
        self._write(*target_record(name, target, at_ms))
        with self._changed:  # so that the next call to this process sees it
            self._changed.wait_for(lambda: wanted_of(self._rows, name).at_ms >= at_ms, _SEEN_MAX_S)

    def ask_for_restart(self, task: int | None, connector: str = "") -> None:
        """Ask all processes of a connector to restart, or the one with the ordinal *task*; "": of this one. Raises as ask_for()."""
        self._write(*restart_record(connector or self._connector, task, self._now_ms()))

    def ask_for_level(self, logger: str, level: str) -> None:
        """Ask all processes of the sync to set the level of a logger. Raises as ask_for()."""
        self._write(*logger_record(logger, level, self._now_ms()))

    def processes(self) -> list[Process]:
        """All processes of the sync that have ever described themselves."""
        return processes_of(self._rows)

    def ordinals_in(self, state: State) -> set[int]:
        """The replicas of this connector whose last report was that state."""
        return {
            each.ordinal
            for each in self.processes()
            if each.connector == self._connector and each.state == state
        }

    # The part.

    def run(self) -> None:
        """Follow the topic until asked to stop. It ends for no error of Kafka: the worker needs Kafka too, and reports it."""
        following = threading.Thread(target=self._follow, name="status-topic", daemon=True)
        following.start()
        self._stop.wait()
        # A call to Kafka that is under way may take long, and the other parts wait for our end before they are asked to stop.
        has_failed = self._health.report().state is State.FAILED
        following.join(_LAST_WORD_S if has_failed else _JOIN_MAX_S)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def cut(self) -> None:
        pass

    def _follow(self) -> None:
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._log is not None or self._stop.is_set())
            while not self._stop.is_set():
                try:
                    self._turn()
                    self._trouble = ""
                except SalmonError as trouble:
                    self._note(trouble)
            self._leave()
        except BaseException as failure:  # noqa: BLE001 - raised again by run()
            self._failure = failure
            self._stop.set()

    def _leave(self) -> None:
        if (opened := self._log) is None:
            return
        if self._health.report().state is State.FAILED:
            try:
                self._describe(opened)  # the others can show why
            except SalmonError as trouble:
                self._note(trouble)
        opened.close()

    def _turn(self) -> None:
        opened = self._log
        assert opened is not None
        assert self._open is not None
        try:
            opened.follow(FOLLOW_S)
        except RetriableError:
            raise
        except SalmonError:
            # The topic was made again, or our rights have changed: read it from its beginning.
            opened.close()
            opened = self._log = self._open()
        self._take(dict(opened.rows))
        self._describe(opened)

    def _take(self, rows: Mapping[str, Row]) -> None:
        changed = {key: row for key, row in rows.items() if self._rows.get(key) != row}
        restart = restart_of(changed, self._connector)
        with self._changed:
            self._rows, before = dict(rows), self._wanted
            self._wanted = wanted_of(rows, self._connector)
            self._changed.notify_all()
        for logger, level in levels_of(changed).items():
            set_level(logger, level)
        if self._is_for_us(restart):
            log.info("restart_asked")
            self.restart_asked = True
        if self._wanted.target is not before.target:
            log.info("target_state_changed", target=self._wanted.target, before=before.target)
        if self.must_end and changed:
            self._listener()

    def _is_for_us(self, restart: Restart | None) -> bool:
        if restart is None or restart.id == self._restart_id:
            return False
        self._restart_id = restart.id
        return restart.is_for(self._ordinal)

    def _describe(self, opened: StatusLog) -> None:
        """Report the state of this process, if it is another one than before."""
        report = self._health.report()
        if report.state not in _TOLD:
            return
        last = self._reported
        if last is not None and (last.state, last.trace) == (report.state, report.trace):
            return
        process = Process(
            self._connector,
            self._ordinal,
            report.state,
            self._worker_id,
            self._url,
            self._now_ms(),
            report.trace,
        )
        opened.write(*process_record(process))
        self._reported = process

    def _write(self, key: str, value: bytes) -> None:
        if (opened := self._log) is None:
            raise Unavailable(
                "this process has not reached Kafka yet, so it cannot store the request. Try again when /health is healthy."
            )
        opened.write(key, value)

    def _note(self, trouble: SalmonError) -> None:
        if self._trouble != str(trouble):
            self._trouble = str(trouble)
            log.warning("status_topic_not_followed", reason=str(trouble))
        self._stop.wait(_AGAIN_S)

    def _now_ms(self) -> int:
        return int(self._wall_clock() * 1000)
