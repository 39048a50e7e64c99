"""
Of which history the org is that we are signed in to: a sandbox that was refreshed is another org than before, with another
Id, and nothing that is stored is of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from salmon.plugin.contract import Position, SourceRecord

log = structlog.get_logger(__name__)

_ANOTHER: Final = (
    "This is a different org than before ({now} instead of {before}), as after the refresh of a sandbox. All records "
    "are read again. The values agreed before are kept and written back into the org. `salmon verify` finds records "
    "that it lacks, and `salmon verify --repair` creates them again."
)


class History:
    """
    The org's history. *org_id*: the Id of the org that we are signed in to. *stored*: what `to_position` returned.

    Attributes:
        note: What a person should know; empty while the org is the same.
    """

    def __init__(self, org_id: Callable[[], str], stored: Position | None, objects: Collection[str]) -> None:
        self._org_id, self._objects = org_id, sorted(objects)
        self._known: str = stored.get("org_id", "") if stored is not None else ""
        self._history: str = stored.get("history", "") if stored is not None else ""
        self.note = ""

    def is_another(self) -> bool:
        """Whether this is another org than before; then its history is another, too."""
        now = self._org_id()
        before, self._known = self._known, now
        if not before or not now or before == now:
            return False
        self._history = now
        self.note = _ANOTHER.format(now=now, before=before)
        log.error("history_went_back", org=now, before=before, objects=self._objects, mend=self.note)
        return True

    def marked(self, records: Sequence[SourceRecord]) -> list[SourceRecord]:
        """Let each change say of which history it is."""
        if not self._history:
            return list(records)
        return [replace(each, change=replace(each.change, history=self._history)) for each in records]

    def to_position(self) -> dict[str, Any]:
        """What is to be stored with the stream's position."""
        return {"org_id": self._known, "history": self._history}
