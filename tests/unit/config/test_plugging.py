"""Settings of the transforms of packages: secrets stay secret, and a package that breaks the contract is named."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from salmon.app.connector_plugins import ConnectorPlugins
from salmon.cli.main import app
from salmon.config import models as config
from salmon.config.shown import HIDDEN, shown
from salmon.errors import ConfigError
from salmon.ops.connect.access import Refused
from salmon.ops.logs import secrets_of
from salmon.runtime import discovery
from support.plugins import install
from support.sync_config import sync_config

MODULE = textwrap.dedent("""
    from typing import Any
    from pydantic import BaseModel, ConfigDict, Field, Secret, SecretBytes, SecretStr, field_validator
    from salmon.plugin import Kind, NoSettings, TransformPlugin

    class Keyed(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
        key: SecretStr = Field(alias="key.of", description="The key.")

    class Mute(BaseModel):
        model_config = ConfigDict(extra="forbid")
        key: str = ""

    class Lax(BaseModel):
        key: str = Field(default="", description="The key.")

    class Sorted(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")
        names: frozenset[str] = Field(default=frozenset(), description="Names.")
        codes: dict[int, set[str]] = Field(default={}, description="Names by code.")
        raw: SecretBytes = Field(default=b"", description="A key.")
        pin: Secret[int] = Field(default=Secret(0), description="A number.")
        other: Any = Field(default=None, description="Anything.")
        cents: str = Field(default="", description="An amount, which becomes cents.")

        @field_validator("cents")
        @classmethod
        def _in_cents(cls, value):
            if value.endswith("c"):
                raise ValueError("is in cents already")
            return value + "c" if value else value

        @field_validator("other")
        @classmethod
        def _made(cls, value):
            return object() if value == "object" else value

    class Twofold(BaseModel):
        model_config = ConfigDict(extra="forbid")
        key: str = Field(default="", validation_alias="other", description="The key.")

    def same(settings, field):
        return lambda value: value

    GOOD = TransformPlugin(Keyed, same)
    SORTED = TransformPlugin(Sorted, same)
    TWOFOLD = TransformPlugin(Twofold, same)
    MUTE = TransformPlugin(Mute, same)
    LAX = TransformPlugin(Lax, same)
    KIND = TransformPlugin(NoSettings, same, kind=Kind.STRING)
    ODD = TransformPlugin(NoSettings, same, same, kind=Kind.DATE)
    NO_MODEL = TransformPlugin(dict, same)
""")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package of which only the first two transforms keep the contract."""
    (tmp_path / "odd_transforms.py").write_text(MODULE)
    offered = ("GOOD", "SORTED", "TWOFOLD", "MUTE", "LAX", "KIND", "ODD", "NO_MODEL")
    names = {name.lower(): f"odd_transforms:{name}" for name in offered}
    others = {"gone": "odd_transforms:GONE", "text": "os:sep", "Cast": "odd_transforms:GOOD"}
    install(monkeypatch, tmp_path, discovery.TRANSFORMS, **names, **others)


def written(folder: Path, entry: Any) -> Path:
    file = folder / "sync.yaml"
    contact = {"collection": "contacts", "transforms": [entry]}
    file.write_text(yaml.safe_dump(sync_config(objects={"Contact": contact})))
    return file


@pytest.mark.parametrize(("key", "seen"), [("${env:KEY}", "${env:KEY}"), ("a key of ours", HIDDEN)])
def test_a_secret_of_a_plugin_is_hidden_wherever_the_configuration_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, seen: str
) -> None:
    """In the REST API, by `config explain`, and in the log."""
    monkeypatch.setenv("KEY", "a key of ours")
    file = written(tmp_path, {"type": "good", "fields": ["Phone"], "settings": {"key.of": key}})
    sync = config.load(file)
    assert shown(file, sync)["objects.Contact.transforms.0.settings.key.of"] == seen
    assert "a key of ours" in secrets_of(sync)
    done = CliRunner().invoke(app, ["config", "explain", "-c", str(file)])
    assert done.exit_code == 0, done.output
    assert "a key of ours" not in done.output


def test_another_secret_is_another_setting(tmp_path: Path) -> None:
    """The records are judged again, and the digest does not show it."""

    def digest(key: str) -> str:
        entry = {"type": "good", "fields": ["Phone"], "settings": {"key.of": key}}
        return config.load(written(tmp_path, entry)).objects["Contact"].flow("Contact").digests()["mongodb"]

    assert digest("one") == digest("one") != digest("two")


def digest_of(folder: Path, settings: Any) -> str:
    entry = {"type": "sorted", "fields": ["Phone"], "settings": settings}
    return config.load(written(folder, entry)).objects["Contact"].flow("Contact").digests()["mongodb"]


@pytest.mark.parametrize(("key", "one", "other"), [("raw", "one", "two"), ("pin", 1, 2)])
def test_another_secret_of_any_kind_is_another_setting(
    tmp_path: Path, key: str, one: Any, other: Any
) -> None:
    """Bytes and typed secrets show stars, too, which say nothing about a change."""
    assert (
        digest_of(tmp_path, {key: one})
        == digest_of(tmp_path, {key: one})
        != digest_of(tmp_path, {key: other})
    )


@pytest.mark.parametrize(("key", "value"), [("raw", "bytes of ours"), ("pin", 123_456)])
def test_secrets_of_any_kind_are_hidden(tmp_path: Path, key: str, value: Any) -> None:
    """A package chooses the type; the REST API and the log show none of them."""
    file = written(tmp_path, {"type": "sorted", "fields": ["Phone"], "settings": {key: value}})
    sync = config.load(file)
    assert shown(file, sync)[f"objects.Contact.transforms.0.settings.{key}"] == HIDDEN
    assert str(value) in secrets_of(sync)


def test_the_fingerprint_is_the_same_in_each_process(tmp_path: Path) -> None:
    """Sets have another order in each, and keys need not be texts; else each restart would judge all records again."""
    entry = {
        "type": "sorted",
        "fields": ["Phone"],
        "settings": {"names": ["a", "b", "c", "d", "e"], "codes": {2: ["x", "y", "z"], 1: ["v", "w"]}},
    }
    file = written(tmp_path, entry)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from salmon.config import models; "
        f"print(models.load({str(file)!r}).objects['Contact'].flow('Contact').digests()['mongodb'])"
    )

    def said(seed: str) -> str:
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert said("1") == said("2") == digest_of(tmp_path, entry["settings"]) + "\n"


