"""
The embedded Kafka: `noida-db`, a small broker that speaks Kafka's protocol, from a wheel.

It keeps everything in memory and saves it when it is asked to end (SIGTERM). So it must not be killed if its records
matter. Clients talk to it through kafka_front.py, which corrects some of its answers. Apache Kafka is in jvm.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from salmon.devstack.kafka_front import BROKER_HOST, FRONT_HOST
from salmon.devstack.processes import Background, ProcessId, Server, accepts, on_free_ports
from salmon.errors import SetupError

_START_MAX_S: Final = 30.0
_MEND: Final = (
    "Install the embedded servers: pip install 'salmon-connect[embedded]' (the broker is the wheel noida-db, "
    "for Linux and macOS)"
)


class Kafka(Server, Protocol):
    """A broker of a stack."""

    @property
    def bootstrap_servers(self) -> str: ...


class EmbeddedBroker:
    """
    `noida-db` with its data in *folder*; *log_file* takes what it says.

    Args:
        advertised_host: Where clients are sent, on the same port, if something stands before the front.
    """

    name = "kafka"

    def __init__(self, folder: Path, log_file: Path, *, advertised_host: str = FRONT_HOST) -> None:
        self._folder = folder
        self._advertised_host = advertised_host
        self._broker = Background("the embedded Kafka broker", log_file)
        self._front = Background("the front of the embedded Kafka broker", log_file)
        self._port = 0

    def start(self) -> None:
        binary = _binary()
        self._folder.mkdir(parents=True, exist_ok=True)
        on_free_ports(1, lambda ports: self._start_on(binary, ports[0]))

    def _start_on(self, binary: Path, port: int) -> None:
        self._port = port
        self._broker.start(
            [
                *(binary, "start", "--only", "kafka"),
                *("--host", BROKER_HOST, "--kafka-port", str(port), "--data-dir", self._folder),
            ],
            serves=lambda: accepts(port, BROKER_HOST),
            within_s=_START_MAX_S,
        )
        try:
            self._front.start(
                [
                    *(sys.executable, "-m", "salmon.devstack.kafka_front", "--port", str(port)),
                    *("--advertised-host", self._advertised_host),
                ],
                serves=lambda: answers(self.bootstrap_servers),
                within_s=_START_MAX_S,
            )
        except BaseException:
            self._broker.stop()
            raise

    def stop(self) -> None:
        self._front.stop()
        self._broker.stop()

    @property
    def bootstrap_servers(self) -> str:
        return f"{FRONT_HOST}:{self._port}"

    @property
    def is_alive(self) -> bool:
        return self._broker.is_alive and self._front.is_alive

    @property
    def processes(self) -> tuple[ProcessId, ...]:
        return (*self._broker.processes, *self._front.processes)


def answers(bootstrap_servers: str, *, timeout_s: float = 1.0) -> bool:
    """Whether a broker answers and is ready for requests."""
    # librdkafka logs each refused connection. Here they are expected.
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap_servers, "logger": _quiet()}
    client = AdminClient(settings)
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(KafkaException):
            if client.list_topics(timeout=min(timeout_s, 1.0)).brokers:
                return True
        if time.monotonic() >= deadline:
            return False


def _quiet() -> logging.Logger:
    logger = logging.getLogger("salmon.devstack.kafka")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _binary() -> Path:
    """Return the wheel's program. We start it directly, because its Python wrapper would catch our signals."""
    found = importlib.util.find_spec("noida_db")
    if found is None or found.origin is None:
        raise SetupError(f"the embedded Kafka broker is not installed. {_MEND}.")
    binary = Path(found.origin).with_name("noida-db")
    if not binary.is_file():
        raise SetupError(f"{binary.parent} has no program for this machine. {_MEND}, or use another Kafka.")
    if not os.access(binary, os.X_OK):
        # Wheels lose the bit where their builder did not set it; the wrapper sets it at its first start.
        try:
            binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
        except PermissionError:
            raise SetupError(
                f"{binary} is not executable. Let its owner run `noida-db version` once."
            ) from None
    return binary
