"""`salmon dlq`: what it prints, its exit codes, and the editor."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from salmon.cli import dlq
from salmon.errors import ConfigError, RequestRejected, SchemaMismatch
from salmon.kafka.codecs.serdes import Changes
from salmon.model.change import OPERATOR, Change, Op
from salmon.model.sides import OWN_ROSTER
from support.at_hand.dead_letters import Desk
from support.runtime import OBJECT


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk()
    monkeypatch.setattr("salmon.story.lookup.Lookup", lambda _: desk)
    monkeypatch.setattr(dlq, "configured", lambda _: SimpleNamespace(roster=OWN_ROSTER))
    return desk


def ran(*arguments: str) -> Any:
    return CliRunner().invoke(dlq.app, list(arguments))


def printed(*arguments: str) -> dict[str, Any]:
    """The JSON object of a command that has succeeded."""
    result = ran(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def own_edit(desk: Desk, name: str) -> None:
    """An operator's edit that merge could not fold."""
    codec = Changes(desk.schema(OBJECT), desk.registry, desk.topics.changes(OBJECT))
    edit = Change(OPERATOR, Op.EDIT, changed=frozenset({"Name"}), fields={"Name": name})
    desk.letter("merge", "a", codec.encode(edit), topic=codec.topic)


def editor(folder: Path, command: str) -> str:
    """An editor that changes the file by a command of the shell."""
    script = folder / "editor.sh"
    script.write_text(f'#!/bin/sh\n{command} "$1"\n')
    script.chmod(0o700)
    return str(script)


def test_the_list_says_what_failed_why_and_what_a_replay_does(desk: Desk) -> None:
    """One JSON object for scripts, a table for people, and neither has a value of the record."""
    desk.refused("a", 7, RequestRejected("a rule says no", code="RULE"), Name="secret")
    (letter,) = printed("list")["dead_letters"]
    assert (letter["id"], letter["object"], letter["key"], letter["code"], letter["replay"]) == (
        "salesforce-sink/0",
        OBJECT,
        "a",
        "RULE",
        "send",
    )
    shown = ran("list")
    assert "a rule says no" in shown.output
    assert "secret" not in shown.output
    assert ran("list", "--object", "Other").output == "No dead letters.\n"


def test_a_key_and_a_reason_that_look_like_markup_are_listed_as_they_are(desk: Desk) -> None:
    """Whoever names a record `[/b]` keeps no operator from reading the list."""
    desk.refused("[/b]", 7, RequestRejected("no [red] phone", code="RULE"))
    shown = ran("list")
    assert shown.exception is None
    assert "[/b]" in shown.output
    assert "no [red] phone" in shown.output


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (
            "salesforce refused write 7 of A k: RULE: Salesforce refused it for Fax",
            "Salesforce refused it for Fax",
        ),
        (f"s: RULE: no{' no' * 40}. Its own words: A phone needs a country.", "A phone needs a country."),
        (f"s: RULE: {'x' * 200}", "x" * 120 + " …"),
        ("It cannot be read.", "It cannot be read."),
    ],
)
def test_the_list_gives_the_reason_without_what_its_other_columns_have(reason: str, shown: str) -> None:
    """Its beginning names the record and the code again; what an admin of the org has written says most."""
    assert dlq._shortened(reason, "RULE") == shown


def test_a_letter_is_shown_with_its_fields_and_its_bytes_on_request(desk: Desk, tmp_path: Path) -> None:
    """The file is new, and only its owner may read it."""
    desk.refused("a", 7, Name="x")
    file = tmp_path / "letter"
    shown = printed("show", "salesforce-sink/0", "--bytes", str(file))
    assert shown["fields"] == {"Name": "x"}
    assert shown["headers"]["stage"] == "TASK_PUT"
    assert len(file.read_bytes()) == shown["bytes"]
    assert file.stat().st_mode & 0o077 == 0
    assert isinstance(ran("show", "salesforce-sink/0", "--bytes", str(file)).exception, ConfigError)


