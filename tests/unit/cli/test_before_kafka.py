"""What can be refused without a server is refused before one is asked: at once, and also while Kafka is away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from salmon.cli import main
from salmon.kafka import clients

CONFIG = """
name: crm
kafka: {bootstrap.servers: "127.0.0.1:1"}
schema_registry: {url: "http://127.0.0.1:1"}
salesforce:
  login_url: https://login.salesforce.com
  auth: {flow: client_credentials, client_id: app, client_secret: hunter22}
mongodb: {uri: "mongodb://127.0.0.1:1", database: crm}
objects: {Account: {collection: accounts}}
"""


class Asked(Exception):
    """Kafka was asked."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sync whose Kafka must not be asked."""

    def connect(*_: Any, **__: Any) -> None:
        raise Asked

    monkeypatch.setattr(clients, "connect", connect)
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def typed(monkeypatch: pytest.MonkeyPatch, config: Path, *arguments: str) -> int:
    """Type a command; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["salmon", *arguments, "-c", str(config)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["retry", "--object", "Nope"], "--object Nope: this object is not in the configuration."),
        (["retry", "--key", "001"], "--key needs --object"),
        (["retry", "--since", "2999-01-01"], "--since: '2999-01-01' is not in the past"),
        (["retry", "--since", "0h"], "--since: '0h' is not in the past"),
        (["retry", "--code", ""], "--code: it is empty."),
        (["retry", "--field", " "], "--field: it is empty."),
        (["retry", "--object", "Account", "--key", ""], "--key: it is empty."),
        (["why", "Nope", "001"], "Nope: this object is not in the configuration."),
        (["conflicts", "list", "--object", "Nope"], "--object Nope: this object is not in"),
        (["conflicts", "list", "--since", "0s"], "--since: '0s' is not in the past"),
        (["conflicts", "list", "--key", ""], "--key: it is empty."),
        (["conflicts", "show", "yesterday"], "yesterday: not the id of a conflict."),
        (["conflicts", "show", "Nope", "001"], "Nope: this object is not in the configuration."),
        (["conflicts", "resolve", "Nope", "001", "Site", "--take", "x"], "Nope: this object is not in"),
        (
            ["conflicts", "resolve", "--held", "--object", "Nope", "--take", "x"],
            "--object Nope: this object is not in",
        ),
        (
            ["conflicts", "resolve", "--held", "--field", "", "--take", "x"],
            "--field: it is empty.",
        ),
        (["snapshot", "--object", "Nope"], "--object Nope: this object is not in the configuration."),
        (["snapshot", "--side", "oracle"], "--side oracle: there is no such side."),
        (["snapshot", "--where", "Name = 'x'"], "it needs --object"),
        (["snapshot", "--object", "Account", "--where", ""], "--where: it is empty."),
        (["dlq", "list", "--connector", "nobody"], "--connector nobody: choose one of"),
        (["dlq", "list", "--since", "2999-01-01"], "is not in the past"),
        (["dlq", "list", "--code", ""], "--code: it is empty."),
        (["dlq", "show", "nobody/1"], "nobody/1: not the id of a dead letter."),
        (["dlq", "replay", "merge/x"], "merge/x: not the id of a dead letter."),
        (["dlq", "discard", "--connector", "nobody"], "--connector nobody: choose one of"),
        (["dlq", "edit", "nobody/1", "--fields", __file__], "nobody/1: not the id of a dead letter."),
        (["dlq", "edit", "merge/1", "--fields", "/no/such/file"], "/no/such/file: cannot be read"),
        (["dlq", "edit", "merge/1"], "No editor is known"),
        (["guard", "list", "--object", "Nope"], "Nope is not in the configuration."),
        (["guard", "list", "--side", "oracle"], "'oracle' is not a side."),
        (["verify", "--object", "Nope"], "--object Nope: this object is not in the configuration."),
        (["verify", "--keys", " "], "--keys"),
        (["match", "--waive", "--object", "Account"], "objects: none has `match`."),
    ],
)
def test_bad_input_is_refused_before_kafka_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    arguments: list[str],
    says: str,
) -> None:
    """One sentence that names the option, and exit code 2; nothing is printed and nobody waits for a broker."""
    assert typed(monkeypatch, config, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry", "--object", "Account", "--since", "1s"],
        ["why", "Account", ""],
        ["conflicts", "show", "0/17"],
        ["snapshot", "--object", "Account"],
        ["dlq", "show", "merge/17"],
    ],
)
def test_what_may_be_right_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    arguments: list[str],
) -> None:
    """Kafka is asked; also about a document whose _id is an empty text, which `why` explains."""
    typed(monkeypatch, config, *arguments)
    assert "unexpected error: Asked" in capsys.readouterr().err
