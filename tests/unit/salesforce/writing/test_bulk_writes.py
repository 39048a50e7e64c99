"""Jobs that the org does not end: how long writes wait for them, and what becomes of their records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from salmon.backoff import Backoff
from salmon.errors import RequestRejected, Unavailable
from salmon.model.change import WriteOp
from salmon.plugin.leave import always
from salmon.salesforce.writing import bulk_writes
from salmon.salesforce.writing.bulk_writes import (
    BULK_ROWS_MAX,
    BULK_ROWS_MIN,
    JOB_CALLS,
    SLOW_JOB_S,
    Body,
    BulkWrites,
)
from support.orgs.salesforce import schema

SCHEMAS = {"Account": schema("Account"), "Contact": schema("Contact")}
BODIES: list[tuple[str, Body]] = [("Account", {"Id": f"00100000000000{n}AAA", "Name": "x"}) for n in range(5)]
OTHERS: list[tuple[str, Body]] = [("Contact", {"Id": f"00300000000000{n}AAA", "Name": "x"}) for n in range(5)]


class _HeldUp:
    """An org that begins no job of those that wait. Each look at one takes a minute."""

    def __init__(self, *, may_abort: bool = True) -> None:
        self.now_s = 0.0
        self.states: dict[str, str] = {}
        self.may_abort = may_abort

    def begin(self, name: str, operation: str) -> str:
        job_id = f"750{len(self.states)}"
        self.states[job_id] = "Open"
        return job_id

    def upload(self, job_id: str, text: str) -> None:
        pass

    def close(self, job_id: str) -> None:
        self.states[job_id] = "UploadComplete"

    def abort(self, job_id: str) -> None:
        if not self.may_abort:
            raise RequestRejected("no", code="INVALIDJOBSTATE")
        self.states[job_id] = "Aborted"

    def state(self, job_id: str) -> str:
        self.now_s += 60.0
        return self.states[job_id]

    def rows(self, job_id: str, which: str) -> Iterator[Mapping[str, str]]:
        return iter(())

    def unfinished(self) -> list[str]:
        return [job_id for job_id, state in self.states.items() if state != "Aborted"]

    def calls(self) -> int:
        return 0


class _Slow(_HeldUp):
    """An org that ends a job when it has been looked at so often, and has written all of it. Each call is counted."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks, self.made = looks, 0
        self.jobs: list[list[str]] = []  # of each job, the Ids of its records

    def begin(self, name: str, operation: str) -> str:
        self.made, self._looked = self.made + 1, 0
        return super().begin(name, operation)

    def upload(self, job_id: str, text: str) -> None:
        self.made += 1
        self.jobs.append([line.partition("^")[0].strip('"') for line in text.splitlines()[1:]])

    def close(self, job_id: str) -> None:
        self.made += 1
        super().close(job_id)

    def state(self, job_id: str) -> str:
        self.made, self._looked = self.made + 1, self._looked + 1
        return "JobComplete" if self._looked >= self.looks else "InProgress"

    def rows(self, job_id: str, which: str) -> Iterator[Mapping[str, str]]:
        self.made += 1
        return iter([{"Id": each, "sf__Id": each} for each in self.jobs[-1]])

    def calls(self) -> int:
        return self.made


def _bulk(org: _HeldUp, may_send: Callable[[], bool] = always, rows_min: int = 2) -> BulkWrites:
    return BulkWrites(
        org,
        threading.Event(),
        rows_min=rows_min,
        look_again=Backoff(first_s=0.0, max_s=0.0),
        may_send=may_send,
        clock=lambda: org.now_s,
    )


def test_a_job_that_the_org_does_not_begin_is_aborted_and_no_other_is_made_for_a_while() -> None:
    """Its records are looked at then, and written by Collections, as are those of all other objects."""
    org = _HeldUp()
    bulk = _bulk(org)
    bulk.settle()
    with pytest.raises(Unavailable, match="Aborted"):
        bulk.sent(WriteOp.UPDATE, BODIES, SCHEMAS)
    assert SLOW_JOB_S <= org.now_s < SLOW_JOB_S + 180
    bulk.settle()
    assert bulk.sent(WriteOp.UPDATE, BODIES, SCHEMAS) == {}
    assert bulk.sent(WriteOp.UPDATE, OTHERS, SCHEMAS) == {}
    assert bulk.waiting() == []
    org.now_s += 2 * 3_600
    with pytest.raises(Unavailable, match="Aborted"):
        bulk.sent(WriteOp.UPDATE, OTHERS, SCHEMAS)


