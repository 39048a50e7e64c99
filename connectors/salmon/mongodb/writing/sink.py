"""
MongoDB sink task: writes in, one outcome for each out.

The task carries out what merge decided. Each write is guarded by the document's marker, and is confirmed only after a
majority has it. How a write applies is in salmon.mongodb.writing.delivery. The worker takes care of the order per key,
retries, dead letters and offsets.

A collection that MongoDB refuses as a whole (a permission is missing, or a view has its name) waits, and is tried again each
minute; the others continue. The process ends only if MongoDB refuses all of them.

Writes of an object whose documents do not have the form of this process's configuration wait, too (salmon.mongodb.forms).

A write that a unique index refuses is refused for good only after a while, because the write that makes the other document
release the value may follow soon.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from pymongo import MongoClient
from pymongo.database import Database

from salmon.calls import Calls, Peer, Probe
from salmon.errors import SetupError, SignInRefused, Unavailable
from salmon.model.change import Write
from salmon.model.schema import ObjectSchema
from salmon.mongodb.config import MongoConfig, SyncedObject, read_from_mongodb, written_to_mongodb
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.form_store import require_plain
from salmon.mongodb.shapes import require_schemas, shapes_of
from salmon.mongodb.wire.client import Document, close, connect, database_of
from salmon.mongodb.writing.delivery import carry_out
from salmon.mongodb.writing.forms import LOOK_S, FormWatch
from salmon.mongodb.writing.places import carry_out_placed
from salmon.mongodb.writing.unique_values import DUPLICATE
from salmon.mongodb.writing.validators import prepare
from salmon.plugin.clashes import FINAL_AFTER_S, Clashes, nothing_owed
from salmon.plugin.contract import Identities, Outcome, OutcomeKind, OwedTo, SinkRecord, WaitingObject

log = structlog.get_logger(__name__)

_AGAIN_S: Final = 60.0
_REFUSED: Final = "COLLECTION_REFUSED"
_OTHER_FORM: Final = "DOCUMENTS_OF_ANOTHER_FORM"


class MongoSinkTask:
    """
    See salmon.plugin.contract.SinkTask. put() may be called from several threads at once, as long as no key is in
    two calls.

    Args:
        config: The settings for MongoDB.
        objects: All objects of the sync, by name.
        sync_name: The sync's name, which appears in MongoDB's log.
        final_after_s: How long another document without an unfinished write must have the value until a write is refused.
        clock: A monotonic clock, in seconds.
    """

    batch_max = 1_000  # writes in one put: the reply still comes within tens of milliseconds
    concurrency = 2  # concurrent calls of put: one encodes while the other waits for the server

    def __init__(
        self,
        config: MongoConfig,
        objects: Mapping[str, SyncedObject],
        sync_name: str,
        *,
        final_after_s: float = FINAL_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._app = f"salmon-{sync_name}-mongodb-sink"
        self._collections = {
            name: settings.places for name, settings in objects.items() if written_to_mongodb(settings)
        }
        self._objects = objects
        self._paths = {name: settings.paths for name, settings in objects.items()}
        self._moved = [name for name in self._collections if not read_from_mongodb(objects[name])]
        self._forms: FormWatch | None = None
        self._shapes: dict[str, DocumentShape] = {}
        self._stopping = threading.Event()
        self._calls: Calls | None = None
        self._client: MongoClient[Document] | None = None
        self._database: Database[Document] | None = None
        self._owed: OwedTo = nothing_owed
        self._clashes = Clashes(DUPLICATE, clock, final_after_s=final_after_s)
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: dict[str, tuple[float, str]] = {}  # object -> since when MongoDB refuses it, and why

    def look_up(self, owed: OwedTo) -> None:
        """Set the function that returns the newest unfinished write of a record."""
        self._owed = owed

    def use(self, schemas: Mapping[str, ObjectSchema]) -> None:
        """Set the schemas of all objects."""
        self._shapes = shapes_of(self._objects, schemas)

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """See Watched of the runtime. No probes: the driver itself calls each member every ten seconds."""
        self._calls = calls
        return {}

    def connect(self) -> None:
        """Connect, if not connected yet. Raises the same errors as `start`."""
        if self._client is None:
            self._client = connect(self._config, app=self._app, calls=self._calls)

    def start(self, schemas: Mapping[str, ObjectSchema], identities: Identities, *, clean: bool) -> None:
        """
        Connect and prepare the collections. *identities* and *clean* are not needed: references hold record keys,
        and the guard makes every repetition harmless.

        Raises:
            ConfigError, SetupError: a person must correct something; the message names the key and what to do.
            Unavailable: MongoDB does not answer; the message says the same.
        """
        self.use(schemas)
        require_schemas(self._collections, self._shapes)
        self._stopping.clear()
        self.connect()
        assert self._client is not None
        self._database = database_of(self._client, self._config)
        self._prepare(self._database)
        # An object with several collections has no other paths than its fields' names.
        several = {name: some for name, some in self._collections.items() if self._shapes[name].placed}
        require_plain(self._database, several)
        alone = {name: some[0] for name, some in self._collections.items() if not self._shapes[name].placed}
        moved = [name for name in self._moved if name in alone]
        self._forms = FormWatch(self._database, alone, moved, self._paths, self._shapes, clock=self._clock)
        log.info("sink_started", objects=sorted(self._collections))

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        """
        Carry out *records*, at most one per key. Returns one outcome for each, in their order.

        Raises:
            RetriableError: it is not known what became of any of them; the same records can be put again.
            SetupError: MongoDB refuses all collections; the message says what to correct.
        """
        if self._stopping.is_set() or self._database is None or self._forms is None:
            raise Unavailable("the MongoDB sink is not running.")
        places: dict[str, list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault(record.object, []).append(place)
        outcomes: dict[int, Outcome] = {}
        for name, some in places.items():
            if why := self._forms.why_not(name):
                outcome = Outcome(OutcomeKind.RETRY_LATER, code=_OTHER_FORM, reason=why, again_s=LOOK_S)
                outcomes |= dict.fromkeys(some, outcome)
                continue
            try:
                carried_out = self._carry_out(self._database, name, [records[place] for place in some])
                self._note_acceptance(name)
            except SetupError as error:
                waits = self._note_refusal(name, error)
                carried_out = [
                    Outcome(OutcomeKind.RETRY_LATER, code=_REFUSED, reason=waits, again_s=_AGAIN_S)
                ] * len(some)
            outcomes |= zip(some, carried_out, strict=True)
        return [self._clashes.judged(record, outcomes[place]) for place, record in enumerate(records)]

    def _carry_out(
        self, database: Database[Document], name: str, records: Sequence[SinkRecord]
    ) -> Sequence[Outcome]:
        collections, shape = {each: database[each] for each in self._collections[name]}, self._shapes[name]

        def owed(key: str) -> Write | None:
            return self._owed(name, key)

        if shape.placed:
            is_read = read_from_mongodb(self._objects[name])
            return carry_out_placed(collections, shape, records, owed, is_read=is_read)
        [collection] = collections.values()
        return carry_out(collection, shape, records, owed)

    def waiting(self) -> Sequence[WaitingObject]:
        """The objects whose collection MongoDB refuses, or whose documents have another form, while the others go on."""
        now = self._clock()
        with self._lock:
            refused = [WaitingObject(name, now - since, why) for name, (since, why) in self._refused.items()]
        return [*refused, *(self._forms.waiting() if self._forms is not None else ())]

    def _prepare(self, database: Database[Document]) -> None:
        """Writing works without validators and indexes: where MongoDB refuses them, the first write shows what else is wrong."""
        refusals: list[SetupError] = []
        collections = [(name, each) for name, some in self._collections.items() for each in some]
        for name, collection in collections:
            try:
                prepare(database, collection, self._shapes[name])
            except SignInRefused:
                raise
            except SetupError as error:
                log.warning("collection_not_prepared", object=name, collection=collection, reason=str(error))
                refusals.append(error)
        if refusals and len(refusals) == len(collections):
            raise refusals[0]

    def _note_refusal(self, name: str, error: SetupError) -> str:
        """Let the object wait; return the reason. Raises *error* if nothing else works, or the user is not let in."""
        if isinstance(error, SignInRefused):
            raise error
        why = f"objects.{name}: {error} It is tried again each minute."
        with self._lock:
            is_new = name not in self._refused
            self._refused[name] = (self._refused.get(name, (self._clock(), ""))[0], why)
            if self._refused.keys() >= self._collections.keys():
                raise error
        if is_new:
            log.error("object_refused", object=name, reason=why, others="go on")
        return why

    def _note_acceptance(self, name: str) -> None:
        with self._lock:
            was = self._refused.pop(name, None)
        if was is not None:
            log.info("object_accepted_again", object=name)

    def stop(self) -> None:
        """Make put() refuse new records. Calls in progress end with the server's answer. Idempotent; from any thread."""
        self._stopping.set()

    def close(self) -> None:
        """Close the connections. Called when nothing is put any more."""
        client, self._client, self._database = self._client, None, None
        if client is not None:
            close(client)
