"""
Writes that wait for something else, stored as entries in `offsets`.

A field that refers to a missing parent waits until the parent's Id is known. A write to a locked record (for example in an
approval) waits for a certain time: nothing reports the end of a lock, so the write is tried again at growing intervals. So is
a field that refers to a deleted parent: its Id is known, and stays the same if the parent is restored.

An entry is `waits/<Object>/<record key>` of its connector. It is written in the transaction that reports the deferral and
removed in the one that asks merge to send again, so that a restart loses none and repeats none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from salmon.backoff import Backoff
from salmon.plugin.contract import Outcome, Position, SinkRecord
from salmon.sink.waiting.refusals import Refusals

PREFIX: Final = "waits/"
FIRST_S: Final = 60.0  # before the first new attempt
LATE_MAX_S: Final = 3_600.0  # at most between two attempts, however long the lock lasts
RecordId = tuple[str, str]  # object, record key


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Fields of one record that wait for one of *parents*, or until *due_ms*; without fields: the whole write.

    Args:
        deleted: Those of the parents that the side has deleted. That their Ids are known answers nothing; a new one does.
    """

    object: str
    key: str
    seq: int  # of the newest write whose fields were deferred
    fields: frozenset[str]
    parents: frozenset[RecordId]
    partition: int  # of the record's key; the instance that has this partition handles the entry
    due_ms: int | None = None  # in ms since 1970; None: it waits only for parents
    tries: int = 0  # attempts that found the record locked, or its parent deleted
    deleted: frozenset[RecordId] = frozenset()
    asked: bool = False  # merge was asked to send it again, and has not answered yet

    @property
    def id(self) -> RecordId:
        return self.object, self.key

    @property
    def entry(self) -> str:
        """The entry's name in `offsets`."""
        return f"{PREFIX}{self.object}/{self.key}"

    def position(self) -> Position:
        """The entry's value in `offsets`."""
        return {
            "seq": self.seq,
            "fields": sorted(self.fields),
            "parents": sorted(list(parent) for parent in self.parents),
            "partition": self.partition,
            **({"deleted": sorted(list(parent) for parent in self.deleted)} if self.deleted else {}),
            **(
                {}
                if self.due_ms is None
                else {"due_ms": self.due_ms, "tries": self.tries, "asked": self.asked}
            ),
        }

    def later(self, first_s: float, now_ms: int) -> Wait:
        """Return the entry after one more failed attempt. Each wait is twice as long as the one before, up to LATE_MAX_S."""
        wait_s = Backoff(first_s, LATE_MAX_S).bound_s(self.tries + 1)
        return replace(self, due_ms=now_ms + round(wait_s * 1000), tries=self.tries + 1)

    def after_asking(self, now_ms: int) -> Wait:
        """Return the entry after merge was asked. If no write comes until *due_ms*, merge had nothing left to send."""
        return replace(self.later(FIRST_S, now_ms), tries=self.tries, asked=True)

    @classmethod
    def of(cls, entry: str, position: Position) -> Wait:
        """The inverse of entry and position()."""
        name, _, key = entry.removeprefix(PREFIX).partition("/")  # An object's name has no slash; a key may.
        return cls(
            object=name,
            key=key,
            seq=position["seq"],
            fields=frozenset(position["fields"]),
            parents=frozenset((parent[0], parent[1]) for parent in position["parents"]),
            partition=position["partition"],
            due_ms=position.get("due_ms"),
            tries=position.get("tries", 0),
            deleted=frozenset((parent[0], parent[1]) for parent in position.get("deleted", ())),
            asked=position.get("asked", False),
        )


class Waits:
    """The entries in this instance's partitions. Only the loop changes them; any thread may call holds()."""

    def __init__(self) -> None:
        self._of: dict[RecordId, Wait] = {}
        self._children: dict[RecordId, set[RecordId]] = {}
        self.refusals = Refusals()

    def __len__(self) -> int:
        return len(self._of)

    def holds(self, object: str, key: str) -> bool:  # noqa: A002
        return (object, key) in self._of or (object, key) in self.refusals

    def load(self, entries: Mapping[str, Position], owned: Collection[tuple[str, int]]) -> None:
        """Replace all entries by those of the *owned* (object, partition) pairs."""
        self.refusals.load(entries, owned)
        self._of.clear()
        self._children.clear()
        for entry, position in entries.items():
            if entry.startswith(PREFIX):
                wait = Wait.of(entry, position)
                if (wait.object, wait.partition) in owned:
                    self.put(wait)

    def deferred(self, record: SinkRecord, outcome: Outcome, partition: int, now_ms: int = 0) -> Wait:
        """
        Make the entry for a deferred write. It includes what an earlier write of the record waits for, because merge does not
        send those fields with later writes.
        """
        earlier = self._of.get(record.id)
        whole = not outcome.fields or (earlier is not None and not earlier.fields)
        named, deleted = frozenset(outcome.waits_for), earlier.deleted if earlier else frozenset()
        wait = Wait(
            record.object,
            record.key,
            record.write.seq,
            frozenset() if whole else outcome.fields | (earlier.fields if earlier else frozenset()),
            named | (earlier.parents if earlier else frozenset()),
            partition,
            earlier.due_ms if earlier else None,
            earlier.tries if earlier else 0,
            deleted - named if outcome.again_s is None else deleted | named,
        )
        return wait if outcome.again_s is None else wait.later(outcome.again_s, now_ms)

    def timed(self, record: SinkRecord) -> Wait | None:
        """Return the entry of a record if it was locked at the last attempt, and not if deleted parents keep fields of it waiting."""
        wait = self._of.get(record.id)
        if wait is None or wait.due_ms is None or (wait.fields and wait.deleted):
            return None
        return wait

    def due(self, now_ms: int) -> list[Wait]:
        """Return the entries whose time has come."""
        return [wait for wait in self._of.values() if wait.due_ms is not None and wait.due_ms <= now_ms]

    def settled_by(self, record: SinkRecord) -> Wait | None:
        """Return the entry that is settled because this write was carried out, if there is one."""
        wait = self._of.get(record.id)
        if wait is not None and wait.fields <= record.write.fields.keys():
            return wait
        return None

    def put(self, wait: Wait) -> None:
        self.drop(wait.id)
        self._of[wait.id] = wait
        for parent in wait.parents:
            self._children.setdefault(parent, set()).add(wait.id)

    def drop(self, id: RecordId) -> None:  # noqa: A002
        if (wait := self._of.pop(id, None)) is not None:
            for parent in wait.parents:
                self._children[parent].discard(id)
                if not self._children[parent]:
                    del self._children[parent]

    def answered_by(self, parents: Iterable[RecordId]) -> list[Wait]:
        """Return the entries that wait for any of *parents*."""
        ids = {id for parent in parents for id in self._children.get(parent, ())}  # noqa: A001
        return [self._of[id] for id in sorted(ids)]  # noqa: A001

    @property
    def parents(self) -> frozenset[RecordId]:
        """All records that an entry waits for, but those that were deleted."""
        return frozenset(
            parent for wait in self._of.values() for parent in wait.parents if parent not in wait.deleted
        )
