"""
Keeps on disk what was read of one object: the digests of each record, and how far the reading has come.

Only the buckets' sums are in memory, however many records there are. On disk a record takes about a hundred bytes per
place. Each page is written together with the start of the next one, so an interrupted reading continues there.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
)

from salmon.errors import SetupError
from salmon.locks import Lock, locked_now
from salmon.model.change import MONGODB, SALESFORCE, SIDES
from salmon.verify.comparing import Seen, Terms
from salmon.verify.digests import BUCKETS, DIGEST_BYTES, NOWHERE, Digest, Sums, bucket_of

RECORDS: Final = "records"
_FORMAT: Final = 1  # of a ledger on disk; a ledger of another format is deleted and started again
# What was read more than a day ago is of little use, and tombstones that were missed since may expire within a week.
_AGE_S_MAX: Final = 24 * 3600.0
_LETTERS: Final = {RECORDS: b"r", SALESFORCE: b"s", MONGODB: b"m"}
_FIRST_FURTHER: Final = 0x80
_DIGESTS: Final = "digests"
_LOCK: Final = "lock"
_ABOUT: Final = b"\0about"
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Suspect:
    """A record whose digests differ. *there*: the places where it was found."""

    key: str
    there: frozenset[str]


class Ledger:
    """
    Args:
        folder: For this ledger only; created if it does not exist.
        about: What the ledger is about. If the folder has a ledger about something else, or an old one, it is deleted first.
        sides: What is compared with `records`.
        now_s: A wall clock.

    Raises:
        SetupError: the folder cannot be used, or another process uses it.
    """

    def __init__(
        self,
        folder: Path,
        about: Mapping[str, Any],
        sides: Sequence[str] = SIDES,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._sides, self._now_s = folder, tuple(sides), now_s
        others = [side for side in self._sides if side not in _LETTERS]
        self._letters = _LETTERS | {
            side: bytes((_FIRST_FURTHER + number,)) for number, side in enumerate(others)
        }
        self._about = {"format": _FORMAT, **about}
        # `records` by the terms of all sides, and each side by its own terms.
        self.agreed = {side: Sums() for side in self._sides}
        self.sums = {side: Sums() for side in self._sides}
        self._rows = 0  # of `records`
        self._lock = _locked(folder)
        try:
            self._db = Rdict(str(folder / _DIGESTS), _options())
            if not self._is_of_use():
                self._start_again()
        except Exception as error:
            self._lock.release()
            raise SetupError(
                f"{folder}: cannot be written ({type(error).__name__}). Free some space, or give another folder."
            ) from error
        self._add_up()

    def __len__(self) -> int:
        """The number of records in `records`."""
        return self._rows

    def place(self, where: str) -> dict[str, Any]:
        """Return how far the reading of a place has come; empty at its beginning."""
        stored = self._db.get(_mark(where))
        return {} if stored is None else dict(json.loads(stored))

    def take_agreed(self, rows: Mapping[str, Mapping[str, Digest] | None], place: Mapping[str, Any]) -> None:
        """
        Add rows of `records`, in the topic's order: key -> digests by each side's terms, None for a removed record.

        A newer version of a record replaces the one before.
        """
        names = {key: self._name(RECORDS, bucket_of(key), key.encode()) for key in rows}
        known: list[bytes | None] = list(self._db.get(list(names.values())) or ())
        batch = WriteBatch(raw_mode=True)
        for (key, digests), older in zip(rows.items(), known, strict=True):
            bucket = bucket_of(key)
            if older is not None:
                self._count_agreed(bucket, older, times=-1)
            if digests is not None:
                data = b"".join(digests[side].encode() for side in self._sides)
                batch.put(names[key], data)
                self._count_agreed(bucket, data)
            elif older is not None:
                batch.delete(names[key])
        batch.put(_mark(RECORDS), json.dumps(place).encode())
        self._db.write(batch)

    def take_side(self, side: str, seen: Sequence[tuple[Seen, Digest]], place: Mapping[str, Any]) -> None:
        """Add a page of a side. If two records have the same key, which only the org allows, both are kept."""
        batch = WriteBatch(raw_mode=True)
        for record, digest in seen:
            bucket = bucket_of(record.key)
            twin = b"\xff" + (record.native_id or "").encode()  # UTF-8 never contains this byte
            batch.put(self._name(side, bucket, record.key.encode() + twin), digest.encode())
            self.sums[side].add(bucket, digest)
        batch.put(_mark(side), json.dumps(place).encode())
        self._db.write(batch)

    def differing(
        self, terms: Mapping[str, Terms], *, with_ids: bool, later: Callable[[str], object]
    ) -> Iterator[Suspect]:
        """
        Yield the records that differ, bucket by bucket. Buckets whose sums agree are skipped.

        Args:
            later: Called with the key of each record that differs only in fields that may differ for now.
        """
        for bucket in range(BUCKETS):
            if self._agrees(bucket, with_ids=with_ids):
                continue
            agreed = {rest.decode(): self._digests_in(data) for rest, data in self._bucket(RECORDS, bucket)}
            shown: dict[str, dict[str, list[Digest]]] = {side: {} for side in self._sides}
            for side in self._sides:
                for rest, data in self._bucket(side, bucket):
                    key = rest.partition(b"\xff")[0].decode()
                    shown[side].setdefault(key, []).append(Digest.decode(data))
            for key in sorted(agreed.keys() | {key for there in shown.values() for key in there}):
                expected = agreed.get(key)
                there = {side: shown[side].get(key, []) for side in self._sides}
                if differs(expected, there, terms, with_ids=with_ids):
                    places = {side for side in self._sides if there[side]} | (
                        {RECORDS} if expected else set()
                    )
                    yield Suspect(key, frozenset(places))
                elif expected and any(
                    one.later != expected[side].later for side in self._sides for one in there[side]
                ):
                    later(key)

    def close(self) -> None:
        """Close the files. What was read stays on disk. Idempotent."""
        self._db.close()
        self._lock.release()

    def _agrees(self, bucket: int, *, with_ids: bool) -> bool:
        org, documents = self.sums[SALESFORCE], self.sums[MONGODB]
        return all(self.agreed[side].same(self.sums[side], bucket) for side in self._sides) and (
            not with_ids or org.native_ids[bucket] == documents.native_ids[bucket]
        )

    def _count_agreed(self, bucket: int, data: bytes, *, times: int = 1) -> None:
        self._rows += times
        for side, digest in self._digests_in(data).items():
            self.agreed[side].add(bucket, digest, times=times)

    def _digests_in(self, data: bytes) -> dict[str, Digest]:
        """The digests of a row of `records`, by each side's terms."""
        parts = (data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES))
        return {side: Digest.decode(part) for side, part in zip(self._sides, parts, strict=True)}

    def _name(self, where: str, bucket: int, rest: bytes = b"") -> bytes:
        return self._letters[where] + bucket.to_bytes(2, "big") + rest

    def _bucket(self, where: str, bucket: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries of a place in a bucket: the rest of each name, and its value."""
        options = ReadOptions()
        options.set_iterate_upper_bound(self._name(where, bucket + 1))
        for name, value in self._db.items(from_key=self._name(where, bucket), read_opt=options):
            assert isinstance(name, bytes), "a raw database"
            yield name[3:], value

    def _add_up(self) -> None:
        """Add up what an interrupted reading has left."""
        for where in (RECORDS, *self._sides):
            if not self.place(where):
                continue
            for bucket in range(BUCKETS):
                for _, value in self._bucket(where, bucket):
                    if where == RECORDS:
                        self._count_agreed(bucket, value)
                    else:
                        self.sums[where].add(bucket, Digest.decode(value))

    def _is_of_use(self) -> bool:
        stored = self._db.get(_ABOUT)
        if stored is None:
            return False
        about = json.loads(stored)
        began_s = about.pop("began_s")
        return bool(about == self._about and 0 <= self._now_s() - began_s < _AGE_S_MAX)

    def _start_again(self) -> None:
        self._db.close()
        shutil.rmtree(self._folder / _DIGESTS, ignore_errors=True)
        self._db = Rdict(str(self._folder / _DIGESTS), _options())
        self._db.put(_ABOUT, json.dumps({**self._about, "began_s": self._now_s()}).encode())


def discard(folder: Path) -> None:
    """Remove a closed ledger from a folder, and the folder if nothing else is in it."""
    shutil.rmtree(folder / _DIGESTS, ignore_errors=True)
    with suppress(OSError):
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def differs(
    agreed: Mapping[str, Digest] | None,
    shown: Mapping[str, Sequence[Digest]],
    terms: Mapping[str, Terms],
    *,
    with_ids: bool,
) -> bool:
    """
    Whether `comparing.findings` may find a difference in a record of these digests. It finds none that they do not show.

    Args:
        agreed: Side -> digest of the row of `records` by its terms; None if there is none.
        shown: Side -> digests of the records with this key there.
    """
    if agreed is None:
        return any(shown[side] and its.extra_counts and not its.keeps for side, its in terms.items())
    for side in terms:
        if agreed[side] == NOWHERE:
            if shown[side] and terms[side].extra_counts:
                return True
        elif not shown[side] or any(one.firm != agreed[side].firm for one in shown[side]):
            return True
    ids = {one.native_id for side in SIDES for one in shown[side]}
    return with_ids and len(ids) > 1


def _mark(where: str) -> bytes:
    return b"\0" + where.encode()


def _locked(folder: Path) -> Lock:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = locked_now(folder / _LOCK)
    except OSError as error:
        raise SetupError(f"{folder}: cannot be written ({error.strerror}). Give another folder.") from error
    if lock is None:
        raise SetupError(
            f"{folder}: another `salmon verify` is using this folder. Wait until it has ended, or give another folder."
        )
    return lock


def _options() -> Options:
    """Small values, written once and read in order; memory bounded by names."""
    table = BlockBasedOptions()
    table.set_block_cache(Cache(16 * _MIB))
    table.set_bloom_filter(10, False)
    table.set_cache_index_and_filter_blocks(True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_manager(WriteBufferManager(24 * _MIB, False))
    options.set_write_buffer_size(8 * _MIB)
    options.set_max_write_buffer_number(3)
    options.set_max_background_jobs(2)
    options.set_max_open_files(64)
    options.set_max_total_wal_size(32 * _MIB)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(_MIB)
    return options
