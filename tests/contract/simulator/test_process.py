"""The box as users start it: one command, one JSON object, everything behind it, and a clean end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from salmon.errors import SetupError
from salmon.simulator import server
from salmon.simulator.org.objects.describes import PACKAGED
from salmon.simulator.org.objects.platform_events import parse_event
from salmon.simulator.org.transaction import Transaction
from salmon.simulator.server import Ports, Simulator
from support.orgs.boxes import Box
from support.orgs.pubsub import WAIT_S, Client, Wire

COMMAND = [sys.executable, "-m", "salmon.simulator"]


def test_the_command_prints_where_it_is_and_ends_on_sigterm(tmp_path: Path) -> None:
    """
    One JSON object on standard output, logs elsewhere; exit code 0. A number alone is for all objects that are not named; an
    event among the describe files is no object.
    """
    describes = tmp_path / "describes"
    describes.mkdir()
    for name in ("Account", "Contact"):
        shutil.copy(PACKAGED / f"{name}.json", describes)
    event = parse_event({"event": "Order_Event__e", "fields": {"City__c": "Text"}})
    (describes / "Order_Event__e.json").write_text(json.dumps(event))
    arguments = ["--dir", str(tmp_path / "org"), "--json", "--describe", str(describes)]
    arguments += ["--records", "2", "--records", "Account=5"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        try:
            assert set(told) >= {
                "login_url", "instance_url", "client_id", "client_secret", "username", "password", "security_token",
                "private_key", "pubsub_endpoint", "ca_file", "control_url",
            }  # fmt: skip
            assert "PRIVATE KEY" in Path(told["private_key"]).read_text("ascii")
            assert Path(told["private_key"]).stat().st_mode & 0o077 == 0
            state = requests.get(f"{told['control_url']}/state", timeout=WAIT_S).json()
            assert state["objects"] == {
                "Account": {"records": 5, "deleted": 0},
                "Contact": {"records": 2, "deleted": 0},
            }
            assert state["endpoints"] == told
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        assert process.stdout.read() == ""


def test_without_a_folder_the_files_go_when_the_org_ends(tmp_path: Path) -> None:
    """The folder is a temporary one of its own; --describe, --records and --seed are enough to start an org."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    arguments = [*COMMAND, "--describe", str(PACKAGED), "--records", "3", "--seed", "7", "--json"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        try:
            [folder] = tmp_path.iterdir()
            assert folder.name.startswith("salmon-simulator-")
            assert Path(told["ca_file"]).parent == folder
            state = requests.get(f"{told['control_url']}/state", timeout=WAIT_S).json()
            assert {each["records"] for each in state["objects"].values()} == {3}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_a_block_for_the_file_of_a_sync(tmp_path: Path) -> None:
    """Without --json, for people: they paste it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [*COMMAND, "--dir", str(tmp_path / "org"), "--objects", "Account"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("  ca_file: "):
                break
        process.send_signal(signal.SIGTERM)
    block = yaml.safe_load("".join(lines).partition("# For the YAML file of a sync:\n")[2])
    assert block["salesforce"]["login_url"].startswith("https://")


def test_an_org_behind_a_proxy_names_the_proxys_port(tmp_path: Path) -> None:
    """In its endpoints and to everybody who signs in, so that nobody goes past it."""
    with Simulator.start(tmp_path, ports=Ports(advertised_rest=4711)) as simulator:
        assert simulator.endpoints.login_url == simulator.endpoints.instance_url == "https://127.0.0.1:4711"


def test_a_port_that_is_taken_and_an_object_that_is_not_there_are_told_in_a_sentence(tmp_path: Path) -> None:
    """What happened, and the mend; nothing is left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for ports in (Ports(rest=taken.getsockname()[1]), Ports(control=taken.getsockname()[1])):
            with pytest.raises(SetupError, match="is taken; give the simulator another port"):
                Simulator.start(tmp_path, ports=ports)
    with pytest.raises(SetupError, match="records of Lead were asked for, and the org has Account"):
        Simulator.start(tmp_path, records={"Lead": 1})
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"cannot be written to .* Choose another --dir"):
        Simulator.start(tmp_path / "file")
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("simulator-")] == []


def test_many_writers_at_once_make_one_order_of_commits(tmp_path: Path) -> None:
    """Rows and collections, from four clients: every commit is told once, in the order of its number."""
    told: list[Transaction] = []
    with Simulator.start(tmp_path, records={"Account": 8}) as simulator:
        simulator.org.add_listener(told.append)
        ids = list(simulator.org.table("Account").live)
        failed: list[str] = []

        def write(number: int) -> None:
            box = Box(simulator)
            for turn in range(15):
                record = {"attributes": {"type": "Account"}, "Id": ids[turn % 8], "Phone": f"{number}-{turn}"}
                collection = box.call("PATCH", "composite/sobjects", {"records": [record]})
                row = box.call("PATCH", f"sobjects/Account/{ids[number]}", {"Fax": f"{number}-{turn}"})
                if row.status_code != 204 or not collection.json()[0]["success"]:
                    failed.append(row.text + collection.text)

        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(WAIT_S * 3)
        assert failed == []
        assert len(told) == 4 * 15 * 2
        numbers = [transaction.commit_number for transaction in told]
        assert numbers == sorted(set(numbers))
        newest = {change.record_id: change.after for each in told for change in each.changes}
        assert all(simulator.org.get("Account", record_id) == row for record_id, row in newest.items())


def test_a_write_by_rest_is_an_event_for_whoever_subscribed(tmp_path: Path, wire: Wire) -> None:
    """The token that REST gave is good for gRPC, both servers are one org, and what was seeded is no event."""
    with Simulator.start(tmp_path, records={"Account": 3}) as simulator:
        box, told = Box(simulator), simulator.endpoints
        client = Client(wire, told.pubsub_endpoint, Path(told.ca_file), token=box.token, tenant=told.org_id)
        try:
            stream = client.subscribe("/data/ChangeEvents", preset="EARLIEST")
            headers = {"Sforce-Call-Options": "client=salmon"}
            answer = box.call("POST", "sobjects/Account", {"Name": "By REST"}, headers=headers)
            [event] = stream.events(1)
            body = client.decode(event)
        finally:
            client.close()
        assert body["Name"] == "By REST"
        header = body["ChangeEventHeader"]
        assert header["recordIds"] == [answer.json()["id"]]
        assert header["commitUser"] == simulator.org.integration_user.user_id
        assert header["changeOrigin"] == "com/salesforce/api/rest/64.0;client=salmon"
        assert box.control("GET", "/calls").json()["events_delivered"] == 1


def test_idle_connections_stay_open_as_long_as_those_of_an_org(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes, as the bound of the servers says, and not the five seconds of Uvicorn's own."""
    assert server.IDLE_MAX_S >= 60
    monkeypatch.setattr(server, "IDLE_MAX_S", 0.05)
    with Simulator.start(tmp_path) as simulator:
        address = urlsplit(simulator.endpoints.control_url)
        # Less than Uvicorn's own: what it would close is not waited for.
        with socket.create_connection((address.hostname or "", address.port or 0), 4) as connection:
            connection.sendall(b"GET /state HTTP/1.1\r\nHost: box\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 200"), (
            "answered, and then closed for having been idle for so long"
        )
