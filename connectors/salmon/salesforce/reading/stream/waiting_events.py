"""
Events that wait for their record to be read, and requests to read one: in order, key by key.

An event that cannot be reported as it is holds up the later ones of its own key, and the stored position, but no other
key. Whether an event must wait is feed's to say.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import count

from salmon.model.change import Change, Op

KEYS_MAX = (
    10_000  # keys of one object's waiting events, beyond which the stream waits; requests do not stop it
)

RecordId = tuple[str, str]  # object, record key


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    What waits: an event (with its change, if it says it all) or a request (with its signal's id).

    It is answered by a row that holds every commit up to *commit_time*. *names_stranger*: whether the change refers to a
    record whose key may not be known yet.
    """

    native_id: str | None
    commit_time: int
    change: Change | None = None
    signal: int | None = None
    names_stranger: bool = False
    before: str | None = (
        None  # events: the stream position (hex) that must be stored as long as this one waits
    )


class Held:
    """All that waits. For one thread."""

    def __init__(self) -> None:
        self._waiting: dict[RecordId, deque[tuple[int, Waiting]]] = {}
        self._first: list[tuple[int, int, RecordId]] = []  # heap: commit_time of each key's first
        self._places: dict[int, str | None] = {}  # in the stream's order: what must be stored meanwhile
        self._events: Counter[RecordId] = Counter()  # how many wait for each key
        self._keys: Counter[str] = Counter()  # for how many keys of each object events wait
        self._put_by: dict[str, set[RecordId]] = {}  # by object
        self._count = count()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def with_keys(self, at_least: int) -> list[str]:
        """The objects of which events, and not only requests, wait for so many keys."""
        return [name for name, keys in self._keys.items() if keys >= at_least]

    def __contains__(self, record: RecordId) -> bool:
        return record in self._waiting

    @property
    def holds_position(self) -> bool:
        """Whether an event waits, so that the stream's position may not be stored."""
        return bool(self._places)

    @property
    def position(self) -> str | None:
        """The position before the oldest event that waits."""
        return next(iter(self._places.values()))

    def add(self, record: RecordId, waiting: Waiting) -> None:
        """Let it wait behind what waits for the same key already."""
        number = next(self._count)
        line = self._waiting.get(record)
        if line is None:
            line = self._waiting[record] = deque()
            heapq.heappush(self._first, (waiting.commit_time, number, record))
        line.append((number, waiting))
        if waiting.signal is None:
            self._places[number] = waiting.before
            if record not in self._events:
                self._keys[record[0]] += 1
            self._events[record] += 1

    def due_at(self, *, without: Container[str] = ()) -> int | None:
        """The commit time that rows must cover for the next key to be answered, of an object that is none of *without*."""
        if self._first and self._first[0][2][0] not in without:
            return self._first[0][0]
        return min((at for at, _, (name, _) in self._first if name not in without), default=None)

    def oldest_event(self) -> int | None:
        """When the first of the events that wait was committed; None if only requests do."""
        lines = self._waiting.values()
        return min(
            (each.commit_time for line in lines for _, each in line if each.signal is None), default=None
        )

    def due(
        self, covered: int, limit: int, *, without: Container[str] = ()
    ) -> tuple[str, list[tuple[str, Waiting]]]:
        """
        Take out keys whose first can be answered by rows that hold everything up to *covered*: of one object, none of
        *without*, at most *limit*, as (key, first). Each is given back by `reconsider`, or answered with `answered` before.
        """
        name = ""
        found: list[tuple[str, Waiting]] = []
        others = []
        while self._first and self._first[0][0] <= covered and len(found) < limit:
            entry = heapq.heappop(self._first)
            of, key = entry[2]
            if of not in without and name in ("", of):
                name = of
                found.append((key, self._waiting[entry[2]][0][1]))
            else:
                others.append(entry)
        for entry in others:
            heapq.heappush(self._first, entry)
        return name, found

    def naming_strangers(self, record: RecordId) -> list[Change]:
        """The changes that wait for the key and refer to a record whose key may not be known yet."""
        waiting = (each for _, each in self._waiting[record])
        return [each.change for each in waiting if each.names_stranger and each.change is not None]

    def line(self, record: RecordId) -> Iterator[Waiting]:
        """What waits for the key, first come first; each is answered by asking for the next."""
        line = self._waiting[record]
        while line:
            number, waiting = line[0]
            yield waiting
            line.popleft()
            self._places.pop(number, None)
            if waiting.signal is None:
                self._events[record] -= 1
                if not self._events[record]:
                    del self._events[record]
                    self._keys[record[0]] -= 1

    def reconsider(self, record: RecordId) -> None:
        """Put the key back among those that wait, or forget it if nothing of it does."""
        line = self._waiting[record]
        if line:
            heapq.heappush(self._first, (line[0][1].commit_time, line[0][0], record))
        else:
            del self._waiting[record]

    def tells_deletion(self, record: RecordId) -> bool:
        """Whether an event that waits for the key says that its record was deleted."""
        return any(
            each.change is not None and each.change.op is Op.DELETE for _, each in self._waiting[record]
        )

    def put_by(self, record: RecordId) -> None:
        """Let a key that was taken out wait until its object is taken up again."""
        self._put_by.setdefault(record[0], set()).add(record)

    @property
    def with_put_by(self) -> list[str]:
        """The objects of which keys are put by."""
        return list(self._put_by)

    def take_up(self, name: str) -> None:
        """Put all keys of an object that were put by among those that can be answered."""
        for record in sorted(self._put_by.pop(name)):
            if record in self._waiting:
                self.reconsider(record)

    def forget_events(self, name: str) -> bool:
        """Forget the events of an object; requests stay. Returns whether there were any."""
        forgotten = False
        self._keys.pop(name, None)
        for record in [record for record in self._waiting if record[0] == name]:
            line = self._waiting.pop(record)
            self._events.pop(record, None)
            if requests := deque(each for each in line if each[1].signal is not None):
                self._waiting[record] = requests
            for number, waiting in line:
                if waiting.signal is None:
                    self._places.pop(number, None)
                    forgotten = True
        self._put_by.pop(name, None)
        put_by = frozenset[RecordId]().union(*self._put_by.values())
        self._first = [
            (line[0][1].commit_time, line[0][0], record)
            for record, line in self._waiting.items()
            if record not in put_by
        ]
        heapq.heapify(self._first)
        return forgotten

    def detach(self) -> None:
        """Let go of the position: what waits will be read even if this process ends before."""
        self._places.clear()
