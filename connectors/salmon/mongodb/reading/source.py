"""
MongoDB source task: change stream events and rows in, changes out.

The task reports what happened in the collections and judges nothing: what is an echo and who wins is for
salmon.model.fold, and positions are committed by the worker, in one transaction with the changes.

Events come from one change stream, whose position is taken before the first row is read. Rows are read at one
moment of the cluster's time and put into the stream where that moment lies: after every event up to then, and
before every later one. If the position is lost, streaming goes on from a new one, all collections are read anew,
and until a collection is read, the first event of each of its records is preceded by the record's row. What was
deleted while events were lost is told only when it is asked for: the source does not know which keys there were.

A position can be served by a server that was restored from a backup, too. So the last event that was told is looked for
in its log, at each start and whenever another server process answers. Where it is not, or where all collections were made
anew with the position lost, the history went back: everything is read anew, and each change says of which history it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import structlog
from pymongo import MongoClient

from salmon.calls import Calls, Peer, Probe
from salmon.errors import BadRecordKey, ConfigError, HistoryWentBack, PositionLost
from salmon.model.change import Change
from salmon.model.schema import ObjectSchema
from salmon.mongodb.config import MongoConfig, SyncedObject, told_by_mongodb
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reading.collections import Spellings, all_differ, uuids_of
from salmon.mongodb.reading.events import (
    LOSING_EVENTS,
    RECORD_EVENTS,
    Told,
    collections_lost_by,
    time_of,
    told_by,
)
from salmon.mongodb.reading.misfits import Misfits
from salmon.mongodb.reading.requests import Requests, pieces_of
from salmon.mongodb.reading.rows import RowReader
from salmon.mongodb.reading.snapshot import SNAPSHOT, Place, Rows, Snapshots, beginning
from salmon.mongodb.reading.subscription import ChangeFeed, Token
from salmon.mongodb.stored import token_from_json, token_to_json
from salmon.mongodb.wire.client import Document, border, close, connect, database_of
from salmon.plugin.contract import (
    DeadLetter,
    Position,
    Signal,
    SignalKind,
    SnapshotProgress,
    SourceBatch,
    SourceRecord,
)

log = structlog.get_logger(__name__)

# Its position: {"token": resume token, "reads": {object: keys that are still to be read}, "seen": the token of the last
# event, "collections": {name: UUID}, "history": see Change}
STREAM: Final = "stream"
_EVENTS_MAX: Final = 1_000  # in one batch
_LOOK_AT_SERVER_S: Final = 10.0
_IDLE_POSITION_S: Final = 10.0  # how often a position that nothing of ours happened before is told


@dataclass(slots=True)
class _Decoded:
    """An event, with what it told of a record of ours."""

    event: Document
    object: str = ""
    told: Told | None = None
    dead_letters: Sequence[DeadLetter] = ()


@dataclass(slots=True)
class _Draft:
    """A batch that is being put together."""

    records: list[SourceRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    positions: dict[str, Position | None] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.records or self.dead_letters or self.positions or self.answered)


class MongoSourceTask:
    """
    See salmon.plugin.contract.SourceTask. Start it again after a batch could not be committed.

    Args:
        config: Where MongoDB is.
        objects: All objects of the sync, by name; those that are only written to MongoDB are not streamed.
        sync_name: The sync's name, which is ours in MongoDB's log.
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
        self._config = config
        self._app = f"salmon-{sync_name}-mongodb-source"
        self._clock = clock
        self._collections = {name: settings.collection for name, settings in objects.items()}
        self._names = {collection: name for name, collection in self._collections.items()}
        if len(self._names) < len(objects):
            raise ConfigError("objects: two of them name the same collection. Give each one of its own.")
        self._streamed = [name for name, settings in objects.items() if told_by_mongodb(settings)]
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
        """What is known between a start and the next."""
        self._token: Token | None = None  # the position after the last batch
        self._seen: Token | None = None  # the last event ever taken
        self._ids: dict[str, str] = {}  # collection -> its UUID, as far as it is there
        self._history = ""
        self._server: object = None  # which server process answers
        self._looked_at_s = self._clock()
        self._told_stream: Position | None = None  # the position that the worker was told, and when
        self._told_at_s = self._clock()
        self._waiting: list[Rows] = []  # read, but the stream has not passed their moment
        # Of objects that are read anew: the keys whose row was told before their first event.
        self._told_first: dict[str, set[str]] = {}
        self._untold: set[str] = set()  # objects whose snapshot has begun, which the worker was not told
        self._left: dict[str, Place] = {}  # of objects that are streamed no more; the worker was not told
        self._answered: set[int] = set()  # signals that need nothing

    def use(self, schemas: Mapping[str, ObjectSchema]) -> None:
        """Take the schemas of all objects; before start()."""
        synced = frozenset(self._collections)
        self._shapes = {name: DocumentShape(schema, synced) for name, schema in schemas.items()}

    # The worker's view.

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """See Watched of the runtime. The driver asks each member by itself every ten seconds."""
        self._calls = calls
        return {}

    def connect(self) -> None:
        """
        Connect, if nobody did.

        Raises:
            ConfigError, SetupError: what only a person can mend, with the key and the mend.
            Unavailable: MongoDB does not answer, with the same.
        """
        if self._client is None:
            self._client = connect(self._config, app=self._app, calls=self._calls)

    def start(self, positions: Mapping[str, Position], identities: Mapping[str, Mapping[str, str]]) -> None:
        """Resume after *positions*; without any, take a position and read all collections first."""
        if missing := sorted(set(self._streamed) - self._shapes.keys()):
            raise ConfigError(f"objects: there is no schema of {', '.join(missing)}. Register it first.")
        self._end_reading()
        self._forget()
        self._stopping.clear()
        self.connect()
        assert self._client is not None
        self._database = database_of(self._client, self._config)
        spellings = self._spellings = Spellings(self._database, self._collections, self._shapes)
        self._rows = RowReader(self._database, self._collections, self._shapes, self._misfits, spellings)
        self._requests = Requests(self._rows.by_keys)
        begin = beginning(positions, {name: self._covers(name) for name in self._streamed})
        self._snapshots = Snapshots(begin.places, self._rows.chunk, self._wake)
        self._untold, self._left = begin.untold, begin.left
        if begin.passed_by:
            log.warning(
                "collections_read_again", objects=begin.passed_by, why="the stream has passed them by"
            )
        stream = positions.get(STREAM)
        if stream is not None:
            self._token = token_from_json(stream["token"])
            self._history, self._ids = stream.get("history", ""), dict(stream.get("collections", {}))
            if seen := stream.get("seen"):
                self._seen = token_from_json(seen)
            for name, keys in stream["reads"].items():
                self._requests.add(name, keys, due=True)
        elif any(partition.startswith(SNAPSHOT) for partition in positions):
            self._token = {}  # It was there once. No server knows this one: that is a hole, and no first start.
        try:
            self._open(self._token)
        except PositionLost as lost:
            self._read_all_anew(lost)
        log.info("source_started", objects=self._streamed, resumed=stream is not None)

    def _covers(self, name: str) -> frozenset[str]:
        return frozenset(f"{self._collections[name]}.{field}" for field in self._shapes[name].names)

    def poll(self, timeout_s: float) -> SourceBatch:
        """Return what arrived within *timeout_s*; an empty batch is a normal answer."""
        if self._stopping.is_set():
            return SourceBatch()
        try:
            return self._next_batch(timeout_s)
        except PositionLost as lost:
            self._read_all_anew(lost)
            return self._batch(_Draft())
        except Exception:
            # What was taken from the stream has not been told: take it again, from the last position that was.
            self._close_feed()
            if self._stopping.is_set():
                return SourceBatch()
            raise

    def request(self, signal: Signal) -> None:
        """Take a request; its answer comes in the stream's order, in some later batch."""
        if signal.object not in self._shapes:
            log.warning("signal_of_unknown_object", object=signal.object, signal=signal.id)
            self._answered.add(signal.id)
        elif signal.kind is SignalKind.READ:
            self._requests.add(signal.object, signal.keys, answers={signal.id})
        elif signal.object not in self._streamed:
            self._answered.add(signal.id)  # the target of a one-way object: what it holds is nobody's concern
        elif signal.id not in self._reading.places[signal.object].unanswered:
            self._begin_anew(signal.object, signal.id)
        self._wake()

    def progress(self) -> Sequence[SnapshotProgress]:
        """How far the snapshots have come."""
        places = dict(self._snapshots.places) if self._snapshots else {}
        return [SnapshotProgress(name, place.read, place.total, place.done) for name, place in places.items()]

    def note(self) -> str:
        """What a person should know, though all is well; empty where there is nothing."""
        return self._note

    def stop(self) -> None:
        """Unblock poll() and return at once. Idempotent; called from any thread."""
        self._stopping.set()
        if (feed := self._feed) is not None:
            feed.cancel()

    def close(self) -> None:
        """Give up the connections, when nothing polls any more."""
        self._end_reading()
        client, self._client = self._client, None
        if client is not None:
            close(client)

    # One batch: take events, read what they and the signals ask for, put both in order.

    def _next_batch(self, timeout_s: float) -> SourceBatch:
        self._look_at_server()
        feed = self._feed or self._open(self._token)
        self._waiting += self._reading.advance()
        at_once = bool(self._requests or self._untold or self._answered or self._left)
        until = min((rows.as_of for rows in self._waiting), default=None)
        taken = feed.take(_EVENTS_MAX, 0.0 if at_once else timeout_s, until=until)
        events, token, passed = taken.events, taken.token, taken.passed
        cut = next((n for n, e in enumerate(events, 1) if e["operationType"] in LOSING_EVENTS), len(events))
        if cut < len(events):
            # Of what follows, each record's first event needs its row before it: that is for the next batch.
            feed.put_back(events[cut:])
            events = events[:cut]
            token, passed = events[-1]["_id"], time_of(events[-1]) - 1
        decoded = self._spelled([self._decode(event) for event in events])
        first_rows = self._rows_before_first_events(decoded)
        for item in decoded:
            if item.told is not None and item.told.incomplete:
                self._requests.add(item.object, (item.told.key,), due=True)
        if self._requests:
            self._waiting += self._requests.read(not_before=time_of(events[-1]) if events else 0)

        # Nothing from here on can fail: what goes out is forgotten.
        draft = self._in_order(decoded, first_rows, passed)
        self._token = token
        if events:
            self._seen = events[-1]["_id"]
        if events and events[-1]["operationType"] in LOSING_EVENTS:
            self._after_loss(events[-1])
        return self._batch(draft)

    def _in_order(
        self, decoded: Sequence[_Decoded], first_rows: dict[tuple[str, str], Change], passed: int
    ) -> _Draft:
        """Events, and between them the rows whose moment the stream has passed."""
        draft = _Draft()
        waiting = sorted(self._waiting, key=lambda rows: rows.as_of)
        for item in decoded:
            while waiting and waiting[0].as_of < time_of(item.event):
                self._add_rows(draft, waiting.pop(0))
            draft.dead_letters += item.dead_letters
            if item.told is None:
                continue
            key = item.told.key
            if (row := first_rows.pop((item.object, key), None)) is not None:
                draft.records.append(SourceRecord(item.object, key, row))
                self._told_first.setdefault(item.object, set()).add(key)
            if item.told.change is not None:
                draft.records.append(SourceRecord(item.object, key, item.told.change))
        while waiting and waiting[0].as_of <= passed:
            self._add_rows(draft, waiting.pop(0))
        self._waiting = waiting
        return draft

    def _add_rows(self, draft: _Draft, rows: Rows) -> None:
        if rows.place is not None:
            if not self._reading.told(rows):
                return
            draft.positions[SNAPSHOT + rows.object] = rows.place.position()
            if rows.place.done:
                self._told_first[rows.object] = set()
                log.info("snapshot_finished", object=rows.object, documents=rows.place.read)
        draft.records += [SourceRecord(rows.object, key, row) for key, row in rows.rows]
        draft.dead_letters += rows.dead_letters
        draft.answered |= rows.answered

    def _batch(self, draft: _Draft) -> SourceBatch:
        """Close the draft with the positions that hold after it."""
        for name in self._untold:
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
        is_due = now_s - self._told_at_s >= _IDLE_POSITION_S
        if stream != self._told_stream and (draft or is_due):
            draft.positions[STREAM] = stream
            self._told_stream, self._told_at_s = stream, now_s
        self._untold, self._answered, self._left = set(), set(), {}
        if self._history:
            draft.records = [
                replace(each, change=replace(each.change, history=self._history)) for each in draft.records
            ]
        return SourceBatch(draft.records, draft.positions, (), draft.dead_letters, frozenset(draft.answered))

    def _decode(self, event: Document) -> _Decoded:
        name = self._names.get(event.get("ns", {}).get("coll", ""))
        if event["operationType"] not in RECORD_EVENTS or name is None:
            return _Decoded(event)
        try:
            told = told_by(event, self._shapes[name])
        except BadRecordKey as error:
            letter = self._misfits.without_key(name, event["documentKey"]["_id"], event, error)
            return _Decoded(event, name, None, [letter])
        self._misfits.cut(name, told)
        letters = self._misfits.left_out(name, told, event, synced=self._shapes[name].names)
        return _Decoded(event, name, told, letters)

    def _spelled(self, decoded: Sequence[_Decoded]) -> Sequence[_Decoded]:
        """See Spellings."""
        items = [(item, item.told, item.told.change) for item in decoded if item.told and item.told.change]
        records = [SourceRecord(item.object, told.key, change) for item, told, change in items]
        spelled = self._spellings.of_events(records, partial(self._requests.add, due=True))
        for (item, told, _), record in zip(items, spelled, strict=True):
            item.told = replace(told, change=record.change)
        return decoded

    # Rows.

    def _rows_before_first_events(self, decoded: Sequence[_Decoded]) -> dict[tuple[str, str], Change]:
        """After a hole: read the records that have events, but of which nothing has been told since."""
        keys: dict[str, dict[str, None]] = {}
        for item in decoded:
            if item.told is None or not self._is_read_anew(item.object):
                continue
            if item.told.key not in self._told_first.setdefault(item.object, set()):
                keys.setdefault(item.object, {})[item.told.key] = None
        return {
            (name, key): row
            for name, some in keys.items()
            for piece in pieces_of(list(some))
            for rows in self._rows.by_keys(name, piece)
            for key, row in rows.rows
        }

    def _is_read_anew(self, name: str) -> bool:
        place = self._reading.places[name]
        return place.anew and not place.done

    # The stream, and what is done when it is lost.

    def _open(self, after: Token | None) -> ChangeFeed:
        feed = ChangeFeed(self._database, [self._collections[name] for name in self._streamed])
        ids = uuids_of(self._database, [self._collections[name] for name in self._streamed])
        token = feed.open(after, seen=self._seen)
        # A server that was set up just now serves any position.
        if after is not None and not feed.proven and all_differ(self._ids, ids):
            feed.close()
            raise HistoryWentBack("all collections were created again.")
        self._ids = ids
        if after is None:
            self._token, self._seen = token, None
        self._feed = feed
        return feed

    def _read_all_anew(self, lost: PositionLost) -> None:
        """A hole: first a new position, then everything behind it."""
        self._close_feed()
        before = self._ids
        self._open(None)
        self._judge_history(lost, before)
        log.error("position_lost", reason=str(lost), objects=self._streamed, deletes="not looked for")
        for name in self._streamed:
            self._begin_anew(name)

    def _judge_history(self, lost: PositionLost, before: Mapping[str, str]) -> None:
        """Whether what is lost is the past of the side itself: then nothing that it shows is news by being different."""
        if not isinstance(lost, HistoryWentBack) and not all_differ(before, self._ids):
            return
        assert self._token is not None
        self._history = self._token["_data"]
        why = str(lost) if isinstance(lost, HistoryWentBack) else "all collections were created again."
        self._note = (
            "MongoDB shows an earlier time, as after a restore from a backup. All collections are read again. The values agreed "
            "before are kept and written back into the documents. `salmon verify` finds documents that the restore lost, and "
            "`salmon verify --repair` creates them again."
        )
        log.error("history_went_back", reason=why, objects=self._streamed, mend=self._note)

    def _look_at_server(self) -> None:
        """PyMongo goes on by itself after a server has started again, whatever was done to its files meanwhile."""
        now_s = self._clock()
        if self._server is not None and now_s - self._looked_at_s < _LOOK_AT_SERVER_S:
            return
        self._looked_at_s = now_s
        with border("asking the server who it is"):
            told = self._database.client.admin.command("hello")
        server = told.get("me"), (told.get("topologyVersion") or {}).get("processId")
        if self._server not in (None, server):
            log.info("server_changed", server=told.get("me"))
            self._close_feed()
        self._server = server

    def _after_loss(self, event: Document) -> None:
        """A collection was dropped, or another took its name: what it holds now is told by its rows."""
        operation = event["operationType"]
        lost = collections_lost_by(event, [self._collections[name] for name in self._streamed])
        log.error(
            "collections_replaced", operation=operation, collections=sorted(lost), deletes="not reported"
        )
        self._spellings.forget()
        for collection in lost:
            self._begin_anew(self._names[collection])
            self._ids.pop(collection, None)  # known again when the stream is opened again
        if operation == "invalidate":
            self._close_feed()  # It ends with this event; the next poll opens one behind it.

    def _begin_anew(self, name: str, *signals: int) -> None:
        """Read a collection from the beginning; it answers these signals and those that its reading was to answer."""
        waiting = self._reading.places[name].unanswered
        self._reading.begin(name, Place(anew=True, signals=(*waiting, *signals), covers=self._covers(name)))
        self._told_first[name] = set()
        self._untold.add(name)

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
