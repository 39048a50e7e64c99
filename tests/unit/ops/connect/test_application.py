"""Kafka Connect's REST API of one worker: paths, codes and bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from salmon import __version__
from salmon.errors import Unavailable
from salmon.ops.connect.access import Access
from salmon.ops.connect.application import application
from salmon.ops.connect.status_topic import Target
from salmon.ops.health import State
from support.at_hand.connect_rest import MemoryStatusTopic, Worker, rows, running
from support.waiting import until

SINK = "/connectors/mongodb-sink"


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A replica that works."""
    worker = Worker("mongodb-sink", 1, config={"mongodb.uri": "${env:MONGODB_URI}"})
    worker.health.running()
    with running(worker):
        yield worker


@pytest.fixture
def asked(worker: Worker) -> TestClient:
    """Sends requests to the application of the worker."""
    return asker(worker)


def test_the_connector_is_shown_with_its_config_and_tasks(asked: TestClient) -> None:
    """References are shown as they are written."""
    info = asked.get(SINK).json()
    assert info == {
        "name": "mongodb-sink",
        "config": {"name": "mongodb-sink", "mongodb.uri": "${env:MONGODB_URI}"},
        "tasks": [{"connector": "mongodb-sink", "task": 1}],
        "type": "sink",
    }
    assert asked.get(f"{SINK}/config").json() == info["config"]
    assert asked.get(f"{SINK}/tasks").json() == [{"id": info["tasks"][0], "config": info["config"]}]
    assert asked.get(f"{SINK}/topics").json() == {"mongodb-sink": {"topics": ["crm.writes.mongodb.Account"]}}


def test_the_list_is_expanded_as_far_as_it_is_asked_for(asked: TestClient) -> None:
    """status, info, both, or the names alone."""
    assert asked.get("/connectors").json() == ["mongodb-sink"]
    both = asked.get("/connectors?expand=status&expand=info").json()["mongodb-sink"]
    assert both == {"status": asked.get(f"{SINK}/status").json(), "info": asked.get(SINK).json()}
    assert asked.get("/connectors?expand=status").json()["mongodb-sink"].keys() == {"status"}
    assert asked.get("/connectors?expand=weather").status_code == 400


def test_the_status_has_the_states_of_kafka_connect(worker: Worker, asked: TestClient) -> None:
    """The task's number is the ordinal of the replica; a trace is there only after a failure."""
    state = {"state": "RUNNING", "worker_id": worker.server.worker_id, "version": __version__}
    assert asked.get(f"{SINK}/status").json() == {
        "name": "mongodb-sink",
        "connector": state,
        "tasks": [{"id": 1, **state}],
        "type": "sink",
    }
    assert asked.get(f"{SINK}/tasks/1/status").json() == {"id": 1, **state}
    assert asked.get(f"{SINK}/tasks/0/status").status_code == 404
    worker.health.put_down(State.PAUSED, 0, "Paused.")
    assert asked.get(f"{SINK}/status").json()["connector"]["state"] == "PAUSED"
    worker.health.ended(Unavailable("gone"))
    assert "gone" in asked.get(f"{SINK}/status").json()["tasks"][0]["trace"]


@pytest.mark.parametrize(
    ("path", "status", "target"),
    [("pause", 202, Target.PAUSED), ("resume", 202, Target.STARTED), ("stop", 204, Target.STOPPED)],
)
def test_pause_resume_and_stop_have_connects_codes(
    worker: Worker, asked: TestClient, path: str, status: int, target: Target
) -> None:
    """When they are answered, the request is in Kafka."""
    answer = asked.put(f"{SINK}/{path}")
    assert (answer.status_code, answer.content) == (status, b"")
    assert rows(worker.topic)["target-state-mongodb-sink"]["state"] == target
    assert worker.standing.target is target


def test_a_restart_answers_204_and_with_flags_202_and_a_plan(worker: Worker, asked: TestClient) -> None:
    """With onlyFailed nothing is asked of a connector that works."""
    answer = asked.post(f"{SINK}/restart?includeTasks=true&onlyFailed=true")
    assert answer.status_code == 202
    assert answer.json()["connector"]["state"] == "RUNNING"
    assert "restart-connector-mongodb-sink" not in rows(worker.topic)
    answer = asked.post(f"{SINK}/restart?includeTasks=true")
    assert answer.status_code == 202
    assert {each["state"] for each in answer.json()["tasks"]} == {"RESTARTING"}
    assert rows(worker.topic)["restart-connector-mongodb-sink"]["task"] is None
    assert asked.post(f"{SINK}/restart").status_code == 204
    assert asked.post(f"{SINK}/tasks/1/restart").status_code == 204
    assert rows(worker.topic)["restart-connector-mongodb-sink"]["task"] == 1
    assert asked.post(f"{SINK}/tasks/7/restart").status_code == 404


