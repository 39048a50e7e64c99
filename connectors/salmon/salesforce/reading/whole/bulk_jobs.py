"""
Reading a whole object by query jobs of Bulk API 2.0, step by step: make a job, see whether it is complete, take rows.

Each job selects the next records in the order of their Ids, so a run goes on behind the last row reported, whatever has become of a
job: one that has expired, failed or been deleted is followed by another that begins there. Rows come from the network as they are
asked for; no page is held. Their window is the whole time in which the job may have read them.
When to read by Bulk is for bulk_rule and snapshot; what the rows mean, for rows.
Source: Bulk API 2.0 Developer Guide, "Query Jobs" (ORDER BY and LIMIT are kept; such a query is not split by PK chunking).
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Final, Protocol

import structlog

from salmon.errors import RequestRejected, SalmonError, Unavailable
from salmon.model.schema import ObjectSchema
from salmon.salesforce.reading.whole.bulk_rule import JOB_ROWS, RESULT_ROWS
from salmon.salesforce.reading.whole.bulk_values import OtherColumns, ValuesOfCsv
from salmon.salesforce.reading.whole.rows import ReadRows
from salmon.salesforce.reading.whole.windows import Window
from salmon.salesforce.wire.batches import IDS_A_QUERY
from salmon.salesforce.wire.bulk import JobState, NotCsv
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.codes import NOT_FOUND
from salmon.salesforce.wire.rest import PAGE_ROWS

log = structlog.get_logger(__name__)

# Rows of one step, and characters of their values: what is held of an object's rows.
_STEP_CHARS: Final = 8_000_000
# Of one object, in a row: then its jobs fail for a reason of their own, and each costs calls.
_LOST_MAX: Final = 3


class Page(Protocol):
    """What is asked of ResultPage."""

    @property
    def header(self) -> Sequence[str]: ...
    @property
    def next_locator(self) -> str: ...
    def __iter__(self) -> Iterator[list[str]]: ...
    def close(self) -> None: ...


class Queries(Protocol):
    """What is asked of BulkQueries."""

    @property
    def version(self) -> str: ...
    @property
    def clock(self) -> OrgClock: ...
    def begin(self, soql: str) -> str: ...
    def state(self, job_id: str) -> JobState: ...
    def page(self, job_id: str, locator: str, rows: int) -> Page: ...
    def delete(self, job_id: str) -> None: ...
    def abort(self, job_id: str) -> None: ...


class RowsOfResults(Protocol):
    """What is asked of RowReader."""

    @property
    def wide(self) -> bool: ...
    @property
    def schema(self) -> ObjectSchema: ...
    @property
    def columns(self) -> Sequence[str]: ...
    def query(self, after: str, limit: int, to: str = "") -> str: ...
    def of_results(
        self, shown: Sequence[Mapping[str, Any]], doubtful: Collection[str], window: Window
    ) -> ReadRows: ...


class NotByBulk(Exception):
    """
    The object cannot be read by Bulk, for this *reason*. *refusal*: the org's, if it was one. *disordered*: what was reported before
    need not be all up to the last Id.
    """

    def __init__(
        self, reason: str, *, refusal: RequestRejected | None = None, disordered: bool = False
    ) -> None:
        super().__init__(reason)
        self.refusal, self.disordered = refusal, disordered


@dataclass(frozen=True, slots=True)
class BulkJob:
    """A job of the org, and how far its results are reported."""

    id: str
    version: str  # of the API that made it: its results are given to no other
    as_of: int  # ms by the org's clock: its rows hold all that was committed up to then
    until: int = 0  # and none that was committed after; 0: it is not known to be complete
    found: int = 0  # records
    locator: str = ""  # the page of its results that is read
    after: str = ""  # the last Id before that page
    before: int = 0  # records before that page

    def to_position(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_position(cls, position: Mapping[str, Any] | None) -> BulkJob | None:
        """The inverse of to_position."""
        return None if position is None else cls(**stored_of(cls, position))


def stored_of(kind: type[Any], position: Mapping[str, Any], *, but: Collection[str] = ()) -> dict[str, Any]:
    """
    Return what a position holds of the fields of *kind*, a dataclass. What a later version of Salmon has put into it is left; a
    field without a default is asked for by name, so that its absence is reported as that of a key.

    Args:
        but: Fields that are not kept in the position.
    """
    return {
        each.name: position[each.name]
        for each in fields(kind)
        if each.name not in but
        and (each.name in position or (each.default is MISSING and each.default_factory is MISSING))
    }


@dataclass(frozen=True, slots=True)
class Step:
    """What one step has brought. *job*, *last*: as they are when its rows are reported. *ends*: it was the object's last."""

    job: BulkJob | None
    last: str
    read: ReadRows
    ends: bool = False


