"""
The further sides: is each one's package complete, can its system be reached, and what can be said of it afterwards.

What a system needs, only its package knows: a task that offers connect() is asked to, as the worker does before it is started. Nothing
is started, so nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from salmon.config.models import SyncConfig
from salmon.doctor.checks import Check, Line, ok, warn
from salmon.errors import SalmonError
from salmon.plugin.contract import Connects, SinkTask, SourceTask
from salmon.plugin.showing import ShowsRecords
from salmon.runtime import discovery


class SideChecks:
    """
    The checks of one further side.

    Args:
        config: The sync.
        side: Its name.
    """

    def __init__(self, config: SyncConfig, side: str) -> None:
        self._config, self._side = config, side

    def checks(self) -> Sequence[Check]:
        """One of each task, and one of what the sync does with the side."""
        name = f"sides.{self._side}"
        return (
            Check(f"{name}.objects", f"{self._side}: objects", self._objects),
            Check(f"{name}.source", f"{self._side}: source", self._source),
            Check(f"{name}.sink", f"{self._side}: sink", self._sink),
        )

    def _objects(self) -> Iterator[Line]:
        name, what = f"sides.{self._side}.objects", f"{self._side}: objects"
        if objects := self._config.objects_of(self._side):
            yield ok(name, what, f"It has {', '.join(objects)}.")
        else:
            yield warn(
                name,
                what,
                "It has none of the objects: all of them have a direction, or leave it out of `sides`.",
                f"Add {self._side} to `sides` of an object, or remove it from the top-level `sides`.",
            )

    def _source(self) -> Iterator[Line]:
        make, config = discovery.source_factory(self._side), self._config
        task = make(config.settings_of(self._side), config.objects_of(self._side), config.name)
        shows = "can" if isinstance(task, ShowsRecords) else "cannot"
        yield self._reached("source", task, f"`salmon verify` {shows} compare its records.")

    def _sink(self) -> Iterator[Line]:
        make, config = discovery.sink_factory(self._side), self._config
        task = make(config.settings_of(self._side), config.objects_of(self._side), config.name)
        is_guarded = discovery.side_plugin(self._side).guarded
        rest = "It never overwrites with an older write" if is_guarded else "It may repeat an older write"
        yield self._reached("sink", task, f"{rest}.")

    def _reached(self, kind: str, task: SourceTask | SinkTask, rest: str) -> Line:
        """Ask a task to connect, if it can before it is started. Raises what the task raises; see doctor.checks."""
        name, what = f"sides.{self._side}.{kind}", f"{self._side}: {kind}"
        if not isinstance(task, Connects):
            return ok(
                name,
                what,
                f"It is installed; it cannot say before it runs whether it reaches its system. {rest}",
            )
        try:
            task.connect()
        finally:
            with suppress(SalmonError):
                task.stop()
        return ok(name, what, f"It is installed, and reaches its system. {rest}")
