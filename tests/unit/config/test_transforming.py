"""`transforms`: what can be configured, in Salmon's words and in Kafka Connect's, and what is refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from salmon.config.models import SyncConfig, checked_raw
from salmon.config.shown import HIDDEN, shown
from salmon.ops.logs import secrets_of
from salmon.transforms.computed import Computed
from salmon.transforms.flow import Cast, Constant, Filter, Step, Timestamps
from salmon.transforms.masks import Mask
from support.sync_config import sync_config

KEY = "0123456789abcdef"


def raw(own: Any = None, top: Any = None, **settings: Any) -> dict[str, Any]:
    contact = {"collection": "contacts", **settings} | ({} if own is None else {"transforms": own})
    return sync_config(objects={"Contact": contact}, **({} if top is None else {"transforms": top}))


def checked(content: dict[str, Any]) -> tuple[SyncConfig | None, Mapping[tuple[str, ...], str]]:
    return checked_raw(content, env={"MASK_KEY": KEY}, folder=Path())


def steps(content: dict[str, Any]) -> list[tuple[Step, str]]:
    config, faults = checked(content)
    assert faults == {}
    assert config is not None
    return [(each.step, each.to) for each in config.objects["Contact"].flow("Contact").transforms]


@pytest.mark.parametrize(
    ("entry", "step", "to"),
    [
        ({"filter": "Email != null"}, Filter("Email != null"), "mongodb"),
        ({"filter": "Email != null", "to": "both"}, Filter("Email != null"), "both"),
        ({"mask": {"fields": ["SSN__c"]}}, Mask(("SSN__c",)), "mongodb"),
        (
            {"mask": {"fields": ["A"], "by": "hash", "key": "${env:MASK_KEY}"}, "to": "salesforce"},
            Mask(("A",), "hash", key=KEY.encode()),
            "salesforce",
        ),
        ({"constant": {"source": "crm"}}, Constant("source", "crm"), "mongodb"),
        ({"type": "Filter", "predicate": "Age < 18"}, Filter("Age < 18", drops=True), "mongodb"),
        ({"type": "Filter", "predicate": "Age < 18", "negate": True}, Filter("Age < 18"), "mongodb"),
        ({"type": "MaskField$Value", "fields": ["A"]}, Mask(("A",), "replace"), "mongodb"),
        (
            {
                "type": "org.apache.kafka.connect.transforms.MaskField$Value",
                "fields": ["A"],
                "replacement": 5,
            },
            Mask(("A",), "replace", replacement="5"),
            "mongodb",
        ),
        ({"type": "Cast$Value", "spec": "A:string, B:int64"}, Cast({"A": "string", "B": "int64"}), "mongodb"),
        (
            {
                "type": "TimestampConverter$Value",
                "field": "A",
                "target.type": "unix",
                "unix.precision": "seconds",
            },
            Timestamps("A", "unix", "", "seconds"),
            "mongodb",
        ),
        (
            {"type": "InsertField$Value", "static.field": "source", "static.value": "crm"},
            Constant("source", "crm"),
            "mongodb",
        ),
    ],
)
def test_a_transform_is_read(entry: dict[str, Any], step: Step, to: str) -> None:
    """Kafka Connect's names and config keys mean what they mean there."""
    assert steps(raw([entry])) == [(step, to)]
    assert steps(raw(top={"Contact": [entry]})) == [(step, to)]


def test_what_stands_at_the_top_follows_what_the_object_has() -> None:
    """In order; and its key is known, for errors."""
    config, _ = checked(raw([{"filter": "A != null"}], {"Contact": [{"filter": "B != null"}]}))
    assert config is not None
    assert [each.step for each in config.objects["Contact"].flow("Contact").transforms] == [
        Filter("A != null"),
        Filter("B != null"),
    ]


def test_the_target_of_a_one_way_object_is_the_default() -> None:
    """A filter for a side that only sends would do nothing."""
    assert steps(raw([{"filter": "A != null"}], direction="to_salesforce")) == [
        (Filter("A != null"), "salesforce")
    ]


@pytest.mark.parametrize(
    ("entry", "direction"),
    [
        ({"filter": "A != null", "to": "both"}, "to_mongodb"),
        ({"mask": {"fields": ["A"]}, "to": "mongodb"}, "to_salesforce"),
        ({"constant": {"source": "crm"}}, "to_salesforce"),
    ],
)
def test_what_is_for_a_side_that_gets_nothing_is_refused(entry: dict[str, Any], direction: str) -> None:
    """It would look as if it did something."""
    _, faults = checked(raw([entry], direction=direction))
    assert f"the direction of the object is {direction}" in faults["objects", "Contact", "transforms"]


def test_replace_field_chooses_fields_after_the_object_has() -> None:
    """As in a chain of Kafka Connect's: what was left out before stays out."""
    config, _ = checked(
        raw(
            [{"type": "ReplaceField$Value", "include": ["A", "C"], "exclude": ["D"]}],
            fields={"include": ["A", "B"], "exclude": ["E"]},
        )
    )
    assert config is not None
    chosen = config.objects["Contact"].fields
    assert (chosen.include, chosen.exclude) == (("A",), ("E", "D"))


def test_replace_field_renames_what_was_renamed_before() -> None:
    """As in a chain of Kafka Connect's; a new name may be a path."""
    entries = [{"type": "ReplaceField", "renames": [each]} for each in ("A:b", "b:c.d", "E:f")]
    config, faults = checked(raw(entries))
    assert config is not None, faults
    assert config.objects["Contact"].paths == {"A": "c.d", "E": "f"}
    _, faults = checked(raw([{"type": "ReplaceField", "renames": ["A:b", "C:b.d"]}]))
    assert "ReplaceField" in faults["objects", "Contact", "transforms"]


