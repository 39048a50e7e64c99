"""A position as it is stored: a JSON object, of which only the connector that wrote it knows what must be in it."""

from __future__ import annotations

from typing import Any

from salmon.errors import SchemaMismatch, SetupError
from salmon.foreign_json import json_in
from salmon.plugin.contract import Position


class _Stored(dict[str, Any]):
    """A stored object, also inside another. Who asks for a key that it lacks gets a clear error in place of a KeyError."""

    def __init__(self, pairs: list[tuple[str, Any]], topic: str) -> None:
        super().__init__(pairs)
        self._topic = topic

    def __missing__(self, key: str) -> Any:
        raise SetupError(
            f"{self._topic}: an entry lacks {key!r} (it has {', '.join(sorted(self)) or 'nothing'}), so another program or another version of "
            f"Salmon has written it. Start that version again, or stop the connector and write a tombstone for the entry's key: the "
            f"connector then begins there as if nothing had been stored."
        )


def position_in(text: str, topic: str) -> Position:
    """
    Return the position that a record of *topic* holds.

    Raises:
        SchemaMismatch: it is not a JSON object. Where a key is missing, whoever asks for it gets a SetupError.
    """
    try:
        position = json_in(text, object_pairs_hook=lambda pairs: _Stored(pairs, topic))
    except ValueError:
        position = None
    if not isinstance(position, _Stored):
        raise SchemaMismatch(f"{topic}: a position is not a JSON object. Find out who wrote it.")
    return position
