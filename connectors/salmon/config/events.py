"""
Settings for platform events (`events`): which are read into Kafka and a collection, and which are published.

Platform Events Developer Guide: names of custom events end with __e; standard ones are named like BatchApexErrorEvent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from salmon.config.collections import PATTERN, usable_collection
from salmon.config.further import SideName
from salmon.model.sides import Roster
from salmon.plugin.events import CHANGE, CHANGED_AT, DOCUMENT, KEY

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SPECIAL: Final = (KEY, CHANGE, CHANGED_AT)
_OF_OUTBOXES: Final = (*_SPECIAL, DOCUMENT)


class EventConfig(BaseModel):
    """One platform event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    direction: Literal["to_mongodb", "to_salesforce"] = Field(
        default="to_mongodb",
        description="to_mongodb: events of the org are written to the topic `<name>.events.<event>`, and on into "
        "`collection`. to_salesforce: changes of `object`, or documents inserted into `collection`, are published as events.",
    )
    collection: str | None = Field(
        default=None,
        pattern=PATTERN,
        description="to_mongodb: the collection into which each event is inserted once, under its EventUuid. Without it, "
        "events are only written to Kafka. to_salesforce: an outbox; each document that is inserted is published.",
    )
    object: str | None = Field(
        default=None,
        description="to_salesforce: the synced object whose changes are published.",
    )
    when: tuple[Literal["create", "update", "delete"], ...] = Field(
        default=("create",),
        min_length=1,
        description="to_salesforce: which changes are published. MongoDB does not say who has deleted a document: of side mongodb, "
        "deletions that Salmon has carried out there are published, too.",
    )
    side: SideName = Field(
        default="mongodb",
        description="to_salesforce: the side whose users made the change: salesforce, mongodb, or a further side that has the object.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="to_salesforce: field of the event -> field of the object, or $key (the record key), $change (create, "
        "update or delete), $changed_at (when). Of an outbox: path in the document, or $key, $changed_at, $document (all of it, as JSON).",
    )
    outcomes: bool = Field(
        default=True,
        description="Of an outbox: write into each document what became of it, `_salmon.published_at` or `_salmon.error`. Without it, "
        "all of its documents are published again if the position in MongoDB's log is lost.",
    )

    @field_validator("collection")
    @classmethod
    def _ours_to_take(cls, value: str | None) -> str | None:
        return None if value is None else usable_collection(value)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.direction == "to_mongodb" and (self.object is not None or self.fields):
            raise ValueError("object and fields are for direction: to_salesforce")
        if self.direction == "to_salesforce" and (
            (self.object is None) == (self.collection is None) or not self.fields
        ):
            raise ValueError("direction to_salesforce needs fields, and either object or collection")
        if self.outbox is not None and self.model_fields_set & {"when", "side"}:
            raise ValueError("when and side are for object; of an outbox, what is inserted is published")
        if self.outbox is None and "outcomes" in self.model_fields_set:
            raise ValueError("outcomes is for an outbox: direction to_salesforce with a collection")
        return self

    @property
    def outbox(self) -> str | None:
        """The collection whose documents are published, if it is one."""
        return self.collection if self.direction == "to_salesforce" else None


def faults_of_events(
    events: Mapping[str, EventConfig],
    collections: Mapping[str, Sequence[str]],
    roster: Roster,
) -> list[str]:
    """What is wrong with `events` as a whole, in sentences. See event_faults()."""
    sides = {name: roster.names_of(name) for name in collections}
    return [f"{'.'.join(key)}: {sentence}" for key, sentence in event_faults(events, collections, sides)]


def event_faults(
    events: Mapping[str, EventConfig],
    collections: Mapping[str, Sequence[str]],
    sides: Mapping[str, Collection[str]],
) -> Iterator[tuple[tuple[str, ...], str]]:
    """
    What is wrong with `events` as a whole: path of the key, from the event on, and a sentence.

    Args:
        collections: Synced object -> its collections.
        sides: Synced object -> the sides that have it.
    """
    names = [name for some in collections.values() for name in some]
    counts = Counter([*names, *(e.collection for e in events.values() if e.collection)])
    for name, event in events.items():
        if name.isprintable() and not _NAME.fullmatch(name):  # otherwise see texts
            yield (name,), "must be the API name of a platform event, e.g. Order_Shipped__e."
        if event.collection is not None and counts[event.collection] > 1:
            mend = "" if event.outbox is None else ", or name the object whose changes are to be published"
            yield (name, "collection"), f"belongs to something else, too. Give the event its own{mend}."
        if event.object is not None and event.object not in collections:
            yield (name, "object"), "must be one of the synced objects, which are in `objects`."
        elif event.object is not None and event.side not in sides[event.object]:
            its = ", ".join(sides[event.object])
            yield (name, "side"), f"{event.side} does not have {event.object}. Name one of {its}."
        special = _SPECIAL if event.outbox is None else _OF_OUTBOXES
        for field, source in event.fields.items():
            if source.startswith("$") and source not in special:
                yield (name, "fields", field), f"of what begins with $, may only name {', '.join(special)}."
            elif event.outbox is not None and not all(source.split(".")):
                yield (
                    (name, "fields", field),
                    "must name a path in the document, e.g. total or customer.name.",
                )


def events_read(events: Mapping[str, EventConfig]) -> tuple[str, ...]:
    """The names of those that are read from the org."""
    return tuple(name for name, event in events.items() if event.direction == "to_mongodb")


def outboxes_in(events: Mapping[str, EventConfig]) -> dict[str, EventConfig]:
    """Those that are made of a collection's documents."""
    return {name: event for name, event in events.items() if event.outbox is not None}
