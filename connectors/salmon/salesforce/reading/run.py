"""
A run: one reading of a whole object, why it is made, and how far it has been reported. Pure; kept in the source's position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from salmon.salesforce.reading.bulk_jobs import BulkJob


class Why(StrEnum):
    """Why an object is read as a whole; it decides what its events may do meanwhile (see feed)."""

    FIRST = "first"  # it never was
    HOLE = "hole"  # events were lost, or have passed while it, or a field of it, was not synced
    ASKED = "asked"  # by a signal
    REFRESH = "refresh"  # by the clock, for fields that no event reports
    POLLED = "polled"  # not as a whole: what has changed since another reading (see polling)


@dataclass(frozen=True, slots=True)
class Run:
    """One reading of a whole object, and how far it has been reported."""

    object: str
    why: Why
    began: int  # ms by the org's clock: each of its rows holds all that was committed up to then
    not_before: int = 0  # it starts when its rows surely hold all that was committed up to then
    # Absences: deletions from then on; None: all that the recycle bin holds. POLLED: rows, too, by their stamps.
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

    @property
    def counts(self) -> bool:
        """Whether its rows count as records of the object; what is polled was counted when it was read as a whole."""
        return not self.absences and self.why is not Why.POLLED

    def will_report(self, native_id: str) -> bool:
        """Whether this run will still report the record's row."""
        return not (self.done or self.absences) and native_id > self.last

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
        }

    @classmethod
    def from_position(cls, name: str, position: Mapping[str, Any]) -> Run:
        """The inverse of to_position. What a later version of Salmon has put into it is left."""
        stored = {
            **{each.name: position[each.name] for each in fields(cls) if each.name in position},
            "why": Why(position["why"]),
            "signals": tuple(position["signals"]),
            "covers": frozenset(position.get("covers", ())),
            "job": BulkJob.from_position(position.get("job")),
        }
        return cls(object=name, **stored)
