"""Typing in a page: what is not as the page says is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.programs.pages import steps, type_in


def page(folder: Path, *blocks: tuple[str, str]) -> Path:
    file = folder / "page.md"
    file.write_text("".join(f"Words.\n\n```{language}\n{text}\n```\n\n" for language, text in blocks))
    return file


def test_an_output_belongs_to_the_commands_before_it(tmp_path: Path) -> None:
    """Blocks in other languages are no commands."""
    told = page(tmp_path, ("sh", "a"), ("sql", "b"), ("sh", "c"), ("text", "d")).read_text()
    assert [(step.commands, step.shown) for step in steps(told)] == [("a\n", None), ("c\n", "d\n")]


def test_a_page_that_is_right_passes(tmp_path: Path) -> None:
    """One shell runs all blocks, so what one has set the next one knows; `...` is anything."""
    told = page(tmp_path, ("sh", "x=5"), ("sh", 'echo "it took $x s"'), ("text", "it took ... s"))
    (tmp_path / "here").mkdir()
    type_in(told, tmp_path / "here", {}, within_s=20)


@pytest.mark.parametrize(
    ("commands", "says"),
    [("echo no", "but printed\nno"), ("false | true", "ended with 1"), ("sleep 60", "did not end within")],
)
def test_a_page_that_is_wrong_is_seen(tmp_path: Path, commands: str, says: str) -> None:
    """Another output, a command that fails, one that does not end."""
    told = page(tmp_path, ("sh", commands), ("text", "yes"))
    (tmp_path / "here").mkdir()
    with pytest.raises(AssertionError, match=says):
        type_in(told, tmp_path / "here", {}, within_s=2)
