"""`salmon dev up` and `down`: the contract for scripts, and what becomes of a stack that is not as it was left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient

from salmon.config.models import load
from salmon.devstack.mongod import URI_VARIABLE, EmbeddedMongod, ExternalMongo, binary
from salmon.devstack.processes import HOST, Background, ProcessId, accepts
from salmon.devstack.stack import DevOptions, DevStack
from salmon.errors import ConfigError, SetupError, Unavailable
from salmon.ports import free_ports
from support.waiting import until

SMALL = DevOptions(records={"Account": 3}, objects=("Account", "Contact"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "dev"
    DevStack(tmp_path / "dev").down()


def processes(folder: Path) -> list[ProcessId]:
    note = json.loads((folder / "stack.json").read_text())
    return [ProcessId(**process) for process in note["processes"]]


def salmon(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "salmon", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_scripts_are_told_everything_in_one_object_and_each_address_serves(folder: Path) -> None:
    """`dev up --json`: where things are, by the names of the contract; `dev down` ends it all."""
    up = salmon(
        "dev", "up", "--dir", folder, "--json", "--objects", "Account,Contact", "--records", "Account=3"
    )
    assert up.returncode == 0, up.stderr
    answer = json.loads(up.stdout)
    assert set(answer) == {"config", "kafka", "schema_registry", "mongodb", "salesforce"}
    assert {
        *(
            "login_url",
            "instance_url",
            "client_id",
            "client_secret",
            "username",
            "password",
            "security_token",
        ),
        *("private_key", "pubsub_endpoint", "ca_file", "control_url"),
    } <= set(answer["salesforce"])
    open_to_others = {
        path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077
    }
    assert not open_to_others & {"stack.json", "endpoints.json", "sync.yaml"}, "they hold secrets (case X4)"
    assert not {name for name in open_to_others if name.endswith(".key")}
    assert folder.stat().st_mode & 0o777 == 0o700
    admin = AdminClient({"bootstrap.servers": answer["kafka"]["bootstrap_servers"]})
    assert admin.list_topics(timeout=10).brokers
    assert requests.get(answer["schema_registry"]["url"] + "/subjects", timeout=10).json() == []
    client: MongoClient[dict[str, Any]] = MongoClient(answer["mongodb"]["uri"])
    with client, client[answer["mongodb"]["database"]].watch():
        pass
    versions = requests.get(
        answer["salesforce"]["instance_url"] + "/services/data",
        verify=answer["salesforce"]["ca_file"],
        timeout=10,
    )
    assert versions.status_code == 200
    assert requests.get(answer["salesforce"]["control_url"] + "/state", timeout=10).status_code == 200
    config = load(answer["config"])
    assert [synced.collection for synced in config.objects.values()] == ["accounts", "contacts"]

    running = processes(folder)
    down = salmon("dev", "down", "--dir", folder)
    assert down.returncode == 0, down.stderr
    assert not any(process.is_alive for process in running)


def test_what_cannot_be_is_one_sentence_and_exit_code_2(folder: Path) -> None:
    """No traceback, and nothing was started."""
    up = salmon("dev", "up", "--dir", folder, "--json", "--objects", "Acount")
    assert up.returncode == 2
    assert "Acount" in up.stderr
    assert "Traceback" not in up.stderr
    assert up.stdout == ""
    assert not (folder / "stack.json").exists()


def test_up_on_a_running_stack_tells_the_same(folder: Path) -> None:
    """A script may ask twice, and need not repeat the options; other options are refused."""
    answer = DevStack(folder, SMALL).up()
    running = processes(folder)
    assert DevStack(folder, SMALL).up() == DevStack(folder).up() == answer
    assert processes(folder) == running
    with pytest.raises(SetupError, match="other options"):
        DevStack(folder, DevOptions(seed=7)).up()


def test_a_stack_that_lost_a_part_is_started_again_with_its_records(folder: Path) -> None:
    """Somebody killed a server: up() mends the stack, and MongoDB finds itself on another port."""
    answer = DevStack(folder, SMALL).up()
    client: MongoClient[dict[str, Any]] = MongoClient(answer["mongodb"]["uri"])
    with client:
        client["crm"]["accounts"].insert_one({"_id": "001A"})
    victim = processes(folder)[-1]
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: not victim.is_alive, "the server is gone")
    again = DevStack(folder, SMALL).up()
    assert all(process.is_alive for process in processes(folder))
    with MongoClient[dict[str, Any]](again["mongodb"]["uri"]) as client:
        assert client["crm"]["accounts"].find_one() == {"_id": "001A"}


def test_down_without_a_stack_is_no_error(folder: Path) -> None:
    """It may be repeated."""
    assert not DevStack(folder).down()


def test_a_rehearsal_on_a_bare_org_finds_what_setup_makes_and_leaves_nothing_behind(folder: Path) -> None:
    """The README's commands, which e2e/test_setup.py plays in between: up, doctor, down. Other files of the folder stay."""
    up = salmon("dev", "up", "--dir", folder, "--bare-org")
    assert up.returncode == 0, up.stderr
    config = folder / "sync.yaml"
    assert f"doctor -c {config}" in up.stdout
    looked = salmon("doctor", "-c", config, "--json")
    assert (looked.returncode, looked.stderr) == (1, "")
    checks = json.loads(looked.stdout)["checks"]
    assert {line["name"] for line in checks if line["outcome"] == "fail"} == {
        f"objects.{name}.{part}"
        for name in ("Account", "Contact", "Opportunity")
        for part in ("markers", "change_events")
    }
    (folder / "notes.txt").write_text("mine")
    down = salmon("dev", "down", "--purge", "--dir", folder)
    assert (down.returncode, " ".join(down.stderr.split())) == (0, f"{folder}: stopped, data deleted.")
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


