"""The codec: Confluent's wire format, schemas that differ, and what does not fit."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from salmon.errors import SchemaMismatch, SchemaOutdated
from salmon.kafka.codecs.avro import Codec, bare
from support.at_hand.registries import MemoryRegistry

TOPIC = "crm.records.Account"


def record(*fields: tuple[str, Any], name: str = "Account") -> dict[str, Any]:
    """A record whose fields are nullable, as ours are."""
    return {
        "type": "record",
        "name": name,
        "namespace": "salmon.records",
        "fields": [{"name": each, "type": ["null", kind], "default": None} for each, kind in fields],
    }


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


def test_a_value_begins_with_the_magic_byte_and_the_schema_id(registry: MemoryRegistry) -> None:
    """Any client of a Confluent registry can read it."""
    registry.register("somebody-value", record(("Other", "string")))
    codec = Codec(record(("Name", "string")), registry, TOPIC)
    data = codec.encode_datum({"Name": "A"})
    assert data == struct.pack(">bI", 0, 2) + b"\x02\x02A"
    assert registry.subjects["crm.records.Account-value"] == [2], "by TopicNameStrategy"


def test_the_first_value_registers_the_schema_and_no_later_one_does(registry: MemoryRegistry) -> None:
    """Reading alone never registers: a consumer needs no right to."""
    codec = Codec(record(("Name", "string")), registry, TOPIC)
    assert registry.subjects == {}
    data = codec.encode_datum({"Name": "A"})
    registered = dict(registry.subjects)
    codec.encode_datum({"Name": "B"})
    Codec(record(("Name", "string")), registry, "elsewhere").decode_datum(data)
    assert registry.subjects == registered


def test_a_field_that_came_later_is_null_in_older_values(registry: MemoryRegistry) -> None:
    """A sink that was down for a month reads what was written before the field was there."""
    data = Codec(record(("Name", "string")), registry, TOPIC).encode_datum({"Name": "A"})
    ours = Codec(record(("Name", "string"), ("Phone", "string")), registry, TOPIC)
    assert ours.decode_datum(data) == {"Name": "A", "Phone": None}


def test_a_field_that_has_gone_is_dropped_from_older_values(registry: MemoryRegistry) -> None:
    """Nobody knows any more what it was."""
    old = Codec(record(("Fax", "string"), ("Name", "string")), registry, TOPIC)
    data = old.encode_datum({"Name": "A", "Fax": "1"})
    assert Codec(record(("Name", "string")), registry, TOPIC).decode_datum(data) == {"Name": "A"}


def test_values_of_several_writers_come_interleaved(registry: MemoryRegistry) -> None:
    """While the connectors are upgraded one by one, old and new values alternate."""
    old = Codec(record(("Name", "string")), registry, TOPIC)
    new = Codec(record(("Phone", "string"), ("Name", "string")), registry, TOPIC)
    for _ in range(2):
        assert new.decode_datum(old.encode_datum({"Name": "A"})) == {"Phone": None, "Name": "A"}
        assert new.decode_datum(new.encode_datum({"Phone": "1"})) == {"Phone": "1", "Name": None}


def test_dates_and_times_stay_numbers(registry: MemoryRegistry) -> None:
    """Values are Avro's primitives, whoever wrote them; nothing is turned into a datetime on the way."""
    kinds = (
        ("Day", {"type": "int", "logicalType": "date"}),
        ("Moment", {"type": "long", "logicalType": "timestamp-millis"}),
        ("Hour", {"type": "int", "logicalType": "time-millis"}),
    )
    datum = {"Day": -1, "Moment": 1_700_000_000_123, "Hour": 86_399_999}
    data = Codec(record(*kinds), registry, TOPIC).encode_datum(datum)
    assert Codec(record(*kinds), registry, TOPIC).decode_datum(data) == datum
    assert Codec(record(*kinds, ("New", "int")), registry, TOPIC).decode_datum(data) == {**datum, "New": None}


def test_words_make_no_other_schema(registry: MemoryRegistry) -> None:
    """A label that was changed in the org makes a new id, and no slower reading."""
    plain, labelled = record(("Name", "string")), record(("Name", "string"))
    labelled["fields"][0] |= {"doc": "Account Name", "salmon": {"label": "Account Name"}}
    assert bare(plain) == bare(labelled)
    data = Codec(labelled, registry, TOPIC).encode_datum({"Name": "A"})
    assert Codec(plain, registry, TOPIC).decode_datum(data) == {"Name": "A"}


def test_what_is_bare_still_says_how_decimals_lie() -> None:
    """A decimal's bytes mean nothing without its scale."""
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
    assert bare(["null", decimal]) == ["null", decimal]
    assert bare({"type": "long", "logicalType": "timestamp-millis"}) == "long"


