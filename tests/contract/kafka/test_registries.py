"""Any registry with Confluent's REST API: ours, and Apicurio."""

from __future__ import annotations

from dataclasses import replace

import pytest
import requests

from salmon.errors import SchemaMismatch, SetupError
from salmon.kafka.codecs.registry import SchemaRegistry, object_schema, subject
from salmon.kafka.codecs.serdes import Changes, Records
from salmon.model.change import Change, Op
from salmon.model.schema import FieldSchema, Kind, ObjectSchema


def account(*more: FieldSchema) -> ObjectSchema:
    return ObjectSchema("Account", (FieldSchema("Name", "string", Kind.STRING, label="Account Name"), *more))


PHONE = FieldSchema("Phone", "phone", Kind.STRING, reference_to=("A", "B"), precision=3)


@pytest.fixture
def registry(registry_url: str) -> SchemaRegistry:
    return SchemaRegistry(registry_url)


def test_the_same_schema_has_one_id_for_ever(registry: SchemaRegistry, registry_url: str, name: str) -> None:
    """Every process registers what it writes; only the first makes a version."""
    first = registry.register(f"{name}-value", account().to_avro())
    assert SchemaRegistry(registry_url).register(f"{name}-value", account().to_avro()) == first
    registry.register(f"{name}-value", account(PHONE).to_avro())
    assert SchemaRegistry(registry_url).register(f"{name}-value", account().to_avro()) == first
    versions = requests.get(f"{registry_url}/subjects/{name}-value/versions", timeout=10).json()
    assert len(versions) == 2


def test_an_object_is_learnt_from_the_registry(
    registry: SchemaRegistry, registry_url: str, name: str
) -> None:
    """Everybody but the Salesforce source knows an object's fields from here; nothing is lost on the way."""
    topic = f"{name}.records.Account"
    assert object_schema(registry, topic) is None, "nobody has described it yet"
    registry.register(subject(topic), account(PHONE).to_avro())
    assert object_schema(SchemaRegistry(registry_url), topic) == account(PHONE)


def test_the_newest_schema_is_the_latest(registry: SchemaRegistry, name: str) -> None:
    """A field that was added in the org is known after the next look."""
    registry.register(f"{name}-value", account().to_avro())
    newer = registry.register(f"{name}-value", account(PHONE).to_avro())
    assert registry.latest(f"{name}-value") == (newer, account(PHONE).to_avro())


def test_a_schema_that_comes_back_is_the_latest(registry: SchemaRegistry, name: str) -> None:
    """A field that is added and taken out: its generation alone makes the former schema another version."""
    for generation, schema in enumerate((account(), account(PHONE), account())):
        newest = registry.register(f"{name}-value", replace(schema, generation=generation).to_avro())
        found = registry.latest(f"{name}-value")
        assert found is not None
        assert (found[0], ObjectSchema.from_avro(found[1])) == (newest, schema)


def test_what_could_not_be_read_any_more_is_refused(registry: SchemaRegistry, name: str) -> None:
    """A text field became a number: the error says which subject, why, and what to do."""
    registry.register(f"{name}-value", account(PHONE).to_avro())
    retyped = account(FieldSchema("Phone", "int", Kind.INT))
    with pytest.raises(SetupError, match=rf"{name}-value: .* incompatible .*choose another sync name"):
        registry.register(f"{name}-value", retyped.to_avro())


def test_every_older_version_must_be_readable(registry: SchemaRegistry, name: str) -> None:
    """A field that left and comes back with another type: compatible with the last version, not with the first."""
    registry.register(f"{name}-value", account(PHONE).to_avro())
    registry.register(f"{name}-value", account().to_avro())
    with pytest.raises(SetupError, match="incompatible"):
        registry.register(f"{name}-value", account(FieldSchema("Phone", "int", Kind.INT)).to_avro())


def test_an_id_that_nobody_gave_is_a_data_error(registry: SchemaRegistry) -> None:
    """A stray record in a topic is set aside, and does not stop the process."""
    with pytest.raises(SchemaMismatch, match="no schema 987654"):
        registry.schema_by_id(987654)


def test_a_reader_finds_the_writers_schema(registry_url: str, name: str) -> None:
    """Two processes that share nothing but the registry."""
    topic = f"{name}.changes.Account"
    written = Changes(account(PHONE), SchemaRegistry(registry_url), topic).encode(
        Change("salesforce", Op.ROW, fields={"Name": "A", "Phone": "1"})
    )
    told = Changes(account(), SchemaRegistry(registry_url), topic).decode(written)
    assert told.fields == {"Name": "A"}


def test_an_id_is_asked_for_once(registry_url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids never change their meaning, so reading a million records asks the registry once."""
    written = Records(account(), SchemaRegistry(registry_url), name).encode({"Name": "A"})
    registry = SchemaRegistry(registry_url)
    calls: list[str] = []
    call = registry._call

    def counted(method: str, path: str) -> requests.Response:
        calls.append(path)
        return call(method, path)

    monkeypatch.setattr(registry, "_call", counted)
    for topic in ("one", "other"):
        for _ in range(3):
            Records(account(), registry, topic).decode(written)
    assert len(calls) == 1
