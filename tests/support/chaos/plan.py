"""
Which faults come, in which order, against whom and for how long: drawn from the seed alone.

Nothing here knows how a fault is carried out (striking.py), or how long the sync takes to recover: a plan is an
endless row of faults with pauses between them, and the run takes as many as its time allows.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from salmon.kafka.topics import CONNECTORS

EMBEDDED: Final = "embedded"
JVM: Final = "jvm"
STACKS: Final = (EMBEDDED, JVM)

ALL: Final = "all"
SUPERVISOR: Final = "supervisor"
ORG: Final = "org"
SERVERS: Final = ("kafka", "registry", "mongodb", ORG)
LINKS: Final = ("kafka", "registry", "mongodb", "rest", "pubsub")
OBJECTS: Final = ("Account", "Contact", "Opportunity")

OWN_SUPERVISOR: Final = "own"
RUN_ALL: Final = "run-all"
SUPERVISORS: Final = (OWN_SUPERVISOR, RUN_ALL)

# Faults after which events are missing, so that the org is read again.
HOLES: Final = frozenset(
    {
        "gap",
        "overflow",
        "wildcard",
        "change_schema",
        "expire_replay",
        "corrupt_replay",
        "lose_events",
        "cdc",
    }
)
# ... and of which nobody is told: only a comparison of the sides finds what is missing.
UNTOLD: Final = frozenset({"lose_events", "cdc"})
# Faults after which processes restart one after the other: who registers the new schema first, and then who reads by it.
RESTARTS_IN_TURN: Final = frozenset({"change_schema"})

# How often each kind lies in the pack that faults are drawn from. A pack is played to its end before the next one is
# shuffled, so that no kind is missing for long.
WEIGHTS: Final[Mapping[str, int]] = {
    "kill": 12,
    "stop": 3,
    "server-kill": 2,
    "server-stop": 2,
    "cut": 2,
    "stall": 1,
    "delay": 1,
    "coordinator": 1,
    "http": 1,
    "grpc": 1,
    "latency": 1,
    "lock_rows": 1,
    "cut_streams": 1,
    "silence": 1,
    "repeat_events": 1,
    "lose_events": 1,
    "gap": 1,
    "overflow": 1,
    "wildcard": 1,
    "change_schema": 1,
    "cdc": 1,
    "expire_replay": 1,
    "corrupt_replay": 1,
    "exhaust_api": 1,
    "revoke_sessions": 1,
    "move": 1,
    "clock_skew": 1,
}
KINDS: Final = tuple(WEIGHTS)
TARGETS: Final = tuple(dict.fromkeys((*CONNECTORS, ALL, SUPERVISOR, *SERVERS, *LINKS)))

# What a stack cannot do, by name, and why.
LEFT_OUT: Final[Mapping[str, Mapping[tuple[str, str], str]]] = {
    EMBEDDED: {
        ("server-kill", ORG): "the simulated org lives in memory: killed, it would be another org",
    },
    JVM: {
        ("server-kill", ORG): "the simulated org lives in memory: killed, it would be another org",
        (
            "server-kill",
            "registry",
        ): "Apicurio keeps the schemas in memory: nobody could read the records any more",
    },
}
# What a name means on a stack, where that is not plain.
NOTES: Final[Mapping[str, Mapping[str, str]]] = {
    EMBEDDED: {
        "server-kill kafka": "the front before the embedded broker is killed, so that every connection breaks; the broker "
        "itself keeps its records in memory",
        "transactions": "the front, not the broker, ends the transaction of a dead client after its time; where the front "
        "was killed meanwhile, the client's next start does",
    },
    JVM: {},
}

STOPPED_MIN_S: Final = 5.0  # the shortest suspension
_STOPPED_MAX_S: Final = 60.0  # the longest, if nothing else is asked for
_ANNOYING_S: Final = (2.0, 12.0)  # a fault of the org or of the network that lasts
_PAUSE_S: Final = (1.0, 4.0)
_RELENTLESS: Final = 0.5  # of these pauses
# In a short run suspensions are shorter, or one would fill it.
_SHARE_OF_RUN: Final = 0.1


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One fault.

    Args:
        pause_s: How long after the end of the one before it begins.
        lasts_s: 0 for a deed, such as a kill.
        targets: Whom it strikes: processes, servers or links; of the simulator's own faults, the org.
        params: What the simulator's control API is told, or the proxy.
        waits: Whether the next fault waits until everything is well again. Else it comes on the heels of this one.
    """

    number: int
    kind: str
    targets: tuple[str, ...]
    pause_s: float
    lasts_s: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)
    waits: bool = True

    @property
    def makes_a_hole(self) -> bool:
        return self.kind in HOLES

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        says = "".join(f" {name}={value}" for name, value in self.params.items())
        return f"{self.kind} {','.join(self.targets)}{lasts}{says}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What a run shall meet.

    Args:
        kinds: Only these kinds of faults.
        targets: Only these processes, servers and links; none for all.
        relentless: Whether faults come sooner and do not wait for the recovery from the one before, unless it made a hole.
        stopped_max_s: The longest suspension; None for 60 s, and less in a short run.
    """

    seed: int
    seconds: float
    stack: str
    kinds: Collection[str] = KINDS
    targets: Collection[str] = ()
    relentless: bool = False
    stopped_max_s: float | None = None


def left_out(stack: str) -> dict[str, str]:
    """What this stack cannot do, or does in its own way: for whoever reads a result."""
    return {" ".join(what): why for what, why in LEFT_OUT[stack].items()} | dict(NOTES[stack])


def supervisor(seed: int) -> str:
    """Who starts the processes again: a supervisor of ours, as Kubernetes would, or `salmon run all`."""
    return random.Random(f"supervisor {seed}").choice(SUPERVISORS)


def faults(wanted: Wanted, supervised_by: str) -> Iterator[Fault]:
    """
    The faults of a run, without an end. Empty where *wanted* leaves nothing that this stack can do.
    """
    rng = random.Random(f"faults {wanted.seed}")
    pack = [kind for kind, weight in WEIGHTS.items() if kind in wanted.kinds for _ in range(weight)]
    pack = [kind for kind in pack if _targets_of(kind, wanted, supervised_by)]
    number = 0
    while pack:
        rng.shuffle(pack)
        for kind in pack:
            number += 1
            yield _drawn(rng, number, kind, wanted, supervised_by)


def _targets_of(kind: str, wanted: Wanted, supervised_by: str) -> tuple[str, ...]:
    """Whom a kind may strike in this run."""
    if kind in {"kill", "stop"}:
        possible: tuple[str, ...] = (*CONNECTORS, ALL)
        possible += (SUPERVISOR,) if supervised_by == RUN_ALL else ()
    elif kind in {"server-kill", "server-stop"}:
        possible = SERVERS
    elif kind in {"cut", "stall", "delay"}:
        possible = LINKS
    elif kind == "coordinator":
        possible = ("kafka",)
    else:
        possible = (ORG,)
    return tuple(
        target
        for target in possible
        if (kind, target) not in LEFT_OUT[wanted.stack] and (not wanted.targets or target in wanted.targets)
    )


def _drawn(rng: random.Random, number: int, kind: str, wanted: Wanted, supervised_by: str) -> Fault:
    pause_s = round(rng.uniform(*_PAUSE_S), 2)
    waits = rng.random() < 0.5
    if wanted.relentless:
        pause_s, waits = round(pause_s * _RELENTLESS, 2), False
    targets = (rng.choice(_targets_of(kind, wanted, supervised_by)),)
    lasts_s, params = _HOW.get(kind, _deed)(rng, wanted)
    return Fault(number, kind, targets, pause_s, lasts_s, params, waits or kind in HOLES)


_How = tuple[float, dict[str, Any]]


def _deed(_rng: random.Random, _wanted: Wanted) -> _How:
    return 0.0, {}


def _suspended(rng: random.Random, wanted: Wanted) -> _How:
    usual_s = max(STOPPED_MIN_S, min(_STOPPED_MAX_S, wanted.seconds * _SHARE_OF_RUN))
    return round(rng.uniform(STOPPED_MIN_S, wanted.stopped_max_s or usual_s), 1), {}


def _annoying(rng: random.Random, wanted: Wanted) -> _How:
    least, most = _ANNOYING_S
    return round(rng.uniform(least, max(least, min(most, wanted.seconds * _SHARE_OF_RUN))), 1), {}


def _delayed(rng: random.Random, wanted: Wanted) -> _How:
    return _annoying(rng, wanted)[0], {"ms": rng.choice((50, 200, 800))}


def _refusing(rng: random.Random, wanted: Wanted) -> _How:
    status, code = rng.choice(
        (
            (503, None),
            (503, "SERVER_UNAVAILABLE"),
            (500, "UNKNOWN_EXCEPTION"),
            (401, "INVALID_SESSION_ID"),
            (403, "REQUEST_LIMIT_EXCEEDED"),
        )
    )
    api = rng.choice(("rest", "collections", "oauth", "all"))
    lasts_s = _annoying(rng, wanted)[0]
    return lasts_s, {"api": api, "status": status, **({"error_code": code} if code else {}), "s": lasts_s}


def _refusing_streams(rng: random.Random, wanted: Wanted) -> _How:
    """Not RESOURCE_EXHAUSTED: an allowance that is used up is asked for again after a minute, for good reason."""
    code, status = rng.choice(
        (
            ("service.unavailable", "UNAVAILABLE"),
            ("service.internal", "INTERNAL"),
            ("service.auth.error", "UNAUTHENTICATED"),
        )
    )
    rpc = rng.choice(("Subscribe", "PublishStream", "GetSchema", "all"))
    lasts_s = _annoying(rng, wanted)[0]
    return lasts_s, {"rpc": rpc, "code": code, "status": status, "s": lasts_s}


def _new_field(rng: random.Random, _wanted: Wanted) -> _How:
    """Nobody edits it; none is taken away, since nobody could say what had to become of its values."""
    name = f"Chaos_{rng.randrange(16**8):08x}__c"
    return 0.0, {"object": rng.choice(OBJECTS), "add": {"name": name, "type": "string", "length": 40}}


def _deselected(rng: random.Random, wanted: Wanted) -> _How:
    return _annoying(rng, wanted)[0], {"object": rng.choice(OBJECTS), "on": False}


def _slow(rng: random.Random, wanted: Wanted) -> _How:
    lasts_s = _annoying(rng, wanted)[0]
    return lasts_s, {"api": "all", "ms": rng.choice((100, 500, 1500)), "s": lasts_s}


def _locked(rng: random.Random, wanted: Wanted) -> _How:
    lasts_s = _annoying(rng, wanted)[0]
    return lasts_s, {"object": rng.choice(OBJECTS), "s": lasts_s}


def _for_a_while(rng: random.Random, wanted: Wanted) -> _How:
    lasts_s = _annoying(rng, wanted)[0]
    return lasts_s, {"s": lasts_s}


def _repeated(rng: random.Random, _wanted: Wanted) -> _How:
    return 0.0, {"count": rng.choice((1, 10, 100))}


def _next_events(rng: random.Random, _wanted: Wanted) -> _How:
    return 0.0, {"object": rng.choice(OBJECTS), "count": rng.randint(1, 3)}


def _forward(rng: random.Random, _wanted: Wanted) -> _How:
    return 0.0, {"s": rng.choice((1, 5, 30))}


_HOW: Final = {
    "stop": _suspended,
    "server-stop": _suspended,
    "cut": _annoying,
    "stall": _annoying,
    "delay": _delayed,
    "coordinator": _suspended,
    "http": _refusing,
    "grpc": _refusing_streams,
    "latency": _slow,
    "lock_rows": _locked,
    "silence": _for_a_while,
    "exhaust_api": _for_a_while,
    "repeat_events": _repeated,
    "lose_events": _next_events,
    "gap": _next_events,
    "overflow": _next_events,
    "wildcard": _next_events,
    "change_schema": _new_field,
    "cdc": _deselected,
    "clock_skew": _forward,
}
