"""The story of one seed: every change that was folded, and what came of it, in one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

from salmon.model.change import Change, Value, Write
from salmon.model.fold import Folded, fold
from salmon.model.state import State, new_state
from support.proof.playing import silence
from support.world import World
from support.world.nature import OBJECT, Knobs
from support.world.promises import broken


@dataclass
class Story:
    """One seed; what it broke is known when all is told."""

    seed: int
    broken: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        silence()
        world, usual = World(self.seed), Knobs()
        knobs = {knob.name: getattr(world.knobs, knob.name) for knob in fields(Knobs)}
        odd = [f"{name}={value}" for name, value in knobs.items() if value != getattr(usual, name)]
        yield f"seed {self.seed}: {', '.join(odd)}"
        try:
            world.run()
        except Exception as error:  # noqa: BLE001  # what led to it is the story
            self.broken.append(f"{type(error).__name__}: {error}")
        played = len(world.merge.log)
        yield from _folds(world, 0, played)
        if not self.broken:
            self.broken += broken(world)
            if self.broken:
                yield "it came to rest; then everything was told and read once more:"
                yield from _folds(world, played, len(world.merge.log))
        yield from (f"** {text}" for text in self.broken or ["it broke nothing"])


def _folds(world: World, begin: int, end: int) -> Iterator[str]:
    """The log again, from nothing; told from *begin* on."""
    states: dict[str, State] = {}
    for offset, (key, change, rules) in enumerate(world.merge.log[:end]):
        state = states.get(key) or new_state(rules.names)
        try:
            folded = fold(state, change, object=OBJECT, key=key, offset=offset, rules=rules)
        except Exception as error:  # noqa: BLE001  # that is the end of the story
            yield f"{offset:4} {key} {_change(change)}: {type(error).__name__}"
            return
        states[key] = folded.state
        if offset >= begin:
            yield f"{offset:4} {key} {_change(change)}"
            yield from (f"     {line}" for line in _came_of(folded))


def _change(change: Change) -> str:
    said = [f"{change.origin} {change.op}"]
    if change.ack is not None:
        said.append(f"of {change.ack}" if change.is_outcome else f"answers {change.ack}")
    if change.is_row:
        said.append(f"as of {change.as_of}")
    elif change.is_event:
        said.append(f"committed {change.commit_time}")
    if change.committed_at:
        said.append(f"at {change.committed_at}")
    if change.changed is not None:
        said.append(_values({name: change.fields.get(name) for name in change.changed}))
    elif change.fields:
        said.append(_values(change.fields))
    if change.misfits:
        said.append(f"misfits {' '.join(sorted(change.misfits))}")
    return " ".join(said)


def _came_of(folded: Folded) -> Iterator[str]:
    for report in folded.reports:
        yield " ".join([f"- {report.fact} {report.side}", *report.fields])
    for conflict in folded.conflicts:
        contest = conflict.contest
        won = "on hold" if conflict.winner is None else f"{conflict.winner.value!r} wins"
        yield f"! {contest.field}: {contest.standing.value!r} / {contest.challenger.value!r}, {won}"
    for side, write in folded.writes.items():
        yield f"> {side} {_write(write)}"
    for side in sorted(folded.to_read):
        yield f"? {side} shall read it"


def _write(write: Write | None) -> str:
    if write is None:
        return "is owed nothing"
    return f"{write.op} {write.seq} expects {write.expected} {_values(write.fields)}"


def _values(fields: Mapping[str, Value]) -> str:
    return " ".join(f"{name}={value!r}" for name, value in sorted(fields.items()))
