"""Both sources: the product's own weaving of events and rows, over the World's org and database."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import SimpleNamespace
from typing import Any

from salmon.errors import PositionLost
from salmon.model.change import MONGODB, OWNED_BY_MERGE, PLACE, SALESFORCE, Change
from salmon.model.rules import Rules
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.reading.events import absent, reported_by, row_of, time_of
from salmon.mongodb.reading.placed import Half, is_for_a_row, places_after, row_of_places
from salmon.mongodb.reading.snapshot import Place
from salmon.plugin.contract import Position, Signal, SignalKind
from salmon.salesforce.catalog import SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.feed import STREAM, Feed
from salmon.salesforce.reading.intake import Decoded
from salmon.salesforce.reading.polling import OVERLAP_MS
from salmon.salesforce.reading.snapshot_runs import Schedule, partition_of
from salmon.salesforce.reading.stream.events import Report, Told
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Received, Start
from salmon.salesforce.reading.whole.rows import ReadRows
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.reading.whole.snapshot import Chunk, Failed, Snapshots
from salmon.salesforce.reading.whole.windows import Window
from support.world.database import Backup, Database
from support.world.nature import OBJECT, Nature
from support.world.org import Org, OrgEvent, OrgReader, OrgRecord, told_of
from support.world.views import COLLECTIONS

Tell = Callable[[str, Change], None]  # key, change: into `changes`
ROWS_A_CHUNK = 2
POLL_EVERY_S = 2.0


# Salesforce.


class OrgStream:
    """A subscription to the org's bus, of which as much has come as *heard* says."""

    def __init__(self, source: OrgSource, start: Start) -> None:
        self._source = source
        log = source.org.log
        self._preset = isinstance(start, Preset)
        if isinstance(start, Preset):
            self._at = len(log) if start is Preset.LATEST else source.org.lost
        else:
            self._at = int.from_bytes(start)
        self._greeted = False
        self._head: Received | Ended | None = None

    def peek(self) -> Received | Ended | None:
        if self._head is None:
            self._head = self._next()
        return self._head

    def pop(self) -> None:
        self._head = None

    def close(self) -> None:
        pass

    def _next(self) -> Received | Ended | None:
        org, heard = self._source.org, self._source.heard
        if self._preset and not self._greeted:
            self._at = max(self._at, org.lost)
        if self._at < org.lost:
            return Ended(PositionLost("the bus keeps events for three days"))
        if self._at >= heard:
            if self._greeted:
                return None
            self._greeted = True
            return Received((), self._at.to_bytes(8, "big"))
        self._greeted = True
        upto = min(heard, self._at + self._source.nature.random.randint(1, 3))
        events = [
            SimpleNamespace(
                event=SimpleNamespace(id=f"e{n}", schema_id=OBJECT, payload=org.log[n]),
                replay_id=(n + 1).to_bytes(8, "big"),
            )
            for n in range(self._at, upto)
        ]
        self._at = upto
        return Received(events, events[-1].replay_id)


class Chunks(Snapshots):
    """
    Runs whose chunks are read when the World says so, and not by a thread.

    With *chance*, runs are cut into parts, of which a random one is read next.
    """

    def __init__(self, org: Org, reader: OrgReader, chance: Random | None = None) -> None:
        self._org, self._reader, self._chance = org, reader, chance
        self.running: dict[int | None, Run] = {}  # by part
        self.ready: deque[Chunk] = deque()

    def begin(self, run: Run) -> None:
        self.running = {piece.part: piece for piece in run.pieces()}
        self.ready.clear()

    def give_up(self, name: str) -> None:
        self.running.clear()
        self.ready.clear()

    def take(self) -> Chunk | Failed | None:
        return self.ready.popleft() if self.ready else None

    def close(self) -> None:
        self.running.clear()

    @property
    def unread(self) -> bool:
        return any(not run.done for run in self.running.values())

    def read(self) -> None:
        """Read the next chunk, if one is due."""
        for part, begun in self._next():
            self._org.look_at_clock()
            if begun.done or begun.parts or (self._org.clock.covered or 0) < begun.not_before:
                continue
            run = self._as_begun(begun)
            if cuts := self._cuts(run):
                cut = self.running[part] = run.cut_at(cuts)  # its parts are begun when it is taken
                self.ready.append(Chunk(cut, ReadRows((), Window(run.began, run.began))))
                continue
            if run.absences:
                read = self._reader.deleted(run.last, limit=ROWS_A_CHUNK, floor=run.began)
            else:
                read = self._reader.after(run.last, limit=ROWS_A_CHUNK, floor=run.began, to=run.to)
            told = self.running[part] = self._told(replace(run, total=0), read)
            self.ready.append(Chunk(told, read))

    def _next(self) -> list[tuple[int | None, Run]]:
        """What may be read now: of several parts, a random one."""
        unread = [each for each in self.running.items() if not each[1].done]
        if self._chance is None or len(unread) < 2:
            return list(self.running.items())
        return [self._chance.choice(unread)]

    def _cuts(self, run: Run) -> list[str]:
        """The Ids at which a run that begins is cut."""
        if self._chance is None or run.part is not None or run.absences or run.last:
            return []
        ids = sorted(self._reader.org.records)
        return sorted(self._chance.sample(ids, min(len(ids), self._chance.randint(0, 2))))

    def _as_begun(self, run: Run) -> Run:
        if run.why is not Why.POLLED or run.last or run.absences:
            return run
        return replace(run, began=max(run.began, self._org.clock.covered or 0))


