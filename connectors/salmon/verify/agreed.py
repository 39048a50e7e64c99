"""What was agreed on one object, and what merge knows of a record: the tables `records` and `state`, decoded on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Self

from salmon.kafka.registry import Registry
from salmon.kafka.serdes import Records
from salmon.kafka.tables import Table
from salmon.kafka.topics import Topics
from salmon.merge.states import States
from salmon.model.change import Value
from salmon.model.rules import Rules
from salmon.model.state import State


class Agreed:
    """The two tables of one object; a context manager."""

    def __init__(self, kafka: Mapping[str, Any], topics: Topics, rules: Rules, registry: Registry) -> None:
        name = rules.schema.name
        self._kafka = kafka
        self._records = Records(rules.schema, registry, topics.records(name))
        self._states = States(rules, registry, topics.state(name))
        self._rows = Table(kafka, topics.records(name))
        self._memory: Table | None = None  # loaded when something differs: it is the larger one

    def load(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read `records` up to its end."""
        self._rows.load(progress)

    @property
    def keys(self) -> Collection[str]:
        """The keys of all agreed records."""
        return self._rows.rows.keys()

    def row(self, key: str) -> Mapping[str, Value] | None:
        """The agreed record, or None."""
        data = self._rows.rows.get(key)
        return None if data is None else self._records.decode(data)

    def state(self, key: str) -> State | None:
        """What merge knows of a record as of the last `follow`; None before the first, or if it knows nothing."""
        data = None if self._memory is None else self._memory.rows.get(key)
        return None if data is None else self._states.decode(data)

    def follow(self) -> bool:
        """Bring both tables up to date; whether anything was new."""
        if self._memory is None:
            self._memory = Table(self._kafka, self._states.topic)
        before = self._places()
        self._rows.load()
        self._memory.load()
        return self._places() != before

    def _places(self) -> tuple[Mapping[int, int], Mapping[int, int]]:
        return dict(self._rows.next_offsets), dict(self._memory.next_offsets) if self._memory else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()
        if self._memory is not None:
            self._memory.close()
