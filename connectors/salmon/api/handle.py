"""
What every section of the API works with: the sync's objects, its records in MongoDB, and its story.

A handle is made for one state of the schemas. If a schema changes, a new handle and a new application take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Event
from typing import Final

import structlog
from pydantic import BaseModel
from pymongo.collection import Collection as Documents
from pymongo.database import Database

from salmon.api.access import Access
from salmon.api.problems import Problem
from salmon.api.reports.opening import Reports
from salmon.api.settling import Settling
from salmon.config.models import ObjectConfig, SyncConfig
from salmon.config.sections.api import ApiConfig
from salmon.model.change import MONGODB
from salmon.model.described import Described
from salmon.model.schema import ObjectSchema
from salmon.mongodb.config import read_from_mongodb
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.shapes import shapes_of
from salmon.mongodb.wire.client import Document
from salmon.ops.api_metrics import ApiMetrics
from salmon.story.lookup import Lookup

log = structlog.get_logger(__name__)

# Each opens a client of Kafka's.
LOOKUPS_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class ApiObject:
    """
    One synced object.

    Args:
        described: What the org says of it for those who fill it in. Nothing, as long as salesforce-source has not registered it.
    """

    name: str
    settings: ObjectConfig
    schema: ObjectSchema
    shape: DocumentShape
    described: Described

    @property
    def masked(self) -> Collection[str]:
        """The fields that MongoDB holds in another form than agreed."""
        return self.shape.flow.masks.get(MONGODB, {}).keys()

    @property
    def hidden(self) -> frozenset[str]:
        """The fields that are masked for a side: a history shows their values to nobody."""
        return frozenset(each for masks in self.shape.flow.masks.values() for each in masks)

    @property
    def is_writable(self) -> bool:
        """Whether what is written to MongoDB reaches Salesforce."""
        return read_from_mongodb(self.settings)

    def settable(self, *, creating: bool) -> frozenset[str]:
        """The fields that may be given."""
        return frozenset(
            field.name
            for field in self.schema.fields
            if (field.create if creating else field.update)
            and not field.computed
            and field.name not in self.masked
        )


@dataclass(frozen=True)
class Api:
    """
    Args:
        live: Returns the configuration that counts now.
        database: The sync's.
        access: Who may do what.
        objects: Object -> what is known of it.
        settling: Where the sync is with each record.
        reports: Those of the configuration.
        models: What routes refer to in the description of the API; a section adds its own.
        closing: Is set when the process stops; streams end then.
    """

    live: Callable[[], SyncConfig]
    database: Database[Document]
    access: Access
    metrics: ApiMetrics
    objects: Mapping[str, ApiObject]
    settling: Settling
    reports: Reports
    closing: Event = field(default_factory=Event)
    models: list[type[BaseModel]] = field(default_factory=list)
    _lookups: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(LOOKUPS_MAX))

    @property
    def settings(self) -> ApiConfig:
        return self.live().api or ApiConfig()

    def collections(self, name: str) -> list[Documents[Document]]:
        """The collections of an object's documents; most objects have one."""
        return [self.database[each] for each in self.objects[name].settings.places]

    @contextmanager
    def lookup(self) -> Iterator[Lookup]:
        """
        Open the sync's topics, to look up records by their keys. Blocks: in a thread only.

        Raises:
            Problem: 503, there are enough already. Nobody waits for one: the threads that wait would be missing for everything else.
        """
        if not self._lookups.acquire(blocking=False):
            raise Problem(503, "busy", "Too many histories are read at once.", headers={"Retry-After": "2"})
        try:
            with Lookup(self.live()) as lookup:
                yield lookup
        finally:
            self._lookups.release()


def objects_of(
    config: SyncConfig, schemas: Mapping[str, ObjectSchema], described: Mapping[str, Described]
) -> dict[str, ApiObject]:
    """What is known of each object that has a schema. Raises ConfigError: the settings do not fit a schema."""
    shapes = shapes_of(config.objects, schemas)
    return {
        name: ApiObject(
            name, config.objects[name], schemas[name], shape, described.get(name, Described(name))
        )
        for name, shape in shapes.items()
    }
