"""
All that is read again and again: polls, the search for what is gone, the fields that no event reports, and what is left of the
org's allowances. Put together here, for the source task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from salmon.plugin.contract import USED, Position, Signal, WaitingObject
from salmon.salesforce.catalog import ObjectConfig, SyncedObject, is_polled
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.deliveries import PLACE, STREAM, Deliveries
from salmon.salesforce.reading.doubts import Doubts, of_object
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.polling import NoEvents
from salmon.salesforce.reading.refreshing import AfterEvents, Intervals
from salmon.salesforce.reading.sight import Sight
from salmon.salesforce.reading.snapshot_runs import Schedule
from salmon.salesforce.reading.stream.subscription import Start, Stream
from salmon.salesforce.reading.vanished import Vanished
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.reading.whole.snapshot import Snapshots
from salmon.salesforce.troubles import Troubles
from salmon.salesforce.wire.administration import Administration
from salmon.salesforce.wire.budget import Budget, Urgency
from salmon.salesforce.wire.rest import Rest

KeysOf = Callable[[str], Collection[str]]
_STORE_EVERY_S: Final = 60.0


class Recurring:
    """
    What recurs over one connection.

    Args:
        keys_of: Returns the keys of the records of an object that are agreed to exist.
        wake: Is called when something was read.
        deliveries: The budget of event deliveries.
        subscribe: Opens the subscription to change events.
        hears_changes: Whether any object of the sync has change events; those that are held count, too.

    Attributes:
        schedule, doubts: For the feed.
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
        deliveries: Budget,
        subscribe: Callable[[Start], Stream],
        hears_changes: bool,
    ) -> None:
        self._budgets, self._stored_at_s = (rest.budget, deliveries), time.monotonic()
        for each in self._budgets:
            each.restore(positions.get(f"{USED}{each.name}"))
        # What waits to be matched is not among the objects. The intervals may change meanwhile.
        polled = Intervals(
            [name for name in objects if is_polled(configured[name])],
            lambda name: configured[name].capture.every_s,
        )
        # The target of a one-way object is not asked what it has.
        read = [name for name in objects if configured[name].direction != "to_salesforce"]
        self._polls = Snapshots(rest, readers, wake=wake, troubles=troubles) if polled else None
        sight = Sight(rest, Administration(rest).sees_all, again_s=troubles.again_s)
        self.doubts = Doubts(
            sight, {name: each for name, each in positions.items() if of_object(name) in objects}
        )
        self._vanished = Vanished(
            rest,
            readers,
            identity,
            polled.keys() & set(read),
            positions,
            keys_of=keys_of,
            wake=wake,
            eventful=set(read) - polled.keys(),
            may=lambda: rest.budget.may(Urgency.SPARE),
            may_compare=self.doubts.may_compare,
        )
        unreported = {name: fields for name in read if (fields := objects[name].schema.unreported)}
        often = Intervals(unreported, lambda name: configured[name].refresh.every_s)
        soon = Intervals(
            [name for name in unreported if name not in polled],
            lambda name: configured[name].refresh.after_events_s,
        )
        self._after_events = AfterEvents(soon, unreported, spare=lambda: rest.budget.may(Urgency.SPARE))
        self.schedule = Schedule(polled, self._polls, often, lambda: rest.budget.may(Urgency.SPARE))
        stream = positions.get(STREAM, {})
        self._has_place = bool(stream)
        self._deliveries = None
        if hears_changes:
            self._deliveries = Deliveries(
                rest,
                deliveries,
                rest.budget,
                set(read) - polled.keys(),
                subscribe,
                stored=positions.get(PLACE),
                caught_up=stream.get("commit_time", 0),
                wake=wake,
            )
            self._deliveries.begin()
        self._vanished.begin()

    def open_stream(self, start: Start) -> Stream:
        """The stream of change events."""
        return NoEvents() if self._deliveries is None else self._deliveries.open(start)

    def turn(self, request: Callable[[Signal], None], harvest: Harvest) -> None:
        """Request what is to be read again, and take what *harvest* answers of it."""
        self._vanished.turn(request, harvest)
        self._after_events.turn(request, harvest)
        if self._deliveries is not None:
            self._deliveries.turn(request, harvest)
        self._store_what_was_used(harvest)

    def _store_what_was_used(self, harvest: Harvest) -> None:
        # Not before the stream's place: positions without one are those of a place that was lost.
        self._has_place |= STREAM in harvest.positions
        if not self._has_place or time.monotonic() - self._stored_at_s < _STORE_EVERY_S:
            return
        self._stored_at_s = time.monotonic()
        for each in self._budgets:
            if (used := each.to_store()) is not None:
                harvest.positions[f"{USED}{each.name}"] = used

    def waiting(self) -> Sequence[WaitingObject]:
        """The objects whose polls fail, and what waits for an allowance of the org."""
        polls = [] if self._polls is None else self._polls.waiting()
        stream = [] if self._deliveries is None else self._deliveries.waiting()
        return [*polls, *self._budgets[0].waiting(), *stream]

    def note(self) -> str:
        """What a person should know of the allowances, though all is well."""
        notes = [self._budgets[0].note(), "" if self._deliveries is None else self._deliveries.note()]
        return " ".join(filter(None, notes))

    def close(self) -> None:
        """End the threads that the feed does not; return at once."""
        self._vanished.close()
        if self._deliveries is not None:
            self._deliveries.close()
