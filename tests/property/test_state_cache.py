"""
Whatever happens to a working copy and to its topic, what it is restored to is what the topic says.

The topic is modelled: offsets, commits of this owner and of others, compaction that removes what is superseded at once
and tombstones as soon as Kafka may. Between any two steps the process may be killed.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from salmon.kafka.extents import Extent
from salmon.merge.cache import Mark, Memory, Origin, RocksCache, StateCache
from salmon.merge.restoring import Restoring
from support.at_hand.memory_cache import MemoryCache
from support.at_hand.state_topic import TOMBSTONES_MS, StateTopic

ORIGIN = Origin("cluster", "crm.state.Account", "id", 0)
KEYS = [f"001{letter}" for letter in "ABCDEF"]


class Killed(Exception):
    """The process is gone; what is in the copy stays there."""


class Story:
    """One seed: an owner of the partition that works, is killed, loses it to others and comes back."""

    def __init__(self, seed: int, folder: Path | None) -> None:
        self.random = Random(seed)
        self.folder, self.memory = folder, MemoryCache()
        self.topic = StateTopic()
        self.now_ms = 1_700_000_000_000
        self.of_use = 0  # how often a copy was

    def play(self, lives: int) -> None:
        for _ in range(lives):
            cache = self.open()
            with suppress(Killed):
                self.live(cache)
            cache.close()
            if self.random.random() < 0.7:
                self.away()

    def open(self) -> StateCache:
        return (
            self.memory
            if self.folder is None
            else RocksCache(self.folder, Memory(blocks_mib=1, writes_mib=1))
        )

    def live(self, cache: StateCache) -> None:
        self.restore(cache)
        assert {k: value for k in KEYS if (value := cache.get(k)) is not None} == self.topic.table()
        for _ in range(self.random.randrange(6)):
            noted = Mark(ORIGIN, self.topic.end, self.now_ms) if self.random.random() < 0.3 else None
            rows = self.batch()
            self.topic.commit(rows, self.now_ms)
            self.tick()
            self.may_die(0.2)  # between the commit and the copy
            cache.write(rows, noted)

    def restore(self, cache: StateCache) -> None:
        restoring = Restoring(
            cache, ORIGIN, Extent(0, self.topic.end), now_ms=self.now_ms, tombstones_ms=TOMBSTONES_MS
        )
        self.of_use += restoring.start.stale is None
        tail = [each for each in self.topic.records if each[0] >= restoring.start.offset]
        while tail:
            batch, tail = tail[: (n := self.random.randint(1, 4))], tail[n:]
            restoring.take({key: value for _, key, value, _ in batch}, batch[-1][0] + 1)
            self.tick()
            self.may_die(0.2)
        restoring.finish(self.topic.end)

    def may_die(self, chance: float) -> None:
        if self.random.random() < chance:
            raise Killed

    def away(self) -> None:
        """Others own the partition for a while, maybe longer than tombstones are kept."""
        for _ in range(self.random.randrange(4)):
            self.topic.commit(self.batch(), self.now_ms)
            self.tick()
        if self.random.random() < 0.5:
            self.now_ms += self.random.randrange(2 * TOMBSTONES_MS)
        self.topic.compact(self.now_ms)

    def batch(self) -> dict[str, bytes | None]:
        keys = self.random.sample(KEYS, self.random.randint(1, 3))
        return {k: None if self.random.random() < 0.3 else b"%d" % self.random.getrandbits(30) for k in keys}

    def tick(self) -> None:
        self.now_ms += self.random.randrange(200)


@pytest.mark.parametrize("first", range(0, 2000, 500))
def test_a_copy_in_memory_is_restored_to_what_the_topic_says(first: int) -> None:
    """2,000 stories; in many of them the copy was of use."""
    used = 0
    for seed in range(first, first + 500):
        story = Story(seed, None)
        story.play(lives=8)
        used += story.of_use
    assert used > 500


def test_a_copy_on_disk_is_restored_to_what_the_topic_says(tmp_path: Path) -> None:
    """The same stories, fewer of them, with a real RocksDB."""
    for seed in range(12):
        Story(seed, tmp_path / "copy").play(lives=4)
        shutil.rmtree(tmp_path / "copy")
