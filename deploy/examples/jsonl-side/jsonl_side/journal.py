"""
One object's file, for its three users: applications that append lines, the source that reads them, the sink that adds its own.

    {"salmon": {"generation": "5f0c...", "base": 0, "kept": 0}}           the head, which Salmon writes
    {"key": "001A", "set": {"Phone": "555 0101"}, "at": "2026-11-29T10:00:00Z"}
    {"key": "001A", "set": {"Phone": "555 0102"}, "seq": 17}              a write of Salmon's: `seq` is the record's marker
    {"key": "001A", "delete": true}

A line sets fields (null clears one) of the record with that key, and creates the record if there is none. So the lines, read from
the first to the last, give the records. A place in the file is a number that never falls: base + the bytes after the head. Lines
from the place `kept` on are as they were written; those before it were squashed, and keep only what they came to.

Who writes holds the lock of the file (flock of <sObject>.lock). An application appends; Salmon writes the file anew and renames it,
so that a kill leaves the old file or the new one. A line without its end, of an application that was killed, is ended by whoever
writes next, and never cut.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from salmon.plugin import SEQ_MAX, DataError, SetupError, Unavailable

LOCK_WAIT_S: Final = 10.0
_LOCK_LOOK_S: Final = 0.02
_KEY_BYTES_MAX: Final = 255
_SQUASH_AT: Final = 4  # times keep_bytes


def require_folder(folder: Path) -> None:
    """Raise SetupError if it is not there, or not ours to write to."""
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise SetupError(f"sides.jsonl.folder: {folder} is not a folder that we may write to. Make it.")


class Found(Enum):
    """What has become of a place in the file."""

    SAME = "same"
    SQUASHED = "squashed"  # some of the lines after it are no longer there as they were written
    OTHER = "other"  # the file is another one, or an older copy of it


@dataclass
class Record:
    """What the lines came to. *marker*: the seq of Salmon's last write; 0 if there was none."""

    fields: dict[str, Any]
    marker: int = 0


@dataclass(frozen=True)
class Line:
    """One line. *end*: the place after it. *fields*: what it sets; None for a deletion. *before*: the record as it was."""

    end: int
    raw: bytes
    key: str
    fields: Mapping[str, Any] | None
    seq: int
    at_ms: int
    before: Record | None


@dataclass(frozen=True)
class Bad:
    """A line that says nothing, and why."""

    end: int
    raw: bytes
    error: DataError


@dataclass(frozen=True)
class Head:
    generation: str = ""
    base: int = 0
    kept: int = 0

    def line(self) -> bytes:
        return _encoded({"salmon": {"generation": self.generation, "base": self.base, "kept": self.kept}})


@dataclass(frozen=True)
class Place:
    """How far the file was read. *length*, *digest*: of the line before it, by which it is known again."""

    generation: str
    end: int
    length: int = 0
    digest: str = ""


