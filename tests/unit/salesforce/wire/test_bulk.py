"""What the org says of bulk jobs, where it says less or other than it should: never taken for an end, or for nothing."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from salmon.calls import Calls
from salmon.errors import Unavailable
from salmon.salesforce.wire.bulk import BulkIngests, BulkQueries, ResultPage
from salmon.salesforce.wire.client import Client
from salmon.salesforce.wire.clock import OrgClock


def answer(body: Any, status: int = 200, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    response.raw = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    return response


def rest(response: requests.Response) -> Any:
    """What is asked of Rest, with one answer to everything."""
    return SimpleNamespace(
        exchange=lambda *_, **__: response,
        ask=lambda *_, **__: response.json(),
        client=Client(lambda *_, **__: response, "/services/data/v64.0"),
        clock=OrgClock(),
        sign_in=SimpleNamespace(token=lambda: SimpleNamespace(user_id="005A")),
    )


def queries(body: Any) -> BulkQueries:
    return BulkQueries(rest(answer(body)), version="64.0")


def test_a_complete_job_that_does_not_say_how_much_it_has_found_has_not_found_nothing() -> None:
    """Else the whole object would count as read."""
    with pytest.raises(Unavailable):
        queries({"id": "750", "state": "JobComplete"}).state("750")
    told = queries({"id": "750", "state": "JobComplete", "numberRecordsProcessed": 0}).state("750")
    assert (told.complete, told.found) == (True, 0)
    assert not queries({"id": "750", "state": "InProgress"}).state("750").complete


@pytest.mark.parametrize("body", [{}, [], "", {"records": [{"id": "750"}]}])
def test_an_answer_that_is_none_of_a_job_is_asked_for_again(body: Any) -> None:
    """A proxy may have answered; it is an outage, and no error of ours."""
    with pytest.raises(Unavailable):
        queries(body).state("750")
    with pytest.raises(Unavailable):
        BulkIngests(rest(answer(body))).unfinished()


def test_an_upload_that_is_answered_by_another_status_is_not_known_to_be_there() -> None:
    """simple-salesforce has an error of its own for that."""
    with pytest.raises(Unavailable):
        BulkIngests(rest(answer({}, 200))).upload("750", "Id\r\n001\r\n")


def test_a_row_that_is_short_of_cells_is_none() -> None:
    """A connection that ends in the middle of a key would show another key."""
    page = answer(b'"sf__Id","Salmon_Id__c","Name"\n"001A","a-1","x"\n"001B","a-', 200)
    rows = ResultPage(page, Calls()).rows()
    assert next(rows) == ["001A", "a-1", "x"]
    with pytest.raises(Unavailable, match="broke off"):
        next(rows)


def test_jobs_are_ours_by_user_and_by_columns() -> None:
    """One of another user, of another tool, or one that has ended is not."""
    ours = {
        "id": "750A",
        "state": "Open",
        "createdById": "005A",
        "columnDelimiter": "CARET",
        "lineEnding": "CRLF",
    }
    others = [
        {**ours, "id": "750B", "createdById": "005B"},
        {**ours, "id": "750C", "columnDelimiter": "COMMA"},
        {**ours, "id": "750D", "state": "Aborted"},
        {key: value for key, value in ours.items() if not key.startswith(("column", "line"))},
    ]
    listed = {
        "done": True,
        "nextRecordsUrl": "/services/data/v64.0/jobs/ingest?queryLocator=x",
        "records": [ours, *others],
    }
    assert BulkIngests(rest(answer(listed))).unfinished() == ["750A"]
