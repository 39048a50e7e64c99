"""
`salmon run NAME`: one connector in this process, from its configuration to its exit code.

Exit codes: 0 stopped in good order; 1 unexpected; 2 only a person can mend it (one sentence on standard error);
3 fenced by a newer instance, for good.
"""

from __future__ import annotations

import math
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any, Final, NoReturn, TypeVar

import structlog

from salmon.errors import ConfigError, FatalError, Fenced, RetriableError, SchemaOutdated, SetupError
from salmon.kafka import clients, topics
from salmon.kafka.registry import SchemaRegistry
from salmon.model.change import SALESFORCE
from salmon.runtime import config as configuration
from salmon.runtime import logs, schemas, tasks
from salmon.runtime.config import SyncConfig
from salmon.runtime.health import Health
from salmon.runtime.instance import Instance
from salmon.runtime.lifecycle import DRAIN_DEADLINE_S, Lifecycle, Part
from salmon.runtime.metrics import TASK, Metrics
from salmon.runtime.rest import RestServer
from salmon.runtime.retry import Backoff, Retrying, Stopping
from salmon.runtime.sink_worker import SinkWorker
from salmon.runtime.source_worker import FIRST_CONTACT_MAX_S, SourceWorker

log = structlog.get_logger(__name__)
T = TypeVar("T")

EXIT_OK: Final = 0
EXIT_UNEXPECTED: Final = 1
EXIT_FATAL: Final = 2
EXIT_FENCED: Final = 3

CONNECTORS: Final = topics.CONNECTORS
# Which processes live and die with the one that started them, and their ordinal among replicas.
PARENT_VARIABLE: Final = "SALMON_PARENT"
ORDINAL_VARIABLE: Final = "SALMON_ORDINAL"
# How often in a row this process has begun anew, as soon as it had begun.
_ANEW_VARIABLE: Final = "SALMON_BEGUN_ANEW"
_AT_WORK_S: Final = 60.0  # what lasted so long was no failed try
# What else runs in a process, if anything does. It comes from the commands: no connector knows them.
Beside = Callable[[SyncConfig, Metrics], Part | None]
_TYPES: Final[Mapping[str, str]] = {"source": "source", "sink": "sink", "merge": "unknown"}


def run(
    connector: str,
    config_path: str | Path,
    *,
    port: int | None = None,
    ordinal: int | None = None,
    log_format: logs.LogFormat = "auto",
    log_level: str = "info",
    drain_deadline_s: float = DRAIN_DEADLINE_S,
    beside: Beside = lambda *_: None,
) -> int:
    """
    Run one of CONNECTORS until it is told to stop, and return the process's exit code.

    Where an object's schema has changed, this process becomes a new one, as if it had been started again.

    Args:
        beside: What else is to run in merge's first replica; it must not raise.
        port: Of the REST server; the configuration's by default, 0 for a free one.
        ordinal: Of this replica; by default $SALMON_ORDINAL, or the number that ends the host's name (a StatefulSet's
            pod), or 0.
    """
    try:
        if connector not in CONNECTORS:
            raise ConfigError(
                f"run: there is no connector {connector!r}. Choose one of {', '.join(CONNECTORS)}, or all."
            )
        config = configuration.load(config_path)
        logs.configure(
            log_format=log_format, level=log_level, secrets=logs.secrets_of(config), connector=connector
        )
        number = ordinal if ordinal is not None else ordinal_of(os.environ, socket.gethostname())
        process = _Process(connector, config, port=port, ordinal=number, drain_deadline_s=drain_deadline_s)
        companion = beside(config, process.metrics) if connector == "merge" and number == 0 else None
        error = process.run(companion)
        if isinstance(error, SchemaOutdated):
            _begin_anew(process.tries)
        return EXIT_OK if error is None else told(error)
    except FatalError as error:
        return told(error)


