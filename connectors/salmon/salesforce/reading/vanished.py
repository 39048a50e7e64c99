"""
Records that are gone for good, and that no event reports: polls, and reading an object again after a hole in its events, find
deletions in the recycle bin, and these are not in it any more.

Of polled objects, once an hour, the org's log of deletions is asked (getDeleted, one call). It says since when it is complete, because what is deleted
for good leaves it, too; where it is not complete, reaches back less far (15 days), or the org has none for the object, all
Ids of the org are compared with the records that are agreed to exist: at most once a day, one call for 2,000 records. Either way,
what is found is a suspicion alone: those records are read again, like those of any request, and that is what is reported.
Of an object with events, the same is done once after each hole, when it has been read again, for the time of the hole.

The position is stored when they are answered. So a kill costs another look, and without a position everything is compared. That a
hole is to be looked into is stored with the hole.
Sources: REST API Developer Guide, "sObject Get Deleted"; SOAP API Developer Guide, "GetDeletedResult".
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import Final, Protocol

import structlog

from salmon.errors import RequestRejected, Unavailable
from salmon.plugin.contract import Position, Signal, SignalKind
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.own_requests import OwnRequests
from salmon.salesforce.reading.polling import REACH_MS
from salmon.salesforce.reading.sight import mend
from salmon.salesforce.reading.snapshot_runs import partition_of
from salmon.salesforce.reading.whole.rows import RowReader
from salmon.salesforce.reading.whole.run import Why
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.batches import IDS_A_QUERY, batches
from salmon.salesforce.wire.budget import Urgency, during
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.rest import Deleted, Page

log = structlog.get_logger(__name__)

EVERY_S: Final = 3600.0
AGAIN_S: Final = 60.0  # after a failure
PORTION: Final = 2_000  # records that are requested to be read at a time
COMPARE_EVERY_MS: Final = 86_400_000
_WINDOW_MS: Final = 2 * 60_000  # the log answers for whole minutes
_PLACE: Final = "deleted/"  # and the object's name: the partition of the source's position


class Org(Protocol):
    """What is asked of Rest."""

    clock: OrgClock

    def look_at_clock(self) -> None: ...
    def pages(self, text: str, *, deleted: bool = False) -> Iterator[Page]: ...
    def deleted(self, name: str, start_ms: int, end_ms: int) -> Deleted: ...


@dataclass(frozen=True, slots=True)
class _Found:
    """
    Records that seem to be gone; and up to when deletions are known, when these are answered. *hole*: the number of the hole that was
    looked into, where it was one. There may be many: they are requested in portions.
    """

    name: str
    keys: Sequence[str]
    native_ids: Sequence[str]
    place: Position | None
    hole: int = 0


class Vanished:
    """
    Looks from a thread of its own, at once and then every *every_s* seconds, from `begin` on.

    Args:
        objects: The polled objects.
        eventful: The objects with events that are read as a whole.
        positions: As they were stored.
        keys_of: Returns the keys of the records of an object that are agreed to exist.
        may: Whether the org has API calls left for what can wait.
        may_compare: Whether the user sees all records of an object: if not, one that is not shown may exist.
        wake: Is called when something was found.
    """

    def __init__(
        self,
        org: Org,
        readers: Mapping[str, RowReader],
        identity: Identity,
        objects: Collection[str],
        positions: Mapping[str, Position],
        *,
        keys_of: Callable[[str], Collection[str]],
        eventful: Collection[str] = (),
        may: Callable[[], bool] = lambda: True,
        may_compare: Callable[[str], bool] = lambda _: True,
        wake: Callable[[], None] = lambda: None,
        every_s: float = EVERY_S,
    ) -> None:
        self._org, self._readers, self._identity = org, readers, identity
        self._keys_of, self._wake, self._every_s = keys_of, wake, every_s
        self._may, self._may_compare = may, may_compare
        self._places = {name: positions.get(f"{_PLACE}{name}", {}) for name in objects}
        self._found: queue.SimpleQueue[_Found] = queue.SimpleQueue()
        self._requests: OwnRequests[_Found] = OwnRequests()
        self._portions: dict[
            str, tuple[_Found, int]
        ] = {}  # what was found of an object, and how much of it is requested
        self._unanswered: set[str] = set()  # objects of which something was found that is not reported yet
        self._under_way: set[str] = set()  # objects of which a portion is not answered yet
        self._eventful = frozenset(eventful)
        # Objects with holes that nobody has looked into -> since when they last; those of them that have been read again.
        self._holes: dict[str, int] = {
            name: int(positions[f"{_PLACE}{name}"]["hole"])
            for name in self._eventful
            if "hole" in (positions.get(f"{_PLACE}{name}") or ())
        }
        self._read_again = {
            name for name in self._holes if (positions.get(partition_of(name)) or {}).get("done")
        }
        self._hole_numbers: dict[str, int] = {}  # when the reading again began, by which holes are told apart
        self._due = Event()
        self._closing = Event()

    def begin(self) -> None:
        """Begin to look."""
        Thread(target=self._run, name="vanished", daemon=True).start()

    def close(self) -> None:
        """End the thread; return at once. Idempotent."""
        self._closing.set()
        self._due.set()

    def turn(self, request: Callable[[Signal], None], harvest: Harvest) -> None:
        """Request what was found to be read again, and store how far it was looked once *harvest* answers that."""
        self._note_holes(harvest)
        while not self._found.empty():
            found = self._found.get()
            if not found.keys:
                self._looked(found, harvest)
                continue
            self._portions[found.name] = (found, 0)
            self._under_way.discard(found.name)
        for found in self._requests.answered(harvest):
            if self._portions.get(found.name, (None, 0))[0] is found:
                self._under_way.discard(found.name)
        for name in self._portions.keys() - self._under_way:
            self._request_portion(name, request, harvest)

    def _request_portion(self, name: str, request: Callable[[Signal], None], harvest: Harvest) -> None:
        """Request the next portion of what was found of an object, if there are calls for it; after the last one, it is looked."""
        found, begin = self._portions[name]
        if begin >= len(found.keys):
            del self._portions[name]
            self._unanswered.discard(name)
            self._looked(found, harvest)
        elif begin == 0 or self._may():
            end = begin + PORTION
            self._portions[name] = (found, end)
            self._under_way.add(name)
            self._requests.ask(
                request,
                found,
                SignalKind.READ,
                name,
                keys=tuple(found.keys[begin:end]),
                native_ids=tuple(found.native_ids[begin:end]),
                reason="it seems to be deleted for good",
            )

    def _looked(self, found: _Found, harvest: Harvest) -> None:
        """All that a look has found is reported."""
        if found.name in self._eventful:
            if found.hole != self._hole_numbers.get(found.name, 0):
                return  # there is another hole by now
            self._holes.pop(found.name, None)
            self._read_again.discard(found.name)
        harvest.positions[f"{_PLACE}{found.name}"] = found.place

    def _note_holes(self, harvest: Harvest) -> None:
        """See which objects with events have a hole, and which of them have been read again."""
        for name in self._eventful:
            run = harvest.positions.get(partition_of(name))
            if run is None:
                continue
            if run["why"] == Why.HOLE and run["began"] != self._hole_numbers.get(name):
                self._hole_numbers[name] = run["began"]
                since = run["since"] or 0
                self._holes[name] = min(since, self._holes.get(name, since))
                harvest.positions[f"{_PLACE}{name}"] = {"hole": self._holes[name]}
                self._read_again.discard(name)
            if run["done"] and name in self._holes:
                self._read_again.add(name)
                self._due.set()

    def _run(self) -> None:
        with during(Urgency.SPARE):
            self._look_again_and_again()

    def _look_again_and_again(self) -> None:
        polled_at_s = 0.0
        while not self._closing.is_set():
            self._due.clear()
            failed = False
            polls = time.monotonic() >= polled_at_s
            names = (self._places.keys() if polls else set()) | self._read_again
            for name in names - self._unanswered:
                if not self._may():
                    failed = True
                    break
                try:
                    found = self.look(name) if name in self._places else self.look_into_hole(name)
                except Exception as error:  # noqa: BLE001 - the org or Kafka cannot be asked now: they are asked again
                    failed = True
                    log.info("deletions_not_looked_for", object=name, error=type(error).__name__)
                else:
                    if found is not None:
                        if found.keys:
                            self._unanswered.add(name)
                        self._found.put(found)
                        self._wake()
            if polls:
                polled_at_s = time.monotonic() + (min(AGAIN_S, self._every_s) if failed else self._every_s)
            self._due.wait(AGAIN_S if failed else max(0.0, polled_at_s - time.monotonic()))

    def look(self, name: str) -> _Found | None:
        """Look once for records of the object that are gone. None: nothing is known that was not known before."""
        self._org.look_at_clock()
        now = self._org.clock.covered or 0
        place = self._places[name]
        since, compared = place.get("until", 0), place.get("compared", 0)
        if since and now - since < _WINDOW_MS:
            return None
        if (found := self._in_log(name, since, compared, now)) is None:
            if since and now - compared < COMPARE_EVERY_MS:
                return None  # it stays as it is, and is compared when its time has come
            if not self._may_compare(name):
                return None
            found = self._by_comparing(name, now)
        self._places[name] = found.place or {}
        return found

    def look_into_hole(self, name: str) -> _Found | None:
        """Look for records of an object with events that are gone for good since its hole began. It has been read again."""
        number = self._hole_numbers.get(name, 0)
        self._org.look_at_clock()
        now = self._org.clock.covered or 0
        since = min(self._holes.get(name, 0), now - _WINDOW_MS)
        found = self._in_log(name, since, 0, now)
        if found is None:
            if not self._may_compare(name):
                raise Unavailable(
                    f"objects.{name}: the integration user does not see all records of {name}, so what was deleted for good is not "
                    f"known. {mend(name)}."
                )
            found = self._by_comparing(name, now)
        return replace(found, place=None, hole=number)

    def _in_log(self, name: str, since: int, compared: int, now: int) -> _Found | None:
        """What the org's log has since then and the recycle bin has not; None if it does not have all of it."""
        if now - since > REACH_MS:
            return None
        try:
            deleted = self._org.deleted(name, since, now)
        except RequestRejected as error:
            log.info("deletions_not_in_the_log", object=name, code=error.code)
            return None
        if deleted.complete_since > since:
            return None
        in_bin: set[str] = set()
        for ids in batches(deleted.ids, IDS_A_QUERY):
            in_bin |= {row.native_id for row in self._readers[name].deleted(native_ids=ids, limit=None).rows}
        gone = [native_id for native_id in deleted.ids if native_id not in in_bin]
        keys = [self._identity.key(name, native_id) for native_id in gone]
        return _Found(name, keys, gone, {"until": deleted.covers_until, "compared": compared})

    def _by_comparing(self, name: str, now: int) -> _Found:
        """The records that are agreed to exist, and that the org does not show."""
        missing = set(self._keys_of(name))
        if missing:
            log.warning(
                "records_are_compared", object=name, agreed=len(missing), why="deletions may be unknown"
            )
            # Not by query alone: it does not show what is archived.
            has_bin = self._readers[name].has_bin
            where = ["IsDeleted = false"] if has_bin else []
            field = self._identity.markers(name).key
            for page in self._org.pages(soql.select(["Id", field], name, where=where), deleted=has_bin):
                missing -= {row.get(field) or row["Id"] for row in page.rows}
        return _Found(name, sorted(missing), (), {"until": now, "compared": now})
