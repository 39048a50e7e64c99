"""
Moves the values of one collection's documents to new paths: see salmon.mongodb.forms.

Each document is moved by one update, whose filter says that it has not been moved yet and that it still has, and lacks, what was
seen there. The server renames, so an edit that is made meanwhile is moved with it or makes the filter not match; then a later pass
finds the document again. The move is over when a whole pass finds nothing to move.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any, Final

import structlog
from bson.int64 import Int64
from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from salmon.errors import Unavailable
from salmon.mongodb.documents import (
    FOUND_PATH,
    PATHS_PATH,
    SEQ_PATH,
    DocumentShape,
    marker_of,
)
from salmon.mongodb.form_store import read_forms, write_form
from salmon.mongodb.forms import NOTHING, Record, Steps, emptied_by, steps_of
from salmon.mongodb.keys import shown_id
from salmon.mongodb.paths import MARKER, above_of, at
from salmon.mongodb.reading.events import clock
from salmon.mongodb.wire.client import RETRIABLE_CODES, Document, border
from salmon.mongodb.writing.blocked import nulls_removed

log = structlog.get_logger(__name__)

_NOTHING: Final = {"$in": list(NOTHING)}
_SOMETHING: Final = {"$nin": list(NOTHING)}
_DOCUMENTS_A_STEP: Final = 500
_AGAIN_S: Final = 60.0
_SHOWN_MAX: Final = 80


class Moving:
    """
    The move of one collection's documents. Not for several threads at once.

    Args:
        shape: The form to which they are moved, with the paths before (`former`).
        record: As it is stored.
    """

    def __init__(
        self,
        database: Database[Document],
        collection: str,
        shape: DocumentShape,
        record: Record,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.record = record
        self._database, self._collection, self._shape = database, collection, shape
        self._documents = database[collection]
        self._clock_s = clock_s
        self._since_s = clock_s()
        self._cursor: Iterator[Document] | None = None
        self._moved = 0
        self._moved_in_pass = 0
        self._failed: dict[str, int] = {}  # `_id` -> the server's code, in this pass or the last one
        self._rests_until_s = 0.0

    def advance(self) -> bool:
        """
        Move some documents. Returns whether all are moved, which is stored then.

        Raises:
            RetriableError, FatalError: the server cannot be used. What is moved stays moved.
        """
        if self.rests:
            return False
        self._require_ours()
        if self._cursor is None:
            self._cursor, self._moved_in_pass, self._failed = self._pass(), 0, {}
        try:
            with border(f"reading {self._documents.full_name}"):
                documents = list(islice(self._cursor, _DOCUMENTS_A_STEP))
        except Exception:
            self._cursor = None
            raise
        if documents:
            self._move(documents)
            return False
        self._cursor = None
        if self._failed:
            self._rests_until_s = self._clock_s() + _AGAIN_S
            log.warning("documents_not_moved", object=self._shape.schema.name, why=self.sentence())
            return False
        if self._moved_in_pass:
            return False
        self._finish()
        return True

    def move(self, ids: Sequence[Any]) -> None:
        """Move these documents, if they have another form. Raises as advance() does."""
        wanted = {"_id": {"$in": list(ids)}, PATHS_PATH: {"$ne": self._shape.mark}}
        with border(f"reading {self._documents.full_name}"):
            documents = list(self._documents.find(wanted, self._shape.projection))
        self._move(documents)

    def sentence(self) -> str:
        """What happens, for a person."""
        said = (
            f"The documents of {self._shape.schema.name} get a new form (objects.{self._shape.schema.name}.fields.rename was changed): "
            f"{self._moved} moved so far. Its writes to MongoDB wait until all are."
        )
        if self._failed:
            first, code = next(iter(self._failed.items()))
            said += (
                f" MongoDB refuses to move {len(self._failed)} of them (code {code}; the first is {first}): a validator or a unique "
                f"index of the collection does not accept them. Correct it, or the documents; they are tried again each minute."
            )
        return said

    @property
    def rests(self) -> bool:
        """Whether it waits until documents that could not be moved are tried again."""
        return self._clock_s() < self._rests_until_s

    @property
    def waits_s(self) -> float:
        return self._clock_s() - self._since_s

    def _pass(self) -> Iterator[Document]:
        wanted: Document = {PATHS_PATH: {"$ne": self._shape.mark}}
        if not self.record.moves[-1].whole:
            wanted[SEQ_PATH] = {"$exists": True}
        return iter(self._documents.find(wanted, self._shape.projection, batch_size=_DOCUMENTS_A_STEP))

    def _move(self, documents: Sequence[Document]) -> None:
        todo: list[tuple[Document, Steps]] = []
        for document in documents:
            steps = steps_of(document, self._shape.former, self._shape.path)
            if steps or marker_of(document) is not None:
                todo.append((document, steps))
        before = [
            each for document, steps in todo for each in nulls_removed(document, list(steps.renamed.values()))
        ]
        before += [
            UpdateOne({"_id": each["_id"], MARKER: {"$not": {"$type": "object"}}}, {"$unset": {MARKER: ""}})
            for each, _ in todo
            if MARKER in each and not isinstance(each[MARKER], dict)
        ]
        self._write(before)
        if not self._has_collation:
            # Whole sub-documents first. Where there is more in one, or somebody edits it, this does nothing.
            self._write([each for one in todo for each in self._update_emptying(*one)], moves=True)
        ids = [document["_id"] for document, _ in todo]
        self._write([self._update(*each) for each in todo], ids, moves=True)

    @cached_property
    def _has_collation(self) -> bool:
        """Whether the server may take values for equal that are not: then it cannot be seen whether somebody edits meanwhile."""
        with border(f"reading the options of {self._documents.full_name}"):
            return "collation" in self._documents.options()

    def _update_emptying(self, document: Document, steps: Steps) -> Iterator[UpdateOne]:
        """
        The update of a document that would be left with empty sub-documents: it removes those as a whole. Nothing if there are none.

        It is one update with the mark, so that its event is known as the move's, and a kill leaves nothing half done.
        """
        if not (emptied := emptied_by(document, steps)):
            return
        inside = {old for old in steps.renamed if not emptied.isdisjoint(above_of(old))}
        wanted, update = self._wanted_and_update(
            Steps({old: new for old, new in steps.renamed.items() if old not in inside}, found=steps.found)
        )
        wanted |= {"_id": document["_id"]} | {above: {"$eq": at(document, above)} for above in emptied}
        wanted |= dict.fromkeys((steps.renamed[old] for old in inside), _NOTHING) | dict.fromkeys(
            steps.dropped, _SOMETHING
        )
        update["$set"] |= {steps.renamed[old]: at(document, old) for old in inside}
        outside = [old for old in steps.dropped.values() if emptied.isdisjoint(above_of(old))]
        update["$unset"] = {**update.get("$unset", {}), **dict.fromkeys([*emptied, *outside], "")}
        yield UpdateOne(wanted, update)

    def _update(self, document: Document, steps: Steps) -> UpdateOne:
        wanted, update = self._wanted_and_update(steps)
        return UpdateOne({"_id": document["_id"], **wanted}, update)

    def _wanted_and_update(self, steps: Steps) -> tuple[Document, Document]:
        mark = self._shape.mark
        wanted: Document = {PATHS_PATH: {"$ne": mark}}
        wanted |= dict.fromkeys(steps.renamed, _SOMETHING) | dict.fromkeys(steps.renamed.values(), _NOTHING)
        wanted |= dict.fromkeys(steps.dropped, _SOMETHING)
        update: Document = {"$set": {PATHS_PATH: mark}}
        cleared = dict.fromkeys(steps.dropped.values(), "")
        if steps.found:
            update["$set"][FOUND_PATH] = Int64(self.record.moves[-1].since)
        else:
            cleared[FOUND_PATH] = ""
        if cleared:
            update["$unset"] = cleared
        if steps.renamed:
            update["$rename"] = dict(steps.renamed)
        return wanted, update

    def _write(self, updates: Sequence[UpdateOne], ids: Sequence[Any] = (), *, moves: bool = False) -> None:
        """*ids*: of the documents, to report those that MongoDB refuses. *moves*: whether each moves a document."""
        if not updates:
            return
        with border(f"moving documents of {self._documents.full_name}"):
            try:
                result = self._documents.bulk_write(updates, ordered=False)
            except BulkWriteError as error:
                if error.details["writeConcernErrors"]:
                    raise
                moved = error.details["nModified"]
                for each in error.details["writeErrors"]:
                    if each["code"] in RETRIABLE_CODES:
                        raise
                    if ids:
                        self._failed[shown_id(ids[each["index"]])[:_SHOWN_MAX]] = each["code"]
            else:
                moved = result.modified_count
        if moves:
            self._moved += moved
            self._moved_in_pass += moved

    def _require_ours(self) -> None:
        """Stop if another process has changed the form since: one with another configuration was started."""
        stored = read_forms(self._database, [self._collection], needed=True).get(self._collection)
        if stored is None or stored.mark != self.record.mark or not stored.is_moving:
            raise Unavailable(
                f"{self._collection}: another process has given its documents another form since. See that all processes run "
                f"with the same fields.rename."
            )

    def _finish(self) -> None:
        *earlier, last = self.record.moves
        over = replace(last, until=cluster_time(self._database))
        self.record = replace(self.record, moves=(*earlier, over))
        write_form(self._database, self._collection, self.record)
        log.info("documents_moved", object=self._shape.schema.name, documents=self._moved)


def cluster_time(database: Database[Document]) -> int:
    """A time before which nothing is committed any more. Raises as Moving.advance does."""
    with border("asking the server for its time"):
        return clock(database.client.admin.command("hello")["operationTime"])


def has_documents_of_ours(database: Database[Document], collection: str) -> bool:
    """Whether Salmon has written documents of the collection. Raises as Moving.advance does."""
    with border(f"reading {database.name}.{collection}"):
        return database[collection].find_one({SEQ_PATH: {"$exists": True}}, {"_id": 1}) is not None
