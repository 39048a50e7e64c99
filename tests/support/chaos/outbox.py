"""
An outbox in a run: an application inserts documents, and the sync publishes an event for each in the org.

Every document that MongoDB acknowledged must be published at least once, whatever happened meanwhile, and an event that is published
again must have the EventUuid of the first. The org itself says what it was given. A document whose answer never came may be
published or not.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.errors import PyMongoError

from support.chaos.editors import Editor
from support.chaos.events import Publication, when_nothing_is_missing
from support.chaos.hands import World
from support.chaos.journal import ACKNOWLEDGED
from support.chaos.stage import EVENT_FIELD, OUTBOX, SENT, Stage


@dataclass(frozen=True, slots=True)
class OutboxVerdict:
    """
    What became of the documents, by their numbers.

    Args:
        sent: How many MongoDB acknowledged.
        lost: Acknowledged ones without an event.
        again: Those whose event was published more than once; it is the same event for every subscriber.
        twins: Those of which there are two events.
        invented: Numbers of events that no document has.
    """

    sent: int
    lost: Sequence[str]
    again: Sequence[str]
    twins: Sequence[str]
    invented: Sequence[str]

    def as_outcome(self) -> dict[str, Any]:
        """For the outcome of the run."""
        return {
            "documents_sent": self.sent,
            "documents_lost": len(self.lost),
            "documents_sent_again": len(self.again),
            "documents_with_two_events": len(self.twins),
            "documents_invented": len(self.invented),
        }


class Sender(Editor):
    """Inserts a document into the outbox now and then, as an application would. Never the same number again."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__("sender", world, seed)
        self.sent: list[Publication] = []

    def edit(self) -> None:
        one = Publication(str(self.world.numbers()), time.time())
        self.sent.append(one)
        try:
            self.hands.database[OUTBOX].insert_one({"_id": f"order-{one.number}", "number": one.number})
        except PyMongoError:
            self.hands.restart()
        else:
            one.outcome = ACKNOWLEDGED


def judge_outbox(sent: Iterable[Publication], published: Iterable[Mapping[str, Any]]) -> OutboxVerdict:
    """Compare. Pure. *published*: EventUuid and number of each event that the org was given."""
    known = {one.number: one for one in sent}
    events: dict[str, list[str]] = defaultdict(list)
    for event in published:
        events[str(event[EVENT_FIELD])].append(str(event["EventUuid"]))
    acknowledged = [one.number for one in known.values() if one.outcome == ACKNOWLEDGED]
    return OutboxVerdict(
        len(acknowledged),
        lost=[number for number in acknowledged if number not in events],
        again=[number for number, uuids in events.items() if len(uuids) > 1],
        twins=[number for number, uuids in events.items() if len(set(uuids)) > 1],
        invented=[number for number in events if number not in known],
    )


def verdict_on(stage: Stage, sender: Sender, *, within_s: float) -> OutboxVerdict:
    """Judge when nothing is missing, or after *within_s*: what is late is not lost."""
    return when_nothing_is_missing(lambda: judge_outbox(sender.sent, stage.published(SENT)), within_s)
