"""The REST API of a worker: Kafka Connect's paths and bodies, and the metrics."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import requests

from salmon import __version__, ports
from salmon.calls import Peer
from salmon.errors import ConfigError, Unavailable
from salmon.ops.rest import HANDED_OVER, RestServer
from salmon.plugin.contract import BudgetState, Position
from support.at_hand.connect_rest import Worker


class Served:
    """A server on a free port."""

    def __init__(self) -> None:
        worker = Worker("mongodb-sink", 2)
        self.health, self.metrics, self.server = worker.health, worker.metrics, worker.server
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    def get(self, path: str) -> tuple[int, Any]:
        answer = requests.get(f"{self.server.url}{path}", timeout=5)
        return answer.status_code, answer.json()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.server.stop()
    served.thread.join(5)
    assert not served.thread.is_alive(), "it stops when told"


def test_the_root_says_whose_answer_it_is(served: Served) -> None:
    """What tools ask first, and how `status` knows its own processes from a neighbour's (case S7)."""
    status, body = served.get("/")
    assert status == 200
    assert {name: body[name] for name in body if name not in {"version", "commit"}} == {
        "kafka_cluster_id": "here",
        "sync": "crm",
        "connector": "mongodb-sink",
        "ordinal": 2,
    }


def test_the_pages_are_the_same_however_they_are_asked_for(served: Served) -> None:
    """They are answered before the application is there, which is made for the first request that needs it; only GET is allowed."""
    served.health.running()
    first = served.get("/health/live")
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(served.get, ["/connectors", "/connectors/", "/health/live/", "/nothing"]))
    assert [status for status, _ in together] == [200, 200, 200, 404]
    assert together[0] == together[1]
    assert together[2] == first == served.get("/health/live")
    assert requests.post(f"{served.server.url}/health/live", timeout=5).status_code == 405


def test_health_has_the_codes_of_kip_1017(served: Served) -> None:
    """503 while it starts, 200 when it runs, 500 when it has failed."""
    assert served.get("/health")[0] == 503
    assert served.get("/health/live")[0] == 200
    served.health.running()
    status, body = served.get("/health")
    assert (status, body["status"], body["ready"]) == (200, "healthy", True)
    served.health.ended(Unavailable("gone"))
    assert served.get("/health")[0] == 500
    assert served.get("/health/live")[0] == 500


def test_a_server_that_hangs_shows_in_health_and_metrics_and_not_in_live(served: Served) -> None:
    """Each probe has its path: readiness sees the outage, liveness does not (case S5)."""
    served.health.running()
    assert served.get("/health/ready") == (
        200,
        {"ready": True, "message": "Worker has completed startup and runs.", "waiting_for": []},
    )
    served.health.calls.begin(Peer.MONGODB, "find", patience_s=0)
    status, body = served.get("/health")
    assert (status, body["status"], body["live"], body["degraded"]) == (500, "unhealthy", True, True)
    [waiting] = body["waiting_for"]
    assert waiting["what"] == "mongodb"
    assert waiting["since_s"] >= 0
    assert datetime.fromisoformat(waiting["since"]) <= datetime.now(UTC)
    assert "MongoDB has not answered" in waiting["sentence"]
    assert served.get("/health/ready")[0] == 503
    assert served.get("/health/live")[0] == 200
    samples = served.metrics.registry.get_sample_value
    labels = {"connector": "mongodb-sink"}
    assert (samples("salmon_peer_silent_seconds", {**labels, "peer": "mongodb"}) or 0) > 0
    assert samples("salmon_peer_silent_seconds", {**labels, "peer": "kafka"}) == 0


