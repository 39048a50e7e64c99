"""
The runs of whole objects, as far as they are reported: what is under way, what waits for its turn, what is done.

When a run begins and what events may do meanwhile is for feed; the reading itself is for snapshot.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog

from salmon.plugin.contract import FIRST_READ, Position, SnapshotProgress
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.polling import OVERLAP_MS, REACH_MS, Reported
from salmon.salesforce.reading.whole.run import Run, Why
from salmon.salesforce.reading.whole.snapshot import BULK, REST, Chunk, Failed, Org
from salmon.salesforce.reading.whole.windows import END, Reads

log = structlog.get_logger(__name__)

ROWS_A_POLL: Final = 500  # so that events do not wait long behind rows
_SNAPSHOT: Final = FIRST_READ  # and the object's name


class ReadsWhole(Protocol):
    """Reads whole objects. `begin` and `close` may be called from any thread."""

    def begin(self, run: Run) -> None: ...
    def give_up(self, name: str) -> None: ...
    def take(self) -> Chunk | Failed | None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    What is read again and again.

    Args:
        polled: The objects that have no events, each with the seconds between two polls.
        polls: Reads what has changed of them, beside the other readings: a large object must not hold it up.
        refreshed: The objects with fields that no event reports, each with the seconds between two readings of the whole.
        spare: Whether the org has API calls left for what can wait.
    """

    polled: Mapping[str, float] = field(default_factory=dict)
    polls: ReadsWhole | None = None
    refreshed: Mapping[str, float] = field(default_factory=dict)
    spare: Callable[[], bool] = lambda: True


