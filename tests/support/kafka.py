"""A broker for tests: the embedded one, in a folder of its own, ended with the test session."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salmon.kafka import clients


@contextmanager
def embedded_broker(folder: Path) -> Iterator[dict[str, Any]]:
    """Run the broker from the wheel and its front; yields the `kafka` block that reaches them."""
    port = _free_port()
    broker = [str(Path(sys.executable).parent / "noida-db"), "start", "--only", "kafka"]
    broker += ["--kafka-port", str(port), "--host", "127.0.0.2", "--data-dir", str(folder)]
    front = [sys.executable, "-m", "salmon.devstack.kafka_front", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        processes = [subprocess.Popen(command, stdout=log, stderr=log) for command in (broker, front)]
    try:
        kafka = {"bootstrap.servers": f"127.0.0.1:{port}"}
        clients.connect(kafka, timeout_s=30.0)
        yield kafka
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
