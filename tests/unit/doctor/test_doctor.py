"""The doctor where nobody answers: servers that take a connection and then say nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from salmon.config.models import SyncConfig
from salmon.doctor.checks import Outcome, examine
from salmon.doctor.doctor import as_dict, checks_of, worst


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_servers_that_say_nothing_are_told_in_time(silent: str) -> None:
    """Each within its patience, all at the same time; and nothing that was left hanging keeps the doctor from ending."""
    config = SyncConfig.model_validate(
        {
            "name": "crm",
            "kafka": {"bootstrap.servers": silent},
            "schema_registry": {"url": f"http://{silent}"},
            "salesforce": {
                "login_url": f"https://{silent}",
                "auth": {"flow": "client_credentials", "client_id": "x", "client_secret": "hush"},
            },
            "mongodb": {"uri": f"mongodb://{silent}/?replicaSet=rs0", "database": "crm"},
            "objects": {"Account": {"collection": "accounts"}},
        }
    )
    began = time.monotonic()
    with checks_of(config) as checks:
        lines = list(examine(checks, patience_s=0.5))
    assert time.monotonic() - began < 8
    failed = [line.name for line in lines if line.outcome is Outcome.FAIL]
    assert failed == ["salesforce.sign_in", "kafka.reachable", "registry.reachable", "mongodb.reachable"]
    assert all(line.mend for line in lines if line.outcome is not Outcome.OK)
    assert worst(lines) is Outcome.FAIL
    told = as_dict(config, lines)
    assert (told["sync"], told["outcome"], len(told["checks"])) == ("crm", "fail", len(lines))
    assert "hush" not in str(told)
