"""A compacted partition of `state`, as far as merge's working copies need one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TOMBSTONES_MS = 1000  # for so long compaction keeps tombstones


@dataclass
class StateTopic:
    """Offset, key, value, time of each record; compaction removes what is superseded, and tombstones that are old."""

    end: int = 0
    records: list[tuple[int, str, bytes | None, int]] = field(default_factory=list)

    def commit(self, rows: Mapping[str, bytes | None], now_ms: int) -> None:
        for key, value in rows.items():
            self.records.append((self.end, key, value, now_ms))
            self.end += 1
        self.end += 1  # the commit marker

    def compact(self, now_ms: int) -> None:
        newest = {key: offset for offset, key, _, _ in self.records}
        self.records = [
            each
            for each in self.records
            if newest[each[1]] == each[0] and (each[2] is not None or now_ms - each[3] < TOMBSTONES_MS)
        ]

    def table(self) -> dict[str, bytes]:
        rows = {key: value for _, key, value, _ in self.records}
        return {key: value for key, value in rows.items() if value is not None}
