"""
Absences that nothing proves: records that a reading did not show, while the user does not see all records of the object.

Invisible is not deleted. A deletion is proved by its event, by the recycle bin, by the org's log of deletions, or by the right to
see all records (see sight), which the user had in the reading. Where that right is lost, such an absence is not reported:
merge would delete the other side's record. The record waits here, by its key and in the source's position, so that neither a request is
held up nor a kill forgets it. When the right is back, it is read again, and a row or an absence is reported. If it shows
in some other way before, it does not wait any more.

What does not fit is counted no more, and the whole object is read again instead when the right is back (a hole of its events,
which also compares all records).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Final

import structlog

from salmon.model.change import Op
from salmon.plugin.contract import Position, SourceRecord, WaitingObject
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.sight import Sight, mend
from salmon.salesforce.reading.stream.waiting_events import RecordId

log = structlog.get_logger(__name__)

KEPT_MAX: Final = 1_000  # of an object: they are all in one record of the position
_PLACE: Final = "unseen/"  # and the object's name: the partition of the source's position


def of_object(partition: str) -> str:
    """The object that a partition of the position is about, if it is about absences."""
    return partition.removeprefix(_PLACE)


class Verdict(Enum):
    """What to make of an absence that nothing else proves."""

    DELETED = auto()  # the user saw all records
    LATER = auto()  # not known yet: look again when the org may be asked
    DOUBTED = auto()  # it waits here


class Doubts:
    """
    For one thread; `waiting` and `may_compare` may be called by others.

    Args:
        sight: None: the user sees all, and nothing waits.
        positions: As they were stored.
    """

    def __init__(self, sight: Sight | None, positions: Mapping[str, Position]) -> None:
        self._sight = sight
        stored = {
            name.removeprefix(_PLACE): each
            for name, each in positions.items()
            if name.startswith(_PLACE) and each
        }
        self._kept: dict[str, dict[str, str | None]] = {
            name: dict(each["records"]) for name, each in stored.items()
        }
        self._too_many = {name for name, each in stored.items() if each["too_many"]}
        self._asked: set[RecordId] = set()  # read again, as the right is back
        self._since_s = dict.fromkeys(stored, 0.0 if sight is None else sight.now_s())
        self._put_off: dict[str, float] = {}
        self._changed: set[str] = set()

    def forget(self) -> None:
        """They are of another org."""
        for name in list(self._since_s):
            self._over(name)

    def now_s(self) -> float:
        return 0.0 if self._sight is None else self._sight.now_s()

    def judge(self, record: RecordId, native_id: str | None, read_at_s: float) -> Verdict:
        """What to make of an absence of the record, as a reading has found that ended at *read_at_s*."""
        if self._sight is None:
            return Verdict.DELETED
        saw_all = self._sight.held_since(record[0], read_at_s)
        if saw_all is None:
            return Verdict.LATER
        if saw_all or self._sight.proves(record[0], native_id):
            return Verdict.DELETED
        self._keep(record, native_id)
        return Verdict.DOUBTED

    def wait_s(self, name: str) -> float:
        """How long until an absence for which it is not known yet may be looked at again."""
        return 0.0 if self._sight is None else self._sight.wait_s(name)

    def due_in_s(self) -> float | None:
        """How long until it is to be asked whether the right is back; None: nothing waits for that."""
        waits = [self.wait_s(name) for name in self._since_s if self._is_due(name)]
        return min(waits, default=None)

    def back(self) -> Iterator[tuple[str, list[tuple[str, str | None]], bool]]:
        """
        The objects whose right is back, each with the records to read again, as (key, Id), and whether the whole object is to be
        read. They wait until they are reported.
        """
        if self._sight is None:
            return
        for name in list(self._since_s):
            if not self._is_due(name) or not self._sight.look(name):
                continue
            again = [each for each in self._kept[name].items() if (name, each[0]) not in self._asked]
            self._asked.update((name, key) for key, _ in again)
            too_many = name in self._too_many
            if too_many:
                self._too_many.discard(name)
                self._changed.add(name)
            yield name, again, too_many
            if not self._kept[name]:
                self._over(name)

    def _forget_reported(self, records: list[SourceRecord]) -> None:
        """They have been seen, or are proved to be absent."""
        for record in records if self._since_s else ():
            change, kept = record.change, self._kept.get(record.object)
            if kept is not None and record.key in kept and change.op in (Op.ABSENT, Op.ROW, Op.DELETE):
                del kept[record.key]
                self._asked.discard((record.object, record.key))
                self._changed.add(record.object)
                if not kept and record.object not in self._too_many:
                    self._over(record.object)

    def add_positions(self, harvest: Harvest) -> None:
        """Forget what the harvest reports, and add what is to be stored along with it."""
        self._forget_reported(harvest.records)
        for name in self._changed:
            harvest.positions[f"{_PLACE}{name}"] = (
                {"records": dict(self._kept[name]), "too_many": name in self._too_many}
                if name in self._since_s
                else None
            )
        self._changed.clear()

    def may_compare(self, name: str) -> bool:
        """Whether the records that the org shows are all that it has. From any thread."""
        if self._sight is None or self._sight.held_since(name, self.now_s() - self._sight.again_s):
            self._put_off.pop(name, None)
            return True
        self._put_off.setdefault(name, self.now_s())
        return False

    def waiting(self) -> list[WaitingObject]:
        """The objects of which something waits, for people."""
        if self._sight is None:
            return []
        since_s = {**self._put_off, **self._since_s}
        lacking = frozenset(self._sight.lacking())
        now_s = self._sight.now_s()
        return [
            WaitingObject(name, now_s - since, self._sentence(name))
            for name, since in sorted(since_s.items())
            if name in lacking
        ]

    def _sentence(self, name: str) -> str:
        kept = len(self._kept.get(name, ()))
        if name in self._too_many:
            what = f"More than {kept:,} records that it cannot see any more may exist still"
        elif kept:
            what = f"Records that it cannot see any more may exist still ({kept:,})"
        else:
            what = "Which records are deleted for good cannot be found out"
        return (
            f"objects.{name}: the integration user does not see all records of {name}. {what}, so no deletion is reported for them. "
            f"{mend(name)}; Salmon looks for that each minute, and then reads them again. The other records go on."
        )

    def _is_due(self, name: str) -> bool:
        return name in self._too_many or any((name, key) not in self._asked for key in self._kept[name])

    def _keep(self, record: RecordId, native_id: str | None) -> None:
        name, key = record
        self._asked.discard(record)
        kept = self._kept.setdefault(name, {})
        if name not in self._since_s:
            self._since_s[name] = self.now_s()
        if key in kept or name in self._too_many:
            return
        if len(kept) >= KEPT_MAX:
            self._too_many.add(name)
        else:
            kept[key] = native_id
        self._changed.add(name)

    def _over(self, name: str) -> None:
        self._since_s.pop(name, None)
        self._kept.pop(name, None)
        self._too_many.discard(name)
        self._asked = {each for each in self._asked if each[0] != name}
        self._changed.add(name)
