"""
Asks the processes for /, /health and /metrics on their REST ports, within a bounded time.

The metrics' names and meanings are declared in salmon.ops.metrics.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from prometheus_client.parser import text_string_to_metric_families

from salmon.config.models import SyncConfig
from salmon.errors import ConfigError
from salmon.foreign_json import json_in
from salmon.kafka.topics import CONNECTORS
from salmon.ports import url_of

# Together with the start of the command, the table appears within three seconds, whatever hangs.
ANSWER_MAX_S: Final = 2.0

API: Final = "api"  # the process of `salmon run api`

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    """What a process has counted since it started."""

    lines: tuple[tuple[str, Labels, float], ...] = ()

    def of(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """Return every sample with that name and at least these labels."""
        for found, has, value in self.lines:
            if found == name and all(has.get(label) == wanted for label, wanted in labels.items()):
                yield has, value

    def total(self, name: str, **labels: str) -> float:
        """Return their sum; 0 if there are none."""
        return sum(value for _, value in self.of(name, **labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return their sums by one label."""
        sums: dict[str, float] = {}
        for has, value in self.of(name, **labels):
            sums[has.get(label, "")] = sums.get(has.get(label, ""), 0.0) + value
        return sums

    def quantile(self, name: str, q: float, **labels: str) -> float | None:
        """
        The q-quantile of a histogram, interpolated within its bucket as Prometheus' histogram_quantile does.

        Returns:
            None if nothing was observed; the largest finite bound if the quantile is above it.
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
    """Return the samples of an exposition (Prometheus' text format); none if it is not valid."""
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError:
        return Samples()
    return Samples(
        tuple((each.name, each.labels, each.value) for family in families for each in family.samples)
    )


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One process, as its REST port reports; or that there is no answer."""

    connector: str
    url: str
    # healthy, starting, unhealthy; down: no answer; foreign: another program or sync; unknown: its address is not known
    status: str
    message: str
    samples: Samples = Samples()
    ready: bool = False
    degraded: bool = False
    waiting_for: tuple[Mapping[str, Any], ...] = ()  # as /health has it
    notes: tuple[str, ...] = ()  # the same

    @property
    def healthy(self) -> bool:
        return self.status == "healthy"

    def counted(self, name: str, **labels: str) -> int | None:
        """Return the sum of a metric; None if the process has not reported its metrics, e.g. because it hangs."""
        return int(self.samples.total(name, **labels)) if self.samples.lines else None

    def counted_by(self, name: str, label: str, **labels: str) -> dict[str, int] | None:
        """As counted(), by the values of one label."""
        if not self.samples.lines:
            return None
        return {value: int(number) for value, number in self.samples.by(name, label, **labels).items()}

    @property
    def says(self) -> str:
        """Return what a person should know; empty if everything works."""
        if self.healthy and not self.degraded:
            return " ".join(self.notes)
        if self.waiting_for:
            waits = (f"{each['sentence']} (Since {each['since']}.)" for each in self.waiting_for)
            return " ".join((*waits, *self.notes))
        return self.message


@dataclass(frozen=True, slots=True)
class Owner:
    """The sync to which the processes must belong; None: any. *cluster_id*: of Kafka, if it is known yet."""

    name: str | None
    cluster_id: Callable[[], str | None] = lambda: None


def ask(
    owner: Owner,
    places: Mapping[str, str],
    *,
    within_s: float = ANSWER_MAX_S,
    ca_file: str | None = None,
    api_ca_file: str | None = None,
) -> list[ProcessReport]:
    """
    Ask all processes at once how they are.

    Args:
        places: Connector -> base address of its REST port.
        within_s: How long to wait for an answer.
        ca_file: The CAs that an https address is checked by; *api_ca_file*: that of the API. None: the system's.

    Returns:
        One report for each, in order. Never raises: a missing answer is also reported.
    """
    asked = [
        _Asked(connector, url, within_s, api_ca_file if connector == API else ca_file)
        for connector, url in places.items()
    ]
    deadline = time.monotonic() + within_s
    for each in asked:
        each.wait(deadline)
    cluster_id = owner.cluster_id()
    return [each.report(owner.name, cluster_id, within_s) for each in asked]


class _Asked:
    """The requests to one process, each in its own thread. We do not wait for threads: a time-out does not end a slow answer."""

    def __init__(self, connector: str, url: str, within_s: float, ca_file: str | None) -> None:
        self._connector, self._url, self._within_s = connector, url, within_s
        self._verify = ca_file or True
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
            self._answers[path] = requests.get(
                f"{self._url}{path}", timeout=self._within_s, verify=self._verify
            )
        except requests.RequestException as error:
            self._error = error

    def report(self, sync: str | None, cluster_id: str | None, within_s: float) -> ProcessReport:
        answers = dict(self._answers)  # threads may still add
        if not answers:
            return self._down(within_s)
        if "/" in answers and (somebody := _somebody_else(answers["/"], self._connector, sync, cluster_id)):
            return ProcessReport(self._connector, self._url, "foreign", somebody)
        health = _object(answers.get("/health"))
        if "/" not in answers or health is None:
            message = f"Some of its answers did not come within {within_s:.0f} s."
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
            notes=tuple(map(str, health.get("notes") or ())),
        )

    def _down(self, within_s: float) -> ProcessReport:
        message = f"No answer within {within_s:.0f} s: the process hangs, or it is suspended."
        if isinstance(self._error, requests.exceptions.SSLError):
            message = (
                "Its certificate is not trusted, or has another name than this address. Name its CA in rest.tls.ca_file (of the API: "
                "api.tls.ca_file), and an address of the certificate in rest.host or rest.advertised_host (api.host)."
            )
        elif self._error is not None and not isinstance(self._error, requests.Timeout):
            message = (
                f"No answer ({type(self._error).__name__}): the process does not run, or has another address."
            )
        return ProcessReport(self._connector, self._url, "down", message)


def _somebody_else(root: requests.Response, connector: str, sync: str | None, cluster_id: str | None) -> str:
    """Return what answers if it is not our *connector*; empty if it is."""
    said = _object(root) or {}
    if "sync" not in said:
        return "Another program, or an older version of Salmon, answers at this address: it does not report its sync."
    if sync is not None and said["sync"] != sync:
        return f"A process of another sync ({said['sync']}) answers at this address, not one of {sync}."
    if said.get("connector") != connector:
        return f"Another connector ({said.get('connector')}) answers at this address."
    theirs = said.get("kafka_cluster_id")
    if theirs and cluster_id and theirs != cluster_id:
        return f"A process of a sync with this name on another Kafka cluster ({theirs}, not {cluster_id}) answers at this address."
    return ""


def _object(answer: requests.Response | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def places_of(config: SyncConfig, config_file: Path, ports_file: Path | None = None) -> Mapping[str, str]:
    """
    Return where the processes of a configuration are, as addresses() does.

    Raises:
        ConfigError: *ports_file* cannot be read.
    """
    rest = config.rest
    return addresses(
        config_file=config_file,
        ports_file=ports_file,
        host=rest.host if rest.tls is None else rest.reached_at,
        port=rest.port,
        secure=rest.tls is not None,
        connectors=config.roster.connectors,
        api=None if config.api is None else config.api.reached_at,
    )


def addresses(
    *,
    config_file: Path,
    ports_file: Path | None,
    host: str,
    port: int,
    connectors: Sequence[str] = CONNECTORS,
    secure: bool = False,
    api: str | None = None,
) -> Mapping[str, str]:
    """
    Return the address of the API, if there is one, and of each connector's REST port: from the file that `run all --ports-file` wrote, or else the ports that
    `run all` uses.

    Args:
        config_file: Without *ports_file*, a `ports.json` beside this file is used.
        host, port: `rest` in the configuration. With port 0 the real port is not known.
        connectors: Those of the sync, in their order.
        secure: Whether the configuration has `rest.tls`.
        api: The API's address by the configuration; None: it has none, or none that is known.

    Raises:
        ConfigError: *ports_file* cannot be read.
    """
    beside = config_file.absolute().parent / "ports.json"
    if ports_file is None and beside.is_file():
        ports_file = beside
    if ports_file is not None:
        try:
            found = json_in(ports_file.read_text(encoding="utf-8"))
            at = {name: str(found[name]["url"]) for name in (*connectors, API) if name in found}
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigError(
                f"--ports-file {ports_file}: cannot be read. Give the file that `salmon run all --ports-file` writes."
            ) from None
    else:
        numbered = enumerate(connectors) if port else ()
        at = {name: url_of(host, port + number, secure=secure) for number, name in numbered}
    return at if api is None else {**at, API: at.get(API, api)}
