"""
The files of a folder in which a person decides what is a pair: one of each kind for each object, as CSV.

    Contact.pairs.csv            will get a common key by `salmon match --apply`
    Contact.doubts.csv           get none: move a line to the pairs, or delete it
    Contact.only_salesforce.csv  have no counterpart; to look at
    Contact.only_mongodb.csv     have no counterpart; to look at
    Contact.refused.csv          what --apply could not do, and why

Only the columns salesforce_id and key are read. A spreadsheet may have saved the file with semicolons or tabs.
"""

from __future__ import annotations

import csv
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO

from salmon.errors import ConfigError
from salmon.match.pairing import Line
from salmon.salesforce.ids import id18

ID: Final = "salesforce_id"
KEY: Final = "key"
_REASON: Final = "reason"
_AS_TEXT: Final = "'"  # before what a spreadsheet must not interpret
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
_DELIMITERS: Final = ",;\t"


class Kind(StrEnum):
    """What a file holds."""

    PAIRS = "pairs"
    DOUBTS = "doubts"
    ONLY_SALESFORCE = "only_salesforce"
    ONLY_MONGODB = "only_mongodb"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Pair:
    """A record of the org and a document that are the same. *line*: of the file."""

    id: str
    key: str
    line: int = 0


class Folder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str, kind: Kind) -> Path:
        """Return the path of a file."""
        return self.path / f"{name}.{kind}.csv"

    def require_free(self, names: Iterable[str]) -> None:
        """Raise ConfigError if the folder has files of an object: perhaps a person has edited them."""
        for name in names:
            for kind in Kind:
                if os.path.lexists(self.file(name, kind)):
                    raise ConfigError(
                        f"{self.file(name, kind)} exists, and perhaps somebody has edited it. Delete the files of {name} there, or give "
                        f"another --folder."
                    )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(self.path, error) from error

    def write(
        self, name: str, kinds: Iterable[tuple[Kind, Iterable[Line]]], fields: Sequence[str]
    ) -> dict[Kind, int]:
        """
        Write the files of an object; they appear when all of them are written. Returns the number of lines of each.

        Args:
            fields: The names of the fields whose values the lines show.
        """
        counts: dict[Kind, int] = {}
        try:
            for kind, lines in kinds:
                counts[kind] = _write(_part(self.file(name, kind)), kind, lines, fields)
            # The pairs last: a folder without them is not applied.
            for kind in sorted(counts, key=lambda kind: kind is Kind.PAIRS):
                path = self.file(name, kind)
                os.replace(_part(path), path)
        except OSError as error:
            raise _not_writable(self.path, error) from error
        return counts

    def doubts_left(self, name: str) -> int:
        """Return how many lines the file of doubts still has; none if it was deleted."""
        path = self.file(name, Kind.DOUBTS)
        return sum(1 for _ in _lines(path)) if path.exists() else 0

    def refuse(self, name: str, refused: Iterable[tuple[Pair, str]]) -> None:
        """Write what could not be done, and why; without any, delete the file of an earlier run."""
        path = self.file(name, Kind.REFUSED)
        try:
            path.unlink(missing_ok=True)
            rows = [
                [pair.id, _cell_of_key(pair.key), *_cells([reason], [_REASON])] for pair, reason in refused
            ]
            if rows:
                with _new(path) as out:
                    csv.writer(out).writerows([[ID, KEY, _REASON], *rows])
        except OSError as error:
            raise _not_writable(self.path, error) from error


