"""The publisher of a chaos run, and how what became of its events is judged."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceRefusedRequest

from support.chaos import results
from support.chaos.events import Publication, Publisher, judge_events, losses_in
from support.chaos.hands import World
from support.chaos.journal import ACKNOWLEDGED, REFUSED, UNKNOWN, Journal
from support.chaos.stage import EVENT, EVENT_FIELD, Stage

SENT = [Publication(str(n), at_s=100.0 + n, outcome=ACKNOWLEDGED) for n in range(4)]


def test_events_that_arrived_once_are_good() -> None:
    """One whose answer never came may be there or not."""
    unknown = [Publication("8", 1.0), Publication("9", 1.0)]
    verdict = judge_events([*SENT, *unknown], {"0": 1, "1": 1, "2": 1, "3": 1, "8": 1}, [])
    assert verdict.as_outcome() == {
        "events_published": 4,
        "events_lost": 0,
        "events_lost_and_told": 0,
        "events_repeated": 0,
        "events_invented": 0,
    }


def test_an_event_that_is_missing_is_lost_unless_the_sync_said_so_afterwards() -> None:
    """A loss that was told of before the event was published explains nothing."""
    verdict = judge_events(SENT, {"0": 1, "3": 1}, losses_s=[101.5])
    assert (verdict.lost, verdict.told) == (["2"], ["1"])


def test_an_event_that_came_twice_or_from_nowhere_is_found() -> None:
    """Also one that the org had refused."""
    refused = Publication("7", 1.0, REFUSED)
    verdict = judge_events([*SENT, refused], {"0": 2, "1": 1, "2": 1, "3": 1, "7": 1, "66": 1}, [])
    assert (verdict.repeated, verdict.invented, verdict.lost) == (["0"], ["7", "66"], [])


@pytest.mark.parametrize("name", ["events_lost", "events_repeated", "events_invented"])
def test_a_run_with_such_an_event_is_not_good(name: str) -> None:
    """It is named; an event that was lost and told of is no fault of the sync's."""
    good: dict[str, Any] = {
        **dict.fromkeys(("lost", "divergent", "invented", "false_conflicts", "dead_letters"), 0),
        "restarted_by_hand": 0, "verdicts_equal": True, "quiet": True, "editors_failed": [], "interrupted": False, "not_recovered": [],
        "events_lost_and_told": 3,
    }  # fmt: skip
    assert results.is_good(good)
    assert not results.is_good({**good, name: 1})
    assert "event" in results.why_not_good({**good, name: 1})


@pytest.fixture
def publisher() -> Publisher:
    numbers = count(1)
    return Publisher(World(cast("Stage", None), Journal(), {}, {}, lambda: next(numbers)), seed=1)


def answering(publisher: Publisher, create: Callable[[Any], Any]) -> None:
    publisher.hands._org = SimpleNamespace(**{EVENT: SimpleNamespace(create=create)})


def test_what_the_org_says_of_a_publication_is_noted(publisher: Publisher) -> None:
    """Yes, no, that it failed itself, and nothing at all; every event has a number of its own."""
    sent: list[Any] = []

    def refusing(error: Exception) -> Callable[[Any], Any]:
        def create(body: Any) -> Any:
            sent.append(body)
            raise error

        return create

    for create in (
        sent.append,
        refusing(SalesforceMalformedRequest("", 400, "", b"")),
        refusing(SalesforceRefusedRequest("", 503, "", b"")),
        refusing(requests.ConnectionError()),
    ):
        answering(publisher, create)
        publisher.edit()
    assert [one.outcome for one in publisher.publications] == [ACKNOWLEDGED, REFUSED, UNKNOWN, UNKNOWN]
    assert sent == [{EVENT_FIELD: str(n)} for n in range(1, 5)]


def test_nothing_is_published_while_events_go_missing(publisher: Publisher) -> None:
    """What the org forgets before anybody has read it would be lost whatever the sync does."""
    publisher.world.hole.set()
    publisher.edit()
    assert publisher.publications == []


def test_the_losses_that_the_sync_told_of_are_read_from_its_logs(tmp_path: Path) -> None:
    """By their time; the last line of a process that was killed may be half of one."""
    line = '{"event": "event_position_lost", "timestamp": "1970-01-01T00:01:40Z"}'
    (tmp_path / "salesforce-source.log").write_text(
        f'{{"event": "x"}}\n{line}\n{line[:40]}', encoding="utf-8"
    )
    assert losses_in(tmp_path) == [100.0]
