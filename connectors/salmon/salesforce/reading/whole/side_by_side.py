"""
Reading several objects at the same time, so that none waits for a slow one (a bulk job that the org has not begun, a query that
takes a minute, an object of many millions of records), and a large one in several parts at the same time, so that it takes less long.

The chunks of one part come in the order of their Ids, one after the other, so a run can be continued after the last of each part that
was reported. A part is with one reader until it has ended; that reader goes on with a part of the same object that nobody reads yet, or of
another one if it has nothing else to do. The next object goes to the reader with the least to do, which reads by turns what it has; its
further parts to those that have nothing. One object never has all of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from salmon.plugin.contract import WaitingObject
from salmon.salesforce.reading.whole.bulk_jobs import BulkReads
from salmon.salesforce.reading.whole.run import Run
from salmon.salesforce.reading.whole.snapshot import Chunk, ChunkReader, CountingOrg, Failed, Snapshots

AT_ONCE: Final = 4  # objects, or parts of them; each costs the memory of a few chunks


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
        self._of_one_object = max(1, at_once - 1)
        self._all = [
            Snapshots(org, readers, bulk=bulk(), parts_max=self._of_one_object, **settings)
            for _ in range(at_once)
        ]
        self._lock = threading.Lock()
        # Object -> who reads it, until all of it is taken; and the parts of it that nobody reads yet.
        self._readers_of: dict[str, list[Snapshots]] = {}
        self._left: dict[str, deque[Run]] = {}
        self._turn = 0

    def begin(self, run: Run) -> None:
        """Read *run*, from where it stands. An earlier run of its object is given up."""
        with self._lock:
            earlier = self._give_up(run.object)
            busy = [reader for readers in self._readers_of.values() for reader in readers]
            # Who had the earlier one knows its bulk job, and lets it go.
            best = sorted(self._all, key=lambda reader: (reader not in earlier, busy.count(reader)))
            left = self._left[run.object] = deque(run.pieces())
            idle = [reader for reader in best[1:] if not busy.count(reader)]
            readers = self._readers_of[run.object] = [best[0], *idle][: min(self._of_one_object, len(left))]
            for reader in readers:
                reader.begin(left.popleft())

    def give_up(self, name: str) -> None:
        """Read the object no more."""
        with self._lock:
            self._give_up(name)

    def take(self) -> Chunk | Failed | None:
        """The next chunk, or None if there is none yet."""
        with self._lock:
            for _ in self._all:
                self._turn = (self._turn + 1) % len(self._all)
                item = self._all[self._turn].take()
                # A run that was cut is begun again, in its parts, by who gets it.
                if isinstance(item, Chunk) and (item.run.done or item.run.parts):
                    self._ended(item.run.object, self._all[self._turn])
                if item is not None:
                    return item
            return None

    def waiting(self) -> list[WaitingObject]:
        """The objects whose reading fails and is tried again."""
        found = [each for reader in self._all for each in reader.waiting()]
        # Of an object that is read in parts, the one that has waited longest says it.
        oldest = {each.object: each for each in sorted(found, key=lambda each: each.since_s)}
        return [oldest[name] for name in sorted(oldest)]

    def note(self) -> str:
        """What a person should know, though all is well."""
        return " ".join(sorted({reader.note() for reader in self._all} - {""}))

    def close(self) -> None:
        """End the threads; return at once."""
        for reader in self._all:
            reader.close()

    def _give_up(self, name: str) -> list[Snapshots]:
        readers = self._readers_of.pop(name, [])
        self._left.pop(name, None)
        for reader in readers:
            reader.give_up(name)
        return readers

    def _ended(self, name: str, reader: Snapshots) -> None:
        if left := self._left[name]:
            reader.begin(left.popleft())
            return
        self._readers_of[name].remove(reader)
        if not self._readers_of[name]:
            del self._readers_of[name], self._left[name]
        self._help_out(reader)

    def _help_out(self, reader: Snapshots) -> None:
        """Let a reader that has nothing to do take a part that nobody reads yet."""
        if any(reader in readers for readers in self._readers_of.values()):
            return
        for name, readers in self._readers_of.items():
            if self._left[name] and len(readers) < self._of_one_object:
                readers.append(reader)
                reader.begin(self._left[name].popleft())
                return
