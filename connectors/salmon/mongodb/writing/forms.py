"""
The sink's part in a change of forms: an object's writes wait until its documents have the form of this process's configuration
(see salmon.mongodb.forms). Where MongoDB is only written, the sink moves the documents itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Final

from pymongo.database import Database

from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.form_store import read_forms
from salmon.mongodb.forms import Record
from salmon.mongodb.moves import Moves
from salmon.mongodb.paths import PLAIN, mark_of
from salmon.mongodb.wire.client import Document
from salmon.plugin.contract import WaitingObject

LOOK_S: Final = 1.0
_STEPS_A_LOOK_MAX: Final = 20


class FormWatch:
    """
    Whether documents have the form in which this process writes. Threads may share it.

    Args:
        collections: Object -> collection, of the objects that are written.
        moved: Those of them whose documents this process moves.
        paths: Object -> where fields are that are not under their own names, by the configuration.
        shapes: Object -> the form of its documents.
    """

    def __init__(
        self,
        database: Database[Document],
        collections: Mapping[str, str],
        moved: Sequence[str],
        paths: Mapping[str, Mapping[str, str]],
        shapes: MutableMapping[str, DocumentShape],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._collections, self._paths = database, dict(collections), paths
        self._clock = clock
        self._lock = threading.Lock()
        own = {name: collections[name] for name in moved}
        self._moves = Moves(database, own, paths, shapes, None)
        self._own = frozenset(moved)
        self._started = False
        self._looked_at_s: float | None = None
        self._waits: dict[str, tuple[float, str]] = {}  # object -> since when, and why

    def why_not(self, name: str) -> str:
        """
        Say why the documents of an object must not be written now; empty if they may be.

        Raises:
            RetriableError, FatalError: the server cannot be read.
        """
        with self._lock:
            now = self._clock()
            if self._looked_at_s is None or now - self._looked_at_s >= LOOK_S:
                self._look(now)
            return self._waits.get(name, (0.0, ""))[1]

    def waiting(self) -> Sequence[WaitingObject]:
        """The objects that wait. Does not wait itself, as why_not may for the server."""
        now = self._clock()
        return [WaitingObject(name, now - since, why) for name, (since, why) in self._waits.items()]

    def _look(self, now: float) -> None:
        if not self._started:
            self._moves.start()
            self._started = True
        for _ in range(_STEPS_A_LOOK_MAX):
            if self._moves:
                self._moves.advance()
        needed = any(self._paths[name] for name in self._collections)
        records = read_forms(self._database, list(self._collections.values()), needed=needed)
        waits: dict[str, tuple[float, str]] = {}
        for name, collection in self._collections.items():
            if why := self._why_not(name, records.get(collection)):
                waits[name] = (self._waits.get(name, (now, ""))[0], why)
        self._waits, self._looked_at_s = waits, now

    def _why_not(self, name: str, record: Record | None) -> str:
        mark = mark_of(self._paths[name])
        if name in self._own:
            moving = {each.object: each.sentence for each in self._moves.waiting()}
            if name in moving:
                return moving[name]
        who = "mongodb-sink" if name in self._own else "mongodb-source"
        if record is None:
            if mark == PLAIN:
                return ""
            return (
                f"Writes to MongoDB of {name} wait until {who} has looked at its documents (objects.{name}.fields.rename). "
                f"See that it runs, with this configuration."
            )
        if record.mark != mark:
            return (
                f"Writes to MongoDB of {name} wait: its documents have another form than this process's objects.{name}.fields.rename "
                f"says. Restart {who} and mongodb-sink, both with the same configuration."
            )
        if record.is_moving:
            return (
                f"Writes to MongoDB of {name} wait while {who} moves its documents to their new form "
                f"(objects.{name}.fields.rename was changed). See that it runs; its /health shows how far it is."
            )
        return ""