def test_a_job_of_the_instance_before_us_is_not_waited_for_without_end_either() -> None:
    """It was killed; the writes wait until the job can hold no older one any more."""
    org = _HeldUp()
    org.states["750x"] = "UploadComplete"
    bulk = _bulk(org)
    for _ in range(30):
        try:
            bulk.settle()
        except Unavailable:
            continue
        break
    assert org.states["750x"] == "Aborted"
    assert org.now_s < SLOW_JOB_S + 180


def test_nothing_is_written_beside_a_job_that_cannot_be_aborted() -> None:
    """It may still write what is older."""
    org = _HeldUp(may_abort=False)
    org.states["750x"] = "InProgress"
    bulk = _bulk(org)
    for _ in range(60):
        with pytest.raises(Unavailable):
            bulk.settle()
    assert bulk.waiting() != []


@pytest.mark.parametrize("leave", [[False], [True, False]])
def test_no_job_is_let_go_when_the_records_may_be_another_instances(leave: list[bool]) -> None:
    """It would write old values later than that one its newer ones; a job that was made is aborted."""
    org = _HeldUp()
    asked = iter(leave)
    bulk = _bulk(org, lambda: next(asked))
    bulk.settle()
    with pytest.raises(Unavailable, match="taken away"):
        bulk.sent(WriteOp.UPDATE, BODIES, SCHEMAS)
    bulk.settle()
    assert set(org.states.values()) <= {"Aborted"}


# What a job costs.


def _bodies(count: int, name: str = "Account", **more: str) -> list[tuple[str, Body]]:
    return [(name, {"Id": f"001{number:012}AAA", "Name": "x", **more}) for number in range(count)]


def _ready(count: int, name: str = "Account") -> set[tuple[str, str]]:
    return {(name, str(number)) for number in range(count)}


def test_an_object_whose_job_was_dear_gets_the_next_one_when_its_rows_are_worth_it() -> None:
    """A job that the org takes long over is looked at often: as many calls as it took, the next may take. After an hour, all is as before."""
    org = _Slow(looks=14)
    bulk = _bulk(org, rows_min=BULK_ROWS_MIN)
    assert len(bulk.sent(WriteOp.UPDATE, _bodies(BULK_ROWS_MIN), SCHEMAS)) == BULK_ROWS_MIN
    assert org.made == 18
    worth_it = 18 * 200 + 1
    for count, is_by_bulk in ((BULK_ROWS_MIN, False), (worth_it - 1, False), (worth_it, True)):
        assert (bulk.batch_for(_ready(count)) == BULK_ROWS_MAX) is is_by_bulk
    assert bulk.sent(WriteOp.UPDATE, _bodies(worth_it - 1), SCHEMAS) == {}
    assert len(org.jobs) == 1
    assert bulk.batch_for(_ready(BULK_ROWS_MIN, "Contact")) == BULK_ROWS_MAX, "another object's may be quick"
    org.now_s += 3_601.0
    assert bulk.batch_for(_ready(BULK_ROWS_MIN)) == BULK_ROWS_MAX


def test_an_object_whose_job_was_cheap_again_is_as_it_was() -> None:
    """The latest job counts, and one of the usual number of calls changes nothing."""
    org = _Slow(looks=14)
    bulk = _bulk(org, rows_min=BULK_ROWS_MIN)
    bulk.sent(WriteOp.UPDATE, _bodies(BULK_ROWS_MIN), SCHEMAS)
    org.looks = JOB_CALLS - 4
    bulk.sent(WriteOp.UPDATE, _bodies(18 * 200 + 1), SCHEMAS)
    assert len(org.jobs) == 2
    assert bulk.batch_for(_ready(BULK_ROWS_MIN)) == BULK_ROWS_MAX


def test_large_records_of_which_few_fit_into_a_job_go_by_collections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each job costs as many calls, however few are in it; so does the rest that a full job leaves."""
    monkeypatch.setattr(bulk_writes, "_CHARS_MAX", 1_000)
    org = _Slow(looks=1)
    bulk = _bulk(org, rows_min=10)
    assert bulk.sent(WriteOp.UPDATE, _bodies(15, Description="x" * 200), SCHEMAS) == {}
    assert org.jobs == []
    written = bulk.sent(WriteOp.UPDATE, _bodies(60), SCHEMAS)
    assert [len(job) for job in org.jobs] == [len(written)] == [52], "no job for the last eight"