def _begin_anew(tries: int) -> NoReturn:
    """Become the process that the same command starts now: its file, its schemas, and no thread of ours."""
    os.environ[_ANEW_VARIABLE] = str(tries)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def told(error: BaseException) -> int:
    """Say on standard error what ended the process, and return its exit code."""
    if isinstance(error, Fenced):
        sys.stderr.write(f"salmon: {error}\n")
        return EXIT_FENCED
    if isinstance(error, FatalError):
        sys.stderr.write(f"salmon: {error}\n")
        return EXIT_FATAL
    if isinstance(error, TimeoutError):
        log.error("stopped_late", reason=str(error))
    else:
        log.error("ended_unexpectedly", exc_info=error)
    return EXIT_UNEXPECTED


def ordinal_of(environment: Mapping[str, str], host: str) -> int:
    """
    Which replica this is.

    Raises:
        ConfigError: $SALMON_ORDINAL is no number.
    """
    said = environment.get(ORDINAL_VARIABLE)
    if said is None:
        # Kubernetes, StatefulSets, Ordinal index: pods are named <set>-<ordinal>. Elsewhere a number at the end
        # of a host's name says nothing, so only names inside a cluster count.
        found = re.search(r"-(\d+)$", host) if "KUBERNETES_SERVICE_HOST" in environment else None
        return int(found[1]) if found else 0
    if not said.isdigit():
        raise ConfigError(f"{ORDINAL_VARIABLE}: must be a whole number, 0 for the first replica.")
    return int(said)