@pytest.mark.parametrize(
    ("entry", "at", "sentence"),
    [
        ({"filter": "Email = null"}, "0.filter", "write == (at character 7)"),
        ({"filter": {"type": "RecordIsTombstone"}}, "0.filter", "set `deletes` of the object"),
        ({"type": "Filter", "predicate": "TopicNameMatches"}, "0.predicate", "put them under the object"),
        ({"type": "Filter"}, "0", "Filter needs predicate"),
        ({"type": "RegexRouter"}, "0.type", "Salmon's topics have fixed names"),
        ({"type": "ValueToKey"}, "0.type", "the key of a record is its identity"),
        ({"type": "HoistField$Value"}, "0.type", "use `fields.rename`"),
        ({"type": "Flatten$Value"}, "0.type", "records are flat"),
        ({"type": "ExtractField$Value"}, "0.type", "leave out fields with `fields`"),
        ({"type": "InsertHeader"}, "0.type", "no headers of its own"),
        ({"type": "MaskField$Key", "fields": ["A"]}, "0.type", "use MaskField$Value"),
        ({"type": "MaskFeild"}, "0.type", "did you mean MaskField?"),
        ({"type": "MaskField$Value"}, "0", "MaskField needs fields"),
        ({"type": "MaskField", "fields": ["A"], "spec": "A:string"}, "0", "MaskField has no key spec"),
        ({"type": "Cast", "spec": "string"}, "0", "must be field:type"),
        ({"type": "Cast", "spec": "A:text"}, "0", "must be one of string"),
        ({"type": "TimestampConverter", "field": "A"}, "0", "needs target.type"),
        ({"type": "InsertField", "static.field": "_id", "static.value": 1}, "0", "cannot be a constant"),
        ({"constant": {"a.b": 1}}, "0.constant", "letters, digits and underscores"),
        ({"constant": {"a": 1}, "to": "both"}, "0", "`to` is for filters and masks"),
        ({"mask": {"fields": ["A"], "by": "hash"}}, "0.mask", "which needs one"),
        ({"mask": {"fields": ["A"], "by": "hash", "key": "short"}}, "0.mask", "16 bytes or more"),
        ({"mask": {"fields": ["A"]}, "to": "both"}, "", "nobody would have its value"),
        ({"filter": "A", "mask": {"fields": ["A"]}}, "0", "must be one of filter, mask and constant"),
        ({"filtre": "A"}, "0.filtre", "Did you mean filter?"),
        ({}, "0", "must be one of filter, mask and constant"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    entry: dict[str, Any], at: str, sentence: str
) -> None:
    """At the very key, when the configuration is read."""
    _, faults = checked(raw([entry]))
    key = tuple(f"objects.Contact.transforms.{at}".strip(".").split("."))
    assert sentence in faults[key]
    assert "short" not in " ".join(faults.values())


def test_transforms_of_an_object_that_is_not_synced_are_refused() -> None:
    """A typing mistake in a name must not leave a mask undone."""
    _, faults = checked(raw(top={"Contcat": [{"filter": "A != null"}]}))
    assert "is not an object of this sync" in faults["transforms", "Contcat"]


def test_the_key_of_a_mask_is_a_secret(tmp_path: Path) -> None:
    """The REST API shows the reference, or nothing; and the log knows what to hide."""
    entries = [
        {"mask": {"fields": ["A"], "by": "hash", "key": key}}
        for key in ("${env:MASK_KEY}", "another key of ours")
    ]
    content = raw(
        [entries[0]], {"Contact": [{"mask": {"fields": ["B"], "by": "hash", "key": "another key of ours"}}]}
    )
    file = tmp_path / "sync.yaml"
    file.write_text(yaml.safe_dump(content))
    config, faults = checked(content)
    assert config is not None, faults
    keys = shown(file, config)
    assert keys["objects.Contact.transforms.0.mask.key"] == "${env:MASK_KEY}"
    assert keys["transforms.Contact.0.mask.key"] == HIDDEN
    assert {KEY, "another key of ours"} <= secrets_of(config)


def test_computed_fields_come_before_all_transforms() -> None:
    """Which may name them. With decimals, their numbers are some."""
    made = {"FullName": "FirstName", "Next": "Age + 1"}
    content = raw([{"mask": {"fields": ["FullName"]}}], fields={"computed": made}, numbers="decimal")
    assert [step for step, _ in steps(content)] == [
        Computed("FullName", "FirstName", decimal=True),
        Computed("Next", "Age + 1", decimal=True),
        Mask(("FullName",)),
    ]


@pytest.mark.parametrize(
    ("own", "settings", "key", "sentence"),
    [
        (None, {"fields": {"computed": {"A": "B", "B": "C"}}}, "fields", "names B, which is computed itself"),
        (
            [{"mask": {"fields": ["B"]}}],
            {"fields": {"computed": {"A": "B"}}},
            "transforms",
            "objects.Contact.fields.computed.A would show what is masked",
        ),
        ([{"constant": {"A": 1}}], {"fields": {"computed": {"A": "B"}}}, "transforms", "is a constant, too"),
        (
            None,
            {"fields": {"computed": {"A": "B"}}, "direction": "to_salesforce"},
            "fields",
            "fields.computed.A is for mongodb, but the direction",
        ),
    ],
)
def test_a_computed_field_that_does_not_go_with_the_rest_is_refused(
    own: Any, settings: dict[str, Any], key: str, sentence: str
) -> None:
    """Said with both keys, when the configuration is read."""
    _, faults = checked(raw(own, **settings))
    assert sentence in faults["objects", "Contact", key]
