"""
The log of a World once more, as two instances of merge fold it that take the partition from each other.

Each batch is of any size and one transaction, made by the product's own Batch, Store and Restoring. An instance may be
killed before its commit, or between the commit and its working copy, and begin again with that copy or without it. It
may lose the partition while a batch is under way: its commit is refused then, and the new owner begins with what the
topic holds. Whatever happens, the states, the records and the writes are those of the World.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from salmon.kafka.extents import Extent
from salmon.merge.batch import Batch, ObjectCodecs
from salmon.merge.cache import Mark, Origin
from salmon.merge.restoring import Restoring
from salmon.merge.store import Recent, Store
from salmon.model.change import Change, Value, Write
from salmon.model.rules import Rules
from support.at_hand.memory_cache import MemoryCache
from support.at_hand.state_topic import TOMBSTONES_MS, StateTopic
from support.world.codecs import CONFLICTS, SIGNALS, TOPICS, codecs_of
from support.world.merge import Merge
from support.world.nature import ADDED, GROWN, OBJECT, SCHEMA

_BATCH_MAX = 12
_PLACE = (TOPICS.changes(OBJECT), 0)
_ORIGIN = Origin("cluster", TOPICS.state(OBJECT), "id", 0)


@dataclass
class Cuts:
    """One way to cut the log of *merge*."""

    merge: Merge
    random: Random
    topic: StateTopic = field(default_factory=StateTopic)
    now_ms: int = 1_700_000_000_000
    caches: list[MemoryCache] = field(default_factory=lambda: [MemoryCache(), MemoryCache()])
    owner: int = 0
    done: int = 0  # changes of the log that are folded and committed
    published: dict[str, dict[str, Value] | None] = field(default_factory=dict)
    writes: dict[str, list[tuple[str, Write | None]]] = field(default_factory=lambda: defaultdict(list))
    refused: int = 0  # commits of an instance that had lost the partition, or its life

    def play(self) -> Cuts:
        """Fold the whole log."""
        log = self.merge.log
        rules: Rules | None = None
        while self.done < len(log):
            if log[self.done][2] is not rules:  # all instances begin anew with other fields
                rules = log[self.done][2]
                self._begin(rules)
            upto = self.done + self.random.randint(1, _BATCH_MAX)
            upto = next((n for n in range(self.done, min(upto, len(log))) if log[n][2] is not rules), upto)
            self._transaction(rules, min(upto, len(log)))
        return self

    def differences(self) -> Iterator[str]:
        """Where this is not what the World's merge gave."""
        codec = codecs_of(self.merge.rules).states
        states = {key: codec.decode(value) for key, value in self.topic.table().items()}
        yield from (f"{key}: another state" for key in states if states[key] != self.merge.states.get(key))
        if states.keys() != self.merge.states.keys():
            yield "other keys"
        if self.published != self.merge.published:
            yield "other records"
        for side in self.merge.rules.sides:
            if self.writes[side] != self.merge.writes[side]:
                yield f"other writes to {side}"

    def _begin(self, rules: Rules) -> None:
        """An instance begins to own the partition, with the copy that it has, if it has one."""
        self.codecs = codecs_of(rules)
        if self.random.random() < 0.3:
            self.caches[self.owner] = MemoryCache()  # its disk is gone
        if self.random.random() < 0.3:
            self.topic.compact(self.now_ms)
        cache = self.caches[self.owner]
        restoring = Restoring(
            cache, _ORIGIN, Extent(0, self.topic.end), now_ms=self.now_ms, tombstones_ms=TOMBSTONES_MS
        )
        tail = [each for each in self.topic.records if each[0] >= restoring.start.offset]
        restoring.take({key: value for _, key, value, _ in tail}, self.topic.end)
        restoring.finish(self.topic.end)
        self.store = Store(_PLACE, self.codecs.states, rules, cache, Recent(most=self.random.randint(1, 3)))

    def _transaction(self, rules: Rules, upto: int) -> None:
        batch = Batch(TOPICS, CONFLICTS, SIGNALS)
        for offset in range(self.done, upto):
            key, change, _ = self.merge.log[offset]
            value = _written(change, self.codecs)
            at = self.merge.times[offset]
            batch.add(self.codecs, self.store, key=key, value=value, partition=0, offset=offset, at=at)
        fate = self.random.random()
        if fate < 0.25:  # killed before its commit, or fenced by the other one
            self.owner = self.owner if fate < 0.1 else 1 - self.owner
            self.refused += 1
            self._begin(rules)
            return
        noted = Mark(_ORIGIN, self.topic.end, self.now_ms) if self.random.random() < 0.3 else None
        rows = {key: output.value for (_, key), output in batch.states.items()}
        self.topic.commit(rows, self.now_ms)
        self.now_ms += self.random.randrange(200)
        self._take(batch)
        self.done = upto
        if self.random.random() < 0.1:  # killed between the commit and its copy
            self._begin(rules)
        else:
            self.store.put(batch.drafts[OBJECT, 0], rows, noted)

    def _take(self, batch: Batch) -> None:
        """What readers of the topics see of it."""
        sides = {TOPICS.writes(side, OBJECT): side for side in self.merge.rules.sides}
        for output in batch.outputs:
            assert isinstance(output.key, str)
            if output.topic == TOPICS.records(OBJECT):
                row = None if output.value is None else self.codecs.records.decode(output.value)
                self.published[output.key] = row and {n: v for n, v in row.items() if v is not None}
            elif (side := sides.get(output.topic)) is not None:
                write = None if output.value is None else self.codecs.writes[side].decode(output.value)
                known = None if write is None else replace(write, correlation="")
                self.writes[side].append((output.key, known))


def _written(change: Change, codecs: ObjectCodecs) -> bytes:
    """The change as its source wrote it: one that was read before a field was taken out still has it."""
    made = tuple(field for field in codecs.rules.schema.fields if field.computed)
    if change.knows is not None:  # by a source that has not begun anew yet
        return codecs_of(Rules(SCHEMA.with_computed(made))).changes.encode(change)
    grown = ADDED in change.fields
    return (codecs_of(Rules(GROWN.with_computed(made))) if grown else codecs).changes.encode(change)
