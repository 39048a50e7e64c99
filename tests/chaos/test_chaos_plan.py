"""The plan of a run: drawn from the seed alone, varied, and never what a stack cannot do."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from salmon.simulator.events.eventbus import EventBus
from salmon.simulator.org.objects.describes import PACKAGED, load_describes
from salmon.simulator.org.org import Org
from support.chaos import plan
from support.chaos.plan import EMBEDDED, JVM, KINDS, ORG, OWN_SUPERVISOR, RUN_ALL, STACKS, Fault, Wanted


def first(count: int, wanted: Wanted, supervisor: str = OWN_SUPERVISOR) -> list[Fault]:
    return list(islice(plan.faults(wanted, supervisor), count))


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    """Whoever plays a seed again meets what was met before."""
    assert first(200, Wanted(7, 600, EMBEDDED)) == first(200, Wanted(7, 600, EMBEDDED))
    assert first(20, Wanted(7, 600, EMBEDDED)) != first(20, Wanted(8, 600, EMBEDDED))
    assert plan.supervisor(7) == plan.supervisor(7)
    assert {plan.supervisor(seed) for seed in range(20)} == {OWN_SUPERVISOR, RUN_ALL}


@pytest.mark.parametrize("stack", STACKS)
def test_every_kind_comes_within_one_pack(stack: str) -> None:
    """No kind is missing for long."""
    faults = first(sum(plan.WEIGHTS.values()), Wanted(1, 600, stack))
    assert {fault.kind for fault in faults} == set(KINDS)


@pytest.mark.parametrize("seed", range(10))
def test_a_run_of_a_minute_has_several_kinds(seed: int) -> None:
    """About ten faults fit into it, and they are not all the same."""
    faults = first(10, Wanted(seed, 60, EMBEDDED))
    assert len({fault.kind for fault in faults}) >= 4
    assert sum(fault.pause_s + fault.lasts_s for fault in faults) < 90


@pytest.mark.parametrize("stack", STACKS)
def test_what_a_stack_cannot_do_never_comes(stack: str) -> None:
    """It is left out by name, and told in the result."""
    faults = first(2000, Wanted(3, 600, stack), RUN_ALL)
    struck = {(fault.kind, target) for fault in faults for target in fault.targets}
    assert not struck & set(plan.LEFT_OUT[stack])
    assert ("server-stop", ORG) in struck
    assert ("stop", plan.SUPERVISOR) in struck
    assert all(plan.left_out(stack).values())


def test_suspensions_last_from_5_to_60_seconds_and_less_in_a_short_run() -> None:
    """One alone must not fill a run."""
    long = [fault.lasts_s for fault in first(2000, Wanted(3, 3600, JVM)) if fault.kind == "stop"]
    short = [fault.lasts_s for fault in first(2000, Wanted(3, 60, JVM)) if fault.kind == "stop"]
    assert 5 <= min(long) < 10
    assert 50 < max(long) <= 60
    assert 5 <= min(short) <= max(short) <= 6


def test_a_run_of_ten_minutes_has_suspensions_of_up_to_a_minute() -> None:
    """Of servers and of a coordinator too; a longer run has no longer ones, unless they are asked for."""
    wanted = Wanted(3, 600, JVM, kinds=("stop", "server-stop", "coordinator"))
    ten_minutes, day = first(600, wanted), first(600, replace(wanted, seconds=86_400))
    for kind in wanted.kinds:
        for faults in (ten_minutes, day):
            assert 55 < max(fault.lasts_s for fault in faults if fault.kind == kind) <= 60
    minutes = [fault.lasts_s for fault in first(600, replace(wanted, seconds=1200, stopped_max_s=600))]
    assert 5 <= min(minutes) < 60
    assert 540 < max(minutes) <= 600


def test_an_untold_hole_is_a_hole() -> None:
    """The editors pause for both; and each is played for a while or as a deed of its own."""
    assert plan.UNTOLD < plan.HOLES < set(KINDS)
    deselected = [fault for fault in first(300, Wanted(3, 60, EMBEDDED)) if fault.kind == "cdc"]
    assert all(fault.lasts_s and not fault.params["on"] for fault in deselected)


def test_no_field_is_added_twice() -> None:
    """The org would refuse it."""
    faults = first(1000, Wanted(3, 600, EMBEDDED, kinds=("change_schema",)))
    assert len({fault.params["add"]["name"] for fault in faults}) == 1000


def test_only_what_is_asked_for_comes() -> None:
    """Kinds and targets narrow a run down."""
    faults = first(100, Wanted(3, 60, EMBEDDED, kinds=("kill", "cut"), targets=("merge", "kafka")))
    assert {(fault.kind, *fault.targets) for fault in faults} == {("kill", "merge"), ("cut", "kafka")}


def test_after_a_hole_the_next_fault_waits() -> None:
    """Until the org has been read again, edits that go by turns pause."""
    faults = first(500, Wanted(3, 60, EMBEDDED))
    assert {fault.waits for fault in faults if fault.makes_a_hole} == {True}
    assert {fault.waits for fault in faults if not fault.makes_a_hole} == {True, False}


def test_nothing_comes_where_nothing_is_left() -> None:
    """Apicurio is never killed, so nothing is left of a run that wants only that."""
    assert first(1, Wanted(3, 60, JVM, kinds=("server-kill",), targets=("registry",))) == []


def test_the_simulator_takes_every_fault_that_is_drawn() -> None:
    """Names and parameters are those of its control API."""
    org = Org(load_describes(PACKAGED))
    EventBus(org)
    of_the_org = [fault for fault in first(500, Wanted(1, 600, EMBEDDED)) if fault.targets == (ORG,)]
    ours = {"server-kill", "server-stop", "clock_skew", "move"}  # done in other ways
    told = [fault for fault in of_the_org if fault.kind not in ours]
    for fault in told:
        ids = {"ids": ["001A"]} if fault.kind == "lock_rows" else {}
        org.faults.set(fault.kind, {**fault.params, **ids})
    # What a user does not see any more is taken back up to a minute later, which is longer than recovering may take. Events that
    # are refused one by one are set aside, which a run must not show.
    others = {"clock_skew", "hide", "view_all", "refuse_publish"}
    assert {fault.kind for fault in told} | others >= org.faults.known


def test_a_relentless_run_has_the_same_faults_sooner_and_waits_only_for_holes() -> None:
    """A hole is made up for by reading the org anew, and one that is made meanwhile would hide it."""
    usual = first(300, Wanted(5, 600, JVM))
    sooner = first(300, Wanted(5, 600, JVM, relentless=True))
    assert [(fault.kind, fault.targets, fault.params) for fault in sooner] == [
        (fault.kind, fault.targets, fault.params) for fault in usual
    ]
    assert all(later.pause_s < before.pause_s for later, before in zip(sooner, usual, strict=True))
    assert {fault.kind for fault in sooner if fault.waits} == plan.HOLES
    assert any(fault.waits and fault.kind not in plan.HOLES for fault in usual)
