"""The JSON Schema of the configuration is one, takes every configuration that we show, and underlines what load() refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from salmon.config import models as config
from salmon.config import yaml_file
from salmon.config.json_schema import json_schema
from salmon.devstack import sync_file
from salmon.errors import ConfigError
from support.plugins import install_example

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("connectors/**/*.md")]
    if "```yaml" in path.read_text(encoding="utf-8")
)
WHOLE = """
name: crm
kafka: {bootstrap.servers: "b:1"}
schema_registry: {url: "http://localhost:8081"}
salesforce: {auth: {flow: client_credentials, client_id: a, client_secret: b}}
mongodb: {uri: "mongodb://localhost", database: crm}
objects: {Account: {collection: accounts}}
"""


def blocks(page: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The configurations on a page, whole or in part."""
    for text in re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL):
        (folder / "block.yaml").write_text(text)
        found = yaml_file.read(folder / "block.yaml")  # for which `on` is a key, as for JSON
        if isinstance(found, dict) and found.keys() & {"objects", "events", "salesforce", "errors", "rest"}:
            yield found


def faults(content: Any, *, whole: bool = True) -> list[str]:
    schema = json_schema()
    if not whole:
        del schema["required"]
    return [
        ".".join(map(str, each.instance_path))
        for each in jsonschema_rs.validator_for(schema).iter_errors(content)
    ]


def test_it_is_a_json_schema() -> None:
    """By the schema of schemas, of the dialect that it names."""
    schema = json_schema()
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"].endswith("2020-12/schema")


