"""What the formulas of deploy/sizing.md say of an edit is what the World counts, however many there are."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from benchmarks.sizing import CHANGES_AN_EDIT, DELIVERIES_AN_EDIT, WRITES_AN_EDIT

from support.world import World
from support.world.nature import Knobs

# Nobody dies, nothing is told twice, and each edit comes to rest before the next.
CALM = Knobs(repeats=0, crashes=0, rows=0, deletes=0, bursts=0, restarts=0)
EDITS = 40


def counted(world: World) -> Mapping[str, int]:
    """All that there has been so far."""
    return {
        "changes": len(world.merge.log),
        "writes": sum(write is not None for writes in world.merge.writes.values() for _, write in writes),
        "deliveries": len(world.org.log),
    }


def more(world: World, before: Mapping[str, int]) -> Mapping[str, int]:
    return {name: count - before[name] for name, count in counted(world).items()}


@pytest.mark.parametrize("seed", range(5))
def test_an_edit_makes_as_many_changes_writes_and_deliveries_as_the_formulas_say(seed: int) -> None:
    """On either side; and nothing that has been there before makes any more."""
    world = World(seed, CALM)
    world.settle()
    before = counted(world)
    for number in range(EDITS):
        side = world.sides[number % len(world.sides)]
        keys = world.keys(side)
        world.edit(side, keys[number % len(keys)], {"City": f"edit {number}"})
        world.settle()
    assert more(world, before) == {
        "changes": EDITS * CHANGES_AN_EDIT,
        "writes": EDITS * WRITES_AN_EDIT,
        "deliveries": EDITS * DELIVERIES_AN_EDIT,
    }
