"""
A schedule that breaks a promise, made as short and as plain as it can be while it still breaks it.

`python -m support.world.shrink SEED` (with PYTHONPATH=tests) prints the smallest: its steps, what goes on in it, and
what each side tells of the records.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any, Final

from salmon.model.change import Change
from support.world.nature import Knobs, any_knobs
from support.world.play import STEPS, World
from support.world.promises import broken

# Nothing but users, sources and sinks that take turns.
PLAIN: Final = Knobs(repeats=0, crashes=0, rows=0, deletes=0, bursts=0, restarts=0)


@dataclass(frozen=True)
class Schedule:
    """One seed, so many steps, of this kind."""

    seed: int
    steps: int
    knobs: Knobs

    def faults(self) -> list[str]:
        """What it breaks; one that breaks down is as wrong as one that ends wrong."""
        try:
            return broken(World(self.seed, self.knobs).run(self.steps))
        except Exception as failure:  # noqa: BLE001
            return [f"{type(failure).__name__}: {failure}"]

    def unusual(self) -> dict[str, Any]:
        """The knobs that are not as in a plain schedule."""
        told = {each.name: getattr(self.knobs, each.name) for each in fields(Knobs)}
        return {name: value for name, value in told.items() if value != getattr(PLAIN, name)}


def schedule_of(seed: int) -> Schedule:
    """The one that World(seed).run() plays."""
    return Schedule(seed, STEPS, any_knobs(Random(seed)))


def shrunk(schedule: Schedule) -> Schedule:
    """
    The smallest schedule that still breaks the same promise: fewer steps, and knobs turned off one by one.

    Raises:
        ValueError: it breaks none.
    """
    if not (kinds := _kinds(schedule.faults())):
        raise ValueError(f"the schedule of seed {schedule.seed} keeps every promise")
    while True:
        smaller = next((each for each in _smaller(schedule) if _kinds(each.faults()) & kinds), None)
        if smaller is None:
            return schedule
        schedule = smaller


def _kinds(faults: list[str]) -> set[str]:
    return {fault.partition(":")[0] for fault in faults}


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """The shortest first: whether a longer one fails says nothing of a shorter one."""
    for steps in range(1, schedule.steps):
        yield replace(schedule, steps=steps)
    for name in schedule.unusual():
        yield replace(schedule, knobs=replace(schedule.knobs, **{name: getattr(PLAIN, name)}))


def story(schedule: Schedule) -> Iterator[str]:
    """What each side tells in it, in the order of the log."""
    world = World(schedule.seed, schedule.knobs)
    try:
        world.run(schedule.steps)
    except Exception as failure:  # noqa: BLE001
        yield f"it breaks down: {failure}"
    for offset, (key, change, _) in enumerate(world.merge.log):
        yield f"{offset:4} {key} {_told(change)}"


def _told(change: Change) -> str:
    ack = "" if change.ack is None else f" marker {change.ack}"
    when = f"as of {change.as_of}" if change.is_row else f"at {change.commit_time}"
    named = sorted(change.fields if change.changed is None else change.changed)
    values = ", ".join(f"{name}={change.fields.get(name)!r}" for name in named)
    return f"{change.origin} {change.op} {when}{ack}: {values}"


def main(seed: int) -> int:
    try:
        smallest = shrunk(schedule_of(seed))
    except ValueError as error:
        print(error)
        return 1
    print(f"seed {seed}, {smallest.steps} steps, {smallest.unusual()}")
    print(*(f"  {fault}" for fault in smallest.faults()), sep="\n")
    print(*story(smallest), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
