"""The page that lists the examples, and the configurations among them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from salmon.config.models import load

EXAMPLES: Final = Path(__file__).parents[3] / "deploy" / "examples"
# The end of a variable's name -> what its value looks like.
FORMS: Final = {"_URI": "mongodb://host", "_URL": "https://host", "_HASH": f"sha256:{'0' * 64}"}
SYNCS: Final = sorted(EXAMPLES.glob("*/sync.yaml"))


def test_every_example_is_listed() -> None:
    """Whoever opens the folder finds each, with a link."""
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    folders = [each.name for each in EXAMPLES.iterdir() if each.is_dir() and any(each.glob("*.*"))]
    assert len(folders) > 5
    assert [name for name in folders if f"]({name}/" not in index] == []


@pytest.mark.parametrize("sync", [str(each.relative_to(EXAMPLES)) for each in SYNCS])
def test_the_configuration_of_an_example_is_valid(sync: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With addresses from the environment."""
    for name in re.findall(r"\$\{env:(\w+)\}", (EXAMPLES / sync).read_text(encoding="utf-8")):
        monkeypatch.setenv(name, next((form for end, form in FORMS.items() if name.endswith(end)), "host:1"))
    assert load(EXAMPLES / sync).objects


def test_the_whole_examples_have_configurations() -> None:
    """Otherwise the test above would look at nothing."""
    assert len(SYNCS) >= 3
