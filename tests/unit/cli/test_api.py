"""`salmon api new-key`."""

from __future__ import annotations

import json

import yaml
from typer.testing import CliRunner

from salmon.api.keys import hash_of
from salmon.cli.main import app
from salmon.config.sections.api import ApiConfig
from salmon.errors import ConfigError


def test_a_new_key_comes_with_the_entry_for_the_file() -> None:
    """What is printed can be pasted, and only the hash of the key is in it."""
    answer = CliRunner().invoke(
        app, ["api", "new-key", "shop", "--scope", "Account:read", "--scope", "viewer"]
    )
    assert answer.exit_code == 0
    said, _, entry = answer.stdout.partition("The entry, for the file:\n")
    key = said.rpartition(": ")[2].strip()
    assert key not in entry
    found = ApiConfig.model_validate(yaml.safe_load(entry)["api"]).known_keys["shop"]
    assert (found.hash, found.scopes) == (hash_of(key), ("Account:read", "viewer"))


def test_two_keys_are_never_the_same() -> None:
    """As JSON, for scripts."""
    runner = CliRunner()
    said = [
        json.loads(runner.invoke(app, ["api", "new-key", "a", "--scope", "*:*", "--json"]).stdout)
        for _ in "ab"
    ]
    assert said[0]["key"] != said[1]["key"]


def test_a_scope_that_says_nothing_is_refused() -> None:
    """Before a key is made."""
    answer = CliRunner().invoke(app, ["api", "new-key", "a", "--scope", "Account"])
    assert isinstance(answer.exception, ConfigError)
    assert "OBJECT:VERB" in str(answer.exception)
