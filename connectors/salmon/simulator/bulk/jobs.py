"""
The bulk jobs of an org: what each is, which state it is in, and how long it is kept.

What a job does to records is in ingest.py and queries.py, when it does so in running.py.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from salmon.simulator.org.clock import datetime_text, whole_second_ms
from salmon.simulator.org.ids import id18, make_id
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest, not_found
from salmon.simulator.org.sessions import User

State = Literal["Open", "UploadComplete", "InProgress", "Aborted", "JobComplete", "Failed"]
Kind = Literal["ingest", "query"]

CLOSED: Final[frozenset[State]] = frozenset({"Aborted", "JobComplete", "Failed"})
# "Bulk API and Bulk API 2.0 Limits and Allocations": how long a job and its results are kept.
KEPT_MS: Final = 7 * 24 * 3600 * 1000
# "Get Information About All Jobs": jobs of one page.
PAGE_MAX: Final = 1000


@dataclass(slots=True)
class Job:
    """One job. Its fields change under the lock of `Jobs`."""

    id: str
    kind: Kind
    operation: str
    object_name: str
    user: User
    version: str  # "64.0"
    change_origin: str
    delimiter: str
    line_ending: str
    created_ms: int
    external_id_field: str | None = None
    assignment_rule_id: str | None = None
    soql: str = ""
    chunkable: bool = False  # whether Salesforce would split the query by primary key
    state: State = "Open"
    modified_ms: int = 0
    upload: bytes | None = None
    error: str | None = None
    processed: int = 0
    failed: int = 0
    processing_ms: int = 0
    # Of an ingest job, what was uploaded, as soon as it is read; of a query, what it found.
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    succeeded_rows: list[list[str]] = field(default_factory=list)  # id, whether created, the uploaded values
    failed_rows: list[list[str]] = field(default_factory=list)  # id, error, the uploaded values

    def info(self, *, full: bool) -> dict[str, Any]:
        """As the API shows the job: in short where it is created or changed, in full where it is asked for."""
        shown: dict[str, Any] = {
            "id": self.id, "operation": self.operation, "object": self.object_name, "createdById": self.user.user_id,
            "createdDate": datetime_text(whole_second_ms(self.created_ms)),
            "systemModstamp": datetime_text(whole_second_ms(self.modified_ms)),
            "state": self.state, "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": float(self.version),
        }  # fmt: skip
        if self.external_id_field is not None:
            shown["externalIdFieldName"] = self.external_id_field
        if self.assignment_rule_id is not None:
            shown["assignmentRuleId"] = self.assignment_rule_id
        if self.kind == "ingest" and self.state == "Open":
            shown["contentUrl"] = f"services/data/v{self.version}/jobs/ingest/{self.id}/batches"
        if full:
            shown["jobType"] = "V2Ingest" if self.kind == "ingest" else "V2Query"
        shown |= {"lineEnding": self.line_ending, "columnDelimiter": self.delimiter}
        if full and self.kind == "ingest":
            shown |= {
                "numberRecordsProcessed": self.processed, "numberRecordsFailed": self.failed, "retries": 0,
                "totalProcessingTime": self.processing_ms, "apiActiveProcessingTime": self.processing_ms,
                "apexProcessingTime": 0,
            }  # fmt: skip
        elif full:
            shown |= {
                "numberRecordsProcessed": self.processed, "retries": 0, "totalProcessingTime": self.processing_ms,
                "isPkChunkingSupported": self.chunkable,
            }  # fmt: skip
        if full and self.error is not None:
            shown["errorMessage"] = self.error
        return shown


class Jobs:
    """All jobs of one org, by id; *changed* guards them, and is notified of every change of state."""

    def __init__(self, org: Org) -> None:
        self.changed = threading.Condition()
        self._org = org
        self._jobs: dict[str, Job] = {}
        self._made = 0

    def new_id(self) -> str:
        """The id of the next job."""
        with self.changed:
            self._made += 1
            return make_id("750", self._made)

    def add(self, job: Job) -> None:
        """Keep a job."""
        with self.changed:
            self._jobs[job.id] = job

    def get(self, kind: Kind, job_id: str) -> Job:
        """The job with this id, in either form. Raises BadRequest (404) for one that is not, or not any more."""
        self._forget_old()
        job = self._jobs.get(id18(job_id) or "")
        if job is None or job.kind != kind:
            raise not_found()
        return job

    def page(self, kind: Kind, locator: str | None) -> tuple[list[Job], str | None]:
        """A page of jobs, the oldest first, and the locator of the next page."""
        self._forget_old()
        with self.changed:
            found = [job for job in self._jobs.values() if job.kind == kind and job.id > (locator or "")]
        return found[:PAGE_MAX], found[PAGE_MAX - 1].id if len(found) > PAGE_MAX else None

    def move(self, job: Job, state: State, error: str | None = None) -> None:
        """Put the job into another state."""
        with self.changed:
            job.state, job.error = state, error
            job.modified_ms = self._org.clock.now_ms()
            self.changed.notify_all()

    def begin(self, job: Job) -> bool:
        """Take up a job that waits; False if it has been aborted meanwhile."""
        with self.changed:
            if job.state != "UploadComplete":
                return False
            self.move(job, "InProgress")
            return True

    def finish(self, job: Job) -> bool:
        """End a job that is being worked at; False if it has been aborted meanwhile."""
        with self.changed:
            if job.state != "InProgress":
                return False
            self.move(job, "JobComplete")
            return True

    def close(self, job: Job) -> None:
        """
        Set an ingest job's state to UploadComplete.

        Raises:
            BadRequest: It is not open, or nothing has been uploaded.
        """
        with self.changed:
            if job.state != "Open":
                raise BadRequest("INVALIDJOBSTATE", f"Closing already {_word(job.state)} Job not allowed")
            if job.upload is None:
                raise BadRequest("INVALIDJOBSTATE", f"No data has been uploaded for job: <{job.id[:15]}>")
            self.move(job, "UploadComplete")

    def abort(self, job: Job) -> None:
        """Set the state to Aborted. What has been written stays written. Raises BadRequest for a job that has ended."""
        with self.changed:
            if job.state in CLOSED:
                raise BadRequest("INVALIDJOBSTATE", f"Aborting already {_word(job.state)} Job not allowed")
            self.move(job, "Aborted")

    def delete(self, job: Job) -> None:
        """Forget a job. Raises BadRequest unless it is closed ("Delete a Job": not open, and not in progress)."""
        with self.changed:
            if job.state in {"Open", "InProgress"}:
                raise BadRequest("INVALIDJOBSTATE", f"Deleting {_word(job.state)} Job not allowed")
            self.move(job, "Aborted" if job.state == "UploadComplete" else job.state, job.error)
            self._jobs.pop(job.id, None)

    def _forget_old(self) -> None:
        oldest_ms = self._org.clock.now_ms() - KEPT_MS
        with self.changed:
            for job_id in [each.id for each in self._jobs.values() if each.modified_ms < oldest_ms]:
                del self._jobs[job_id]


def _word(state: State) -> str:
    return "Completed" if state == "JobComplete" else state
