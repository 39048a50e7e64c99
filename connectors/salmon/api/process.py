"""
`salmon run api`: the process that serves the API and the console, from its configuration to its exit code.

It has no state of its own, so there may be any number of it behind a load balancer. It needs MongoDB, and the schemas; while Kafka is
away it goes on with what it has, and only histories and streams are refused. Exit codes are those of salmon.app.process.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

import structlog
from pymongo import MongoClient
from pymongo.database import Database

from salmon.api.access import Access
from salmon.api.application import Section, Switch, application, waiting
from salmon.api.console.application import PATH as CONSOLE
from salmon.api.console.application import Console
from salmon.api.handle import Api, objects_of
from salmon.api.keys import KEYS_MAX, StoredKeys
from salmon.api.oidc import Provider, fetched
from salmon.api.records import changes, idempotency, routes
from salmon.api.records.asking import bound_ms
from salmon.api.reports import opening
from salmon.api.reports import routes as report_routes
from salmon.api.reports.opening import Reports
from salmon.api.settling import Settling
from salmon.app.ending import EXIT_OK, report_end
from salmon.app.live import Live
from salmon.app.process import PARENT_VARIABLE, REACHED_VARIABLE
from salmon.app.reloading import Reloading
from salmon.calls import Peer
from salmon.config import models as configuration
from salmon.config.models import SyncConfig
from salmon.config.registries import registry_of
from salmon.config.sections.api import ApiConfig
from salmon.errors import FatalError, SalmonError, Stopping
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.model.described import Described
from salmon.model.schema import ObjectSchema
from salmon.mongodb.wire.client import Document, border, close, connect, database_of
from salmon.ops import logs
from salmon.ops.api_metrics import ApiMetrics
from salmon.ops.connect.described import Described as Connector
from salmon.ops.connect.described import Served
from salmon.ops.health import Health
from salmon.ops.probes import Probes
from salmon.ops.server import HttpServer
from salmon.ops.tls import Tls
from salmon.runtime import open_files, schemas
from salmon.runtime.lifecycle import DRAIN_DEADLINE_S, Lifecycle
from salmon.runtime.reached import Reached
from salmon.runtime.retry import Retrying
from salmon.runtime.watchdog import LastResort, Watchdog
from salmon.source.worker import FIRST_CONTACT_MAX_S
from salmon.story.lookup import Lookup

log = structlog.get_logger(__name__)

NAME: Final = "api"
# What is served, in order, beside the console.
SECTIONS: Final[Sequence[Section]] = (routes.router, changes.router, report_routes.router)
LOOK_EVERY_S: Final = 2.0
_DRAIN_S: Final = 10


def run(
    config_path: str | Path,
    *,
    port: int | None = None,
    log_format: logs.LogFormat = "auto",
    log_level: str | None = None,
    drain_deadline_s: float = DRAIN_DEADLINE_S,
    last_resort: LastResort | None = None,
) -> int:
    """
    Serve until the process is asked to stop, and return its exit code.

    Args:
        port: None: api.port of the configuration; 0: any free one.
        log_level: None: the one in the configuration.
        last_resort: Ends the process if even Python stands still. None: nothing does.
    """
    try:
        config = configuration.load(config_path)
        live = Live(config, log_level)
        logs.configure(
            log_format=log_format, level=live.log_level, secrets=logs.secrets_of(config), connector=NAME
        )
        open_files.allow_all()
        process = _Process(live, Path(config_path), port, drain_deadline_s, last_resort)
        error = process.run()
        return EXIT_OK if error is None else report_end(error)
    except FatalError as error:
        return report_end(error)


def settings_of(config: SyncConfig) -> ApiConfig:
    """The section `api`, or what counts without it."""
    return config.api or ApiConfig()


class _Process:
    """Builds the parts of the process, and holds what they share."""

    def __init__(
        self,
        live: Live,
        config_path: Path,
        port: int | None,
        drain_deadline_s: float,
        last_resort: LastResort | None,
    ) -> None:
        settings = settings_of(live.config)
        self._health = Health()
        self._metrics = ApiMetrics(NAME)
        self._metrics.watch_peers(self._health.calls.silences)
        self._metrics.watch_health(NAME, self._health.report)
        parent = os.environ.get(PARENT_VARIABLE)
        self._lifecycle = Lifecycle(
            drain_deadline_s=drain_deadline_s,
            parent=int(parent) if parent and parent.isdigit() else None,
            end_within=last_resort.end_within if last_resort else lambda _seconds: None,
            reload=Reloading(NAME, config_path, live, self._health).reload,
        )
        self._watchdog = Watchdog(self._health, renew=last_resort.renew if last_resort else lambda: None)
        tls = None if settings.tls is None else Tls(settings.tls.certificate_file, settings.tls.key_file)
        self._server = HttpServer(
            NAME,
            host=settings.host,
            port=settings.port if port is None else port,
            key=NAME,
            tls=tls,
            drain_s=_DRAIN_S,
        )
        described = Connector(
            NAME, NAME, {}, worker_id=self._server.worker_id, sync=live.config.name, ordinal=0
        )
        served = Served(described, self._health, self._metrics)
        switch = Switch(waiting(served))
        self._server.serve(switch, self._health, self._metrics)
        console = Console(lambda: live.config, config_path)
        self._serving = Serving(live, served, self._metrics, switch, console)

    def run(self) -> BaseException | None:
        """Run until a signal arrives or a part ends. Returns the error that ended it."""
        self._lifecycle.install()
        self._watchdog.start()
        self._lifecycle.start(self._server)
        self._lifecycle.start(self._serving)
        log.info("process_started", url=self._server.url, pid=os.getpid())
        return self._lifecycle.wait()


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry says of the objects: their schemas, and what the org says of them for those who fill them in."""

    schemas: Mapping[str, ObjectSchema]
    described: Mapping[str, Described]

    def newest(self, registry: SchemaRegistry, config: SyncConfig) -> Known:
        """What it says now; of what it does not have any more, the former. Raises what the registry raises."""
        names = config.topic_names
        found = {name: registry.latest(names.described(name)) for name in config.objects}
        return Known(
            {**self.schemas, **schemas.registered(registry, names, config.objects)},
            {**self.described, **{n: Described.from_registry(each[1]) for n, each in found.items() if each}},
        )