def test_status_is_shaped_as_kafka_connect_shapes_it(served: Served) -> None:
    """name, connector, tasks, type; a trace only where it failed."""
    served.health.running()
    assert served.get("/connectors")[1] == ["mongodb-sink"]
    _, body = served.get("/connectors/mongodb-sink/status")
    worker = f"127.0.0.1:{served.server.port}"
    assert body == {
        "name": "mongodb-sink",
        "connector": {"state": "RUNNING", "worker_id": worker, "version": __version__},
        "tasks": [{"id": 2, "state": "RUNNING", "worker_id": worker, "version": __version__}],
        "type": "sink",
    }
    served.health.ended(Unavailable("gone"))
    assert "gone" in served.get("/connectors/mongodb-sink/status")[1]["tasks"][0]["trace"]
    _, body = served.get("/connectors/mongodb-sink")
    assert body["tasks"] == [{"connector": "mongodb-sink", "task": 2}]


def test_what_is_not_there_is_answered_in_connects_words(served: Served) -> None:
    """error_code and message, for an unknown connector and an unknown path alike."""
    for path in ("/connectors/other", "/connectors/other/status", "/nowhere"):
        status, body = served.get(path)
        assert (status, body["error_code"]) == (404, 404)
        assert body["message"]


def test_metrics_have_connects_names_and_ours(served: Served) -> None:
    """Counters rise under the names that dashboards know."""
    served.metrics.records_read.inc(3)
    served.metrics.write_finished("Account", "applied", "to_mongodb", 1_000, 1.25)
    served.metrics.count_api_calls(lambda: {"query": 7})
    served.metrics.show_budgets(lambda: [Allowed()])
    said = requests.get(f"{served.server.url}/metrics", timeout=5).text
    for line in (
        'kafka_connect_sink_task_metrics_sink_record_read_total{connector="mongodb-sink",task="0"} 3.0',
        'salmon_writes_total{connector="mongodb-sink",object="Account",outcome="applied"} 1.0',
        'salmon_write_lag_seconds_sum{connector="mongodb-sink",direction="to_mongodb",object="Account"} 0.25',
        'salmon_api_calls_total{connector="mongodb-sink",resource="query"} 7.0',
        'salmon_budget_left{budget="calls",connector="mongodb-sink"} 7.0',
        'salmon_budget_level{budget="calls",connector="mongodb-sink"} 2.0',
    ):
        assert line in said
    assert "salmon_budget_exhausted_in_seconds{" not in said, "it is not in sight"


class Allowed:
    """What a connector may use of something."""

    name = "calls"

    def states(self) -> Sequence[BudgetState]:
        return [BudgetState("calls", allowed=100, used=50, ours=40, left=7, level=2)]

    def to_store(self) -> Position | None:
        return None

    def take(self, process: str, used: Position | None) -> None:
        raise AssertionError(process, used)


def test_a_taken_port_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the key and the mend."""
    monkeypatch.setattr(ports, "listening", partial(ports.listening, patience_s=0))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(ConfigError, match=r"rest: .*--port 0"):
            RestServer(host="127.0.0.1", port=holder.getsockname()[1], served=Worker().served)


def test_who_asks_while_the_process_restarts_is_answered_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`os.execv` takes some seconds; the port is never refused, also if it is any free one, and it stays the same."""
    monkeypatch.setenv(HANDED_OVER, "")
    before = Served()
    before.server.keep_port()
    before.server.stop()
    before.thread.join(5)
    before.server.hand_over_port()
    with socket.create_connection(("127.0.0.1", before.server.port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert before.server._kept is not None
        before.server._kept.detach()  # as the end of a program does: the descriptor stays
        after = Served()
        assert after.server.port == before.server.port
        assert b"200 OK" in client.recv(1_000)
    assert HANDED_OVER not in os.environ
    after.server.stop()
    after.thread.join(5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", after.server.port), timeout=5)


@pytest.mark.parametrize("handed", ["99999", "x", "socket of another port"])
def test_a_socket_that_is_not_the_wanted_one_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, handed: str
) -> None:
    """`rest.port` was changed before the restart, or something else is in the variable."""
    other = socket.create_server(("127.0.0.1", 0))
    wanted = ports.free_ports(1)[0]
    monkeypatch.setenv(HANDED_OVER, str(other.detach()) if " " in handed else handed)
    server = RestServer(host="127.0.0.1", port=wanted, served=Worker().served)
    assert server.port == wanted
    server._socket.close()
