"""
Starts the simulated org of a stack as a process, and asks it for its endpoints.

What it can do is in salmon.simulator.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from salmon.devstack.processes import Background, Died, InBackground
from salmon.errors import SetupError

_START_MAX_S: Final = 120.0  # it makes the records it begins with
# Sooner than a source begins without a position (reading.beginning), as an org in which people work has one at once.
_KEEPALIVE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Org:
    """
    What the box is to hold.

    Args:
        describe: A folder of describe files; None for the one of the package.
        bare: As an org is before Salmon comes: without its fields and without change events.
        person_accounts: Accounts may be persons, also where the describe files are of an org that has none.
    """

    objects: Sequence[str] = ()
    records: Mapping[str, int] = field(default_factory=dict)
    describe: Path | None = None
    seed: int = 0
    bare: bool = False
    person_accounts: bool = False


class SimulatorProcess(InBackground):
    """A box with its certificates and keys in *folder*; *log_file* takes what it says."""

    name = "salesforce"

    def __init__(self, folder: Path, log_file: Path, org: Org, *, options: Sequence[str] = ()) -> None:
        """*options*: more of the program's own, e.g. its ports."""
        self._folder = folder
        self._options = options
        self._org = org
        self._background = Background("the simulator", log_file)
        self._endpoints: dict[str, str] = {}

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        answer = self._folder / "endpoints.json"
        answer.unlink(missing_ok=True)
        try:
            # It prints the line when it serves, and nothing else.
            self._background.start(
                self._command(),
                serves=lambda: answer.read_bytes().endswith(b"\n"),
                within_s=_START_MAX_S,
                output=answer,
            )
        except Died as error:
            # What it says is the clear sentence already: an object that does not exist, a bad folder, ...
            raise SetupError(error.said or str(error)) from None
        self._endpoints = json.loads(answer.read_bytes())

    @property
    def endpoints(self) -> Mapping[str, str]:
        """Return its addresses and credentials, with the names that scripts use."""
        return self._endpoints

    def _command(self) -> list[str | Path]:
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "salmon.simulator",
            "--dir",
            self._folder,
            "--json",
        ]
        command += ["--seed", str(self._org.seed), "--keepalive-s", str(_KEEPALIVE_S)]
        if self._org.describe is not None:
            command += ["--describe", self._org.describe]
        if self._org.objects:
            command += ["--objects", ",".join(self._org.objects)]
        for name, count in self._org.records.items():
            command += ["--records", f"{name}={count}"]
        if self._org.bare:
            command += ["--no-marker-fields", "--no-change-events"]
        if self._org.person_accounts:
            command.append("--person-accounts")
        return [*command, *self._options]
