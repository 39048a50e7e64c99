"""
What the processes of a sync have used of an allowance that they share: each stores its own part in `offsets`, and follows the others'.

From a thread of its own, and never urgent: without the others' part, a process goes on by its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event, Thread
from typing import Any, Final, Protocol

import structlog

from salmon.kafka import tables
from salmon.kafka.offsets import OffsetStore
from salmon.kafka.output import Output
from salmon.plugin.contract import USED, HasBudgets, SharedBudget, SinkTask, SourceTask
from salmon.runtime.every import Every
from salmon.runtime.instance import Instance

log = structlog.get_logger(__name__)

EVERY_S: Final = 60.0
_KEY: Final = f"/{USED}"


class Table(Protocol):
    """What is asked of a table of Kafka's."""

    def follow(self, timeout_s: float = 0.0) -> Mapping[str, Any]: ...
    def close(self) -> None: ...


class Fellows:
    """
    Of one process. Does nothing where there is no budget.

    Args:
        budgets: Returns those of this process; asked once it has begun.
        entries: Where they are stored.
        ordinal: Of this process, where several of its connector use the side at the same time; "" for the only one.
        open_table: What is stored, as connector/partition -> position.
    """

    def __init__(
        self,
        budgets: Callable[[], Sequence[SharedBudget]] | None,
        connector: str,
        entries: OffsetStore,
        open_table: Callable[[], Table],
        *,
        ordinal: str = "",
        every_s: float = EVERY_S,
    ) -> None:
        self._budgets, self._connector, self._entries = budgets, connector, entries
        self._open_table, self._ordinal, self._every_s = open_table, ordinal, every_s
        self._store_time = Every(every_s)
        self._closing = Event()

    @classmethod
    def of(
        cls, instance: Instance, entries: OffsetStore, task: SourceTask | SinkTask, *, ordinal: str = ""
    ) -> Fellows:
        """Those of an instance."""
        budgets = task.budgets if isinstance(task, HasBudgets) else None
        return cls(
            budgets,
            instance.connector,
            entries,
            partial(_Loaded, instance, entries),
            ordinal=ordinal,
            every_s=EVERY_S,
        )

    def begin(self) -> None:
        """Begin to follow."""
        if self._budgets is not None:
            Thread(target=self._run, name="fellows", daemon=True).start()

    def close(self) -> None:
        """End the thread; return at once. Idempotent."""
        self._closing.set()

    def outputs(self) -> list[Output]:
        """This process' part, now and then, if it has changed."""
        if self._budgets is None or not self._store_time.due():
            return []
        end = f"/{self._ordinal}" if self._ordinal else ""
        used = {f"{USED}{each.name}{end}": each.to_store() for each in self._budgets()}
        return [
            self._entries.output(self._connector, partition, position)
            for partition, position in used.items()
            if position is not None
        ]

    def take(self, changed: Mapping[str, Any]) -> None:
        """Give the budgets what was stored."""
        budgets = {} if self._budgets is None else {each.name: each for each in self._budgets()}
        for key, position in changed.items():
            connector, _, part = key.partition(_KEY)
            name, _, ordinal = part.partition("/")
            is_own = (connector, ordinal) == (self._connector, self._ordinal)
            if name in budgets:
                budgets[name].take("" if is_own else f"{connector}/{ordinal}", position)

    def _run(self) -> None:
        table: Table | None = None
        while not self._closing.is_set():
            try:
                table = table or self._open_table()
                self.take(table.follow())
            except Exception as error:  # noqa: BLE001 - Kafka cannot be asked now: it is asked again
                log.info("fellows_not_followed", error=type(error).__name__, reason=str(error))
                if table is not None:
                    table.close()
                    table = None
            self._closing.wait(self._every_s)
        if table is not None:
            table.close()


class _Used:
    """The keys of what was used."""

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and _KEY in key


class _Loaded:
    """A table that was read to its end: the first call gives all of it."""

    def __init__(self, instance: Instance, entries: OffsetStore) -> None:
        self._is_new = True
        self._table = tables.Table(instance.clients, entries.topic, entries.serde.decode, only=_Used())
        try:
            self._table.load()
        except BaseException:
            self._table.close()
            raise

    def follow(self, timeout_s: float = 0.0) -> Mapping[str, Any]:
        changed = self._table.follow(timeout_s)
        if self._is_new:
            self._is_new = False
            return dict(self._table.rows)
        return changed

    def close(self) -> None:
        self._table.close()
