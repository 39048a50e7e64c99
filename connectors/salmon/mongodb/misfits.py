"""What could not become a change, or not whole: as dead letters, with the report as it came."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import structlog
from bson.json_util import CANONICAL_JSON_OPTIONS
from bson.json_util import dumps as to_extended_json

from salmon.errors import BadRecordKey
from salmon.model.change import CUT
from salmon.model.connector import DeadLetter
from salmon.mongodb.events import Told
from salmon.mongodb.keys import shown_id

log = structlog.get_logger(__name__)

_REMEMBERED_MAX: Final = 10_000
_SHOWN_MAX: Final = 80  # characters of an `_id` that is no key, in a log line


class Misfits:
    """Makes the dead letters of a source. An event reports whatever it brought; a row, each field once."""

    def __init__(self) -> None:
        self._reported: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def left_out(
        self, name: str, told: Told, original: Mapping[str, Any], *, is_row: bool = False
    ) -> list[DeadLetter]:
        """The fields of a record of the object *name* that did not fit and were left out of its change."""
        letters = []
        for field, error in told.misfits.items():
            place = (name, told.key, field)
            if is_row and place in self._reported:
                continue
            self._remember(place)
            log.warning("field_left_out", object=name, key=told.key, field=field, error=type(error).__name__)
            letters.append(DeadLetter(name, told.key, as_bytes(original), error))
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


def as_bytes(original: Mapping[str, Any]) -> bytes:
    """An event or document as MongoDB's canonical Extended JSON, which loses no type."""
    return to_extended_json(original, json_options=CANONICAL_JSON_OPTIONS).encode()
