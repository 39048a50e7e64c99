"""
The stream of change events, within the budget of event deliveries.

The org delivers so many events in 24 hours, to all subscribers together. Beyond that it delivers none, and what it does not deliver
within 72 hours is lost. So before a load that would exhaust the budget, the stream makes a planned hole: it is closed until the load
is over. Then it either goes on where it stopped, if what has waited is little, or it takes a new position and everything
is read again, as after any hole. Meanwhile all records are read every hour, as far as there are API calls for that.

That the stream rests is stored, with the position that it had: a restart lets it rest on. The new position is settled before
the old one is given up, so a kill at any moment loses neither. What shows a load is counted by queries (one for each object), only
while less than half of the budget is left, and at most every ten minutes.
Sources: "Platform Event Allocations", "Change Data Capture Allocations"; REST API Developer Guide, "Limits" (up to 5 minutes old).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import structlog

from salmon.errors import PositionLost, RequestRejected
from salmon.plugin.contract import Position, Signal, SignalKind, WaitingObject
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.own_requests import OwnRequests
from salmon.salesforce.reading.stream.subscription import Ended, Preset, Received, Start, Stream
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.budget import Budget, Level, Urgency
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.limits import read_limits

log = structlog.get_logger(__name__)

ALLOWANCE: Final = "DailyDeliveredPlatformEvents"
PLACE: Final = "resting"  # the partition of the source's position that says that the stream rests
EVERY_S: Final = 600.0  # each look at the limits is one API call
READ_EVERY_S: Final = 3600.0
LOAD_S: Final = 6 * 3600.0  # what lasts for longer than this may be over by then
CALM_S: Final = (
    3 * 3600.0
)  # the budget must last for so long at the pace of the last look, for the stream to go on
STREAM: Final = "stream"  # see feed


class Org(Protocol):
    """What is asked of Rest."""

    clock: OrgClock

    def ask(self, method: str, below: str, *, resource: str) -> Any: ...
    def look_at_clock(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look has found: records changed since the stream was last read to its end, and since the look before."""

    waiting: int | None = None
    changing_per_s: float | None = None


