"""What an earlier version of Salmon wrote is read as it was meant; what a newer one wrote is not read at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from salmon.errors import SchemaOutdated
from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import Codec, bare, format_of
from salmon.kafka.codecs.serdes import Changes, Writes
from salmon.merge.states import States
from salmon.model.change import PLACE, SALESFORCE
from support.at_hand.registries import MemoryRegistry
from support.at_hand.stories import SCHEMA, rules
from support.former import FOLDER, STORIES, Former

FIXED: Final = ("change", "write", "state", "conflict", "offset", "identity", "signal", "outbox", "outcome")
LAYOUTS: Final[Mapping[str, Any]] = json.loads((FOLDER / "layouts.json").read_text(encoding="utf-8"))
FORMERS: Final = sorted(int(file.stem) for file in FOLDER.glob("[0-9]*.json"))
TOPIC: Final = "crm.state.Account"


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_schema_that_changes_gets_another_format(name: str) -> None:
    """
    Else an earlier version would drop in silence what it does not know. For a change: record the present format (support.former),
    raise `format` in the file, and add its layout to tests/data/formats/layouts.json.
    """
    schema = schemas.fixed(name)
    known = LAYOUTS[name]
    assert format_of(schema) == len(known), f"{name}.avsc: layouts.json has formats up to {len(known)}"
    assert bare(schema) == known[str(format_of(schema))], f"{name}.avsc has changed: raise its format"


@pytest.mark.parametrize("name", ["change", "write", "state"])
def test_an_envelope_keeps_the_format_of_its_fixed_schema(name: str) -> None:
    """It is what is registered, and what other versions see."""
    assert format_of(schemas.envelope(name, SCHEMA.to_avro())) == format_of(schemas.fixed(name)) >= 1


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("number", FORMERS)
def test_a_state_of_an_earlier_version_is_what_ours_would_be(
    number: int, story: str, registry: MemoryRegistry
) -> None:
    """Writes on their way, what was refused and what nobody could take: nothing of it is lost, and the next version of it is ours."""
    codec = States(rules(), registry, TOPIC)
    read = codec.decode(Former.of(number).state(story, registry))
    assert read == codec.decode(codec.encode(STORIES[story]().state))
    assert codec.decode(codec.encode(read)) == read


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("number", FORMERS)
def test_a_change_of_an_earlier_version_says_what_it_said(
    number: int, story: str, registry: MemoryRegistry
) -> None:
    """It may know less: of what its schema did not have, it says nothing."""
    read = Changes(SCHEMA, registry, "crm.changes.Account").decode(Former.of(number).change(story, registry))
    told = STORIES[story]().changes[-1]
    assert replace(read, knows=None) == replace(told, knows=None)
    if number == 0 and read.knows is not None:
        assert PLACE not in read.knows, "it did not say in which collection a document is"


@pytest.mark.parametrize("number", FORMERS)
def test_a_write_of_an_earlier_version_says_what_it_said(number: int, registry: MemoryRegistry) -> None:
    """A newer sink carries out what an older merge has commanded."""
    read = Writes(SCHEMA, registry, "crm.writes.salesforce.Account").decode(
        Former.of(number).write("in_flight", registry)
    )
    assert read == STORIES["in_flight"]().writes[SALESFORCE]


@pytest.mark.parametrize("name", FIXED)
def test_what_a_newer_version_wrote_is_not_read(name: str, registry: MemoryRegistry) -> None:
    """Whatever it added would be dropped. The message says which process has to be upgraded, and that nothing is lost."""
    ours = schemas.fixed(name)
    newer = {**ours, "format": format_of(ours) + 1}
    data = b"\0" + registry.register("x-value", newer).to_bytes(4, "big") + b"anything"
    with pytest.raises(
        SchemaOutdated,
        match=rf"{TOPIC}: .* newer version of Salmon \(format {newer['format']}; this process knows {ours['format']}\)\. "
        "Upgrade this process .* nothing is lost",
    ):
        Codec(ours, registry, TOPIC).decode_datum(data)
    assert Codec(newer, registry, TOPIC).schema_id, "and a newer version reads its own"


def test_a_schema_of_somebody_else_s_has_no_format(registry: MemoryRegistry) -> None:
    """A property of that name may mean anything there; it is no reason to wait."""
    assert (format_of("string"), format_of({"type": "record", "format": "json"})) == (0, 0)
