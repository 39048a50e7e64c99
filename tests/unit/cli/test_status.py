"""`salmon status` where Kafka is away: the processes' table comes all the same, and first."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from salmon.cli.status import show, status
from salmon.errors import ConfigError, Unavailable
from salmon.kafka.topics import CONNECTORS
from salmon.plugin.contract import WaitingObject
from salmon.ports import free_ports
from salmon.status import overview
from salmon.status.counting import NONE
from salmon.status.overview import Overview
from support.at_hand.connect_rest import Worker, running

CONFIG = """
name: crm
kafka: {{bootstrap.servers: "127.0.0.1:{port}"}}
schema_registry: {{url: "http://127.0.0.1:{port}"}}
salesforce:
  login_url: https://login.salesforce.com
  auth: {{flow: client_credentials, client_id: app, client_secret: hunter22}}
mongodb: {{uri: "mongodb://127.0.0.1:{port}", database: crm}}
objects: {{Account: {{collection: accounts}}}}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sync of which nothing runs."""
    monkeypatch.setattr(overview, "_CONNECT_S", 0.2)
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG.format(port=free_ports(1)[0]), encoding="utf-8")
    ports = {name: {"url": f"http://127.0.0.1:{free_ports(1)[0]}"} for name in CONNECTORS}
    (tmp_path / "ports.json").write_text(json.dumps(ports), encoding="utf-8")
    return path


def test_the_processes_are_shown_though_kafka_is_away(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table, each process with what is known; then the sentence about Kafka (case S6)."""
    with pytest.raises(Unavailable, match="no Kafka broker answers"):
        status(config)
    shown = capsys.readouterr().out
    for name in CONNECTORS:
        assert f"{name} " in shown
    assert shown.count(" down ") == len(CONNECTORS)


def test_scripts_get_the_processes_though_kafka_is_away(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON object, with the trouble in it (case S6)."""
    with pytest.raises(Unavailable):
        status(config, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["healthy"], told["objects"]) == (False, {})
    assert "no Kafka broker answers" in told["trouble"]
    assert {each["status"] for each in told["processes"].values()} == {"down"}


def test_what_status_waits_for_has_a_bound(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that hangs in spite of its own time-out holds up nobody for ever (case S6)."""
    monkeypatch.setattr(overview, "_CONNECT_MARGIN_S", 0.1)
    monkeypatch.setattr(overview.Look, "_connect", lambda _: None)
    with pytest.raises(Unavailable, match="no Kafka broker has answered"):
        status(config)


@pytest.mark.parametrize("fault", ["nonsense: 1\n", "objects: [\n"])
def test_the_processes_are_shown_though_the_file_has_a_fault(
    config: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    """They still work with what they read before, and what each says of the file is just what a person looks for."""
    worker = Worker("merge")
    worker.health.running()
    sentence = "The configuration was read again, and cannot be used."
    worker.health.objects_wait([WaitingObject("configuration", 0.0, sentence)], of="configuration")
    with running(worker):
        (config.parent / "ports.json").write_text(
            json.dumps({"merge": {"url": worker.url}}), encoding="utf-8"
        )
        config.write_text(config.read_text(encoding="utf-8") + fault, encoding="utf-8")
        with pytest.raises(ConfigError):
            status(config)
        assert sentence in capsys.readouterr().out
        with pytest.raises(ConfigError):
            status(config, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["healthy"], told["processes"]["merge"]["degraded"]) == (False, True)
    assert told["trouble"]


def test_a_topic_that_was_made_again_is_named() -> None:
    """Kafka is another one than the one that merge has read: its records must be read again, so a person should know."""
    output = Console(file=StringIO(), width=300)
    show(Overview((), (), NONE, {}, {}, made_again=("crm.changes.Account",)), output)
    assert isinstance(output.file, StringIO)
    assert "Topic crm.changes.Account is not the one that merge has read so far" in output.file.getvalue()
