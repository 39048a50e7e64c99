"""TLS of the REST port: who is let in, and what happens when a certificate is renewed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from kafka_connect import KafkaConnect

from salmon.app import asked
from salmon.errors import ConfigError
from salmon.ops.connect.access import Access
from salmon.ops.connect.status_topic import Target
from salmon.ops.health import State
from salmon.ops.tls import Tls
from salmon.status.scraping import Owner, ask
from support.at_hand.connect_rest import MemoryStatusTopic, Worker, running
from support.programs.certificates import Authority, Pair
from support.waiting import until

SINK = "mongodb-sink"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(authority: Authority, pair: Pair, *, client_ca_file: str | None = None) -> Tls:
    return Tls(pair.certificate_file, pair.key_file, client_ca_file, authority.ca_file)


@contextmanager
def served(
    given: Tls, access: Access | None = None, topic: MemoryStatusTopic | None = None
) -> Iterator[Worker]:
    worker = Worker(SINK, topic=topic, access=access, tls=given)
    worker.health.running()
    with running(worker):
        yield worker


def test_kafka_connect_py_works_over_tls_as_over_http(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It checks the certificate by the CA in the environment, as `requests` does; without that CA it refuses."""
    with served(tls(authority, authority.gives()), Access("0.0.0.0", "ops", "secret")) as worker:
        assert worker.url == f"https://127.0.0.1:{worker.server.port}"
        stock = KafkaConnect(url=worker.url, auth="ops:secret")
        with pytest.raises(requests.exceptions.SSLError):
            stock.list_connectors()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.ca_file)
        assert stock.list_connectors() == [SINK]
        stock.pause_connector(SINK)
        assert worker.standing.target is Target.PAUSED
        with pytest.raises(requests.HTTPError, match="401"):
            KafkaConnect(url=worker.url, auth="ops:wrong").list_connectors()


def test_a_connection_without_tls_is_not_answered(authority: Authority) -> None:
    """A password must not cross the network in the open by a mistyped address."""
    with served(tls(authority, authority.gives())) as worker, pytest.raises(requests.ConnectionError):
        requests.get(worker.url.replace("https", "http"), timeout=5)


def test_with_a_ca_of_clients_connects_calls_need_a_certificate_and_probes_do_not(
    authority: Authority, tmp_path: Path
) -> None:
    """A kubelet and Prometheus have none; a certificate of another CA is refused at once."""
    given = tls(authority, authority.gives(), client_ca_file=authority.ca_file)
    with served(given, Access("0.0.0.0", by_certificate=True)) as worker:

        def code(path: str, client: Pair | None, method: str = "GET", **headers: str) -> int:
            pair = None if client is None else (client.certificate_file, client.key_file)
            return requests.request(
                method,
                worker.url + path,
                verify=authority.ca_file,
                cert=pair,
                timeout=5,
                headers=headers,
            ).status_code

        assert [code(path, None) for path in ("/", "/health", "/metrics")] == [200, 200, 200]
        assert code("/connectors", None) == 403
        ours = authority.gives("client")
        assert code("/connectors", ours) == 200
        assert code(f"/connectors/{SINK}/pause", ours, "PUT") == 202
        assert code(f"/connectors/{SINK}/pause", ours, "PUT", Origin="https://elsewhere.example") == 403
        with pytest.raises(requests.ConnectionError):
            code("/connectors", Authority(tmp_path, "Another CA").gives("stranger"))


def test_a_certificate_does_not_replace_a_password(authority: Authority) -> None:
    """With both in the configuration, both are needed."""
    given = tls(authority, authority.gives(), client_ca_file=authority.ca_file)
    with served(given, Access("0.0.0.0", token="t", by_certificate=True)) as worker:
        how = {"verify": authority.ca_file, "timeout": 5}
        ours = authority.gives("client")
        pair = (ours.certificate_file, ours.key_file)
        right = {"Authorization": "Bearer t"}
        url = f"{worker.url}/connectors"
        assert requests.get(url, **how, headers=right).status_code == 403  # type: ignore[arg-type]
        assert requests.get(url, **how, cert=pair).status_code == 401  # type: ignore[arg-type]
        assert requests.get(url, **how, cert=pair, headers=right).status_code == 200  # type: ignore[arg-type]


