"""A batch in the making: what has been read, and goes to the worker together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from salmon.plugin.contract import DeadLetter, Position, SourceRecord


@dataclass(slots=True)
class Draft:
    """A batch that is being made."""

    records: list[SourceRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    positions: dict[str, Position | None] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)

    def name_history(self, history: str) -> None:
        """Let each change name the history of its side, if that was ever restored (see Change)."""
        if history:
            self.records = [
                replace(each, change=replace(each.change, history=history)) for each in self.records
            ]

    def __bool__(self) -> bool:
        return bool(self.records or self.dead_letters or self.positions or self.answered)
