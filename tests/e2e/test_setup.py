"""Connecting an org, as the README tells it: doctor, setup --dry-run, setup, doctor, and setup once more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from salmon.cli.main import main
from salmon.devstack import sync_file
from support.orgs.salesforce_box import BoxProcess
from support.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]

OBJECTS = ("Account", "Contact")
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    """An org without any of our fields, and without change events."""
    folder = tmp_path_factory.mktemp("bare-org")
    options = ("--no-marker-fields", "--no-change-events", "--objects", ",".join(OBJECTS))
    with BoxProcess(folder, *options) as box:
        yield box


@pytest.fixture(scope="module")
def config(box: BoxProcess, embedded_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bare") / "sync.yaml"
    sync_file.write(
        file,
        name="bare",
        bootstrap_servers=embedded_stack.bootstrap_servers,
        registry_url=embedded_stack.registry_url,
        mongodb={"uri": embedded_stack.mongodb_uri, "database": "bare"},
        salesforce=box.told,
        objects=OBJECTS,
    )
    return file


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        return answer


Salmon = Callable[..., Ended]


@pytest.fixture
def salmon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Salmon:
    """Types a command, in this process: starting one takes longer than what it does."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["salmon", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    return run


def test_a_bare_org_is_connected_with_two_commands(config: Path, salmon: Salmon) -> None:
    """What the doctor finds missing, setup makes; then the doctor has nothing to mend, and setup nothing to make."""
    first = salmon("doctor", "-c", config, "--json")
    assert (first.code, first.err) == (1, "")
    failed = {line["name"]: line for line in first.told["checks"] if line["outcome"] == "fail"}
    assert set(failed) == {
        f"objects.{name}.{part}" for name in OBJECTS for part in ("markers", "change_events")
    }
    assert all("salmon setup" in line["mend"] for line in failed.values())

    dry = salmon("setup", "-c", config, "--dry-run")
    assert (dry.code, dry.err) == (1, ""), "as the doctor's: something is missing"
    assert "would make  Would make the field Account.Salmon_Id__c" in dry.out
    assert dry.out.rstrip().endswith("Nothing was changed: this was a dry run.")

    command = [sys.executable, "-m", "salmon", "setup", "-c", str(config), "--json"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (made.returncode, made.stderr) == (0, "")
    told = json.loads(made.stdout)
    assert (told["complete"], told["made"]) == (True, 12)
    assert dry.out.count("Would make") == 12

    second = salmon("doctor", "-c", config)
    assert (second.code, second.err) == (0, "")
    assert "0 fail." in second.out
    assert "ok    Kafka: topics: 0 of" in second.out
    assert "ok    MongoDB: reachable: MongoDB " in second.out

    dry = salmon("setup", "-c", config, "--dry-run")
    assert (dry.code, dry.out.rstrip().splitlines()[-1]) == (0, "Nothing was to be done.")
    again = salmon("setup", "-c", config)
    assert (again.code, again.err) == (0, "")
    assert again.out.rstrip().endswith("Nothing was to be done.")
    assert "made " not in again.out


def test_the_readme_rehearses_what_is_tested_here() -> None:
    """The same commands in the same order, on an org that is as bare."""
    block = README.read_text(encoding="utf-8").partition("You can rehearse")[2].split("```")[1]
    commands = [line.replace(" -c rehearsal/sync.yaml", "") for line in block.strip().splitlines()]
    assert commands == [
        "salmon dev up --dir rehearsal --bare-org",
        "salmon doctor",
        "salmon setup --dry-run",
        "salmon setup",
        "salmon doctor",
        "salmon dev down --purge --dir rehearsal",
    ]


def test_a_configuration_that_cannot_be_used_is_told_and_nothing_is_looked_at(
    tmp_path: Path, salmon: Salmon
) -> None:
    """Exit code 2 and a sentence, by both commands; also where the file with an administrator's session is missing."""
    file = tmp_path / "sync.yaml"
    file.write_text("name: crm\n")
    for command in (("doctor",), ("setup",), ("setup", "--admin-token-file", tmp_path / "none")):
        ended = salmon(*command, "-c", file)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("salmon: ")


def test_an_org_that_cannot_be_reached_fails_the_doctor_and_stops_setup(
    config: Path, tmp_path: Path, salmon: Salmon
) -> None:
    """The doctor looks at all the rest; setup says in a sentence why it could do nothing."""
    file = tmp_path / "sync.yaml"
    login = next(line for line in config.read_text().splitlines() if "login_url" in line)
    file.write_text(config.read_text().replace(login, "  login_url: https://127.0.0.1:9"))
    looked = salmon("doctor", "-c", file, "--json")
    assert looked.code == 1
    outcomes = {line["name"]: line["outcome"] for line in looked.told["checks"]}
    assert outcomes["salesforce.sign_in"] == "fail"
    assert outcomes["kafka.topics"] == outcomes["registry.reachable"] == outcomes["mongodb.reachable"] == "ok"
    ended = salmon("setup", "-c", file)
    assert (ended.code, ended.out) == (2, "")
    assert "salesforce.login_url" in ended.err
