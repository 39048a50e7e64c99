"""
What a process does when forms change (see salmon.mongodb.forms): it notices that the configuration gives fields other paths, moves the
documents beside its other work, and knows the form of each event. For the source; and for the sink, where MongoDB is only written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import structlog
from pymongo.database import Database

from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.form_store import in_form, read_forms, write_form
from salmon.mongodb.forms import Move, Record, require_apart
from salmon.mongodb.keys import id_of
from salmon.mongodb.moving import Moving, cluster_time, has_documents_of_ours
from salmon.mongodb.paths import mark_of
from salmon.mongodb.reading.events import Reported
from salmon.mongodb.reading.forms import Forms, InForm
from salmon.mongodb.reading.snapshot import SNAPSHOT, Place
from salmon.mongodb.strays import Strays
from salmon.mongodb.wire.client import Document
from salmon.plugin.contract import Position, WaitingObject

log = structlog.get_logger(__name__)


def covers_of(collections: Sequence[str], shape: DocumentShape, *, by_path: bool) -> frozenset[str]:
    """
    Return what a place of an object covers: see Place in salmon.mongodb.reading.snapshot.

    Args:
        by_path: Where MongoDB is only read, nobody moves its documents: what is at another path now was never reported.
    """
    names = {shape.path.get(name, name) for name in shape.names} if by_path else shape.names
    covers = {f"{collection}.{name}" for collection in collections for name in names}
    # A reading of several collections counts how many of them it has read: their order counts, too.
    return frozenset(covers | {" > ".join(collections)} if shape.placed else covers)


def moves_after(
    positions: Mapping[str, Position],
    database: Database[Document],
    moved: Mapping[str, str],
    paths: Mapping[str, Mapping[str, str]],
    shapes: MutableMapping[str, DocumentShape],
    *,
    strays: Strays,
) -> Moves:
    """
    Return the moves of the objects *moved* (object -> collection), and begin with them.

    Args:
        positions: Where the source continues. What it has read by them has a form.
        strays: See Moves.
    """
    stored = {name: positions.get(SNAPSHOT + name) for name in moved}
    read = {name: Place.of(place).covers for name, place in stored.items() if place is not None}

    def was_read(name: str, field: str) -> bool:
        return f"{moved[name]}.{field}" in read.get(name, ())

    moves = Moves(database, moved, paths, shapes, was_read, strays=strays)
    moves.start()
    return moves


class Moves:
    """
    The forms of objects, and their moves, one after the other.

    Args:
        collections: Object -> collection, of the objects that this process moves.
        paths: Object -> where fields are that are not under their own names, by the configuration.
        shapes: Object -> the form of its documents. It is changed here.
        was_read: Whether the sync has read a field of an object before: (object, field). None: it only writes the documents, so
            those without a marker of ours are nobody's.
        strays: Counts what events show at former paths.
    """

    def __init__(
        self,
        database: Database[Document],
        collections: Mapping[str, str],
        paths: Mapping[str, Mapping[str, str]],
        shapes: MutableMapping[str, DocumentShape],
        was_read: Callable[[str, str], bool] | None,
        *,
        strays: Strays | None = None,
    ) -> None:
        self._database, self._collections, self._paths = database, dict(collections), paths
        self._shapes, self._was_read = shapes, was_read
        self._strays = strays or Strays()
        self._forms: dict[str, Forms] = {}
        self._moving: dict[str, Moving] = {}
        self._movers: dict[str, Moving] = {}  # of every object that has ever moved, for documents astray
        self._astray: dict[str, dict[str, None]] = {}  # object -> keys

    def start(self) -> None:
        """
        Look which form the documents have, and begin to move those that the configuration gives another one.

        Raises:
            ConfigError: the change cannot be made in one step. SetupError: the user may not do that.
            RetriableError: the server cannot be used.
        """
        self._forms, self._moving, self._movers, self._astray = {}, {}, {}, {}
        needed = any(self._paths[name] for name in self._collections)
        records = read_forms(self._database, list(self._collections.values()), needed=needed)
        for name, collection in self._collections.items():
            self._begin(name, records.get(collection))

    def __bool__(self) -> bool:
        """Whether there is something to move now."""
        return any(not moving.rests for moving in self._moving.values())

    def advance(self) -> None:
        """Move some documents of one object. Raises RetriableError, FatalError: the server cannot be used."""
        for name, moving in list(self._moving.items()):
            if moving.advance():
                del self._moving[name]
                self._begin(name, moving.record)  # the configuration may have another form yet
            if not moving.rests:
                return

    def reported(self, name: str, event: Mapping[str, Any]) -> Reported:
        """Return what an event reports, in the form that its document had. Raises BadRecordKey."""
        told: InForm = (
            self._forms[name].reported(event)
            if name in self._forms
            else InForm(Forms(self._shapes[name]).reported(event).reported)
        )
        if told.astray:
            self._astray.setdefault(name, {})[told.reported.key] = None
        for field in told.strays:
            self._strays.count(self._shapes[name], field)
        return told.reported

    def settle(self) -> None:
        """Move the documents that the events since have shown to be astray. Raises as advance() does."""
        while self._astray:
            name, keys = next(iter(self._astray.items()))
            if (mover := self._movers.get(name)) is not None:
                mover.move([id_of(key) for key in keys])
            del self._astray[name]

    def waiting(self) -> Sequence[WaitingObject]:
        return [
            WaitingObject(name, moving.waits_s, moving.sentence()) for name, moving in self._moving.items()
        ]

    def _begin(self, name: str, record: Record | None) -> None:
        """Take the form as it is stored, or begin to move to the configured one."""
        collection, target = self._collections[name], dict(self._paths[name])
        if record is None and not target:
            return
        if record is None or (not record.is_moving and record.mark != mark_of(target)):
            record = self._next(name, record, target)
            write_form(self._database, collection, record)
            if record.is_moving:
                fields = sorted(record.moves[-1].former)
                log.warning("documents_get_a_new_form", object=name, fields=fields)
        shape = self._shapes[name] = in_form(self._shapes[name], record)
        self._forms[name] = Forms(shape, tuple(record.moves))
        if record.moves:
            self._movers[name] = Moving(self._database, collection, shape, record)
        if record.is_moving:
            self._moving[name] = self._movers[name]

    def _next(self, name: str, record: Record | None, target: Mapping[str, str]) -> Record:
        """The record of a collection that gets another form."""
        fields = self._shapes[name].schema.by_name
        before = {} if record is None else record.paths
        was_read = self._was_read
        read = {each for each in fields if each in before or was_read is None or was_read(name, each)}
        if record is None and (was_read is None or not read):
            if not has_documents_of_ours(self._database, self._collections[name]):
                return Record(target)
            read = set(fields)  # Kafka was lost, and the documents were not
        old = {field: before.get(field, field) for field in read}
        new = {field: target.get(field, field) for field in fields}
        require_apart(name, old, new)
        former = {field: path for field, path in old.items() if new[field] != path}
        whole = was_read is not None and (record is not None or any(was_read(name, each) for each in fields))
        move = Move(before, former, cluster_time(self._database), whole=whole)
        return Record(target, (*(record.moves if record is not None else ()), move))
