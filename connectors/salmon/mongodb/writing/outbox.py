"""
Sink task that notes in the documents of an outbox what became of their events, below `_salmon`, where it makes no event again: only
inserts are published.

Nothing is noted of a document that is gone. What the server refuses for one document (a validator, a `_salmon` that
is something else) is refused for that one alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pymongo import MongoClient, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, PyMongoError

from salmon.calls import Calls, Peer, Probe
from salmon.errors import BadRecordKey, Unavailable, UnfitServer
from salmon.model.schema import ObjectSchema
from salmon.mongodb.config import MongoConfig
from salmon.mongodb.keys import id_of
from salmon.mongodb.outbox import ERROR, EVENT, PUBLISHED_AT
from salmon.mongodb.paths import MARKER
from salmon.mongodb.wire.client import (
    RETRIABLE_CODES,
    UNAUTHORIZED,
    Document,
    close,
    connect,
    database_of,
    translated,
)
from salmon.plugin.contract import Identities, Outcome, OutcomeKind, SinkRecord

_TOLD: Final = Outcome(OutcomeKind.APPLIED)
_LATER: Final = Outcome(OutcomeKind.RETRY_LATER, reason="MongoDB cannot write the outcome of an event now.")
_IN_NO_DOCUMENT: Final = 28  # PathNotViable: what has the name is no sub-document
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class OutcomeWriter:
    """See SinkTask. *app*: our name in the server's log."""

    def __init__(self, config: MongoConfig, app: str, collection: str) -> None:
        self._config, self._app, self._name = config, app, collection
        self._calls: Calls | None = None
        self._client: MongoClient[Document] | None = None
        self._collection: Collection[Document] | None = None

    def watch(self, calls: Calls) -> Mapping[Peer, Probe]:
        """See Watched."""
        self._calls = calls
        return {}

    def start(self, schemas: Mapping[str, ObjectSchema], identities: Identities, *, clean: bool) -> None:
        """Connect. *schemas* and the others are not needed. Raises the errors of connect()."""
        self._client = connect(self._config, app=self._app, calls=self._calls)
        self._collection = database_of(self._client, self._config)[self._name]

    def put(self, records: Sequence[SinkRecord]) -> Sequence[Outcome]:
        """
        Tell the documents; see SinkTask.put.

        Raises:
            Unavailable: it is not known which of them were told; repeating is safe.
            UnfitServer: the user may not write to the collection.
        """
        if self._collection is None:
            raise Unavailable(f"{self._name}: telling outcomes was stopped.")
        outcomes: dict[str, Outcome] = {}
        updates: list[UpdateOne] = []
        keys: list[str] = []
        for record in records:
            try:
                updates.append(UpdateOne({"_id": id_of(record.key)}, _update(record.write.fields)))
                keys.append(record.key)
            except BadRecordKey as error:
                outcomes[record.key] = Outcome(
                    OutcomeKind.REFUSED, code=type(error).__name__, reason=str(error)
                )
        outcomes |= {keys[at]: outcome for at, outcome in _written(self._collection, updates).items()}
        return [outcomes.get(record.key, _TOLD) for record in records]

    def stop(self) -> None:
        """Nothing to unblock: a call ends by its own time-out."""

    def close(self) -> None:
        client, self._client, self._collection = self._client, None, None
        if client is not None:
            close(client)


def _update(told: Mapping[str, Any]) -> Document:
    kept, dropped = (ERROR, PUBLISHED_AT) if told["error"] else (PUBLISHED_AT, ERROR)
    value = told["error"] or _EPOCH + timedelta(milliseconds=told["at"])
    return {
        "$set": {f"{MARKER}.{EVENT}": told["event"], f"{MARKER}.{kept}": value},
        "$unset": {f"{MARKER}.{dropped}": ""},
    }


def _written(collection: Collection[Document], updates: Sequence[UpdateOne]) -> dict[int, Outcome]:
    """Index of an update -> its outcome, if it is not that the document was told, or is gone."""
    doing = f"writing the outcomes of events into {collection.name}"
    if not updates:
        return {}
    try:
        collection.bulk_write(updates, ordered=False)
    except BulkWriteError as error:
        if error.details.get("writeConcernErrors"):
            raise Unavailable(f"MongoDB could not confirm what it wrote while {doing}.") from error
        found = error.details.get("writeErrors") or ()
        if any(each.get("code") == UNAUTHORIZED for each in found):
            raise UnfitServer(
                f"mongodb.uri: the user may not write to {collection.name}. Grant readWrite."
            ) from error
        return {each["index"]: _refused(each.get("code")) for each in found}
    except PyMongoError as error:
        raise translated(error, doing) from error
    return {}


def _refused(code: Any) -> Outcome:
    if code in RETRIABLE_CODES:
        return _LATER
    if code == _IN_NO_DOCUMENT:
        why = f"its {MARKER} is not a sub-document. Store what it holds under another name and remove it"
    else:
        why = f"MongoDB refuses {MARKER} in it (code {code}). Let the collection's validator allow it"
    return Outcome(
        OutcomeKind.REFUSED, code=str(code), reason=f"{why}, or set outcomes: false for the event."
    )
