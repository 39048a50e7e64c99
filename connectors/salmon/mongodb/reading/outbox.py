"""
Reads an outbox: each document that is inserted becomes one record of the event's topic.

First a position of the change stream is taken; then the documents that are there are read, in chunks, while events come. A chunk
is given once the stream has passed the time at which it was read, without the documents that the stream has given. So a
document is given once; again only after a kill during the reading, or if more were inserted meanwhile than are remembered.

A document in which the outcome of its event is noted is never given: that, and nothing else, says that it was published. If the position
is lost, a new one is taken, and the collection is read again by the same rule.

A thread of its own does this, so that neither this collection nor the synced ones hold up the others.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog
from pymongo import MongoClient
from pymongo.database import Database

from salmon.backoff import Backoff, Tries
from salmon.calls import Calls
from salmon.errors import BadRecordKey, DataError, PositionLost, SalmonError, SetupError
from salmon.mongodb.config import MongoConfig
from salmon.mongodb.keys import key_of, shown_id
from salmon.mongodb.outbox import Outbox, born_at, fields_of, has_outcome
from salmon.mongodb.reading.events import LOSING_EVENTS, collections_replaced_by, time_of
from salmon.mongodb.reading.misfits import as_bytes
from salmon.mongodb.reading.reads import Seen, read_chunk
from salmon.mongodb.reading.subscription import ChangeFeed, Token
from salmon.mongodb.stored import id_from_json, id_to_json, token_from_json, token_to_json
from salmon.mongodb.wire.client import Document, border, close, connect, database_of
from salmon.plugin.contract import (
    DeadLetter,
    EventRecord,
    Position,
    SnapshotProgress,
    SourceBatch,
    WaitingObject,
)

log = structlog.get_logger(__name__)

# The outbox's partition of the source's positions is this and the event's name.
OUTBOX: Final = "outbox/"
_DOCUMENTS_MAX: Final = 500  # in one batch, and in one chunk
_BATCHES_MAX: Final = 4  # that wait to be taken
_GIVEN_MAX: Final = 50_000  # keys that are remembered while the collection is read
_WAIT_S: Final = 0.5
_PUT_S: Final = 0.2
_IDLE_POSITION_S: Final = 10.0
_SHOWN_AFTER_S: Final = 10.0  # what is over sooner is no news for people
_JOIN_S: Final = 1.0
_AGAIN: Final = Backoff(first_s=0.5, max_s=5.0)


@dataclass(frozen=True, slots=True)
class _Place:
    """
    How far an outbox has been read.

    Args:
        token: The stream's position; None: none was taken yet.
        seen: The last event that was taken, if any.
        after: The `_id` of the last document that was read (see stored_id); empty at the beginning.
        read: Number of documents that were read.
        done: Whether all are read that were there at first.
    """

    token: Token | None = None
    seen: Token | None = None
    after: bytes = b""
    read: int = 0
    done: bool = False

    def position(self, collection: str) -> Position:
        return {
            "collection": collection,
            "token": token_to_json(self.token or {}),
            "seen": token_to_json(self.seen) if self.seen else None,
            "after": id_to_json(self.after),
            "read": self.read,
            "done": self.done,
        }

    @classmethod
    def of(cls, position: Position | None, collection: str) -> _Place:
        """The place of a stored position; the beginning if there is none, or it is one of another collection."""
        if position is None or position["collection"] != collection:
            return cls()
        seen = position["seen"]
        return cls(
            token_from_json(position["token"]),
            token_from_json(seen) if seen else None,
            id_from_json(position["after"]),
            position["read"],
            position["done"],
        )


class OutboxReader:
    """
    See EventSource.

    Args:
        config: The settings for MongoDB.
        app: Our name in the server's log.
        event: The event that the documents become.
        tells: Whether the documents are told what became of their events.
        calls: Where our calls are recorded.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        config: MongoConfig,
        app: str,
        event: str,
        outbox: Outbox,
        *,
        tells: bool = True,
        calls: Calls | None = None,
        backoff: Backoff = _AGAIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.event, self.tells = event, tells
        self._config, self._app, self._outbox, self._calls, self._clock = config, app, outbox, calls, clock
        self._partition = f"{OUTBOX}{event}"
        self._tries = Tries(backoff)
        self._place = _Place()
        self._total: int | None = None
        self._held: Seen | None = None  # a chunk whose time the stream has not passed yet
        self._given: dict[str, None] = {}  # keys that the stream has given, while the collection is read
        self._put_at_s = clock()
        self._ready: queue.Queue[SourceBatch] = queue.Queue(_BATCHES_MAX)
        self._stopping = threading.Event()
        self._client: MongoClient[Document] | None = None
        self._feed: ChangeFeed | None = None
        self._thread: threading.Thread | None = None
        self._broken: Exception | None = None  # a mistake of ours
        self._trouble: tuple[float, str] | None = None  # since when, and why
        self._note = ""

    # The worker's view.

    def start(self, positions: Mapping[str, Position]) -> None:
        self._place = _Place.of(positions.get(self._partition), self._outbox.collection)
        self._thread = threading.Thread(target=self._run, name=self._partition, daemon=True)
        self._thread.start()

    def take(self) -> SourceBatch | None:
        if self._broken is not None:
            raise self._broken
        try:
            return self._ready.get_nowait()
        except queue.Empty:
            return None

    def waiting(self) -> Sequence[WaitingObject]:
        trouble = self._trouble
        if trouble is None or (since_s := self._clock() - trouble[0]) < _SHOWN_AFTER_S:
            return ()
        where = f"events.{self.event}: the collection {self._outbox.collection} is not read"
        return [WaitingObject(self.event, since_s, f"{where}. {trouble[1]} It is tried again.")]

    def note(self) -> str:
        return self._note

    def progress(self) -> Sequence[SnapshotProgress]:
        place = self._place
        return [SnapshotProgress(self.event, place.read, self._total, place.done)]

    def stop(self) -> None:
        self._stopping.set()
        if (feed := self._feed) is not None:
            feed.cancel()

    def close(self) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        client, self._client = self._client, None
        if client is not None:
            close(client)

    # The thread.

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            pause_s = 0.0
            try:
                self._read()
            except PositionLost as lost:
                self._lose(lost)
            except SalmonError as error:
                pause_s = self._fails(error)
            except Exception as error:  # noqa: BLE001 - a thread has no caller; take() raises it
                self._broken = error
                return
            finally:
                self._held = None
                feed, self._feed = self._feed, None
                if feed is not None:
                    feed.close()

    def _read(self) -> None:
        """Read until asked to stop, or until the stream ends and has to be opened again."""
        if self._client is None:
            self._client = connect(self._config, app=self._app, calls=self._calls)
        database = database_of(self._client, self._config)
        if (fault := fault_of(database, self._outbox.collection)) is not None:
            raise SetupError(fault)
        feed = self._feed = ChangeFeed(database, [self._outbox.collection])
        begin = feed.open(self._place.token, seen=self._place.seen)
        if self._place.token is None:
            # Known to Kafka before the first document is: after a kill, the reading goes on, and nothing between is missed.
            self._place = replace(self._place, token=begin)
            self._give(SourceBatch())
        log.info("outbox_read", kind=self.event, collection=self._outbox.collection, done=self._place.done)
        while not self._stopping.is_set() and self._turn(database, feed):
            self._works()

    def _turn(self, database: Database[Document], feed: ChangeFeed) -> bool:
        """Take what the stream has, and a chunk. Returns False if the stream has ended."""
        if self._held is None and not self._place.done:
            self._held = self._chunk(database)
        held = self._held
        taken = feed.take(_DOCUMENTS_MAX, _WAIT_S, until=held.as_of if held else None)
        draft = _Draft(self.event, self._outbox)
        place = replace(self._place, token=taken.token)
        if taken.events:
            place = replace(place, seen=taken.events[-1]["_id"])
        has_ended = False
        for event in taken.events:
            operation = event["operationType"]
            if operation == "insert":
                key = draft.add(event["fullDocument"], inserted_at=_ms_of(event))
                if not place.done:
                    self._remember(key)
            elif operation in LOSING_EVENTS and collections_replaced_by(event, [self._outbox.collection]):
                # What has the collection's name now may hold documents that were inserted under another one.
                log.warning("outbox_replaced", kind=self.event, operation=operation)
                place = replace(place, after=b"", read=0, done=False)
                held = self._held = None
                has_ended = operation == "invalidate"
        if held is not None and taken.passed >= held.as_of:
            place = self._released(held, draft, place)
        self._place = place
        if draft or self._clock() - self._put_at_s >= _IDLE_POSITION_S:
            self._give(SourceBatch(events=draft.events, dead_letters=draft.dead_letters))
        return not has_ended

    def _chunk(self, database: Database[Document]) -> Seen:
        collection, after = self._outbox.collection, self._place.after
        if not after:
            with border(f"counting {collection}"):
                self._total = database[collection].estimated_document_count()
        return read_chunk(
            database, collection, after=after, limit=_DOCUMENTS_MAX, projection=self._outbox.projection
        )

    def _released(self, held: Seen, draft: _Draft, place: _Place) -> _Place:
        """Give the documents of a chunk, but for those that the stream has given. Returns the place after it."""
        self._held = None
        for document in held.documents:
            draft.add(document, inserted_at=born_at(document), unless=self._given)
        if held.documents:
            return replace(place, after=held.last, read=place.read + len(held.documents))
        self._given.clear()
        log.info("outbox_read_whole", kind=self.event, documents=place.read)
        return replace(place, done=True, after=b"")

    def _remember(self, key: str) -> None:
        self._given[key] = None
        if len(self._given) > _GIVEN_MAX:
            del self._given[next(iter(self._given))]

    def _give(self, batch: SourceBatch) -> None:
        """Hand over a batch with the place after it; wait while there is no room."""
        batch = replace(batch, positions={self._partition: self._place.position(self._outbox.collection)})
        self._put_at_s = self._clock()
        while not self._stopping.is_set():
            try:
                self._ready.put(batch, timeout=_PUT_S)
            except queue.Full:
                continue
            return

    # Trouble.

    def _lose(self, lost: PositionLost) -> None:
        self._note = (
            f"events.{self.event}: the position in MongoDB's log is lost. {self._outbox.collection} is read again: each document "
            f"without an outcome is published, perhaps a second time, with the same EventUuid."
        )
        log.error("outbox_position_lost", kind=self.event, reason=str(lost), note=self._note)
        self._place = _Place()
        self._given.clear()

    def _fails(self, error: SalmonError) -> float:
        wait_s = self._tries.failed()
        since, said = self._trouble or (self._clock(), "")
        if said != str(error):
            log.warning("outbox_waits", kind=self.event, reason=str(error), again_in_s=round(wait_s, 1))
        self._trouble = (since, str(error))
        return wait_s

    def _works(self) -> None:
        self._tries.worked()
        if self._trouble is not None:
            log.info("outbox_recovered", kind=self.event)
            self._trouble = None