@dataclass
class Journal:
    """
    One user's view of a file: the records as they were at the place up to which it has read.

    Args:
        path: The file. It is created, with its head, by the first user.
        keep_bytes: See JsonlSettings.
    """

    path: Path
    keep_bytes: int = 1 << 24
    lock_wait_s: float = LOCK_WAIT_S
    records: dict[str, Record] = field(default_factory=dict)
    place: Place = Place("", 0)
    bad: tuple[Bad, ...] = ()  # the lines that the last open() could not use

    def open(self, upto: Place | None = None) -> Found:
        """Read up to a place, or to the end. If what comes after the place is not to be had, read to the end."""
        with self.locked():
            return self.load(upto)

    def load(self, upto: Place | None = None) -> Found:
        """The same, for who holds the lock."""
        head, data = self._read()
        if not head.generation:
            head = Head(uuid.uuid4().hex)
            self._replace(head, data)
        self.records, self.place = {}, Place(head.generation, head.base)
        found = Found.SAME if upto is None else self._found(head, data, upto)
        end = upto.end if upto is not None and found is Found.SAME else head.base + len(data)
        self.bad = tuple(line for line in self._lines(data[: end - head.base]) if isinstance(line, Bad))
        return found

    def follow(self) -> Iterator[Line | Bad]:
        """
        Take in the lines that came since, one by one.

        Raises:
            LookupError: the file is another than before. open() reads it.
        """
        head, data = self._read()
        if self._found(head, data, self.place) is not Found.SAME:
            raise LookupError(self.path.name)
        yield from self._lines(data[self.place.end - head.base :])

    def write(self, lines: Sequence[bytes]) -> None:
        """Add lines, at once and for good; what came since is taken in before. Hold the lock, and call follow() or load() in it first."""
        head, data = self._read()
        if data and not data.endswith(b"\n"):
            data += b"\n"
        data += b"".join(lines)
        if len(data) > _SQUASH_AT * self.keep_bytes:
            head, data = self._squashed(head, data)
        self._replace(head, data)
        at = max(self.place.end - head.base, 0)
        for _ in self._lines(data[at:]):
            pass

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other writers out. Raises Unavailable: somebody holds the lock for too long."""
        with _locked(self.path, self.lock_wait_s):
            yield

    def _read(self) -> tuple[Head, bytes]:
        """The head, and all that follows it; of a file without one, all of it."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return Head(), b""
        except OSError as error:
            raise Unavailable(f"{self.path}: cannot be read ({error.strerror}).") from error
        first, _, rest = content.partition(b"\n")
        try:
            said = json.loads(first)["salmon"]
            return Head(str(said["generation"]), int(said["base"]), int(said["kept"])), rest
        except (ValueError, TypeError, KeyError):
            return Head(), content

    def _found(self, head: Head, data: bytes, place: Place) -> Found:
        at = place.end - head.base
        if head.generation != place.generation or at > len(data):
            return Found.OTHER
        if place.end < head.kept:
            return Found.SQUASHED
        is_same = place.end == head.kept or _digest(data[at - place.length : at]) == place.digest
        return Found.SAME if is_same or not place.length else Found.OTHER

    def _lines(self, data: bytes) -> Iterator[Line | Bad]:
        """The whole lines of *data*, which begins at our place; each is taken in before the next."""
        for raw in data.splitlines(keepends=True):
            if not raw.endswith(b"\n"):
                return  # somebody is still writing it
            end = self.place.end + len(raw)
            self.place = Place(self.place.generation, end, len(raw), _digest(raw))
            try:
                line = _parsed(raw, end, self.records)
            except DataError as error:
                yield Bad(end, raw, error)
                continue
            if line is not None:
                self._take(line)
                yield line

    def _take(self, line: Line) -> None:
        if line.fields is None:
            self.records.pop(line.key, None)
            return
        fields = dict(line.before.fields) if line.before else {}
        for name, value in line.fields.items():
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = value
        self.records[line.key] = Record(fields, line.seq or (line.before.marker if line.before else 0))

    def _squashed(self, head: Head, data: bytes) -> tuple[Head, bytes]:
        cut = data.index(b"\n", len(data) - self.keep_bytes) + 1
        before = Journal(self.path, place=Place(head.generation, head.base))
        for _ in before._lines(data[:cut]):
            pass
        squashed = b"".join(
            line_of(key, record.fields, record.marker) for key, record in before.records.items()
        )
        kept = head.base + cut
        if len(squashed) > kept:
            return head, data  # there is nothing to gain yet
        return Head(head.generation, kept - len(squashed), kept), squashed + data[cut:]

    def _replace(self, head: Head, data: bytes) -> None:
        fresh = self.path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(head.line() + data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Unavailable(f"{self.path}: cannot be written ({error.strerror}).") from error


def line_of(key: str, fields: Mapping[str, Any] | None, seq: int = 0, at: str = "") -> bytes:
    """A line that sets fields of a record, or deletes it (None)."""
    does: dict[str, Any] = {"delete": True} if fields is None else {"set": fields}
    return _encoded({"key": key, **does, **({"seq": seq} if seq else {}), **({"at": at} if at else {})})


def append(folder: str | Path, name: str, key: str, fields: Mapping[str, Any] | None) -> None:
    """For applications: set fields of a record of the object *name*, create it, or delete it (None)."""
    path = Path(folder) / f"{name}.jsonl"
    with _locked(path, LOCK_WAIT_S), path.open("a+b") as file:
        torn = file.seek(0, os.SEEK_END) > 0 and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        file.write((b"\n" if torn else b"") + line_of(key, fields, at=now))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _locked(path: Path, wait_s: float) -> Iterator[None]:
    deadline = time.monotonic() + wait_s
    try:
        lock = path.with_suffix(".lock").open("ab")
    except OSError as error:
        raise Unavailable(f"{path.parent}: cannot be written ({error.strerror}).") from error
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{path}: another program has held its lock for {wait_s:.0f} s."
                    ) from None
                time.sleep(_LOCK_LOOK_S)
        yield  # closing the file releases the lock


def _parsed(raw: bytes, end: int, records: Mapping[str, Record]) -> Line | None:
    """None for an empty line. Raises DataError; no message quotes the line."""
    if not raw.strip():
        return None
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        raise DataError("a line is not valid JSON. Append it again, corrected.") from None
    key = said.get("key") if isinstance(said, dict) else None
    if not isinstance(key, str) or not 0 < _bytes(key) <= _KEY_BYTES_MAX or key.strip() != key:
        raise DataError(f"a line has no `key`: text of 1 to {_KEY_BYTES_MAX} bytes without outer blanks.")
    fields = None if said.get("delete") is True else said.get("set")
    if fields is not None and not isinstance(fields, dict):
        raise DataError("`set` in a line must be an object: field name -> value.")
    if fields is None and said.get("delete") is not True:
        raise DataError('a line has neither `set` nor `"delete": true`.')
    if key.startswith("$") and key not in records and fields is not None:
        raise DataError("a new record's key cannot begin with $, which stands for keys of other types.")
    seq = said.get("seq")
    marker = seq if type(seq) is int and 0 < seq < SEQ_MAX else 0
    return Line(end, raw, key, fields, marker, _ms(said.get("at")), records.get(key))


def _bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def _ms(at: Any) -> int:
    """0 if the line does not say when: then it loses to an edit that does."""
    try:
        moment = datetime.fromisoformat(at)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return 0


def _encoded(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _digest(raw: bytes) -> str:
    return sha256(raw).hexdigest()[:16]
