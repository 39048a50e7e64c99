"""What the org has of a sync's objects and events: asked of the org itself, as its source asks, or read from saved describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from salmon.app.events import listening
from salmon.config.models import SyncConfig
from salmon.errors import ConfigError, RequestRejected
from salmon.foreign_json import json_in
from salmon.model.described import described
from salmon.plugin.contract import Closes, Connects, DescribesObjects, ReportsEvents
from salmon.plugin.describing import ShowsDescribes
from salmon.runtime import discovery
from salmon.salesforce.catalog import synced_object
from salmon.salesforce.wire.rest import Page
from salmon.schemas.subjects import Described

SIDE = "salesforce"


def of_org(config: SyncConfig) -> Described:
    """
    Ask the org. What comes of it is what salesforce-source itself would register.

    Raises:
        SetupError: an object or a field is missing, or hidden from the integration user.
        Unavailable: the org does not answer.
    """
    source = listening(
        discovery.source_factory(SIDE)(config.settings_of(SIDE), config.objects, config.name), config
    )
    try:
        if isinstance(source, Connects):
            source.connect()
        objects = source.schemas() if isinstance(source, DescribesObjects) else {}
        events = source.event_schemas() if isinstance(source, ReportsEvents) else {}
        shown = (
            {name: source.describe_of(name) for name in objects} if isinstance(source, ShowsDescribes) else {}
        )
    finally:
        if isinstance(source, Closes):
            source.close()
    return Described(objects, events, _descriptions(shown))


def of_folder(config: SyncConfig, folder: Path) -> Described:
    """
    Read saved describes, `<Object>.json`, in place of an org. Events are left out: their schemas are only in the org.

    Raises:
        ConfigError: a file is missing, or is not a describe.
        ObjectUnusable: the describe lacks a field that the configuration needs.
    """
    saved = _Saved(folder)
    objects = {name: synced_object(name, config.objects, saved).registered for name in config.objects}
    return Described(objects, descriptions=_descriptions({name: saved.describe(name) for name in objects}))


def _descriptions(describes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: described(describe).to_registry() for name, describe in describes.items()}


class _Saved:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self, name: str) -> Mapping[str, Any]:
        file = self._folder / f"{name}.json"
        try:
            describe = json_in(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--describe: {file} cannot be read ({type(error).__name__}). Save the answer of"
                f" GET /services/data/v64.0/sobjects/{name}/describe there."
            ) from None
        if not isinstance(describe, dict):
            raise ConfigError(f"--describe: {file} is not an object's describe. Save the answer as it is.")
        return describe

    def key_prefixes(self) -> Mapping[str, str]:
        return {}

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]:
        raise RequestRejected(f"{soql}: saved describes have no records.", code="SAVED_DESCRIBES")
