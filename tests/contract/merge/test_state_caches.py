"""Working copies of `state`, on disk and in memory: what holds for one holds for the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from salmon.merge.cache import Mark, Memory, Origin, RocksCache, StateCache
from support.at_hand.memory_cache import MemoryCache

ORIGIN = Origin("cluster", "crm.state.Account", "id", 3)
Open = Callable[[], StateCache]


@pytest.fixture(params=["memory", "rocks"])
def open_cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same copy each time; an earlier one is closed."""
    opened: list[StateCache] = []
    in_memory = MemoryCache()

    def opens() -> StateCache:
        for each in opened:
            each.close()
        opened.append(in_memory if request.param == "memory" else RocksCache(tmp_path / "copy", Memory()))
        return opened[-1]

    yield opens
    for each in opened:
        each.close()


def test_a_new_copy_is_empty_and_good_for_nothing(open_cache: Open) -> None:
    """No key, no mark: all has to be read."""
    cache = open_cache()
    assert (cache.get("001A"), cache.mark, len(cache)) == (None, None, 0)


def test_the_newest_value_of_a_key_is_there_and_a_removed_key_is_not(open_cache: Open) -> None:
    """As in a compacted topic."""
    cache = open_cache()
    cache.write({"001A": b"1", "001B": b"1"})
    cache.write({"001A": b"2", "001B": None, "001C": None})
    assert [cache.get(key) for key in ("001A", "001B", "001C")] == [b"2", None, None]


def test_what_was_written_is_there_when_it_is_opened_again(open_cache: Open) -> None:
    """Values, the mark that came with them, and keys in any script."""
    mark = Mark(ORIGIN, offset=7, at_ms=1_700_000_000_000)
    open_cache().write({"Zürich": b"\x00\xff", "": b"empty"}, mark)
    cache = open_cache()
    assert (cache.get("Zürich"), cache.get(""), cache.mark) == (b"\x00\xff", b"empty", mark)


def test_a_mark_stays_until_a_newer_one_comes(open_cache: Open) -> None:
    """Rows alone say nothing of how far the copy is good."""
    cache = open_cache()
    cache.write({}, Mark(ORIGIN, 7, 1))
    cache.write({"001A": b"1"})
    assert cache.mark == Mark(ORIGIN, 7, 1)
    cache.write({}, Mark(ORIGIN, 9, 2))
    assert cache.mark == Mark(ORIGIN, 9, 2)


def test_a_cleared_copy_is_a_new_one(open_cache: Open) -> None:
    """Also after it was closed."""
    cache = open_cache()
    cache.write({"001A": b"1"}, Mark(ORIGIN, 7, 1))
    cache.clear()
    assert (cache.get("001A"), cache.mark) == (None, None)
    cache = open_cache()
    assert (cache.get("001A"), cache.mark) == (None, None)


def test_it_may_be_closed_twice(open_cache: Open) -> None:
    """Whoever cleans up need not know who was faster."""
    cache = open_cache()
    cache.close()
    cache.close()