def fault_of(database: Database[Document], collection: str) -> str | None:
    """Why a collection cannot be an outbox, in a sentence with what to do; None if it can, or does not exist yet."""
    with border(f"looking at {collection}"):
        answer = database.command(
            "listCollections", filter={"name": collection}, nameOnly=True, authorizedCollections=True
        )
    kinds = [each.get("type") for each in answer["cursor"]["firstBatch"]]
    if kinds in ([], ["collection"]):
        return None
    return f"It is not a collection but a {kinds[0]}, whose inserts no change stream reports. Name a plain collection."


class _Draft:
    """What goes into a batch."""

    def __init__(self, event: str, outbox: Outbox) -> None:
        self._event, self._outbox = event, outbox
        self.events: list[EventRecord] = []
        self.dead_letters: list[DeadLetter] = []

    def __bool__(self) -> bool:
        return bool(self.events or self.dead_letters)

    def add(self, document: Document, *, inserted_at: int, unless: Mapping[str, None] | None = None) -> str:
        """Add a document, unless it has an outcome or its key is in *unless*. Returns its key."""
        try:
            key = key_of(document["_id"])
        except BadRecordKey as error:
            self._set_aside(shown_id(document["_id"]), document, error)
            return ""
        if has_outcome(document) or (unless is not None and key in unless):
            return key
        try:
            fields = fields_of(self._outbox, document, key=key, inserted_at=inserted_at)
        except DataError as error:
            self._set_aside(key, document, error)
        else:
            self.events.append(EventRecord(self._event, key, fields, b"", inserted_at))
        return key

    def _set_aside(self, key: str, document: Document, error: DataError) -> None:
        log.warning("document_set_aside", kind=self._event, error=type(error).__name__, reason=str(error))
        self.dead_letters.append(DeadLetter(self._event, key, as_bytes(document), error))


def _ms_of(event: Document) -> int:
    """When the event was committed, by the server's clock, in ms since 1970."""
    wall = event.get("wallTime")
    return round(wall.timestamp() * 1000) if isinstance(wall, datetime) else (time_of(event) >> 32) * 1000
