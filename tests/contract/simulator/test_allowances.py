"""What an org may use within 24 hours: counted, shown by the limits resource, and refused beyond."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salmon.simulator.server import Simulator
from support.orgs.boxes import Box, recorded
from support.orgs.pubsub import Client, Wire

ACCOUNTS = "/data/AccountChangeEvent"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Simulator.start(tmp_path, objects=["Account"]) as running:
        yield Box(running)


def remaining(box: Box, name: str) -> int:
    return int(box.call("GET", "limits").json()[name]["Remaining"])


def test_limits_have_every_name_of_the_guide(box: Box) -> None:
    """Those that are counted, and those that are as in the example."""
    limits = box.call("GET", "limits").json()
    assert set(recorded("limits_v66")) <= set(limits)
    assert all(set(limit) >= {"Max", "Remaining"} for limit in limits.values())


def test_calls_are_counted_in_the_header_and_in_the_limits(box: Box) -> None:
    """And beyond the allowance all is refused, until a day has passed."""
    first = box.call("GET", "limits")
    used = int(first.headers["Sforce-Limit-Info"].removeprefix("api-usage=").split("/")[0])
    box.control("POST", "/allowances", {"DailyApiRequests": used + 2})
    assert remaining(box, "DailyApiRequests") == 1
    last = box.call("GET", "limits")
    assert last.headers["Sforce-Limit-Info"] == f"api-usage={used + 2}/{used + 2}"
    refused = box.call("GET", "limits")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")
    box.control("POST", "/clock", {"advance_s": 25 * 3600})
    box.as_user("integration")
    assert box.call("GET", "limits").status_code == 200


def test_deliveries_are_metered_and_end_the_stream_at_last(box: Box, wire: Wire) -> None:
    """The event beyond the allowance is not lost: it comes when there is room again."""
    box.control("POST", "/allowances", {"DailyDeliveredPlatformEvents": 2})
    told = box.simulator.endpoints
    client: Any = Client(
        wire, told.pubsub_endpoint, Path(told.ca_file), token=box.token, tenant=box.org.org_id
    )
    try:
        stream = client.subscribe(ACCOUNTS, preset="EARLIEST")
        for name in "ABC":
            box.create("Account", Name=name)
        seen = stream.events(2)
        ended = stream.end()
        assert (ended.code.name, ended.error_code) == (
            "RESOURCE_EXHAUSTED", "sfdc.platform.eventbus.grpc.subscription.limit.exceeded",
        )  # fmt: skip
        assert "You have exceeded the event delivery limit for your org." in ended.details
        assert remaining(box, "DailyDeliveredPlatformEvents") == 0
        box.control("POST", "/allowances", {"DailyDeliveredPlatformEvents": 10})
        again = client.subscribe(ACCOUNTS, preset="CUSTOM", replay_id=seen[-1].replay_id)
        assert list(client.names(again.events(1))) == ["C"]
        assert remaining(box, "DailyDeliveredPlatformEvents") == 7
    finally:
        client.close()


def test_records_are_counted_for_the_objects_that_have_any(box: Box) -> None:
    """As recorded: an object without records, or that is none, is left out."""
    assert box.call("GET", "limits/recordCount?sObjects=Account,Nothing").json() == {"sObjects": []}
    box.create("Account", Name="A")
    real = recorded("cci_limits_recordCount")["response"]["body"]
    shown = box.call("GET", "limits/recordCount?sObjects=Account").json()
    assert set(shown) == set(real)
    assert shown["sObjects"] == [{"count": 1, "name": "Account"}]
