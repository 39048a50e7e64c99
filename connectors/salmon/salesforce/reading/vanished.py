"""
Records of polled objects that are gone for good: polls find deletions in the recycle bin, and these are not in it any more.

Once an hour, the org's log of deletions is asked (getDeleted, one call). It says since when it is complete, because what is deleted
for good leaves it, too; where it is not complete, reaches back less far (15 days), or the org has none for the object, all
Ids of the org are compared with the records that are agreed to exist: at most once a day, one call for 2,000 records. Either way,
what is found is a suspicion alone: those records are read again, like those of any request, and that is what is reported.

The position is stored when they are answered. So a kill costs another look, and without a position everything is compared.
Sources: REST API Developer Guide, "sObject Get Deleted"; SOAP API Developer Guide, "GetDeletedResult".
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final, Protocol

import structlog

from salmon.errors import RequestRejected
from salmon.model.schema import MARKER_ID
from salmon.plugin.contract import Position, Signal, SignalKind
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.draft import Harvest
from salmon.salesforce.reading.polling import REACH_MS
from salmon.salesforce.reading.rows import IDS_A_QUERY, RowReader, batches
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.budget import Urgency, during
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.rest import Deleted, Page

log = structlog.get_logger(__name__)

EVERY_S: Final = 3600.0
AGAIN_S: Final = 60.0  # after a failure
COMPARE_EVERY_MS: Final = 86_400_000
_WINDOW_MS: Final = 2 * 60_000  # the log answers for whole minutes
_PLACE: Final = "deleted/"  # and the object's name: the partition of the source's position
_SIGNALS: Final = -1_000_000  # no signal of the topic has a negative id


class Org(Protocol):
    """What is asked of Rest."""

    clock: OrgClock

    def look_at_clock(self) -> None: ...
    def pages(self, text: str, *, deleted: bool = False) -> Iterator[Page]: ...
    def deleted(self, name: str, start_ms: int, end_ms: int) -> Deleted: ...


@dataclass(frozen=True, slots=True)
class _Found:
    """Records that seem to be gone; and up to when deletions are known, when these are answered."""

    name: str
    keys: Sequence[str]
    native_ids: Sequence[str]
    place: Position


class Vanished:
    """
    Looks from a thread of its own, at once and then every *every_s* seconds, from `begin` on.

    Args:
        objects: The polled objects.
        positions: As they were stored.
        keys_of: Returns the keys of the records of an object that are agreed to exist.
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
        wake: Callable[[], None] = lambda: None,
        every_s: float = EVERY_S,
    ) -> None:
        self._org, self._readers, self._identity = org, readers, identity
        self._keys_of, self._wake, self._every_s = keys_of, wake, every_s
        self._places = {name: positions.get(f"{_PLACE}{name}", {}) for name in objects}
        self._found: queue.SimpleQueue[_Found] = queue.SimpleQueue()
        self._asked: dict[int, _Found] = {}
        self._unanswered: set[str] = set()  # objects of which something was found that is not reported yet
        self._count = 0
        self._closing = Event()

    def begin(self) -> None:
        """Begin to look."""
        Thread(target=self._run, name="vanished", daemon=True).start()

    def close(self) -> None:
        """End the thread; return at once. Idempotent."""
        self._closing.set()

    def turn(self, request: Callable[[Signal], None], harvest: Harvest) -> None:
        """Request what was found to be read again, and store how far it was looked once *harvest* answers that."""
        while not self._found.empty():
            found = self._found.get()
            if not found.keys:
                harvest.positions[f"{_PLACE}{found.name}"] = found.place
                continue
            self._count += 1
            self._asked[signal := _SIGNALS - self._count] = found
            native_ids = tuple(found.native_ids)
            reason = "it seems to be deleted for good"
            request(Signal(signal, SignalKind.READ, found.name, tuple(found.keys), native_ids, reason))
        for signal in self._asked.keys() & harvest.answered:
            found = self._asked.pop(signal)
            harvest.answered.discard(signal)
            self._unanswered.discard(found.name)
            harvest.positions[f"{_PLACE}{found.name}"] = found.place

    def _run(self) -> None:
        with during(Urgency.SPARE):
            self._look_again_and_again()

    def _look_again_and_again(self) -> None:
        while not self._closing.is_set():
            failed = False
            for name in self._places.keys() - self._unanswered:
                try:
                    found = self.look(name)
                except Exception as error:  # noqa: BLE001 - the org or Kafka cannot be asked now: they are asked again
                    failed = True
                    log.info("deletions_not_looked_for", object=name, error=type(error).__name__)
                else:
                    if found is not None:
                        if found.keys:
                            self._unanswered.add(name)
                        self._found.put(found)
                        self._wake()
            self._closing.wait(min(AGAIN_S, self._every_s) if failed else self._every_s)

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
            found = self._by_comparing(name, now)
        self._places[name] = found.place
        return found

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
            for page in self._org.pages(soql.select(["Id", MARKER_ID], name, where=where), deleted=has_bin):
                missing -= {row.get(MARKER_ID) or row["Id"] for row in page.rows}
        return _Found(name, sorted(missing), (), {"until": now, "compared": now})
