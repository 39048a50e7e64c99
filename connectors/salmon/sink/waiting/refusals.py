"""
Writes that were refused because another record has a unique value, stored as entries in `offsets`.

A person may correct either record. If it is the other one, a write that changes its value comes to us, and we ask merge to
send again what was refused. An entry is `refused/<Object>/<record key>` of its connector. It is written in the transaction
that reports the refusal and removed in the one that asks merge, so that a restart loses none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from salmon.model.change import PLACE, Write, WriteOp
from salmon.plugin.contract import Outcome, Position, SinkRecord

PREFIX: Final = "refused/"
RecordId = tuple[str, str]  # object, record key


@dataclass(frozen=True, slots=True)
class Refused:
    """Fields of one record that were refused because *holder* has their value; without fields: the whole write."""

    object: str
    key: str
    seq: int  # of the write that was refused
    fields: frozenset[str]
    holder: RecordId
    partition: int  # of the record's key; the instance that has this partition handles the entry
    # Offset in the holder's partition of `writes`; no write before it frees the value. None: not known.
    seen: int | None = None

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
            "holder": list(self.holder),
            "partition": self.partition,
            **({} if self.seen is None else {"seen": self.seen}),
        }

    @classmethod
    def of(cls, entry: str, position: Position) -> Refused:
        """The inverse of entry and position()."""
        name, _, key = entry.removeprefix(PREFIX).partition("/")  # An object's name has no slash; a key may.
        holder = position["holder"]
        return cls(
            object=name,
            key=key,
            seq=position["seq"],
            fields=frozenset(position["fields"]),
            holder=(holder[0], holder[1]),
            partition=position["partition"],
            seen=position.get("seen"),
        )

    @classmethod
    def by(
        cls,
        record: SinkRecord,
        outcome: Outcome,
        partition: int,
        seen: Callable[[RecordId], int | None] = lambda _: None,
    ) -> Refused | None:
        """Make the entry for a refusal; None if the refusal does not depend on another record."""
        if not outcome.waits_for:
            return None
        write, holder = record.write, outcome.waits_for[0]
        return cls(
            record.object, record.key, write.seq, frozenset(outcome.fields), holder, partition, seen(holder)
        )

    def may_end_with(self, write: Write) -> bool:
        """Whether a write to the holder may change the value, or take it elsewhere, so that the refusal may end."""
        frees = self.fields | {PLACE}
        return write.op is WriteOp.DELETE or not self.fields or not frees.isdisjoint(write.fields)


class Refusals:
    """The entries in this instance's partitions. Only the loop changes them; any thread may use `in`."""

    def __init__(self) -> None:
        self._of: dict[RecordId, Refused] = {}
        self._by_holder: dict[RecordId, set[RecordId]] = {}

    def __contains__(self, id: RecordId) -> bool:  # noqa: A002
        return id in self._of

    def __iter__(self) -> Iterator[Refused]:
        return iter(self._of.values())

    def load(self, entries: Mapping[str, Position], owned: Collection[tuple[str, int]]) -> None:
        """Replace all entries by those of the *owned* (object, partition) pairs."""
        self._of.clear()
        self._by_holder.clear()
        for entry, position in entries.items():
            if entry.startswith(PREFIX):
                refused = Refused.of(entry, position)
                if (refused.object, refused.partition) in owned:
                    self.put(refused)

    def put(self, refused: Refused) -> None:
        self.drop(refused.id)
        self._of[refused.id] = refused
        self._by_holder.setdefault(refused.holder, set()).add(refused.id)

    def drop(self, id: RecordId) -> None:  # noqa: A002
        if (refused := self._of.pop(id, None)) is not None:
            self._by_holder[refused.holder].discard(id)
            if not self._by_holder[refused.holder]:
                del self._by_holder[refused.holder]

    def settled_by(self, record: SinkRecord) -> Refused | None:
        """Return the entry that is settled because this write was carried out, if there is one."""
        refused = self._of.get(record.id)
        if refused is not None and (not refused.fields or refused.fields <= record.write.fields.keys()):
            return refused
        return None

    def kept_by(self, holder: RecordId) -> list[Refused]:
        """Return the entries that depend on *holder*."""
        return [self._of[id] for id in sorted(self._by_holder.get(holder, ()))]  # noqa: A001
