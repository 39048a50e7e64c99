"""
The settings of a process that may change while it runs, in objects that its parts share. So a change counts for all of them at once,
and what is built later begins with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from salmon.config.live import with_live_of
from salmon.config.models import ObjectConfig, SyncConfig
from salmon.config.sections.deletions import DeleteGuardConfig
from salmon.plugin.contract import HasBudgets
from salmon.plugin.marks import TakesSettings


class Live:
    """
    Attributes:
        config: What counts now.
        shown: The configuration as the REST server shows it.
        tolerance: What is tolerated of records that fail.
        objects: Object -> its settings. Their entries are replaced when they change.
    """

    def __init__(self, config: SyncConfig, log_level: str | None = None) -> None:
        """*log_level*: the one that was given at the command line, and counts whatever the configuration says."""
        self.config, self._log_level = config, log_level
        self.shown: Final[dict[str, str]] = {}
        self.tolerance: Final = config.errors.tolerated()
        self.objects: Final = dict(config.objects)
        self._guards: dict[str, DeleteGuardConfig] = {}
        self._graces: dict[str, float] = {}
        self._tasks: list[tuple[str, Any]] = []

    @property
    def log_level(self) -> str:
        return self._log_level or self.config.log.level

    def objects_of(self, side: str) -> Mapping[str, ObjectConfig]:
        """Those that a side has. Of a side that has all, the very mapping, whose entries are replaced."""
        its = self.config.objects_of(side)
        return self.objects if len(its) == len(self.objects) else {name: self.objects[name] for name in its}

    def guards_of(self, objects: Iterable[str]) -> dict[str, DeleteGuardConfig]:
        """Object -> the limits for its deletes."""
        self._guards |= {name: self.objects[name].delete_guard for name in objects}
        return self._guards

    def graces_of(self, objects: Iterable[str]) -> dict[str, float]:
        """Object -> for how many seconds its deletions wait."""
        self._graces |= {name: self.objects[name].deletes.grace_s for name in objects}
        return self._graces

    def watch(self, side: str, task: object) -> None:
        """Give a task the settings of its side whenever they change."""
        self._tasks.append((side, task))
        self._give(side, task)  # they may have changed since it was made

    def take(self, config: SyncConfig) -> None:
        """Let those settings of *config* count that may change while the process runs. Nothing here can fail half-way."""
        self.config = with_live_of(self.config, config)
        self.tolerance.take(self.config.errors.tolerated())
        self.objects.update(self.config.objects)
        self.guards_of(list(self._guards))
        self.graces_of(list(self._graces))
        for side, task in list(self._tasks):
            self._give(side, task)

    def _give(self, side: str, task: object) -> None:
        budgets = task.budgets() if isinstance(task, HasBudgets) else ()
        for each in (task, *budgets):
            if isinstance(each, TakesSettings):
                each.take_settings(self.config.settings_of(side))
