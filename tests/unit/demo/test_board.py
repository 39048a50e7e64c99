"""The numbers of the demo, and what it says in the end."""

from __future__ import annotations

from typing import Any

from salmon.demo.acts import Act
from salmon.demo.board import Board, Result, numbers
from salmon.demo.watching import Watch
from salmon.model.change import MONGODB, SALESFORCE

VERDICT: dict[str, Any] = {"equal": True, "objects": {"Account": {"records": 1_200}}, "took_s": 0.5}


def result(**told: Any) -> Result:
    """A play in which all went well, but for what is *told*."""
    usual: dict[str, Any] = {
        "snapshot_records": 1_200,
        "snapshot_s": 2.0,
        "edits_s": 20.0,
        "board": Board((), api_calls=7, left_s=0.0),
        "lags_s": {"to_mongodb": [0.04, 0.05], "to_salesforce": [0.06]},
        "acts": (Act("deletes", "A record is deleted", True, "it is gone", 0.1),),
        "conflicts": 1,
        "dead_letters": 0,
        "verdict": VERDICT,
        "unmet": (),
    }
    return Result(**usual | told)


def test_what_is_on_its_way_is_not_in_step() -> None:
    """Ten records, two edits that the other side has not shown."""
    watch = Watch()
    for value in ("a", "b", "c"):
        watch.begun(value, "Account", SALESFORCE)
        watch.returned(value)
    watch.seen("a", MONGODB)
    row = numbers("Account", watch, {("Account", SALESFORCE): 3}, records=10, conflicts=0)
    assert (row.in_step, row.in_flight, row.from_salesforce, row.from_mongodb) == (8, 2, 3, 0)
    assert row.p50_ms is not None


def test_three_lines_say_what_was_proven() -> None:
    """How much, how fast, and how well it judged."""
    lines = result().lines()
    assert len(lines) == 3
    assert "1,200 records are equal" in lines[0]
    assert "3 edits" in lines[1]
    assert "50 ms (p50) and 60 ms (p99)" in lines[1]
    assert "1 of 1 hard cases" in lines[2]


def test_what_did_not_hold_is_said_instead() -> None:
    """Nothing is claimed then, and nothing is proven."""
    failed = result(unmet=("2 edits did not reach the other side.",))
    assert not failed.proven
    assert failed.lines() == ("Failed: 2 edits did not reach the other side.",)
    assert failed.as_dict()["proven"] is False


def test_scripts_get_every_number() -> None:
    """By direction, and of each act."""
    told = result().as_dict()
    assert told["edits"]["to_mongodb"] == {"count": 2, "p50_ms": 40.0, "p99_ms": 50.0, "max_ms": 50.0}
    assert told["acts"][0]["passed"] is True
    assert told["verify"] == VERDICT
