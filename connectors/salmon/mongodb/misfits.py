"""What could not become a change, or not whole: as dead letters, with the report as it came."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, Final

import structlog
from bson.json_util import CANONICAL_JSON_OPTIONS
from bson.json_util import dumps as to_extended_json

from salmon.errors import BadRecordKey
from salmon.model.change import CUT
from salmon.model.connector import DeadLetter
from salmon.mongodb.documents import MARKER
from salmon.mongodb.events import Told
from salmon.mongodb.keys import shown_id

log = structlog.get_logger(__name__)

_REMEMBERED_MAX: Final = 10_000
_SHOWN_MAX: Final = 80  # characters of an `_id` that is no key, in a log line
_ORIGINAL_BYTES_MAX: Final = 256 * 1024  # of a dead letter: far below what topics take, in any encoding
_NAMED_MAX: Final = 100


class Misfits:
    """Makes the dead letters of a source. An event reports whatever it brought; a row, each field once."""

    def __init__(self) -> None:
        self._reported: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def left_out(
        self,
        name: str,
        told: Told,
        original: Mapping[str, Any],
        *,
        synced: Collection[str],
        is_row: bool = False,
    ) -> list[DeadLetter]:
        """
        The fields of a record of the object *name* that did not fit and were left out of its change.

        Args:
            synced: The object's fields: what else *original* has is left out where it is too large for Kafka.
        """
        letters = []
        for field, error in told.misfits.items():
            place = (name, told.key, field)
            if is_row and place in self._reported:
                continue
            self._remember(place)
            log.warning("field_left_out", object=name, key=told.key, field=field, error=type(error).__name__)
            letters.append(DeadLetter(name, told.key, as_bytes(original, synced), error))
        return letters

    def cut(self, name: str, told: Told) -> None:
        """Say, once for each field, that a part of what a record of the object *name* holds was left out."""
        for field in told.change.source.get(CUT, "").split(", ") if told.change is not None else ():
            place = (name, told.key, f"{field} (cut)")
            if field and place not in self._reported:
                self._remember(place)
                log.warning("time_of_day_left_out", object=name, key=told.key, field=field)

    def without_key(
        self, name: str, document_id: Any, original: Mapping[str, Any], error: BadRecordKey
    ) -> DeadLetter:
        """A document whose `_id` cannot be a record key."""
        shown = shown_id(document_id)
        log.warning(
            "record_set_aside",
            object=name,
            key=shown[:_SHOWN_MAX],
            error=type(error).__name__,
            reason=str(error),
        )
        return DeadLetter(name, shown, as_bytes(original), error)

    def _remember(self, place: tuple[str, str, str]) -> None:
        self._reported[place] = None
        if len(self._reported) > _REMEMBERED_MAX:
            self._reported.popitem(last=False)


def as_bytes(original: Mapping[str, Any], synced: Collection[str] = ()) -> bytes:
    """
    An event or document as MongoDB's canonical Extended JSON, which loses no type.

    Of one that is too large for Kafka, the fields in *synced* that fit; `$leftOut` names the others.
    """
    whole = _json(original)
    return whole if len(whole) <= _ORIGINAL_BYTES_MAX else _json(_shortened(original, frozenset(synced)))


def _shortened(original: Mapping[str, Any], synced: Collection[str]) -> dict[str, Any]:
    if "operationType" not in original:
        return _fitting(original, synced)
    event = {name: value for name, value in original.items() if name != "fullDocumentBeforeChange"}
    if (document := event.get("fullDocument")) is not None:
        event["fullDocument"] = _fitting(document, synced)
    if (told := event.get("updateDescription")) is not None:
        event["updateDescription"] = {**told, "updatedFields": _fitting(told["updatedFields"], synced)}
    return event


def _fitting(document: Mapping[str, Any], synced: Collection[str]) -> dict[str, Any]:
    """The synced fields, the smallest first, that fit together; in the document's order."""
    ours = {name for name in document if name.partition(".")[0] in {*synced, "_id", MARKER}}
    left, kept = _ORIGINAL_BYTES_MAX, set()
    for size, name in sorted((len(_json({name: document[name]})), name) for name in ours):
        if size <= left:
            left -= size
            kept.add(name)
    fitting = {name: value for name, value in document.items() if name in kept}
    return {**fitting, "$leftOut": sorted(document.keys() - kept)[:_NAMED_MAX]}


def _json(value: Mapping[str, Any]) -> bytes:
    return to_extended_json(value, json_options=CANONICAL_JSON_OPTIONS).encode()
