"""The source: lines in, changes out. It judges nothing; what is an echo and who wins is for merge."""

from __future__ import annotations

import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonl_side.journal import Bad, Found, Journal, Line, Place, require_folder
from salmon.plugin import (
    FIRST_READ,
    NOT_OF_TYPE,
    Change,
    DeadLetter,
    Misfit,
    ObjectSchema,
    Op,
    Position,
    RetriableError,
    SchemaMismatch,
    Signal,
    SignalKind,
    SnapshotProgress,
    SourceBatch,
    SourceRecord,
    Value,
    from_json,
)

if TYPE_CHECKING:
    from jsonl_side import JsonlSettings

SIDE = "jsonl"
STREAM = "stream/"
_BATCH_MAX = 500


@dataclass
class Reading:
    """One object: its file, and what is to be read of it beside its new lines."""

    schema: ObjectSchema
    journal: Journal
    history: str = ""  # another one each time that the file turns out to be an older copy, or another file
    unread: deque[str] | None = (
        None  # the keys that a reading of all has still to report; None: no such reading
    )
    read: int = 0
    asked: dict[int, Signal] = field(default_factory=dict)  # what is answered when that reading is done
    keys: deque[tuple[int, str]] = field(
        default_factory=deque
    )  # single records: the signal that asked, and the key
    bad: tuple[Bad, ...] = ()  # lines of before that nobody was told of
    seen: tuple[int, int, int] = (0, 0, 0)  # what the file looked like when there was nothing new in it


