"""
Reading whole objects, chunk by chunk in the order of their Ids, ahead of need and in a thread of its own, so
that the stream goes on meanwhile.

A run can be stopped anywhere and goes on after the last row that was reported; what is reported of it, and when its
progress is stored, is for feed.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, Protocol

import structlog

from salmon.backoff import Backoff, Tries
from salmon.errors import RateLimited, RequestRejected, RetriableError, SalmonError
from salmon.plugin.contract import WaitingObject
from salmon.salesforce.reading.whole.bulk_jobs import BulkReads, NotByBulk
from salmon.salesforce.reading.whole.bulk_rule import JOB_ROWS, bulk_is_cheaper, window_is_cheaper
from salmon.salesforce.reading.whole.cutting import cuts
from salmon.salesforce.reading.whole.rows import ReadRows
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.reading.whole.windows import Window
from salmon.salesforce.troubles import Troubles, job_is_slow, reading_fails
from salmon.salesforce.wire.budget import OverBudget, Urgency, during
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.rest import PAGE_ROWS

log = structlog.get_logger(__name__)

REST: Final = "rest"
BULK: Final = "bulk"
# A part costs a few calls: to find where it begins, and a page that is not full. By Bulk there are no more jobs than without parts.
PART_ROWS: Final = {REST: 25 * PAGE_ROWS, BULK: JOB_ROWS}
CHUNKS_AHEAD: Final = 2
# When to ask for a bulk job again: small ones are ready in seconds, large ones in minutes.
LOOK_AGAIN: Final = Backoff(first_s=1.0, max_s=30.0)
SLOW_JOB_S: Final = 900.0  # the org queues jobs while it is busy; from then on a person should know
_NOT_READY: Final = object()
_CLOCK_EVERY_S: Final = 0.25
_TURN_S: Final = 10.0  # a read that fails for so long lets the other objects have their turn
# Events wait for the rows after a hole, so these are as urgent. All others can wait.
_URGENCIES: Final = {Why.HOLE: Urgency.NOW, Why.REFRESH: Urgency.SPARE}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a run: rows in the order of their Ids, or absences. *run*: as it is when all of them are reported."""

    run: Run
    read: ReadRows


@dataclass(frozen=True, slots=True)
class Failed:
    """A run that cannot go on until somebody mends it."""

    error: Exception


class ChunkReader(Protocol):
    """What is asked of RowReader."""

    def after(
        self,
        native_id: str,
        limit: int = PAGE_ROWS,
        floor: int = 0,
        since: int | None = None,
        to: str = "",
    ) -> ReadRows: ...
    def count(self, after: str, to: str, since: int | None = None) -> int: ...
    def first(self, after: str) -> str: ...
    def last(self, to: str) -> str: ...
    def deleted(
        self, after: str = "", *, since: int | None = None, limit: int | None = PAGE_ROWS, floor: int = 0
    ) -> ReadRows: ...


class Org(Protocol):
    """What is asked of Rest."""

    clock: OrgClock

    def count(self, name: str) -> int: ...
    def look_at_clock(self) -> None: ...


class CountingOrg(Org, Protocol):
    """What is asked of Rest besides, to know how large an object is."""

    def count_roughly(self, name: str) -> int: ...


class _OthersFirst(Exception):
    """Other objects wait to be read, and it is their turn: a chunk has been read, or a read has failed for a while."""


@dataclass(frozen=True, slots=True)
class _Ids:
    """An object's Ids, to be cut."""

    reader: ChunkReader

    def count(self, after: str, to: str, since: int | None = None) -> int | None:
        try:
            return self.reader.count(after, to, since)
        except RateLimited:
            raise
        except SalmonError as error:  # It takes too long, perhaps: the parts are less even then.
            log.info("part_not_counted", error=str(error))
            return None

    def first(self, after: str) -> str:
        return self.reader.first(after)

    def last(self, to: str) -> str:
        return self.reader.last(to)


@dataclass(slots=True)
class _Job:
    run: Run
    cancelled: threading.Event = field(default_factory=threading.Event)
    looks: int = 0  # at a bulk job that was not complete yet


