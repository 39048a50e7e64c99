"""Bulk query jobs that do not do what they should: no row is missed, and no job follows another without end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest

from salmon.errors import RequestRejected, Unavailable
from salmon.salesforce.reading.whole.bulk_jobs import BulkJob, BulkReads, NotByBulk
from salmon.salesforce.reading.whole.rows import ReadRows
from salmon.salesforce.reading.whole.windows import Window
from salmon.salesforce.wire.bulk import JobState, NotCsv
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.codes import NOT_FOUND
from support.orgs.salesforce import synced

COLUMNS = ("Id", "Salmon_Seq__c")
GONE = RequestRejected("gone", code=NOT_FOUND)


class Page:
    """A page of results."""

    header = COLUMNS

    def __init__(self, rows: Sequence[list[str]], next_locator: str) -> None:
        self.rows, self.next_locator = rows, next_locator

    def __iter__(self) -> Iterator[list[str]]:
        return iter(self.rows)

    def close(self) -> None:
        pass


class Org:
    """Bulk jobs over records with the Ids 001, 002, ...; each job takes what is above its query's Id."""

    version = "64.0"

    def __init__(self, records: int = 5, *, seq: str = "") -> None:
        self.records = [[f"{number:03}", seq] for number in range(1, records + 1)]
        self.clock = OrgClock()
        self.jobs: list[str] = []  # the Id above which each reads
        self.aborted: list[str] = []
        self.states: list[JobState | RequestRejected] = []  # what is said of a job instead
        self.tells_next = True

    def begin(self, soql: str) -> str:
        self.jobs.append(soql)
        return f"750-{len(self.jobs)}"

    def state(self, job_id: str) -> JobState:
        said = self.states.pop(0) if self.states else JobState(True, len(self._of(job_id)))
        if isinstance(said, RequestRejected):
            raise said
        return said

    def page(self, job_id: str, locator: str, rows: int) -> Page:
        start = int(locator or 0)
        some = self._of(job_id)[start : start + rows]
        is_last = start + rows >= len(self._of(job_id))
        return Page(some, "" if is_last or not self.tells_next else str(start + rows))

    def delete(self, job_id: str) -> None:
        pass

    def abort(self, job_id: str) -> None:
        self.aborted.append(job_id)

    def _of(self, job_id: str) -> list[list[str]]:
        return [row for row in self.records if row[0] > self.jobs[int(job_id[4:]) - 1]]


class Reader:
    """Notes which records were shown."""

    wide = False
    schema = synced("Account").schema
    columns = COLUMNS

    def __init__(self) -> None:
        self.shown: list[str] = []

    def query(self, after: str, limit: int, to: str = "") -> str:
        return after

    def of_results(
        self,
        shown: Sequence[Mapping[str, Any]],
        doubtful: Collection[str],
        window: Window,
    ) -> ReadRows:
        self.shown += [row["Id"] for row in shown]
        return ReadRows((), window)


class Reading:
    """The steps of one object, as snapshot takes them."""

    def __init__(self, org: Org, rows_a_page: int = 2) -> None:
        self.org, self.reader = org, Reader()
        self.reads = BulkReads(org, {"Account": self.reader}, rows_a_page=rows_a_page)
        self.job: BulkJob | None = None
        self.last = ""

    def step(self) -> bool:
        """One step; whether it was the last. Raises as it does."""
        step = self.reads.step("Account", self.job, self.last, 0)
        if step is None:
            return False
        self.job, self.last = step.job, step.last
        return step.ends

    def to_the_end(self) -> None:
        for _ in range(30):
            if self.step():
                return
        raise AssertionError("it has no end")


def test_a_job_whose_next_page_is_not_named_is_followed_by_another() -> None:
    """A proxy has dropped the header, say: what the job counted and did not show is not taken for read."""
    reading = Reading(org := Org(5))
    org.tells_next = False
    reading.to_the_end()
    assert reading.reader.shown == ["001", "002", "003", "004", "005"]
    assert org.jobs == ["", "002", "004"]


def test_a_job_that_counts_records_and_shows_none_is_lost() -> None:
    """It is not the end of the object."""
    reading = Reading(org := Org(0))
    org.states = [JobState(True, 7)]
    reading.step()
    with pytest.raises(Unavailable, match="none of 7 rows"):
        reading.step()


def test_jobs_that_fail_one_after_the_other_are_given_up() -> None:
    """Each costs calls of the org's allowance: the object is read by REST, and the reason told."""
    reading = Reading(org := Org(5))
    org.states = [JobState(False, 0, "Failed: QUERY_TIMEOUT")] * 3
    for _ in range(2):
        reading.step()
        with pytest.raises(Unavailable, match="Another job is made"):
            reading.step()
    reading.step()
    with pytest.raises(NotByBulk, match="QUERY_TIMEOUT") as given_up:
        reading.step()
    assert not given_up.value.disordered
    assert len(org.jobs) == 3


def test_a_job_that_fails_now_and_then_is_made_again() -> None:
    """Rows in between show that the object can be read by Bulk."""
    reading = Reading(org := Org(3))
    failed = JobState(False, 0, "Failed: InternalServerError")
    for _ in range(4):
        org.states = [failed]
        reading.step()
        with pytest.raises(Unavailable):
            reading.step()
        reading.step()
        reading.step()
        reading.job = None
    reading.to_the_end()
    assert reading.reader.shown[-1] == "003"


def test_jobs_that_are_gone_as_soon_as_they_are_made_are_given_up() -> None:
    """Whoever may make jobs need not be able to see them."""
    reading = Reading(org := Org(5))
    org.states = [GONE] * 3
    reading.step()
    reading.step()  # after seven days, another is made at once
    with pytest.raises(Unavailable):
        reading.step()
    reading.step()
    with pytest.raises(NotByBulk):
        reading.step()
    assert len(org.jobs) == 3


def test_results_that_cannot_be_read_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for again and again, they would stay so."""
    reading = Reading(org := Org(5))

    def unreadable(_: Page) -> Iterator[list[str]]:
        raise NotCsv("the results of a bulk job are not CSV")

    monkeypatch.setattr(Page, "__iter__", unreadable)
    for _ in range(2):
        reading.step()
        with pytest.raises(Unavailable, match="Another job is made"):
            reading.step()
    reading.step()
    with pytest.raises(NotByBulk, match="not CSV"):
        reading.step()
    assert len(org.jobs) == 3


def test_where_too_many_numbers_are_doubtful_rest_costs_less() -> None:
    """Records with more digits than a double shows are read by REST, 200 a call; with many of them, pages are cheaper."""
    reading = Reading(Org(300, seq="1.0E17"), rows_a_page=1_000)
    reading.step()
    with pytest.raises(NotByBulk, match="digits"):
        reading.step()
    few = Reading(Org(150, seq="1.0E17"), rows_a_page=1_000)
    few.to_the_end()
    assert len(few.reader.shown) == 150


def test_what_is_given_up_is_aborted_in_the_org() -> None:
    """Nobody waits for it."""
    reading = Reading(org := Org(5))
    reading.step()
    org.states = [JobState(False, 0)]
    reading.step()
    reading.reads.give_up("Account")
    assert org.aborted == ["750-1"]
