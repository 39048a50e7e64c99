"""
The World under the policy `hold`: neither side ever loses what it entered, and all else keeps merge's promises.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

from salmon.model.change import SIDES
from salmon.model.policies import EXISTENCE
from support.world import World
from support.world.nature import any_knobs
from support.world.promises import broken

SCHEDULES: Final = 400


def taken_away(world: World) -> Iterator[str]:
    """What a side should have kept, and does not have."""
    for key, state in world.merge.states.items():
        for side in SIDES:
            fields = world.fields(side, key)
            for name, value in state.sides[side].kept.items():
                shown = fields is not None if name == EXISTENCE else (fields or {}).get(name)
                if shown != value:
                    yield f"{key} {side}: {name} is {shown!r}, kept {value!r}"


def test_what_is_on_hold_stays_as_each_side_entered_it() -> None:
    """Also where a write of ours had overtaken the edit, a sink repeats itself, or a trigger has its own mind."""
    faults: dict[int, list[str]] = {}
    held = lives = 0
    for seed in range(SCHEDULES):
        knobs = any_knobs(Random(seed))
        knobs.policy = "hold"
        world = World(seed, knobs).run()
        found = [text for text in broken(world) if not text.startswith("set aside")] + [*taken_away(world)]
        undecided = [each.contest.field for each in world.merge.conflicts if each.winner is None]
        held += len(undecided)
        lives += undecided.count(EXISTENCE)
        if found:
            faults[seed] = found
    assert not faults, f"{len(faults)} schedules, e.g. {dict(list(faults.items())[:3])}"
    assert held > lives > 0, "schedules without anything on hold would show little"
