"""
What every section of the API works with: the sync's objects, its records in MongoDB, and its story.

A handle is made for one state of the schemas. If a schema changes, a new handle and a new application take its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Any, Final, TypeVar

from fastapi.concurrency import run_in_threadpool
from pymongo.collection import Collection
from pymongo.database import Database

from salmon.api.access import Access
from salmon.api.problems import Problem
from salmon.config.api import ApiConfig
from salmon.config.models import ObjectConfig, SyncConfig
from salmon.model.schema import ObjectSchema
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.shapes import shapes_of
from salmon.mongodb.wire.client import Document
from salmon.ops.api_metrics import ApiMetrics
from salmon.story.lookup import Lookup

T = TypeVar("T")

# Each opens a client of Kafka's.
LOOKUPS_MAX: Final = 4
_LOOKUP_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ApiObject:
    """One synced object: its settings, its schema, and the form of its documents."""

    name: str
    settings: ObjectConfig
    schema: ObjectSchema
    shape: DocumentShape


@dataclass(frozen=True)
class Api:
    """
    Args:
        live: Returns the configuration that counts now.
        database: The sync's.
        access: Who may do what.
        objects: Object -> what is known of it.
    """

    live: Callable[[], SyncConfig]
    database: Database[Document]
    access: Access
    metrics: ApiMetrics
    objects: Mapping[str, ApiObject]
    _lookups: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(LOOKUPS_MAX))

    @property
    def settings(self) -> ApiConfig:
        return self.live().api or ApiConfig()

    def collection(self, name: str) -> Collection[Document]:
        """The collection of an object's documents."""
        return self.database[self.objects[name].settings.collection]

    @contextmanager
    def lookup(self) -> Iterator[Lookup]:
        """Open the sync's topics, to look up records by their keys. Blocks: in a thread only."""
        if not self._lookups.acquire(timeout=_LOOKUP_WAIT_S):
            raise Problem(503, "busy", "Too many histories are read at once.", headers={"Retry-After": "2"})
        try:
            with Lookup(self.live()) as lookup:
                yield lookup
        finally:
            self._lookups.release()


def objects_of(config: SyncConfig, schemas: Mapping[str, ObjectSchema]) -> dict[str, ApiObject]:
    """What is known of each object that has a schema. Raises ConfigError: the settings do not fit a schema."""
    shapes = shapes_of(config.objects, schemas)
    return {
        name: ApiObject(name, config.objects[name], schemas[name], shape) for name, shape in shapes.items()
    }


async def in_thread(call: Callable[..., T], *args: Any) -> T:
    """Call what blocks (MongoDB, Kafka) in a thread, and see it through even if the client goes away meanwhile."""
    return await asyncio.shield(asyncio.ensure_future(run_in_threadpool(call, *args)))