def test_offsets_can_only_be_changed_while_the_connector_is_stopped(
    worker: Worker, asked: TestClient
) -> None:
    """As Kafka Connect demands; they can always be read."""
    found = asked.get(f"{SINK}/offsets").json()
    assert found["offsets"][0]["offset"] == {"kafka_offset": 7}
    assert asked.patch(f"{SINK}/offsets", json=found).status_code == 400
    assert "STOPPED" in asked.delete(f"{SINK}/offsets").json()["message"]
    asked.put(f"{SINK}/pause")
    assert asked.delete(f"{SINK}/offsets").status_code == 400
    asked.put(f"{SINK}/stop")
    assert asked.patch(f"{SINK}/offsets", json=found).json() == {"message": "altered"}
    assert asked.delete(f"{SINK}/offsets").json() == {"message": "reset"}
    assert asked.patch(f"{SINK}/offsets", json={"offsets": []}).status_code == 400
    assert (len(worker.places.altered), worker.places.resets) == (1, 1)


def test_what_belongs_to_the_configuration_file_is_refused_with_the_mend(asked: TestClient) -> None:
    """A tool that creates, configures or deletes a connector shows this sentence."""
    for answer in (
        asked.post("/connectors", json={"name": "x", "config": {}}),
        asked.put(f"{SINK}/config", json={}),
        asked.patch(f"{SINK}/config", json={}),
        asked.delete(SINK),
    ):
        assert answer.status_code == 405
        assert "configuration file" in answer.json()["message"]
    assert asked.put(f"{SINK}/topics/reset").status_code == 403


def test_a_kafka_that_does_not_answer_is_503_and_nothing_is_promised(
    worker: Worker, asked: TestClient
) -> None:
    """The caller tries again."""
    worker.topic.away = True
    answer = asked.put(f"{SINK}/pause")
    assert (answer.status_code, answer.json()["error_code"]) == (503, 503)
    worker.topic.away = False


def test_loggers_are_shown_and_set_by_log4js_names(worker: Worker, asked: TestClient) -> None:
    """Only those of Salmon; with scope=cluster in all processes."""
    answer = asked.put("/admin/loggers/salmon.test.rest", json={"level": "ERROR"})
    assert answer.json() == ["salmon.test.rest"]
    shown = asked.get("/admin/loggers/salmon.test.rest").json()
    assert shown["level"] == "ERROR"
    assert shown["last_modified"] > 0
    assert asked.get("/admin/loggers").json()["salmon.test.rest"] == shown
    assert asked.put("/admin/loggers/pymongo", json={"level": "DEBUG"}).status_code == 404
    assert asked.put("/admin/loggers/salmon", json={"level": "LOUD"}).status_code == 400
    answer = asked.put("/admin/loggers/salmon.test.rest?scope=cluster", json={"level": "WARN"})
    assert answer.status_code == 204
    assert rows(worker.topic)["logger-cluster-salmon.test.rest"]["level"] == "WARN"


def test_credentials_are_needed_except_for_what_probes_and_prometheus_read() -> None:
    """All of Kafka Connect's calls need them, once they are configured."""
    worker = Worker(access=Access("0.0.0.0", "ops", "secret"))
    client = TestClient(application(worker.served(worker.server)), base_url="http://worker-0:8083")
    for path in ("/", "/health/live", "/metrics", "/openapi.json"):
        assert client.get(path).status_code == 200
    answer = client.get("/connectors")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="salmon"')
    assert answer.json()["error_code"] == 401
    assert client.get("/connectors", auth=("ops", "secret")).status_code == 200
    assert client.put(f"{SINK}/pause", auth=("ops", "secret")).status_code == 503, "Kafka was not reached yet"


