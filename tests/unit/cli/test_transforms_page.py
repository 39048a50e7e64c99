"""The page about transforms: its file is valid, and its command shows what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from salmon.cli.main import app
from salmon.config.models import load
from salmon.errors import ConfigError
from salmon.transforms.connect import TAKES
from support.plugins import install_example
from support.programs.pages import block

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "deploy" / "transforms.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page, in the folder in which its commands are typed."""
    for name in ("sync.yaml", "ann.json"):
        (tmp_path / name).write_text(block(PAGE, f"file: {name}"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, value in (("SF_ID", "id"), ("SF_SECRET", "secret"), ("MONGODB_URI", "mongodb://localhost")):
        monkeypatch.setenv(name, value)
    return tmp_path


def test_the_flow_has_ten_lines_and_is_valid(folder: Path) -> None:
    """Whoever copies it has a sync."""
    assert len((folder / "sync.yaml").read_text().splitlines()) == 10
    done = CliRunner().invoke(app, ["config", "validate", "-c", "sync.yaml"])
    assert done.exit_code == 0, done.output


def test_the_command_shows_what_the_page_says(folder: Path) -> None:
    """Word for word."""
    command = re.search(r"^salmon (flow test .*)$", PAGE, re.MULTILINE)
    assert command is not None
    done = CliRunner().invoke(app, command[1].split())
    assert done.exit_code == 0, done.output
    assert done.output == block(PAGE, "output")
    assert folder.exists()


def test_the_page_names_every_transform() -> None:
    """Those that there are, and nothing that there is not."""
    assert set(re.findall(r"^\| `(\w+)(?:\$Value)?` \| `", PAGE, re.MULTILINE)) == set(TAKES)


def test_the_plugins_of_the_page_are_a_valid_flow(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the example installed; without it, the error says what there is."""
    own = yaml.safe_load(block(PAGE, "file: phone.yaml"))
    sync = yaml.safe_load((folder / "sync.yaml").read_text())
    (folder / "sync.yaml").write_text(yaml.safe_dump({**sync, **own}))
    with pytest.raises(ConfigError, match="is not a transform that is known here"):
        load(folder / "sync.yaml")
    (tmp_path / "plugins").mkdir()
    install_example(monkeypatch, tmp_path / "plugins", "phone-transform")
    assert len(load(folder / "sync.yaml").objects["Contact"].transforms) == 3
