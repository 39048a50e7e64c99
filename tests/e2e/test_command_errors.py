"""Commands that cannot do what they are asked for: one sentence that names the key and the mend, and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from salmon.devstack.processes import HOST, free_ports
from support.fresh import fresh
from support.ring import Ring, running_ring
from support.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

WITHIN_S: Final = 90
RUN: Final = ("--port", "0", "--log-format", "json")
Config = dict[str, Any]


@pytest.fixture(scope="module")
def ring(embedded_stack: Stack) -> Iterator[Ring]:
    """Servers and an org; no connector runs."""
    with running_ring(embedded_stack, "command_errors", records={}) as ring:
        yield ring


@pytest.fixture
def config(ring: Ring) -> Config:
    """A configuration that is right, and of a sync that nobody ever started."""
    said: Config = yaml.safe_load(ring.config_path.read_text())
    said["name"] = fresh("wrong")
    return said


def said_by(config: Config, folder: Path, *command: str) -> str:
    """The one sentence that a command ends with."""
    path = folder / "sync.yaml"
    path.write_text(yaml.safe_dump(config))
    ended = subprocess.run(
        [sys.executable, "-m", "salmon.cli.main", *command, "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    sentences = [line for line in ended.stderr.splitlines() if line.startswith("salmon: ")]
    assert len(sentences) == 1, ended.stderr
    return sentences[0]


@pytest.mark.parametrize("command", [("verify",), ("status",), ("run", "merge", *RUN), ("run", "all", *RUN)])
def test_a_key_that_does_not_exist_is_named_by_every_command(
    config: Config, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """A typo in a block of an object."""
    config["objects"]["Account"]["colection"] = "accounts"
    assert "objects.Account.colection" in said_by(config, tmp_path, *command)


def test_a_value_of_the_wrong_type_is_named_without_the_value(config: Config, tmp_path: Path) -> None:
    """Its key, its type, and what would be right."""
    config["topics"]["partitions"] = "a secret number"
    sentence = said_by(config, tmp_path, "verify")
    assert "topics.partitions" in sentence
    assert "secret number" not in sentence


@pytest.mark.parametrize("command", ["verify", "status"])
def test_commands_that_cannot_reach_kafka_could_not_tell(
    config: Config, tmp_path: Path, command: str
) -> None:
    """Exit code 2 is neither equal nor different, neither healthy nor not."""
    config["kafka"]["bootstrap.servers"] = f"{HOST}:{free_ports(1)[0]}"
    assert "kafka.bootstrap.servers" in said_by(config, tmp_path, command)


def test_verify_of_a_sync_that_never_ran_says_who_has_to_run(config: Config, tmp_path: Path) -> None:
    """Nothing is agreed on yet, which is not the same as different."""
    assert "salmon run all" in said_by(config, tmp_path, "verify")


def test_one_connector_that_cannot_go_on_ends_run_all(config: Config, tmp_path: Path) -> None:
    """The others could not do their work without it; the one sentence is that connector's."""
    config["objects"]["Fish__c"] = {"collection": "fish"}
    assert "objects.Fish__c" in said_by(config, tmp_path, "run", "all", *RUN)
