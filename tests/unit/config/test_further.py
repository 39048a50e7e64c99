"""`sides` in the configuration: further sides, each a plugin with settings of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from salmon.app.connector_plugins import is_for
from salmon.app.events import carried, specs_of
from salmon.app.live import Live
from salmon.config import models as config
from salmon.config.models import SyncConfig
from salmon.errors import ConfigError
from salmon.merge.settings import rules_of
from salmon.model.schema import FieldSchema, Kind, ObjectSchema
from salmon.runtime import discovery
from support.plugins import install, install_example
from support.sync_config import sync_config

BASE = sync_config(
    sides={"jsonl": {"folder": "/data"}},
    objects={"Account": {"collection": "accounts"}, "Lead": {"collection": "leads", "sides": []}},
)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The example, as pip leaves it."""
    (tmp_path / "plugins").mkdir()
    install_example(monkeypatch, tmp_path / "plugins", "jsonl-side")


def loaded(tmp_path: Path, **keys: Any) -> SyncConfig:
    path = tmp_path / "sync.yaml"
    path.write_text(yaml.safe_dump({**BASE, **keys}))
    return config.load(path, env={})


def account(**settings: Any) -> dict[str, Any]:
    return {"Account": {"collection": "accounts", **settings}}


def test_a_further_side_takes_part_in_the_objects_that_have_it(tmp_path: Path) -> None:
    """It has two connectors, its settings as its model, and topics of its objects alone."""
    sync = loaded(tmp_path)
    assert sync.roster.connectors[2] == "jsonl-source"
    assert sync.settings_of("jsonl").folder == "/data"
    assert list(sync.objects_of("jsonl")) == ["Account"]
    assert list(sync.objects_of("mongodb")) == ["Account", "Lead"]
    names = {spec.name for spec in specs_of(sync)}
    assert {"crm.writes.jsonl.Account", "crm.signals.jsonl-sink", "crm.dlq.jsonl-source"} <= names
    assert "crm.writes.jsonl.Lead" not in names


def test_the_sink_of_a_further_side_carries_no_events(tmp_path: Path) -> None:
    """What became of an outbox's documents, MongoDB's sink alone tells them."""
    sync = loaded(
        tmp_path,
        events={"Sent__e": {"direction": "to_salesforce", "collection": "outbox", "fields": {"A__c": "a"}}},
    )
    assert [len(carried(sync, side)) for side in ("salesforce", "mongodb", "jsonl")] == [1, 1, 0]


PUBLISHED = {"direction": "to_salesforce", "object": "Account", "side": "jsonl", "fields": {"A__c": "Phone"}}


def test_what_users_of_a_further_side_do_can_be_published_as_events(tmp_path: Path) -> None:
    """If the side has the object."""
    assert loaded(tmp_path, events={"Told__e": PUBLISHED}).events["Told__e"].side == "jsonl"
    with pytest.raises(
        ConfigError, match=r"events\.Told__e\.side: jsonl does not have Lead\. Name one of sales"
    ):
        loaded(tmp_path, events={"Told__e": {**PUBLISHED, "object": "Lead"}})
    with pytest.raises(ConfigError, match="must be the name of a side: salesforce, mongodb, jsonl"):
        loaded(tmp_path, events={"Told__e": {**PUBLISHED, "side": "files"}})


def test_the_fold_knows_the_sides_of_each_object(tmp_path: Path) -> None:
    """And which of them are guarded, by what the plugin says."""
    sync = loaded(tmp_path, objects=account(initial="jsonl", conflicts={"default": "jsonl", "ties": "jsonl"}))
    rules = rules_of(ObjectSchema("Account", ()), sync.objects["Account"], sync.roster.of("Account"))
    assert rules.sides == ("salesforce", "mongodb", "jsonl")
    assert rules.guarded == {"mongodb", "jsonl"}
    assert (rules.initial, rules.ties, rules.policy.name) == ("jsonl", "jsonl", "jsonl")


