"""What a new version of a schema changes, and what it breaks, in words."""

from __future__ import annotations

from typing import Any

from salmon.config.models import SyncConfig
from salmon.kafka.codecs import schemas
from salmon.model.described import described
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.schemas.comparing import broken, differences
from salmon.schemas.subjects import Described, NoRegistry, subjects
from support.sync_config import sync_config


def record(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "A",
        "fields": [{"name": name, "type": ["null", kind], "default": None} for name, kind in fields],
    }


ACCOUNT = ObjectSchema("Account", (FieldSchema("Phone", "phone", Kind.STRING),))
RETYPED = ObjectSchema("Account", (FieldSchema("Phone", "int", Kind.INT),))


def test_fields_that_come_go_and_change_are_named() -> None:
    """With the types, as a person would say them."""
    old = record(("Name", "string"), ("Fax", "string"), ("Size", "int"))
    new = record(("Name", "string"), ("Size", "double"), ("Born", {"type": "int", "logicalType": "date"}))
    assert list(differences(old, new)) == [
        "Fax: removed",
        "Size: int or null becomes double or null",
        "Born: added, date or null",
    ]


def test_a_field_within_an_envelope_is_named_by_its_path() -> None:
    """The row of a change is a record within the record."""
    old, new = (schemas.envelope("change", each.to_avro()) for each in (ACCOUNT, RETYPED))
    assert list(differences(old, new)) == ["fields.Phone: string or null becomes int or null"]


def test_another_description_is_no_difference() -> None:
    """A label that an admin has reworded changes nothing for a reader."""
    relabelled = ObjectSchema("Account", (FieldSchema("Phone", "phone", Kind.STRING, label="Tel"),))
    assert list(differences(ACCOUNT.to_avro(), relabelled.to_avro())) == []


def test_the_field_that_breaks_the_promise_is_named_with_the_version_and_the_reason() -> None:
    """As CI shows it: which field, towards whom, and why."""
    old, new = (schemas.envelope("change", each.to_avro()) for each in (ACCOUNT, RETYPED))
    assert broken(new, [(3, old)], "BACKWARD_TRANSITIVE") == (
        "fields.Phone: new readers could not read version 3: the reader's union lacks the writer's type string",
    )


def test_a_level_that_looks_forward_names_who_could_not_read() -> None:
    """A subject may promise that old readers read what is new."""
    old = {"type": "record", "name": "A", "fields": [{"name": "Name", "type": "string"}]}
    new: dict[str, Any] = {"type": "record", "name": "A", "fields": []}
    (fault,) = broken(new, [(1, old)], "FULL")
    assert fault.startswith("Name: readers with version 1 could not read the new one: ")
    assert broken(new, [(1, old)], "BACKWARD") == ()
    assert broken(new, [(1, old)], "NONE") == ()


def test_a_sync_has_a_subject_for_everything_that_it_writes_as_avro() -> None:
    """Those of `records` come last: processes wait for them, and then need all the others."""
    config = SyncConfig.model_validate(
        sync_config(
            events={
                "Order__e": {"collection": "orders"},
                "Paid__e": {"collection": "paid", "direction": "to_salesforce", "fields": {"Id__c": "$key"}},
            }
        )
    )
    order = ObjectSchema("Order__e", (FieldSchema("Id__c", "string", Kind.STRING),))
    shown = {"Account": described({"name": "Account", "fields": []}).to_registry()}
    found = subjects(config, Described({"Account": ACCOUNT}, {"Order__e": order}, shown), NoRegistry())
    names = [name.removeprefix("crm.").removesuffix("-value") for name in found]
    assert names[-1] == "records.Account"
    assert set(names) == {
        *("offsets", "conflicts", "events.Order__e", "outbox.Paid__e", "outcomes.Paid__e"),
        *(f"signals.{side}-{way}" for side in ("salesforce", "mongodb") for way in ("source", "sink")),
        *("changes.Account", "writes.salesforce.Account", "writes.mongodb.Account"),
        *("identity.Account", "state.Account", "described.Account", "records.Account"),
    }
