"""
MongoDB source task: change stream events and rows in, changes out.

The task reports what happened in the collections and judges nothing: salmon.model.fold decides what is an echo and who
wins, and the worker commits positions, in one transaction with the changes.

Events come from one change stream, whose position is taken before the first row is read. A row shows a document at one
cluster time, and goes into the stream at that time: after all events up to it, and before all later ones. If the position
is lost, streaming continues at a new one and all collections are read again; until a collection is read, the first event
of each record is preceded by its row. Records deleted meanwhile are reported only on request: their keys are not known.

Whether the server itself went back to an earlier time: see salmon.mongodb.reading.servers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog
from pymongo import MongoClient

from salmon.calls import Calls, Peer, Probe
from salmon.errors import ConfigError, HistoryWentBack, PositionLost
from salmon.model.change import Change
from salmon.model.schema import ObjectSchema
from salmon.mongodb.config import MongoConfig, SyncedObject, read_from_mongodb, written_to_mongodb
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.form_store import require_plain
from salmon.mongodb.moves import covers_of, moves_after
from salmon.mongodb.moving import cluster_time
from salmon.mongodb.reading.collections import WENT_BACK, Spellings, all_differ, uuids_of
from salmon.mongodb.reading.dates import Dates
from salmon.mongodb.reading.decoding import Decoded, Decoding
from salmon.mongodb.reading.draft import Draft
from salmon.mongodb.reading.events import (
    LOSING_EVENTS,
    collections_replaced_by,
    time_of,
)
from salmon.mongodb.reading.misfits import Misfits
from salmon.mongodb.reading.requests import Requests
from salmon.mongodb.reading.rows import RowReader
from salmon.mongodb.reading.servers import Server
from salmon.mongodb.reading.snapshot import SNAPSHOT, Place, Rows, Snapshots, beginning
from salmon.mongodb.reading.subscription import ChangeFeed, Token
from salmon.mongodb.shapes import require_schemas, shapes_of
from salmon.mongodb.stored import token_from_json, token_to_json
from salmon.mongodb.strays import Strays
from salmon.mongodb.wire.client import Document, close, connect, database_of
from salmon.plugin.contract import (
    Position,
    Signal,
    SignalKind,
    SnapshotProgress,
    SourceBatch,
    SourceRecord,
    WaitingObject,
)

log = structlog.get_logger(__name__)

# The stream's position: {"token": resume token, "reads": {object: keys that are still to be read; null for all of it},
# "seen": token of the last event, "collections": {name: UUID}, "history": see Change}
STREAM: Final = "stream"
_EVENTS_MAX: Final = 1_000  # in one batch
_IDLE_POSITION_S: Final = 10.0  # how often a position is reported if there is nothing else to report


class MongoSourceTask:
    """
    See salmon.plugin.contract.SourceTask. Start it again after a batch could not be committed.

    Args:
        config: The settings for MongoDB.
        objects: All objects of the sync, by name. Those that are only written to MongoDB are not streamed.
        sync_name: The sync's name, which appears in MongoDB's log.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        config: MongoConfig,
        objects: Mapping[str, SyncedObject],
        sync_name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dates, self.former_paths = Dates(), Strays()
        self._config, self._objects = config, objects
        self._app = f"salmon-{sync_name}-mongodb-source"
        self._clock = clock
        self._collections = {name: settings.places for name, settings in objects.items()}
        self._names = {each: name for name, collections in self._collections.items() for each in collections}
        if len(self._names) < sum(map(len, self._collections.values())):
            raise ConfigError("objects: two objects have the same collection. Give each its own collection.")
        self._streamed = [name for name, settings in objects.items() if read_from_mongodb(settings)]
        self._written = frozenset(name for name, settings in objects.items() if written_to_mongodb(settings))
        self._shapes: dict[str, DocumentShape] = {}
        self._stopping = threading.Event()
        self._calls: Calls | None = None
        self._client: MongoClient[Document] | None = None
        self._feed: ChangeFeed | None = None
        self._snapshots: Snapshots | None = None
        self._misfits = Misfits()
        self._note = ""
        self._forget()

    def _forget(self) -> None:
        """Reset what is known since the last start."""
        self._token: Token | None = None  # the position after the last batch
        self._seen: Token | None = None  # the last event ever taken
        self._ids: dict[str, str] = {}  # collection -> its UUID, if the collection exists
        self._history = ""
        self._server = Server(self._clock)
        self._given_stream: Position | None = None  # the position that the worker got last, and when
        self._given_at_s = self._clock()
        self._waiting: list[Rows] = []  # rows that are read, but the stream has not passed their cluster time
        # For objects that are read again: the keys whose row was reported before their first event.
        self._rows_given: dict[str, set[str]] = {}
        self._unstored: set[str] = set()  # objects whose snapshot has started, but not reported to the worker
        self._left: dict[str, Place] = {}  # of objects no longer streamed; not reported to the worker
        self._answered: set[int] = set()  # signals that need no work

    def use(self, schemas: Mapping[str, ObjectSchema]) -> None:
        """Set the schemas of all objects. Must be called before start()."""
        self._shapes = shapes_of(self._objects, schemas)

    def hold(self, objects: Collection[str]) -> None:
        """See HoldsObjects."""
        self._streamed = [name for name in self._streamed if name not in objects]

    # The worker's view.

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """See Watched of the runtime. No probes: the driver itself calls each member every ten seconds."""
        self._calls = calls
        return {}

    def connect(self) -> None:
        """
        Connect, if not connected yet.

        Raises:
            ConfigError, SetupError: a person must correct something; the message names the key and what to do.
            Unavailable: MongoDB does not answer; the message says the same.
        """
        if self._client is None:
            self._client = connect(self._config, app=self._app, calls=self._calls)

    def start(self, positions: Mapping[str, Position], identities: Mapping[str, Mapping[str, str]]) -> None:
        """Resume after *positions*. Without any, take a position first, and then read all collections."""
        require_schemas(self._streamed, self._shapes)
        self._end_reading()
        self._forget()
        self._stopping.clear()
        self.connect()
        assert self._client is not None
        database = self._database = database_of(self._client, self._config)
        spellings = self._spellings = Spellings(self._database, self._collections, self._shapes)
        require_plain(
            database, {name: some for name, some in self._collections.items() if self._shapes[name].placed}
        )
        written = [name for name in self._streamed if name in self._written]
        moved = {name: self._collections[name][0] for name in written if not self._shapes[name].placed}
        paths = {name: settings.paths for name, settings in self._objects.items()}
        self._moves = moves_after(positions, database, moved, paths, self._shapes, strays=self.former_paths)
        self._rows = RowReader(self._database, self._collections, self._shapes, self._misfits, spellings)
        self._requests = Requests(self._rows.by_keys)
        self._decoding = Decoding(
            database=database,
            collections=self._collections,
            names=self._names,
            shapes=self._shapes,
            misfits=self._misfits,
            spellings=spellings,
            moves=self._moves,
            requests=self._requests,
            is_of_before=lambda name, place, at: self._reading.places[name].is_of_before(place, at),
        )
        covers = {name: self._covers(name) for name in self._streamed}
        begin = beginning(positions, covers, self._collections, now=cluster_time(database))
        self._snapshots = Snapshots(begin.places, self._rows.chunk, self._wake)
        self._unstored, self._left = begin.unstored, begin.left
        if begin.passed_by:
            log.warning(
                "collections_read_again", objects=begin.passed_by, why="the stream has passed changes of them"
            )
        stream = positions.get(STREAM)
        if stream is not None:
            self._token = token_from_json(stream["token"])
            self._history, self._ids = stream.get("history", ""), dict(stream.get("collections", {}))
            if seen := stream.get("seen"):
                self._seen = token_from_json(seen)
            for name, keys in stream["reads"].items():
                self._requests.add_due(name, keys)
        elif any(partition.startswith(SNAPSHOT) for partition in positions):
            self._token = {}  # There was a position before. No server accepts this one: a lost position, not a first start.
        try:
            self._open(self._token)
        except PositionLost as lost:
            self._read_all_again(lost)
        log.info("source_started", objects=self._streamed, resumed=stream is not None)

    def _covers(self, name: str) -> frozenset[str]:
        return covers_of(self._collections[name], self._shapes[name], by_path=name not in self._written)

    def poll(self, timeout_s: float) -> SourceBatch:
        """Return what arrived within *timeout_s*; an empty batch is a normal answer."""
        if self._stopping.is_set():
            return SourceBatch()
        try:
            return self._next_batch(timeout_s)
        except PositionLost as lost:
            self._read_all_again(lost)
            return self._batch(Draft())
        except Exception:
            # What was taken from the stream is not reported yet, so it is taken again, from the last reported position.
            self._close_feed()
            if self._stopping.is_set():
                return SourceBatch()
            raise

    def request(self, signal: Signal) -> None:
        """Accept a request. Its answer comes in a later batch, in the stream's order."""
        if signal.object not in self._shapes:
            log.warning("signal_of_unknown_object", object=signal.object, signal=signal.id)
            self._answered.add(signal.id)
        elif signal.kind is SignalKind.READ:
            self._requests.add(signal.object, signal.keys, answers={signal.id})
        elif signal.object not in self._streamed:
            self._answered.add(signal.id)  # the target of a one-way object is not read
        elif signal.id not in self._reading.places[signal.object].unanswered:
            self._start_again(signal.object, signal.id)
        self._wake()

    def progress(self) -> Sequence[SnapshotProgress]:
        """How far the snapshots have come."""
        return self._snapshots.progress() if self._snapshots else ()

    def note(self) -> str:
        """Return what a person should know, although everything works; empty if there is nothing."""
        return " ".join(filter(None, [self._note, self.former_paths.note()]))

    def waiting(self) -> Sequence[WaitingObject]:
        """The object whose snapshot fails while everything else works, and those whose documents are being moved."""
        return [*self._moves.waiting(), *self._snapshots.waiting()] if self._snapshots else ()

    def stop(self) -> None:
        """Unblock poll() and return at once. Idempotent; called from any thread."""
        self._stopping.set()
        if (feed := self._feed) is not None:
            feed.cancel()

    def close(self) -> None:
        """Close the connections. Called when nothing polls any more."""
        self._end_reading()
        client, self._client = self._client, None
        if client is not None:
            close(client)

    # One batch: take events, read what they and the signals ask for, and put both in order.

    def _next_batch(self, timeout_s: float) -> SourceBatch:
        if self._server.has_changed(self._database.client, self.dates):
            self._close_feed()
        feed = self._feed or self._open(self._token)
        self._waiting += self._reading.advance()
        self._moves.advance()
        at_once = bool(self._requests or self._unstored or self._answered or self._left or self._moves)
        until = min((rows.as_of for rows in self._waiting), default=None)
        taken = feed.take(_EVENTS_MAX, 0.0 if at_once else timeout_s, until=until)
        events, token, passed = taken.events, taken.token, taken.passed
        cut = next((n for n, e in enumerate(events, 1) if e["operationType"] in LOSING_EVENTS), len(events))
        if cut < len(events):
            # Each record's next event needs its row first: that is for the next batch.
            feed.put_back(events[cut:])
            events = events[:cut]
            token, passed = events[-1]["_id"], time_of(events[-1]) - 1
        decoded = self._decoding.decoded(events)
        self._moves.settle()
        first_rows = self._rows_before_first_events(decoded)
        reported = [(each.object, each.reported, each.event) for each in decoded if each.reported is not None]
        incomplete = [(name, item.key, time_of(event)) for name, item, event in reported if item.incomplete]
        self._waiting = self._requests.add_incomplete(incomplete, self._waiting)
        for name in self._requests.take_whole(self._reading.places):
            self._start_again(name, lost=False)
        if self._requests:
            self._waiting += self._requests.read(not_before=time_of(events[-1]) if events else 0)

        # Nothing after this may fail, because what goes into the batch is forgotten here.
        draft = self._in_order(decoded, first_rows, passed)
        self._token = token
        if events:
            self._seen = events[-1]["_id"]
        if events and events[-1]["operationType"] in LOSING_EVENTS:
            self._after_loss(events[-1])
        return self._batch(draft)

    def _in_order(
        self, decoded: Sequence[Decoded], first_rows: dict[tuple[str, str], Change], passed: int
    ) -> Draft:
        """Put the events into a draft, and between them the rows whose cluster time the stream has passed."""
        draft = Draft()
        waiting = sorted(self._waiting, key=lambda rows: rows.as_of)
        for item in decoded:
            while waiting and waiting[0].as_of < time_of(item.event):
                self._add_rows(draft, waiting.pop(0))
            draft.dead_letters += item.dead_letters
            if item.reported is None:
                continue
            key = item.reported.key
            if (row := first_rows.pop((item.object, key), None)) is not None:
                # The event proves that the document was there, so its absence is its end, whatever the object's collections were.
                draft.records.append(SourceRecord(item.object, key, row))
                self._rows_given.setdefault(item.object, set()).add(key)
            if item.reported.change is not None:
                draft.records.append(SourceRecord(item.object, key, item.reported.change))
        while waiting and waiting[0].as_of <= passed:
            self._add_rows(draft, waiting.pop(0))
        self._waiting = waiting
        return draft

    def _add_rows(self, draft: Draft, rows: Rows) -> None:
        if rows.place is not None:
            if not self._reading.release(rows):
                return
            draft.positions[SNAPSHOT + rows.object] = rows.place.position()
            if rows.place.done:
                self._rows_given[rows.object] = set()
                log.info("snapshot_finished", object=rows.object, documents=rows.place.read)
        draft.records += [self._row(rows.object, key, row) for key, row in rows.rows]
        draft.dead_letters += rows.dead_letters
        draft.answered |= rows.answered

    def _row(self, name: str, key: str, row: Change) -> SourceRecord:
        place = self._reading.places.get(name)  # the target of a one-way object has none
        return SourceRecord(name, key, row if place is None else place.told(row))

    def _batch(self, draft: Draft) -> SourceBatch:
        """Make the batch: the draft, and the positions after it."""
        for name in self._unstored:
            draft.positions.setdefault(SNAPSHOT + name, self._reading.places[name].position())
        draft.positions |= {SNAPSHOT + name: place.position() for name, place in self._left.items()}
        draft.answered |= self._answered
        stream: Position = {
            "token": token_to_json(self._token or {}),
            "reads": self._requests.due(self._waiting),
            "seen": token_to_json(self._seen) if self._seen else None,
            "collections": self._ids,
            "history": self._history,
        }
        now_s = self._clock()
        is_due = now_s - self._given_at_s >= _IDLE_POSITION_S
        if stream != self._given_stream and (draft or is_due):
            draft.positions[STREAM] = stream
            self._given_stream, self._given_at_s = stream, now_s
        self._unstored, self._answered, self._left = set(), set(), {}
        draft.name_history(self._history)
        return SourceBatch(draft.records, draft.positions, (), draft.dead_letters, frozenset(draft.answered))

    # Rows.

    def _rows_before_first_events(self, decoded: Sequence[Decoded]) -> dict[tuple[str, str], Change]:
        """After lost events: read the records that have an event now, and that were not reported since."""
        firsts: dict[str, dict[str, int]] = {}
        for item in decoded:
            if item.reported is None or item.reported.change is None or not self._is_read_again(item.object):
                continue
            if item.reported.key not in self._rows_given.setdefault(item.object, set()):
                firsts.setdefault(item.object, {}).setdefault(item.reported.key, time_of(item.event))
        return {
            (name, key): row
            for name, some in firsts.items()
            for key, row in self._rows.before_events(name, some).items()
        }

    def _is_read_again(self, name: str) -> bool:
        place = self._reading.places[name]
        return place.again and not place.done

    # The stream, and what happens when its position is lost.

    def _open(self, after: Token | None) -> ChangeFeed:
        feed = ChangeFeed(self._database, self._streamed_collections)
        ids = uuids_of(self._database, self._streamed_collections)
        token = feed.open(after, seen=self._seen)
        # A newly installed server accepts any position.
        if after is not None and not feed.proven and all_differ(self._ids, ids):
            feed.close()
            raise HistoryWentBack("all collections were created again.")
        self._ids = ids
        if after is None:
            self._token, self._seen = token, None
        self._feed = feed
        return feed

    def _read_all_again(self, lost: PositionLost) -> None:
        """The position is lost: take a new one first, and then read everything again."""
        self._close_feed()
        before = self._ids
        self._open(None)
        went_back = self._judge_history(lost, before)
        now = 0 if went_back else cluster_time(self._database)
        replaced = {name for name, uuid in before.items() if self._ids.get(name) != uuid}
        log.error("position_lost", reason=str(lost), objects=self._streamed, deletes="not looked for")
        for name in self._streamed:
            place = self._reading.places[name]
            place = (
                replace(place, since=0, others=frozenset()) if went_back else place.replaced(replaced, now)
            )
            self._start_again(name, of=place)

    def _judge_history(self, lost: PositionLost, before: Mapping[str, str]) -> bool:
        """If the side itself went back to an earlier time, start a new history: what it shows then is not an edit."""
        if not isinstance(lost, HistoryWentBack) and not all_differ(before, self._ids):
            return False
        assert self._token is not None
        self._history = self._token["_data"]
        self._moves.start()  # its documents have the form of then
        why = str(lost) if isinstance(lost, HistoryWentBack) else "all collections were created again."
        self._note = WENT_BACK
        log.error("history_went_back", reason=why, objects=self._streamed, mend=self._note)
        return True

    def _after_loss(self, event: Document) -> None:
        """A collection was dropped, or another one has its name now. Read it again to report what it holds."""
        operation = event["operationType"]
        lost = collections_replaced_by(event, self._streamed_collections)
        log.error(
            "collections_replaced", operation=operation, collections=sorted(lost), deletes="not reported"
        )
        self._spellings.forget()
        for name in sorted({self._names[collection] for collection in lost}):
            self._start_again(name, of=self._reading.places[name].replaced(lost, time_of(event)))
        for collection in lost:
            self._ids.pop(collection, None)  # it is read again when the stream is reopened
        if operation == "invalidate":
            self._close_feed()  # The stream ends with this event. The next poll opens one after it.

    def _start_again(self, name: str, *signals: int, lost: bool = True, of: Place | None = None) -> None:
        """
        Read an object's collections from the beginning. This answers *signals*, and those of its current snapshot.

        Args:
            lost: See Place.again.
            of: What its place is now, if it is not as it was.
        """
        place = of or self._reading.places[name]
        self._reading.begin(name, place.anew(self._covers(name), *signals, again=lost))
        self._rows_given[name] = set()
        self._unstored.add(name)

    @property
    def _streamed_collections(self) -> list[str]:
        return [each for name in self._streamed for each in self._collections[name]]

    @property
    def _reading(self) -> Snapshots:
        assert self._snapshots is not None, "start() comes first"
        return self._snapshots

    def _wake(self) -> None:
        if self._feed is not None:
            self._feed.wake()

    def _close_feed(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _end_reading(self) -> None:
        self._close_feed()
        if self._snapshots is not None:
            self._snapshots.close()
