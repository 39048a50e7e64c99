"""
MongoDB sink task: writes in, documents changed, one outcome for each.

The task carries out what merge decided, each write guarded by the marker of the document, and confirms nothing
before a majority holds it. How a write applies is for salmon.mongodb.bulk_write; order per key, retries, dead
letters and offsets are the worker's.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import structlog
from pymongo import MongoClient
from pymongo.database import Database

from salmon.calls import Calls, Peer, Probe
from salmon.errors import ConfigError, Unavailable
from salmon.model.connector import Identities, Outcome, SinkRecord
from salmon.model.schema import ObjectSchema
from salmon.mongodb.bulk_write import carry_out
from salmon.mongodb.client import Document, close, connect, database_of
from salmon.mongodb.config import MongoConfig, SyncedObject, written_to_mongodb
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.validators import prepare

log = structlog.get_logger(__name__)


class MongoSinkTask:
    """
    See salmon.model.connector.SinkTask. put() may be called from several threads at once, as long as no key is in
    two calls.

    Args:
        config: Where MongoDB is.
        objects: All objects of the sync, by name.
        sync_name: The sync's name, which is ours in MongoDB's log.
    """

    batch_max = 1_000  # writes in one put: the reply still comes within tens of milliseconds
    concurrency = 2  # calls of put at once: one encodes while the other waits for the server

    def __init__(self, config: MongoConfig, objects: Mapping[str, SyncedObject], sync_name: str) -> None:
        self._config = config
        self._app = f"salmon-{sync_name}-mongodb-sink"
        self._collections = {
            name: settings.collection for name, settings in objects.items() if written_to_mongodb(settings)
        }
        self._synced = frozenset(objects)
        self._shapes: dict[str, DocumentShape] = {}
        self._stopping = threading.Event()
        self._calls: Calls | None = None
        self._client: MongoClient[Document] | None = None
        self._database: Database[Document] | None = None

    def use(self, schemas: Mapping[str, ObjectSchema]) -> None:
        """Take the schemas of all objects."""
        self._shapes = {name: DocumentShape(schema, self._synced) for name, schema in schemas.items()}

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """See Watched of the runtime. The driver asks each member by itself every ten seconds."""
        self._calls = calls
        return {}

    def connect(self) -> None:
        """Connect, if nobody did. Raises as `start` does."""
        if self._client is None:
            self._client = connect(self._config, app=self._app, calls=self._calls)

    def start(self, schemas: Mapping[str, ObjectSchema], identities: Identities, *, clean: bool) -> None:
        """
        Connect and prepare the collections. *identities* and *clean* are not needed: references hold record keys,
        and the guard makes every repetition harmless.

        Raises:
            ConfigError, SetupError: what only a person can mend, with the key and the mend.
            Unavailable: MongoDB does not answer, with the same.
        """
        self.use(schemas)
        if missing := sorted(self._collections.keys() - self._shapes.keys()):
            raise ConfigError(f"objects: there is no schema of {', '.join(missing)}. Register it first.")
        self._stopping.clear()
        self.connect()
        assert self._client is not None
        self._database = database_of(self._client, self._config)
        for name, collection in self._collections.items():
            prepare(self._database, collection, self._shapes[name])
        log.info("sink_started", objects=sorted(self._collections))

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        """
        Carry out *records*, at most one of each key; return one outcome for each, in their order.

        Raises:
            RetriableError: nothing is known of any of them; the same ones may be put again.
        """
        if self._stopping.is_set() or self._database is None:
            raise Unavailable("the MongoDB sink is not running.")
        places: dict[str, list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault(record.object, []).append(place)
        outcomes: dict[int, Outcome] = {}
        for name, some in places.items():
            collection = self._database[self._collections[name]]
            told = carry_out(collection, self._shapes[name], [records[place] for place in some])
            outcomes |= zip(some, told, strict=True)
        return [outcomes[place] for place in range(len(records))]

    def stop(self) -> None:
        """Let put() take nothing more; what is under way ends with its server's answer. Idempotent, from any thread."""
        self._stopping.set()

    def close(self) -> None:
        """Give up the connections, when nothing is put any more."""
        client, self._client, self._database = self._client, None, None
        if client is not None:
            close(client)