def test_a_setting_without_a_settled_text_is_refused(tmp_path: Path) -> None:
    """By its key, with the type of the value and the mend."""
    with pytest.raises(ConfigError, match=r"settings\.other: has a value \(object\) .* Correct the plugin"):
        digest_of(tmp_path, {"other": "object"})


def test_settings_are_checked_once(tmp_path: Path) -> None:
    """What a model has made of a setting is not given to it again, which might refuse it."""
    assert digest_of(tmp_path, {"cents": "5"}) != digest_of(tmp_path, {"cents": "6"})


def test_a_setting_may_be_given_by_its_name_where_the_model_lets_it(tmp_path: Path) -> None:
    """As by its alias: it is kept, and it is a secret."""
    sync = config.load(
        written(tmp_path, {"type": "good", "fields": ["Phone"], "settings": {"key": "a key of ours"}})
    )
    (transform,) = sync.objects["Contact"].transforms
    assert transform.settings["key"].get_secret_value() == "a key of ours"
    assert "a key of ours" in secrets_of(sync)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mute", "its setting key has no description"),
        ("twofold", "its setting key has a `validation_alias`: give it an `alias`"),
        ("lax", 'must refuse unknown keys (extra="forbid")'),
        ("kind", "it must have no `kind`"),
        ("odd", "`kind` must be one of boolean, double, int, long, string, strings"),
        ("no_model", "`settings` must be a pydantic model"),
        ("gone", "cannot be imported"),
        ("text", "is a str, but must be a salmon.plugin.TransformPlugin"),
    ],
)
def test_a_package_that_breaks_the_contract_is_refused_at_load(tmp_path: Path, name: str, said: str) -> None:
    """By name, with the mend; the REST API says the same."""
    with pytest.raises(ConfigError) as refused:
        config.load(written(tmp_path, {"type": name, "fields": ["Phone"]}))
    assert said in str(refused.value)
    plugins = ConnectorPlugins(tmp_path, env={})
    assert "unknown" in {each.type for each in plugins.all(connectors_only=False) if each.class_name == name}
    with pytest.raises(Refused) as not_shown:
        plugins.keys(name)
    assert said in str(not_shown.value)


def test_a_plugin_cannot_take_a_name_of_kafka_connects(tmp_path: Path) -> None:
    """Cast means the same everywhere."""
    with pytest.raises(ConfigError, match="Cast has no key fields"):
        config.load(written(tmp_path, {"type": "Cast", "fields": ["Phone"]}))
    names = [each.class_name for each in ConnectorPlugins(tmp_path, env={}).all(connectors_only=False)]
    assert names.count("Cast") == 1
