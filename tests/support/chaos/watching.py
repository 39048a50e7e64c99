"""
When everything is well again: all five processes say so, and a canary's edits have passed both ways.

And when it is quiet: nobody writes any more, on the sides and in the topics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException

from salmon.kafka.topics import CONNECTORS
from support.chaos import reading
from support.chaos.fields import CANARY, MONGODB, SALESFORCE
from support.chaos.hands import Hands, World
from support.chaos.journal import ACKNOWLEDGED
from support.chaos.reading import Records

_LOOK_S: Final = 0.2
_AGAIN_S: Final = 5.0  # the event that the org loses without a word may be the canary's


class Processes(Protocol):
    """Who keeps the five processes running."""

    def ready(self) -> Iterable[str]:
        """Those of the five that say that they are at work."""


class Canary:
    """Edits one account that nobody else edits, on one side at a time, and looks for it on the other."""

    def __init__(self, world: World, crew: Processes, key: str) -> None:
        self._world = world
        self._crew = crew
        self._key = key
        self._hands = Hands(world)

    def recovered_s(self, *, within_s: float, enough: Callable[[], bool] = lambda: False) -> float | None:
        """How long it took from now until everything was well; None where that was not *within_s*, or *enough* came."""
        began = time.monotonic()
        sent: dict[str, tuple[str, float]] = {}
        arrived: set[str] = set()
        while (now := time.monotonic()) - began < within_s and not enough():
            for side in CANARY.keys() - arrived:
                if side not in sent or now - sent[side][1] > _AGAIN_S:
                    self._send(side, sent)
                elif self._shows(_other(side), side, sent[side][0]):
                    arrived.add(side)
            if len(arrived) == len(CANARY) and set(self._crew.ready()) == set(CONNECTORS):
                return time.monotonic() - began
            time.sleep(_LOOK_S)
        return None

    def close(self) -> None:
        self._hands.restart()

    def _send(self, side: str, sent: dict[str, tuple[str, float]]) -> None:
        value = f"canary {self._world.numbers()}"
        edit = self._hands.update(side, "Account", self._key, {CANARY[side]: value})
        if edit.outcome == ACKNOWLEDGED:
            sent[side] = value, time.monotonic()

    def _shows(self, on: str, side: str, value: str) -> bool:
        return bool(self._hands.seen(on, "Account", self._key, CANARY[side]) == value)


def _other(side: str) -> str:
    return MONGODB if side == SALESFORCE else SALESFORCE


class Quiet:
    """Both sides and the topics, read again and again until nothing moves."""

    def __init__(self, world: World) -> None:
        self._world = world

    def sides(self) -> tuple[Records, Records]:
        """What stands in Salesforce and in MongoDB now."""
        org = reading.person(self._world.stage.org)
        with reading.application(self._world.stage.mongodb_uri) as client:
            documents = reading.mongodb_records(reading.database(client), self._world.types)
        return reading.salesforce_records(org, self._world.types), documents

    def wait(self, *, for_s: float, within_s: float) -> bool:
        """Return once nothing has moved *for_s*; whether that was *within_s*."""
        deadline = time.monotonic() + within_s
        last: Any = None
        since = time.monotonic()
        while time.monotonic() < deadline:
            if (now := self._seen()) is None or now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since >= for_s:
                return True
            time.sleep(for_s / 5)
        return False

    def _seen(self) -> tuple[Mapping[Any, int], tuple[Records, Records]] | None:
        """None where somebody does not answer."""
        try:
            return reading.ends(self._world.stage), self.sides()
        except (KafkaException, *reading.FAILURES):
            return None
