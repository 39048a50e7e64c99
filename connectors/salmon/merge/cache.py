"""
The working copy of one partition of a `state` topic: newest value by key, and how far it is good.

The topic is the truth. A copy is written after the transaction has committed, and whatever is wrong with one, it is
thrown away and read again from the topic. How a copy is brought up to date is for salmon.merge.restoring.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
)

from salmon.errors import CacheDamaged, SetupError

log = structlog.get_logger(__name__)

_FORMAT: Final = 1  # of a copy on disk; one of another format is read anew
_MARK: Final = b"\xffmark"  # record keys are UTF-8, in which no text begins with this byte
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """The partition that a copy is of. A topic that was deleted and created again is another one."""

    cluster: str
    topic: str
    topic_id: str  # empty where the broker gives none
    partition: int


@dataclass(frozen=True, slots=True)
class Mark:
    """
    How far a copy is good: it holds all that was committed in *origin* below *offset*.

    It may hold newer values as well: what stands in the topic from *offset* on is read again and replaces them.
    *at_ms* is a wall clock's time, in ms since 1970, at which nothing below *offset* was missing.
    """

    origin: Origin
    offset: int
    at_ms: int

    def encode(self) -> bytes:
        return json.dumps({"format": _FORMAT, **asdict(self)}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Mark | None:
        """None for what is no mark, or one of another format."""
        try:
            told = json.loads(data)
            if told.pop("format") != _FORMAT:
                return None
            return cls(Origin(**told["origin"]), int(told["offset"]), int(told["at_ms"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


class StateCache(Protocol):
    """
    What merge needs of a copy. One thread uses it.

    Raises:
        CacheDamaged: by any method. The copy is gone by then; open it again, and it is empty.
    """

    @property
    def mark(self) -> Mark | None:
        """How far it is good; None for a new one."""

    def get(self, key: str) -> bytes | None:
        """The newest value of *key*."""

    def write(self, rows: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        """Take in *rows* (None removes a key) and *mark*: all of it, or after a crash nothing of it."""

    def clear(self) -> None:
        """Forget everything, the mark included."""

    def __len__(self) -> int:
        """About how many keys there are."""

    def close(self) -> None:
        """Let go of files and memory. What was written stays. Idempotent."""


class MemoryCache:
    """A copy that is lost with its process: for tests, and the measure that the other one is held to."""

    def __init__(self) -> None:
        self.mark: Mark | None = None
        self.rows: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.rows.get(key)

    def write(self, rows: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        for key, value in rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.mark = mark or self.mark

    def clear(self) -> None:
        self.rows.clear()
        self.mark = None

    def __len__(self) -> int:
        return len(self.rows)

    def close(self) -> None:
        """Nothing to let go of."""


class Memory:
    """What all copies of one process share, so that their memory is bounded however many there are."""

    def __init__(self, *, blocks_mib: int = 32, writes_mib: int = 32) -> None:
        self.blocks = Cache(blocks_mib * _MIB)
        self.writes = WriteBufferManager(writes_mib * _MIB, False)


class RocksCache:
    """
    A copy in a RocksDB of its own.

    Args:
        folder: Of this copy alone. Made where it is missing; one that cannot be opened is made anew.

    Raises:
        SetupError: a folder that cannot be written.
    """

    def __init__(self, folder: Path, memory: Memory) -> None:
        self._folder, self._memory = folder, memory
        self._db: Rdict | None = None
        try:
            self._db = self._opened()
        except CacheDamaged:
            self._db = self._opened_anew()

    @property
    def mark(self) -> Mark | None:
        data = self._asked(lambda db: db.get(_MARK))
        return None if data is None else Mark.decode(data)

    def get(self, key: str) -> bytes | None:
        value: bytes | None = self._asked(lambda db: db.get(key.encode()))
        return value

    def write(self, rows: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key.encode())
            else:
                batch.put(key.encode(), value)
        if mark is not None:
            batch.put(_MARK, mark.encode())
        # Into the write-ahead log, but not synced: a killed process loses nothing, and a machine that loses its power
        # loses the newest batches together with their marks.
        self._asked(lambda db: db.write(batch))

    def clear(self) -> None:
        self._discard()
        self._db = self._opened_anew()

    def __len__(self) -> int:
        return int(self._asked(lambda db: db.property_int_value("rocksdb.estimate-num-keys")) or 0)

    def close(self) -> None:
        if self._db is not None:
            with suppress(Exception):  # what is wrong with it shows when it is opened again
                self._db.close()
            self._db = None

    def _asked(self, call: Any) -> Any:
        assert self._db is not None, "a closed copy is asked nothing"
        try:
            return call(self._db)
        except Exception as error:
            self._discard()
            raise self._damaged(error) from error

    def _opened(self) -> Rdict:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return Rdict(str(self._folder), _options(self._memory))
        except Exception as error:
            self._discard()
            raise self._damaged(error) from error

    def _opened_anew(self) -> Rdict:
        try:
            return self._opened()
        except CacheDamaged as again:
            raise SetupError(
                f"merge.state_dir: {self._folder} cannot be written ({again.reason}). Free space there, or name another "
                f"folder; all that it holds is read again from Kafka."
            ) from again

    def _discard(self) -> None:
        """Close it and leave nothing behind: half of a copy must never be taken for a whole one."""
        self.close()
        # The first to go is the file without which nothing of it can be opened.
        with suppress(OSError):
            (self._folder / "CURRENT").unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _damaged(self, error: Exception) -> CacheDamaged:
        # rocksdict has no error codes; a status begins with its kind ("Corruption: ", "IO error: "), and names files.
        reason = str(error).partition(": /")[0][:200]
        log.warning("cache_discarded", folder=str(self._folder), reason=reason)
        return CacheDamaged(
            f"{self._folder}: a copy of states could not be used ({reason}). It is read again from Kafka.",
            reason,
        )


def _options(memory: Memory) -> Options:
    """Small records, point lookups of keys that are mostly there, bounded memory."""
    table = BlockBasedOptions()
    table.set_block_cache(memory.blocks)
    table.set_bloom_filter(10, False)
    # Within the cache's bound, instead of beside it, where they would grow with the keys.
    table.set_cache_index_and_filter_blocks(True)
    # In small parts: a whole filter of a large file would push all else out of a bounded cache, and be read again and
    # again (measured: 300 µs a lookup at two million keys instead of 10).
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_metadata_block_size(4 * 1024)
    table.set_pin_top_level_index_and_filter(True)
    table.set_format_version(5)
    table.set_block_size(8 * 1024)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_manager(memory.writes)
    options.set_write_buffer_size(16 * _MIB)
    options.set_max_write_buffer_number(3)
    options.set_max_background_jobs(2)
    options.set_max_open_files(128)
    options.set_optimize_filters_for_hits(True)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_bottommost_compression_type(DBCompressionType.zstd())
    # After a crash: up to the first batch of the log that is not whole, and nothing behind it.
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_max_total_wal_size(64 * _MIB)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options
