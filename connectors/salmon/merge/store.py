"""
The states as the fold needs them: decoded from the working copies, with the latest ones in memory.

A state is put here after its transaction has committed, never before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from salmon.errors import SchemaMismatch
from salmon.kafka.foreign import FOREIGN
from salmon.merge.cache import Mark, StateCache
from salmon.merge.restoring import Restorer
from salmon.merge.states import States
from salmon.model.rules import Rules
from salmon.model.state import State, new_state

# A change, its write and that write's echo come within a second or two. This is enough for them at some thousand changes a
# second.
RECENT_MAX: Final = 5_000

# What was written to `state` since the last mark is read again at the next start.
_MARK_AFTER_S: Final = 10.0
# Tombstones are kept for days. A mark must stay younger than that even if nothing happens.
_REFRESH_AFTER_S: Final = 3600.0

Place = tuple[str, int]  # a topic of changes, and a partition of it


class Recent:
    """The states that were used last, of all partitions of the process together."""

    def __init__(self, most: int = RECENT_MAX) -> None:
        self._most = most
        self._states: OrderedDict[tuple[Place, str], State] = OrderedDict()

    def get(self, place: Place, key: str) -> State | None:
        if (state := self._states.get((place, key))) is not None:
            self._states.move_to_end((place, key))
        return state

    def put(self, place: Place, key: str, state: State) -> None:
        self._states[place, key] = state
        self._states.move_to_end((place, key))
        if len(self._states) > self._most:
            self._states.popitem(last=False)

    def forget(self, place: Place) -> None:
        """Drop the states of a partition, because another instance may write them from now on."""
        for each in [each for each in self._states if each[0] == place]:
            del self._states[each]

    def __len__(self) -> int:
        return len(self._states)


@dataclass(frozen=True, slots=True)
class Store:
    """The committed states of one partition."""

    place: Place
    codec: States
    rules: Rules
    cache: StateCache
    recent: Recent

    def get(self, key: str) -> State:
        """Return the state of *key*; a new one if there is none or it cannot be decoded. Raises CacheDamaged."""
        if (state := self.recent.get(self.place, key)) is not None:
            return state
        data = self.cache.get(key)
        if data is not None:
            try:
                return self.codec.decode(data)
            except SchemaMismatch as error:
                # Then nothing is known of the key, and the fold asks both sides to read it again before it writes anything.
                FOREIGN.pass_over(self.codec.topic, self.place[1], None, key.encode(), str(error))
        return new_state(self.rules.names)

    def put(
        self, states: Mapping[str, State], rows: Mapping[str, bytes | None], mark: Mark | None = None
    ) -> None:
        """
        Store what a transaction has committed.

        Args:
            states: Key -> state.
            rows: Key -> the same state as bytes, as written to the topic.
            mark: The copy's new mark, if it has moved.

        Raises:
            CacheDamaged: see StateCache.
        """
        self.cache.write(rows, mark)
        for key, state in states.items():
            self.recent.put(self.place, key, state)

    def close(self) -> None:
        self.recent.forget(self.place)
        self.cache.close()


class Stores:
    """
    The stores of all partitions that are ours.

    A copy's mark moves in two steps, because the end of a topic alone proves nothing. An instance that was suspended may
    have lost its partitions without knowing it. It would see the records of the new owner and take them for its own. So the
    end is noted first. A later commit, which Kafka accepts only from the owner, proves that everything up to that end was
    ours; then the mark is written to the copy.
    """

    def __init__(self, restorer: Restorer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._restorer, self._clock = restorer, clock
        self._recent = Recent()
        self._stores: dict[Place, Store] = {}
        self._noted: dict[Place, Mark] = {}
        self._noted_at = clock()
        self._changed = False  # since then

    def open(
        self,
        topic: str,
        partitions: Collection[int],
        states: States,
        rules: Rules,
        turned: Callable[[], None],
    ) -> dict[Place, Store]:
        """
        Bring the states of *partitions* up to the end of their topic. Stores that are open already are opened again.

        Args:
            topic: The topic of the changes.
            turned: See Restorer.restored().

        Raises:
            Unavailable, SetupError, CacheDamaged: see Restorer.restored().
        """
        self.close([(topic, partition) for partition in partitions])
        for partition, cache in self._restorer.restored(
            states.topic, partitions, turned, check=states.check_writer
        ).items():
            place = (topic, partition)
            self._stores[place] = Store(place, states, rules, cache, self._recent)
        return {(topic, partition): self._stores[topic, partition] for partition in partitions}

    def close(self, places: Iterable[Place] | None = None) -> None:
        """Close these stores, or all. Their copies stay on disk and can be used again."""
        for place in list(self._stores if places is None else places):
            self._noted.pop(place, None)
            if (store := self._stores.pop(place, None)) is not None:
                store.close()

    def marks_are_due(self) -> bool:
        """Whether it is time for note_ends()."""
        since_s = self._clock() - self._noted_at
        return bool(self._stores) and since_s > (
            _MARK_AFTER_S if self._changed or self._noted else _REFRESH_AFTER_S
        )

    def note_ends(self) -> None:
        """
        Note the ends of the topics. Call it between two transactions, when everything that we committed is in the copies.

        Raises:
            Unavailable, SetupError, CacheDamaged: nothing was noted.
        """
        self._noted_at, self._changed = self._clock(), False
        marks = {
            place: mark for place, store in self._stores.items() if (mark := store.cache.mark) is not None
        }
        self._noted = self._restorer.marks(marks)

    def committed(self, made: Mapping[Place, tuple[Mapping[str, State], Mapping[str, bytes | None]]]) -> None:
        """
        Store what a transaction has committed.

        Args:
            made: Partition -> (states by key, the same states as bytes).

        Raises:
            CacheDamaged: one copy is damaged. The others may be incomplete, and must be opened again as well.
        """
        noted, self._noted = self._noted, {}
        self._changed = self._changed or bool(made)
        for place in made.keys() | noted.keys():
            states, rows = made.get(place, ({}, {}))
            self._stores[place].put(states, rows, noted.get(place))

    def __getitem__(self, place: Place) -> Store:
        return self._stores[place]

    def __len__(self) -> int:
        return len(self._stores)
