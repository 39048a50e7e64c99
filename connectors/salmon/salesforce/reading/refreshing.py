"""
Fields that no event reports (formulas, roll-ups, derived names and dates): when the records are read again for them.

Two ways, which meet: the whole object on a schedule (a run, see snapshot_runs), and records that events named a while before,
a batch at a time. The second is in memory alone, and bounded: what it forgets, the schedule finds. Neither is begun while the org
has few API calls left: nobody's edit waits for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from salmon.model.change import Op
from salmon.plugin.contract import Signal, SignalKind
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.own_requests import OwnRequests
from salmon.salesforce.reading.stream.events import RETURNS
from salmon.salesforce.wire.batches import IDS_A_QUERY

WAITING_MAX: Final = 5_000  # records of an object


class Intervals(Mapping[str, float]):
    """
    Object -> every how many seconds, as the configuration has it now; infinity: never.

    Args:
        every_s: Returns it; None: never.
    """

    def __init__(self, objects: Iterable[str], every_s: Callable[[str], float | None]) -> None:
        self._objects, self._every_s = dict.fromkeys(objects), every_s

    def __getitem__(self, name: str) -> float:
        if name not in self._objects:
            raise KeyError(name)
        every_s = self._every_s(name)
        return math.inf if every_s is None else every_s

    def __iter__(self) -> Iterator[str]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)


class AfterEvents:
    """
    Has records read again some time after their events. For one thread.

    Args:
        every_s: Object -> seconds between two batches.
        unreported: Object -> its fields that no event reports.
        spare: Whether there are API calls for it.
    """

    def __init__(
        self,
        every_s: Mapping[str, float],
        unreported: Mapping[str, frozenset[str]],
        *,
        spare: Callable[[], bool],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every_s, self._spare, self._monotonic_s = every_s, spare, monotonic_s
        self._unreported = unreported
        self._waiting: dict[str, dict[str, None]] = {
            name: {} for name in every_s
        }  # in the order of their events
        self._due_at_s: dict[str, float] = {}
        self._requests: OwnRequests[None] = OwnRequests()

    def turn(self, request: Callable[[Signal], None], harvest: Harvest) -> None:
        """Note the records of the harvest's events, and request those whose turn it is."""
        now_s = self._monotonic_s()
        for record in harvest.records:
            waiting, change = self._waiting.get(record.object), record.change
            if waiting is None or not change.is_event or change.op is Op.DELETE or not change.native_id:
                continue
            if change.source.get("change_type") == RETURNS:
                continue  # its row is on its way
            if change.changed is not None and change.changed >= self._unreported[record.object]:
                waiting.pop(change.native_id, None)  # the channel is enriched by them
                continue
            if (every_s := self._every_s[record.object]) == math.inf:
                continue
            if not waiting:
                self._due_at_s.setdefault(record.object, now_s + every_s)
            waiting[change.native_id] = None
            if len(waiting) > WAITING_MAX:
                del waiting[next(iter(waiting))]
        for name, planned_s in list(self._due_at_s.items()):
            # A shorter interval counts for what waits already.
            self._due_at_s[name] = due_at_s = min(planned_s, now_s + self._every_s[name])
            if now_s >= due_at_s:
                self._request(name, request)
        self._requests.answered(harvest)

    def _request(self, name: str, request: Callable[[Signal], None]) -> None:
        del self._due_at_s[name]
        waiting = self._waiting[name]
        if not self._spare():
            waiting.clear()
            return
        ids = list(waiting)[:IDS_A_QUERY]
        for native_id in ids:
            del waiting[native_id]
        self._requests.ask(
            request, None, SignalKind.READ, name, native_ids=tuple(ids), reason="no event reports all fields"
        )
        if waiting:
            self._due_at_s[name] = self._monotonic_s() + self._every_s[name]
