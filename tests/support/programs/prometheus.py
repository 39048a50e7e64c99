"""
A real Prometheus for a test: it scrapes the processes of a ring and evaluates the rules of deploy/prometheus.

    with running_prometheus(tmp_path, rules) as prometheus:
        prometheus.scrape({"merge": 8083})
        until(lambda: prometheus.firing("SalmonProcessDown"), "the alert fires")
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml

from salmon.devstack.processes import HOST, Background, on_free_ports

DEPLOY: Final = Path(__file__).parents[3] / "deploy"
RECORDING: Final = DEPLOY / "prometheus" / "recording.yml"
ALERTS: Final = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARDS: Final = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
_METRIC: Final = re.compile(r"\b(?:salmon|kafka_connect|process)_\w+\b")
_INTERVAL: Final = "1s"
_START_MAX_S: Final = 60.0

Rule = dict[str, Any]


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`; the test is skipped where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(
            f"{name} is not installed: run tests/tools/prometheus.sh as root (Debian's package prometheus)"
        )
    return found


def rules_of(file: Path) -> list[Rule]:
    """All rules of a file, without their groups."""
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Dashboard and panel, of all that ask for something."""
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            if panel["type"] != "row":
                yield file.stem, panel


def queries() -> Iterator[str]:
    """What the panels of all dashboards ask for."""
    for _, panel in panels():
        yield from (target["expr"] for target in panel["targets"])


def metrics_in(query: str) -> set[str]:
    """The metrics of processes that a query names; what rules have recorded is not among them."""
    plain = re.sub(r"\"[^\"]*\"|\w+:[\w:]+|\b(?:by|on|group_left|without) \([^)]*\)", "", query)
    return set(_METRIC.findall(plain))


def alerts_without_waiting(shorter: Mapping[str, Mapping[str, str]]) -> str:
    """
    The alerts with no `for`.

    Args:
        shorter: Alert -> what to put in the place of which part of its expression, for a threshold that no test can wait for.
    """
    told = yaml.safe_load(ALERTS.read_text())
    unused = dict(shorter)
    for group in told["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
            for old, new in unused.pop(rule["alert"], {}).items():
                assert old in rule["expr"], f"{rule['alert']} has no {old!r}"
                rule["expr"] = rule["expr"].replace(old, new)
    assert not unused, f"no such alerts: {sorted(unused)}"
    return yaml.safe_dump(told)


@dataclass
class Prometheus:
    """One that runs. What it scrapes is read from a file, and again when that changes."""

    url: str
    targets_file: Path
    secure_file: Path
    http: requests.Session = field(default_factory=requests.Session)

    def scrape(self, ports: Mapping[str, int], secure: Sequence[int] = ()) -> None:
        """From now on, scrape these processes; *secure*: ports that speak TLS."""
        for file, which in ((self.targets_file, list(ports.values())), (self.secure_file, list(secure))):
            told = [{"targets": [f"{HOST}:{port}" for port in which]}]
            new = file.with_suffix(".new")
            new.write_text(json.dumps(told))
            new.replace(file)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series that answer a query now: each has `metric` (its labels) and `value`."""
        answer = self.http.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=10)
        assert answer.status_code == 200, f"{query}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def firing(self, alert: str, **labels: str) -> list[dict[str, Any]]:
        """The series of the alert that fire now."""
        matching = "".join(f', {name}="{value}"' for name, value in labels.items())
        return self.ask(f'ALERTS{{alertname="{alert}", alertstate="firing"{matching}}}')

    def has_fired(self, alert: str, within: str = "1h") -> bool:
        """Whether it has fired at any evaluation since then, however short that was."""
        return bool(self.ask(f'max_over_time(ALERTS{{alertname="{alert}", alertstate="firing"}}[{within}])'))

    def rules_are_well(self) -> bool:
        """Whether every rule was evaluated, and none has failed."""
        groups = self.http.get(f"{self.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return bool(rules) and all(rule["health"] == "ok" for rule in rules)


@contextmanager
def running_prometheus(folder: Path, alerts: str) -> Iterator[Prometheus]:
    """One in *folder* with the recording rules as they are, and these alerts."""
    program = tool("prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alerts.yml").write_text(alerts)
    targets, secure = folder / "targets.json", folder / "secure.json"
    found = {"scheme": "https", "tls_config": {"insecure_skip_verify": True}}
    configuration = {
        "global": {
            "scrape_interval": _INTERVAL,
            "scrape_timeout": _INTERVAL,
            "evaluation_interval": _INTERVAL,
        },
        "rule_files": [str(RECORDING), str(folder / "alerts.yml")],
        "scrape_configs": [
            {"job_name": "salmon", "file_sd_configs": [{"files": [str(targets)]}]},
            {
                "job_name": "secure",
                "file_sd_configs": [{"files": [str(secure)]}],
                "relabel_configs": [{"target_label": "job", "replacement": "salmon"}],
                **found,
            },
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    background = Background("Prometheus", folder / "prometheus.log")
    http = requests.Session()
    http.trust_env = False
    url = ""

    def serves() -> bool:
        try:
            return http.get(f"{url}/-/ready", timeout=2).ok
        except requests.ConnectionError:
            return False

    def start_on(ports: Sequence[int]) -> None:
        nonlocal url
        url = f"http://{HOST}:{ports[0]}"
        background.start(
            [
                *(program, f"--config.file={folder / 'prometheus.yml'}"),
                *(f"--web.listen-address={HOST}:{ports[0]}", f"--storage.tsdb.path={folder / 'data'}"),
            ],
            serves=serves,
            within_s=_START_MAX_S,
        )

    made = Prometheus(url, targets, secure, http)
    made.scrape({})
    try:
        on_free_ports(1, start_on)
        made.url = url
        yield made
    finally:
        background.stop()
