"""A copy on disk that something has happened to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from salmon.errors import CacheDamaged, SetupError
from salmon.merge.cache import Mark, Memory, Origin, RocksCache
from support.at_hand.memory_cache import MemoryCache

MARK = Mark(Origin("cluster", "crm.state.Account", "", 0), 7, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of 20,000 keys, closed."""
    cache = RocksCache(tmp_path / "copy", Memory())
    cache.write({f"{number:05}": os.urandom(300) for number in range(20_000)}, MARK)
    cache._asked(lambda db: db.flush())
    cache.close()
    return tmp_path / "copy"


def opened(folder: Path) -> RocksCache:
    return RocksCache(folder, Memory())


def test_a_file_that_is_missing_makes_a_new_copy(folder: Path) -> None:
    """It cannot be opened any more, so it is thrown away as a whole."""
    next(folder.glob("*.sst")).unlink()
    cache = opened(folder)
    assert (cache.mark, cache.get("00007")) == (None, None)


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_nonsense_in_one_of_its_files_makes_a_new_copy(folder: Path, name: str) -> None:
    """Whichever it is."""
    next(folder.glob(name)).write_bytes(b"nonsense")
    assert opened(folder).mark is None


def test_a_flipped_bit_is_found_by_its_checksum_and_the_copy_is_gone(folder: Path) -> None:
    """No wrong value is ever returned; the next one that is opened is new."""
    table = max(folder.glob("*.sst"), key=lambda each: each.stat().st_size)
    data = bytearray(table.read_bytes())
    for place in range(len(data) // 4, len(data) // 4 * 3, 100):
        data[place] ^= 1
    table.write_bytes(data)
    cache = opened(folder)
    with pytest.raises(CacheDamaged):
        any(cache.get(f"{number:05}") is None for number in range(20_000))
    assert opened(folder).mark is None


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"7", b"\xff", b'{"format": 0}', MARK.encode().replace(b"offset", b"offsets")]
)
def test_a_mark_that_is_none_is_none(data: bytes) -> None:
    """Of another format, of a foreign hand, or cut short."""
    assert Mark.decode(data) is None
    assert Mark.decode(MARK.encode()) == MARK


def test_a_folder_that_cannot_be_written_is_told_with_the_mend(tmp_path: Path) -> None:
    """By the name of the setting, and without anything of the records."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"merge\.state_dir: .*Free space there, or name another folder"):
        opened(tmp_path / "file" / "copy")


def test_both_copies_yield_their_rows_in_the_order_of_the_keys(tmp_path: Path) -> None:
    """From the first one after a key, whether or not that key is there; the mark is no row."""
    rows = {key: key.encode() for key in ("a", "b", "ä", "c", "\U0001f41f")}
    for cache in (MemoryCache(), RocksCache(tmp_path / "copy", Memory())):
        cache.write(rows, MARK)
        in_order = sorted(rows)
        assert [key for key, _ in cache.rows_after("")] == in_order
        assert list(cache.rows_after("b")) == [(key, key.encode()) for key in in_order[2:]]
        assert [key for key, _ in cache.rows_after("bb")] == in_order[2:]
