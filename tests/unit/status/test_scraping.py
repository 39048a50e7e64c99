"""What a process tells of itself over HTTP, read as Prometheus reads it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from salmon.config.sections.api import ApiConfig
from salmon.errors import ConfigError
from salmon.kafka.topics import CONNECTORS
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.ops.rest import RestServer
from salmon.ports import free_ports
from salmon.runtime.lifecycle import Lifecycle
from salmon.status.scraping import API, Owner, Samples, addresses, ask, parsed
from support.at_hand.connect_rest import Worker, running

CRM = Owner("crm", lambda: "here")
LAG = "salmon_end_to_end_lag_seconds"
NOW_S = 1_700_000_000.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("merge")


@pytest.fixture
def serving(metrics: Metrics) -> Iterator[RestServer]:
    """A worker's own REST server, with a health that has started."""
    health = Health()
    health.running()
    server = Worker("merge", health=health, metrics=metrics).server
    lifecycle = Lifecycle()
    lifecycle.start(server)
    yield server
    lifecycle.stop("the test is over")
    lifecycle.wait()


@contextmanager
def scripted(answer: Mapping[str, Any]) -> Iterator[str]:
    """A server that gives the same JSON for every path."""
    payload = json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server looks for
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def deaf(drip: bytes = b"") -> Iterator[str]:
    """A server that takes connections and never answers, as a suspended process does; or *drip* by drip."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connections = [listener.accept()[0] for _ in range(3)]
            while not ended.wait(0.05):
                for each in connections:
                    each.sendall(drip)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()


def test_samples_are_summed_by_the_labels_that_are_asked_for(metrics: Metrics) -> None:
    """Whatever else a sample is labelled with."""
    metrics.conflict_met("Account", "salesforce")
    metrics.conflict_met("Account", None)
    metrics.conflict_met("Contact", "salesforce")
    samples = parsed(metrics.exposition().decode())
    assert samples.total("salmon_conflicts_total", object="Account") == 2
    assert samples.by("salmon_conflicts_total", "winner") == {"salesforce": 2, "held": 1}
    assert samples.total("salmon_conflicts_total", object="Lead") == 0


def test_labels_may_hold_what_the_format_escapes() -> None:
    """Quotes, commas and braces are no end of a label."""
    samples = parsed('# HELP x y\nx{a="b\\"},c",d="e"} 4 1700000000\nplain 1e3\n')
    assert samples.total("x", d="e") == 4
    assert samples.total("plain") == 1000


@pytest.mark.parametrize("text", ["", "<html>Not found</html>", "garbage {", 'cut{off="'])
def test_what_is_no_exposition_has_no_samples(text: str) -> None:
    """Another program may answer there: the table is printed all the same."""
    assert parsed(text).lines == ()


def test_a_quantile_lies_where_its_share_of_a_histogram_ends(metrics: Metrics) -> None:
    """Half of the lags are below 50 ms, and nearly all below 250 ms."""
    for lag_ms in [40] * 50 + [200] * 50:
        metrics.echo_seen("Account", "to_mongodb", int(NOW_S * 1000) - lag_ms, NOW_S)
    samples = parsed(metrics.exposition().decode())
    p50 = samples.quantile(LAG, 0.5, object="Account", direction="to_mongodb")
    p99 = samples.quantile(LAG, 0.99, object="Account", direction="to_mongodb")
    assert p50 is not None
    assert p99 is not None
    assert 0.025 < p50 <= 0.05
    assert 0.15 < p99 <= 0.25


def test_a_histogram_that_has_seen_nothing_has_no_quantile() -> None:
    """And one whose values all lie beyond its bounds has its largest bound."""
    assert Samples().quantile(LAG, 0.5) is None
    beyond = tuple((f"{LAG}_bucket", {"le": le}, n) for le, n in (("1.0", 0.0), ("+Inf", 3.0)))
    assert Samples(beyond).quantile(LAG, 0.5) == 1.0


def test_a_process_is_asked_for_its_health_and_its_metrics(serving: RestServer) -> None:
    """All come from the same port."""
    [report] = ask(CRM, {"merge": serving.url})
    assert (report.healthy, report.status, report.says) == (True, "healthy", "")
    assert report.samples.total("salmon_leads", connector="merge") == 0


def test_what_needs_a_restart_is_shown_of_a_process_that_works() -> None:
    """It is no reason to be unhealthy, and nobody would look at /health for it."""
    worker = Worker("merge")
    worker.health.running()
    worker.health.note("objects.Account.initial will count after a restart of merge.", of="configuration")
    with running(worker):
        [report] = ask(CRM, {"merge": worker.url})
    assert (report.healthy, report.degraded) == (True, False)
    assert report.says == "objects.Account.initial will count after a restart of merge."


@pytest.mark.parametrize(
    ("connector", "owner", "says"),
    [
        ("mongodb-sink", CRM, "Another connector (merge) answers at this address."),
        (
            "merge",
            Owner("shop", lambda: "here"),
            "A process of another sync (crm) answers at this address, not one of shop.",
        ),
        (
            "merge",
            Owner("crm", lambda: "there"),
            "A process of a sync with this name on another Kafka cluster (here, not there) answers at this address.",
        ),
    ],
)
def test_a_neighbour_is_not_taken_for_ours(
    serving: RestServer, connector: str, owner: Owner, says: str
) -> None:
    """Two syncs on one machine want the same ports; whose processes answer is told (case S7)."""
    [report] = ask(owner, {connector: serving.url})
    assert (report.status, report.message, report.healthy) == ("foreign", says, False)
    assert report.samples.lines == ()


def test_another_program_is_not_taken_for_ours() -> None:
    """Kafka Connect itself has the same ports, and the same paths (case S7)."""
    with scripted({"version": "4.0.0", "commit": "unknown", "kafka_cluster_id": "here"}) as url:
        [report] = ask(CRM, {"merge": url})
    assert (report.status, report.healthy) == ("foreign", False)
    assert "does not report its sync" in report.message


def test_what_a_process_waits_for_is_said_with_its_time() -> None:
    """Since when, and what to do (case S5)."""
    waits = [
        {
            "what": "mongodb",
            "since": "2026-11-29T01:00:00+00:00",
            "since_s": 31,
            "sentence": "MongoDB is away.",
        }
    ]
    told = {
        "sync": "crm",
        "connector": "merge",
        "status": "unhealthy",
        "degraded": True,
        "waiting_for": waits,
    }
    with scripted(told) as url:
        [report] = ask(CRM, {"merge": url})
    assert (report.status, report.degraded, report.healthy) == ("unhealthy", True, False)
    assert report.says == "MongoDB is away. (Since 2026-11-29T01:00:00+00:00.)"
    with scripted({**told, "status": "healthy"}) as url:
        [report] = ask(CRM, {"merge": url})
    assert report.healthy
    assert report.says, "one object waits, while the process works for the others (case V10)"


def test_no_answer_is_an_answer() -> None:
    """A process that is down is told of, and stops nothing."""
    (port,) = free_ports(1)
    [report] = ask(CRM, {"merge": f"http://127.0.0.1:{port}"})
    assert (report.status, report.message) == (
        "down",
        "No answer (ConnectionError): the process does not run, or has another address.",
    )


def test_whatever_hangs_the_others_are_shown_in_time(serving: RestServer) -> None:
    """One says nothing, one sends a byte now and then for ever: each has its row, and the bound holds (case S6)."""
    with deaf() as silent, deaf(drip=b"H") as dripping:
        places = {"salesforce-source": silent, "mongodb-source": dripping, "merge": serving.url}
        began = time.monotonic()
        reports = {each.connector: each for each in ask(CRM, places, within_s=1.0)}
        assert time.monotonic() - began < 3.0
    assert [(name, each.status) for name, each in reports.items()] == [
        ("salesforce-source", "down"),
        ("mongodb-source", "down"),
        ("merge", "healthy"),
    ]
    assert reports["mongodb-source"].message == "No answer within 1 s: the process hangs, or it is suspended."


def test_ports_come_from_the_file_that_run_all_wrote(tmp_path: Path) -> None:
    """Beside the configuration, unless another one is named."""
    config = tmp_path / "sync.yaml"
    written = {"merge": {"url": "http://127.0.0.1:5", "port": 5, "pid": 1}}
    (tmp_path / "ports.json").write_text(json.dumps(written), encoding="utf-8")
    assert addresses(config_file=config, ports_file=None, host="h", port=1) == {"merge": "http://127.0.0.1:5"}
    with pytest.raises(ConfigError, match="--ports-file"):
        addresses(config_file=config, ports_file=tmp_path / "no", host="h", port=1)


def test_without_a_file_the_ports_are_those_that_run_all_takes(tmp_path: Path) -> None:
    """One after the other from the configuration's; of free ones nobody knows."""
    config = tmp_path / "sync.yaml"
    found = addresses(config_file=config, ports_file=None, host="127.0.0.1", port=8083)
    assert found == {name: f"http://127.0.0.1:{8083 + i}" for i, name in enumerate(CONNECTORS)}
    assert addresses(config_file=config, ports_file=None, host="127.0.0.1", port=0) == {}


