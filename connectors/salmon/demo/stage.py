"""
Starts a development stack and the five connectors in one folder, and ends them together.

The servers are in salmon.devstack, the connectors' processes in salmon.app.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from salmon.closing import Closing
from salmon.config import models as configuration
from salmon.config.models import SyncConfig
from salmon.demo import events, reports
from salmon.devstack.processes import Background, last_line
from salmon.devstack.stack import DevOptions, DevStack
from salmon.errors import SetupError
from salmon.kafka.topics import CONNECTORS
from salmon.runtime.program import command
from salmon.salesforce.wire.http import Https
from salmon.salesforce.wire.rest import Rest
from salmon.setup.reports import report_steps
from salmon.status.scraping import Owner, ProcessReport, ask

_START_MAX_S: Final = 120.0  # six processes, on two cores that may have other work
_STOP_GRACE_S: Final = 35.0  # the connectors drain for 25 s at most


class Stage(Closing):
    """
    A running sync; a context manager that leaves nothing behind, unless `keep` was called.

    Attributes:
        folder: Where data and logs are.
        stack: Where everything is, as `salmon dev up --json` prints it.
        config: The sync's configuration.
    """

    def __init__(self, folder: Path | None, records: Mapping[str, int]) -> None:
        """*folder*: None for a temporary one, which is removed in the end."""
        self._is_temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="salmon-demo-")) if folder is None else folder.absolute()
        self._dev = DevStack(self.folder, DevOptions(records=dict(records)))
        self._connectors = Background("salmon run all", self.log_file)
        self._kept = False
        self.stack: dict[str, Any] = {}

    # From start to end.

    def start_servers(self) -> None:
        """Start the servers. Raises SetupError: one cannot be started, or the folder contains something else."""
        if not self._is_temporary and self.folder.is_dir() and any(self.folder.iterdir()):
            raise SetupError(
                f"--dir {self.folder}: is not empty, but the demo needs an empty folder. Give another one, or stop and delete "
                f"what is there: salmon dev down --purge --dir {self.folder}"
            )
        self.stack = self._dev.up()
        events.define(self.org["control_url"], Path(self.stack["config"]))
        reports.add(Path(self.stack["config"]))
        self.config: SyncConfig = configuration.load(self.stack["config"])
        salesforce = self.config.salesforce
        with closing(Rest(salesforce, https=Https(salesforce.ca_file))) as rest:
            deque(report_steps(self.config, rest.describe, dry=False), maxlen=0)

    def start_connectors(self) -> None:
        """Start the five processes and the API. Raises SetupError if one of them ends."""
        self._connectors.start(
            command(
                "run", "all", "-c", self.stack["config"], "--port", "0",
                "--ports-file", str(self.ports_file), "--log-format", "json",
            ),
            serves=lambda: all(report.healthy for report in self.reports()),
            within_s=_START_MAX_S,
        )  # fmt: skip

    def require_connectors(self) -> None:
        """Raise SetupError if `salmon run all` has ended."""
        if not self._connectors.is_alive:
            raise SetupError(f"the connectors have ended: {last_line(self.log_file)}. See {self.log_file}.")

    def keep(self) -> None:
        """Leave everything running, and keep the data."""
        self._kept = True

    def close(self) -> None:
        """End everything that was started, connectors first. Idempotent."""
        if self._kept:
            return
        self._connectors.stop(grace_s=_STOP_GRACE_S)
        self._dev.down(purge=self._is_temporary)
        if self._is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    # Where things are.

    @property
    def log_file(self) -> Path:
        return self.folder / "logs" / "connectors.log"

    @property
    def ports_file(self) -> Path:
        return self.folder / "ports.json"

    @property
    def org(self) -> Mapping[str, str]:
        """The simulator's endpoints."""
        endpoints: Mapping[str, str] = self.stack["salesforce"]
        return endpoints

    @property
    def pid(self) -> int:
        """Of `salmon run all`."""
        return self._connectors.processes[0].pid

    def addresses(self) -> Mapping[str, str]:
        """Return connector -> base address of its REST port; empty before the connectors are started."""
        try:
            found = json.loads(self.ports_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {name: found[name]["url"] for name in CONNECTORS}

    @property
    def api_address(self) -> str:
        """Base address of the API."""
        return str(json.loads(self.ports_file.read_text(encoding="utf-8"))["api"]["url"])

    def reports(self, *names: str) -> list[ProcessReport]:
        """Return what the connectors with these names report about themselves; all of them by default."""
        wanted = names or CONNECTORS
        places = {name: url for name, url in self.addresses().items() if name in wanted}
        reports = {each.connector: each for each in ask(Owner(self.config.name), places)}
        return [reports.get(name) or ProcessReport(name, "", "down", "Not started.") for name in wanted]
