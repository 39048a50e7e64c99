"""The REST API as stock tools use it: kafka-connect-py itself; kcctl's and kafka-ui's calls as they are in their source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from kafka_connect import KafkaConnect

from salmon.ops.connect.access import Access
from salmon.ops.connect.status_topic import Target
from salmon.ops.health import State
from support.at_hand.connect_rest import MemoryStatusTopic, Worker, rows, running

SINK = "mongodb-sink"


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One server, with a password, as kcctl and kafka-connect-py give one."""
    worker = Worker(SINK, topic=MemoryStatusTopic(), access=Access("0.0.0.0", "ops", "secret"))
    worker.health.running()
    with running(worker):
        yield worker


@pytest.fixture
def stock(worker: Worker) -> KafkaConnect:
    return KafkaConnect(url=worker.url, auth="ops:secret")


def wanted(worker: Worker) -> str:
    return str(rows(worker.topic)[f"target-state-{SINK}"]["state"])


def test_kafka_connect_py_reads_all_that_it_can(worker: Worker, stock: KafkaConnect) -> None:
    """Its own methods, unchanged."""
    assert stock.get_cluster_info()["kafka_cluster_id"] == "here"
    assert stock.list_connectors() == [SINK]
    assert stock.list_connectors(state="running") == [SINK]
    assert stock.list_connectors(expand="status")[SINK]["status"]["type"] == "sink"
    assert stock.get_connector(SINK)["name"] == SINK
    assert stock.get_connector_config(SINK)["name"] == SINK
    assert stock.get_connector_status(SINK)["connector"]["state"] == "RUNNING"
    assert [each["task"] for each in stock.get_connector(SINK)["tasks"]] == [0]
    assert {each["class"] for each in stock.list_connector_plugins()} >= {SINK, "merge"}


def test_kafka_connect_py_pauses_resumes_stops_and_restarts(worker: Worker, stock: KafkaConnect) -> None:
    """One connector, and all that match a pattern."""
    stock.pause_connector(SINK)
    assert wanted(worker) == "PAUSED"
    stock.resume_all_connectors(pattern="mongodb")
    assert wanted(worker) == "STARTED"
    stock.stop_connector(SINK)
    assert wanted(worker) == "STOPPED"
    stock.resume_connector(SINK)
    plan = stock.restart_connector(SINK, include_tasks=True)
    assert plan["connector"]["state"] == "RESTARTING"
    assert stock.restart_connector(SINK) is None


def test_a_wrong_password_is_refused(worker: Worker) -> None:
    """Also to read."""
    with pytest.raises(requests.HTTPError, match="401"):
        KafkaConnect(url=worker.url, auth="ops:wrong").list_connectors()


# kcctl (KafkaConnectApi.java) and kafka-ui (kafka-connect-api.yaml): method, path, body, code.
CALLS = [
    ("GET", "/", None, 200),
    ("GET", "/connector-plugins", None, 200),
    ("GET", "/connector-plugins?connectorsOnly=false", None, 200),
    ("GET", f"/connector-plugins/{SINK}/config", None, 200),
    ("PUT", f"/connector-plugins/{SINK}/config/validate", {"connector.class": SINK, "name": "x"}, 200),
    ("GET", "/connectors/", None, 200),
    ("GET", "/connectors", None, 200),
    ("GET", "/connectors?expand=status&expand=info", None, 200),
    ("GET", "/connectors/?expand=status", None, 200),
    ("GET", f"/connectors/{SINK}", None, 200),
    ("GET", f"/connectors/{SINK}/config", None, 200),
    ("GET", f"/connectors/{SINK}/status", None, 200),
    ("GET", f"/connectors/{SINK}/tasks", None, 200),
    ("GET", f"/connectors/{SINK}/tasks/0/status", None, 200),
    ("GET", f"/connectors/{SINK}/topics", None, 200),
    ("GET", f"/connectors/{SINK}/offsets", None, 200),
    ("PUT", f"/connectors/{SINK}/pause", None, 202),
    ("PUT", f"/connectors/{SINK}/stop", None, 204),
    (
        "PATCH",
        f"/connectors/{SINK}/offsets",
        {"offsets": [{"partition": {"kafka_topic": "t", "kafka_partition": 0}, "offset": None}]},
        200,
    ),
    ("DELETE", f"/connectors/{SINK}/offsets", None, 200),
    ("PUT", f"/connectors/{SINK}/resume", None, 202),
    ("POST", f"/connectors/{SINK}/restart", None, 204),
    ("POST", f"/connectors/{SINK}/restart?includeTasks=true&onlyFailed=false", None, 202),
    ("POST", f"/connectors/{SINK}/tasks/0/restart", None, 204),
    ("GET", "/admin/loggers", None, 200),
    ("GET", "/admin/loggers/salmon", None, 200),
    ("PUT", "/admin/loggers/salmon.test.kcctl", {"level": "DEBUG"}, 200),
    ("PUT", "/admin/loggers/salmon.test.kcctl?scope=cluster", {"level": "INFO"}, 204),
    ("POST", "/connectors", {"name": "x", "config": {"connector.class": SINK}}, 405),
    ("POST", "/connectors/", {"name": "x", "config": {"connector.class": SINK}}, 405),
    ("PUT", f"/connectors/{SINK}/config", {"name": SINK}, 405),
    ("DELETE", f"/connectors/{SINK}", None, 405),
]


def test_every_call_of_kcctl_and_kafka_ui_is_answered_as_they_expect(worker: Worker) -> None:
    """The code of each, in an order in which a person would make them; every refusal has a sentence."""
    for method, path, body, code in CALLS:
        answer = requests.request(method, f"{worker.url}{path}", json=body, auth=("ops", "secret"), timeout=5)
        assert answer.status_code == code, f"{method} {path}: {answer.text}"
        if code >= 400:
            assert answer.json()["error_code"] == code
            assert answer.json()["message"].endswith(".")


def test_a_pause_shows_in_the_state_that_tools_look_at(worker: Worker, stock: KafkaConnect) -> None:
    """What the list is filtered by."""
    worker.health.put_down(State.PAUSED, 0, "Paused.")
    assert stock.list_connectors(state="paused") == [SINK]
    worker.standing.ask_for(Target.STARTED)
    worker.health.running()


def test_validate_reports_each_setting_by_the_name_that_config_shows(worker: Worker, tmp_path: Path) -> None:
    """A wrong value is named; nothing is stored, and a secret is not shown again."""
    config = {
        "name": SINK,
        "connector.class": SINK,
        "sync": "crm",
        "kafka.bootstrap.servers": "localhost:9092",
        "schema_registry.url": "http://localhost:8081",
        "mongodb.uri": "mongodb://u:pass@localhost",
        "mongodb.database": "crm",
        "objects.Account.collection": "accounts",
        "topics.partitions": "0",
    }
    answer = requests.put(
        f"{worker.url}/connector-plugins/{SINK}/config/validate",
        json=config,
        auth=("ops", "secret"),
        timeout=5,
    )
    body = answer.json()
    wrong = {each["value"]["name"] for each in body["configs"] if each["value"]["errors"]}
    assert wrong == {"topics.partitions"}
    assert body["error_count"] == 1
    assert "pass" not in answer.text.replace("password", "")