class WorldFeed(Feed):
    """The product's feed; events need no decoding here, but are of the fields that the sync knows."""

    live: frozenset[str]

    def _understood(self, _taken: Decoded, payload: Mapping[str, Any]) -> Report:
        told: OrgEvent = payload["event"]
        change = told_of(told, self.live)
        return Report(OBJECT, change.commit_time, (Told(told.native_id, change),), key=_key_of(told))


def _key_of(event: Any) -> str | None:
    return event.carried if event.change.op.value == "CREATE" else None


@dataclass
class OrgSource:
    """The source of the org: what it has stored, and one start's feed."""

    nature: Nature
    org: Org
    rules: Rules
    tell: Tell
    identities: dict[str, str]  # the identity topic: Id -> key
    heard: int = 0  # events that have come
    stored: dict[str, Position] = field(default_factory=dict)
    asked: dict[int, Signal] = field(default_factory=dict)  # signals that nobody has answered
    numbers: int = 0
    told: set[bytes] = field(default_factory=set)  # orders of the events that were told

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin with what is stored; what was gathered and not committed is gathered again."""
        names = self.rules.names[SALESFORCE]
        self.identity = Identity({OBJECT: self.rules.schema})
        self.identity.load(OBJECT, self.identities)
        reader = OrgReader(self.org, names, self.identity)
        in_parts = self.nature.random if self.nature.knobs.parts else None
        self.chunks, self.polls = Chunks(self.org, reader, in_parts), Chunks(self.org, reader)
        polled = {OBJECT: POLL_EVERY_S} if self.nature.knobs.polled else {}
        self.feed = WorldFeed(
            org=self.org,
            objects={OBJECT: SyncedObject(self.rules.schema.of_org, names)},
            whole={OBJECT: names},
            readers={OBJECT: reader},  # type: ignore[dict-item]
            identity=self.identity,
            load_identities=self._load,
            open_stream=lambda start: OrgStream(self, start),
            schema_of=lambda _: _SCHEMA,
            snapshots=self.chunks,
            our_user="",
            positions=self.stored,
            monotonic_s=lambda: self.nature.time.ms / 1000,
            org_id=lambda: f"00D{self.org.number}",
            schedule=Schedule(polled=polled, polls=self.polls if polled else None),
        )
        self.feed.live = self.rules.live[SALESFORCE]
        for signal in self.asked.values():
            self.feed.request(signal)

    def hear(self) -> None:
        """Let another event come, if there is one."""
        self.heard = min(self.heard + 1, len(self.org.log))

    def read_chunk(self) -> None:
        """Read the next chunk of whatever is being read."""
        self.chunks.read()
        self.polls.read()

    def turn(self) -> bool:
        """Gather and commit; whether there was anything."""
        harvest = self.feed.gather()
        if self.nature.chance(self.nature.knobs.crashes / 4):
            self.start()
            return True
        self._commit(harvest)
        if harvest.records and self.nature.chance(self.nature.knobs.repeats):
            self.repeat()
        return bool(harvest.records or harvest.answered)

    def repeat(self) -> None:
        """Tell an event again that was told before, perhaps long ago."""
        if self.heard > self.org.lost:
            self.tell_again(self.org.log[self.nature.random.randrange(self.org.lost, self.heard)])

    def tell_again(self, event: OrgEvent) -> None:
        """Tell an event that was told, or that a row has covered."""
        if event.change.order in self.told:
            change = replace(told_of(event, self.feed.live), history=self._history)
            self.tell(self.identity.key(OBJECT, event.native_id), change)

    @property
    def _history(self) -> str:
        return str(self.stored.get(STREAM, {}).get("history", ""))

    def ask(self, key: str | None, native_id: str | None = None) -> None:
        """A signal: read this record, or with None everything."""
        self.numbers += 1
        kind = SignalKind.READ if key else SignalKind.SNAPSHOT
        signal = Signal(
            self.numbers,
            kind,
            OBJECT,
            keys=(key,) if key else (),
            native_ids=(native_id,) if native_id else (),
        )
        self.asked[signal.id] = signal
        self.feed.request(signal)

    def lose_events(self) -> None:
        """What has not come is lost for good."""
        self.org.lost = self.heard = len(self.org.log)

    def go_back(self, backup: dict[str, OrgRecord], keys: set[str]) -> None:
        """The org is refreshed; the source connects anew, and `salmon verify --repair` asks for all that the sync knows."""
        self.org.go_back(backup)
        self.heard = len(self.org.log)
        self.told.clear()
        self.start()
        for key in sorted(keys):
            self.ask(key)

    @property
    def quiet(self) -> bool:
        return self.has_told and not self.asked and not self.chunks.unread

    @property
    def has_told(self) -> bool:
        """Whether all that was ever committed has been told."""
        if self.nature.knobs.polled:
            return self._has_polled
        return self.heard == len(self.org.log) and self.feed.wait_s() is None

    @property
    def _has_polled(self) -> bool:
        """Whether a poll that is complete has begun after all that was ever committed."""
        if not self.org.log:
            return True
        position = self.stored.get(partition_of(OBJECT))
        if position is None:
            return False
        run = Run.from_position(OBJECT, position)
        done_up_to = run.began if run.done or run.why is not Why.POLLED else (run.since or 0) + OVERLAP_MS
        return done_up_to >= self.org.log[-1].change.commit_time

    def _commit(self, harvest: Harvest) -> None:
        for partition, position in harvest.positions.items():
            if position is None:
                self.stored.pop(partition, None)
            else:
                self.stored[partition] = position
        self.identities.update((news.native_id, news.key or "") for news in harvest.identities)
        for record in harvest.records:
            self.told.add(record.change.order)
            self.tell(record.key, record.change)
        for answered in harvest.answered:
            self.asked.pop(answered, None)

    def _load(self) -> None:
        for record in self.org.records.values():
            if record.carried is not None and record.carried != record.native_id:
                self.identity.learn(OBJECT, record.native_id, record.carried)


def _read(event: OrgEvent) -> Mapping[str, Any]:
    """What stands in for the bytes of an event, as far as its parents are looked for in it."""
    header = {"changeType": event.change.op.value, "recordIds": [event.native_id], "commitUser": ""}
    return {"ChangeEventHeader": header, "event": event}


_SCHEMA: Any = SimpleNamespace(layout=SimpleNamespace(object=OBJECT), read=_read)


# MongoDB.


@dataclass
class Seen:
    """Documents as they were at one moment of the cluster's time."""

    as_of: int
    rows: list[tuple[str, Change]]