class BulkReads:
    """Whole objects, or one part of each at a time, read by Bulk. For one thread."""

    def __init__(
        self,
        queries: Queries,
        readers: Mapping[str, RowsOfResults],
        *,
        rows_a_job: int = JOB_ROWS,
        rows_a_page: int = RESULT_ROWS,
        rows_a_step: int = PAGE_ROWS,
    ) -> None:
        self._queries = queries
        self._readers = readers
        self._rows_a_job, self._rows_a_page, self._rows_a_step = rows_a_job, rows_a_page, rows_a_step
        self._opened: dict[str, _Opened] = {}
        self._lost: set[str] = set()  # Ids of jobs that gave no results
        self._running: dict[str, str] = {}  # the Id of each object's job
        self._losses: Counter[str] = Counter()  # jobs of each object that were lost since one gave rows

    def is_wide(self, name: str) -> bool:
        """Whether REST takes two calls for a page of the object."""
        return self._readers[name].wide

    def step(self, name: str, job: BulkJob | None, last: str, floor: int, to: str = "") -> Step | None:
        """
        Take the next step, behind the record *last*; None while the org is not ready with the job.

        Args:
            floor: A time by the org's clock that had passed before.
            to: The last Id that is asked for; "": there is none.

        Raises:
            NotByBulk: the org does not take such a query, or its results cannot be used.
            RetriableError: the same step may work later. If the job was lost, it then begins another.
        """
        if job is None or job.id in self._lost or job.version != self._queries.version:
            return self._begin(name, last, floor, to)
        self._running[name] = job.id
        try:
            if not job.until:
                done = self._completed(name, job)
                if done is None:
                    return None
                job = done
            return self._rows(name, job, last)
        except NotCsv as error:
            raise self._lose(name, job, str(error)) from error
        except RequestRejected as error:
            reason = f"the org gives no results of its bulk job {job.id} ({error.code})"
            trouble = self._lose(name, job, reason, error)
            if error.code == NOT_FOUND and self._losses[name] == 1:
                log.info("bulk_job_gone", object=name, job=job.id)  # after seven days, or somebody deleted it
                return self._begin(name, last, floor, to)
            raise trouble from error

    def give_up(self, name: str) -> None:
        """Read no more of the object by Bulk; the org need not finish its job."""
        self._close(name)
        if (job_id := self._running.pop(name, "")) and job_id not in self._lost:
            # One that is complete is forgotten in seven days.
            with contextlib.suppress(SalmonError):
                self._queries.abort(job_id)

    def close(self) -> None:
        """Give up what is open."""
        for opened in self._opened.values():
            opened.page.close()
        self._opened.clear()

    def _begin(self, name: str, last: str, floor: int, to: str) -> Step:
        self.give_up(name)  # what is left of a run that was given up
        clock = self._queries.clock
        as_of = max(floor, clock.covered or 0)
        try:
            job_id = self._queries.begin(self._readers[name].query(last, self._rows_a_job, to))
        except RequestRejected as error:
            said = f"{error.code}: {error.words}" if error.words else error.code
            raise NotByBulk(
                f"the org does not take the query as a bulk job ({said})", refusal=error
            ) from error
        self._running[name] = job_id
        log.info("bulk_job_made", object=name, job=job_id)
        job = BulkJob(job_id, self._queries.version, as_of, after=last)
        # It is stored before it is waited for: a restart finds it.
        return Step(job, last, ReadRows((), Window(as_of, as_of)))

    def _completed(self, name: str, job: BulkJob) -> BulkJob | None:
        asked_s = time.monotonic()
        state = self._queries.state(job.id)
        if state.failed:
            raise self._lose(name, job, f"the org's bulk job {job.id} ended as {state.failed}")
        if not state.complete:
            return None
        until = OrgClock.read_until(self._queries.clock.now, time.monotonic() - asked_s)
        return replace(job, until=until, found=state.found)

    def _rows(self, name: str, job: BulkJob, last: str) -> Step:
        if not job.found:
            return self._ended(name, job, last, ReadRows((), Window(job.as_of, job.until)), seen=0)
        reader = self._readers[name]
        opened = self._opened.get(name)
        if opened is None or (opened.job.id, opened.job.locator, opened.last) != (job.id, job.locator, last):
            self._close(name)
            page = self._queries.page(job.id, job.locator, self._rows_a_page)
            try:
                values = ValuesOfCsv(reader.schema, reader.columns, page.header)
            except OtherColumns:
                page.close()
                reason = f"the bulk job {job.id} was made when {name} had other fields"
                raise self._lose(name, job, reason) from None
            opened = self._opened[name] = _Opened(job, last, page, values, before=job.after)
        try:
            shown, doubtful, at_end = opened.take(self._rows_a_step)
            if len(doubtful) > IDS_A_QUERY:  # REST would read all of the step in fewer calls.
                raise NotByBulk(
                    "too many of its numbers have more digits than the results of a bulk job show"
                )
            read = reader.of_results(shown, doubtful, Window(job.as_of, job.until))
        except BaseException:
            self._close(name)  # It is opened again, behind the last row that was reported.
            raise
        del self._losses[name]
        last = opened.last
        if not at_end:
            return Step(job, last, read)
        self._close(name)
        seen = job.before + opened.seen
        if opened.page.next_locator:
            following = replace(job, locator=opened.page.next_locator, after=last, before=seen)
            return Step(following, last, read)
        return self._ended(name, job, last, read, seen)

    def _ended(self, name: str, job: BulkJob, last: str, read: ReadRows, seen: int) -> Step:
        """Its last row was read. What is not reported yet, if the process is killed now, is read by another job."""
        if seen != job.found:  # An answer came without the header that names the next page, say.
            if not seen:
                raise self._lose(
                    name, job, f"the org gives none of {job.found} rows of its bulk job {job.id}"
                )
            log.warning("bulk_job_short", object=name, job=job.id, records=job.found, seen=seen)
        self._running.pop(name, None)
        with contextlib.suppress(SalmonError):  # The org forgets it by itself in seven days.
            self._queries.delete(job.id)
        log.info("bulk_job_read", object=name, job=job.id, records=job.found)
        return Step(None, last, read, ends=seen == job.found < self._rows_a_job)

    def _lose(
        self, name: str, job: BulkJob, why: str, refusal: RequestRejected | None = None
    ) -> Unavailable | NotByBulk:
        """The error for a job that gives nothing more."""
        self._close(name)
        self._lost.add(job.id)
        self._losses[name] += 1
        if self._losses[name] < _LOST_MAX:
            return Unavailable(f"{why}. Another job is made.")
        del self._losses[name]
        return NotByBulk(f"{why}, after {_LOST_MAX - 1} others", refusal=refusal)

    def _close(self, name: str) -> None:
        if (opened := self._opened.pop(name, None)) is not None:
            opened.page.close()