class Snapshots:
    """The runs of all objects, by turns, a chunk each. `begin` and `close` may be called from any thread."""

    def __init__(
        self,
        org: CountingOrg,
        readers: Mapping[str, ChunkReader],
        *,
        wake: Callable[[], None] = lambda: None,
        backoff: Backoff = Backoff(),
        rows_a_chunk: int = PAGE_ROWS,
        troubles: Troubles | None = None,
        clock: Callable[[], float] = time.monotonic,
        bulk: BulkReads | None = None,
        use_bulk: Literal["auto", "always", "never"] = "auto",
        look_again: Backoff = LOOK_AGAIN,
        parts_max: int = 1,
        part_rows: Mapping[str, int] = PART_ROWS,
    ) -> None:
        """
        Args:
            parts_max: Into how many parts a run may be cut. Who gives more than 1 begins the parts of the run that it gets back.
            part_rows: How many records a part holds at least, by REST and by Bulk.
        """
        self._org: Org = org
        self._sizes: CountingOrg = org
        self._bulk = None if use_bulk == "never" else bulk
        self._use_bulk, self._look_again = use_bulk, look_again
        self._parts_max, self._part_rows = parts_max, part_rows
        self._not_by_bulk: dict[str, str] = {}  # objects that are read by REST though Bulk costs less: why
        self._in_the_org: dict[str, float] = {}  # objects whose bulk job is waited for: since when
        self._clock = clock
        # Objects whose reads fail: since when, and what we say of it.
        self._failing: dict[str, tuple[float, str]] = {}
        self._readers, self._wake = readers, wake
        self._tries = Tries(backoff)
        self._rows_a_chunk = rows_a_chunk
        self._troubles = troubles or Troubles()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._latest: dict[str, _Job] = {}
        self._chunks: queue.Queue[tuple[_Job, Chunk] | Failed] = queue.Queue(CHUNKS_AHEAD)
        self._stopped = threading.Event()
        threading.Thread(target=self._work, name="snapshots", daemon=True).start()

    def begin(self, run: Run) -> None:
        """Read *run*, from where it stands, by turns with the others. An earlier run of its object is given up."""
        if (earlier := self._latest.get(run.object)) is not None:
            earlier.cancelled.set()
        job = self._latest[run.object] = _Job(run)
        self._jobs.put(job)

    def give_up(self, name: str) -> None:
        """Read the object no more."""
        if name in self._latest:
            self._latest.pop(name).cancelled.set()

    def take(self) -> Chunk | Failed | None:
        """The next chunk, or None if there is none yet."""
        while True:
            try:
                item = self._chunks.get_nowait()
            except queue.Empty:
                return None
            if isinstance(item, Failed):
                return item
            job, chunk = item
            if not job.cancelled.is_set():
                return chunk

    def waiting(self) -> list[WaitingObject]:
        """The objects whose reading fails and is tried again."""
        now_s = self._clock()
        waits = {name: (since_s, sentence) for name, (since_s, sentence) in self._failing.copy().items()}
        for name, since_s in self._in_the_org.copy().items():
            if now_s - since_s >= SLOW_JOB_S:
                waits.setdefault(name, (since_s, job_is_slow(name)))
        return [
            WaitingObject(f"reading {name}", now_s - since_s, sentence)
            for name, (since_s, sentence) in sorted(waits.items())
        ]

    def note(self) -> str:
        """What a person should know, though all is well: which objects are read by REST that cost less by Bulk, and why."""
        return " ".join(sentence for _, sentence in sorted(self._not_by_bulk.copy().items()))

    def close(self) -> None:
        """End the thread; return at once."""
        self._stopped.set()
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._stopped.is_set():
            if self._troubles.blocks(job.run.object):
                self._later(job)
                continue
            try:
                with during(_URGENCIES.get(job.run.why, Urgency.LATER)):
                    self._run(job)
            except RequestRejected as error:
                self._failing.pop(job.run.object, None)
                self._troubles.found(job.run.object, error)
                self._later(job)
            except _OthersFirst:
                self._jobs.put(job)
            except Exception as error:  # noqa: BLE001 -- a thread has no caller: take() raises it
                self._put(job, Failed(error))
                break
        if self._bulk is not None:
            self._bulk.close()

    def _later(self, job: _Job, in_s: float | None = None) -> None:
        again = threading.Timer(self._troubles.again_s if in_s is None else in_s, self._jobs.put, (job,))
        again.daemon = True
        again.start()

    def _run(self, job: _Job) -> None:
        self._await_clock(job)
        run = job.run = self._began_now(job)
        if run.by == BULK and self._bulk is None:  # It may not be any more.
            run = job.run = replace(run, by=REST, job=None)
        if run.window and not run.by:
            run = job.run = self._retried(job, partial(self._counted, run)) or run
        if not run.by:
            if run.total is None:
                run = replace(run, total=self._retried(job, partial(self._total, run.object)))
            run = job.run = replace(run, by=self._chosen(run))
            found = self._retried(job, partial(self._cuts, run))
            if found:
                self._put(job, (job, _nothing_of(run.cut_at(found))))
                return
        while not (run.done or job.cancelled.is_set() or self._stopped.is_set()):
            by_bulk = run.by == BULK and not run.absences
            chunk = self._retried(job, partial(self._by_bulk if by_bulk else self._by_rest, run))
            if chunk is None:
                return
            if chunk is _NOT_READY:
                self._look_later(job)
                return
            job.looks = 0
            self._in_the_org.pop(run.object, None)
            self._troubles.over(run.object)
            self._put(job, (job, chunk))
            run = job.run = chunk.run
            if not (run.done or self._jobs.empty()):
                raise _OthersFirst
        self._in_the_org.pop(run.object, None)
        self._not_by_bulk.pop(run.object, None)
        if job.cancelled.is_set() and self._bulk is not None and run.object not in self._latest:
            self._bulk.give_up(run.object)

    def _began_now(self, job: _Job) -> Run:
        """A run that nothing but the time has begun, as it is when it begins: nobody has asked the org for a while, perhaps."""
        run = job.run
        if run.why not in (Why.POLLED, Why.REFRESH) or run.last or run.absences or run.to:
            return run
        self._retried(job, self._org.look_at_clock)
        return replace(run, began=max(run.began, self._org.clock.covered or 0))

    def _counted(self, run: Run) -> Run:
        """The run with what is stamped since its hole began; or without a window, where it costs no more to read all of the object."""
        if (stamped := _Ids(self._readers[run.object]).count("", "", run.since)) is None:
            return replace(run, window=False)
        wide, by_bulk = self._bulk is not None and self._bulk.is_wide(run.object), self._bulk is not None
        total = self._total(run.object) if stamped > PAGE_ROWS else None
        if total is not None and not window_is_cheaper(stamped, total, wide=wide, by_bulk=by_bulk):
            return replace(run, window=False, total=total)
        return replace(run, total=stamped, by=REST)

    def _chosen(self, run: Run) -> str:
        """Whether the object is read by REST or by Bulk, from now on and after a restart."""
        if self._bulk is None:
            return REST
        wide, left = self._bulk.is_wide(run.object), max(0, (run.total or 0) - run.read)
        by = BULK if self._use_bulk == "always" or bulk_is_cheaper(left, wide=wide) else REST
        log.info("snapshot_chosen", object=run.object, by=by, records=run.total)
        return by

    def _cuts(self, run: Run) -> list[str]:
        """The Ids at which the run is cut into parts; none where it is read in a row."""
        left = max(0, (run.total or 0) - run.read)
        parts = min(self._parts_max, -(-left // self._part_rows[run.by]))
        if parts < 2:
            return []
        try:
            found = cuts(_Ids(self._readers[run.object]), parts, after=run.last, records=left)
        except RequestRejected as error:
            log.info("snapshot_not_cut", object=run.object, error=str(error))
            return []
        log.info("snapshot_cut", object=run.object, parts=len(found) + 1)
        return found

    def _by_rest(self, run: Run) -> Chunk:
        read = self._read(run)
        return Chunk(self._told(run, read), read)

    def _by_bulk(self, run: Run) -> Chunk | object:
        """
        The next chunk, or _NOT_READY. Where the org does not serve the object by Bulk, or not soon enough, it is read by REST,
        and that is told.
        """
        assert self._bulk is not None
        name = run.object
        try:
            step = self._bulk.step(name, run.job, run.last, run.began, run.to)
        except NotByBulk as error:
            if self._use_bulk == "always" and error.refusal is not None:
                raise error.refusal from error
            return self._by_rest_instead(run, str(error), disordered=error.disordered)
        if step is None:
            # After a hole, events wait for the rows of their records, and the stream for the events where these are many.
            if run.why is not Why.HOLE or self._clock() - self._in_the_org.get(name, math.inf) < SLOW_JOB_S:
                return _NOT_READY
            self._bulk.give_up(name)
            return self._by_rest_instead(
                run, f"the org has not finished its job in {SLOW_JOB_S / 60:.0f} minutes"
            )
        read = replace(step.read, go_on_after="" if step.ends else step.last)
        following = replace(run, job=step.job)
        if step.last == run.last and not step.ends:
            return Chunk(following, read)
        return Chunk(self._told(following, read), read)

    def _by_rest_instead(self, run: Run, reason: str, *, disordered: bool = False) -> Chunk:
        """No rows, but the choice, which is stored. *disordered*: rows above the last may have been reported before others below it."""
        self._not_by_bulk[run.object] = (
            f"{run.object} is read by REST though Bulk API 2.0 would cost fewer API calls, because {reason}. All its records are "
            f"read. If it happens again, let the integration user use the Bulk API, or set salesforce.bulk.query to never."
        )
        log.warning("snapshot_not_by_bulk", object=run.object, reason=reason)
        run = replace(run, by=REST, job=None)
        if disordered:
            run = replace(run, last=run.after, read=0)
        return _nothing_of(run)

    def _look_later(self, job: _Job) -> None:
        """Ask for the bulk job again in a while; the other objects have their turn meanwhile."""
        job.looks += 1
        self._in_the_org.setdefault(job.run.object, self._clock())
        self._later(job, self._look_again.bound_s(job.looks))

    def _read(self, run: Run) -> ReadRows:
        reader = self._readers[run.object]
        if run.absences:
            return reader.deleted(run.last, since=run.since, limit=self._rows_a_chunk, floor=run.began)
        since = run.rows_since
        return reader.after(run.last, limit=self._rows_a_chunk, floor=run.began, since=since, to=run.to)

    def _told(self, run: Run, read: ReadRows) -> Run:
        """The run as it is when *read* is reported too."""
        count = run.read + (len(read.rows) if run.counts else 0)
        if read.go_on_after:
            return replace(run, last=read.go_on_after, read=count)
        return replace(run, read=count).rows_are_reported()

    def _await_clock(self, job: _Job) -> None:
        """Wait until what is read from now on surely holds all that was committed up to `not_before`."""
        while (self._org.clock.covered or 0) < job.run.not_before:
            if job.cancelled.is_set() or self._stopped.wait(_CLOCK_EVERY_S):
                return
            self._retried(job, self._org.look_at_clock)

    def _total(self, name: str) -> int | None:
        for count, said in ((self._org.count, "exactly"), (self._sizes.count_roughly, "roughly")):
            try:
                return count(name)
            except RateLimited:
                raise
            except SalmonError as error:  # Counting is for the progress bar; a big object may take too long.
                log.info("snapshot_not_counted", object=name, how=said, error=str(error))
        return None

    def _retried(self, job: _Job, call: Callable[[], Any]) -> Any:
        """
        The call's answer, tried until it comes; None once nobody waits for it any more. Raises _OthersFirst if it fails for
        long while others wait.
        """
        name, began_s = job.run.object, self._clock()
        while not (job.cancelled.is_set() or self._stopped.is_set()):
            try:
                answer = call()
            except OverBudget as error:  # the budget says so itself
                self._failing.pop(name, None)
                self._stopped.wait(min(error.retry_after_s or _TURN_S, _TURN_S))
                if not self._jobs.empty():
                    raise _OthersFirst from error
                continue
            except RetriableError as error:
                wait_s = self._tries.failed()
                log.warning("snapshot_waits", object=name, error=str(error), again_in_s=wait_s)
                self._failing[name] = (
                    self._failing.get(name, (self._clock(), ""))[0],
                    reading_fails(name, error),
                )
                self._stopped.wait(wait_s)
                if self._clock() - began_s >= _TURN_S and not self._jobs.empty():
                    raise _OthersFirst from error
                continue
            self._tries.worked()
            self._failing.pop(name, None)
            return answer
        return None

    def _put(self, job: _Job, item: tuple[_Job, Chunk] | Failed) -> None:
        while not (job.cancelled.is_set() or self._stopped.is_set()):
            try:
                self._chunks.put(item, timeout=0.5)
            except queue.Full:
                continue
            self._wake()
            return


def _nothing_of(run: Run) -> Chunk:
    """No rows, but the run as it is from here on, to be stored."""
    return Chunk(run, ReadRows((), Window(run.began, run.began)))
