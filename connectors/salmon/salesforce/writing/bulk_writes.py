"""
Writes by Bulk API 2.0, where so many of one kind wait that a job costs fewer API calls than Collections.

Bulk says of a record that it was written, or Collections decide: whatever a job has not written (refused, not processed, all of a
job that failed) is sent again by Collections, which know what an error means, and which record of a call is at fault. So no error of
a job is ever an outcome.
Until a job has ended, the org may still carry it out. Nothing else is written before then: an older write would come after a newer
one. That holds after a restart, too: our jobs are looked for in the org. One without its upload is aborted, another is waited for.
Source: Bulk API 2.0 Developer Guide, "Bulk API 2.0 Ingest", "Prepare CSV Files" (#N/A sets a field to null, an empty value leaves it).
"""

from __future__ import annotations

import csv
import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Protocol

import structlog

from salmon.backoff import Backoff
from salmon.errors import RateLimited, RequestRejected, RetriableError, Unavailable
from salmon.model.change import WriteOp
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import WaitingObject
from salmon.plugin.leave import always
from salmon.salesforce.wire.bulk import DELIMITER, FIELD_CHARS, has_ended
from salmon.salesforce.wire.codes import NOT_FOUND
from salmon.salesforce.wire.rest import COLLECTION_ROWS, RowResult

log = structlog.get_logger(__name__)

# To make the job, upload, close, look at it (after 0.5, 1, 2, ... s: five times in 15 s), and for its results (up to three).
JOB_CALLS: Final = 11
# From here on a job costs fewer calls than Collections of 200: its rows, of one object and one kind, are more than 11 of them.
# Where the latest job of an object took longer, and so more calls than that, the next one has to have rows for as many.
BULK_ROWS_MIN: Final = JOB_CALLS * COLLECTION_ROWS + 1
BULK_ROWS_MAX: Final = 10_000  # the org makes one batch of so many
_CHARS_MAX: Final = 20_000_000  # of a job; it is held in memory
_ROW_CHARS_MAX: Final = 400_000
_NULL: Final = "#N/A"
_OPERATIONS: Final = {WriteOp.CREATE: "insert", WriteOp.UPDATE: "update"}
_LOOK_AGAIN: Final = Backoff(first_s=0.5, max_s=30.0)
_DEAR_FOR_S: Final = 3_600.0  # so long a job's calls count as those of the next one
_NOT_AGAIN_S: Final = 600.0  # an object whose job was refused, or has written less than half
_NOT_MADE_S: Final = 60.0  # one that was not made
_SHOWN_AFTER_S: Final = 60.0
# A job that has waited or worked for so long is aborted: where an org holds up what is not synchronous, calls may work.
SLOW_JOB_S: Final = 15 * 60.0
_NO_JOBS_S: Final = 3_600.0  # after that
TAKEN_AWAY: Final = (
    "its partitions are being taken away, or were while the process was held up: who has them looks at what was written, and writes "
    "the rest"
)
_LOOKED_AT: Final = "Its records are looked at, and written again where they must be."

Body = Mapping[str, Any]


class Jobs(Protocol):
    """What is asked of BulkIngests."""

    def begin(self, name: str, operation: str) -> str: ...
    def upload(self, job_id: str, text: str) -> None: ...
    def close(self, job_id: str) -> None: ...
    def abort(self, job_id: str) -> None: ...
    def state(self, job_id: str) -> str: ...
    def rows(self, job_id: str, which: str) -> Iterator[Mapping[str, str]]: ...
    def unfinished(self) -> list[str]: ...
    def calls(self) -> int: ...


