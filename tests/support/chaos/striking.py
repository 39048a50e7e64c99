"""
Carrying out a fault, and taking it back. What becomes of the sync is for others to see.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from typing import Final

import requests

from salmon.devstack.processes import HOST
from salmon.kafka.topics import CONNECTORS
from support.chaos.crew import Crew
from support.chaos.plan import ALL, RUN_ALL, SUPERVISOR, Fault
from support.chaos.stage import Stage

_VICTIM_MAX_S: Final = (
    20.0  # a supervisor waits up to 10 s before it starts again what has ended, and a start takes its time
)
_LOOK_S: Final = 0.1

# What only bites when a stream is opened again: an expired or renumbered position, or calls that are refused.
_BITES_ON_OPENING: Final = frozenset({"expire_replay", "corrupt_replay", "grpc"})


class Striker:
    """
    Strikes one fault after the other.

    Args:
        keys: Object -> the records whose rows are locked when it is locked.

    Attributes:
        kills: How many processes were killed, by name.
        struck: How many faults met somebody, by kind.
        missed: How many met nobody, by kind: what they were to kill or suspend did not run.
    """

    def __init__(self, stage: Stage, crew: Crew, keys: Mapping[str, Sequence[str]]) -> None:
        self._stage = stage
        self._keys = keys
        self._crew = crew
        self.kills: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._hosts = cycle(("localhost", HOST))  # where the org moves to, and back

    def strike(self, fault: Fault, enough: threading.Event) -> bool:
        """Do it, wait as long as it lasts (or until *enough* is set), and take it back; whether it met anybody."""
        self._wait_for_a_victim(fault, enough)
        with self._in_force(fault) as hit:
            (self.struck if hit else self.missed)[fault.kind] += 1
            if hit:
                enough.wait(fault.lasts_s)
        return hit

    def calm(self) -> None:
        """Take everything back, whatever is in force."""
        self._stage.proxies.heal_all()
        for victim in self._stage.suspends.values():
            victim.resume()
        with suppress(requests.RequestException):
            self._stage.calm_org()

    def _wait_for_a_victim(self, fault: Fault, enough: threading.Event) -> None:
        """What was killed just now is being started again, and so is whatever ended with it: give it a moment."""
        if fault.kind not in {"kill", "stop"}:
            return
        names = {name for target in fault.targets for name in self._named(target)}
        deadline = time.monotonic() + _VICTIM_MAX_S
        while names.isdisjoint(self._crew.pids()) and time.monotonic() < deadline:
            if enough.wait(_LOOK_S):
                return

    @contextmanager
    def _in_force(self, fault: Fault) -> Iterator[bool]:
        """Whether it has met anybody."""
        with ExitStack() as undone:
            ends = [end for target in fault.targets if (end := self._begin(fault, target)) is not None]
            for end in ends:
                undone.callback(end)
            yield bool(ends)

    def _begin(self, fault: Fault, target: str) -> Callable[[], object] | None:
        """Begin a fault; what is returned ends it. None where it met nobody."""
        match fault.kind:
            case "kill":
                killed = [name for name in self._named(target) if self._crew.kill(name)]
                self.kills.update(killed)
                return _nothing if killed else None
            case "stop":
                pids = [pid for name in self._named(target) if (pid := self._crew.suspend(name)) is not None]
                return (lambda: [self._crew.resume(pid) for pid in pids]) if pids else None
            case "server-kill":
                hit = self._stage.kills[target].kill()
                self.kills[target] += hit
                # One that had ended by itself is started again, too: the run goes on.
                if not hit:
                    self._stage.kills[target].start_again()
                return self._stage.kills[target].start_again if hit else None
            case "server-stop":
                hit = self._stage.suspends[target].suspend()
                return self._stage.suspends[target].resume if hit else None
            case "cut" | "stall" | "delay" | "coordinator":
                return self._on_link(fault, target)
            case "move":
                self._stage.move_org(next(self._hosts))
                return _nothing
            case "cdc":
                self._stage.tell_org(fault.kind, **fault.params)
                return lambda: self._stage.tell_org(fault.kind, **{**fault.params, "on": True})
            case "clock_skew":
                self._stage.move_clock(fault.params["s"])
                return _nothing
            case "lock_rows":
                self._stage.tell_org(fault.kind, **fault.params, ids=list(self._keys[fault.params["object"]]))
                return _nothing
            case _:
                self._stage.tell_org(fault.kind, **fault.params)
                if fault.kind in _BITES_ON_OPENING:
                    self._stage.tell_org("cut_streams")
                return _nothing

    def _on_link(self, fault: Fault, target: str) -> Callable[[], object]:
        proxies = self._stage.proxies
        match fault.kind:
            case "cut":
                proxies.cut(target)
            case "stall":
                proxies.stall(target)
            case "coordinator":
                proxies.lose_coordinator(target)
            case _:
                proxies.delay(target, fault.params["ms"] / 1000)
        return lambda: proxies.heal(target)

    def _named(self, target: str) -> tuple[str, ...]:
        if target == ALL:
            # The supervisor first: it would start again what we kill or suspend after it.
            return (SUPERVISOR, *CONNECTORS) if self._crew.supervisor == RUN_ALL else CONNECTORS
        return (target,)


def _nothing() -> None:
    """A deed is not taken back."""
