"""Makes of the events of a change stream what they report about synced records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pymongo.database import Database

from salmon.errors import BadRecordKey
from salmon.mongodb.documents import DocumentShape
from salmon.mongodb.moves import Moves
from salmon.mongodb.reading.collections import Spellings
from salmon.mongodb.reading.events import RECORD_EVENTS, Reported, time_of, to_be_read
from salmon.mongodb.reading.looks import after_a_look
from salmon.mongodb.reading.misfits import Misfits
from salmon.mongodb.reading.requests import Requests
from salmon.mongodb.wire.client import Document
from salmon.plugin.contract import DeadLetter, SourceRecord


@dataclass(slots=True)
class Decoded:
    """An event, and what it reports about a synced record."""

    event: Document
    object: str = ""
    reported: Reported | None = None
    dead_letters: Sequence[DeadLetter] = ()


class Decoding:
    """
    Args:
        collections: Object -> its collections.
        names: Collection -> its object.
        requests: Is told which records must be read for a reference that an event could not be told of.
        is_of_before: Of an object, a collection and a cluster time: see Place.is_of_before.
    """

    def __init__(
        self,
        *,
        database: Database[Document],
        collections: Mapping[str, tuple[str, ...]],
        names: Mapping[str, str],
        shapes: Mapping[str, DocumentShape],
        misfits: Misfits,
        spellings: Spellings,
        moves: Moves,
        requests: Requests,
        is_of_before: Callable[[str, str, int], bool],
    ) -> None:
        self._database, self._collections, self._names, self._shapes = database, collections, names, shapes
        self._misfits, self._spellings, self._moves, self._requests = misfits, spellings, moves, requests
        self._is_of_before = is_of_before

    def decoded(self, events: Sequence[Document]) -> Sequence[Decoded]:
        """Return what *events* report, in their order. Raises RetriableError, FatalError: the server cannot be read."""
        return self._placed(self._spelled([self._decode(event) for event in events]))

    def _decode(self, event: Document) -> Decoded:
        name = self._names.get(event.get("ns", {}).get("coll", ""))
        if event["operationType"] not in RECORD_EVENTS or name is None:
            return Decoded(event)
        try:
            if self._is_of_before(name, event["ns"]["coll"], time_of(event)):
                return Decoded(event, name, to_be_read(event))
            reported = self._moves.reported(name, event)
        except BadRecordKey as error:
            letter = self._misfits.without_key(name, event["documentKey"]["_id"], event, error)
            return Decoded(event, name, None, [letter])
        self._misfits.cut(name, reported)
        letters = self._misfits.left_out(name, reported, event, synced=self._shapes[name].tops)
        return Decoded(event, name, reported, letters)

    def _spelled(self, decoded: Sequence[Decoded]) -> Sequence[Decoded]:
        """See Spellings."""
        items = [(i, i.reported, i.reported.change) for i in decoded if i.reported and i.reported.change]
        records = [SourceRecord(item.object, reported.key, change) for item, reported, change in items]
        spelled = self._spellings.of_events(records, self._requests.add_due)
        for (item, reported, _), record in zip(items, spelled, strict=True):
            item.reported = replace(reported, change=record.change)
        return decoded

    def _placed(self, decoded: Sequence[Decoded]) -> Sequence[Decoded]:
        """See salmon.mongodb.reading.looks."""
        if not any(shape.placed for shape in self._shapes.values()):
            return decoded
        told = [(item, item.reported) for item in decoded if item.reported is not None]
        events = [(item.object, reported, item.event) for item, reported in told]
        looked = after_a_look(self._database, self._collections, self._shapes, events)
        for (item, _), reported in zip(told, looked, strict=True):
            item.reported = reported
        return decoded