class _Process:
    """The parts of one process, and what they share."""

    def __init__(
        self, connector: str, config: SyncConfig, *, port: int | None, ordinal: int, drain_deadline_s: float
    ) -> None:
        self._connector, self._config, self._ordinal = connector, config, ordinal
        self._began = time.monotonic()
        self.tries = int(os.environ.pop(_ANEW_VARIABLE, 0))
        # What was reached before is waited for, as in any outage; what never was is a mistake in the configuration.
        self._was_reached = self.tries > 0
        self._health = Health()
        self._metrics = Metrics(connector)
        self._cluster_id: str | None = None
        parent = os.environ.get(PARENT_VARIABLE)
        self._lifecycle = Lifecycle(
            drain_deadline_s=drain_deadline_s, parent=int(parent) if parent and parent.isdigit() else None
        )
        self._rest = RestServer(
            host=config.rest.host,
            port=config.rest.port if port is None else port,
            connector=connector,
            kind=_TYPES[connector.rsplit("-", 1)[-1]],
            config={"name": connector, "connector.class": connector, "tasks.max": str(int(TASK) + 1)},
            health=self._health,
            metrics=self._metrics,
            cluster_id=lambda: self._cluster_id,
        )

    def run(self, companion: Part | None = None) -> BaseException | None:
        """Until told to stop; what went wrong, if anything did. None is to begin anew that was told to stop."""
        self._lifecycle.install()
        self._lifecycle.start(self._rest)
        self._lifecycle.start(_Work(self))
        if companion is not None:
            self._lifecycle.start(companion)
        log.info("process_started", url=self._rest.url, ordinal=self._ordinal, pid=os.getpid())
        error = self._lifecycle.wait()
        return None if isinstance(error, SchemaOutdated) and self._lifecycle.is_signalled else error

    def pause_s(self) -> float:
        """How long to wait before beginning anew: once more."""
        lasted = time.monotonic() - self._began > _AT_WORK_S
        self.tries = 1 if lasted else self.tries + 1
        return Backoff().bound_s(self.tries)

    def part(self, retrying: Retrying) -> Part:
        """Reach Kafka, the registry and the topics, and build what does the work. Raises FatalError, Stopping."""
        config, connector = self._config, self._connector
        kafka, names = config.kafka_properties(), config.topic_names
        self._health.starting("connecting to Kafka")
        client_id = f"{config.name}-{connector}-{self._ordinal}"
        admin = self._reach(
            retrying, "connecting to Kafka", lambda: clients.connect(kafka, client_id=client_id)
        )
        self._cluster_id = admin.list_topics(timeout=10).cluster_id
        self._health.starting("checking topics")
        wanted = topics.specs(
            names,
            config.objects,
            partitions=config.topics.partitions,
            replication_factor=config.topics.replication_factor,
        )
        retrying.until_it_works("checking topics", lambda: topics.ensure(admin, wanted))
        where = config.schema_registry
        registry = SchemaRegistry(
            where.url,
            username=where.username,
            password=where.password.get_secret_value() if where.password else None,
            ca_file=where.ca_file,
        )
        self._reach(retrying, "asking the registry", lambda: registry.latest(f"{names.offsets}-value"))
        if connector == "merge":
            return self._merge(registry, retrying)
        side, _, kind = connector.partition("-")
        instance = Instance(
            config.name,
            connector,
            side,
            kafka,
            registry,
            self._health,
            self._metrics,
            ordinal=self._ordinal,
        )
        settings = config.salesforce if side == SALESFORCE else config.mongodb
        group = tasks.SOURCES if kind == "source" else tasks.SINKS
        task = tasks.task_class(group, side)(settings, config.objects, config.name)
        if isinstance(task, tasks.CountsCalls):
            self._metrics.count_api_calls(task.api_calls)
        patience_s = math.inf if self._was_reached else FIRST_CONTACT_MAX_S
        if kind == "source":
            return SourceWorker(instance, task, tuple(config.objects), first_contact_max_s=patience_s)
        written = [name for name, each in config.objects.items() if each.direction in ("both", f"to_{side}")]
        guards = {name: config.objects[name].delete_guard for name in written}
        graces = {name: config.objects[name].deletes.grace_s for name in written}
        found = self._schemas(registry, retrying)
        return SinkWorker(
            instance, task, found, written, guards=guards, graces=graces, first_contact_max_s=patience_s
        )

    def _merge(self, registry: SchemaRegistry, retrying: Retrying) -> Part:
        from salmon.merge.process import MergeProcess

        return MergeProcess(
            self._config,
            self._schemas(registry, retrying),
            registry,
            health=self._health,
            metrics=self._metrics,
            ordinal=self._ordinal,
        )

    def _reach(self, retrying: Retrying, doing: str, call: Callable[[], T]) -> T:
        if self._was_reached:
            return retrying.until_it_works(doing, call)
        try:
            return call()
        except RetriableError as error:
            raise SetupError(str(error)) from error

    def _schemas(self, registry: SchemaRegistry, retrying: Retrying) -> dict[str, Any]:
        return retrying.until_it_works(
            "waiting for schemas",
            lambda: schemas.await_schemas(
                registry,
                self._config.topic_names,
                self._config.objects,
                stop=retrying.stop,
                health=self._health,
            ),
        )

    @property
    def metrics(self) -> Metrics:
        return self._metrics

    @property
    def health(self) -> Health:
        return self._health


class _Work:
    """The part that builds the worker and then is it; so that a signal is heard while we connect, too."""

    def __init__(self, process: _Process) -> None:
        self.name = "work"
        self._process = process
        self._stop = Event()
        self._inner: Part | None = None

    def run(self) -> None:
        health = self._process.health
        try:
            self._inner = self._process.part(Retrying(self._stop, health))
            if self._stop.is_set():
                raise Stopping
            self._inner.run()
        except Stopping:
            pass
        except SchemaOutdated as outdated:
            pause_s = self._process.pause_s()
            log.warning("begins_anew", reason=str(outdated), in_s=pause_s)
            if not self._stop.wait(pause_s):
                raise
        except BaseException as error:
            health.ended(error)
            raise
        health.ended()

    def stop(self) -> None:
        self._stop.set()
        if self._inner is not None:
            self._inner.stop()

    def cut(self) -> None:
        if self._inner is not None:
            self._inner.cut()
