"""The outbox of a chaos run, and how what became of its documents is judged."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pymongo.errors import AutoReconnect

from support.chaos import results
from support.chaos.events import Publication
from support.chaos.hands import World
from support.chaos.journal import ACKNOWLEDGED, UNKNOWN, Journal
from support.chaos.outbox import Sender, judge_outbox
from support.chaos.stage import EVENT_FIELD, Stage

DOCUMENTS = [Publication(str(n), at_s=100.0 + n, outcome=ACKNOWLEDGED) for n in range(3)]


def event(number: int, uuid: str = "") -> dict[str, Any]:
    return {"EventUuid": uuid or f"of {number}", EVENT_FIELD: str(number)}


def test_documents_that_were_published_are_good_also_those_that_were_published_again() -> None:
    """At least once is the promise; one whose answer never came may be published or not."""
    unknown = [Publication("8", 1.0), Publication("9", 1.0)]
    verdict = judge_outbox([*DOCUMENTS, *unknown], [event(0), event(1), event(2), event(1), event(8)])
    assert verdict.as_outcome() == {
        "documents_sent": 3,
        "documents_lost": 0,
        "documents_sent_again": 1,
        "documents_with_two_events": 0,
        "documents_invented": 0,
    }


def test_a_document_without_an_event_with_two_or_an_event_without_a_document_is_found() -> None:
    """Two UUIDs are two events for whoever subscribes."""
    verdict = judge_outbox(DOCUMENTS, [event(0), event(0, "another"), event(1), event(66)])
    assert (verdict.lost, verdict.twins, verdict.invented) == (["2"], ["0"], ["66"])


@pytest.mark.parametrize("name", ["documents_lost", "documents_with_two_events", "documents_invented"])
def test_a_run_with_such_a_document_is_not_good(name: str) -> None:
    """It is named; to be published again is no fault."""
    good: dict[str, Any] = {
        **dict.fromkeys(("lost", "divergent", "invented", "false_conflicts", "dead_letters"), 0),
        "restarted_by_hand": 0, "verdicts_equal": True, "quiet": True, "editors_failed": [], "interrupted": False, "not_recovered": [],
        "documents_sent_again": 3,
    }  # fmt: skip
    assert results.is_good(good)
    assert not results.is_good({**good, name: 1})
    assert "outbox" in results.why_not_good({**good, name: 1})


def test_what_mongodb_says_of_a_document_is_noted() -> None:
    """Yes, and nothing at all; every document has a number of its own."""
    numbers, inserted = count(1), list[Any]()
    sender = Sender(World(cast("Stage", None), Journal(), {}, {}, lambda: next(numbers)), seed=1)

    def gone(_document: Any) -> None:
        raise AutoReconnect("gone")

    for insert_one in (inserted.append, gone):
        collection = SimpleNamespace(insert_one=insert_one)
        sender.hands._documents = cast("Any", _Client(collection))
        sender.edit()
    assert [one.outcome for one in sender.sent] == [ACKNOWLEDGED, UNKNOWN]
    assert inserted == [{"_id": "order-1", "number": "1"}]


class _Client(dict[str, Any]):
    """A client whose databases have one collection under any name."""

    def __init__(self, collection: object) -> None:
        self._collection = collection

    def __getitem__(self, _database: str) -> Any:
        return _Database(self._collection)

    def close(self) -> None:
        pass


class _Database:
    def __init__(self, collection: object) -> None:
        self._collection = collection

    def __getitem__(self, _name: str) -> Any:
        return self._collection
