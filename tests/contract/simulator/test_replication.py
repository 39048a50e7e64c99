"""The simulator's getUpdated, getDeleted and queryAll: windows by the minute, how far back they reach, what they cover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from salmon.simulator.rest import query
from support.orgs.boxes import Box, recorded, same_shape


def now(box: Box) -> datetime:
    return datetime.fromisoformat(box.control("GET", "/state").json()["now"])


def ask(box: Box, which: str, start: datetime, end: datetime, name: str = "Account") -> requests.Response:
    params = {"start": start.isoformat(), "end": end.isoformat()}
    return box.call("GET", f"sobjects/{name}/{which}/", params=params)


def test_changes_of_a_window_come_as_recorded(box: Box) -> None:
    """Live records by their stamps; what was deleted is in the other list, and in queryAll."""
    kept, gone = box.create("Account", Name="Kept"), box.create("Account", Name="Gone")
    box.call("DELETE", f"sobjects/Account/{gone}")
    start, end = now(box) - timedelta(minutes=1), now(box) + timedelta(minutes=1)
    updated = ask(box, "updated", start, end).json()
    assert same_shape(updated, recorded("restforce_get_updated_success_response"))
    assert kept in updated["ids"]
    assert gone not in updated["ids"]
    deleted = ask(box, "deleted", start, end).json()
    assert gone in [each["id"] for each in deleted["deletedRecords"]]
    assert set(deleted["deletedRecords"][0]) == {"id", "deletedDate"}
    text = f"SELECT Id, IsDeleted FROM Account WHERE Id IN ('{kept}', '{gone}') ORDER BY Id"
    records = box.call("GET", "queryAll", params={"q": text}).json()["records"]
    assert [record["IsDeleted"] for record in records] == [False, True]


def test_the_next_window_begins_where_this_one_is_covered(box: Box) -> None:
    """Seconds do not count; a window that ends in the future is covered up to the present minute."""
    end = now(box) + timedelta(hours=1)
    covered = datetime.fromisoformat(
        ask(box, "updated", end - timedelta(hours=2), end).json()["latestDateCovered"]
    )
    assert (covered.second, covered <= now(box), covered > now(box) - timedelta(minutes=2)) == (0, True, True)
    late = now(box).replace(second=59)
    first = ask(box, "updated", late - timedelta(minutes=5), late - timedelta(minutes=2, seconds=59)).json()
    assert first["latestDateCovered"].endswith(":00.000+0000")


@pytest.mark.parametrize(
    ("which", "days", "status"),
    [("updated", 29, 200), ("updated", 31, 400), ("deleted", 14, 200), ("deleted", 16, 400)],
)
def test_how_far_back_a_window_may_reach(box: Box, which: str, days: int, status: int) -> None:
    """30 days for changes, 15 for deletions."""
    end = now(box)
    answer = ask(box, which, end - timedelta(days=days), end)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()[0]["errorCode"] == "INVALID_REPLICATION_DATE"
    else:
        earliest = answer.json().get("earliestDateAvailable", "")
        assert bool(earliest) == (which == "deleted")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"start": "2026-01-01", "end": "2026-01-02T00:00:00Z"},
        {"start": "yesterday", "end": "today"},
        {"start": "2999-01-01T00:00:00Z", "end": "2999-01-02T00:00:00Z"},
    ],
)
def test_a_window_that_is_none(box: Box, params: dict[str, Any]) -> None:
    """No times, no time zone, no minute between them, or in the future."""
    answer = box.call("GET", "sobjects/Account/updated", params=params)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_REPLICATION_DATE")
    moment = datetime.now(UTC).replace(second=1)
    assert ask(box, "deleted", moment, moment + timedelta(seconds=50)).status_code == 400


def test_not_every_object_is_replicated_and_not_every_answer_fits(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Organization has no change list; more ids than the limit are refused, not cut off."""
    end = now(box) + timedelta(minutes=1)
    refused = ask(box, "updated", end - timedelta(hours=1), end, name="Organization")
    assert refused.json()[0]["errorCode"] == "INVALID_TYPE_FOR_OPERATION"
    box.create("Account", Name="One")
    monkeypatch.setattr(query, "REPLICATED_IDS_MAX", 0)
    refused = ask(box, "updated", end - timedelta(hours=1), end)
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "EXCEEDED_ID_LIMIT")
