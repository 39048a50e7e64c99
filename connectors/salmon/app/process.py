"""
`salmon run NAME`: one connector in this process, from its configuration to its exit code.

Exit codes: 0 the process was stopped and finished its work; 1 an unexpected error; 2 a person has to change something
(one sentence on standard error says what); 3 a newer instance of the process runs. After any other error the process
restarts by itself: it executes the same command again (os.execv), so that threads, clients and schemas are new.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from salmon.app.connector_plugins import type_of
from salmon.app.ending import EXIT_OK, report_end
from salmon.app.events import specs_of
from salmon.app.live import Live
from salmon.app.making import Making
from salmon.app.reloading import Reloading
from salmon.app.serving import places_of, served_of, tls_of
from salmon.app.tracing import collect_spans
from salmon.app.work import Work, hold
from salmon.backoff import Backoff
from salmon.calls import Peer
from salmon.config import models as configuration
from salmon.config.models import SyncConfig
from salmon.config.registries import registry_of
from salmon.errors import (
    ClientLost,
    ConfigError,
    FatalError,
    PositionLost,
    RetriableError,
    SetupError,
    StartAgain,
    UnfitServer,
)
from salmon.kafka import clients, cluster, topics
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.kafka.kept import KeptAdmin
from salmon.kafka.offsets import OffsetStore
from salmon.model.sides import side_of
from salmon.ops import logs
from salmon.ops.connect.described import Served
from salmon.ops.connect.places import Late
from salmon.ops.connect.standing import KafkaStatusLog, Standing
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.ops.probes import Probes
from salmon.ops.rest import RestServer
from salmon.plugin.contract import CountsCalls, HasBudgets, SinkTask, SourceTask, Watched
from salmon.plugin.former_paths import CountsFormerPaths
from salmon.ports import url_of
from salmon.runtime import open_files, schemas
from salmon.runtime.instance import Instance, ordinal_of
from salmon.runtime.lifecycle import DRAIN_DEADLINE_S, RELOADS, Lifecycle, Part
from salmon.runtime.newest import Newest, new_name
from salmon.runtime.reached import Reached
from salmon.runtime.retry import Retrying
from salmon.runtime.topic_watch import TopicWatch
from salmon.runtime.watchdog import LastResort, Watchdog

log = structlog.get_logger(__name__)
T = TypeVar("T")


# The process id of the parent with which this process ends, and this process's ordinal among the replicas.
PARENT_VARIABLE: Final = "SALMON_PARENT"
# Set if an earlier process in this place was ready. The servers that it reached are then waited for in an outage.
REACHED_VARIABLE: Final = "SALMON_WAS_READY"
# How often in a row this process has restarted soon after its start; and its name, which it keeps.
_RESTARTS_VARIABLE: Final = "SALMON_RESTARTS"
_NAME_VARIABLE: Final = "SALMON_INSTANCE"
_AT_WORK_S: Final = 60.0  # a run that lasted so long is not counted as a failed start
_AGAIN: Final = Backoff(first_s=0.2, max_s=10.0, least_share=0.5)
# How long one attempt to connect lasts: the only one, or one of many, between which we check whether we have to stop.
_CONNECT_S: Final = 30.0
_CONNECT_AGAIN_S: Final = 5.0
# Makes a second part that runs in the same process, or None. The command passes it in; the connectors do not know it.
Beside = Callable[[SyncConfig, Metrics], Part | None]


def _nothing(*_: object) -> None:
    pass


def run(
    connector: str,
    config_path: str | Path,
    *,
    port: int | None = None,
    ordinal: int | None = None,
    log_format: logs.LogFormat = "auto",
    log_level: str | None = None,
    drain_deadline_s: float = DRAIN_DEADLINE_S,
    beside: Beside = lambda *_: None,
    last_resort: LastResort | None = None,
) -> int:
    """
    Run one connector of the sync until it is asked to stop, and return the process's exit code.

    After StartAgain this function does not return: the process executes its command again.

    Args:
        beside: Makes the part that also runs in merge's first replica; it must not raise.
        log_level: None: the one in the configuration.
        last_resort: Ends the process if even Python stands still. None: nothing does.
        port: Port of the REST server. None: the one in the configuration; 0: any free one.
        ordinal: Number of this replica. None: $SALMON_ORDINAL, or the number at the end of the host's name (a pod of a
            StatefulSet), or 0.
    """
    try:
        config = configuration.load(config_path)
        live = Live(config, log_level)
        if connector not in (known := config.roster.connectors):
            raise ConfigError(
                f"run: unknown connector {connector!r}. Choose one of {', '.join(known)}, or all."
            )
        logs.configure(
            log_format=log_format, level=live.log_level, secrets=logs.secrets_of(config), connector=connector
        )
        collect_spans(connector, os.environ)
        open_files.allow_all()
        number = ordinal if ordinal is not None else ordinal_of(os.environ, socket.gethostname())
        process = _Process(
            connector,
            live,
            port=port,
            ordinal=number,
            drain_deadline_s=drain_deadline_s,
            config_path=Path(config_path),
            last_resort=last_resort,
        )
        companion = beside(config, process.metrics) if connector == "merge" and number == 0 else None
        error = process.run(companion)
        if isinstance(error, StartAgain):
            process.hand_over()
            _restart(process.tries, process.instance_name)
        return EXIT_OK if error is None else report_end(error)
    except FatalError as error:
        return report_end(error)


def _restart(tries: int, name: str) -> NoReturn:
    """Execute the same command again in this process. It reads the configuration and the schemas again; our threads end."""
    os.environ[_RESTARTS_VARIABLE], os.environ[_NAME_VARIABLE] = str(tries), name
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, RELOADS)  # until Lifecycle.install()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class _Process:
    """Builds the parts of one process, and holds what they share: health, metrics, life cycle and REST server."""

    def __init__(
        self,
        connector: str,
        live: Live,
        *,
        port: int | None,
        ordinal: int,
        drain_deadline_s: float,
        config_path: Path,
        last_resort: LastResort | None = None,
    ) -> None:
        config = live.config
        self._connector, self._live, self._ordinal = connector, live, ordinal
        self._began = time.monotonic()
        self._health = Health()
        self.tries = int(os.environ.pop(_RESTARTS_VARIABLE, 0))
        self.instance_name = os.environ.pop(_NAME_VARIABLE, "")
        where = (str(config.kafka_properties().get("bootstrap.servers")), config.schema_registry.url)
        self._reached = Reached(config.merge.state_dir, config.name, where)
        # A server that was reached before is waited for, as in any outage. One that never was: probably a mistake in
        # the configuration, which ends the start.
        was_ready = self.tries > 0 or os.environ.pop(REACHED_VARIABLE, "") == "1"
        self._side_was_reached = was_ready
        self._was_reached = was_ready or self._reached.before()
        self._topics = TopicWatch(self._health)
        self._metrics = Metrics(connector)
        self._metrics.watch_peers(self._health.calls.silences)
        self._metrics.watch_health(type_of(connector), self._health.report)
        self._probes = Probes(self._health.calls)
        self._cluster_id: str | None = None
        parent = os.environ.get(PARENT_VARIABLE)
        self._lifecycle = Lifecycle(
            drain_deadline_s=drain_deadline_s,
            parent=int(parent) if parent and parent.isdigit() else None,
            end_within=last_resort.end_within if last_resort else _nothing,
            reload=Reloading(connector, config_path, live, self._health).reload,
        )
        self._watchdog = Watchdog(self._health, renew=last_resort.renew if last_resort else _nothing)
        self._places = Late()
        self._rest = RestServer(
            host=config.rest.host,
            port=config.rest.port if port is None else port,
            served=lambda rest: self._served(rest, config_path),
            tls=tls_of(config),
            sync=config.name,
        )

    def _served(self, rest: RestServer, config_path: Path) -> Served:
        """What the REST server serves; its port is known by now."""
        config = self._live.config
        self._standing = Standing(
            self._connector,
            self._ordinal,
            self._health,
            worker_id=rest.worker_id,
            url=url_of(config.rest.reached_at, rest.port, secure=config.rest.tls is not None),
        )
        return served_of(
            self._connector,
            self._ordinal,
            config,
            config_path,
            shown=self._live.shown,
            worker_id=rest.worker_id,
            health=self._health,
            metrics=self._metrics,
            standing=self._standing,
            places=self._places,
            cluster_id=lambda: self._cluster_id,
        )

    def run(self, companion: Part | None = None) -> BaseException | None:
        """
        Run all parts until a signal arrives or one of them ends.

        Returns:
            The error that ended the process; None if there was none, or if a signal arrived before a restart.
        """
        self._lifecycle.install()
        self._watchdog.start()
        self._rest.keep_port()
        self._lifecycle.start(self._rest)
        self._lifecycle.start(Work(self, self._standing))
        self._lifecycle.start(self._topics)
        self._lifecycle.start(self._standing)
        if companion is not None:
            self._lifecycle.start(companion)
        log.info("process_started", url=self._rest.url, ordinal=self._ordinal, pid=os.getpid())
        error = self._lifecycle.wait()
        restarts = isinstance(error, StartAgain) and not self._lifecycle.is_signalled
        if not restarts:
            self._rest.give_up_port()
        return None if isinstance(error, StartAgain) and not restarts else error

    def hand_over(self) -> None:
        self._rest.hand_over_port()

    def consequence_of(self, error: BaseException) -> BaseException:
        """
        Decide what *error*, which ended the work, does to the process.

        An error that can pass by itself restarts the process, wherever it was raised. So does a refused sign-in,
        or a server that is not as we need it, if this server has served us before.

        Returns:
            StartAgain: the process restarts. Any other error: the process ends with it.
        """
        if isinstance(error, KafkaException):
            error = clients.translated(error, f"running {self._connector}")
        if isinstance(error, RetriableError | PositionLost):
            error = ClientLost(str(error))
        if isinstance(error, UnfitServer) and (self._side_was_reached or self._health.has_run):
            error = StartAgain(str(error))
        if not isinstance(error, StartAgain) or self._lifecycle.is_signalled:
            return error  # a process that stops does not restart, and must not wait for Kafka now
        return self._topics.missing_topic() or error

    def pause_s(self) -> float:
        """Count one more restart, and return how many seconds to wait before it."""
        lasted = time.monotonic() - self._began > _AT_WORK_S
        self.tries = 1 if lasted else self.tries + 1
        # All five processes may have lost the same broker: they must not all come back to it at the same moment.
        return _AGAIN.delay_s(self.tries, rng=random.Random())

    def part(self, retrying: Retrying) -> Part:
        """
        Connect to Kafka and the registry, check the topics, and build the worker of the connector.

        Raises:
            FatalError: a person has to change something first.
            Stopping: the process was asked to stop meanwhile.
        """
        config, connector = self._live.config, self._connector
        kafka, names = config.kafka_properties(), config.topic_names
        self._health.starting("connecting to Kafka")
        connect_s = _CONNECT_AGAIN_S if self._was_reached else _CONNECT_S
        client_id = f"{config.name}-{connector}-{self._ordinal}"

        def connect() -> AdminClient:
            return clients.connect(kafka, client_id=client_id, timeout_s=connect_s)

        admin = self._reach(retrying, "connecting to Kafka", connect)
        self._cluster_id = admin.list_topics(timeout=10).cluster_id
        self._health.starting("checking topics")
        wanted = specs_of(config)
        starting = KeptAdmin(admin, connect)
        retrying.until_it_works(
            "checking topics", lambda: starting.ask(lambda admin: topics.ensure(admin, wanted))
        )
        # For as long as this runs. It does not wait for Kafka when it is made: whoever asks decides for how long.
        kept = KeptAdmin(starting.ask(lambda admin: admin), lambda: clients.admin(kafka, client_id=client_id))
        self._topics.watch(kept, wanted)
        retrying.until_it_works(
            "reading what was asked of this connector",
            lambda: self._standing.begin(lambda: KafkaStatusLog(kafka, names.status, client_id)),
        )
        self._probes.add(Peer.KAFKA, lambda: kept.ask(cluster.ask))
        registry = registry_of(config, calls=self._health.calls)
        self._reach(retrying, "asking the registry", lambda: registry.latest(f"{names.offsets}-value"))
        self._probes.add(Peer.REGISTRY, registry.probe)
        self._reached.note()
        self._places.found = places_of(connector, config, registry, self._standing)
        hold(self._standing, self._health, retrying.stop)
        self._take_place(kept, registry, retrying)
        if (its_side := side_of(connector)) is None:
            return self._merge(registry, retrying)
        side = its_side.name
        instance = Instance(
            config.name,
            connector,
            side,
            clients.Clients(kafka),
            registry,
            self._health,
            self._metrics,
            ordinal=self._ordinal,
            tolerance=self._live.tolerance,
            roster=config.roster,
        )
        made = Making(self._live, instance, self._watch, was_reached=self._side_was_reached)
        if connector == its_side.source:
            return made.source()
        return made.sink(its_side.direction, lambda: self._schemas(registry, retrying))

    def _take_place(self, admin: KeptAdmin, registry: SchemaRegistry, retrying: Retrying) -> None:
        """Sign in as the newest instance of this ordinal; after a restart, first check whether there is a newer one."""
        is_restart = bool(self.instance_name)
        self.instance_name = self.instance_name or new_name()
        config, kafka = self._live.config, self._live.config.kafka_properties()
        group = f"{config.name}-{self._connector}"
        newest = Newest(
            kafka,
            admin,
            OffsetStore(kafka, config.topic_names, registry),
            self._connector,
            self._ordinal,
            group=group,
            instance_id=f"{group}-{self._ordinal}",
            name=self.instance_name,
            health=self._health,
            stop=retrying.stop,
            session_s=int(kafka.get("session.timeout.ms", clients.SESSION_MS)) / 1000,
        )
        retrying.until_it_works("taking its place", newest.check if is_restart else newest.sign_in)

    def _watch(self, side: str, task: SourceTask | SinkTask) -> None:
        """Count the task's API calls, and writes at former paths, and watch for calls that are not answered, if the task reports them; keep its settings up to date."""
        self._live.watch(side, task)
        if isinstance(task, CountsCalls):
            self._metrics.count_api_calls(task.api_calls)
        if isinstance(task, CountsFormerPaths):
            self._metrics.count_former_paths(task.former_paths.writes)
        if isinstance(task, HasBudgets):
            self._metrics.show_budgets(task.budgets)
        if isinstance(task, Watched):
            for peer, probe in task.watch(self._health.calls).items():
                self._probes.add(peer, probe)

    def _merge(self, registry: SchemaRegistry, retrying: Retrying) -> Part:
        from salmon.merge.process import MergeProcess

        return MergeProcess(
            self._live.config,
            self._schemas(registry, retrying),
            registry,
            health=self._health,
            metrics=self._metrics,
            ordinal=self._ordinal,
            tolerance=self._live.tolerance,
        )

    def _reach(self, retrying: Retrying, doing: str, call: Callable[[], T]) -> T:
        if self._was_reached:
            return retrying.until_it_works(doing, call, refused_too=True)
        try:
            return call()
        except RetriableError as error:
            raise SetupError(str(error)) from error

    def _schemas(self, registry: SchemaRegistry, retrying: Retrying) -> dict[str, Any]:
        return retrying.until_it_works(
            "waiting for schemas",
            lambda: schemas.await_schemas(
                registry,
                self._live.config.topic_names,
                self._live.config.objects,
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
