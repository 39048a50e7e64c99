"""
Has MongoDB work out reports. Who asks for the same report at the same time shares one answer, which is never older than the question.

All of it blocks: for threads only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock
from typing import Any, Final

from pymongo.collation import Collation
from pymongo.database import Database

from salmon.api.problems import Problem
from salmon.config.bound_reports import BoundReports
from salmon.mongodb.keys import key_of
from salmon.mongodb.paths import at
from salmon.mongodb.reports.pipeline import pipeline_of
from salmon.mongodb.reports.report import BoundReport, Label
from salmon.mongodb.reports.rows import Row, rows_of
from salmon.mongodb.wire.client import Document, border

# Who asks keeps a thread, and those of all requests are forty. Waiting and working are counted apart, so that waiting for one slow report
# keeps no other one from being worked out.
WORKED_OUT_MAX: Final = 8
WAITING_MAX: Final = 16
WAITING_FOR_ONE_MAX: Final = 8
# As Salmon compares texts, whatever the collection does.
_BYTE_BY_BYTE: Final = Collation(locale="simple")


@dataclass(frozen=True, slots=True)
class Result:
    """
    A report as it was at one moment.

    Args:
        names: Column of a label -> record key -> the Name of that record.
        more: Whether there are more rows than the report's limit.
        at_s: When it was asked for, since 1970.
        began: The same, by the clock that only goes forward.
    """

    bound: BoundReport
    rows: Sequence[Row]
    names: Mapping[str, Mapping[str, str]]
    more: bool
    at_s: float
    began: float
    _texts: dict[Hashable, str] = field(default_factory=dict, compare=False, repr=False)

    def text(self, form: Hashable, write: Callable[[], str]) -> str:
        """The report in this form, which is written once for all who share the answer."""
        found = self._texts.get(form)
        if found is None:
            found = self._texts.setdefault(form, write())
        return found

    def says_the_same(self, other: Result) -> bool:
        return (self.rows, self.names, self.more) == (other.rows, other.names, other.more)


class Computing:
    """
    Args:
        time_bound_ms: Returns after how long MongoDB gives up.
    """

    def __init__(
        self,
        database: Database[Document],
        reports: BoundReports,
        time_bound_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._reports, self._time_bound_ms = database, reports, time_bound_ms
        self._clock = clock
        self._working, self._waiting = BoundedSemaphore(WORKED_OUT_MAX), BoundedSemaphore(WAITING_MAX)
        self._waiting_for = {name: BoundedSemaphore(WAITING_FOR_ONE_MAX) for name in reports.usable}
        self._turns = {name: Lock() for name in reports.usable}
        self._newest: dict[str, Result] = {}

    def bound(self, name: str) -> BoundReport:
        """The report of this name. Raises Problem: 404, or 409 for one that does not fit its object."""
        if (found := self._reports.usable.get(name)) is not None:
            return found
        if (fault := self._reports.faults.get(name)) is not None:
            raise Problem(409, "report-not-possible", f"The report does not fit its object: {fault}")
        raise Problem(404, "not-found", "There is no such report.")

    def result(self, name: str) -> Result:
        """
        The report as it is now.

        Raises:
            Problem: see bound(); 503: too many are worked out already, or too many wait.
            SalmonError: MongoDB does not serve us, or not in time.
        """
        bound, asked = self.bound(name), self._clock()
        turn = self._turns[name]
        if not turn.acquire(blocking=False):  # it is being worked out
            with _place(self._waiting_for[name]), _place(self._waiting):
                turn.acquire()
        try:
            newest = self._newest.get(name)
            if newest is None or newest.began < asked:
                with _place(self._working):
                    newest = self._newest[name] = self._computed(bound)
            return newest
        finally:
            turn.release()

    def _computed(self, bound: BoundReport) -> Result:
        at_s, began = time.time(), self._clock()
        collection = self._database[bound.report.collections[0]]
        with border(f"working out the report {bound.name}"):
            answer = collection.aggregate(
                pipeline_of(bound),
                maxTimeMS=self._time_bound_ms(),
                allowDiskUse=True,
                collation=_BYTE_BY_BYTE,
            )
            rows, more = rows_of(bound, answer)
            names = {
                each.label.column: self._names(
                    each.label, {row.groups[n]: row.sources[n] for row in rows if row.groups[n] is not None}
                )
                for n, each in enumerate(bound.groups)
                if each.label is not None
            }
        return Result(bound, rows, names, more, at_s, began)

    def _names(self, label: Label, ids: Mapping[str, Any]) -> Mapping[str, str]:
        """The names of records. *ids*: record key -> `_id`."""
        found: dict[str, str] = {}
        for name in label.collections if ids else ():
            documents = self._database[name].find({"_id": {"$in": list(ids.values())}}, {label.path: 1})
            for each in documents.max_time_ms(self._time_bound_ms()):
                said = at(each, label.path)
                if isinstance(said, str) and said:
                    found[key_of(each["_id"])] = said
        return found


@contextmanager
def _place(among: BoundedSemaphore) -> Iterator[None]:
    """One of so many places. Raises Problem: 503, all are taken. Nobody waits for one."""
    if not among.acquire(blocking=False):
        raise Problem(503, "busy", "Too many reports are worked out at once.", headers={"Retry-After": "2"})
    try:
        yield
    finally:
        among.release()