def test_a_sync_without_further_sides_is_as_ever(tmp_path: Path) -> None:
    """An object with a direction has two sides."""
    assert len(loaded(tmp_path, sides={}, objects=account()).roster.connectors) == 5
    one_way = loaded(tmp_path, objects=account(direction="to_mongodb"))
    assert one_way.roster.names_of("Account") == ("salesforce", "mongodb")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"sides": {"oracle": {}}}, "sides: oracle: no installed package offers 'oracle'"),
        ({"sides": {"mongodb": {}}}, "mongodb: cannot be a further side"),
        ({"sides": {"jsonl": 5}}, "jsonl: is a whole number (int), but must be a mapping"),
        ({"sides": {"jsonl": {"folder": "/d", "fold": 1}}}, "jsonl.fold: unknown key. Did you mean folder?"),
        ({"sides": {"jsonl": {}}}, "jsonl.folder: is missing"),
        (
            {"objects": account(sides=["files"])},
            "Account.sides: files is not a key of `sides`, which has jsonl",
        ),
        (
            {"objects": account(sides=["jsonl"], direction="to_mongodb")},
            "an object with a direction has two sides",
        ),
        ({"objects": account(sides=[], initial="jsonl")}, "Account.initial: jsonl does not have this object"),
        (
            {"objects": account(sides=[], conflicts={"fields": {"Phone": "jsonl"}})},
            "Account.conflicts.fields.Phone: jsonl does not have this object",
        ),
        ({"objects": account(initial="files")}, "must be the name of a side: salesforce, mongodb, jsonl"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path, keys: dict[str, Any], told: str) -> None:
    """It names the key and the mend."""
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, **keys)
    assert told in str(refused.value)


MASK = {"mask": {"fields": ["Phone"]}}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"objects": account(transforms=[{"filter": "Phone != null", "to": "files"}])},
            "transforms.0.to: is text (str), but must be one of salesforce, mongodb, both, jsonl",
        ),
        (
            {"objects": account(transforms=[{**MASK, "to": "jsonl"}], sides=[])},
            "transforms.0 is for jsonl, which does not have this object. Name one of salesforce, mongodb",
        ),
        (
            {"sides": {}, "objects": account(transforms=[{**MASK, "to": "jsonl"}])},
            "is for jsonl, which does not have this object",
        ),
        (
            {"objects": account(transforms=[{**MASK, "to": "jsonl"}], direction="to_mongodb")},
            "is for jsonl, but the direction of the object is to_mongodb",
        ),
        (
            {"objects": account(transforms=[{**MASK, "to": "both"}, {**MASK, "to": "jsonl"}])},
            "Phone is masked on all sides",
        ),
        ({"objects": account(transforms=[{**MASK, "to": "jsonl"}] * 2)}, "masks Phone again for jsonl"),
    ],
)
def test_a_filter_or_mask_for_a_side_that_cannot_have_it_is_refused(
    tmp_path: Path, keys: dict[str, Any], told: str
) -> None:
    """It would look as if it did something."""
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, **keys)
    assert told in str(refused.value)


def test_a_further_side_has_its_own_filter_and_mask(tmp_path: Path) -> None:
    """A field may be masked on two sides, while the third has its value."""
    steps = [
        {"filter": "Phone != null", "to": "jsonl"},
        {**MASK, "to": "jsonl"},
        {**MASK, "to": "salesforce"},
    ]
    sync = loaded(tmp_path, objects=account(transforms=steps))
    schema = ObjectSchema("Account", (FieldSchema("Phone", "string", Kind.STRING),))
    rules = rules_of(schema, sync.objects["Account"], sync.roster.of("Account"))
    assert set(rules.views) == {"salesforce", "jsonl"}
    assert rules.views["jsonl"].admits({"Phone": "1"})
    assert not rules.views["jsonl"].admits({})
    assert [rules.shown_to(side, "Phone", "1") for side in rules.sides] == ["***", "1", "***"]
    assert rules.views_digest.startswith("jsonl=")


def test_a_plugin_that_is_no_side_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its entry point names something else."""
    (tmp_path / "more").mkdir()
    install(monkeypatch, tmp_path / "more", discovery.SIDES, odd="json:loads")
    with pytest.raises(ConfigError, match=r"must be a salmon\.plugin\.SidePlugin"):
        discovery.side_plugin("odd")


def test_a_connector_shows_the_settings_of_its_own_side_alone() -> None:
    """In Kafka Connect's REST API."""
    assert is_for("jsonl-sink", "sides.jsonl.folder")
    assert not is_for("mongodb-sink", "sides.jsonl.folder")
    assert not is_for("merge", "sides.jsonl.folder")
    assert is_for("jsonl-sink", "topics.partitions")


def test_a_task_of_a_further_side_is_given_the_settings_of_that_side(tmp_path: Path) -> None:
    """When it is made, and whenever they are read again."""
    given: list[Any] = []

    class Task:
        def take_settings(self, settings: Any) -> None:
            given.append(settings.folder)

    live = Live(loaded(tmp_path))
    live.watch("jsonl", Task())
    live.take(loaded(tmp_path))
    assert given == ["/data", "/data"]
