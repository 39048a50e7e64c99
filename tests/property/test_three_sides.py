"""
Random schedules of three sides: the org, the database, and another database as a further side. Merge's promises hold as for two.

SALMON_SCHEDULES says how many of two sides are played (test_world.py); of three it is a twentieth.
"""

from __future__ import annotations

import os
from dataclasses import replace
from random import Random
from typing import Final

import pytest

from salmon.model.change import MONGODB, SALESFORCE
from salmon.model.fold import Fact
from support.world import World
from support.world.nature import THIRD, Knobs, any_knobs
from support.world.promises import broken, differences
from support.world.views import CHANGES

SCHEDULES: Final = int(os.environ.get("SALMON_SCHEDULES", "2000")) // 20
CHUNKS: Final = 2  # tests that several workers share
SIDES: Final = (SALESFORCE, MONGODB, THIRD)


def of_three(seed: int) -> World:
    """The World of *seed*, with a third side. An object with a direction has two sides."""
    return World(seed, replace(any_knobs(Random(seed)), third=True, one_way_to=None))


def settled() -> World:
    """A World without deletions, refusals or repetitions, come to rest and in order."""
    world = World(7, Knobs(deletes=0, repeats=0, crashes=0, third=True)).run()
    assert broken(world) == []
    return world


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_schedule_of_three_sides_keeps_the_promises(chunk: int) -> None:
    """All three agree, no causal edit is lost, no conflict is false, and the log can be folded again."""
    faults: dict[int, list[str]] = {}
    conflicts = 0
    for seed in range(chunk, SCHEDULES, CHUNKS):
        world = of_three(seed).run()
        if found := broken(world):
            faults[seed] = found
        conflicts += len(world.merge.conflicts)
    assert not faults, f"{len(faults)} schedules broke a promise, e.g. {dict(list(faults.items())[:3])}"
    assert conflicts or SCHEDULES < 20 * CHUNKS, "schedules without one conflict would show little"


@pytest.mark.parametrize("changes", CHANGES)
def test_a_further_side_may_have_a_filter_and_a_mask(changes: str) -> None:
    """It gets only what it wants, and in its form, also if both change while the sync runs; the promises hold."""
    faults: dict[int, list[str]] = {}
    for seed in range(max(1, SCHEDULES // len(CHANGES))):
        views = {"filters": THIRD, "masks": THIRD, "views_change": changes}
        world = World(seed, replace(of_three(seed).knobs, **views)).run()  # type: ignore[arg-type]
        if found := broken(world):
            faults[seed] = found
    assert not faults, f"{len(faults)} schedules broke a promise, e.g. {dict(list(faults.items())[:3])}"


@pytest.mark.parametrize("side", SIDES)
def test_an_edit_of_one_side_is_on_the_two_others(side: str) -> None:
    """Each side's edit is told once to each other one."""
    world = settled()
    key = next(k for k in world.keys(side) if world.merge.states[k].lives)
    token = world.nature.token("Name", (world.fields(side, key) or {})["Name"])
    world.edit(side, key, {"Name": token})
    world.settle()
    assert {(world.fields(each, key) or {})["Name"] for each in SIDES} == {token}
    assert list(differences(world)) == []


@pytest.mark.parametrize("side", SIDES)
def test_what_one_side_deletes_is_gone_on_all(side: str) -> None:
    """And it is nobody's conflict."""
    world = settled()
    key = next(k for k in world.keys(side) if world.merge.states[k].lives)
    told = len(world.merge.conflicts)
    world.delete(side, key)
    world.settle()
    assert [each for each in SIDES if world.fields(each, key) is not None] == []
    assert world.merge.conflicts[told:] == []


def test_edits_of_all_three_at_once_are_told_as_conflicts() -> None:
    """The last one by the clocks wins on all; nobody's edit is lost in silence."""
    world = settled()
    key = next(k for k in world.keys(THIRD) if world.merge.states[k].lives)
    told = len(world.merge.conflicts)
    tokens = set()
    for side in SIDES:
        tokens.add(token := world.nature.token("City", (world.fields(side, key) or {}).get("City")))
        world.edit(side, key, {"City": token})
    world.settle()
    assert len({(world.fields(each, key) or {}).get("City") for each in SIDES}) == 1
    contests = [conflict.contest for conflict in world.merge.conflicts[told:]]
    assert {edit.value for c in contests for edit in (c.standing, c.challenger)} >= tokens


@pytest.mark.parametrize("side", SIDES)
def test_a_side_that_differs_is_seen(side: str) -> None:
    """The watchers look at each of the three."""
    world = settled()
    world.edit(side, world.keys(side)[0], {"Name": "changed behind our back"})
    assert any("differs" in text for text in broken(world))


def test_the_third_side_is_told_of_nothing_that_merge_keeps_for_documents() -> None:
    """A document tells its Salesforce Id; another side has the fields of the object alone."""
    world = settled()
    assert world.merge.facts[Fact.ACKNOWLEDGED]
    named = {name for _, write in world.merge.writes[THIRD] if write for name in write.fields}
    assert named <= set(world.merge.rules.schema.by_name)
