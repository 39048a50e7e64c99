"""Jobs that the org does not end: how long writes wait for them, and what becomes of their records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from salmon.backoff import Backoff
from salmon.errors import RequestRejected, Unavailable
from salmon.model.change import WriteOp
from salmon.plugin.leave import always
from salmon.salesforce.writing.bulk_writes import SLOW_JOB_S, Body, BulkWrites
from support.salesforce import schema

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


def _bulk(org: _HeldUp, may_send: Callable[[], bool] = always) -> BulkWrites:
    return BulkWrites(
        org,
        threading.Event(),
        rows_min=2,
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
