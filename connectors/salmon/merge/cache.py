"""
The working copy of one partition of a `state` topic: the newest value of each key, and up to which offset it is complete.

The topic is the truth. A copy is written after the transaction has committed. If anything is wrong with it, it is
discarded and read again from the topic. salmon.merge.restoring brings a copy up to date.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
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
from salmon.foreign_json import json_in

log = structlog.get_logger(__name__)

_FORMAT: Final = 1  # of a copy on disk; one of another format is discarded and read again
_MARK: Final = b"\xffmark"  # record keys are UTF-8, in which no text begins with this byte
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """The partition of a copy. A topic that was deleted and created again has another id."""

    cluster: str
    topic: str
    topic_id: str  # empty if the broker gives none
    partition: int


@dataclass(frozen=True, slots=True)
class Mark:
    """
    How far a copy is complete: it has everything that was committed in *origin* below *offset*.

    It may have newer values as well; they are replaced when the topic is read from *offset* on.
    *at_ms* is a time, in ms since 1970, at which nothing below *offset* was missing.
    """

    origin: Origin
    offset: int
    at_ms: int

    def encode(self) -> bytes:
        return json.dumps({"format": _FORMAT, **asdict(self)}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Mark | None:
        """Decode a mark; None if it is not valid, or has another format."""
        try:
            mark = json_in(data)
            if mark.pop("format") != _FORMAT:
                return None
            return cls(Origin(**mark["origin"]), int(mark["offset"]), int(mark["at_ms"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


class StateCache(Protocol):
    """
    What merge needs of a copy. For one thread only.

    Raises:
        CacheDamaged: any method may raise it. The copy was deleted; when it is opened again, it is empty.
    """

    @property
    def mark(self) -> Mark | None:
        """How far the copy is complete; None for a new one."""

    def get(self, key: str) -> bytes | None:
        """Return the newest value of *key*; None if there is none."""

    def rows_after(self, key: str) -> Iterator[tuple[str, bytes]]:
        """Yield keys and values in the order of the keys, from the first one after *key* (empty: from the beginning)."""

    def write(self, rows: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        """Write *rows* (None removes a key) and *mark* atomically: after a crash, all of it is there or nothing."""

    def clear(self) -> None:
        """Remove everything, including the mark."""

    def __len__(self) -> int:
        """Return the approximate number of keys."""

    def close(self) -> None:
        """Release files and memory. What was written stays. Idempotent."""


class Memory:
    """The memory that all copies of a process share, so that it is bounded however many copies there are."""

    def __init__(self, *, blocks_mib: int = 32, writes_mib: int = 32) -> None:
        self.blocks = Cache(blocks_mib * _MIB)
        self.writes = WriteBufferManager(writes_mib * _MIB, False)


class RocksCache:
    """
    A copy in a RocksDB database of its own.

    Args:
        folder: Contains only this copy. It is created if it is missing, and created again if it cannot be opened.

    Raises:
        SetupError: the folder cannot be written.
    """

    def __init__(self, folder: Path, memory: Memory) -> None:
        self._folder, self._memory = folder, memory
        self._db: Rdict | None = None
        try:
            self._db = self._opened()
        except CacheDamaged:
            self._db = self._created_again()

    @property
    def mark(self) -> Mark | None:
        data = self._asked(lambda db: db.get(_MARK))
        return None if data is None else Mark.decode(data)

    def get(self, key: str) -> bytes | None:
        value: bytes | None = self._asked(lambda db: db.get(key.encode()))
        return value

    def rows_after(self, key: str) -> Iterator[tuple[str, bytes]]:
        rows = self._asked(lambda db: db.items(from_key=key.encode()))
        while (row := self._asked(lambda _: next(rows, None))) is not None:
            if row[0] != _MARK and row[0] != key.encode():
                yield row[0].decode(), row[1]

    def write(self, rows: Mapping[str, bytes | None], mark: Mark | None = None) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key.encode())
            else:
                batch.put(key.encode(), value)
        if mark is not None:
            batch.put(_MARK, mark.encode())
        # This writes to the write-ahead log without a sync: a killed process loses nothing, and after a power failure
        # the newest batches are lost together with their marks.
        self._asked(lambda db: db.write(batch))

    def clear(self) -> None:
        self._discard()
        self._db = self._created_again()

    def __len__(self) -> int:
        return int(self._asked(lambda db: db.property_int_value("rocksdb.estimate-num-keys")) or 0)

    def close(self) -> None:
        if self._db is not None:
            with suppress(Exception):  # a damage shows when it is opened again
                self._db.close()
            self._db = None

    def _asked(self, call: Any) -> Any:
        assert self._db is not None, "the copy is closed"
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

    def _created_again(self) -> Rdict:
        try:
            return self._opened()
        except CacheDamaged as again:
            raise SetupError(
                f"merge.state_dir: {self._folder} cannot be written ({again.reason}). Free space there, or name another "
                f"folder. Its content is read again from Kafka."
            ) from again

    def _discard(self) -> None:
        """Close and delete the copy. A half deleted copy must never be used as a complete one."""
        self.close()
        # First delete the file without which the database cannot be opened.
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
    """Options for small records, lookups of single keys that mostly exist, and bounded memory."""
    table = BlockBasedOptions()
    table.set_block_cache(memory.blocks)
    table.set_bloom_filter(10, False)
    # Inside the bounded cache. Outside of it they would grow with the number of keys.
    table.set_cache_index_and_filter_blocks(True)
    # In small parts: the whole filter of a large file would push everything else out of a bounded cache, and be read again
    # and again (measured: 300 µs per lookup at two million keys instead of 10).
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
    # After a crash, use the log up to the first incomplete batch, and nothing after it.
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_max_total_wal_size(64 * _MIB)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options
