"""
Jobs of Bulk API 2.0, for queries and for writes: begun, asked for, and their results as they come in, row by row.

The jobs are made and asked for by simple-salesforce's bulk2, on our session (see client). Three things of bulk2 stand in the way of
what Salmon promises, so they are ours. It waits for a job in the caller's thread, which could not be stopped. It holds a page of the
results in memory, or writes it to a file, and drops null characters. It expects an answer of a deletion, which has none.
Sources: Bulk API 2.0 Developer Guide, "Create a Query Job", "Get Information About a Query Job", "Get Results for a Query Job".
"""

from __future__ import annotations

import codecs
import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

import requests

from salmon.calls import Calls, Peer
from salmon.errors import Unavailable
from salmon.salesforce.wire.client import OF_A_JOB, OF_JOBS
from salmon.salesforce.wire.deadlines import ends_within
from salmon.salesforce.wire.http import READ_TIMEOUT_S
from salmon.salesforce.wire.rest import Rest

if TYPE_CHECKING:
    from simple_salesforce import bulk2

JOB: Final = OF_A_JOB
_JOBS: Final = "jobs/"
_PIECE_BYTES: Final = 65_536
# Results that come more slowly than this for long are given up: what drips in would never end.
_SLOWEST_BYTES_A_S: Final = 1_000
# "Bulk API and Bulk API 2.0 Limits and Allocations": characters of a field. Python's own limit is one below it.
FIELD_CHARS: Final = 131_072
# Jobs have no name. No other tool uses these two together, so that a job in the org's list can be known as one of ours.
DELIMITER: Final = "^"
_OUR_MARKS: Final = {"columnDelimiter": "CARET", "lineEnding": "CRLF"}
_ENDED: Final = frozenset({"JobComplete", "Failed", "Aborted"})
_ENDED_BADLY: Final = frozenset({"Failed", "Aborted"})
_LAST_PAGE: Final = "null"

_T = TypeVar("_T")


class NotCsv(Unavailable):
    """The results of a job cannot be read."""


@dataclass(frozen=True, slots=True)
class JobState:
    """How far the org is with a job. *failed*: why it gives no results, "" while it may."""

    complete: bool
    found: int
    failed: str = ""


