"""`salmon run NAME`: what ends a process, and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from salmon.errors import Fenced, SetupError
from salmon.runtime.run import EXIT_FATAL, EXIT_FENCED, EXIT_UNEXPECTED, run, told


def test_a_config_that_cannot_be_used_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and the sentence names the file."""
    assert run("merge", tmp_path / "none.yaml") == EXIT_FATAL
    said = capsys.readouterr().err
    assert said.startswith("salmon: ")
    assert "none.yaml" in said
    assert "Traceback" not in said


def test_a_connector_that_does_not_exist_is_told_with_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A slip of the pen."""
    assert run("mongo-sink", "sync.yaml") == EXIT_FATAL
    assert "mongodb-sink" in capsys.readouterr().err


def test_each_end_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """2 for what a person mends, 3 for a newer instance, 1 for the rest."""
    assert told(SetupError("no such object. Correct the name.")) == EXIT_FATAL
    assert told(Fenced("a newer instance has taken over.")) == EXIT_FENCED
    assert told(ValueError("odd")) == EXIT_UNEXPECTED
    assert told(TimeoutError("late")) == EXIT_UNEXPECTED