def test_the_api_is_where_the_file_or_else_the_configuration_says(tmp_path: Path) -> None:
    """It may be a pod of its own, which `run all` has not started."""
    config, url = tmp_path / "sync.yaml", "https://127.0.0.1:8090"
    found = addresses(config_file=config, ports_file=None, host="127.0.0.1", port=8083, api=url)
    assert list(found.items())[-1] == (API, url)
    assert addresses(config_file=config, ports_file=None, host="h", port=0, api=url) == {API: url}
    written = {"merge": {"url": "http://127.0.0.1:5"}}
    (tmp_path / "ports.json").write_text(json.dumps(written), encoding="utf-8")
    assert addresses(config_file=config, ports_file=None, host="h", port=1, api=url)[API] == url
    written[API] = {"url": "http://127.0.0.1:6"}
    (tmp_path / "ports.json").write_text(json.dumps(written), encoding="utf-8")
    for named in (None, url):
        assert addresses(config_file=config, ports_file=None, host="h", port=1, api=named) == {
            "merge": "http://127.0.0.1:5", API: "http://127.0.0.1:6"
        }  # fmt: skip


def test_the_address_of_the_api_is_that_of_its_settings() -> None:
    """With TLS it is a name that a certificate can have; a port that nobody knows is none."""
    files = {"certificate_file": "a", "key_file": "b"}
    assert ApiConfig(port=81).reached_at == "http://127.0.0.1:81"
    assert ApiConfig.model_validate({"port": 81, "tls": files}).reached_at == "https://127.0.0.1:81"
    assert ApiConfig(port=0).reached_at is None