@pytest.mark.parametrize(
    ("datum", "told"),
    [
        pytest.param({"Count": "secret"}, r"Count holds a str, where .* null or int", id="type"),
        pytest.param({"Count": 2**40}, r"Count holds a int, where .* null or int", id="range"),
        pytest.param({"Colour": "secret"}, r"Colour holds a str, .* no such field", id="unknown"),
        pytest.param({"Tags": ["a", 1]}, r"Tags holds a list, where .* null or array", id="items"),
    ],
)
def test_what_does_not_fit_is_named_and_never_shown(
    registry: MemoryRegistry, datum: dict[str, Any], told: str
) -> None:
    """The error names the topic, the field and the types; a value may be anybody's secret."""
    kinds = (("Count", "int"), ("Tags", {"type": "array", "items": "string"}))
    codec = Codec(record(*kinds), registry, TOPIC)
    with pytest.raises(SchemaMismatch, match=told) as failed:
        codec.encode_datum(datum)
    assert TOPIC in str(failed.value)
    assert "secret" not in str(failed.value)


def test_a_field_of_the_row_inside_an_envelope_is_named_with_its_way(registry: MemoryRegistry) -> None:
    """So that one sees whether the envelope or the record is at fault."""
    envelope = {
        "type": "record",
        "name": "Change",
        "fields": [{"name": "fields", "type": record(("Count", "int"))}],
    }
    with pytest.raises(SchemaMismatch, match=r"fields\.Count holds a str"):
        Codec(envelope, registry, TOPIC).encode_datum({"fields": {"Count": "x"}})


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\0\0\0\0\1", id="no body"),
        pytest.param(b'{"Name": "A"}', id="JSON"),
        pytest.param(b"\0\0\0\0\1\x02\x7f", id="cut off"),
        pytest.param(b"\0\0\0\0\1\x02\x02\xff", id="no UTF-8"),
        pytest.param(b"\0\0\0\0\1\x08A", id="no such branch"),
        pytest.param(b"\0\0\0\0\1\x02\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", id="endless text"),
        pytest.param(b"\0\0\0\0\x63\x02\x02A", id="unknown schema"),
    ],
)
def test_bytes_that_are_none_of_ours_are_a_data_error(registry: MemoryRegistry, data: bytes) -> None:
    """Whatever stands in a topic, it can be set aside and the next record read."""
    codec = Codec(record(("Name", "string")), registry, TOPIC)
    codec.register()
    with pytest.raises(SchemaMismatch):
        codec.decode_datum(data)


def test_a_schema_that_cannot_be_read_as_ours_is_a_data_error(registry: MemoryRegistry) -> None:
    """Somebody wrote text where we have a number."""
    data = Codec(record(("Count", "string")), registry, TOPIC).encode_datum({"Count": "many"})
    with pytest.raises(SchemaMismatch):
        Codec(record(("Count", "int")), registry, TOPIC).decode_datum(data)


@pytest.mark.parametrize("envelope", [False, True], ids=["row", "envelope"])
def test_a_record_of_a_newer_generation_is_not_read_by_the_older_schema(
    registry: MemoryRegistry, envelope: bool
) -> None:
    """A field that we would drop would never be told again; so whoever reads begins anew, and then reads it."""

    def of_generation(number: int, *fields: tuple[str, Any]) -> dict[str, Any]:
        row = {**record(*fields), "salmon": {"keyPrefix": "001", "generation": number}}
        outer = {"type": "record", "name": "Change", "fields": [{"name": "fields", "type": row}]}
        return outer if envelope else row

    older = Codec(of_generation(1, ("Name", "string")), registry, TOPIC)
    newer = Codec(of_generation(2, ("Name", "string"), ("Site", "string")), registry, TOPIC)
    of_older, of_newer = {"Name": "A"}, {"Name": "A", "Site": "Rome"}
    datum = {"fields": of_newer} if envelope else of_newer
    with pytest.raises(SchemaOutdated, match=f"{TOPIC}: .* newer schema .* restarts"):
        older.decode_datum(newer.encode_datum(datum))
    assert newer.decode_datum(newer.encode_datum(datum)) == datum
    known = newer.decode_datum(older.encode_datum({"fields": of_older} if envelope else of_older))
    assert (known["fields"] if envelope else known) == {"Name": "A", "Site": None}


def test_the_same_schema_of_a_newer_generation_is_ours(registry: MemoryRegistry) -> None:
    """A field came and went while this process slept, or its number was only given now: there is nothing to begin anew for."""
    older, newer = (
        {**record(("Name", "string")), "salmon": {"keyPrefix": "001", "generation": n}} for n in (1, 9)
    )
    written = Codec(newer, registry, TOPIC).encode_datum({"Name": "A"})
    assert Codec(older, registry, TOPIC).decode_datum(written) == {"Name": "A"}