class Deliveries:
    """
    Opens the stream for the feed, and lets it rest where it must. One thread calls it; it looks at the org from its own.

    Args:
        budget: Of deliveries. *calls*: of API calls.
        objects: Those that have events and are read as a whole.
        subscribe: Opens a subscription.
        stored: The position under PLACE. *caught_up*: when the latest event was committed that is reported, in ms.
        wake: Called when a look has found something.
    """

    def __init__(
        self,
        org: Org,
        budget: Budget,
        calls: Budget,
        objects: Collection[str],
        subscribe: Callable[[Start], Stream],
        *,
        stored: Position | None = None,
        caught_up: int = 0,
        wake: Callable[[], None] = lambda: None,
        every_s: float = EVERY_S,
        read_every_s: float = READ_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._org, self._budget, self._calls = org, budget, calls
        self._objects, self._subscribe, self._wake = objects, subscribe, wake
        self._every_s, self._read_every_s, self._clock = every_s, read_every_s, clock
        self._caught_up = caught_up
        self._why: str = stored["why"] if stored else ""  # why the stream rests; "" while it does not
        self._since_s = clock()
        self._is_stored = bool(stored)
        self._goes_on_elsewhere = False  # whether the new position is not stored yet
        self._stream: _Metered | None = None
        self._settling: Stream | None = None  # the new position's, after a planned hole
        self._is_giving_up = False
        self._found: _Look | None = None
        self._count_at_s = self._read_at_s = clock()
        self._requests: OwnRequests[None] = OwnRequests()
        self._looked_at = 0  # ms by the org's clock
        self._is_visible = True
        self._due = threading.Event()
        self._closing = threading.Event()

    def begin(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="deliveries", daemon=True).start()

    # The feed's view.

    def open(self, start: Start) -> Stream:
        """The stream from *start* on; it rests at once if it rested before the restart."""
        settled, self._settling = self._settling, None
        if start is Preset.LATEST and settled is not None:
            self._end_rest("it goes on at a new position, and everything is read again")
            self._is_giving_up, self._goes_on_elsewhere = False, True
            self._stream = _Metered(self, settled, start)
        elif isinstance(start, bytes) and self._why:
            self._stream = _Metered(self, None, start)
        else:
            self._why = ""
            self._stream = _Metered(self, self._subscribe(start), start)
        return self._stream

    def took(self, received: Received) -> None:
        """The feed has taken a response."""
        if received.events:
            self._budget.use(len(received.events))

    def is_caught_up(self) -> None:
        """The feed has taken all that came."""
        if not self._why:
            self._caught_up = max(self._caught_up, self._org.clock.covered or 0)

    def lost(self) -> Ended | None:
        """What the stream ends with once its position is given up, and the new one stands."""
        if not self._is_giving_up or self._settling is None:
            return None
        head = self._settling.peek()
        if isinstance(head, Ended):
            log.warning("new_position_not_taken", error=str(head.error))
            self._is_giving_up, self._settling = False, None  # the next look tries again
            return None
        if head is None:
            return None
        return Ended(PositionLost("the stream was closed by plan, before a load that would have used it up."))

    # The source's view.

    def turn(self, request: Callable[[Signal], None], harvest: Harvest) -> None:
        """Let the stream rest or go on; store which; have everything read now and then while it rests."""
        found, self._found = self._found, None
        if self._why:
            self._turn_resting(found, request)
        else:
            self._turn_flowing(found)
        self._requests.answered(harvest)
        # The new position and that the stream does not rest any more are stored at once, or neither is.
        self._goes_on_elsewhere &= STREAM not in harvest.positions
        if bool(self._why) != self._is_stored and not self._goes_on_elsewhere:
            self._is_stored = bool(self._why)
            harvest.positions[PLACE] = {"why": self._why} if self._why else None

    def waiting(self) -> list[WaitingObject]:
        """That the stream rests, and why."""
        if not self._why:
            return []
        return [
            WaitingObject(
                "change events",
                self._clock() - self._since_s,
                f"The stream of change events is closed by plan: {self._why}. All records are read every"
                f" {self._read_every_s / 3600:.0f} h meanwhile. It is opened by itself when the load is over and event deliveries"
                f" are left ({max(0, self._budget.left or 0):,} now), and everything is read again if much has happened. To have it open"
                " sooner, order more event deliveries from Salesforce, or set salesforce.event_budget.share higher.",
            )
        ]

    def note(self) -> str:
        """What a person should know, though all is well."""
        if not self._is_visible:
            return (
                "How many event deliveries are left is not shown to the integration user, so a load may use them up. Give it"
                " View Setup and Configuration."
            )
        return "" if self._why else self._budget.note()

    def close(self) -> None:
        """End the thread; return at once."""
        self._closing.set()
        self._due.set()
        if (settling := self._settling) is not None:
            settling.close()

    # While it flows.

    def _turn_flowing(self, found: _Look | None) -> None:
        left, stream = self._budget.left, self._stream
        if left is None or stream is None or stream.place is None:
            return
        if left <= 0:
            self._rest(stream, "the budget of event deliveries (salesforce.event_budget) is used up")
        elif found is not None and found.waiting is not None and found.waiting > left:
            self._rest(
                stream,
                f"{found.waiting:,} records have changed whose events have not come, and {left:,} event deliveries are left of"
                " salesforce.event_budget",
            )
        elif self._is_in_danger() and self._clock() - self._count_at_s >= self._every_s:
            self._due.set()

    def _is_in_danger(self) -> bool:
        forecast_s = self._budget.forecast_s
        return self._budget.level >= Level.HALF and forecast_s is not None and forecast_s < LOAD_S

    def _rest(self, stream: _Metered, why: str) -> None:
        log.warning("stream_rests", why=why, left=self._budget.left)
        self._why, self._since_s = why, self._clock()
        self._read_at_s = self._clock()
        stream.rest()

    # While it rests.

    def _turn_resting(self, found: _Look | None, request: Callable[[Signal], None]) -> None:
        if (
            found is not None
            and self._stream is not None
            and self._settling is None
            and self._may_go_on(found)
        ):
            left = self._budget.left or 0
            if found.waiting is not None and found.waiting <= left // 2:
                self._end_rest("it goes on where it stopped")
                self._stream.go_on(self._subscribe)
            else:
                self._settling, self._is_giving_up = self._subscribe(Preset.LATEST), True
        if self._clock() - self._read_at_s >= self._read_every_s and not self._requests:
            if not self._calls.may(Urgency.LATER):
                return
            self._read_at_s = self._clock()
            for name in sorted(self._objects):
                self._requests.ask(request, None, SignalKind.SNAPSHOT, name, reason="the event stream rests")

    def _may_go_on(self, found: _Look) -> bool:
        left = self._budget.left
        if left is None or self._budget.level >= Level.TENTH or found.changing_per_s is None:
            return False
        return found.changing_per_s * CALM_S <= left

    def _end_rest(self, how: str) -> None:
        log.warning("stream_goes_on", how=how, rested_s=round(self._clock() - self._since_s))
        self._why = ""

    # Looking, from its own thread.

    def _run(self) -> None:
        while not self._closing.is_set():
            self.look()
            self._due.wait(self._every_s)
            self._due.clear()

    def look(self) -> None:
        """Look once what is left, and at what has changed where that matters; the next turn takes it."""
        try:
            self._found = self._seen()
        except RequestRejected as error:
            if self._is_visible:
                log.info("deliveries_not_visible", code=error.code)
            self._is_visible = False
        except Exception as error:  # noqa: BLE001 - the org cannot be asked now: it is asked again
            log.info("deliveries_not_looked_at", error=type(error).__name__, reason=str(error))
        else:
            self._wake()

    def _seen(self) -> _Look:
        limit = read_limits(self._org).get(ALLOWANCE)
        if limit is None:
            raise RequestRejected("the limits resource does not show event deliveries", code="NOT_SHOWN")
        self._is_visible = True
        self._budget.saw(limit.most - limit.left, limit.most)
        resting = bool(self._why)
        if not resting and not self._is_in_danger():
            return _Look()
        self._count_at_s = self._clock()
        self._org.look_at_clock()
        now, before = self._org.clock.covered or 0, self._looked_at
        changing = self._changed_since(before) if resting and before else None
        self._looked_at = now
        per_s = None if changing is None else changing / max(1.0, (now - before) / 1000)
        return _Look(self._changed_since(self._caught_up), per_s)

    def _changed_since(self, since: int) -> int:
        count = 0
        for name in self._objects:
            text = f"SELECT COUNT() FROM {name} WHERE SystemModstamp >= {soql.moment(since)}"
            answer = self._org.ask("GET", f"query?{urlencode({'q': text})}", resource="query")
            count += int(answer["totalSize"])
        return count


class _Metered:
    """A stream as the feed has it: what it takes is counted, and it can rest."""

    def __init__(self, deliveries: Deliveries, inner: Stream | None, start: Start) -> None:
        self._deliveries, self._inner = deliveries, inner
        self._is_resting = inner is None
        self.place = start if isinstance(start, bytes) else None  # the replay id after which it goes on

    def peek(self) -> Received | Ended | None:
        """See Stream. What had come before it rests is still taken: it has been counted by the org."""
        head = None if self._inner is None else self._inner.peek()
        if self._is_resting:
            if isinstance(head, Received):
                return head
            self._inner = None
            return self._deliveries.lost()
        if head is None:
            self._deliveries.is_caught_up()
        return head

    def pop(self) -> None:
        """See Stream."""
        if self._inner is None:
            return
        if isinstance(head := self._inner.peek(), Received):
            self._deliveries.took(head)
            self.place = head.place or self.place
        self._inner.pop()

    def rest(self) -> None:
        """Bring nothing any more."""
        self._is_resting = True
        if self._inner is not None:
            self._inner.close()

    def go_on(self, subscribe: Callable[[Start], Stream]) -> None:
        """Go on after the last response that was taken."""
        assert self.place is not None
        self._inner, self._is_resting = subscribe(self.place), False

    def close(self) -> None:
        """See Stream."""
        if self._inner is not None:
            self._inner.close()
