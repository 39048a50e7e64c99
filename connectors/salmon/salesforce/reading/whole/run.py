"""
A run: one reading of a whole object, or of what has changed of it since, why it is made, and how far it has been reported. Pure; kept
in the source's position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from salmon.salesforce.reading.whole.bulk_jobs import BulkJob, stored_of


class Why(StrEnum):
    """Why an object is read as a whole; it decides what its events may do meanwhile (see feed)."""

    FIRST = "first"  # it never was
    HOLE = "hole"  # events were lost, or have passed while it, or a field of it, was not synced
    ASKED = "asked"  # by a signal
    REFRESH = "refresh"  # by the clock, for fields that no event reports
    POLLED = "polled"  # not as a whole: what has changed since another reading (see polling)


@dataclass(frozen=True, slots=True)
class Part:
    """A range of an object's Ids that is read beside the others, and how far it has been reported."""

    after: str  # the records above this Id
    to: str  # up to this one, with it; "": all the others
    last: str  # the rest as in Run
    read: int = 0
    by: str = ""
    job: BulkJob | None = None
    done: bool = False

    @classmethod
    def from_position(cls, position: Mapping[str, Any]) -> Part:
        """The inverse of asdict. What a later version of Salmon has put into it is left."""
        return cls(**{**stored_of(cls, position), "job": BulkJob.from_position(position["job"])})


@dataclass(frozen=True, slots=True)
class Run:
    """
    One reading of a whole object, and how far it has been reported.

    A large object is read in several parts at the same time. While one of them is read, it is a run of its own (see `pieces`).
    """

    object: str
    why: Why
    began: int  # ms by the org's clock: each of its rows holds all that was committed up to then
    not_before: int = 0  # it starts when its rows surely hold all that was committed up to then
    # Absences: deletions from then on; None: all that the recycle bin holds. POLLED, and in a window: rows, too, by their stamps.
    since: int | None = None
    last: str = ""  # Id of the last row reported
    absences: bool = False  # the rows are reported; now it is the deleted records' turn
    done: bool = False
    read: int = 0
    total: int | None = None
    signals: tuple[int, ...] = ()  # ids of the signals it answers
    # The fields of which rows or events have reported everything since; none of an object that is not read as a whole.
    covers: frozenset[str] = frozenset()
    by: str = ""  # REST or BULK; "": it is not decided
    job: BulkJob | None = None
    whole: int = 0  # when the last reading of the whole object began that is complete; 0: not known
    polled: bool = False  # what is committed after `began` will be found by polling, and not by events
    # HOLE: what was changed before `since` is known, so only what is stamped since is read.
    window: bool = False
    parts: tuple[Part, ...] = ()  # in the order of their Ids, without gaps; none: it is read in a row
    # Of a run that is a part of another: which one, and its range.
    part: int | None = None
    after: str = ""
    to: str = ""

    @property
    def rows_since(self) -> int | None:
        """From which stamp on records are read; None: all of them."""
        return self.since if self.window or self.why is Why.POLLED else None

    @property
    def counts(self) -> bool:
        """Whether its rows count as records of the object; what is polled was counted when it was read as a whole."""
        return not self.absences and self.why is not Why.POLLED

    def will_report(self, native_id: str) -> bool:
        """Whether this run will still report the record's row."""
        if self.done or self.absences:
            return False
        if not self.parts:
            return native_id > self.last
        part = next(each for each in self.parts if native_id <= each.to or not each.to)
        return not part.done and native_id > part.last

    def pieces(self) -> list[Run]:
        """What is to be read of it at the same time: each part that is not done, or all of it."""
        if not self.parts:
            return [self]
        return [self.piece(number) for number, part in enumerate(self.parts) if not part.done]

    def piece(self, number: int | None) -> Run:
        """One of its parts as a run of its own; None: all of it."""
        if number is None:
            return self
        part = self.parts[number]
        return replace(
            self,
            parts=(),
            part=number,
            after=part.after,
            to=part.to,
            last=part.last,
            read=part.read,
            by=part.by,
            job=part.job,
            done=part.done,
        )

    def with_piece(self, piece: Run) -> Run:
        """The run as it is when *piece* of it is reported."""
        if piece.part is None:
            return piece
        before, at = self.parts[piece.part], piece.part
        now = Part(before.after, before.to, piece.last, piece.read, piece.by, piece.job, piece.done)
        parts = (*self.parts[:at], now, *self.parts[at + 1 :])
        run = replace(self, parts=parts, read=self.read + now.read - before.read)
        return run.rows_are_reported() if all(each.done for each in parts) else run

    def cut_at(self, cuts: Sequence[str]) -> Run:
        """The run, in parts from here on: up to each of *cuts*, and the rest."""
        ends = [*cuts, ""]
        begins = [self.last, *cuts]
        return replace(
            self,
            parts=tuple(
                Part(after, to, last=after, by=self.by) for after, to in zip(begins, ends, strict=True)
            ),
        )

    def rows_are_reported(self) -> Run:
        """The run as it is when its last row, or its last absence, is reported: the absences are next, where there may be any."""
        if self.part is not None:
            return replace(self, done=True)
        no_absences = self.why is Why.FIRST or (self.why is Why.REFRESH and self.since is None)
        if self.absences or no_absences:
            return replace(self, last="", parts=(), done=True)
        return replace(self, last="", parts=(), absences=True)

    def to_position(self) -> dict[str, Any]:
        """The run as JSON."""
        return {
            "why": self.why.value,
            "began": self.began,
            "not_before": self.not_before,
            "since": self.since,
            "last": self.last,
            "absences": self.absences,
            "done": self.done,
            "read": self.read,
            "total": self.total,
            "signals": list(self.signals),
            "covers": sorted(self.covers),
            "by": self.by,
            "job": None if self.job is None else self.job.to_position(),
            "whole": self.whole,
            "polled": self.polled,
            "window": self.window,
            "parts": [asdict(each) for each in self.parts],
        }

    @classmethod
    def from_position(cls, name: str, position: Mapping[str, Any]) -> Run:
        """The inverse of to_position. What a later version of Salmon has put into it is left."""
        stored = {
            **stored_of(cls, position, but=("object",)),
            "why": Why(position["why"]),
            "signals": tuple(position["signals"]),
            "covers": frozenset(position.get("covers", ())),
            "job": BulkJob.from_position(position.get("job")),
            "parts": tuple(map(Part.from_position, position.get("parts", ()))),
        }
        return cls(object=name, **stored)
