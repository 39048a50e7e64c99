"""
Records of a few stories, as a version of Salmon writes them; and the same as an earlier version wrote them, with its schemas.

    PYTHONPATH=tests .venv/bin/python -m support.former tests/data/formats/FORMAT.json

writes the file of the present format, before a fixed schema changes: later versions are held against it.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from salmon.kafka.codecs.registry import Registry
from salmon.kafka.codecs.serdes import Changes, Writes
from salmon.merge.states import States
from salmon.model.change import SALESFORCE
from salmon.model.sides import OWN
from support.at_hand.registries import MemoryRegistry
from support.at_hand.stories import SCHEMA, Story, in_step, rules

FOLDER: Final = Path(__file__).parents[1] / "data" / "formats"
_HEAD: Final = struct.Struct(">bI")
_VALUES: Final[Mapping[str, Any]] = {
    "Name": "Acme",
    "Phone": "555 0101",
    "City": "Rome",
    "LastModifiedDate": 1_700_000_000_000,
}


def at_rest() -> Story:
    """Both sides hold the same, and nothing is owed."""
    story = in_step(**_VALUES)
    story.come_to_rest()
    return story


def in_flight() -> Story:
    """An application's edit is on its way to Salesforce."""
    story = at_rest()
    story.mongodb.edits(Phone="555 0202")
    return story


def overtaken() -> Story:
    """... and a person has edited the same field meanwhile."""
    story = in_flight()
    story.salesforce.edits(Phone="555 0303")
    return story


def parked() -> Story:
    """Salesforce has refused a field for good."""
    story = at_rest()
    story.mongodb.edits(Phone="555 0202", City="Oslo")
    story.salesforce.refuses(story.writes[SALESFORCE], "Phone", code="INVALID", reason="no such phone")
    story.come_to_rest()
    return story


def misfit() -> Story:
    """A document has a value that cannot be taken."""
    story = at_rest()
    story.mongodb.edits(misfits={"City"})
    return story


def deleted() -> Story:
    """A person has deleted the record; MongoDB has not answered yet."""
    story = at_rest()
    story.salesforce.deletes()
    return story


def born_in_mongodb() -> Story:
    """A document that Salesforce does not know yet."""
    story = Story(rules(), key="$oid:65f000000000000000000001")
    story.mongodb.native_id = None
    story.mongodb.creates(Name="Born", City="Bern")
    return story


STORIES: Final[Mapping[str, Callable[[], Story]]] = {
    each.__name__: each for each in (at_rest, in_flight, overtaken, parked, misfit, deleted, born_in_mongodb)
}


@dataclass(frozen=True, slots=True)
class Former:
    """What is in a file of tests/data/formats."""

    told: Mapping[str, Any]

    @classmethod
    def of(cls, number: int) -> Former:
        """Format *number*; 0: from before formats had numbers (commit 9d928ccd)."""
        return cls(json.loads((FOLDER / f"{number}.json").read_text(encoding="utf-8")))

    def key(self, story: str) -> str:
        key: str = self.told["records"][story]["key"]
        return key

    def state(self, story: str, registry: Registry) -> bytes:
        return self._registered(self.told["records"][story]["state"], "crm.state.Account-value", registry)

    def change(self, story: str, registry: Registry) -> bytes:
        """The last change of a story."""
        return self._registered(self.told["records"][story]["change"], "crm.changes.Account-value", registry)

    def write(self, story: str, registry: Registry) -> bytes:
        """What is owed to Salesforce."""
        text = self.told["records"][story]["writes"][SALESFORCE]
        return self._registered(text, "crm.writes.salesforce.Account-value", registry)

    def _registered(self, text: str, subject: str, registry: Registry) -> bytes:
        """The bytes, with the id that their writer's schema has in *registry*."""
        data = bytes.fromhex(text)
        schema = self.told["schemas"][_HEAD.unpack_from(data)[1] - 1]
        return _HEAD.pack(0, registry.register(subject, schema)) + data[_HEAD.size :]


def recorded() -> dict[str, Any]:
    """What this version writes of each story."""
    registry = MemoryRegistry()
    states = States(rules(), registry, "crm.state.Account")
    changes = Changes(SCHEMA, registry, "crm.changes.Account")
    writes = {side.name: Writes(SCHEMA, registry, f"crm.writes.{side.name}.Account") for side in OWN}
    records = {
        name: {
            "key": (story := make()).key,
            "state": states.encode(story.state).hex(),
            "change": changes.encode(story.changes[-1]).hex(),
            "writes": {side: writes[side].encode(write).hex() for side, write in story.writes.items()},
        }
        for name, make in STORIES.items()
    }
    schemas = [registry.schema_by_id(number + 1) for number in range(len(registry.schemas))]
    return {"schemas": schemas, "subjects": registry.subjects, "records": records}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(recorded(), indent=1) + "\n", encoding="utf-8")
