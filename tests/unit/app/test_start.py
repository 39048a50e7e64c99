"""What a process or a command imports: each library costs CPU at every start and every restart, of all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_CONNECTORS: Final = "salmon.source.worker", "salmon.sink.worker", "salmon.merge.process"
_SIDES: Final = "pymongo", "simple_salesforce", "grpc"
_HEAVY: Final = ("fastapi", "cryptography", "zeep", "httpx", "lxml", "opentelemetry", *_SIDES, *_CONNECTORS)
_OF_PYMONGO: Final = {"pymongo", "cryptography"}
# What each imports beside the process, and which of the heavy ones it needs.
_STARTS: Final = {
    "merge": ("import salmon.merge.process", {"salmon.merge.process"}),
    "mongodb-source": (
        "import salmon.source.worker; discovery.source_factory('mongodb')",
        {"salmon.source.worker", *_OF_PYMONGO},
    ),
    "mongodb-sink": (
        "import salmon.sink.worker; discovery.sink_factory('mongodb')",
        {"salmon.sink.worker", *_OF_PYMONGO},
    ),
    "salesforce-source": (
        "import salmon.source.worker; discovery.source_factory('salesforce')",
        {"salmon.source.worker", "grpc"},
    ),
    "salesforce-sink": (
        "import salmon.sink.worker; discovery.sink_factory('salesforce')",
        {"salmon.sink.worker"},
    ),
}


@pytest.mark.parametrize("connector", _STARTS)
def test_a_process_imports_nothing_heavy_that_its_connector_does_not_need(
    connector: str, sync_yaml: Path
) -> None:
    """Not the other side's client, not another connector's worker, and not FastAPI before somebody asks for more than its health."""
    its_own, needed = _STARTS[connector]
    process = "import salmon.app.process, salmon.cli.verify; from salmon.runtime import discovery"
    assert heavy_after(f"{process}; {its_own}", sync_yaml) == needed


@pytest.mark.parametrize(
    "command",
    ["salmon.status.overview", "salmon.story.reading, salmon.story.lookup", "salmon.story.conflicts"],
)
def test_a_command_that_reads_kafka_imports_no_client_of_a_side(command: str, sync_yaml: Path) -> None:
    """`salmon status`, `why` and `conflicts`: a person waits for them."""
    assert heavy_after(f"import salmon.cli.main, {command}", sync_yaml) == set()


def heavy_after(imports: str, sync_yaml: Path) -> set[str]:
    """Which of the heavy modules a new Python has after these imports, with a usual configuration read."""
    options = '"mongodb://localhost/?replicaSet=rs0&authSource=admin&retryWrites=true"'
    sync_yaml.write_text(sync_yaml.read_text().replace("mongodb://localhost", options))
    script = (
        f"{imports}; import sys; from salmon.config import models; models.load(sys.argv[1]); "
        f"print(*[name for name in {_HEAVY!r} if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, sync_yaml], capture_output=True, text=True, check=True, timeout=60
    )
    return set(shown.stdout.split())