class _Opened:
    """A page that is being read. *before*: the last Id before the page; *last*: of the rows that were taken."""

    def __init__(self, job: BulkJob, last: str, page: Page, values: ValuesOfCsv, before: str) -> None:
        self.job, self.last, self.page = job, last, page
        self._values = values
        self._rows = iter(page)
        self._before = before
        self.seen = 0

    def take(self, limit: int) -> tuple[list[Mapping[str, Any]], list[str], bool]:
        """The next records, the Ids of those that may not be shown with all digits, and whether the page is at its end."""
        shown: list[Mapping[str, Any]] = []
        doubtful: list[str] = []
        chars = 0
        for row in self._rows:
            native_id = self._values.native_id(row)
            if native_id <= self._before:
                raise NotByBulk(
                    "the org does not keep to the order of the Ids that the query asks for", disordered=True
                )
            self._before = native_id
            self.seen += 1
            if native_id <= self.last:
                continue  # It was reported before the page was opened again.
            record, is_doubtful = self._values.shown(row)
            shown.append(record)
            if is_doubtful:
                doubtful.append(native_id)
            self.last = native_id
            chars += sum(map(len, row))
            if len(shown) >= limit or chars >= _STEP_CHARS:
                return shown, doubtful, False
        return shown, doubtful, True
