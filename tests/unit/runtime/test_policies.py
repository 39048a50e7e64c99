"""Conflict policies by name: Salmon's own, and plugins as they are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from salmon.config import models as config
from salmon.errors import ConfigError
from salmon.merge.settings import rules_of
from salmon.model.policies import POLICIES
from salmon.runtime.policies import GROUP, known, policy_named
from support.at_hand.stories import SCHEMA, Story
from support.plugins import install, install_example
from support.sync_config import sync_config

LONG, SHORT = "+1 555 0101 (office)", "555 0202"


@pytest.fixture
def longest_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The documented example, installed."""
    install_example(monkeypatch, tmp_path, "longest-text")


def configured(folder: Path, conflicts: dict[str, Any]) -> config.SyncConfig:
    """A sync of Account with these settings of `conflicts`, as it is read from its file."""
    path = folder / "sync.yaml"
    account = {"collection": "accounts", "conflicts": conflicts}
    path.write_text(yaml.safe_dump(sync_config(objects={"Account": account})))
    return config.load(path)


def told(folder: Path, **conflicts: Any) -> Story:
    """A record in step, under the rules that a configuration gives, whose Phone both sides edit at once."""
    story = Story(rules_of(SCHEMA, configured(folder, conflicts).objects["Account"]))
    story.salesforce.row(Name="Acme", Phone="555 0000")
    story.come_to_rest()
    story.salesforce.edits(Phone=LONG, at=1_000)
    story.mongodb.edits(Phone=SHORT, at=2_000)
    return story


@pytest.mark.usefixtures("longest_text")
@pytest.mark.parametrize("conflicts", [{"default": "longest_text"}, {"fields": {"Phone": "longest_text"}}])
def test_an_installed_plugin_decides_for_an_object_or_a_field(
    tmp_path: Path, conflicts: dict[str, Any]
) -> None:
    """The example: the longer text wins, though the other edit is the later one, and the conflict names the plugin."""
    story = told(tmp_path, **conflicts)
    assert story.record == {"Name": "Acme", "Phone": LONG}
    assert [(c.policy, c.winner and c.winner.side) for c in story.conflicts] == [
        ("longest_text", "salesforce")
    ]
    story.come_to_rest()
    assert story.mongodb.holds["Phone"] == LONG


@pytest.mark.usefixtures("longest_text")
def test_the_example_leaves_life_and_death_to_a_person(tmp_path: Path) -> None:
    """A plugin may hold: nothing is deleted or brought back until somebody decides."""
    story = told(tmp_path, default="longest_text")
    story.come_to_rest()
    story.mongodb.edits(Phone="555 0303")
    story.salesforce.deletes()
    assert story.conflicts[-1].winner is None
    assert story.record is not None


@pytest.mark.parametrize("key", ["default", "fields"])
def test_a_policy_that_nobody_offers_is_refused_with_those_there_are(tmp_path: Path, key: str) -> None:
    """The error names the key, and every name that would do."""
    wrong: Any = "shortest_text" if key == "default" else {"Phone": "shortest_text"}
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, {key: wrong})
    said = str(refused.value)
    where = "objects.Account.conflicts." + ("default" if key == "default" else "fields.Phone")
    assert f"{where}: is text (str), but must be the name of a policy: " in said
    assert all(name in said for name in (*POLICIES, GROUP))


@pytest.mark.usefixtures("longest_text")
def test_an_installed_plugin_is_among_those_that_are_named() -> None:
    """Behind Salmon's own."""
    assert known() == (*POLICIES, "longest_text")


def test_a_plugin_cannot_take_the_name_of_one_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`hold` means the same everywhere."""
    install(monkeypatch, tmp_path, GROUP, hold="os:getcwd")
    assert policy_named("hold", "here") is POLICIES["hold"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_module:decide", "cannot be imported (ModuleNotFoundError)"),
        ("os:no_such_function", "cannot be imported (AttributeError)"),
        ("os:sep", "is a str, but must be a function that takes a contest"),
    ],
)
def test_a_plugin_that_cannot_be_used_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, said: str
) -> None:
    """Before anything is read: the key, the plugin and the mend in one sentence."""
    install(monkeypatch, tmp_path, GROUP, broken=value)
    with pytest.raises(ConfigError) as refused:
        policy_named("broken", "objects.Account.conflicts.default")
    assert str(refused.value).startswith("objects.Account.conflicts.default: the policy 'broken' (")
    assert said in str(refused.value)
