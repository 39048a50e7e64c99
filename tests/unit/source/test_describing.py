"""What the side says of its objects is registered for those who fill them in, and stays up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salmon.errors import Unavailable
from salmon.kafka.topics import Topics
from salmon.model.described import Described
from salmon.source.describing import Describing, describing
from support.at_hand.api_room import CAR, choices, field
from support.at_hand.registries import MemoryRegistry
from support.waiting import until


class Org:
    """A side that describes."""

    def __init__(self) -> None:
        self.fields = list(CAR["fields"])
        self.away = False
        self.asked = 0

    def describe_of(self, name: str) -> Mapping[str, Any]:
        self.asked += 1
        if self.away:
            raise Unavailable("The org does not answer.")
        return {**CAR, "name": name, "fields": self.fields}


def labels(registry: MemoryRegistry) -> list[str]:
    found = registry.latest(Topics("crm").described("Car__c"))
    return [] if found is None else list(Described.from_registry(found[1]).fields)


def test_a_new_picklist_value_is_registered_without_a_restart() -> None:
    """And so is what the org could not say at first."""
    org, registry = Org(), MemoryRegistry()
    org.away = True
    beside = Describing(registry, Topics("crm"), ["Car__c"], org, every_s=0.01)
    try:
        until(lambda: org.asked > 1, "it is asked again")
        assert labels(registry) == []
        org.away = False
        until(lambda: "Make__c" in labels(registry), "it is registered")
        org.fields.append(field("Fuel__c", "picklist", picklistValues=choices("Petrol")))
        until(lambda: "Fuel__c" in labels(registry), "what is new is registered")
    finally:
        beside.close()


def test_a_source_that_describes_nothing_registers_nothing() -> None:
    """A further side, for example."""
    assert describing(MemoryRegistry(), Topics("crm"), ["Car__c"], object()) is None
