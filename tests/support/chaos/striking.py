"""
Carrying out a fault, and taking it back. What becomes of the sync is for others to see.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import requests

from salmon.kafka.topics import CONNECTORS
from support.chaos.crew import Crew
from support.chaos.plan import ALL, RUN_ALL, SUPERVISOR, Fault
from support.chaos.stage import Stage

# What only bites when a stream is opened again: an expired or renumbered position.
_BITES_ON_OPENING: Final = frozenset({"expire_replay", "corrupt_replay"})


class Striker:
    """
    Strikes one fault after the other.

    Args:
        keys: Object -> the records whose rows are locked when it is locked.

    Attributes:
        kills: How many processes were killed, by name.
        struck: How many faults there were, by kind.
    """

    def __init__(self, stage: Stage, crew: Crew, keys: Mapping[str, Sequence[str]]) -> None:
        self._stage = stage
        self._keys = keys
        self._crew = crew
        self.kills: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()

    def strike(self, fault: Fault, enough: threading.Event) -> None:
        """Do it, wait as long as it lasts (or until *enough* is set), and take it back."""
        self.struck[fault.kind] += 1
        with self._in_force(fault):
            enough.wait(fault.lasts_s)

    def calm(self) -> None:
        """Take everything back, whatever is in force."""
        self._stage.proxies.heal_all()
        for victim in self._stage.suspends.values():
            victim.resume()
        with suppress(requests.RequestException):
            self._stage.calm_org()

    @contextmanager
    def _in_force(self, fault: Fault) -> Iterator[None]:
        with ExitStack() as undone:
            for target in fault.targets:
                undone.callback(self._begin(fault, target))
            yield

    def _begin(self, fault: Fault, target: str) -> Callable[[], object]:
        """Begin a fault; what is returned ends it."""
        match fault.kind:
            case "kill":
                for name in self._named(target):
                    self.kills[name] += self._crew.kill(name)
                return _nothing
            case "stop":
                pids = [pid for name in self._named(target) if (pid := self._crew.suspend(name)) is not None]
                return lambda: [self._crew.resume(pid) for pid in pids]
            case "server-kill":
                self._stage.kills[target].kill()
                self.kills[target] += 1
                return self._stage.kills[target].start_again
            case "server-stop":
                self._stage.suspends[target].suspend()
                return self._stage.suspends[target].resume
            case "cut" | "stall" | "delay":
                return self._on_link(fault, target)
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
