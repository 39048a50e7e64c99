"""The working copy of a partition of `state`, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from salmon.merge.cache import Mark


class MemoryCache:
    """A copy in memory; RocksCache must behave in the same way."""

    def __init__(self) -> None:
        self.mark: Mark | None = None
        self.rows: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.rows.get(key)

    def rows_after(self, key: str) -> Iterator[tuple[str, bytes]]:
        yield from ((each, value) for each, value in sorted(self.rows.items()) if each > key)

    def write(self, rows: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        for key, value in rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.mark = mark or self.mark

    def clear(self) -> None:
        self.rows.clear()
        self.mark = None

    def __len__(self) -> int:
        return len(self.rows)

    def close(self) -> None:
        """Do nothing: there are no files."""
