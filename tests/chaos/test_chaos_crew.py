"""The five processes of a run are started again whatever ends them, and it is written down what did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.chaos.crew import Crew
from support.chaos.plan import OWN_SUPERVISOR, RUN_ALL, SUPERVISOR
from support.waiting import until

pytestmark = pytest.mark.processes


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Callable[[str], Crew]]:
    """A crew whose configuration is not there, so that each process ends at once with exit code 2."""
    crews: list[Crew] = []

    def made(supervisor: str) -> Crew:
        crews.append(Crew(tmp_path / "sync.yaml", tmp_path, supervisor))
        crews[0].start()
        return crews[0]

    yield made
    for each in crews:
        each.stop()
        assert each.pids() == {}


def test_what_ends_is_started_again_and_counted(crew: Callable[[str], Crew]) -> None:
    """As Kubernetes does, whatever the exit code is; nobody's hand is needed for it."""
    processes = crew(OWN_SUPERVISOR)
    until(lambda: processes.ended["merge: exit code 2"] >= 2, "merge has ended twice", within_s=60)
    assert processes.restarted_by_hand == 0
    assert processes.ready() == []


def test_what_we_kill_is_not_counted_as_ended_by_itself(crew: Callable[[str], Crew]) -> None:
    """Only what the product did by itself is told."""
    processes = crew(OWN_SUPERVISOR)
    until(lambda: "merge" in processes.pids(), "merge runs")
    assert processes.kill("merge")
    until(lambda: processes.ended["merge: exit code 2"] >= 1, "merge runs again", within_s=60)
    assert processes.ended["merge: signal SIGKILL"] == 0


def test_run_all_that_ends_by_itself_needs_a_hand(crew: Callable[[str], Crew]) -> None:
    """At a desk nobody but a person starts it again."""
    processes = crew(RUN_ALL)
    until(lambda: processes.restarted_by_hand >= 1, "run all has ended", within_s=60)
    assert set(processes.ended) == {f"{SUPERVISOR}: exit code 2"}
