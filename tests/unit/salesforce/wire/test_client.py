"""simple-salesforce's client on our session: what it asks for reaches the org as Rest sends it, and no otherwise."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
import requests

from salmon.errors import RequestRejected
from salmon.salesforce.wire.client import OF_A_JOB, OF_JOBS, Client, NotJson

BASE = "/services/data/v64.0"


class Sent:
    """What takes the place of Rest: it notes each request, and has one answer to all."""

    def __init__(self, body: bytes = b'{"done": true}', status: int = 200) -> None:
        self.asked: list[tuple[str, str, str, dict[str, str], dict[str, Any]]] = []
        self._body, self._status = body, status

    def __call__(
        self,
        method: str,
        path: str,
        *,
        resource: str,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> requests.Response:
        self.asked.append((method, path, resource, dict(headers or {}), request))
        response = requests.Response()
        response.status_code, response.raw = self._status, io.BytesIO(self._body)
        response.headers["Date"] = "Mon, 30 Nov 2026 21:00:00 GMT"
        return response


def test_a_call_is_sent_by_rest_with_its_own_headers_alone() -> None:
    """No token of the client's, no X-PrettyPrint, which makes answers larger; path and body as they were given."""
    sent = Sent()
    client = Client(sent, BASE)
    client.json("POST", f"{BASE}/x", resource="x", headers={"Sforce-Mru": "y"}, body={"a": 1})
    client.json("GET", "/services/data/v64.0/query/01g-2000", resource="query")
    assert sent.asked == [
        ("POST", f"{BASE}/x", "x", {"Sforce-Mru": "y"}, {"body": {"a": 1}}),
        ("GET", f"{BASE}/query/01g-2000", "query", {}, {}),
    ]


def test_the_response_is_given_too_since_its_date_orders_what_it_holds() -> None:
    """Numbers have the digits that the org shows."""
    answer, response = Client(Sent(b'{"n": 0.10000000000000000001}'), BASE).json("GET", "/x", resource="x")
    assert answer == {"n": Decimal("0.10000000000000000001")}
    assert type(answer) is dict
    assert response.headers["Date"] == "Mon, 30 Nov 2026 21:00:00 GMT"


@pytest.mark.parametrize(
    ("body", "status", "answer"), [(b"", 204, None), (b"", 200, None), (b"[]", 200, []), (b"{}", 200, {})]
)
def test_an_empty_answer_is_told_from_none(body: bytes, status: int, answer: Any) -> None:
    """The client makes no difference between them."""
    assert Client(Sent(body, status), BASE).json("GET", "/x", resource="x")[0] == answer


@pytest.mark.parametrize("body", [b"<html>", b"5"])
def test_what_is_no_json_of_an_answer_is_an_error(body: bytes) -> None:
    """Who calls says whether it is an outage."""
    with pytest.raises(NotJson):
        Client(Sent(body), BASE).json("GET", "/x", resource="x")


def test_an_error_of_rest_goes_through_as_it_is() -> None:
    """The client would judge by the status, and sign in and repeat by itself."""

    def refuses(*_: Any, **__: Any) -> requests.Response:
        raise RequestRejected("no", code="MALFORMED_QUERY")

    with pytest.raises(RequestRejected) as told:
        Client(refuses, BASE).json("GET", "/x", resource="query")
    assert told.value.code == "MALFORMED_QUERY"


def test_bulk_goes_by_the_same_session() -> None:
    """Calls about one job are told from those that make one: the first alone may be gone."""
    job = {"id": "750A", "state": "Open"}
    sent = Sent(json.dumps(job).encode())
    jobs: Any = Client(sent, BASE).bulk().Account._client
    jobs.get_job("750A", is_query=False)
    jobs.close_job("750A")
    asked = [(method, path, resource) for method, path, resource, _, _ in sent.asked]
    assert asked == [(method, f"{BASE}/jobs/ingest/750A", OF_A_JOB) for method in ("GET", "PATCH")]
    from simple_salesforce.bulk2 import Operation

    jobs.create_job(Operation.insert, None)
    method, path, resource, headers, _ = sent.asked[-1]
    assert (method, path, resource) == ("POST", f"{BASE}/jobs/ingest", OF_JOBS)
    assert set(headers) == {"Accept", "Content-Type"}, "the token is Rest's"


def test_a_mistake_in_a_request_is_not_taken_for_an_answer() -> None:
    """It would be repeated for ever as if the org were away."""

    def cannot(*_: Any, **__: Any) -> requests.Response:
        raise TypeError("Object of type set is not JSON serializable")

    with pytest.raises(TypeError, match="serializable"):
        Client(cannot, BASE).json("POST", "/x", resource="x", body={1})
