"""Makes dead letters of what could not become a change, or only in part. They contain the event or document as it came."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, Final

import structlog
from bson.json_util import CANONICAL_JSON_OPTIONS
from bson.json_util import dumps as to_extended_json

from salmon.errors import BadRecordKey
from salmon.model.change import CUT
from salmon.mongodb.keys import shown_id
from salmon.mongodb.paths import MARKER
from salmon.mongodb.reading.events import Reported
from salmon.plugin.contract import DeadLetter

log = structlog.get_logger(__name__)

_REMEMBERED_MAX: Final = 10_000
_SHOWN_MAX: Final = 80  # characters in a log line, of an `_id` that cannot be a key
_ORIGINAL_BYTES_MAX: Final = 256 * 1024  # of a dead letter: far below the topics' limit in any encoding
_NAMED_MAX: Final = 100


class Misfits:
    """Makes the dead letters of a source. For an event always; for a row once per field."""

    def __init__(self) -> None:
        self._reported: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def left_out(
        self,
        name: str,
        reported: Reported,
        original: Mapping[str, Any],
        *,
        synced: Collection[str],
        is_row: bool = False,
    ) -> list[DeadLetter]:
        """
        Make the dead letters for values of a record that do not fit and were left out of its change.

        Args:
            name: The object.
            synced: The document's properties with the object's fields. If *original* is too large for Kafka, its other fields are left out.
        """
        letters = []
        for field, error in reported.misfits.items():
            place = (name, reported.key, field)
            if is_row and place in self._reported:
                continue
            self._remember(place)
            log.warning(
                "field_left_out", object=name, key=reported.key, field=field, error=type(error).__name__
            )
            letters.append(DeadLetter(name, reported.key, as_bytes(original, synced), error))
        return letters

    def cut(self, name: str, reported: Reported) -> None:
        """Log once per field that a part of its value was left out. *name*: the object."""
        for field in reported.change.source.get(CUT, "").split(", ") if reported.change is not None else ():
            place = (name, reported.key, f"{field} (cut)")
            if field and place not in self._reported:
                self._remember(place)
                log.warning("time_of_day_left_out", object=name, key=reported.key, field=field)

    def without_key(
        self, name: str, document_id: Any, original: Mapping[str, Any], error: BadRecordKey
    ) -> DeadLetter:
        """Make the dead letter for a document whose `_id` cannot be a record key."""
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
    Return an event or document as MongoDB's canonical Extended JSON, which keeps all types.

    If it is too large for Kafka, it contains those of the fields *synced* that fit; `$leftOut` names the others.
    """
    whole = _json(original)
    return whole if len(whole) <= _ORIGINAL_BYTES_MAX else _json(_shortened(original, frozenset(synced)))


def _shortened(original: Mapping[str, Any], synced: Collection[str]) -> dict[str, Any]:
    if "operationType" not in original:
        return _fitting(original, synced)
    event = {name: value for name, value in original.items() if name != "fullDocumentBeforeChange"}
    if (document := event.get("fullDocument")) is not None:
        event["fullDocument"] = _fitting(document, synced)
    if (reported := event.get("updateDescription")) is not None:
        event["updateDescription"] = {
            **reported,
            "updatedFields": _fitting(reported["updatedFields"], synced),
        }
    return event


def _fitting(document: Mapping[str, Any], synced: Collection[str]) -> dict[str, Any]:
    """Return as many synced fields as fit, the smallest first, in the document's order."""
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
