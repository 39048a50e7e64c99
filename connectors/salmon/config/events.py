"""
Settings for platform events (`events`): which are read into Kafka and a collection, and which are published.

Platform Events Developer Guide: names of custom events end with __e; standard ones are named like BatchApexErrorEvent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from salmon.config.collections import PATTERN, usable_collection

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# What a field of an event may be filled with, besides a field of the object.
KEY: Final = "$key"
CHANGE: Final = "$change"
CHANGED_AT: Final = "$changed_at"
_SPECIAL: Final = (KEY, CHANGE, CHANGED_AT)


class EventConfig(BaseModel):
    """One platform event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    direction: Literal["to_mongodb", "to_salesforce"] = Field(
        default="to_mongodb",
        description="to_mongodb: events of the org are written to the topic `<name>.events.<event>`, and on into "
        "`collection`. to_salesforce: changes of `object` are published as events.",
    )
    collection: str | None = Field(
        default=None,
        pattern=PATTERN,
        description="to_mongodb: the collection into which each event is inserted once, under its EventUuid. Without it, "
        "events are only written to Kafka.",
    )
    object: str | None = Field(
        default=None,
        description="to_salesforce: the synced object whose changes are published.",
    )
    when: tuple[Literal["create", "update", "delete"], ...] = Field(
        default=("create",),
        min_length=1,
        description="to_salesforce: which changes are published.",
    )
    side: Literal["salesforce", "mongodb"] = Field(
        default="mongodb",
        description="to_salesforce: the side whose users made the change.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="to_salesforce: field of the event -> field of the object, or $key (the record key), $change (create, "
        "update or delete), $changed_at (when).",
    )

    @field_validator("collection")
    @classmethod
    def _ours_to_take(cls, value: str | None) -> str | None:
        return None if value is None else usable_collection(value)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.direction == "to_mongodb" and (self.object is not None or self.fields):
            raise ValueError("object and fields are for direction: to_salesforce")
        if self.direction == "to_salesforce" and (self.object is None or not self.fields):
            raise ValueError("direction to_salesforce needs object and fields")
        if self.direction == "to_salesforce" and self.collection is not None:
            raise ValueError(
                "collection is for direction: to_mongodb; to publish a collection's documents, name the object that it "
                "is synced with"
            )
        return self


def faults_of_events(events: Mapping[str, EventConfig], collections: Mapping[str, str]) -> list[str]:
    """
    What is wrong with `events` as a whole, in sentences.

    Args:
        collections: Synced object -> its collection.
    """
    faults = []
    if wrong := [name for name in events if not _NAME.fullmatch(name)]:
        shown = ", ".join(ascii(name)[1:-1] for name in wrong)
        faults.append(f"{shown}: must be API names of platform events, e.g. Order_Shipped__e")
    counts = Counter([*collections.values(), *(e.collection for e in events.values() if e.collection)])
    for name, event in events.items():
        if event.collection is not None and counts[event.collection] > 1:
            faults.append(f"{name}: its collection belongs to something else, too; give it its own")
        if event.object is not None and event.object not in collections:
            faults.append(f"{name}: its object must be one of the synced objects, which are in `objects`")
        if [each for each in event.fields.values() if each.startswith("$") and each not in _SPECIAL]:
            faults.append(f"{name}: of what begins with $, its fields may only name {', '.join(_SPECIAL)}")
    return faults


def events_read(events: Mapping[str, EventConfig]) -> tuple[str, ...]:
    """The names of those that are read from the org."""
    return tuple(name for name, event in events.items() if event.direction == "to_mongodb")
