"""The commands of deploy/compose.yaml, each as a plain process: no engine runs here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from pymongo import MongoClient

from salmon.app.process import PARENT_VARIABLE
from salmon.kafka.topics import CONNECTORS
from salmon.ports import free_ports
from support.programs.compose import SYNC, argv, of_salmon, services
from support.programs.dockerfile import path_with
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]


def environment() -> dict[str, str]:
    """In which `salmon` and `python` are those of this clone."""
    return {**os.environ, "PATH": path_with(sys.executable), PARENT_VARIABLE: str(os.getpid())}


@contextmanager
def running(words: list[str], log: Path) -> Iterator[None]:
    """A service's command; it and what it has started is ended with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, stdout=output, stderr=output, env=environment(), start_new_session=True
        )
    try:
        yield
    finally:
        assert process.poll() is None, log.read_text()[-2000:]
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def here(text: str, places: Mapping[str, str]) -> str:
    """*text* with the addresses and folders of this machine in place of those of the containers."""
    for there, replacement in places.items():
        text = text.replace(there, replacement)
    return text


def is_well(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


def test_the_commands_make_a_sync_that_runs(embedded_stack: Stack, tmp_path: Path) -> None:
    """The org starts, the schemas are registered, the processes get ready, and MongoDB has the org's accounts."""
    ports = free_ports(3 + len(CONNECTORS))
    places = {
        "/var/lib/salmon": str(tmp_path),
        "/etc/salmon/sync.yaml": str(tmp_path / "sync.yaml"),
        "kafka:9092": embedded_stack.bootstrap_servers,
        "http://registry:8080/apis/ccompat/v7": embedded_stack.registry_url,
        "mongodb://mongodb:27017/?replicaSet=rs0": embedded_stack.mongodb_uri,
        "database: crm": "database: compose",
        "name: crm": "name: compose",
        "--records 500": "--records 20",
        **{there: str(port) for there, port in zip(("8443", "7443", "8070"), ports, strict=False)},
        **{str(8083 + number): str(port) for number, port in enumerate(ports[3:])},
    }
    (tmp_path / "sync.yaml").write_text(here(SYNC.read_text(), places))
    (tmp_path / "org").mkdir()
    commands = {name: [here(word, places) for word in argv(each)] for name, each in of_salmon().items()}
    with running(commands.pop("org"), tmp_path / "org.log"):
        told = tmp_path / "org" / "endpoints.properties"
        until(lambda: told.exists() and "org_id" in told.read_text(), "the org has said its addresses")
        probe = here(services()["org"]["healthcheck"]["test"][-1], places)
        assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
        registered = subprocess.run(
            commands.pop("schemas"), env=environment(), capture_output=True, check=False
        )
        assert registered.returncode == 0, registered.stderr
        with ExitStack() as started:
            for name, command in commands.items():
                started.enter_context(running(command, tmp_path / f"{name}.log"))
            for name, port in zip(CONNECTORS, ports[3:], strict=True):
                until(lambda port=port: is_well(port), f"{name} is ready", within_s=60)  # type: ignore[misc]
            client: MongoClient[dict[str, Any]] = MongoClient(embedded_stack.mongodb_uri)
            started.callback(client.close)
            accounts = client["compose"]["accounts"]
            until(lambda: accounts.count_documents({}) == 20, "MongoDB has the org's accounts", within_s=60)
        assert set(commands) == set(CONNECTORS)
        assert (tmp_path / "state").is_dir(), "merge's working copies"
