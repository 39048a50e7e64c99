"""`salmon run NAME`: what ends a process, and its exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from salmon.errors import Fenced, SchemaOutdated, SetupError
from salmon.runtime.lifecycle import Lifecycle
from salmon.runtime.run import EXIT_FATAL, EXIT_FENCED, EXIT_OK, EXIT_UNEXPECTED, _Process, run, told


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


CONFIG = """
name: crm
kafka: {bootstrap.servers: localhost:9092}
schema_registry: {url: http://localhost:8081}
salesforce:
  login_url: https://login.salesforce.com
  auth: {flow: client_credentials, client_id: app, client_secret: secret}
mongodb: {uri: mongodb://localhost, database: crm}
objects: {Account: {collection: accounts}}
"""


class Become(Exception):
    """What this process would have become."""


@pytest.fixture
def outdated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a process that finds out at once that a schema has changed; it has the signals for itself."""

    def finds_out(*_: object) -> None:
        raise SchemaOutdated("Account: its schema has changed.")

    def become(*command: object) -> None:
        raise Become(*command, os.environ["SALMON_BEGUN_ANEW"])

    monkeypatch.setattr(_Process, "part", finds_out)
    monkeypatch.setattr(Lifecycle, "install", lambda _: None)
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setenv("SALMON_BEGUN_ANEW", "2")
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    return path


def test_a_process_whose_schema_has_changed_becomes_the_one_that_its_command_starts_now(
    outdated: Path,
) -> None:
    """With the arguments of its own start; and it knows how often in a row, so that it does not turn in circles."""
    with pytest.raises(Become) as become:
        run("merge", outdated, port=0)
    program, arguments, tries = become.value.args
    assert (program, arguments) == (sys.executable, [sys.executable, *sys.orig_argv[1:]])
    assert tries == "3"


def test_a_process_that_is_told_to_stop_does_not_begin_anew(
    outdated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not know of the signal any more."""
    monkeypatch.setattr(Lifecycle, "is_signalled", True)
    assert run("merge", outdated, port=0) == EXIT_OK