@dataclass
class DatabaseSource:
    """
    The source of the database. A read has an exact moment, and its rows stand there in the stream.

    After a hole, a document's first event comes behind its row, and absences are told.
    """

    nature: Nature
    database: Database
    rules: Rules
    tell: Tell
    keys: Callable[[], set[str]]  # of all records that the sync has heard of
    at: int = 0  # events that are told
    seen: list[Seen] = field(default_factory=list)
    anew: set[str] = field(default_factory=set)  # keys whose row must come before their next event
    unread: set[str] = field(
        default_factory=set
    )  # keys whose first row is still to be read, whatever is told before
    history: str = ""  # see Change
    covers: frozenset[str] = frozenset()  # fields of which everything was told since
    place: Place = field(default_factory=lambda: Place(collections=tuple(COLLECTIONS)))

    def __post_init__(self) -> None:
        self.covers = frozenset(self.rules.schema.by_name)
        self.start()

    def start(self) -> None:
        """Begin with the present rules; of a field that they have added, the stream has told nothing."""
        placed = self.rules.is_placed and self.database.side == MONGODB
        self.shape = DocumentShape(self.rules.schema, frozenset({OBJECT}), placed=placed)
        untold, self.seen = self.seen, []
        for seen in untold:
            self.read([key for key, _ in seen.rows])
        fields = frozenset(self.rules.schema.by_name)
        if not fields <= self.covers:
            self.anew |= self.database.documents.keys()
        self.covers = fields

    def turn(self) -> bool:
        """Tell what comes next in the stream's order; whether there was anything."""
        log = self.database.log
        if self.unread and (self.at == len(log) or self.nature.chance(0.2)):
            key = self.nature.random.choice(sorted(self.unread))
            self.unread.remove(key)
            self.read([key])
        following = log[self.at] if self.at < len(log) else None
        if self.seen and (following is None or self.seen[0].as_of < time_of(following)):
            for key, row in self.seen.pop(0).rows:
                self.anew.discard(key)
                self.tell(key, row)
            return True
        if following is None:
            if self.anew:
                self.read(sorted(self.anew))
                return True
            return False
        key = following["documentKey"]["_id"]
        if key in self.anew and not self.place.is_of_before(following["ns"]["coll"], time_of(following)):
            # Its row stands before it; that the read is of a later moment makes the event one that it covers.
            self.anew.discard(key)
            self.tell(*self._row_before(following))
        self.at += 1
        self._tell(self.at - 1)
        if self.nature.chance(self.nature.knobs.repeats):
            self.tell_again(self.nature.random.randrange(self.database.lost, self.at))
        return True

    def tell_again(self, number: int) -> None:
        """Tell an event that was told before."""
        self._tell(number)

    def read(self, keys: list[str]) -> None:
        """Read documents now; they are told in the stream's order."""
        as_of = self.database.cluster_time
        self.seen.append(Seen(as_of, [self._row(key, as_of) for key in keys]))

    def read_all(self) -> None:
        """Read everything: rows, and absences of what is known and not there."""
        self.read(sorted(self.database.documents.keys() | self.keys()))

    def lose_events(self) -> None:
        """What has not been told is lost for good: everything is read anew."""
        self.at = self.database.lost = len(self.database.log)
        self.seen.clear()
        self.unread.clear()
        self.anew = self.database.documents.keys() | self.keys()

    def leave(self, keys: set[str]) -> None:
        """It begins anew with another collection, which has not the documents *keys*: see Database.leave."""
        self.database.leave(sorted(keys))
        self.place = self.place.replaced(COLLECTIONS, self.database.cluster_time)
        self.anew = set(self.database.documents)

    def go_back(self, backup: Backup) -> None:
        """The database is restored from a backup, and everything is read anew."""
        self.database.go_back(backup)
        self.lose_events()
        self.history = "restored"

    @property
    def quiet(self) -> bool:
        return self.at == len(self.database.log) and not self.seen and not self.anew and not self.unread

    def _row(self, key: str, as_of: int, *, proven: bool = False) -> tuple[str, Change]:
        """*proven*: an event has shown that the document was there."""
        document = self.database.documents.get(key)
        if self.shape.placed:
            told = row_of_places(key, self.database.all_of(key), self.shape, as_of=as_of)
        elif document is None:
            return key, self._here(absent(as_of=as_of), proven=proven)
        else:
            told = row_of(document, self.shape, as_of=as_of)
        assert told.change is not None
        return key, self._here(told.change, proven=proven)

    def _row_before(self, event: Mapping[str, Any]) -> tuple[str, Change]:
        """The row that stands before an event: of now, or, if there are two documents by now, of the event's own time."""
        key = event["documentKey"]["_id"]
        told, row = self._row(key, self.database.cluster_time, proven=True)
        if PLACE not in row.misfits:
            return told, row
        of_then = row_of_places(key, event["there"], self.shape, as_of=time_of(event)).change
        assert of_then is not None, "a row is a change"
        return told, self._here(of_then, proven=True)

    def _tell(self, number: int) -> None:
        event = self.database.log[number]
        told = reported_by(event, self.shape)
        if self.place.is_of_before(event["ns"]["coll"], time_of(event)):
            self.read([told.key])
            return
        if self.shape.placed and is_for_a_row(event["operationType"], self._places_after(number)):
            self.read([told.key])
            return
        if told.change is not None:
            self.tell(told.key, self._here(told.change))

    def _places_after(self, number: int) -> int:
        """How many collections had the document after an event: counted back from the last one of the batch, which ends anywhere."""
        log = self.database.log
        key, end = log[number]["documentKey"]["_id"], self.nature.random.randrange(number, len(log))
        halves = [
            (Half(event["operationType"], key, time_of(event)), len(event["there"]))
            for event in log[number:]
            if event["documentKey"]["_id"] == key and event["operationType"] in ("insert", "delete")
            if time_of(event) <= time_of(log[end])
        ]
        return places_after([half for half, _ in halves], {key: halves[-1][1]})[0] if halves else 0

    def _here(self, change: Change, *, proven: bool = False) -> Change:
        """A change of this database: what merge tells a document of MongoDB's, it tells no other."""
        change = replace(change, history=self.history)
        if self.database.side == MONGODB and not proven:
            change = self.place.told(change)
        if self.database.side == MONGODB:
            return change
        named = None if change.changed is None else change.changed - OWNED_BY_MERGE
        fields = {n: v for n, v in change.fields.items() if n not in OWNED_BY_MERGE}
        return replace(change, origin=self.database.side, changed=named, fields=fields)


__all__ = ["MONGODB", "DatabaseSource", "OrgSource"]
