"""What the REST server of a process serves: put together from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from salmon.app.connector_plugins import SYNC, ConnectorPlugins, is_for, type_of
from salmon.app.events import carried, specs_of
from salmon.config import shown as showing
from salmon.config.models import SyncConfig
from salmon.config.shown import HIDDEN
from salmon.kafka.codecs.registry import SchemaRegistry
from salmon.kafka.offsets import OffsetStore
from salmon.model.sides import side_of
from salmon.ops import logs
from salmon.ops.connect.access import Access
from salmon.ops.connect.cluster import fetched
from salmon.ops.connect.described import Described, Places, Served
from salmon.ops.connect.groups import Group
from salmon.ops.connect.places import MergePlaces, SinkPlaces, SourcePlaces
from salmon.ops.connect.standing import Standing
from salmon.ops.health import Health, State
from salmon.ops.metrics import Metrics
from salmon.ops.tls import Tls


def served_of(
    connector: str,
    ordinal: int,
    config: SyncConfig,
    config_path: Path,
    *,
    shown: dict[str, str],
    worker_id: str,
    health: Health,
    metrics: Metrics,
    standing: Standing,
    places: Places,
    cluster_id: Callable[[], str | None],
) -> Served:
    """
    Put it together. Raises ConfigError: the configuration cannot be read any more.

    Args:
        shown: Is filled with the configuration as it is shown. Later changes in it are shown, too.
        worker_id: host:port of this process.
    """
    shown.update(config_of(connector, config, config_path))
    return Served(
        Described(
            connector,
            type_of(connector),
            shown,
            worker_id=worker_id,
            sync=config.name,
            ordinal=ordinal,
            topics=topics_of(connector, config),
            connectors=config.roster.connectors,
        ),
        health,
        metrics,
        cluster_id,
        access=access_of(config),
        asks=standing,
        places=places,
        plugins=ConnectorPlugins(config_path.parent, config.roster.connectors),
        fetch=partial(fetched, tls=tls_of(config)),
    )


def access_of(config: SyncConfig) -> Access:
    """Who may use the REST server."""
    auth, tls = config.rest.auth, config.rest.tls
    by_certificate = tls is not None and tls.client_ca_file is not None
    if auth is None:
        return Access(config.rest.host, by_certificate=by_certificate)
    return Access(
        config.rest.host,
        auth.username,
        None if auth.password is None else auth.password.get_secret_value(),
        None if auth.token is None else auth.token.get_secret_value(),
        by_certificate,
    )


def tls_of(config: SyncConfig) -> Tls | None:
    """TLS of the REST server; None: it has none."""
    return None if config.rest.tls is None else Tls(**config.rest.tls.model_dump())


def config_of(connector: str, config: SyncConfig, path: Path) -> Mapping[str, str]:
    """A connector's configuration as Kafka Connect shows one: flat, without secrets, references unresolved."""
    found = {key: text for key, text in showing.shown(path, config).items() if is_for(connector, key)}
    sync = found.pop("name", config.name)
    # A second safeguard: a secret in a place where none belongs.
    redacted = logs.Redaction(logs.secrets_of(config))
    found = {key: _without(redacted, text) for key, text in found.items()}
    return {"name": connector, "connector.class": connector, "tasks.max": "1", SYNC: sync, **found}


def _without(redacted: logs.Redaction, text: str) -> str:
    return text if redacted(None, "", text) == text else HIDDEN


def topics_of(connector: str, config: SyncConfig) -> list[str]:
    """The topics of records that a connector reads or writes."""
    names, its_side = config.topic_names, side_of(connector)
    if its_side is None:
        kinds = [f"{names.name}.{kind}." for kind in ("changes", "records", "state", "writes")]
    elif connector == its_side.source:
        kinds = [f"{names.name}.{kind}." for kind in ("changes", "identity", "events")]
    else:
        kinds = [f"{names.name}.writes.{its_side.name}.", f"{names.name}.events."]
    every = [spec.name for spec in specs_of(config)]
    return sorted(name for name in every if name.startswith(tuple(kinds)))


def places_of(
    connector: str, config: SyncConfig, registry: SchemaRegistry, standing: Standing
) -> SourcePlaces | SinkPlaces | MergePlaces:
    """Where the connector continues, for Kafka Connect's offsets resource."""
    kafka, names, its_side = config.kafka_properties(), config.topic_names, side_of(connector)
    entries, group = OffsetStore(kafka, names, registry), f"{config.name}-{connector}"
    if its_side is None:
        return MergePlaces(entries, connector)
    if connector == its_side.source:
        return SourcePlaces(kafka, entries, connector, group)
    stopped = partial(standing.ordinals_in, State.STOPPED)
    writes = [names.writes(its_side.name, name) for name in config.objects_of(its_side.name)]
    groups = [Group(kafka, connector, group, writes, stopped)]
    groups += [
        Group(kafka, connector, f"{group}-{each.name}", each.topics, stopped, each.name, each.is_published)
        for each in carried(config, its_side.name)
    ]
    return SinkPlaces(entries, connector, groups)