class Serving:
    """A part (see lifecycle): reaches MongoDB and the schemas, then serves, and follows the schemas from then on."""

    name = "serving"

    def __init__(
        self, live: Live, served: Served, metrics: ApiMetrics, switch: Switch, console: Console
    ) -> None:
        self._console = console
        self._live, self._served, self._metrics, self._switch = live, served, metrics, switch
        self._stop = Event()
        self._health, self._probes = served.health, Probes(served.health.calls)
        config = live.config
        where = (NAME, config.mongodb.hosts, config.schema_registry.url)
        self._reached = Reached(config.merge.state_dir, config.name, where)
        self._was_reached = os.environ.pop(REACHED_VARIABLE, "") == "1" or self._reached.before()
        self._settling: Settling | None = None
        self._reports: Reports | None = None

    def run(self) -> None:
        """Serve until stop()."""
        client: MongoClient[Document] | None = None
        registry = registry_of(self._live.config, calls=self._health.calls)
        try:
            retrying = Retrying(self._stop, self._health)
            client = self._connected(retrying)
            self._probes.add(Peer.REGISTRY, registry.probe)
            self._serve(client, registry, retrying)
        except Stopping:
            pass
        except BaseException as error:
            self._health.ended(error)
            raise
        finally:
            self._console.close()
            self._probes.close()
            registry.close()
            for part in (self._settling, self._reports):
                if part is not None:
                    part.close()
            if client is not None:
                close(client)
        self._health.ended()

    def stop(self) -> None:
        self._stop.set()

    def cut(self) -> None:
        self._stop.set()

    def _connected(self, retrying: Retrying) -> MongoClient[Document]:
        self._health.starting("connecting to MongoDB")
        found: list[MongoClient[Document]] = []

        def reach() -> None:
            found.append(connect(self._live.config.mongodb, app="salmon-api", calls=self._health.calls))

        patience_s = math.inf if self._was_reached else FIRST_CONTACT_MAX_S
        retrying.first_contact("connecting to MongoDB", reach, max_s=patience_s)
        return found[0]

    def _serve(self, client: MongoClient[Document], registry: SchemaRegistry, retrying: Retrying) -> None:
        config = self._live.config
        schemas_found: dict[str, ObjectSchema] = retrying.until_it_works(
            "waiting for schemas",
            lambda: schemas.await_schemas(
                registry, config.topic_names, config.objects, stop=self._stop, health=self._health
            ),
            refused_too=self._was_reached,
        )
        self._reached.note()
        database = database_of(client, config.mongodb)
        retrying.until_it_works(
            "preparing the collection of requests",
            lambda: idempotency.prepare(database, settings_of(config).idempotency_kept_s),
            refused_too=self._was_reached,
        )
        access = self._access(client)
        known = Known(schemas_found, {})
        served = self._looked(database, access, registry, known)
        if served is known:  # the registry has nothing more to say, or is away
            self._switch_to(database, access, known)
        self._health.running()
        # Several replicas must not all ask the registry at the same moment.
        while not self._stop.wait(random.uniform(LOOK_EVERY_S / 2, LOOK_EVERY_S)):
            self._health.turned()
            served = self._looked(database, access, registry, served)

    def _looked(
        self, database: Database[Document], access: Access, registry: SchemaRegistry, known: Known
    ) -> Known:
        """Look for newer schemas, and serve by them. While the registry is away, those that are known count."""
        config = self._live.config
        try:
            latest = known.newest(registry, config)
            if latest == known:
                return known
            self._switch_to(database, access, latest)
        except SalmonError as error:
            log.warning("schemas_not_followed", error=type(error).__name__, reason=str(error))
            return known
        log.info("schemas_served", objects=sorted(latest.schemas), described=sorted(latest.described))
        return latest

    def _switch_to(self, database: Database[Document], access: Access, known: Known) -> None:
        config = self._live.config
        # The states are read by the schemas: those of before would not do.
        settling = Settling(lambda: Lookup(config), tuple(known.schemas))
        reports = opening.opened(
            config, known.schemas, known.described, database, lambda: bound_ms(settings_of(self._live.config))
        )
        api = Api(
            live=lambda: self._live.config,
            database=database,
            access=access,
            metrics=self._metrics,
            objects=objects_of(config, known.schemas, known.described),
            settling=settling,
            reports=reports,
            closing=self._stop,
        )
        self._switch.app = application(api, self._served, SECTIONS, {CONSOLE: self._console.application})
        former = (self._settling, self._reports)
        self._settling, self._reports = settling, reports
        settling.start()
        for part in former:
            if part is not None:
                part.close()

    def _access(self, client: MongoClient[Document]) -> Access:
        config, settings = self._live.config, settings_of(self._live.config)
        stored = None
        if settings.keys_collection is not None:
            collection = database_of(client, config.mongodb)[settings.keys_collection]

            def read() -> list[Document]:
                with border("reading api.keys_collection"):
                    return list(collection.find({}, {"hash": 1, "scopes": 1}).limit(KEYS_MAX))

            stored = StoredKeys(read)
        provider = None
        if settings.oidc is not None:
            provider = Provider(settings.oidc, partial(fetched, ca_file=settings.oidc.ca_file))
        return Access(lambda: settings_of(self._live.config), stored=stored, provider=provider)