def test_a_renewed_certificate_is_shown_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    """The metric says when it ends; a CA of clients that was taken out lets nobody in any more."""
    clients = Authority(tmp_path, "Clients")
    pair = authority.gives(days=1)
    given = tls(authority, pair, client_ca_file=clients.ca_file)
    with served(given, Access("0.0.0.0", by_certificate=True)) as worker:

        def ends_in_days() -> float:
            value = worker.metrics.registry.get_sample_value(
                "salmon_rest_certificate_end_timestamp_seconds", {"connector": SINK}
            )
            assert value is not None
            return round((value - time.time()) / 86_400)

        def code(client: Pair) -> int:
            return requests.get(
                f"{worker.url}/connectors",
                verify=authority.ca_file,
                cert=(client.certificate_file, client.key_file),
                timeout=5,
            ).status_code

        former = clients.gives("former")
        assert code(former) == 200
        assert ends_in_days() == 1
        authority.gives(days=90, into=pair)
        Path(clients.ca_file).write_bytes(Path(authority.ca_file).read_bytes())
        with pytest.raises(requests.ConnectionError):
            code(former)
        assert code(authority.gives("present")) == 200
        assert ends_in_days() == 90


def test_a_half_written_certificate_leaves_the_former_one_and_shows_in_health(authority: Authority) -> None:
    """The key is there already, its certificate not yet: nobody is turned away meanwhile."""
    pair = authority.gives(days=1)
    with served(tls(authority, pair)) as worker:

        def waits() -> list[str]:
            body = requests.get(f"{worker.url}/health", verify=authority.ca_file, timeout=5).json()
            return [each["sentence"] for each in body["waiting_for"]]

        whole = Path(pair.certificate_file).read_bytes()
        Path(pair.certificate_file).write_bytes(whole[:100])
        [sentence] = waits()
        assert "cannot be used together" in sentence
        assert "former certificate" in sentence
        Path(pair.certificate_file).unlink()
        [sentence] = waits()
        assert "rest.tls.certificate_file" in sentence
        Path(pair.certificate_file).write_bytes(whole)
        assert waits() == []
        assert worker.health.report().state is State.RUNNING


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"certificate_file": "/nowhere.pem"}, "rest.tls.certificate_file: /nowhere.pem cannot be read"),
        ({"key_file": "CA"}, "cannot be used together"),
        ({"client_ca_file": "KEY"}, "rest.tls.client_ca_file: .* cannot be used"),
        ({"ca_file": "KEY"}, "rest.tls.ca_file: .* cannot be used"),
    ],
)
def test_files_that_cannot_be_used_end_the_start_with_one_sentence(
    authority: Authority, wrong: dict[str, str], says: str
) -> None:
    """It names the key and the file."""
    pair = authority.gives()
    files = {"CA": authority.ca_file, "KEY": pair.key_file}
    right = {"certificate_file": pair.certificate_file, "key_file": pair.key_file}
    with pytest.raises(ConfigError, match=says):
        Worker(SINK, tls=Tls(**right | {key: files.get(name, name) for key, name in wrong.items()}))


def test_processes_find_each_other_over_tls(authority: Authority) -> None:
    """`?cluster=true` checks the other's certificate and shows its own, by the same configuration."""
    topic = MemoryStatusTopic()
    given = tls(authority, authority.gives(), client_ca_file=authority.ca_file)
    access = Access("0.0.0.0", by_certificate=True)
    one, other = (Worker(SINK, number, topic=topic, access=access, tls=given) for number in (0, 1))
    for each in (one, other):
        each.health.running()
    with running(one, other):
        other.reported()
        one.reported()

        def states() -> list[str]:
            answer = requests.get(
                f"{one.url}/connectors?expand=status&cluster=true",
                verify=authority.ca_file,
                cert=(given.certificate_file, given.key_file),
                timeout=10,
            ).json()
            return [task["state"] for task in answer[SINK]["status"]["tasks"]]

        # One that does not answer within two seconds is shown as unassigned.
        until(lambda: states() == ["RUNNING", "RUNNING"], "each shows the other")


def test_status_and_run_all_ask_over_tls(authority: Authority) -> None:
    """`run all` looks at its own children as a kubelet does; `status` says what is wrong with a certificate."""
    with served(tls(authority, authority.gives())) as worker:
        port = worker.server.port
        assert asked.is_ready("127.0.0.1", port, secure=True)
        assert asked.is_live("127.0.0.1", port, secure=True)
        assert not asked.is_live("127.0.0.1", port)
        [seen] = ask(Owner("crm"), {SINK: worker.url}, ca_file=authority.ca_file)
        assert seen.healthy
        [seen] = ask(Owner("crm"), {SINK: worker.url})
        assert seen.status == "down"
        assert "rest.tls.ca_file" in seen.says
