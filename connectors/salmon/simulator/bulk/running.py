"""
When jobs run: each in a thread of its own, within the time that the org's settings give it.

A job runs on without the session that made it, as in a real org; who asks for its state needs a valid one.
"""

from __future__ import annotations

import threading
from typing import Final

from salmon.simulator.bulk import queries
from salmon.simulator.bulk.csv_text import BadCsv, read, write
from salmon.simulator.bulk.ingest import CHUNK_ROWS, understand
from salmon.simulator.bulk.jobs import Job, Jobs
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.usage import BULK_BATCHES, QUERY_STORAGE_MB

# "Bulk API and Bulk API 2.0 Limits and Allocations": Salesforce makes a batch of each 10,000 records.
BATCH_ROWS: Final = 10_000
# The org's clock may be moved at any time, so a job that waits looks at it so often.
_LOOK_EVERY_S: Final = 0.05


class Runner:
    """Runs the jobs of one org."""

    def __init__(self, org: Org, jobs: Jobs) -> None:
        self._org = org
        self._jobs = jobs
        self._stopped = False

    def start(self, job: Job) -> None:
        """Work at a job that is complete as uploaded; return at once."""
        work = self._ingest if job.kind == "ingest" else self._query
        threading.Thread(target=work, args=(job,), name=f"bulk-{job.id}", daemon=True).start()

    def stop(self) -> None:
        """Leave all jobs as they are. Idempotent."""
        with self._jobs.changed:
            self._stopped = True
            self._jobs.changed.notify_all()

    def _ingest(self, job: Job) -> None:
        if not self._jobs.begin(job):
            return
        settings = self._org.settings
        started_s, lasts_s, fail_after = (
            self._org.clock.elapsed_s(), settings.bulk_processing_s, settings.bulk_fail_after
        )  # fmt: skip
        try:
            header, rows = read(job.upload or b"", job.delimiter, job.line_ending)
            upload = understand(self._org, job, header)
        except BadCsv as error:
            self._jobs.move(job, "Failed", str(error))
            return
        job.header, job.rows = header, rows
        self._org.usage.spend(BULK_BATCHES, max(1, -(-len(rows) // BATCH_ROWS)))
        end = len(rows) if fail_after is None else min(fail_after, len(rows))
        for start in range(0, end, CHUNK_ROWS):
            if not self._wait(job, started_s + lasts_s * start / len(rows)):
                return
            with self._jobs.changed:  # An abort comes before a chunk or after it.
                if job.state != "InProgress":
                    return
                upload.write(self._org, job, rows[start : min(start + CHUNK_ROWS, end)])
                job.processing_ms = round((self._org.clock.elapsed_s() - started_s) * 1000)
        if not self._wait(job, started_s + lasts_s):
            return
        if fail_after is not None:
            self._jobs.move(job, "Failed", settings.bulk_fail_message)
        else:
            self._jobs.finish(job)

    def _query(self, job: Job) -> None:
        if not self._jobs.begin(job):
            return
        started_s = self._org.clock.elapsed_s()
        if not self._wait(job, started_s + self._org.settings.bulk_processing_s):
            return
        try:
            header, rows = queries.run(
                self._org, job.soql, job.user, with_deleted=job.operation == "queryAll"
            )
        except BadRequest as refusal:  # What the query names has gone since it was checked.
            self._jobs.move(job, "Failed", f"{refusal.code}: {refusal.message}")
            return
        self._org.usage.spend(
            QUERY_STORAGE_MB, len(write(header, rows, job.delimiter, job.line_ending)) / 1_000_000
        )
        with self._jobs.changed:
            job.header, job.rows, job.processed = header, rows, len(rows)
            job.processing_ms = round((self._org.clock.elapsed_s() - started_s) * 1000)
            self._jobs.finish(job)

    def _wait(self, job: Job, until_s: float) -> bool:
        """Wait for the org's clock; False if the job, or the org, has been stopped meanwhile."""
        with self._jobs.changed:
            while not self._stopped and job.state == "InProgress":
                left_s = until_s - self._org.clock.elapsed_s()
                if left_s <= 0:
                    return True
                self._jobs.changed.wait(min(left_s, _LOOK_EVERY_S))
            return False