class ResultPage:
    """One page of a job's results: its header, then its rows, read from the network as they are asked for."""

    def __init__(self, response: requests.Response, calls: Calls, delimiter: str = ",") -> None:
        self._response = response
        self._calls = calls
        csv.field_size_limit(max(csv.field_size_limit(), 2 * FIELD_CHARS))
        self._rows = csv.reader(_lines(self._pieces()), delimiter=delimiter)
        locator = response.headers.get("Sforce-Locator", _LAST_PAGE)
        self.next_locator = "" if locator == _LAST_PAGE else locator  # "" for the last page
        self._said = response.headers.get("Sforce-NumberOfRecords", "")
        self._seen = 0
        try:
            self.header = self._next() or []
        except BaseException:
            response.close()
            raise

    def rows(self) -> Iterator[list[str]]:
        """The rows, however many are said to come. Raises Unavailable where one breaks off."""
        while (row := self._next()) is not None:
            if row and len(row) != len(self.header):
                raise Unavailable("a row of a bulk job's results broke off. The page is asked for again.")
            if row:
                self._seen += 1
                yield row

    def __iter__(self) -> Iterator[list[str]]:
        """The rows. Raises Unavailable where the page breaks off, too: its rows can be asked for again."""
        yield from self.rows()
        if self._said != str(self._seen):
            raise Unavailable(
                f"a page of a bulk job's results has {self._seen} rows, and its header Sforce-NumberOfRecords says "
                f"{self._said or 'nothing'}: the answer broke off. It is asked for again."
            )

    def close(self) -> None:
        """Give up what has not been read."""
        self._response.close()

    def _next(self) -> list[str] | None:
        try:
            return next(self._rows, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise NotCsv(
                f"the results of a bulk job are not CSV in UTF-8 ({type(error).__name__})"
            ) from error

    def _pieces(self) -> Iterator[bytes]:
        pieces = self._response.iter_content(_PIECE_BYTES)
        # Only our own waiting counts: rows are read as they are needed.
        left_s = READ_TIMEOUT_S
        while True:
            began_s = time.monotonic()
            try:
                with self._calls.calling(Peer.SALESFORCE, "GET results of a bulk job"), ends_within(left_s):
                    piece = next(pieces, None)
            except requests.exceptions.RequestException as error:
                raise Unavailable(
                    "a page of a bulk job's results broke off. It is asked for again."
                ) from error
            if piece is None:
                return
            left_s = min(
                READ_TIMEOUT_S, left_s + len(piece) / _SLOWEST_BYTES_A_S - (time.monotonic() - began_s)
            )
            yield piece


class BulkQueries:
    """Query jobs in one org. Threads may share it. Every method raises as those of Rest do."""

    def __init__(self, rest: Rest, *, version: str, calls: Calls | None = None) -> None:
        """*version*: of the API, for the results of a job are given to the version that made it alone."""
        self.version = version
        self.clock = rest.clock
        self._rest = rest
        self._calls = calls or Calls()

    @cached_property
    def _jobs(self) -> Any:
        return self._rest.client.bulk().Query._client  # its calls one by one have no other name

    def begin(self, soql: str) -> str:
        """Make a job of a query, and return its Id."""
        from simple_salesforce.bulk2 import Operation

        return str(_bulk2_answer(lambda: self._jobs.create_job(Operation.query, soql)["id"]))

    def state(self, job_id: str) -> JobState:
        """How far the job is. Raises RequestRejected (NOT_FOUND) where there is none with this Id any more."""
        return _bulk2_answer(lambda: _state_of(self._jobs.get_job(job_id, is_query=True)))

    def page(self, job_id: str, locator: str, rows: int) -> ResultPage:
        """The page of a complete job's results that *locator* names ("" for the first), of so many rows."""
        asked = {"maxRecords": str(rows)} | ({"locator": locator} if locator else {})
        response = self._rest.exchange(
            "GET",
            f"{_JOBS}query/{job_id}/results?{urlencode(asked)}",
            resource=JOB,
            headers={"Accept": "text/csv"},
            stream=True,
        )
        return ResultPage(response, self._calls)

    def delete(self, job_id: str) -> None:
        """Let the org forget the job and its results."""
        with closing(self._rest.exchange("DELETE", f"{_JOBS}query/{job_id}", resource=JOB, headers={})):
            pass

    def abort(self, job_id: str) -> None:
        """End a job that is not complete."""
        _bulk2_answer(lambda: self._jobs.abort_job(job_id, is_query=True))


class BulkIngests:
    """Jobs that write records, in one org. As BulkQueries."""

    def __init__(self, rest: Rest, calls: Calls | None = None) -> None:
        self._rest = rest
        self._calls = calls or Calls()

    @cached_property
    def _handler(self) -> bulk2.SFBulk2Handler:
        return self._rest.client.bulk()

    @cached_property
    def _jobs(self) -> Any:
        return self._handler.Query._client  # of calls about a job that is there, the object's name is no part

    def begin(self, name: str, operation: str) -> str:
        """Make a job that inserts or updates records of the object, and return its Id. It waits for its upload."""
        from simple_salesforce.bulk2 import ColumnDelimiter, LineEnding, Operation

        client = getattr(self._handler, name)._client
        ours = (ColumnDelimiter.CARET, LineEnding.CRLF)
        return str(_bulk2_answer(lambda: client.create_job(Operation(operation), None, *ours)["id"]))

    def upload(self, job_id: str, text: str) -> None:
        """Give the job its records, as CSV with DELIMITER between and CRLF after; not compressed (see http)."""
        _bulk2_answer(lambda: self._jobs.upload_job_data(job_id, text))

    def close(self, job_id: str) -> None:
        """Let the org carry it out."""
        _bulk2_answer(lambda: self._jobs.close_job(job_id))

    def abort(self, job_id: str) -> None:
        """End it. What has been written stays written."""
        _bulk2_answer(lambda: self._jobs.abort_job(job_id, is_query=False))

    def state(self, job_id: str) -> str:
        """Its state. Raises RequestRejected (NOT_FOUND) where there is none with this Id."""
        return str(_bulk2_answer(lambda: self._jobs.get_job(job_id, is_query=False)["state"]))

    def rows(self, job_id: str, which: str) -> Iterator[Mapping[str, str]]:
        """Of a job that has ended, its records by what became of them: successfulResults, failedResults, unprocessedrecords."""
        path = f"{_JOBS}ingest/{job_id}/{which}"
        accept = {"Accept": "text/csv"}
        response = self._rest.exchange("GET", path, resource=JOB, headers=accept, stream=True)
        with closing(ResultPage(response, self._calls, DELIMITER)) as page:
            for row in page.rows():
                yield dict(zip(page.header, row, strict=False))

    def calls(self) -> int:
        """The calls about single jobs so far, those of BulkQueries by the same Rest included."""
        counts = self._rest.calls
        return sum(counts.get(resource, 0) for resource in (OF_JOBS, JOB))

    def unfinished(self) -> list[str]:
        """The jobs of ours in the org that have not ended. Raises RequestRejected where our user may not see jobs."""
        found: list[str] = []
        below: str | None = f"{_JOBS}ingest?jobType=V2Ingest"
        user = self._rest.sign_in.token().user_id
        while below is not None:
            answer = self._rest.ask("GET", below, resource="bulk jobs")
            found += _answer(partial(_unfinished_of, answer, user))
            following = None if answer.get("done") else answer.get("nextRecordsUrl")
            below = str(following).partition("/v")[2].partition("/")[2] if following else None
        return found


def has_ended(state: str) -> bool:
    """Whether a job in this state writes no more."""
    return state in _ENDED


def _unfinished_of(answer: Mapping[str, Any], user: str) -> list[str]:
    return [
        str(job["id"])
        for job in answer["records"]
        if job["state"] not in _ENDED
        and str(job["createdById"])[:15] == user[:15]
        and all(job.get(key) == mark for key, mark in _OUR_MARKS.items())
    ]


def _state_of(shown: Mapping[str, Any]) -> JobState:
    state = str(shown["state"])
    if state in _ENDED_BADLY:
        return JobState(False, 0, f"{state}: {shown.get('errorMessage') or 'no reason'}")
    is_complete = state == "JobComplete"
    return JobState(is_complete, int(shown["numberRecordsProcessed"]) if is_complete else 0)


def _bulk2_answer(call: Callable[[], _T]) -> _T:
    """As _answer(), of bulk2, which has an error of its own for an answer that it does not expect; it is no kind of SalesforceError."""
    from simple_salesforce.exceptions import SalesforceOperationError

    return _answer(call, SalesforceOperationError)


def _answer(call: Callable[[], _T], *further: type[Exception]) -> _T:
    """What *call* returns. *further*: what it raises, too, if the answer is not what it expects."""
    unexpected: tuple[type[Exception], ...] = (LookupError, TypeError, ValueError, *further)
    try:
        return call()
    except unexpected as error:
        raise Unavailable("the answer of Salesforce's bulk resource is not what a job's answer is") from error


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The lines of UTF-8 text, each with its end. Only a line feed ends one: others may stand in a value."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    left = ""
    for piece in pieces:
        *whole, left = (left + decoder.decode(piece)).split("\n")
        yield from (f"{line}\n" for line in whole)
    left += decoder.decode(b"", final=True)
    if left:
        yield left
