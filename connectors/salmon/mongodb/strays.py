"""Strays: what applications still write at the path that a field had before `fields.rename`. It is not synced; a person is informed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from salmon.mongodb.documents import DocumentShape

log = structlog.get_logger(__name__)

_STRAYS_MAX: Final = 1_000
_NAMED_MAX: Final = 5


class Strays:
    """Counts them by field, from the start of the process. Counted in one thread, shown in any."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}  # (object, field) -> events with its former path
        self._paths: dict[tuple[str, str], str] = {}

    def count(self, shape: DocumentShape, field: str) -> None:
        """An application has written a field at its former path."""
        name = shape.schema.name
        is_new = (name, field) not in self._seen
        if is_new and len(self._seen) >= _STRAYS_MAX:
            return
        self._seen[name, field] = self._seen.get((name, field), 0) + 1
        self._paths[name, field] = shape.former.get(field, field)
        if is_new:
            log.warning(
                "former_path_written",
                object=name,
                field=field,
                path=shape.former.get(field),
                now=shape.path.get(field),
                mend="change the application: what is there is not synced",
            )

    def writes(self) -> Mapping[str, int]:
        """See salmon.plugin.former_paths."""
        counts: dict[str, int] = {}
        for (name, _), count in list(self._seen.items()):
            counts[name] = counts.get(name, 0) + count
        return counts

    def note(self) -> str:
        """What a person should know; empty if there is nothing."""
        if not self._seen:
            return ""
        some = ", ".join(
            f"{self._paths[name, field]} of {name}" for name, field in sorted(self._seen)[:_NAMED_MAX]
        )
        return (
            f"An application still writes fields at their former paths in MongoDB ({some}). They are not synced: change the "
            f"application, or objects.<Object>.fields.rename."
        )
