"""What merge knows of a key, as bytes and back."""

from __future__ import annotations

import struct
from typing import Any

import fastavro
import pytest

from salmon.kafka.codecs.avro import bare
from salmon.merge.states import States
from salmon.model.policies import HOLD
from salmon.model.rules import Rules
from support.at_hand.registries import MemoryRegistry
from support.at_hand.stories import in_step, rules

RULES = rules(policy=HOLD)


def codec(registry: MemoryRegistry | None = None, told: Rules = RULES) -> States:
    return States(told, registry or MemoryRegistry(), "crm.state.Account")


@pytest.mark.parametrize("own", ["555 0202", None])
def test_what_a_side_keeps_while_a_conflict_is_on_hold_comes_back(own: str | None) -> None:
    """Also that it has cleared the field, and that it has deleted the record."""
    story = in_step(RULES, Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone=own)
    story.mongodb.edits(City="Oslo")
    states = codec()
    assert states.decode(states.encode(story.state)) == story.state
    story.salesforce.deletes()
    assert states.decode(states.encode(story.state)) == story.state


def test_a_state_from_before_such_values_were_kept_keeps_what_the_side_shows() -> None:
    """After an upgrade nothing is cleared that was on hold."""
    story = in_step(RULES, Name="Acme", Phone="555 0000")
    story.salesforce.edits(Phone="555 0101")
    story.mongodb.edits(Phone="555 0202")
    registry = MemoryRegistry()
    states = codec(registry)
    older = _without_kept(states.schema)
    datum = states.decode_datum(states.encode(story.state))
    for side in datum["sides"]:
        del side["kept"]
    schema_id = registry.register("older", older)
    written = _written(datum, older, schema_id)
    assert states.decode(written).sides["mongodb"].kept == {"Phone": "555 0202"}


def _without_kept(schema: Any) -> Any:
    """The schema as it was."""
    if isinstance(schema, dict):
        return {
            key: [_without_kept(each) for each in value if not _is_kept(each)]
            if isinstance(value, list)
            else _without_kept(value)
            for key, value in schema.items()
        }
    return schema


def _is_kept(field: Any) -> bool:
    return isinstance(field, dict) and field.get("name") == "kept"


def _written(datum: Any, schema: Any, schema_id: int) -> bytes:
    import io

    out = io.BytesIO(struct.pack(">bI", 0, schema_id))
    out.seek(5)
    fastavro.schemaless_writer(out, fastavro.parse_schema(bare(schema)), datum)
    return out.getvalue()
