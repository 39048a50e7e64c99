"""The codecs of the World's topics, made once: parsing their schemas would take longer than a schedule."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

from salmon.kafka.codecs.serdes import Changes, Conflicts, Records, Signals, Writes
from salmon.kafka.topics import Topics
from salmon.merge.batch import ObjectCodecs
from salmon.merge.states import States
from salmon.model.change import MONGODB
from salmon.model.rules import Rules
from salmon.model.schema import ObjectSchema
from salmon.model.views import View
from support.at_hand.registries import MemoryRegistry
from support.world.nature import OBJECT

TOPICS: Final = Topics("world")
_REGISTRY: Final = MemoryRegistry()
CONFLICTS: Final = Conflicts(_REGISTRY, TOPICS.conflicts)
SIGNALS: Final = Signals(_REGISTRY, TOPICS.signals("salesforce-source"))


def codecs_of(rules: Rules) -> ObjectCodecs:
    """What the object's records are made with, under these *rules*."""
    return replace(_codecs(rules.schema, rules.sides, rules.is_placed), rules=rules)


@cache
def _codecs(schema: ObjectSchema, sides: tuple[str, ...], placed: bool) -> ObjectCodecs:
    views = {MONGODB: View("placed", places=lambda _: None)} if placed else {}
    rules = Rules(schema, sides=sides, views=views)
    return ObjectCodecs(
        rules,
        Changes(schema, _REGISTRY, TOPICS.changes(OBJECT)),
        {side: Writes(schema, _REGISTRY, TOPICS.writes(side, OBJECT)) for side in sides},
        Records(schema, _REGISTRY, TOPICS.records(OBJECT)),
        States(rules, _REGISTRY, TOPICS.state(OBJECT)),
    )