class BulkWrites:
    """
    The jobs of one sink task. For one thread; `waiting`, `doubt` and `batch_for` from any.

    Args:
        leave: Objects that never go by Bulk.
        rows_min: From how many writes of one object and one kind on they go by Bulk; more where its jobs are dear.
        may_send: Asked before a job is made, and before it is let go (see AsksForLeave).
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        jobs: Jobs,
        stopped: threading.Event,
        *,
        enabled: bool = True,
        leave: Collection[str] = (),
        rows_min: int = BULK_ROWS_MIN,
        look_again: Backoff = _LOOK_AGAIN,
        may_send: Callable[[], bool] = always,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._stopped = jobs, stopped
        self._enabled, self._leave, self._rows_min = enabled, frozenset(leave), rows_min
        self._look_again, self._may_send, self._clock = look_again, may_send, clock
        self._unsure = True  # whether there may be jobs of ours that we do not know
        # Whether they can be looked for; if not, a killed process would leave jobs that nobody waits for.
        self._may_look = True
        self._unfinished: set[str] = set()
        self._waits_since_s: float | None = None
        self._not_before_s: dict[str, float] = {}  # objects that go by Collections until then
        self._none_before_s = 0.0  # the same for all objects
        # Objects whose latest job took more calls than usual: how many rows the next is to have, and until when.
        self._dear: dict[str, tuple[int, float]] = {}

    def batch_for(self, ready: Collection[tuple[str, str]]) -> int:
        """How many of the writes that wait, as (object, key), to take at once: many where a job may be made of them."""
        if not self._is_used or len(ready) < self._rows_min:
            return COLLECTION_ROWS
        counts = Counter(name for name, _ in islice(ready, BULK_ROWS_MAX) if self._is_served(name))
        is_enough = any(count >= self._least_of(name) for name, count in counts.items())
        return BULK_ROWS_MAX if is_enough else COLLECTION_ROWS

    def doubt(self) -> None:
        """Another instance may have left jobs."""
        self._unsure = True

    def settle(self) -> None:
        """
        See to it that no job of ours is being carried out. Called before anything is written.

        Raises RetriableError while one is, or while the org cannot be asked.
        """
        if self._unsure:
            self._unsure = False
            try:
                self._unfinished.update(self._jobs.unfinished())
                self._may_look = True
            except RequestRejected as error:  # Who may not see jobs makes none, and has made none.
                self._may_look = False
                log.warning("bulk_jobs_not_visible", code=error.code, instead="Collections")
            except BaseException:
                self._unsure = True
                raise
        for job_id in sorted(self._unfinished):
            self._end(job_id)
        self._waits_since_s = None

    def sent(
        self, op: WriteOp, records: Sequence[tuple[str, Body]], schemas: Mapping[str, ObjectSchema]
    ) -> Mapping[int, RowResult]:
        """
        Write what can be written by Bulk, of records as (object, body). Returns a result for each that was written, by its place;
        all others were not written.

        Raises RetriableError: nothing is known of any of them.
        """
        if not self._is_used or op not in _OPERATIONS or len(records) < self._rows_min:
            return {}
        places: dict[str, list[int]] = {}
        for place, (name, _) in enumerate(records):
            places.setdefault(name, []).append(place)
        written: dict[int, RowResult] = {}
        for name, of_one in places.items():
            results = self._sent_of(op, name, [records[place][1] for place in of_one], schemas[name])
            written.update({of_one[index]: result for index, result in results.items()})
        return written

    def _sent_of(
        self, op: WriteOp, name: str, bodies: Sequence[Body], schema: ObjectSchema
    ) -> Mapping[int, RowResult]:
        operation, key = _OPERATIONS[op], schema.markers.key if op is WriteOp.CREATE else "Id"
        fits = {str(body[key]): index for index, body in enumerate(bodies) if _fits(body)}
        if len(fits) < self._least_of(name):
            return {}
        # Rows of one parent in one batch after the other lock it less often.
        parents = [field.name for field in schema.references]
        order = sorted(
            fits.values(), key=lambda index: [str(bodies[index].get(each) or "") for each in parents]
        )
        written: dict[int, RowResult] = {}
        while self._is_served(name):
            some, order = _one_job(order, bodies)
            if len(some) < self._least_of(name):  # the rest, or large ones
                break
            before = self._jobs.calls()
            results = self._carry_out(name, operation, key, [bodies[index] for index in some])
            self._took(name, self._jobs.calls() - before)
            written.update({fits[each]: result for each, result in results.items()})
            if len(results) * 2 < len(some):
                self._not_now(name, f"its job has written {len(results)} of {len(some)} records")
        return written

    def waiting(self) -> list[WaitingObject]:
        """The job that all writes wait for, if it lasts."""
        since_s = self._waits_since_s
        if since_s is None or (waits_s := self._clock() - since_s) < _SHOWN_AFTER_S:
            return []
        return [
            WaitingObject(
                "bulk job",
                waits_s,
                "All writes to Salesforce wait for a bulk job of Salmon's, which the org has not finished. See Setup, Bulk Data Load "
                f"Jobs. It is aborted after {SLOW_JOB_S / 60:.0f} minutes, and its records are written by other calls.",
            )
        ]

    def _carry_out(
        self, name: str, operation: str, key: str, bodies: Sequence[Body]
    ) -> Mapping[str, RowResult]:
        """One job. The records that it has written, by their key."""
        if self._stopped.is_set():
            raise Unavailable("the sink is being stopped: what was not sent yet is put by its successor")
        if not self._may_send():
            raise Unavailable(TAKEN_AWAY)
        try:
            job_id = self._jobs.begin(name, operation)
        except RequestRejected as error:
            self._not_now(name, f"the org refuses the job ({error.code})")
            return {}
        except RateLimited:
            raise
        except RetriableError as error:
            # If it was made, it has no records, and is never carried out: it is found and aborted at the next start.
            self._not_now(name, f"the org does not make its job: {error}", for_s=_NOT_MADE_S)
            return {}
        self._unfinished.add(job_id)
        self._waits_since_s = self._clock()
        try:
            self._jobs.upload(job_id, _csv_of(bodies, key))
            if not self._may_send():
                raise Unavailable(TAKEN_AWAY)  # It is aborted before anything else is written.
            self._jobs.close(job_id)
            log.info("bulk_job_made", object=name, job=job_id, records=len(bodies))
        except RequestRejected as error:
            # By its code, nothing was carried out; and now nothing can be any more.
            self._end(job_id)
            self._not_now(name, f"the org refuses what its job says ({error.code})")
            return {}
        try:
            state = self._ended(job_id)
            keys = {str(body[key]) for body in bodies}
            results, left = self._results(job_id, key, keys)
        except RequestRejected as error:  # It was carried out, or will be.
            self._not_now(name, f"the org says nothing of its job {job_id} ({error.code})")
            raise Unavailable(
                f"it is not known what became of the bulk job {job_id} ({error.code}). {_LOOKED_AT}"
            ) from error
        if state != "JobComplete":
            self._not_now(name, f"its job {job_id} has ended as {state}")
        if left or state == "Aborted":
            if left:
                self._not_now(name, f"its job {job_id} does not say of {left} records what became of them")
            raise Unavailable(
                f"the bulk job {job_id} has ended as {state}, and does not say of all records what became of them. {_LOOKED_AT}"
            )
        log.info("bulk_job_done", object=name, job=job_id, state=state, written=len(results), of=len(bodies))
        return results

    def _results(self, job_id: str, key: str, keys: Collection[str]) -> tuple[Mapping[str, RowResult], int]:
        """Of a job that has ended: what was written of *keys*, and of how many the job says nothing."""
        results = {
            row[key]: RowResult(True, row["sf__Id"])
            for row in self._jobs.rows(job_id, "successfulResults")
            if row.get(key) in keys and row.get("sf__Id")
        }
        left = set(keys) - results.keys()
        for which in ("failedResults", "unprocessedrecords"):
            if left:
                left -= {row.get(key, "") for row in self._jobs.rows(job_id, which)}
        return results, len(left)

    def _ended(self, job_id: str) -> str:
        """Wait for the job's end; its state then."""
        looks = 0
        while True:
            looks += 1
            if self._stopped.wait(self._look_again.bound_s(looks)):
                raise Unavailable(f"the sink is being stopped: its successor waits for the bulk job {job_id}")
            try:
                state = self._state(job_id)
            except RateLimited:
                raise
            except RetriableError as error:
                raise Unavailable(
                    f"it is not known what became of the bulk job {job_id}: {error} Nothing else is written meanwhile."
                ) from error
            if has_ended(state):
                self._unfinished.discard(job_id)
                self._waits_since_s = None
                return state

    def _end(self, job_id: str) -> None:
        """Abort a job that waits for its upload; of another, see whether it has ended."""
        try:
            state = self._state(job_id)
            if state == "Open":
                self._jobs.abort(job_id)
                log.info("bulk_job_aborted", job=job_id)
            elif not has_ended(state):
                self._waits_since_s = self._waits_since_s or self._clock()
                raise Unavailable(
                    f"the org is still at work on the bulk job {job_id} ({state}), whose writes may be older than those to come. "
                    "They wait until it has ended."
                )
        except RequestRejected as error:
            if error.code != NOT_FOUND:
                raise Unavailable(
                    f"the org says nothing of the bulk job {job_id} ({error.code}). Writes wait until it does."
                ) from error
        self._unfinished.discard(job_id)

    def _state(self, job_id: str) -> str:
        """The state of a job of ours; one that all writes have waited for too long is aborted first."""
        state = self._jobs.state(job_id)
        since_s, now_s = self._waits_since_s, self._clock()
        if has_ended(state) or state == "Open" or since_s is None or now_s - since_s < SLOW_JOB_S:
            return state
        self._none_before_s = now_s + _NO_JOBS_S
        try:
            self._jobs.abort(job_id)
        except RequestRejected as error:
            # It may have ended meanwhile; until it has, nothing else is written.
            log.warning("bulk_job_not_aborted", job=job_id, state=state, code=error.code)
        else:
            log.warning("bulk_job_aborted", job=job_id, state=state, after_s=round(now_s - since_s))
        return self._jobs.state(job_id)

    @property
    def _is_used(self) -> bool:
        return self._enabled and self._may_look and self._clock() >= self._none_before_s

    def _is_served(self, name: str) -> bool:
        return name not in self._leave and self._clock() >= self._not_before_s.get(name, 0.0)

    def _least_of(self, name: str) -> int:
        """How many rows a job of the object is to have now, so that it costs fewer calls than Collections."""
        rows, until_s = self._dear.get(name, (0, 0.0))
        return max(self._rows_min, rows) if self._clock() < until_s else self._rows_min

    def _took(self, name: str, calls: int) -> None:
        """The latest job of the object took so many calls."""
        if calls <= JOB_CALLS:
            self._dear.pop(name, None)
            return
        rows = calls * COLLECTION_ROWS + 1
        self._dear[name] = rows, self._clock() + _DEAR_FOR_S
        log.info("bulk_job_was_dear", object=name, calls=calls, rows_min=rows, for_s=_DEAR_FOR_S)

    def _not_now(self, name: str, why: str, for_s: float = _NOT_AGAIN_S) -> None:
        self._not_before_s[name] = self._clock() + for_s
        log.warning("writes_not_by_bulk", object=name, reason=why, instead="Collections", for_s=for_s)