class Runs:
    """The runs of all objects. For one thread."""

    def __init__(
        self,
        org: Org,
        snapshots: ReadsWhole,
        reads: Mapping[str, Reads],
        identity: Identity,
        *,
        whole: Mapping[str, frozenset[str]],
        positions: Mapping[str, Position],
        schedule: Schedule | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            org, snapshots, identity: As feed has them.
            reads: Where the windows of what is reported are noted, by object.
            whole: The objects that are read as a whole at first and after a hole, each with its fields.
            positions: What was stored; empty to begin from nothing.
            schedule: What is read again and again.
        """
        self._monotonic_s = monotonic_s
        # Since when a run is read here, and how many of its records were read before.
        self._paces: dict[str, tuple[float, int]] = {}
        self._org = org
        self._snapshots = snapshots
        schedule = schedule or Schedule()
        self._polls = schedule.polls or snapshots
        self._in_turn = deque([self._polls, snapshots] if schedule.polls else [snapshots])
        self._polled = schedule.polled
        self._refreshed, self._spare = schedule.refreshed, schedule.spare
        self._poll_at_s: dict[str, float] = {}
        self._reads = reads
        self._identity = identity
        self._whole = whole
        self._chunk: Chunk | None = None
        self._rows_added = 0  # rows of the chunk
        self._wanted: dict[str, tuple[int, ...]] = {}  # signals that wait for the end of another run
        self._dirty: set[str] = set()
        self._runs: dict[str, Run] = {}
        self._left: list[Run] = []  # of objects that are synced no more
        for stored in _stored_runs(positions):
            name = stored.object
            run = replace(stored, covers=stored.covers & self._fields_of(name))
            if name not in reads:
                if run != stored:
                    self._left.append(run)
                continue
            self._runs[name] = run
            if run != stored:
                self._dirty.add(name)
            if not run.done:
                self._paces[name] = monotonic_s(), run.read
                self._who_reads(run).begin(run)

    def begin_first(self, last_event: int, reported_up_to: int) -> None:
        """
        Begin to read every object that was never read, and those that the stream has passed by: the object, or a
        field of it, was not synced for a time. The stream's position must be known; the times as in fall_into_hole.
        """
        for name, fields in self._whole.items():
            run = self._runs.get(name)
            if run is None:
                polled = name in self._polled
                self._begin(Run(name, Why.FIRST, began=self._covered(), covers=fields, polled=polled))
            elif not run.covers:
                self._read_again(name, last_event, 0, "it was not synced for a time")
            elif run.polled != (name in self._polled):
                self._read_again(name, last_event, reported_up_to, "its capture was changed")
            elif not fields <= run.covers:
                self._read_again(name, last_event, reported_up_to, "a field was added")

    def fall_into_hole(
        self, name: str, last_event: int, reported_up_to: int, *, window: bool = False
    ) -> None:
        """
        Events of the object were lost.

        Args:
            last_event: When the latest event was committed that has come (0: none is known). Rows that do not hold it
                would be old news.
            reported_up_to: What was committed before this has been told, deletions included (0: nothing is known).
            window: True if nothing before *reported_up_to* can be missing: what was stamped before that is not read again. False where
                events speak of all records, or where nobody knows since when the object's own events have not come.
        """
        if name in self._whole:
            self._read_again(name, last_event, reported_up_to, "events were lost", window=window)

    def begin_due(self) -> None:
        """
        Begin to look for what has changed of each polled object whose turn it is, and to read each object whose fields are to be
        refreshed. Runs that are under way go on.
        """
        now_s = self._monotonic_s()
        for name, every_s in self._refreshed.items():
            run = self._runs.get(name)
            if run is None or not run.done or not run.covers:
                continue
            age_ms = self._org.clock.now - (run.whole or run.began)
            if age_ms >= every_s * 1000 and self._spare():
                self._reads[name].begin_whole()
                since = _deletions_reported_up_to(run) if run.polled else None
                again = Run(name, Why.REFRESH, self._covered(), since=since, covers=run.covers)
                self._begin(replace(again, polled=run.polled, whole=run.whole))
        for name, every_s in self._polled.items():
            run = self._runs.get(name)
            # A shorter interval counts for what waits already.
            poll_at_s = self._poll_at_s[name] = min(self._poll_at_s.get(name, now_s), now_s + every_s)
            if run is None or not run.done or now_s < poll_at_s:
                continue
            self._poll_at_s[name] = now_s + every_s
            if self._org.clock.now - run.began > REACH_MS:
                self._read_again(name, 0, 0, "it was not polled for longer than the recycle bin reaches back")
                continue
            self._begin(
                replace(
                    run,
                    why=Why.POLLED,
                    began=max(run.began, self._covered()),
                    not_before=0,
                    since=run.began - OVERLAP_MS,
                    last="",
                    absences=False,
                    done=False,
                    signals=(),
                    by=REST,
                    job=None,
                )
            )

    def due_in_s(self) -> float | None:
        """How long until an object is polled; None if none is, or all of them are being read."""
        now_s = self._monotonic_s()
        runs = ((name, self._runs.get(name)) for name in self._polled)
        idle = [name for name, run in runs if run is not None and run.done]
        return min((max(0.0, self._poll_at_s.get(name, now_s) - now_s) for name in idle), default=None)

    def _read_again(
        self, name: str, last_event: int, reported_up_to: int, why: str, *, window: bool = False
    ) -> None:
        earlier = self._runs.get(name)
        if earlier is not None and earlier.polled:
            since = _deletions_reported_up_to(earlier)  # whatever the stream has reported meanwhile
        else:
            since = reported_up_to - OVERLAP_MS if reported_up_to else None
        signals = self._wanted.pop(name, ())
        window = window and earlier is not None and self._is_known(earlier)
        if earlier is not None and not earlier.done:
            signals = (*earlier.signals, *signals)
            if earlier.why is Why.HOLE and since is not None:  # its deletions have not been looked for
                since = None if earlier.since is None else min(since, earlier.since)
        since = None if signals else since
        run = Run(
            name,
            Why.HOLE,
            began=self._covered(),
            not_before=max(last_event, self._covered()),
            since=since,
            signals=signals,
            covers=self._fields_of(name),
            polled=name in self._polled,
        )
        if window and since is not None and earlier is not None:
            run = replace(run, window=True, whole=earlier.whole or earlier.began)
        self._begin(run)
        # The windows of what was read before say nothing any more: each record waits for its new row.
        self._reads[name].clear()
        log.warning("object_is_read_again", object=name, why=why, stamped_since=run.rows_since)

    def _is_known(self, run: Run) -> bool:
        """Whether rows or events have told all of each record, up to the hole that *run*, if it is not done, closes."""
        is_whole = run.done or (run.why is Why.HOLE and run.window)
        return is_whole and not run.polled and self._fields_of(run.object) <= run.covers

    def want(self, name: str, signal: int, not_before: int) -> None:
        """A signal asks for the whole object, as it is at *not_before* or later."""
        run = self._runs.get(name)
        if run is not None and signal in run.signals:
            return  # it came again after a restart in the middle of its run
        free = name not in self._whole if run is None else run.done
        if free:
            self._begin_asked(name, (signal,), not_before)
        else:
            self._wanted[name] = (*self._wanted.get(name, ()), signal)

    def is_reported_already(self, name: str, commit_time: int) -> bool:
        """
        Whether an event is from before the very first rows, or for sure from before a hole: then it was reported.
        Another is reported behind its record's row, which does not show an edit that a write of ours has overwritten.
        """
        run = self._runs.get(name)
        if run is None:
            return False
        if run.why is Why.HOLE:
            return run.since is not None and commit_time < run.since
        return run.why is Why.FIRST and commit_time <= run.began

    def row_comes_first(self, name: str, native_id: str) -> bool:
        """Whether the record's row must be reported before its next event, and has not been yet."""
        run = self._runs.get(name)
        return (
            run is not None
            and run.why is Why.HOLE
            and run.will_report(native_id)
            and native_id not in self._reads[name].records
        )

    def take(self, harvest: Harvest) -> None:
        """Report the next rows that were read, if there are any. Raises what a run failed with."""
        if self._chunk is None:
            taken = (each.take() for each in tuple(self._in_turn))
            chunk = next((each for each in taken if each is not None), None)
            self._in_turn.rotate()
            if isinstance(chunk, Failed):
                raise chunk.error
            self._chunk, self._rows_added = chunk, 0
        if self._chunk is not None:
            self._add_rows(self._chunk, harvest)

    def progress(self) -> list[SnapshotProgress]:
        """How far they have come."""
        return [
            SnapshotProgress(
                run.object,
                run.read,
                run.total,
                run.done or run.why is Why.POLLED,
                self._left_s(run),
                by_bulk=run.by == BULK,
                polled_s=self._age_s(run) if run.polled else None,
            )
            for run in self._runs.values()
        ]

    def _left_s(self, run: Run) -> float | None:
        """How long the rest of the run takes at the pace so far; None where that cannot be told."""
        since_s, before = self._paces.get(run.object, (0.0, 0))
        if run.done or run.why is Why.POLLED:
            return 0.0
        if run.total is None or run.read <= before:
            return None
        pace_s = (self._monotonic_s() - since_s) / (run.read - before)
        return max(0, run.total - run.read) * pace_s

    def _age_s(self, run: Run) -> float:
        """For how long changes of the object may not have been found yet: since the last reading that is complete began."""
        up_to = run.began if run.done or not run.since else run.since + OVERLAP_MS
        return max(0.0, (self._org.clock.now - up_to) / 1000)

    def add_positions(self, harvest: Harvest) -> None:
        """What has changed since the last call."""
        for name in self._dirty:
            harvest.positions[partition_of(name)] = self._runs[name].to_position()
        for run in self._left:
            harvest.positions[partition_of(run.object)] = run.to_position()
        self._dirty.clear()
        self._left.clear()

    def _add_rows(self, chunk: Chunk, harvest: Harvest) -> None:
        name, window = chunk.run.object, chunk.read.window
        run, reads = self._runs[name].piece(chunk.run.part), self._reads[name]
        rows = chunk.read.rows[self._rows_added : self._rows_added + ROWS_A_POLL]
        self._rows_added += len(rows)
        ends = self._rows_added == len(chunk.read.rows)
        if run.why is Why.POLLED:
            pass  # see Reported
        elif run.absences:
            reads.read_records([row.native_id for row in rows], window)
        else:
            if not ends:
                to = rows[-1].native_id
            else:
                to = (run.to or END) if chunk.run.absences or chunk.run.done else chunk.run.last
            if to > run.last:
                reads.read_range(run.last, to, window)
        for row in rows:
            if isinstance(reads, Reported):
                reads.meet(row.native_id)
                if run.why is Why.POLLED and not reads.is_news(row):
                    continue
            # A key that another record carries by now does not die with the one that was deleted.
            if not run.absences or self._identity.native_id(name, row.key) in (None, row.native_id):
                harvest.row(name, row)
        if ends:
            self._chunk = None
            self._progressed(chunk.run, harvest)
        else:
            read = run.read + len(rows) if run.counts else run.read
            self._progressed(replace(run, last=rows[-1].native_id, read=read, total=chunk.run.total), harvest)

    def _progressed(self, reported: Run, harvest: Harvest) -> None:
        run = self._runs[reported.object].with_piece(reported)
        if run.done and run.rows_since is None:
            run = replace(run, whole=run.began)
        self._runs[run.object] = run
        self._dirty.add(run.object)
        # It was cut into parts, or its last part has ended and absences are next: what is read of it now begins there.
        if not run.done and bool(run.parts) != (reported.part is not None):
            self._who_reads(run).begin(run)
        if run.done and run.why is Why.POLLED:
            reads = self._reads[run.object]
            assert isinstance(reads, Reported)
            reads.polled()
        elif run.done:
            log.info("object_was_read", object=run.object, why=run.why.value, records=run.read)
        if run.done:
            harvest.answered.update(run.signals)
            if wanted := self._wanted.pop(run.object, ()):
                self._begin_asked(run.object, wanted, self._org.clock.now)

    def _begin_asked(self, name: str, signals: tuple[int, ...], not_before: int) -> None:
        earlier = self._runs.get(name)
        covers = earlier.covers if earlier is not None else frozenset[str]()
        began = self._covered()
        polled = name in self._polled
        self._reads[name].begin_whole()
        self._begin(
            Run(
                name,
                Why.ASKED,
                began,
                not_before=not_before,
                signals=signals,
                covers=covers,
                polled=polled,
            )
        )

    def _who_reads(self, run: Run) -> ReadsWhole:
        return self._polls if run.why is Why.POLLED else self._snapshots

    def _begin(self, run: Run) -> None:
        if self._chunk is not None and self._chunk.run.object == run.object:
            self._chunk = None
        self._runs[run.object] = run
        self._paces[run.object] = self._monotonic_s(), run.read
        self._dirty.add(run.object)
        if self._polls is not self._snapshots:
            (self._snapshots if run.why is Why.POLLED else self._polls).give_up(run.object)
        self._who_reads(run).begin(run)

    def _covered(self) -> int:
        return self._org.clock.covered or 0

    def _fields_of(self, name: str) -> frozenset[str]:
        return self._whole.get(name, frozenset())


def _deletions_reported_up_to(run: Run) -> int | None:
    """
    From when on deletions of a polled object may not have been reported yet; None: nothing is known. What it says includes the
    overlap.
    """
    return run.began - OVERLAP_MS if run.done or run.why is Why.FIRST else run.since


def partition_of(name: str) -> str:
    """The partition of the source's position that holds the object's run."""
    return f"{_SNAPSHOT}{name}"


def _stored_runs(positions: Mapping[str, Position]) -> Iterator[Run]:
    for partition, stored in positions.items():
        if partition.startswith(_SNAPSHOT):
            yield Run.from_position(partition.removeprefix(_SNAPSHOT), stored)
