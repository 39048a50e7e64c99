"""Commands that cannot do what they are asked for: one sentence that names the key and the mend, and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from salmon.app.process import PARENT_VARIABLE
from salmon.devstack import mongod
from salmon.devstack.processes import HOST, Background, accepts
from salmon.kafka import clients
from salmon.kafka.topics import CONNECTORS
from salmon.ports import free_ports
from salmon.simulator.tls import make_certificates
from support.fresh import fresh
from support.ring import Ring, running_ring
from support.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]

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


def typed(config: Config, folder: Path, *command: str) -> subprocess.Popen[str]:
    """A command that runs with this configuration."""
    folder.mkdir(exist_ok=True)
    path = folder / "sync.yaml"
    path.write_text(yaml.safe_dump(config))
    arguments = [sys.executable, "-m", "salmon", *command, "-c", str(path)]
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
    )


def sentence_of(process: subprocess.Popen[str], *, shows: str = "") -> str:
    """The one sentence that a command ends with, and exit code 2. *shows*: what it may begin to print before."""
    try:
        shown, told = process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
    assert process.returncode == 2, told
    assert "Traceback" not in told
    assert shown[: len(shows)] == shows if shows else shown == ""
    sentences = [line for line in told.splitlines() if line.startswith("salmon: ")]
    assert len(sentences) == 1, told
    return sentences[0]


def said_by(config: Config, folder: Path, *command: str) -> str:
    """Type a command, and take the sentence that it ends with."""
    # status shows the processes, too: they still work with what they read before.
    return sentence_of(typed(config, folder, *command), shows="process" if command == ("status",) else "")


# What the configuration itself gets wrong.


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


def test_verify_that_cannot_reach_kafka_could_not_tell(config: Config, tmp_path: Path) -> None:
    """Exit code 2 is neither equal nor different."""
    config["kafka"]["bootstrap.servers"] = f"{HOST}:{free_ports(1)[0]}"
    assert "kafka.bootstrap.servers" in said_by(config, tmp_path, "verify")


def test_status_that_cannot_reach_kafka_shows_the_processes_first(config: Config, tmp_path: Path) -> None:
    """What each says of itself is known all the same; exit code 2 is neither healthy nor not (case S6)."""
    config["kafka"]["bootstrap.servers"] = f"{HOST}:{free_ports(1)[0]}"
    process = typed(config, tmp_path, "status")
    shown, told = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, told.count("\n")) == (2, 1)
    assert "kafka.bootstrap.servers" in told
    for connector in CONNECTORS:
        assert connector in shown


def test_verify_of_a_sync_that_never_ran_says_who_has_to_run(config: Config, tmp_path: Path) -> None:
    """Nothing is agreed on yet, which is not the same as different."""
    assert "salmon run all" in said_by(config, tmp_path, "verify")


def test_one_connector_that_cannot_go_on_ends_run_all(config: Config, tmp_path: Path) -> None:
    """The others could not do their work without it; the one sentence is that connector's."""
    config["objects"]["Fish__c"] = {"collection": "fish"}
    assert "objects.Fish__c" in said_by(config, tmp_path, "run", "all", *RUN)


# What cannot be reached, before anything has run: it is more likely a mistake than an outage.


def nowhere() -> str:
    """An address that nobody listens on."""
    return f"{HOST}:{free_ports(1)[0]}"


def test_a_server_that_does_not_answer_at_the_start_is_named_by_its_key(
    ring: Ring, config: Config, tmp_path: Path
) -> None:
    """Each of the four; they are given half a minute, so all are tried at once."""
    wrong: dict[str, tuple[str, Config]] = {
        "kafka.bootstrap.servers": ("merge", {"kafka": {"bootstrap.servers": nowhere()}}),
        "schema_registry.url": ("merge", {"schema_registry": {"url": f"http://{nowhere()}"}}),
        "mongodb.uri": (
            "mongodb-source",
            {"mongodb": {"uri": f"mongodb://{nowhere()}/?serverSelectionTimeoutMS=1000", "database": "x"}},
        ),
        "salesforce.login_url": (
            "salesforce-source",
            {"salesforce": {**config["salesforce"], "login_url": f"https://{nowhere()}"}},
        ),
    }
    running = {
        key: typed({**config, "name": fresh("wrong"), **change}, tmp_path / key, "run", connector, *RUN)
        for key, (connector, change) in wrong.items()
    }
    for key, process in running.items():
        assert key in sentence_of(process)


# What is there, but not as it must be.


def test_a_topic_that_would_lose_data_is_refused(config: Config, tmp_path: Path) -> None:
    """Merge's memory, in a topic that forgets what is old."""
    topic = f"{config['name']}.state.Account"
    new = NewTopic(topic, config["topics"]["partitions"], 1, config={"cleanup.policy": "delete"})
    admin = clients.admin(config["kafka"])
    admin.create_topics([new])[topic].result(30)
    sentence = said_by(config, tmp_path, "run", "merge", *RUN)
    for part in (topic, "cleanup.policy", "delete", "compact"):
        assert part in sentence


def test_a_mongodb_that_is_no_replica_set_is_refused(config: Config, tmp_path: Path) -> None:
    """It has no change streams."""
    (port,) = free_ports(1)
    (tmp_path / "data").mkdir()
    server = Background("mongod", tmp_path / "mongod.log")
    server.start(
        [mongod.binary(), "--dbpath", tmp_path / "data", "--port", str(port), "--bind_ip", HOST],
        serves=lambda: accepts(port),
        within_s=60,
    )
    try:
        config["mongodb"]["uri"] = f"mongodb://{HOST}:{port}/"
        sentence = said_by(config, tmp_path, "run", "mongodb-source", *RUN)
    finally:
        server.stop()
    assert "mongodb.uri" in sentence
    assert "replica set" in sentence


def test_a_certificate_that_does_not_verify_is_refused(config: Config, tmp_path: Path) -> None:
    """The authority's file is another one's: for a connector, and for a command."""
    config["salesforce"]["ca_file"] = str(make_certificates(tmp_path / "other").ca_file)
    sentence = said_by(config, tmp_path, "run", "salesforce-source", *RUN)
    assert "salesforce.ca_file" in sentence
    assert "does not verify" in sentence


def test_a_wrong_path_to_the_registry_is_told_and_not_waited_for(config: Config, tmp_path: Path) -> None:
    """Its 404 looks like a subject that nobody has registered yet, and is none (case S10)."""
    config["schema_registry"]["url"] += "/wrong"
    told = sentence_of(typed(config, tmp_path, "run", "merge", *RUN))
    assert "answers 404" in told
    assert "Set schema_registry.url to the root of Confluent's REST API." in told