def test_a_folder_of_describe_files_makes_the_org(folder: Path, tmp_path: Path) -> None:
    """Any org's objects, not only the demo's."""
    data = Path(__file__).parents[1] / "data" / "salesforce" / "describe"
    describes = tmp_path / "describes"
    describes.mkdir()
    (describes / "Whizbang.json").write_bytes((data / "Whizbang.json").read_bytes())
    answer = DevStack(folder, DevOptions(describe=str(describes), records=5)).up()
    assert list(load(answer["config"]).objects) == ["Whizbang"]


def test_a_mongodb_that_others_run_is_used_and_left_running(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MONGODB_URI: where no wheel fits the machine. The database is the stack's own."""
    server = EmbeddedMongod(tmp_path / "mongodb", tmp_path / "mongod.log")
    server.start()
    try:
        monkeypatch.setenv(URI_VARIABLE, server.uri)
        answer = DevStack(folder, SMALL).up()
        assert answer["mongodb"]["uri"] == server.uri
        assert answer["mongodb"]["database"].startswith("crm_")
        DevStack(folder).down()
        assert server.is_alive
    finally:
        server.stop()


def test_a_mongodb_that_is_no_replica_set_is_refused_with_the_mend(tmp_path: Path) -> None:
    """A single server, nothing there, no connection string: each is a sentence without the address (a password!)."""
    single = Background("mongod", tmp_path / "mongod.log")
    (port,) = free_ports(1)
    single.start(
        [binary(), "--dbpath", tmp_path, "--port", str(port), "--bind_ip", HOST],
        serves=lambda: accepts(port),
        within_s=60,
    )
    try:
        with pytest.raises(SetupError, match="not a replica set"):
            ExternalMongo(f"mongodb://{HOST}:{port}/").start()
    finally:
        single.stop()
    with pytest.raises(ConfigError, match=URI_VARIABLE):
        ExternalMongo("http://nonsense").start()
    with pytest.raises(Unavailable, match="does not answer") as refused:
        ExternalMongo(f"mongodb://root:secret@{HOST}:{port}/?serverSelectionTimeoutMS=200").start()
    assert "secret" not in str(refused.value)


def test_records_of_an_object_that_is_not_there_are_refused(folder: Path) -> None:
    """A typing error must not make an empty org."""
    with pytest.raises(ConfigError, match="Contacts"):
        DevStack(folder, DevOptions(records={"Contacts": 3})).up()
