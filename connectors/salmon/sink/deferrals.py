"""
Writes that wait for something else: durable entries in `offsets`.

A field that refers to a missing parent waits until the parent's Id is known. What another has locked (a record in an
approval) waits for a time of day: nobody tells us when the lock ends, so it is tried again, ever later.

An entry is `waits/<Object>/<record key>` of its connector, written in the transaction that tells the deferral and
removed in the one that tells the retry; so a restart forgets none and answers none twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from salmon.plugin.contract import Outcome, Position, SinkRecord
from salmon.sink.refusals import Refusals

PREFIX: Final = "waits/"
LOCKED_FIRST_S: Final = 60.0  # before the first new try of what is locked
LATE_MAX_S: Final = 3_600.0  # between two tries of what is locked, however long the lock lasts
_DOUBLINGS_MAX: Final = 12
RecordId = tuple[str, str]  # object, record key


@dataclass(frozen=True, slots=True)
class Wait:
    """Fields of one record that wait for any of *parents*, or, with *due_ms*, for that time; no fields: all of it."""

    object: str
    key: str
    seq: int  # of the newest write whose fields were deferred
    fields: frozenset[str]
    parents: frozenset[RecordId]
    partition: int  # of the record's key: whose instance looks after it
    due_ms: int | None = None  # wall clock; None: it waits for parents alone
    tries: int = 0  # that found it locked
    asked: bool = False  # merge has been asked to send it again, and no answer has come yet

    @property
    def id(self) -> RecordId:
        return self.object, self.key

    @property
    def entry(self) -> str:
        """Its name among the connector's entries in `offsets`."""
        return f"{PREFIX}{self.object}/{self.key}"

    def position(self) -> Position:
        """Its value there."""
        return {
            "seq": self.seq,
            "fields": sorted(self.fields),
            "parents": sorted(list(parent) for parent in self.parents),
            "partition": self.partition,
            **(
                {}
                if self.due_ms is None
                else {"due_ms": self.due_ms, "tries": self.tries, "asked": self.asked}
            ),
        }

    def later(self, first_s: float, now_ms: int) -> Wait:
        """The same after one more try: its next is twice as far away as the last was, up to a bound."""
        wait_s = min(first_s * 2 ** min(self.tries, _DOUBLINGS_MAX), LATE_MAX_S)
        return replace(self, due_ms=now_ms + round(wait_s * 1000), tries=self.tries + 1)

    def after_asking(self, now_ms: int) -> Wait:
        """The same while the answer is awaited. Without one in so long, there was nothing left to be sent."""
        return replace(self.later(LOCKED_FIRST_S, now_ms), tries=self.tries, asked=True)

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
            asked=position.get("asked", False),
        )


class Waits:
    """The entries of the records that this instance looks after. The loop changes it; any thread may ask holds()."""

    def __init__(self) -> None:
        self._of: dict[RecordId, Wait] = {}
        self._children: dict[RecordId, set[RecordId]] = {}
        self.refusals = Refusals()

    def __len__(self) -> int:
        return len(self._of)

    def holds(self, object: str, key: str) -> bool:  # noqa: A002
        return (object, key) in self._of or (object, key) in self.refusals

    def load(self, entries: Mapping[str, Position], owned: Collection[tuple[str, int]]) -> None:
        """Take the entries of the (object, partition) pairs that are *owned*, in place of all that were held."""
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
        The entry that *outcome* leads to. What an earlier write of the record waits for is waited for still: those
        fields are set aside and in no later write.
        """
        earlier = self._of.get((record.object, record.key))
        whole = not outcome.fields or (earlier is not None and not earlier.fields)
        wait = Wait(
            record.object,
            record.key,
            record.write.seq,
            frozenset() if whole else outcome.fields | (earlier.fields if earlier else frozenset()),
            frozenset(outcome.waits_for) | (earlier.parents if earlier else frozenset()),
            partition,
            earlier.due_ms if earlier else None,
            earlier.tries if earlier else 0,
        )
        return wait if outcome.again_s is None else wait.later(outcome.again_s, now_ms)

    def timed(self, record: SinkRecord) -> Wait | None:
        """The entry of a record that was locked when it was last tried."""
        wait = self._of.get((record.object, record.key))
        return wait if wait is not None and wait.due_ms is not None else None

    def due(self, now_ms: int) -> list[Wait]:
        """The entries whose time has come."""
        return [wait for wait in self._of.values() if wait.due_ms is not None and wait.due_ms <= now_ms]

    def settled_by(self, record: SinkRecord) -> Wait | None:
        """The entry that a write which was carried out leaves nothing of."""
        wait = self._of.get((record.object, record.key))
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
        """The entries that wait for any of *parents*, which are known now."""
        ids = {id for parent in parents for id in self._children.get(parent, ())}  # noqa: A001
        return [self._of[id] for id in sorted(ids)]  # noqa: A001

    @property
    def parents(self) -> frozenset[RecordId]:
        """Everything that is waited for."""
        return frozenset(self._children)
