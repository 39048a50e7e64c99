"""What a source may offer to `salmon verify`: the records that its side has now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from salmon.plugin.contract import SourceRecord


@runtime_checkable
class ShowsRecords(Protocol):
    """
    A source that can show what its side has now, for `salmon verify`. One that is made for that is never started; use() and connect()
    come first.
    """

    def show_after(self, object: str, after: str) -> Sequence[SourceRecord]:  # noqa: A002
        """Return rows of the next records behind the key *after*, by any order of keys that stays; none at the end."""

    def show(self, object: str, keys: Collection[str]) -> Sequence[SourceRecord]:  # noqa: A002
        """Return rows of the records with these keys, without those that do not exist."""
