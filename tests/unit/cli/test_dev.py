"""`salmon dev up` says to people what its servers cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from salmon.cli.dev import app
from salmon.devstack.simulator_process import Org, SimulatorProcess
from salmon.devstack.stack import DevStack
from salmon.errors import ConfigError

ANSWER = {
    "config": "sync.yaml",
    "kafka": {"bootstrap_servers": "here"},
    "schema_registry": {"url": "here"},
    "mongodb": {"uri": "here", "database": "crm"},
    "salesforce": {"instance_url": "here", "username": "me", "control_url": "here", "ca_file": "ca.pem"},
}


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ([], "Kafka keeps its records in memory until `dev down`"),
        ([], "does not end the\ntransaction of a process that died"),
        (["--jvm"], "Apicurio keeps the schemas in memory"),
        ([], "The org keeps its records in memory"),
        (["--jvm"], "The org keeps its records in memory"),
    ],
)
def test_which_servers_must_not_be_killed_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: list[str], says: str
) -> None:
    """Whoever tries outages should know it; scripts are told nothing but the addresses."""
    monkeypatch.setattr(DevStack, "up", lambda _self: ANSWER)
    told = CliRunner().invoke(app, ["up", "--dir", str(tmp_path), *option])
    assert says in told.stdout
    scripted = CliRunner().invoke(app, ["up", "--dir", str(tmp_path), "--json", *option])
    assert "memory" not in scripted.stdout


def test_a_shell_is_told_the_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing but commands on standard output; one form of the answer at a time."""
    monkeypatch.setattr(DevStack, "up", lambda _self: ANSWER)
    told = CliRunner().invoke(app, ["up", "--dir", str(tmp_path), "--env"])
    assert "export SALESFORCE_USERNAME=me" in told.stdout.splitlines()
    assert all(line.startswith("export ") for line in told.stdout.splitlines())
    both = CliRunner().invoke(app, ["up", "--dir", str(tmp_path), "--env", "--json"])
    assert isinstance(both.exception, ConfigError)
    assert "--json and --env" in str(both.exception)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--records", "Lead=3"], "--records names Lead"),
        (["--objects", "Lead"], "--objects: Lead has no describe file"),
        (["--describe", "nowhere"], "is not a folder"),
        (["--records", "Account"], "is not OBJECT=COUNT"),
    ],
)
def test_a_wrong_option_leaves_no_folder(tmp_path: Path, option: list[str], says: str) -> None:
    """It is found before anything is made."""
    ended = CliRunner().invoke(app, ["up", "--dir", str(tmp_path / "dev"), *option])
    assert isinstance(ended.exception, ConfigError)
    assert says in str(ended.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_bare_org_is_as_it_was_before_salmon_came(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without its fields and without change events; what comes next is the doctor."""
    started: list[Org] = []

    def up(stack: DevStack) -> Mapping[str, object]:
        started.append(stack._org())
        return ANSWER

    monkeypatch.setattr(DevStack, "up", up)
    told = CliRunner().invoke(app, ["up", "--dir", str(tmp_path), "--bare-org"])
    assert "doctor -c sync.yaml" in told.stdout
    assert CliRunner().invoke(app, ["up", "--dir", str(tmp_path)]).stdout.count("run all -c") == 1
    command = [SimulatorProcess(tmp_path, tmp_path, org)._command() for org in started]
    assert not any("--person-accounts" in each for each in command)
    assert [{"--no-marker-fields", "--no-change-events"} <= set(each) for each in command] == [True, False]


def test_accounts_may_be_persons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the describe files are of an org that has none."""
    started: list[Org] = []

    def up(stack: DevStack) -> Mapping[str, object]:
        started.append(stack._org())
        return ANSWER

    monkeypatch.setattr(DevStack, "up", up)
    CliRunner().invoke(app, ["up", "--dir", str(tmp_path), "--person-accounts"])
    (org,) = started
    assert "--person-accounts" in SimulatorProcess(tmp_path, tmp_path, org)._command()
