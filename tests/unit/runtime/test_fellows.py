"""Processes that share an allowance tell each other what they have used of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.errors import Unavailable
from salmon.kafka.output import Output
from salmon.plugin.contract import BudgetState, Position
from salmon.runtime.fellows import Fellows
from salmon.sink.worker import SinkWorker
from support.at_hand.memory_sync import MemorySync
from support.runtime import OBJECT, SCHEMA, Sink, running
from support.waiting import until


class Budget:
    """An allowance, of which something was used."""

    name = "api_calls"

    def __init__(self) -> None:
        self.taken: list[tuple[str, Position | None]] = []

    def states(self) -> Sequence[BudgetState]:
        return ()

    def to_store(self) -> Position | None:
        return {"slots": {"1": 2}}

    def take(self, process: str, used: Position | None) -> None:
        self.taken.append((process, used))


class Table:
    """What is stored, which cannot be read at first."""

    def __init__(self, failures: int, *changes: Mapping[str, Any]) -> None:
        self.failures, self.changes, self.closed = failures, list(changes), 0

    def follow(self, timeout_s: float = 0.0) -> Mapping[str, Any]:
        assert timeout_s == 0
        if self.failures:
            self.failures -= 1
            raise Unavailable("no broker")
        return self.changes.pop(0) if self.changes else {}

    def close(self) -> None:
        self.closed += 1


ENTRIES: Any = SimpleNamespace(
    output=lambda *entry: Output("t", "/".join(entry[:2]), repr(entry[2]).encode())
)


def fellows(
    *budgets: Budget, table: Table | None = None, ordinal: str = "1", every_s: float = 0.0
) -> Fellows:
    """Those of a replica of the sink."""
    return Fellows(
        lambda: budgets,
        "salesforce-sink",
        ENTRIES,
        lambda: table or Table(0),
        ordinal=ordinal,
        every_s=every_s,
    )


def test_a_process_takes_what_the_others_and_it_itself_have_stored() -> None:
    """Its own part is of before it was restarted; other replicas of its connector are others."""
    budget = Budget()
    fellows(budget).take(
        {
            "salesforce-source/used/api_calls": {"slots": {}},
            "salesforce-source/used/event_deliveries": {"slots": {}},
            "salesforce-sink/used/api_calls/0": {"slots": {"1": 1}},
            "salesforce-sink/used/api_calls/1": None,
        }
    )
    assert budget.taken == [
        ("salesforce-source/", {"slots": {}}),
        ("salesforce-sink/0", {"slots": {"1": 1}}),
        ("", None),
    ]


def test_its_own_part_is_stored_under_its_ordinal_now_and_then() -> None:
    """Not with each commit."""
    (output,) = fellows(Budget()).outputs()
    assert output.key == "salesforce-sink/used/api_calls/1"
    (output,) = fellows(Budget(), ordinal="").outputs()
    assert output.key == "salesforce-sink/used/api_calls"
    assert fellows(Budget(), every_s=3600.0).outputs() == []


def test_what_cannot_be_read_now_is_read_later() -> None:
    """By a new reader; nobody waits for it."""
    budget, table = Budget(), Table(2, {"a/used/api_calls": {}}, {"b/used/api_calls": {}})
    each = fellows(budget, table=table, every_s=0.01)
    each.begin()
    until(lambda: len(budget.taken) == 2, "both are taken")
    each.close()
    until(lambda: table.closed == 3, "all readers are closed")


class Spending(Sink):
    """A sink that uses an allowance."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget()

    def budgets(self) -> Sequence[Budget]:
        return [self.budget]


def test_two_replicas_of_a_sink_and_a_restarted_one_know_what_was_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each stores its part with what it reports, and the others have it."""
    monkeypatch.setattr("salmon.runtime.fellows.EVERY_S", 0.02)
    sync, used = MemorySync(), {"slots": {"1": 2}}
    first, second = Spending(), Spending()
    workers = [
        SinkWorker(sync.instance("mongodb-sink", ordinal), task, {OBJECT: SCHEMA}, [OBJECT])
        for ordinal, task in enumerate((first, second))
    ]
    with running(*workers) as runs:
        until(lambda: ("mongodb-sink/1", used) in first.budget.taken)
        until(lambda: ("mongodb-sink/0", used) in second.budget.taken)
        for run in runs:
            run.stop()
    again = Spending()
    with running(SinkWorker(sync.instance("mongodb-sink"), again, {OBJECT: SCHEMA}, [OBJECT])) as (run,):
        until(lambda: ("", used) in again.budget.taken)
        run.stop()
