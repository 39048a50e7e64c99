"""
What one process says of itself: /health and /metrics of its REST port.

The metrics' names and meanings are declared in salmon.runtime.metrics.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from salmon.errors import ConfigError
from salmon.kafka.topics import CONNECTORS

_TIMEOUT_S: Final = 2.0
# A line of Prometheus' text format: name, labels, value (Prometheus, Exposition Formats).
_LINE: Final = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

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
    """The samples of an exposition, without comments and time stamps."""
    lines = []
    for line in text.splitlines():
        if (match := _LINE.match(line)) is not None:
            labels = dict(_LABEL.findall(match[2] or ""))
            lines.append((match[1], labels, float(match[3])))
    return Samples(tuple(lines))


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One process, as its REST port tells; or that nobody answers there."""

    connector: str
    url: str
    status: str  # healthy, starting, unhealthy; down: no answer; unknown: nobody knows where it is
    message: str
    samples: Samples = Samples()

    @property
    def healthy(self) -> bool:
        return self.status == "healthy"


def ask(connector: str, url: str) -> ProcessReport:
    """Ask one process how it is. Never raises: no answer is an answer."""
    try:
        health = requests.get(f"{url}/health", timeout=_TIMEOUT_S).json()
        samples = parsed(requests.get(f"{url}/metrics", timeout=_TIMEOUT_S).text)
    except (requests.RequestException, ValueError) as error:
        return ProcessReport(connector, url, "down", f"No answer ({type(error).__name__}).")
    names = {has["connector"] for _, has, _ in samples.lines if "connector" in has}
    if names and connector not in names:
        return ProcessReport(connector, url, "down", f"{', '.join(sorted(names))} answers there.")
    return ProcessReport(connector, url, str(health.get("status")), str(health.get("message")), samples)


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
                f"--ports-file {ports_file}: cannot be read. Name the file that `salmon run all --ports-file` writes."
            ) from None
    if port == 0:
        return {}
    shown = f"[{host}]" if ":" in host else host
    return {name: f"http://{shown}:{port + number}" for number, name in enumerate(CONNECTORS)}
