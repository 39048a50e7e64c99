"""
Playing schedules: what one seed came to, in numbers, in a digest, and in what it broke.

Imports the product: where a rule shall be broken, `mutants` comes first.
"""

from __future__ import annotations

import hashlib
import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, Final

import structlog

from salmon.model.fold import Fact
from support.world import World
from support.world.promises import broken

# CPU time, not our clock: a busy machine is no failure. A schedule takes some hundredths of a second.
SCHEDULE_MAX_CPU_S: Final = 60.0

_PROMISES: Final = (  # how a fault begins, and which of DESIGN's promises it breaks
    ("differs", "convergence"),
    ("set aside", "convergence: parked, though nobody refused anything"),
    ("lost edit", "no lost causal edit"),
    ("vanished edit", "no lost causal edit"),
    ("vanished value", "no lost causal edit"),
    ("false conflict", "no false conflict"),
    ("the same log gives another state", "determinism"),
    ("said twice", "termination and quiet"),
    ("not quiet", "termination and quiet"),
    ("AssertionError: it does not come to rest", "termination and quiet"),
    ("TimeoutError", "termination and quiet"),
)


@dataclass(slots=True)
class Played:
    """What a run of seeds came to. Those of neighbours can be added."""

    digests: list[bytes] = field(default_factory=list)  # one for each seed, in order
    broken: dict[int, list[str]] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)


def play_all(seeds: range) -> Played:
    """Play them one after the other."""
    silence()
    played = Played()
    for seed in seeds:
        found, digest = play(seed, played.happened)
        played.digests.append(digest)
        if found:
            played.broken[seed] = found
    return played


def play(seed: int, happened: Counter[str]) -> tuple[list[str], bytes]:
    """
    Play the schedule of *seed*, count into *happened*; return what it broke, and the digest of what it ended with.

    One that breaks down is as wrong as one that ends wrong.
    """
    happened["schedules"] += 1
    digest = hashlib.sha256()
    try:
        with _at_most(SCHEDULE_MAX_CPU_S):
            world = World(seed)
            done: Counter[str] = Counter()
            _watch(world, done)
            world.run()
            happened.update(done)  # what is done to look again is no part of the schedule
            happened.update(_told(world))
            digest.update(_text(_ending(world)).encode())
            found = broken(world)
    except Exception as failure:  # noqa: BLE001  # told with its seed, like any other fault
        found = [f"{type(failure).__name__}: {failure}"]
    digest.update("\n".join(found).encode())
    return found, digest.digest()


def promise_of(text: str) -> str:
    """Which promise a fault breaks."""
    return next((promise for begin, promise in _PROMISES if text.startswith(begin)), "it broke down")


def silence() -> None:
    """Let the product's log be quiet: lines that nobody reads take a third of the time."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@contextmanager
def _at_most(cpu_s: float) -> Iterator[None]:
    """Give up what does not end."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"it does not end within {cpu_s:.0f} s of CPU time")

    was = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, was)


# What happened.

# What a World does and does not count itself: (what is told, how to find who does it, its method).
_DOINGS: Final[tuple[tuple[str, Callable[[World], list[Any]], str], ...]] = (
    ("merge: started anew", lambda world: [world.merge], "restart"),
    ("sinks: started anew", lambda world: list(world.sinks.values()), "start"),
    ("sources: started anew", lambda world: list(world.sources.values()), "start"),
    ("sources: events told again", lambda world: list(world.sources.values()), "tell_again"),
    ("sources: holes", lambda world: list(world.sources.values()), "lose_events"),
    ("users: undeletes", lambda world: [world.org], "undelete"),
    ("merge: other rules", lambda world: [world.merge], "change_rules"),
)


def _watch(world: World, done: Counter[str]) -> None:
    """Count what the World does, as long as it plays."""

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            done[name] += 1
            return method(*args, **named)

        return counted

    for name, of, method in _DOINGS:
        for part in of(world):
            setattr(part, method, counting(name, getattr(part, method)))


def _told(world: World) -> Counter[str]:
    """What the World and its merge have counted."""
    merge, knobs = world.merge, world.knobs
    told: Counter[str] = Counter()
    for _, change, _ in merge.log:
        told["changes folded"] += 1
        told[f"changes: {change.op}"] += 1
        if change.ack is not None and change.is_event:
            told["changes: echoes"] += 1
    for log in merge.writes.values():
        for _, write in log:
            told["writes: tombstones" if write is None else f"writes: {write.op}"] += 1
    told["writes carried out"] = sum(sink.carried_out for sink in world.sinks.values())
    told["conflicts"] = len(merge.conflicts)
    told["records"] = len(merge.states)
    told["edits by users and triggers"] = len(world.nature.history.authored)
    for fact in Fact:
        told[f"facts: {fact}"] = merge.facts[fact]
    for knob in fields(knobs):
        value = getattr(knobs, knob.name)
        if isinstance(value, str):
            told[f"schedules: {knob.name} {value}"] += 1
        elif value:
            told[f"schedules: {knob.name}"] += 1
    return told


# The digest: the same text on every machine, so nothing in it may depend on the order of a set.


def _ending(world: World) -> dict[str, Any]:
    merge = world.merge
    return {
        "states": merge.states,
        "published": merge.published,
        "conflicts": merge.conflicts,
        "writes": merge.writes,
        "sides": {side: {key: world.fields(side, key) for key in world.keys(side)} for side in world.sides},
    }


def _text(value: Any) -> str:
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if kind not in _NAMES:
        _NAMES[kind] = tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()
    if names := _NAMES[kind]:
        return f"{kind.__name__}({','.join(f'{name}={_text(getattr(value, name))}' for name in names)})"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return "{" + ",".join(sorted(f"{_text(k)}:{_text(v)}" for k, v in value.items())) + "}"
    if isinstance(value, (set, frozenset)):
        return "<" + ",".join(sorted(map(_text, value))) + ">"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_text, value)) + "]"
    return getattr(value, "__qualname__", None) or repr(value)


_PLAIN: Final = frozenset({str, int, bool, bytes, type(None)})  # most of all
_NAMES: Final[dict[type, tuple[str, ...]]] = {}  # of the fields of a dataclass; none for what is none
