"""
All that is read again and again: polls, the search for what is gone, and the fields that no event reports. Put together here, for
the source task.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from salmon.plugin.contract import Position, Signal, WaitingObject
from salmon.salesforce.catalog import ObjectConfig, SyncedObject, is_polled
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.refreshing import AfterEvents, has_unreported, may_be_spent
from salmon.salesforce.reading.rows import RowReader
from salmon.salesforce.reading.snapshot import Snapshots
from salmon.salesforce.reading.snapshot_runs import Schedule
from salmon.salesforce.reading.vanished import Vanished
from salmon.salesforce.troubles import Troubles
from salmon.salesforce.wire.rest import Rest

KeysOf = Callable[[str], Collection[str]]


class Recurring:
    """
    What recurs over one connection.

    Args:
        keys_of: Returns the keys of the records of an object that are agreed to exist.
        wake: Is called when something was read.

    Attributes:
        schedule: For the feed.
    """

    def __init__(
        self,
        rest: Rest,
        configured: Mapping[str, ObjectConfig],
        objects: Mapping[str, SyncedObject],
        readers: Mapping[str, RowReader],
        *,
        identity: Identity,
        positions: Mapping[str, Position],
        keys_of: KeysOf,
        wake: Callable[[], None],
        troubles: Troubles,
    ) -> None:
        # What waits to be matched is not among the objects.
        configured = {name: configured[name] for name in objects}
        polled = {name: each.capture.every_s for name, each in configured.items() if is_polled(each)}
        # The target of a one-way object is not asked what it has.
        read = [name for name, each in configured.items() if each.direction != "to_salesforce"]
        self._polls = Snapshots(rest, readers, wake=wake, troubles=troubles) if polled else None
        self._vanished = Vanished(
            rest,
            readers,
            identity,
            polled.keys() & set(read),
            positions,
            keys_of=keys_of,
            wake=wake,
            eventful=set(read) - polled.keys(),
        )
        unreported = [name for name in read if has_unreported(objects[name].schema)]
        often = {name: configured[name].refresh.every_s for name in unreported}
        soon = {name: configured[name].refresh.after_events_s for name in unreported if name not in polled}
        self._after_events = AfterEvents(_given(soon), spare=lambda: may_be_spent(rest.usage))
        self.schedule = Schedule(polled, self._polls, _given(often), lambda: may_be_spent(rest.usage))
        self._vanished.begin()

    def turn(self, request: Callable[[Signal], None], harvest: Harvest) -> None:
        """Request what is to be read again, and take what *harvest* answers of it."""
        self._vanished.turn(request, harvest)
        self._after_events.turn(request, harvest)

    def waiting(self) -> Sequence[WaitingObject]:
        """The objects whose polls fail."""
        return [] if self._polls is None else self._polls.waiting()

    def close(self) -> None:
        """End the threads that the feed does not; return at once."""
        self._vanished.close()


def _given(every_s: Mapping[str, float | None]) -> dict[str, float]:
    return {name: seconds for name, seconds in every_s.items() if seconds is not None}
