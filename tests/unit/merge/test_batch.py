"""What one transaction of merge will say, besides what each fold gives."""

from __future__ import annotations

from typing import cast

from salmon.kafka.serdes import Changes, Conflicts, Records, Signals, Writes
from salmon.kafka.topics import Topics
from salmon.merge.batch import Batch, ObjectCodecs
from salmon.merge.states import States
from salmon.merge.store import Store
from salmon.merge.telling import tell
from salmon.model.change import SIDES
from salmon.model.policies import HOLD
from salmon.model.state import State, new_state
from salmon.runtime.metrics import Metrics
from support.registries import MemoryRegistry
from support.stories import KEY, SCHEMA, in_step, rules

TOPICS, RULES = Topics("crm"), rules(policy=HOLD)


class Nothing:
    """Stands for Store: merge has never heard of any key."""

    def get(self, _key: str) -> State:
        return new_state(RULES.names)


def test_what_is_parked_and_what_is_freed_is_counted_by_why() -> None:
    """A conflict is held and then decided: operators see both, by object, side and why, and never a key."""
    registry = MemoryRegistry()
    codecs = ObjectCodecs(
        RULES,
        Changes(SCHEMA, registry, TOPICS.changes("Account")),
        {side: Writes(SCHEMA, registry, TOPICS.writes(side, "Account")) for side in SIDES},
        Records(SCHEMA, registry, TOPICS.records("Account")),
        States(RULES, registry, TOPICS.state("Account")),
    )
    batch = Batch(
        TOPICS, Conflicts(registry, TOPICS.conflicts), Signals(registry, TOPICS.signals("salesforce-source"))
    )
    story = in_step(RULES, Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    story.edit_of_an_operator(Phone="555 0303")
    for offset, change in enumerate(story.changes, start=101):
        value = codecs.changes.encode(change)
        batch.add(codecs, cast("Store", Nothing()), key=KEY, value=value, partition=0, offset=offset)
    metrics = Metrics("merge")
    tell(metrics, batch, len(story.changes), 0)
    text = metrics.exposition().decode()
    for name in ("parked", "freed"):
        assert (
            f'salmon_{name}_fields_total{{connector="merge",object="Account",side="mongodb",why="held"}} 1.0'
            in text
        )
