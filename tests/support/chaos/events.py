"""
Platform events in a run: a program publishes them in the org by a stock client, and the sync brings each into a collection.

Every publication that the org acknowledged must be in the collection exactly once, whatever happened meanwhile. The one thing
that may keep an event from it is an org that no longer has it (a window that expired before it was read); then the sync must
have said that its position was lost, after the event was published. One whose answer never came may be there or not.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import requests
from simple_salesforce.exceptions import SalesforceError

from support.chaos import reading
from support.chaos.editors import Editor
from support.chaos.hands import SERVER_FAULTS, World
from support.chaos.journal import ACKNOWLEDGED, REFUSED, UNKNOWN
from support.chaos.stage import EVENT, EVENT_FIELD, SHIPMENTS, Stage

_LOOK_S: Final = 0.5
# What the source logs when it must begin with the earliest event, because the org does not know its position any more.
_LOSS: Final = "event_position_lost"


class Verdict(Protocol):
    """What was sent and has not arrived."""

    @property
    def lost(self) -> Sequence[str]: ...


V = TypeVar("V", bound=Verdict)


@dataclass(slots=True)
class Publication:
    """One event that was published, and what the org said of it."""

    number: str
    at_s: float
    outcome: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class EventVerdict:
    """
    What became of the publications.

    Args:
        published: How many the org acknowledged.
        lost: Numbers of acknowledged ones that did not arrive, and of which nobody was told.
        told: Numbers of those that did not arrive, after which the sync said that its position was lost.
        repeated: Numbers that arrived more than once.
        invented: Numbers that arrived although nobody published them, or the org refused them.
    """

    published: int
    lost: Sequence[str]
    told: Sequence[str]
    repeated: Sequence[str]
    invented: Sequence[str]

    def as_outcome(self) -> dict[str, Any]:
        """For the outcome of the run."""
        return {
            "events_published": self.published,
            "events_lost": len(self.lost),
            "events_lost_and_told": len(self.told),
            "events_repeated": len(self.repeated),
            "events_invented": len(self.invented),
        }


class Publisher(Editor):
    """Publishes an event now and then, over REST, as a program in the company would. Never the same number again."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__("publisher", world, seed)
        self.publications: list[Publication] = []

    def edit(self) -> None:
        if self.world.hole.is_set():
            return  # what the org forgets now, and nobody has read yet, is lost to everybody
        one = Publication(str(self.world.numbers()), time.time())
        self.publications.append(one)
        try:
            getattr(self.hands.org, EVENT).create({EVENT_FIELD: one.number})
        except SalesforceError as error:
            if error.status < SERVER_FAULTS:
                one.outcome = REFUSED
            self.hands.restart()
        except requests.RequestException:
            self.hands.restart()
        else:
            one.outcome = ACKNOWLEDGED


def judge_events(
    publications: Iterable[Publication], arrived: Mapping[str, int], losses_s: Sequence[float]
) -> EventVerdict:
    """
    Compare. Pure.

    Args:
        arrived: Number -> how many documents have it.
        losses_s: When the sync said that its position was lost, in seconds since 1970.
    """
    known = {one.number: one for one in publications}
    acknowledged = [one for one in known.values() if one.outcome == ACKNOWLEDGED]
    missing = [one for one in acknowledged if not arrived.get(one.number)]
    told = [one.number for one in missing if any(at_s >= one.at_s for at_s in losses_s)]
    return EventVerdict(
        len(acknowledged),
        lost=[one.number for one in missing if one.number not in told],
        told=told,
        repeated=[number for number, times in arrived.items() if times > 1],
        invented=[number for number in arrived if number not in known or known[number].outcome == REFUSED],
    )


def verdict_on(stage: Stage, publisher: Publisher, *, within_s: float) -> EventVerdict:
    """Judge when nothing is missing, or after *within_s*: what is late is not lost."""
    return when_nothing_is_missing(
        lambda: judge_events(publisher.publications, _arrived(stage), losses_in(stage.folder / "logs")),
        within_s,
    )


def when_nothing_is_missing(judge: Callable[[], V], within_s: float) -> V:
    """Judge again and again until nothing is lost, or *within_s* is over."""
    deadline = time.monotonic() + within_s
    while True:
        verdict = judge()
        if not verdict.lost or time.monotonic() > deadline:
            return verdict
        time.sleep(_LOOK_S)


def _arrived(stage: Stage) -> Counter[str]:
    with reading.application(stage.mongodb_uri) as client:
        return Counter(str(each.get(EVENT_FIELD)) for each in reading.database(client)[SHIPMENTS].find())


def losses_in(logs: Path) -> list[float]:
    """When the processes said that the position in the events was lost."""
    found = []
    for file in sorted(logs.glob("*.log")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if f'"{_LOSS}"' not in line:
                continue
            try:
                said = json.loads(line)
            except ValueError:  # the last line of a process that was killed
                continue
            found.append(datetime.fromisoformat(str(said["timestamp"])).timestamp())
    return found
