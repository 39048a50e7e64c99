"""What one poll of the source brings together, before it is a batch."""

from __future__ import annotations

from dataclasses import dataclass, field

from salmon.plugin.contract import DeadLetter, IdentityRecord, Position, SourceBatch, SourceRecord
from salmon.salesforce.reading.whole.rows import BadRow, Row


@dataclass(slots=True)
class Harvest:
    """A SourceBatch in the making."""

    records: list[SourceRecord] = field(default_factory=list)
    positions: dict[str, Position | None] = field(default_factory=dict)
    identities: list[IdentityRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.records or self.positions or self.identities or self.dead_letters or self.answered)

    def row(self, name: str, row: Row | BadRow) -> None:
        """Add a row, or set it aside; and what of it could not be taken."""
        faults = row.faults if isinstance(row, Row) else (row,)
        if isinstance(row, Row):
            self.records.append(SourceRecord(name, row.key, row.change))
        self.dead_letters += [DeadLetter(name, fault.key, fault.original, fault.error) for fault in faults]

    def batch(self) -> SourceBatch:
        return SourceBatch(
            self.records, self.positions, self.identities, self.dead_letters, frozenset(self.answered)
        )
