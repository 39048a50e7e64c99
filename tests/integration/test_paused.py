"""A pause on a real process: it survives a kill, and ends when somebody resumes."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from salmon import ports
from salmon.runtime.program import command
from support import kafka as servers
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("paused")]
MERGE = "/connectors/merge"


class Merge:
    """`salmon run merge`, which waits for schemas that nobody registers; its own port, and the state that it shows."""

    def __init__(self, config: Path) -> None:
        [self.port] = ports.free_ports(1)
        self._command = command("run", "merge", "-c", str(config), "--port", str(self.port))

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(self._command)
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)

    def ask(self, method: str, path: str) -> requests.Response:
        return requests.request(method, f"http://127.0.0.1:{self.port}{path}", timeout=5)

    def says(self, path: str) -> Any:
        try:
            return self.ask("GET", path).json()
        except requests.RequestException:
            return {}

    def is_in(self, state: str) -> None:
        until(
            lambda: self.says(f"{MERGE}/status").get("connector", {}).get("state") == state,
            f"it is {state}",
            seen=lambda: self.says("/health"),
        )


@pytest.fixture
def merge(tmp_path: Path) -> Iterator[Merge]:
    config = tmp_path / "sync.yaml"
    with (
        servers.broker(servers.EMBEDDED, tmp_path) as kafka,
        servers.registry(servers.EMBEDDED, tmp_path) as registry,
    ):
        config.write_text(
            f"""
name: crm
kafka: {{bootstrap.servers: "{kafka["bootstrap.servers"]}"}}
schema_registry: {{url: "{registry}"}}
topics: {{replication_factor: 1, partitions: 1}}
salesforce:
  login_url: https://login.salesforce.com
  auth: {{flow: client_credentials, client_id: app, client_secret: secret}}
mongodb: {{uri: mongodb://localhost, database: crm}}
objects: {{Account: {{collection: accounts}}}}
merge: {{state_dir: "{tmp_path}"}}
"""
        )
        yield Merge(config)


def test_a_pause_survives_a_kill_and_ends_when_somebody_resumes(merge: Merge) -> None:
    """Also one that was asked for while the process waits for something; SIGTERM still ends it with 0."""
    with merge.started():
        until(lambda: "schema" in merge.says("/health").get("message", ""), "it waits for schemas")
        assert merge.ask("PUT", f"{MERGE}/pause").status_code == 202
        merge.is_in("PAUSED")
    with merge.started() as process:
        merge.is_in("PAUSED")
        health = merge.says("/health")
        assert (health["ready"], health["degraded"]) == (True, True)
        assert "resume" in health["waiting_for"][0]["sentence"]
        assert merge.ask("PUT", f"{MERGE}/resume").status_code == 202
        merge.is_in("UNASSIGNED")
        until(lambda: "schema" in merge.says("/health").get("message", ""), "it waits for schemas again")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