@pytest.mark.parametrize("value", [b"[" * 100_000, b"\xff", b""], ids=["deep", "no text", "empty"])
def test_a_letter_that_a_source_set_aside_is_shown_whatever_its_bytes_are(desk: Desk, value: bytes) -> None:
    """Nested too deep for Python, or no JSON at all."""
    desk.letter("mongodb-source", "doc", value)
    assert printed("show", "mongodb-source/0")["bytes"] == len(value)


def test_what_a_killed_edit_has_left_is_removed_by_the_next(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has values of a record (case X4)."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "salmon-dlq-edit-dead"
    left.mkdir()
    (left / "owner.lock").touch()
    (left / "fields.yaml").write_text("Name: secret\n")
    own_edit(desk, "wrong")
    monkeypatch.setenv("VISUAL", editor(tmp_path, "false"))
    assert isinstance(ran("edit", "merge/0").exception, ConfigError)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_replay_and_discard_do_nothing_before_it_is_said_for_which_letters(desk: Desk) -> None:
    """A slip of the hand replays no queue."""
    desk.refused("a", 7)
    for command in ("replay", "discard"):
        assert isinstance(ran(command).exception, ConfigError)
    assert printed("replay", "--all", "--dry-run")["replayed"] == 0
    assert desk.sync.changes() == []


def test_the_exit_code_says_whether_something_is_left(desk: Desk) -> None:
    """0: done, also the second time; 1: one of them cannot be replayed."""
    desk.refused("a", 7)
    assert printed("replay", "--all")["replayed"] == 1
    assert printed("replay", "--all") | {"letters": []} == {
        "letters": [],
        "replayed": 0,
        "left": 0,
        "before": 1,
        "more": False,
        "dry_run": False,
    }
    desk.letter("merge", b"\xff", b"x", topic=desk.topics.changes(OBJECT))
    assert ran("replay", "merge/0").exit_code == 1
    assert printed("discard", "merge/0")["discarded"] == 1


def test_fields_are_corrected_in_the_editor(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the editor leaves is checked and sent; no copy of the values stays behind."""
    own_edit(desk, "wrong")
    seen = tmp_path / "seen"
    command = f"cp \"$1\" {seen}; sed -i 's/^Name: wrong/Name: right/'"
    monkeypatch.setenv("EDITOR", editor(tmp_path, command))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "Merge gets" in printed("edit", "merge/0")["says"]
    assert "DataError: It cannot be read." in seen.read_text()
    assert [change.fields for _, change in desk.sync.changes()] == [{"Name": "right"}]
    assert isinstance(ran("edit", "merge/0").exception, ConfigError), "it was edited already"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("sed -i 's/^Name: .*/Name: [1]/'", SchemaMismatch),
        ("sed -i 's/^Name: .*/Nam: x/'", ConfigError),
        ("true", ConfigError),
        ("false", ConfigError),
    ],
    ids=["a list", "an unknown field", "nothing changed", "the editor fails"],
)
def test_nothing_is_sent_of_what_does_not_fit(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, error: type[Exception]
) -> None:
    """One sentence, and the letter waits as before."""
    own_edit(desk, "wrong")
    monkeypatch.setenv("VISUAL", editor(tmp_path, command))
    result = ran("edit", "merge/0")
    assert isinstance(result.exception, error)
    assert desk.sync.changes() == []
    assert len(printed("list")["dead_letters"]) == 1


def test_fields_come_from_a_file_where_there_is_no_person(desk: Desk, tmp_path: Path) -> None:
    """For scripts: no editor is opened."""
    own_edit(desk, "wrong")
    file = tmp_path / "fields.yaml"
    file.write_text("Name: right\n")
    printed("edit", "merge/0", "--fields", str(file))
    assert [change.fields for _, change in desk.sync.changes()] == [{"Name": "right"}]
