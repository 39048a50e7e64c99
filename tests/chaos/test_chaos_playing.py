"""The order of a run: which fault may begin when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from support.chaos import plan, playing
from support.chaos.plan import EMBEDDED, ORG, Fault, Wanted

KILL = Fault(1, "kill", ("merge",), 0, waits=False)
HOLE = Fault(2, "corrupt_replay", (ORG,), 0)


WAITED = replace(KILL, waits=True)


class Watched:
    """A canary and a striker that write down what happens. *well*: what the canary finds, time after time."""

    def __init__(self, world: Any, well: Sequence[float | None], *, hits: bool = True) -> None:
        self._world = world
        self._well = iter(well)
        self._hits = hits
        self.happened: list[str] = []

    def strike(self, fault: Fault, _enough: threading.Event) -> bool:
        self._note(fault.kind)
        return self._hits

    def recovered_s(self, *, within_s: float, enough: Callable[[], bool] = bool) -> float | None:
        del within_s, enough
        self._note("look")
        return next(self._well)

    def _note(self, what: str) -> None:
        states = {"hushed": self._world.hole, "untold": self._world.untold}
        self.happened.append(", ".join([what, *(name for name, each in states.items() if each.is_set())]))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> playing._Run:
    monkeypatch.setattr(playing, "_HUSH_S", 0)

    played(monkeypatch, KILL, HOLE)
    options: Any = SimpleNamespace(
        wanted=Wanted(1, 60, EMBEDDED, relentless=True), supervisor="own", slower=1.0
    )
    crew: Any = SimpleNamespace(ready=list, says=str)
    world: Any = SimpleNamespace(hole=threading.Event(), untold=threading.Event())
    stage: Any = None
    return playing._Run(options, stage, crew, world, {}, lambda _line: None)


def played(monkeypatch: pytest.MonkeyPatch, *faults: Fault) -> None:
    def planned(_wanted: Wanted, _supervisor: str) -> Iterator[Fault]:
        yield from faults

    monkeypatch.setattr(plan, "faults", planned)


def strike_all(run: Any, watched: Watched) -> None:
    playing._strike_all(run, watched, watched, threading.Event())  # type: ignore[arg-type]


def longer(run: Any, seconds: float) -> None:
    run.options.wanted = replace(run.options.wanted, seconds=seconds)


at_the_end = playing._recovered_at_the_end


def test_events_get_lost_only_when_all_is_well(run: Any) -> None:
    """Even where no fault waits for the recovery from the one before: else events of long ago would be lost, too."""
    watched = Watched(run.world, [3.0, 1.0])
    strike_all(run, watched)
    assert watched.happened == ["kill", "look, hushed", "corrupt_replay, hushed", "look, hushed"]
    assert run.history[1].endswith("corrupt_replay org 3.0 s later; well after 1.0 s")
    assert run.took == {"corrupt_replay": [1.0]}
    assert run.not_recovered == []
    assert not run.world.hole.is_set()


def test_a_fault_that_meets_nobody_is_no_recovery(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was broken, so nothing is measured; the history says it."""
    played(monkeypatch, WAITED)
    watched = Watched(run.world, [], hits=False)
    strike_all(run, watched)
    assert watched.happened == ["kill"]
    assert run.history[0].endswith("kill merge; met nobody")
    assert run.took == {}


def test_no_events_get_lost_where_it_does_not_become_well(run: Any) -> None:
    """The fault is left out, and the result says so."""
    longer(run, seconds=600)
    watched = Watched(run.world, [None])
    strike_all(run, watched)
    assert watched.happened == ["kill", "look, hushed"]
    assert "left out: NOT well after 60 s: not ready: " in run.history[1]
    assert run.not_recovered == ["before corrupt_replay org (number 2), within 45 s"]
    assert not run.world.hole.is_set()


def test_a_recovery_that_takes_longer_than_promised_is_noted(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """15 s after one fault; on a slower machine as many times more as the run was told, and the outcome with it."""
    longer(run, seconds=600)
    played(monkeypatch, WAITED, WAITED)
    strike_all(run, Watched(run.world, [14.9, 15.1]))
    assert run.not_recovered == ["kill merge (number 1), within 15 s"]
    assert run.took == {"kill": [14.9, 15.1]}
    assert run.history[1].endswith("well after 15.1 s, which is late")
    run.not_recovered.clear()
    run.options.slower = 2.0
    strike_all(run, Watched(run.world, [29.9, None]))
    assert run.not_recovered == ["kill merge (number 1), within 30 s"]


def test_several_faults_in_a_row_have_a_time_of_their_own(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisors wait longer before they start again what ended many times; and nobody can say whose recovery it is."""
    longer(run, seconds=600)
    played(monkeypatch, KILL, WAITED, WAITED)
    strike_all(run, Watched(run.world, [44.0, 2.0]))
    assert run.not_recovered == []
    assert run.took == {"several": [44.0], "kill": [2.0]}
    played(monkeypatch, Fault(5, "change_schema", (ORG,), 0), WAITED)
    strike_all(run, Watched(run.world, [1.0, 44.0, 2.0]))
    assert run.not_recovered == [], "here processes restart one after the other"
    assert run.took["change_schema"] == [44.0]
    played(monkeypatch, KILL, WAITED)
    strike_all(run, Watched(run.world, [46.0]))
    assert run.not_recovered == ["kill merge (number 1), within 45 s"]


def test_the_last_recovery_is_measured_too(run: Any) -> None:
    """Also in a run whose faults never wait for each other."""
    canary: Any = Watched(run.world, [3.0, 16.0, 50.0, None])
    assert at_the_end(run, canary), "nothing was broken: nothing is measured"
    assert at_the_end(run, canary)
    assert run.took == {}
    assert run.not_recovered == ["at the end, within 15 s"]
    run.well = False
    assert at_the_end(run, canary)
    assert run.took == {"several": [50.0]}
    assert run.not_recovered[1:] == ["at the end, within 45 s"]
    assert not at_the_end(run, canary)
    assert run.not_recovered[2].startswith("at the end, within 180 s: not ready: ")


def test_the_editors_know_when_nobody_is_told_that_events_are_missing(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing goes by turns, and no longer; of every other hole the sync is told."""
    played(monkeypatch, HOLE, Fault(3, "lose_events", (ORG,), 0))
    watched = Watched(run.world, [1.0] * 4)
    strike_all(run, watched)
    assert watched.happened[1] == "corrupt_replay, hushed"
    assert watched.happened[3:] == [f"{what}, hushed, untold" for what in ("look", "lose_events", "look")]
    assert not run.world.untold.is_set()
