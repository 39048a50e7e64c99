"""
Asks the processes for /, /health and /metrics on their REST ports, within a bounded time.

The metrics' names and meanings are declared in salmon.ops.metrics.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from prometheus_client.parser import text_string_to_metric_families

from salmon.errors import ConfigError
from salmon.kafka.topics import CONNECTORS

# With the start of the command, the table is there within three seconds, whatever hangs.
ANSWER_MAX_S: Final = 2.0

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    """What a process counted, since it started."""

    lines: tuple[tuple[str, Labels, float], ...] = ()

    def of(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """Every sample of that name whose labels are these, and perhaps more."""
        for found, has, value in self.lines:
            if found == name and all(has.get(label) == wanted for label, wanted in labels.items()):
                yield has, value

    def total(self, name: str, **labels: str) -> float:
        """Their sum; 0 for none."""
        return sum(value for _, value in self.of(name, **labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Their sums by one label."""
        sums: dict[str, float] = {}
        for has, value in self.of(name, **labels):
            sums[has.get(label, "")] = sums.get(has.get(label, ""), 0.0) + value
        return sums

    def quantile(self, name: str, q: float, **labels: str) -> float | None:
        """
        The q-quantile of a histogram, interpolated within its bucket as Prometheus' histogram_quantile does.

        Returns:
            None where nothing was observed; the largest finite bound where it lies beyond that.
        """
        buckets: dict[float, float] = {}
        for has, value in self.of(f"{name}_bucket", **labels):
            bound = float(has["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        bounds = sorted(buckets)
        if not bounds or buckets[bounds[-1]] == 0:
            return None
        rank = q * buckets[bounds[-1]]
        below, lower = 0.0, 0.0
        for bound in bounds:
            if buckets[bound] >= rank:
                if math.isinf(bound):
                    return lower
                inside = buckets[bound] - below
                return lower + (bound - lower) * ((rank - below) / inside if inside else 1.0)
            below, lower = buckets[bound], bound
        return lower


def parsed(text: str) -> Samples:
    """The samples of an exposition (Prometheus' text format); none where it is not one."""
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError:
        return Samples()
    return Samples(
        tuple((each.name, each.labels, each.value) for family in families for each in family.samples)
    )


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One process, as its REST port tells; or that nobody answers there."""

    connector: str
    url: str
    # healthy, starting, unhealthy; down: no answer; foreign: somebody else's process; unknown: nobody knows where it is
    status: str
    message: str
    samples: Samples = Samples()
    ready: bool = False
    degraded: bool = False
    waiting_for: tuple[Mapping[str, Any], ...] = ()  # as /health has it

    @property
    def healthy(self) -> bool:
        return self.status == "healthy"

    @property
    def says(self) -> str:
        """What somebody who looks should know; nothing where all is well."""
        if self.healthy and not self.degraded:
            return ""
        if self.waiting_for:
            return " ".join(f"{each['sentence']} (Since {each['since']}.)" for each in self.waiting_for)
        return self.message


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose processes they must be. *cluster_id*: of Kafka, where it is known by now."""

    name: str
    cluster_id: Callable[[], str | None] = lambda: None


def ask(owner: Owner, places: Mapping[str, str], *, within_s: float = ANSWER_MAX_S) -> list[ProcessReport]:
    """
    Ask processes how they are, all at once.

    Args:
        places: Connector -> the base address of its REST port.
        within_s: What has not answered by then does not answer.

    Returns:
        One report for each, in order. Never raises: no answer is an answer.
    """
    asked = [_Asked(connector, url, within_s) for connector, url in places.items()]
    deadline = time.monotonic() + within_s
    for each in asked:
        each.wait(deadline)
    cluster_id = owner.cluster_id()
    return [each.report(owner.name, cluster_id, within_s) for each in asked]


class _Asked:
    """The questions to one process. Each has a thread of its own that nobody waits for: a time-out ends no slow answer."""

    def __init__(self, connector: str, url: str, within_s: float) -> None:
        self._connector, self._url, self._within_s = connector, url, within_s
        self._answers: dict[str, requests.Response] = {}
        self._error: requests.RequestException | None = None
        self._threads = [
            threading.Thread(target=self._ask, args=(path,), name=f"ask-{connector}{path}", daemon=True)
            for path in ("/", "/health", "/metrics")
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, deadline: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _ask(self, path: str) -> None:
        try:
            self._answers[path] = requests.get(f"{self._url}{path}", timeout=self._within_s)
        except requests.RequestException as error:
            self._error = error

    def report(self, sync: str, cluster_id: str | None, within_s: float) -> ProcessReport:
        answers = dict(self._answers)  # threads may still add
        if not answers:
            return self._down(within_s)
        if "/" in answers and (somebody := _somebody_else(answers["/"], self._connector, sync, cluster_id)):
            return ProcessReport(self._connector, self._url, "foreign", somebody)
        health = _object(answers.get("/health"))
        if "/" not in answers or health is None:
            message = f"It answers only in part: not all of its answers came within {within_s:.0f} s."
            return ProcessReport(self._connector, self._url, "down", message)
        return ProcessReport(
            self._connector,
            self._url,
            str(health.get("status")),
            str(health.get("message")),
            parsed(answers["/metrics"].text) if "/metrics" in answers else Samples(),
            ready=bool(health.get("ready")),
            degraded=bool(health.get("degraded")),
            waiting_for=tuple(health.get("waiting_for") or ()),
        )

    def _down(self, within_s: float) -> ProcessReport:
        message = f"It does not answer within {within_s:.0f} s: it hangs, or it is suspended."
        if self._error is not None and not isinstance(self._error, requests.Timeout):
            message = f"No answer ({type(self._error).__name__}): it does not run, or not there."
        return ProcessReport(self._connector, self._url, "down", message)


def _somebody_else(root: requests.Response, connector: str, sync: str, cluster_id: str | None) -> str:
    """Who answers, if it is not our *connector*; empty if it is."""
    said = _object(root) or {}
    if "sync" not in said:
        return (
            "Another program answers there, or a Salmon of an older version: it does not say for which sync."
        )
    if said["sync"] != sync:
        return f"It answers for another sync ({said['sync']}), not for {sync}."
    if said.get("connector") != connector:
        return f"{said.get('connector')} answers there."
    theirs = said.get("kafka_cluster_id")
    if theirs and cluster_id and theirs != cluster_id:
        return f"It answers for a sync of this name on another Kafka cluster ({theirs}, not {cluster_id})."
    return ""


def _object(answer: requests.Response | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def addresses(*, config_file: Path, ports_file: Path | None, host: str, port: int) -> Mapping[str, str]:
    """
    Where the REST port of each connector is: as `run all --ports-file` wrote it, else the ports that `run all` takes.

    Args:
        config_file: A `ports.json` beside it is taken where no *ports_file* is named.
        host, port: The configuration's `rest`. Of port 0 nobody knows what it became.

    Raises:
        ConfigError: *ports_file* cannot be read.
    """
    beside = config_file.absolute().parent / "ports.json"
    if ports_file is None and beside.is_file():
        ports_file = beside
    if ports_file is not None:
        try:
            found = json.loads(ports_file.read_text(encoding="utf-8"))
            return {name: str(found[name]["url"]) for name in CONNECTORS if name in found}
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigError(
                f"--ports-file {ports_file}: cannot be read. Give the file that `salmon run all --ports-file` writes."
            ) from None
    if port == 0:
        return {}
    shown = f"[{host}]" if ":" in host else host
    return {name: f"http://{shown}:{port + number}" for number, name in enumerate(CONNECTORS)}
