"""The page for those who come from Kafka Connect: its file and commands work, and its table has every key, and names no setting that is none."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from salmon.cli.main import app
from salmon.config.models import SyncConfig, settings
from support.connect_keys import keys_of_connect
from support.programs.pages import block

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "deploy" / "from-kafka-connect.md").read_text(encoding="utf-8")
SECTIONS: Final = dict(re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL))
# Settings that are one mapping, so that what is below them is the operator's.
OPEN: Final = {"objects", "events", "transforms", "kafka", "sides"}


def rows(section: str) -> Iterator[tuple[list[str], str]]:
    """The keys of each row, and what they are here."""
    for keys, here in re.findall(r"^\| (`.*?) \| (.*) \|$", SECTIONS[section], re.MULTILINE):
        yield re.findall(r"`([^`]+)`", keys), here


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the page, in the folder in which its commands are typed; its secrets are where a test may put them."""
    text = block(PAGE, "file: sync.yaml").replace("/run/secrets", str(tmp_path))
    (tmp_path / "sync.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mongodb.properties").write_text("uri=mongodb://localhost/?replicaSet=rs0\n")
    monkeypatch.chdir(tmp_path)
    for name, value in (("SF_ID", "id"), ("SF_SECRET", "secret")):
        monkeypatch.setenv(name, value)
    return tmp_path


def test_the_commands_of_the_page_show_what_it_says(folder: Path) -> None:
    """The file is valid, and the explanation is word for word."""
    (commands,) = re.findall(r"^```\n(salmon config validate.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    for line in commands.splitlines():
        done = CliRunner().invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
    assert done.output == block(PAGE, "output")
    assert folder.exists()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(salmon [^`]+)`", PAGE))))
def test_every_command_that_is_named_exists(command: str) -> None:
    """With its options."""
    found: Any = get_command(app)
    _, *words = shlex.split(command)
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    assert not (words and hasattr(found, "commands")), command
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize(("section", "key"), keys_of_connect())
def test_every_key_has_its_place_in_the_table(section: str, key: str) -> None:
    """In the section of who has it; MongoDB's sink shares some keys with its source."""
    patterns = [pattern for keys, _ in rows(section) for pattern in keys]
    assert any(fnmatchcase(key, pattern) for pattern in patterns), f"{key} is not in {section}"


@pytest.mark.parametrize("section", SECTIONS)
def test_what_a_key_is_here_is_a_setting_that_there_is(section: str) -> None:
    """A setting that is renamed is renamed on the page; what is no setting is no path of one."""
    known = {path for path, _ in settings()} | OPEN | {path.partition(".")[0] for path, _ in settings()}
    tops = {field.alias or name for name, field in SyncConfig.model_fields.items()}
    named = [
        name
        for _, here in rows(section)
        for name in re.findall(r"`([^`]+)`", here)
        if name.partition(".")[0] in tops
    ]
    assert named or section == "Sources and sinks"
    assert [name for name in named if name not in known] == []


def test_no_key_is_twice_in_a_section() -> None:
    """It would have two answers."""
    for section in SECTIONS:
        keys = [key for found, _ in rows(section) for key in found]
        assert sorted(set(keys)) == sorted(keys), section
