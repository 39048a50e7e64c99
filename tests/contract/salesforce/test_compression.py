"""What is sent to an org in gzip, on the simulator, which unpacks it as an org does."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from salmon.salesforce.wire.bulk import BulkIngests
from salmon.salesforce.wire.rest import COLLECTION_ROWS, Rest
from salmon.simulator.server import Simulator
from support.orgs.boxes import Box

TEXT = "Ä 𝄞 as anybody would write it"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with Simulator.start(tmp_path_factory.mktemp("box"), records={"Account": 0}) as running:
        yield Box(running)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[requests.PreparedRequest]:
    """The requests of the wire, as they go to the network."""
    found: list[requests.PreparedRequest] = []
    send = HTTPAdapter.send

    def noted(self: HTTPAdapter, request: requests.PreparedRequest, *given: Any, **named: Any) -> Any:
        found.append(request)
        return send(self, request, *given, **named)

    monkeypatch.setattr(HTTPAdapter, "send", noted)
    return found


@pytest.fixture
def rest(box: Box) -> Iterator[Rest]:
    rest = Rest(box.config())
    yield rest
    rest.close()


def accounts(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"attributes": {"type": "Account"}, "Name": f"Packed {number}", **fields} for number in range(count)
    ]


def of_collections(sent: list[requests.PreparedRequest]) -> requests.PreparedRequest:
    (request,) = [each for each in sent if str(each.url).endswith("/composite/sobjects")]
    return request


def test_a_full_call_of_collections_travels_in_gzip(rest: Rest, sent: list[requests.PreparedRequest]) -> None:
    """It is a small part of its size, and each record arrives with what it had."""
    records = accounts(COLLECTION_ROWS, Description=TEXT)
    results = rest.insert(records)
    assert all(result.success for result in results)
    request = of_collections(sent)
    assert request.headers["Content-Encoding"] == "gzip"
    assert isinstance(request.body, bytes)
    assert request.headers["Content-Length"] == str(len(request.body))
    assert json.loads(gzip.decompress(request.body))["records"] == records
    assert len(request.body) < len(json.dumps(records)) / 5
    page = rest.retrieve("Account", [str(result.id) for result in results], ["Name", "Description"])
    assert [(row["Name"], row["Description"]) for row in page.rows] == [
        (each["Name"], TEXT) for each in records
    ]


def test_a_small_call_goes_as_it_is(rest: Rest, sent: list[requests.PreparedRequest]) -> None:
    """Nothing is won by packing what fits into a packet or two."""
    assert rest.insert(accounts(3))[0].success
    assert "Content-Encoding" not in of_collections(sent).headers


def test_a_repetition_after_a_new_token_is_packed_as_well(
    box: Box, rest: Rest, sent: list[requests.PreparedRequest]
) -> None:
    """Once, and not what was packed before."""
    rest.look_at_clock()
    box.control("POST", "/faults", {"fault": "revoke_sessions"}).raise_for_status()
    assert all(result.success for result in rest.insert(accounts(COLLECTION_ROWS)))
    first, second = [each for each in sent if str(each.url).endswith("/composite/sobjects")]
    assert first.headers["Authorization"] != second.headers["Authorization"]
    assert first.body == second.body


def test_csv_of_a_bulk_job_is_uploaded_as_it_is(rest: Rest, sent: list[requests.PreparedRequest]) -> None:
    """Bulk API 2.0 is documented to compress answers; of uploads it says nothing."""
    ingests = BulkIngests(rest)
    job = ingests.begin("Account", "insert")
    text = '"Name"\r\n' + "".join(f'"Packed {number}"\r\n' for number in range(500))
    ingests.upload(job, text)
    ingests.abort(job)
    (request,) = [each for each in sent if each.method == "PUT"]
    assert "Content-Encoding" not in request.headers
    assert request.body in (text, text.encode())