class JsonlSource:
    """See salmon.plugin.contract.SourceTask."""

    def __init__(self, settings: JsonlSettings, objects: Mapping[str, Any], _sync_name: str) -> None:
        self._folder, self._settings = Path(settings.folder), settings
        self._names = set(objects)
        self._readings: dict[str, Reading] = {}
        self._schemas: Mapping[str, ObjectSchema] = {}
        self._keys_of: Callable[[str], Collection[str]] = lambda _: ()
        self._stopping = threading.Event()

    # Before the start.

    def connect(self) -> None:
        require_folder(self._folder)

    def use(self, schemas: Mapping[str, ObjectSchema]) -> None:
        self._schemas = schemas

    def hold(self, objects: Collection[str]) -> None:
        self._names -= set(objects)

    def use_records(self, keys_of: Callable[[str], Collection[str]]) -> None:
        self._keys_of = keys_of

    def start(self, positions: Mapping[str, Position], identities: Mapping[str, Mapping[str, str]]) -> None:
        self._stopping.clear()
        for name in sorted(self._names):
            journal = Journal(self._folder / f"{name}.jsonl", self._settings.keep_bytes)
            reading = self._readings[name] = Reading(self._schemas[name], journal)
            stream, first = positions.get(STREAM + name), positions.get(FIRST_READ + name, {})
            if stream is None:
                journal.open()
                reading.bad = journal.bad
            else:
                reading.history = stream["history"]
                self._found(reading, journal.open(Place(*(stream[part] for part in _PARTS))))
            # Of a field that the sync knows only now, no line has told that came before.
            if not first.get("done") or not self._fields(reading) <= set(first["fields"]):
                reading.unread = reading.unread or deque()

    # At work.

    def request(self, signal: Signal) -> None:
        reading = self._readings[signal.object]
        if signal.kind is SignalKind.SNAPSHOT:
            reading.asked[signal.id] = signal
            reading.unread = deque()  # from its beginning
        elif signal.kind is SignalKind.READ:
            reading.keys += [(signal.id, key) for key in (*signal.keys, "")]

    def poll(self, timeout_s: float) -> SourceBatch:
        batch = Batch()
        try:
            for name, reading in self._readings.items():
                if reading.unread is not None:
                    self._read_all(name, reading, batch)
                self._read_some(name, reading, batch)
                if reading.unread is None:
                    self._follow(name, reading, batch)
        except RetriableError:
            if batch.is_empty:
                raise
            # What was gathered of other objects must not be lost with it. If the trouble goes on, the next poll meets it again.
        if batch.is_empty:
            self._stopping.wait(min(timeout_s, self._settings.poll_s))
        return batch.whole()

    def progress(self) -> Sequence[SnapshotProgress]:
        return [
            SnapshotProgress(name, each.read, len(each.journal.records), each.unread is None)
            for name, each in self._readings.items()
        ]

    def stop(self) -> None:
        self._stopping.set()

    # For `salmon verify`.

    def show_after(self, object: str, after: str) -> Sequence[SourceRecord]:  # noqa: A002
        keys = sorted(key for key in self._now(object).journal.records if key > after)
        return self.show(object, keys[:_BATCH_MAX])

    def show(self, object: str, keys: Collection[str]) -> Sequence[SourceRecord]:  # noqa: A002
        reading = self._now(object)
        there = [key for key in keys if key in reading.journal.records]
        return [SourceRecord(object, key, self._row(reading, key)) for key in there]

    def _now(self, name: str) -> Reading:
        if (reading := self._readings.get(name)) is None:
            journal = Journal(self._folder / f"{name}.jsonl", self._settings.keep_bytes)
            journal.open()
            reading = self._readings[name] = Reading(self._schemas[name], journal)
        try:
            for _ in reading.journal.follow():
                pass
        except LookupError:
            reading.journal.open()
        return reading

    # All records, or single ones, as they are at the place up to which we have told.

    def _read_all(self, name: str, reading: Reading, batch: Batch) -> None:
        """Tell of a part of all records, and of those that are agreed to be there and are not. No line is told meanwhile."""
        if not reading.unread:
            # What was agreed before this side took part is told to be absent, and so it is made here.
            reading.unread = deque(sorted(reading.journal.records.keys() | set(self._keys_of(name))))
            reading.read = 0
            batch.dead_letters += [DeadLetter(name, "", each.raw, each.error) for each in reading.bad]
            reading.bad = ()
        while reading.unread and batch.has_room:
            batch.add(name, key := reading.unread.popleft(), self._row(reading, key))
            reading.read += 1
        is_done = not reading.unread
        if is_done:
            reading.unread = None
            batch.answered |= reading.asked.keys()
            reading.asked = {}
        batch.positions[STREAM + name] = self._position(reading)
        batch.positions[FIRST_READ + name] = {"done": is_done, "fields": sorted(self._fields(reading))}

    def _read_some(self, name: str, reading: Reading, batch: Batch) -> None:
        while reading.keys and batch.has_room:
            signal, key = reading.keys.popleft()
            if key:
                batch.add(name, key, self._row(reading, key))
            else:
                batch.answered.add(signal)

    def _row(self, reading: Reading, key: str) -> Change:
        record, as_of = reading.journal.records.get(key), reading.journal.place.end
        if record is None:
            return Change(SIDE, Op.ABSENT, as_of=as_of, history=reading.history)
        fields, misfits = self._values(reading, record.fields)
        return Change(
            SIDE,
            Op.ROW,
            as_of=as_of,
            ack=record.marker or None,
            changed=self._fields(reading) - misfits.keys() if misfits else None,
            fields=fields,
            misfits=misfits,
            history=reading.history,
        )

    # New lines.

    def _follow(self, name: str, reading: Reading, batch: Batch) -> None:
        journal = reading.journal
        try:
            found = os.stat(journal.path)
            looks = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            looks = (0, 0, 0)
        if looks == reading.seen and looks[0]:
            return
        before = journal.place
        try:
            for line in journal.follow():
                self._tell(name, reading, line, batch)
                if not batch.has_room:
                    break
            else:
                reading.seen = looks
        except LookupError:
            self._found(reading, journal.open(journal.place))
        if journal.place != before or reading.unread is not None:
            batch.positions[STREAM + name] = self._position(reading)
        if reading.unread is not None:
            batch.positions[FIRST_READ + name] = {"done": False, "fields": []}

    def _found(self, reading: Reading, found: Found) -> None:
        """What was not told, or may be another file's, is told by reading all. Nothing is dropped."""
        if found is Found.OTHER:
            reading.history = uuid.uuid4().hex
        if found is not Found.SAME:
            reading.unread, reading.bad = deque(), reading.journal.bad

    def _tell(self, name: str, reading: Reading, line: Line | Bad, batch: Batch) -> None:
        if isinstance(line, Bad):
            batch.dead_letters.append(DeadLetter(name, "", line.raw, line.error))
        elif (change := self._event(reading, line)) is not None:
            batch.add(name, line.key, change)

    def _event(self, reading: Reading, line: Line) -> Change | None:
        """None for a line that has changed nothing."""
        if line.fields is None:
            return None if line.before is None else self._change(reading, line, Op.DELETE)
        fields, misfits = self._values(reading, line.fields)
        if line.before is None:
            changed = self._fields(reading) - misfits.keys() if misfits else None
            return self._change(reading, line, Op.CREATE, changed=changed, fields=fields, misfits=misfits)
        had, _ = self._values(reading, line.before.fields)
        was_fit = line.before.fields.keys() & self._fields(reading)
        # What an application sets to what was there already is no edit. Of our own write, all of it comes back.
        said = {
            name
            for name in line.fields.keys() & self._fields(reading)
            if line.seq
            or name in misfits
            or fields.get(name) != had.get(name)
            or (name in was_fit) != (name in had)
        }
        if not said and not line.seq:
            return None
        misfits = {name: misfit for name, misfit in misfits.items() if name in said}
        changed = frozenset(said - misfits.keys())
        return self._change(reading, line, Op.UPDATE, changed=changed, fields=fields, misfits=misfits)

    def _change(
        self,
        reading: Reading,
        line: Line,
        op: Op,
        *,
        changed: frozenset[str] | None = None,
        fields: Mapping[str, Value] | None = None,
        misfits: Mapping[str, Misfit] | None = None,
    ) -> Change:
        fields = {n: v for n, v in (fields or {}).items() if changed is None or n in changed}
        return Change(
            SIDE,
            op,
            committed_at=line.at_ms,
            commit_time=line.end,
            order=line.end.to_bytes(8, "big"),
            ack=line.seq or None,
            changed=changed,
            fields=fields,
            misfits=misfits or {},
            history=reading.history,
        )

    # Values.

    def _fields(self, reading: Reading) -> frozenset[str]:
        return frozenset(reading.schema.by_name)

    def _values(
        self, reading: Reading, shown: Mapping[str, Any]
    ) -> tuple[dict[str, Value], dict[str, Misfit]]:
        """The values without nulls, and those that do not fit the type of their field."""
        fields: dict[str, Value] = {}
        misfits: dict[str, Misfit] = {}
        for name in shown.keys() & reading.schema.by_name.keys():
            try:
                value = from_json(reading.schema.by_name[name], shown[name])
            except SchemaMismatch as error:
                misfits[name] = Misfit(NOT_OF_TYPE, str(error))
            else:
                if value is not None:
                    fields[name] = value
        return fields, misfits

    def _position(self, reading: Reading) -> Position:
        place = reading.journal.place
        return {part: getattr(place, part) for part in _PARTS} | {"history": reading.history}


_PARTS = ("generation", "end", "length", "digest")


@dataclass
class Batch:
    """What one poll gathers."""

    records: list[SourceRecord] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)

    @property
    def has_room(self) -> bool:
        return len(self.records) + len(self.dead_letters) < _BATCH_MAX

    @property
    def is_empty(self) -> bool:
        return not (self.records or self.positions or self.dead_letters or self.answered)

    def add(self, name: str, key: str, change: Change) -> None:
        self.records.append(SourceRecord(name, key, change))

    def whole(self) -> SourceBatch:
        return SourceBatch(
            tuple(self.records),
            self.positions,
            dead_letters=tuple(self.dead_letters),
            answered=frozenset(self.answered),
        )
