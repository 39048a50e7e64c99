"""
Reading several objects at the same time, so that none waits for a slow one: a bulk job that the org has not begun, a query that
takes a minute, or an object of many millions of records.

The chunks of one object come in the order of their Ids, one after the other: read ahead, they come faster than a source can publish
them, and a run can be continued after the last of them. So an object is with one reader until its run has ended, and the next run
goes to the reader with the least to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from salmon.plugin.contract import WaitingObject
from salmon.salesforce.reading.bulk_jobs import BulkReads
from salmon.salesforce.reading.run import Run
from salmon.salesforce.reading.snapshot import Chunk, ChunkReader, CountingOrg, Failed, Snapshots

AT_ONCE: Final = 3  # objects; each costs the memory of a few chunks


class SideBySide:
    """
    As Snapshots, over several of them.

    Args:
        bulk: Makes the bulk reads of one of them.
        settings: Those of Snapshots.
    """

    def __init__(
        self,
        org: CountingOrg,
        readers: Mapping[str, ChunkReader],
        *,
        bulk: Callable[[], BulkReads | None] = lambda: None,
        at_once: int = AT_ONCE,
        **settings: Any,
    ) -> None:
        self._all = [Snapshots(org, readers, bulk=bulk(), **settings) for _ in range(at_once)]
        self._lock = threading.Lock()
        # Object -> who reads it, until all of it is taken.
        self._reader_of: dict[str, Snapshots] = {}
        self._turn = 0

    def begin(self, run: Run) -> None:
        """Read *run*, from where it stands. An earlier run of its object is given up."""
        with self._lock:
            reader = self._reader_of.get(run.object)
            if reader is None:
                busy = list(self._reader_of.values())
                reader = self._reader_of[run.object] = min(self._all, key=busy.count)
            reader.begin(run)

    def give_up(self, name: str) -> None:
        """Read the object no more."""
        with self._lock:
            if (reader := self._reader_of.pop(name, None)) is not None:
                reader.give_up(name)

    def take(self) -> Chunk | Failed | None:
        """The next chunk, or None if there is none yet."""
        with self._lock:
            for _ in self._all:
                self._turn = (self._turn + 1) % len(self._all)
                item = self._all[self._turn].take()
                if isinstance(item, Chunk) and item.run.done:
                    self._reader_of.pop(item.run.object, None)
                if item is not None:
                    return item
            return None

    def waiting(self) -> list[WaitingObject]:
        """The objects whose reading fails and is tried again."""
        found = [each for reader in self._all for each in reader.waiting()]
        return sorted(found, key=lambda each: each.object)

    def note(self) -> str:
        """What a person should know, though all is well."""
        return " ".join(sorted(filter(None, (reader.note() for reader in self._all))))

    def close(self) -> None:
        """End the threads; return at once."""
        for reader in self._all:
            reader.close()
