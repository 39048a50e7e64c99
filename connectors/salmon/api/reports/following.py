"""
Follows reports while somebody looks: one stream of MongoDB's changes for the process, and one answer for all who look at the same report.

A change makes a report due a moment later, so that many changes at once are one. It is not worked out more often than a few times a
second, and for at most a third of the time. While the stream is broken, reports are worked out again each time that it is tried.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Thread
from typing import Any, Final

import structlog
from pymongo.database import Database

from salmon.api.problems import Problem
from salmon.api.reports.computing import Computing, Result
from salmon.backoff import Backoff, Tries
from salmon.errors import SalmonError
from salmon.mongodb.wire.client import Document, border

log = structlog.get_logger(__name__)

SETTLES_S: Final = 0.1  # after a change, until the report is worked out
PAUSE_S: Final = 0.25  # between two answers
WORKERS: Final = 2  # so that one slow report does not keep the others back
_SHARE: Final = 2.0  # so many times as long as an answer takes, it is not worked out again
_AWAIT_MS: Final = 200
_AGAIN: Final = Backoff(first_s=0.5, max_s=15.0)
_AGAIN_AFTER_S: Final = 5.0
_JOIN_MAX_S: Final = 2.0


class Viewer:
    """Somebody who looks at a report, in an event loop. Only the newest answer counts."""

    def __init__(self, report: str) -> None:
        self.report = report
        self._loop, self._came = asyncio.get_running_loop(), asyncio.Event()
        self._newest: Result | None = None

    def show(self, result: Result) -> None:
        """From any thread."""
        self._newest = result
        with suppress(RuntimeError):  # the loop has ended: nobody looks any more
            self._loop.call_soon_threadsafe(self._came.set)

    async def next(self, within_s: float) -> Result | None:
        """The newest answer, as soon as there is another one; None if there is none within this time."""
        try:
            await asyncio.wait_for(self._came.wait(), within_s)
        except TimeoutError:
            return None
        self._came.clear()
        return self._newest


class Following:
    """Works from the first viewer on until close(). *database*: the sync's."""

    def __init__(self, database: Database[Document], computing: Computing) -> None:
        self._database, self._computing = database, computing
        self._changed = Condition()  # guards all below
        self._viewers: dict[str, set[Viewer]] = {}
        self._due: dict[str, float] = {}  # report -> when it is worked out
        self._not_before: dict[str, float] = {}
        self._busy: set[str] = set()  # those that are worked out
        self._threads: list[Thread] = []
        self._closing = False

    @property
    def is_closed(self) -> bool:
        """Whether nobody is shown anything any more, e.g. because a schema has changed and others follow the reports now."""
        return self._closing

    @contextmanager
    def looking(self, report: str) -> Iterator[Viewer]:
        """A viewer of a report, who is shown each new answer. Raises Problem: there is no such report."""
        self._computing.bound(report)
        viewer = Viewer(report)
        with self._changed:
            self._viewers.setdefault(report, set()).add(viewer)
            self._start()
            self._changed.notify_all()
        try:
            yield viewer
        finally:
            with self._changed:
                self._viewers[report].discard(viewer)
                if not self._viewers[report]:
                    del self._viewers[report]
                    self._due.pop(report, None)

    def close(self) -> None:
        """End the threads. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for each in self._threads:
            each.join(_JOIN_MAX_S)

    def _start(self) -> None:
        if not self._threads and not self._closing:
            work = [self._follow, *[self._work] * WORKERS]
            self._threads = [Thread(target=each, name="reports", daemon=True) for each in work]
            for each in self._threads:
                each.start()

    # The thread that hears of changes.

    def _follow(self) -> None:
        tries = Tries(_AGAIN)
        while self._await_viewers():
            began = time.monotonic()
            try:
                self._listen(self._watched())
            except SalmonError as error:
                if time.monotonic() - began > _AGAIN.max_s:
                    tries = Tries(_AGAIN)
                log.warning("reports_not_followed", error=type(error).__name__, reason=str(error))
                self._mark(None)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, tries.failed())

    def _await_viewers(self) -> bool:
        """Whether there is something to do; waits until there is."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._viewers)
            return not self._closing

    def _watched(self) -> Collection[str]:
        """The collections of the reports that somebody looks at."""
        with self._changed:
            names = list(self._viewers)
        return frozenset[str]().union(*(self._computing.bound(each).watched for each in names))

    def _listen(self, collections: Collection[str]) -> None:
        """Mark what changes, as long as the same collections count."""
        only: list[dict[str, Any]] = [
            {"$match": {"ns.coll": {"$in": sorted(collections)}}},
            {"$project": {"ns.coll": 1}},
        ]
        with (
            border("following changes for reports"),
            self._database.watch(only, max_await_time_ms=_AWAIT_MS) as stream,
        ):
            self._mark(None)  # what changed before the stream was open
            while not self._closing and stream.alive and self._watched() == collections:
                if (event := stream.try_next()) is not None:
                    self._mark(event.get("ns", {}).get("coll"))

    def _mark(self, collection: str | None) -> None:
        """A collection has changed, or any may have."""
        now = time.monotonic()
        with self._changed:
            for name in self._viewers:
                if name in self._due:
                    continue
                if collection is None or collection in self._computing.bound(name).watched:
                    self._due[name] = now + SETTLES_S
                    self._changed.notify_all()

    # The threads that have reports worked out.

    def _work(self) -> None:
        while (name := self._next_due()) is not None:
            began = time.monotonic()
            result = self._renewed(name)
            took_s = time.monotonic() - began
            with self._changed:
                pause_s = max(PAUSE_S, _SHARE * took_s) if result is not None else _AGAIN_AFTER_S
                self._not_before[name] = time.monotonic() + pause_s
                self._busy.discard(name)
                if result is None and name in self._viewers:
                    self._due.setdefault(name, 0.0)
                viewers = list(self._viewers.get(name, ()))
                self._changed.notify_all()
            if result is not None:
                for viewer in viewers:
                    viewer.show(result)

    def _renewed(self, name: str) -> Result | None:
        """The report as it is now; None if it cannot be worked out."""
        try:
            return self._computing.result(name)
        except (SalmonError, Problem) as error:
            log.warning("report_not_renewed", report=name, error=type(error).__name__, reason=str(error))
        except Exception:  # one report that is at fault must not stop the others
            log.exception("report_failed_unexpectedly", report=name)
        return None

    def _next_due(self) -> str | None:
        """The report whose turn it is, when it is; None in the end."""
        with self._changed:
            while not self._closing:
                now = time.monotonic()
                turns = {
                    each: max(due, self._not_before.get(each, 0.0))
                    for each, due in self._due.items()
                    if each not in self._busy
                }
                name = min(turns, key=turns.__getitem__, default=None)
                if name is not None and turns[name] <= now:
                    del self._due[name]
                    self._busy.add(name)
                    return name
                self._changed.wait(None if name is None else turns[name] - now)
            return None
