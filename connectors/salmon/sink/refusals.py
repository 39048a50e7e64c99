"""
Writes that were refused because another record keeps a unique value: durable entries in `offsets`.

A person may correct either record. If it is the other one, a write that gives the value up comes to us, and merge is asked to
send again what was refused. An entry is `refused/<Object>/<record key>` of its connector, written in the transaction
that reports the refusal and removed in the one that asks; so a restart forgets none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from salmon.model.change import Write, WriteOp
from salmon.plugin.contract import Outcome, Position, SinkRecord

PREFIX: Final = "refused/"
RecordId = tuple[str, str]  # object, record key


@dataclass(frozen=True, slots=True)
class Refused:
    """Fields of one record that *holder* keeps away; without fields: all of its write."""

    object: str
    key: str
    seq: int  # of the write that was refused
    fields: frozenset[str]
    holder: RecordId
    partition: int  # of the record's key: whose instance looks after it

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
            "holder": list(self.holder),
            "partition": self.partition,
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
        )

    @classmethod
    def by(cls, record: SinkRecord, outcome: Outcome, partition: int) -> Refused | None:
        """What a refusal leads to; None where no other record is to blame."""
        if not outcome.waits_for:
            return None
        write = record.write
        return cls(record.object, record.key, write.seq, outcome.fields, outcome.waits_for[0], partition)

    def may_end_with(self, write: Write) -> bool:
        """Whether a write to the holder may give the value up."""
        return write.op is WriteOp.DELETE or not self.fields or not self.fields.isdisjoint(write.fields)


class Refusals:
    """The entries that this instance looks after. The loop changes it; any thread may ask `in`."""

    def __init__(self) -> None:
        self._of: dict[RecordId, Refused] = {}
        self._by_holder: dict[RecordId, set[RecordId]] = {}

    def __contains__(self, id: RecordId) -> bool:  # noqa: A002
        return id in self._of

    def load(self, entries: Mapping[str, Position], owned: Collection[tuple[str, int]]) -> None:
        """Take the entries of the (object, partition) pairs that are *owned*, in place of all that were kept."""
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
        """The entry that a write which was carried out leaves nothing of."""
        refused = self._of.get((record.object, record.key))
        if refused is not None and (not refused.fields or refused.fields <= record.write.fields.keys()):
            return refused
        return None

    def kept_by(self, holder: RecordId) -> list[Refused]:
        """The entries that *holder* is to blame for."""
        return [self._of[id] for id in sorted(self._by_holder.get(holder, ()))]  # noqa: A001