def test_it_knows_every_setting() -> None:
    """With its meaning, and its name as it is written in the file."""
    schema = json_schema()

    def below(node: Any, path: list[str]) -> Any:
        while isinstance(node, dict) and ("$ref" in node or "properties" not in node):
            if "$ref" in node:
                node = schema["$defs"][node["$ref"].rpartition("/")[2]]
            elif isinstance(node.get("additionalProperties"), dict) and path and path[0].startswith("<"):
                node = node["additionalProperties"]
                node, path = node["items"] if path[0].endswith("[]") else node, path[1:]
            else:
                mappings = [
                    each
                    for each in node.get("anyOf", [])
                    if "$ref" in each and "Reference" not in each["$ref"]
                ]
                if not mappings:
                    return node
                node = mappings[0]
        if not path:
            return node
        if path[0] in node["properties"]:
            return below(node["properties"][path[0]], path[1:])
        return below(node["properties"][".".join(path)], [])  # errors has keys with dots

    missing = [
        key
        for key, field in config.settings()
        if "description" not in (found := below(schema, key.split("."))) and "anyOf" not in found
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_configuration_on_our_pages_is_valid(page: str, tmp_path: Path) -> None:
    """Whoever copies one into an editor sees nothing underlined; load() takes those that are whole, too (other tests do that)."""
    for block in blocks(page, tmp_path):
        assert faults(block, whole="name" in block) == [], block


def test_the_readme_has_a_configuration(tmp_path: Path) -> None:
    """The rule above can fail."""
    assert sum("name" in block for block in blocks("README.md", tmp_path)) >= 1


def test_the_configuration_of_the_embedded_stack_is_valid(tmp_path: Path) -> None:
    """`salmon dev up` writes it."""
    org = dict.fromkeys(("login_url", "client_id", "username", "private_key", "ca_file"), "https://org")
    sync_file.write(
        tmp_path / "sync.yaml",
        name="dev",
        bootstrap_servers="b:1",
        registry_url="http://localhost:8081",
        mongodb={"uri": "mongodb://localhost", "database": "dev"},
        salesforce={**org, "pubsub_endpoint": "org:7443"},
        objects=["Account", "Contact"],
    )
    assert faults(yaml.safe_load((tmp_path / "sync.yaml").read_text())) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"objects": {"Account": {"collection": "a", "colection": "b"}}}, "objects.Account"),
        ({"objects": {"Account": {}}}, "objects.Account"),
        ({"objects": {"My Thing": {"collection": "a"}}}, "objects"),
        ({"objects": {"Account": {"collection": "a", "direction": "sideways"}}}, "objects.Account.direction"),
        ({"objects": {"Account": {"collection": "a", "deletes": "never"}}}, "objects.Account.deletes"),
        ({"topics": {"partitions": 0}}, "topics.partitions"),
        ({"topics": {"partitions": "many"}}, "topics.partitions"),
        ({"errors": {"retry.timeouts": 1}}, "errors"),
        ({"kafka": {}}, "kafka"),
        ({"kafka": {"bootstrap.servers": "b:1", "group.id": "x"}}, "kafka"),
        ({"salesforce": {"auth": {"flow": "magic"}}}, "salesforce.auth.flow"),
        ({"nonsense": 1}, ""),
    ],
)
def test_what_is_wrong_is_underlined_where_load_refuses_it(tmp_path: Path, change: Any, place: str) -> None:
    """Unknown keys, missing ones, bounds, choices, and the properties of Kafka that are our own."""
    content = {**yaml.safe_load(WHOLE), **change}
    assert place in faults(content)
    (tmp_path / "sync.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError):
        config.load(tmp_path / "sync.yaml", env={})


@pytest.mark.parametrize(
    "change",
    [
        {"topics": {"partitions": "${env:N:6}"}},
        {"objects": {"Account": {"collection": "a", "direction": "${env:DIRECTION:both}"}}},
        {"objects": {"Account": {"collection": "a", "deletes": "propagate", "capture": "poll"}}},
        {"objects": {"Account": {"collection": "a", "deletes": {"grace_s": 0}, "capture": {"every": "1m"}}}},
        {"verify": {"every": None}},
        {"kafka": {"bootstrap.servers": "b:1", "linger.ms": 5, "enable.sparse.connections": True}},
    ],
)
def test_what_load_takes_is_not_underlined(tmp_path: Path, change: Any) -> None:
    """References in any place, short forms, and any property of Kafka."""
    content = {**yaml.safe_load(WHOLE), **change}
    assert faults(content) == []
    (tmp_path / "sync.yaml").write_text(yaml.safe_dump(content))
    assert config.load(tmp_path / "sync.yaml", env={})


def with_transform(**entry: Any) -> dict[str, Any]:
    transforms = {"Account": [entry]}
    return {**yaml.safe_load(WHOLE), "transforms": transforms}


def test_it_knows_the_settings_of_the_plugins_that_are_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of sides and of transforms; an editor completes them, and underlines what is wrong."""
    for name in ("jsonl-side", "phone-transform"):
        install_example(monkeypatch, tmp_path, name)
    jsonschema_rs.meta.validate(json_schema())
    wanted = {"field": "Phone", "begins_with": ["+1"]}
    assert faults(with_transform(type="phone_from", settings=wanted)) == []
    assert faults(with_transform(type="phone_from", settings={**wanted, "field": "${env:FIELD}"})) == []
    assert faults(with_transform(type="phone_digits", fields=["Fax"])) == []
    assert faults(with_transform(type="phone_from")) == ["transforms.Account.0"]
    wrong = with_transform(type="phone_digits", fields=["Fax"], settings={"last": -1, "lats": 1})
    assert set(faults(wrong)) == {
        "transforms.Account.0.settings",
        "transforms.Account.0.settings.last",
    }
    sides = {**yaml.safe_load(WHOLE), "sides": {"jsonl": {"folder": "/f", "poll_s": 0}}}
    assert faults(sides) == ["sides.jsonl.poll_s"]


def test_an_object_has_one_collection_or_several() -> None:
    """Either key, and not both; each of several is described, too."""
    places = [{"collection": "customers", "filter": "Type == 'Customer'"}, {"collection": "others"}]

    def of_account(**settings: Any) -> list[str]:
        return faults({**yaml.safe_load(WHOLE), "objects": {"Account": settings}})

    assert of_account(collections=places) == []
    assert of_account(collections=places, collection="a") != []
    assert of_account(collections=[{"filter": "true"}, *places]) != []
