"""
The registry of a stack: our own, as a process, or one that runs elsewhere.

Our own is in registry.py; Apicurio is in jvm.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, Protocol

import requests

from salmon.devstack.processes import HOST, Background, InBackground, Server, on_free_ports

_START_MAX_S: Final = 30.0


class Registry(Server, Protocol):
    """A schema registry of a stack."""

    @property
    def url(self) -> str:
        """Root of its REST API, as `schema_registry.url` wants it."""


class RegistryProcess(InBackground):
    """Our own registry with its data in *folder*; *log_file* takes what it says."""

    name = "schema_registry"

    def __init__(self, folder: Path, log_file: Path) -> None:
        self._folder = folder
        self._background = Background("the schema registry", log_file)
        self._port = 0

    def start(self) -> None:
        on_free_ports(1, lambda ports: self._start_on(ports[0]))

    def _start_on(self, port: int) -> None:
        self._port = port
        self._background.start(
            [
                *(sys.executable, "-m", "salmon.devstack.registry"),
                *("--port", str(port), "--data-dir", self._folder),
            ],
            serves=lambda: answers(self.url),
            within_s=_START_MAX_S,
        )

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"


def answers(url: str) -> bool:
    """Whether a registry lists its subjects."""
    try:
        with requests.Session() as session:
            # A proxy that the environment names has nothing to say about servers of this machine.
            session.trust_env = False
            return session.get(f"{url}/subjects", timeout=2.0).status_code == 200
    except requests.RequestException:
        return False