def test_a_body_that_cannot_be_understood_is_not_quoted(asked: TestClient) -> None:
    """It may hold a secret in the wrong place."""
    answer = asked.patch(f"{SINK}/offsets", json={"offsets": "hunter2"})
    assert answer.status_code == 400
    assert "offsets" in answer.json()["message"]
    assert "hunter2" not in answer.text


# All of the sync.


def test_any_worker_shows_the_whole_sync() -> None:
    """Its fellows are found through the status topic; one that is gone is shown as such, and one that was never there too."""
    topic = MemoryStatusTopic()
    merge, one, two = Worker("merge", topic=topic), Worker(topic=topic), Worker(ordinal=1, topic=topic)
    for each in (merge, one, two):
        each.health.running()
    with running(merge, one):
        with running(two):
            for each in (merge, one, two):
                each.reported()

            def found() -> dict[str, Any]:
                return dict(asker(merge).get("/connectors?expand=status&expand=info&cluster=true").json())

            # One that does not answer within two seconds is shown as unassigned.
            wanted = {
                "salesforce-source": [],
                "mongodb-source": [],
                "merge": ["RUNNING"],
                "mongodb-sink": ["RUNNING", "RUNNING"],
                "salesforce-sink": [],
            }
            until(
                lambda: {name: states(each["status"]) for name, each in found().items()} == wanted,
                "all answer",
            )
            assert found()["salesforce-sink"]["status"]["connector"]["state"] == "UNASSIGNED"
        status = asker(merge).get("/connectors/mongodb-sink/status?cluster=true").json()
        assert states(status) == ["RUNNING", "UNASSIGNED"]
        assert status["connector"]["state"] == "RUNNING"
        assert asker(merge).get("/connectors/none?cluster=true").status_code == 404


def states(status: Mapping[str, Any]) -> list[str]:
    return [task["state"] for task in status["tasks"]]


def asker(worker: Worker) -> TestClient:
    return TestClient(application(worker.served_now), base_url=worker.url)


def test_any_worker_takes_requests_for_any_connector_of_the_sync() -> None:
    """As in Kafka Connect: the port of `run all` is one of five, and nobody has to know which."""
    topic = MemoryStatusTopic()
    source, sink = Worker("salesforce-source", topic=topic), Worker("mongodb-sink", topic=topic)
    with running(source, sink):
        for each in (source, sink):
            each.health.running()
            each.reported()
        asked = asker(source)
        until(lambda: len(source.standing.processes()) == 2, "it knows its fellow")
        for path, code, target in (
            ("pause", 202, Target.PAUSED),
            ("stop", 204, Target.STOPPED),
            ("resume", 202, Target.STARTED),
        ):
            assert asked.put(f"{SINK}/{path}").status_code == code
            sink.wanted_is(target)
        assert source.standing.target is Target.STARTED, "it was not asked for itself"
        assert asked.get(f"{SINK}/status").json()["tasks"][0]["worker_id"] == sink.server.worker_id
        assert asked.get(f"{SINK}/tasks/0/status").json()["state"] == "RUNNING"
        assert asked.get(f"{SINK}/config").json()["name"] == "mongodb-sink"
        assert asked.get(f"{SINK}/tasks").json()[0]["id"] == {"connector": "mongodb-sink", "task": 0}
        assert asked.post(f"{SINK}/tasks/0/restart").status_code == 204
        until(lambda: sink.standing.restart_asked, "the fellow restarts")
        assert asked.post(f"{SINK}/tasks/7/restart").status_code == 404
        assert asked.post(f"{SINK}/restart").status_code == 204
        assert rows(topic)["restart-connector-mongodb-sink"]["task"] is None
        assert not source.standing.restart_asked


def test_offsets_and_topics_name_the_process_that_has_them() -> None:
    """They are the connector's own, so the answer says whom to ask; a name that is not in the sync is not found at all."""
    topic = MemoryStatusTopic()
    source, sink = Worker("salesforce-source", topic=topic), Worker("mongodb-sink", topic=topic)
    with running(source, sink):
        sink.health.running()
        sink.reported()
        until(lambda: bool(source.standing.processes()), "it knows its fellow")
        for path in ("offsets", "topics"):
            answer = asker(source).get(f"{SINK}/{path}")
            assert answer.status_code == 404
            assert sink.url in answer.json()["message"]
        assert asker(source).get("/connectors/none").status_code == 404
        assert asker(source).put("/connectors/none/pause").status_code == 404
