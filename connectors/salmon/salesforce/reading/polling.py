"""
Objects without change events: what is reported of them, found by queries.

Each poll reads the records whose SystemModstamp is not older than the last reading less an overlap, and those of them that are in
the recycle bin. It is a run like that of a whole object (see snapshot): stored as it goes, so it is continued after a kill, and
the next poll begins where the last complete one began.

Why an overlap: a transaction stamps a record when it saves it, and shows it to others when it commits. A poll in between does
not see the change, and a later one, that asked for what is stamped since, would not either. So the overlap must be longer than
any transaction. A row that is read in between shows the former values, and that is right: its as_of is the org's clock before
the query was sent, and the change is committed after that. (A row must never take its SystemModstamp for its as_of.)
Sources: Apex Developer Guide, "Execution Governors and Limits" (a transaction may take 10 minutes); REST API Developer Guide,
"sObject Get Updated" (the same for its latestDateCovered); SOQL: SystemModstamp is indexed, and moves on system changes, too.

What a poll finds again is not reported again. That is decided by what was reported and not by stamps: these are whole seconds,
and two edits in one second have the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from salmon.plugin.contract import Position
from salmon.salesforce.reading.stream.subscription import Ended, Received
from salmon.salesforce.reading.whole.rows import BadRow, Row
from salmon.salesforce.reading.whole.windows import Reads, Window

OVERLAP_MS: Final = 15 * 60_000  # 10 minutes that a transaction may take, and clocks of several servers
# The recycle bin keeps what is deleted for 15 days: after a longer pause, deletions are found by comparing all Ids.
REACH_MS: Final = 14 * 86_400_000
REPORTED_MAX: Final = 100_000  # then what is found again is reported again
_DIGEST_BYTES: Final = 12
_NOWHERE: Final = b"\0"


class Reported(Reads):
    """
    What was reported of a polled object, as far as the next poll will find it again. In memory alone: after a restart, it is
    reported once more, and the fold knows it already. No event is compared with it, so there are no windows to be stored.
    """

    def __init__(self) -> None:
        super().__init__()
        # Id -> as_of and digest of the last report. Without a digest, it was reported by another reading than a poll.
        self._last: dict[str, tuple[int, bytes]] = {}
        self._found: set[str] = set()  # by the poll that is under way
        self._met: set[str] = set()

    def read_range(self, after: str, to: str, window: Window) -> None:
        """Nothing: what is read as a whole begins with `clear`."""

    def read_records(self, native_ids: Iterable[str], window: Window) -> None:
        """These were reported by another reading: the next poll reports them, too."""
        for native_id in native_ids:
            self._last[native_id] = window.as_of, b""
            self.meet(native_id)

    def begin_whole(self) -> None:
        """What polls have reported is compared with nothing any more."""
        self.clear()

    def clear(self) -> None:
        self._last.clear()
        self._found.clear()

    def meet(self, native_id: str) -> None:
        """The record's row was reported. If it carries a key, that is known from now on."""
        if len(self._met) >= REPORTED_MAX:
            self._met.clear()
        self._met.add(native_id)

    def has_met(self, native_id: str) -> bool:
        """Whether it is known for sure which key the record has. False: perhaps its row was not read yet."""
        return native_id in self._met

    def is_news(self, row: Row | BadRow) -> bool:
        """Whether a poll has to report the row; it is taken for reported then."""
        told_as_of, told = self._last.get(row.native_id, (0, b""))
        # What is set aside is not folded: nothing can overtake it.
        as_of = told_as_of if isinstance(row, BadRow) else row.change.as_of or 0
        if as_of < told_as_of:
            return True  # to the fold it is old: the next poll must report what it shows
        self._found.add(row.native_id)
        shown = row.original if isinstance(row, BadRow) else repr(replace(row.change, as_of=0)).encode()
        content = shown + row.key.encode()
        digest = blake2b(content, digest_size=_DIGEST_BYTES).digest()
        if digest == told:
            return False
        self._last[row.native_id] = as_of, digest
        return True

    def polled(self) -> None:
        """A poll is over: what it has not found, the next one will not find either, unless it changes."""
        keep = self._found if len(self._found) <= REPORTED_MAX else set()
        self._last = {native_id: self._last[native_id] for native_id in keep}
        self._found = set()


class NoEvents:
    """The stream of a sync all of whose objects are polled: it has a place, which no real stream has, and no event."""

    def __init__(self) -> None:
        self._greeting: Received | None = Received((), _NOWHERE)

    def peek(self) -> Received | Ended | None:
        return self._greeting

    def pop(self) -> None:
        self._greeting = None

    def close(self) -> None:
        pass


def reads_of(
    objects: Collection[str], polled: Collection[str], positions: Mapping[str, Position]
) -> dict[str, Reads]:
    """What is known of the readings of each object, from what was stored."""
    return {
        name: Reported() if name in polled else Reads.from_position(positions.get(f"reads/{name}"))
        for name in objects
    }
