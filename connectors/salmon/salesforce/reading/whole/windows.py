"""
What was read when: for which records it is not sure whether a change that an event reports is in the row already.

A row surely holds every commit up to its as_of and none after the end of its read. An event committed between the
two may have been before or after it, so the record is read again. Pure; kept in the source's position.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

END: Final = "~"  # sorts after every Id: the last chunk's window also holds for records created after it
RANGES_MAX: Final = 64  # then neighbours share a window: more is read again, nothing is missed
RECORDS_MAX: Final = 5_000  # a position must stay well below a message's size


@dataclass(frozen=True, slots=True)
class Window:
    """The time a read took, in ms by the org's clock, as the interval (as_of, until]."""

    as_of: int
    until: int

    def joined(self, other: Window) -> Window:
        """The window of two reads that are no longer distinguished."""
        return Window(min(self.as_of, other.as_of), max(self.until, other.until))


@dataclass(frozen=True, slots=True)
class _Range:
    """The window of the records with after < Id <= to (Ids sort as their characters do)."""

    after: str
    to: str
    window: Window


@dataclass(slots=True)
class Reads:
    """The windows of one object's reads that the stream has not passed yet."""

    ranges: list[_Range] = field(default_factory=list)
    records: dict[str, Window] = field(default_factory=dict)  # records read one by one
    whole: Window | None = None  # of records of which no more is known
    changed: bool = False  # since `changed` was last set to False: for who stores it

    def read_range(self, after: str, to: str, window: Window) -> None:
        """Note that a chunk was read: the records with after < Id <= to."""
        self.changed = True
        for at, known in enumerate(self.ranges):
            if known.to == after and known.window == window:
                self.ranges[at] = _Range(known.after, to, window)
                return
        self.ranges.append(_Range(after, to, window))
        if len(self.ranges) > RANGES_MAX:
            self._join_two()

    def read_records(self, native_ids: Iterable[str], window: Window) -> None:
        """Note that these records were read by Id."""
        self.changed = True
        self.records.update(dict.fromkeys(native_ids, window))
        if len(self.records) > RECORDS_MAX:
            for known in self.records.values():
                self.whole = known if self.whole is None else self.whole.joined(known)
            self.records.clear()

    def unsure(self, native_id: str, commit_time: int) -> bool:
        """Whether what was committed at *commit_time* may or may not be in the record's latest row."""
        windows = list(self._of(native_id))
        return (
            bool(windows)
            and commit_time > max(window.as_of for window in windows)
            and commit_time <= max(window.until for window in windows)
        )

    def begin_whole(self) -> None:
        """The whole object is read again; the windows of what was read before still hold."""

    def clear(self) -> None:
        """Forget everything."""
        self.changed = True
        self.ranges, self.records, self.whole = [], {}, None

    def passed(self, commit_time: int) -> None:
        """Forget what the stream has passed, whose latest event was committed then."""
        if not (self.ranges or self.records or self.whole):
            return
        before = len(self.ranges), len(self.records), self.whole
        self.ranges = [known for known in self.ranges if known.window.until >= commit_time]
        self.records = {
            native_id: window for native_id, window in self.records.items() if window.until >= commit_time
        }
        if self.whole is not None and self.whole.until < commit_time:
            self.whole = None
        self.changed |= before != (len(self.ranges), len(self.records), self.whole)

    def to_position(self) -> dict[str, Any] | None:
        """The windows as JSON, to be stored; None if there are none."""
        self.changed = False
        if not (self.ranges or self.records or self.whole):
            return None
        by_window: dict[Window, list[str]] = {}
        for native_id, window in self.records.items():
            by_window.setdefault(window, []).append(native_id)
        return {
            "ranges": [[known.after, known.to, *_pair(known.window)] for known in self.ranges],
            "records": [[*_pair(window), ids] for window, ids in by_window.items()],
            "whole": _pair(self.whole) if self.whole else None,
        }

    @classmethod
    def from_position(cls, position: Mapping[str, Any] | None) -> Reads:
        """The inverse of to_position."""
        if position is None:
            return cls()
        return cls(
            ranges=[_Range(after, to, Window(*times)) for after, to, *times in position["ranges"]],
            records={
                native_id: Window(as_of, until)
                for as_of, until, ids in position["records"]
                for native_id in ids
            },
            whole=Window(*position["whole"]) if position["whole"] else None,
        )

    def _join_two(self) -> None:
        """Join the oldest two neighbours. Parts that are read at the same time take turns, so these need not be noted one after the other."""
        pairs = combinations(self.ranges, 2)
        two = next((pair for pair in pairs if _are_neighbours(*pair)), (self.ranges[0], self.ranges[1]))
        rest = [known for known in self.ranges if known not in two]
        one, other = two
        joined = _Range(min(one.after, other.after), max(one.to, other.to), one.window.joined(other.window))
        self.ranges = [joined, *rest]

    def _of(self, native_id: str) -> Iterable[Window]:
        for known in self.ranges:
            if known.after < native_id <= known.to:
                yield known.window
        if native_id in self.records:
            yield self.records[native_id]
        if self.whole is not None:
            yield self.whole


def _are_neighbours(one: _Range, other: _Range) -> bool:
    return one.to == other.after or other.to == one.after


def _pair(window: Window) -> list[int]:
    return [window.as_of, window.until]