def _one_job(order: list[int], bodies: Sequence[Body]) -> tuple[list[int], list[int]]:
    """The rows of the next job, and the rest."""
    chars = 0
    for number, index in enumerate(order):
        chars += sum(len(str(value)) for value in bodies[index].values())
        if number and (number == BULK_ROWS_MAX or chars > _CHARS_MAX):
            return order[:number], order[number:]
    return order, []


def _fits(body: Body) -> bool:
    """Whether CSV can say the record: no text that would be taken for null, no nested record, nothing too long."""
    texts = [value for name, value in body.items() if isinstance(value, str) and name != "attributes"]
    return (
        not any(isinstance(value, (dict, list)) for name, value in body.items() if name != "attributes")
        and not any(text == _NULL or len(text) > FIELD_CHARS for text in texts)
        and sum(map(len, texts)) < _ROW_CHARS_MAX // 2
    )


def _csv_of(bodies: Sequence[Body], key: str) -> str:
    columns = [key, *sorted({name for body in bodies for name in body} - {key, "attributes"})]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=DELIMITER, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    writer.writerows([_cell(body[name]) if name in body else "" for name in columns] for body in bodies)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None or value == "":  # An empty cell leaves the field as it is.
        return _NULL
    if isinstance(value, bool):
        return str(value).lower()
    # With no exponent, and all digits.
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
