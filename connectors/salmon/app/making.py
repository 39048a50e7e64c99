"""Makes the task of a connector and the worker around it. A process imports the worker that it runs, and no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from salmon.app.events import listening, reading_outboxes, with_events
from salmon.app.live import Live
from salmon.plugin.contract import SinkTask, SourceTask
from salmon.runtime import discovery
from salmon.runtime.instance import Instance
from salmon.runtime.lifecycle import Part


@dataclass(frozen=True)
class Making:
    """
    Args:
        watch: Is called with the side and the task, before the worker is made.
        was_reached: The side was reached before, so a worker waits for it as in any outage.
    """

    live: Live
    instance: Instance
    watch: Callable[[str, SourceTask | SinkTask], None]
    was_reached: bool

    def source(self) -> Part:
        """The worker of a source."""
        from salmon.source.worker import FIRST_CONTACT_MAX_S, SourceWorker

        config, side = self.live.config, self.instance.side
        source = discovery.source_factory(side)(
            config.settings_of(side), self.live.objects_of(side), config.name
        )
        source = listening(source, config)
        self.watch(side, source)
        objects = config.objects_of(side)
        return SourceWorker(
            self.instance,
            source,
            tuple(objects),
            reading_outboxes(config, self.instance),
            match=[name for name, each in objects.items() if each.match is not None],
            first_contact_max_s=math.inf if self.was_reached else FIRST_CONTACT_MAX_S,
        )

    def sink(self, direction: str, schemas: Callable[[], Mapping[str, Any]]) -> Part:
        """
        The worker of a sink.

        Args:
            direction: Of the objects that it writes, beside those that are synced both ways.
            schemas: Waits for them.
        """
        from salmon.sink.worker import FIRST_CONTACT_MAX_S, SinkWorker

        config, side = self.live.config, self.instance.side
        sink = discovery.sink_factory(side)(config.settings_of(side), self.live.objects_of(side), config.name)
        self.watch(side, sink)
        objects = config.objects_of(side)
        written = [name for name, each in objects.items() if each.direction in ("both", direction)]
        worker = SinkWorker(
            self.instance,
            sink,
            schemas(),
            written,
            unread=[name for name in written if objects[name].direction == direction],
            guards=self.live.guards_of(written),
            graces=self.live.graces_of(written),
            first_contact_max_s=math.inf if self.was_reached else FIRST_CONTACT_MAX_S,
        )
        return with_events(worker, config, self.instance)