class PairsFile:
    """
    The pairs of an object, as a person has left them. It is checked as a whole first: a record or a document that is in it
    twice is an error.

    Raises:
        ConfigError: the file cannot be read, or a line of it cannot be a pair.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        with closing(
            sqlite3.connect("", isolation_level=None)
        ) as seen:  # a file of its own where it gets large
            seen.execute("CREATE TABLE id (of TEXT PRIMARY KEY, line INT) WITHOUT ROWID")
            seen.execute("CREATE TABLE key (of TEXT PRIMARY KEY, line INT) WITHOUT ROWID")
            seen.execute("BEGIN")
            for pair in self:
                self.count += 1
                for table, what, value in (("id", "record", pair.id), ("key", "document", pair.key)):
                    if not seen.execute(
                        f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", (value, pair.line)
                    ).rowcount:
                        ((line,),) = seen.execute(f"SELECT line FROM {table} WHERE of = ?", (value,))
                        raise ConfigError(
                            f"{path}: lines {line} and {pair.line} name the same {what}. A {what} has one counterpart: delete one of the "
                            f"two lines."
                        )

    def __iter__(self) -> Iterator[Pair]:
        for number, row in _lines(self._path):
            native_id, key = id18(row[0].strip()), _key_of_cell(row[1])
            if native_id is None:
                raise ConfigError(
                    f"{self._path}: line {number} has no valid Salesforce Id in the column {ID}. Correct or delete the line."
                )
            if not key or key != key.strip():
                raise ConfigError(
                    f"{self._path}: line {number} has no record key in the column {KEY}, or one with blanks around it. Correct or "
                    f"delete the line."
                )
            yield Pair(native_id, key, number)


def _write(path: Path, kind: Kind, lines: Iterable[Line], fields: Sequence[str]) -> int:
    """Write a new file. Returns the number of lines."""
    has_id, has_key = kind is not Kind.ONLY_MONGODB, kind is not Kind.ONLY_SALESFORCE
    has_reason = kind is Kind.DOUBTS
    head = [ID] * has_id + [KEY] * has_key + [_REASON] * has_reason
    head += [f"{field} in Salesforce" for field in fields] * has_id
    head += [f"{field} in MongoDB" for field in fields] * has_key
    count = 0
    path.unlink(missing_ok=True)
    with _new(path) as out:
        writer = csv.writer(out)
        writer.writerow(head)
        for line in lines:
            row = [line.id] * has_id + [_cell_of_key(line.key)] * has_key + [line.doubt or ""] * has_reason
            row += _cells(line.of_org, fields) * has_id + _cells(line.of_document, fields) * has_key
            writer.writerow(row)
            count += 1
    return count


def _new(path: Path) -> TextIO:
    """A new file, for its owner alone: it shows values of records, as an org's reasons may do too."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(handle, "w", newline="", encoding="utf-8")


def _part(path: Path) -> Path:
    """Where a file is written that is not whole yet."""
    return path.with_name(path.name + ".part")


def _cells(values: Sequence[str], fields: Sequence[str]) -> list[str]:
    """Values as cells. A spreadsheet would calculate what begins like a formula."""
    cells = [f"{_AS_TEXT}{value}" if value[:1] in _FORMULAS else value for value in values]
    return cells + [""] * (len(fields) - len(cells))


def _cell_of_key(key: str) -> str:
    """A key as a cell. A spreadsheet would calculate what begins like a formula, and make 7 of 007."""
    return key if key[:1].isalpha() or key[:1] == "$" or not key else f"{_AS_TEXT}{key}"


def _key_of_cell(cell: str) -> str:
    return cell.removeprefix(_AS_TEXT)


def _lines(path: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """The lines of a file that are not empty, each with its number: the Id and the key."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = max(_DELIMITERS, key=first.count)
            head = [each.strip() for each in next(csv.reader([first], delimiter=delimiter), [])]
            if ID not in head or KEY not in head:
                raise ConfigError(
                    f"{path}: its first line does not name the columns {ID} and {KEY}. Keep that line as `salmon match` has written it."
                )
            at_id, at_key = head.index(ID), head.index(KEY)
            reader = csv.reader(file, delimiter=delimiter)
            for row in reader:
                if any(cell.strip() for cell in row):
                    cells = [*row, *[""] * len(head)]
                    yield reader.line_num + 1, (cells[at_id], cells[at_key])
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist. Run `salmon match` first, or give the --folder that it has written."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"{path}: cannot be read as CSV in UTF-8 ({type(error).__name__}). Save it as such."
        ) from error


def _not_writable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path}: cannot be written ({error.strerror}). Give another --folder, or free some space."
    )
