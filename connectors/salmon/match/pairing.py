"""
Pairs the records of the org with the documents of a collection.

Each record and each document is in exactly one kind:
- matched: they have a common key already.
- a pair: equal values, and no other record or document has them.
- a doubt: there may be a counterpart, and a person has to say which, or whether.
- left: there is no counterpart. The sync will create it on the other side.

What was read is kept in a temporary database on disk, so memory does not grow with the number of records. Reading the sides is for reading.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from salmon.closing import Closing
from salmon.match.normalizing import Terms

# Candidates are listed pair by pair, so that a person moves one line; in larger groups each record has a line of its own.
_LISTED_MAX: Final = 100


class Doubt(StrEnum):
    """Why a person has to look. The text goes into the file of doubts."""

    SEVERAL = "several records or documents have these values"
    NEARLY = "the values are nearly the same"
    OTHER_KEY = "the record in Salesforce carries the key of another document, which is not there"
    OTHER_RECORD = "the document names another record of Salesforce as its own"
    NO_KEY = "the _id of the document cannot be a record key"


@dataclass(frozen=True, slots=True)
class OrgRecord:
    """A record of the org. *carried*: the key in its Salmon_Id__c. *shown*: the values of the fields, for people."""

    id: str
    carried: str | None
    terms: Terms | None
    shown: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """
    A document. *belongs_to*: the Salesforce Id that it has or carries, if any. *has_key*: whether its `_id` can be a record key;
    if not, *key* is the `_id` as it is shown.
    """

    key: str
    terms: Terms | None
    shown: Sequence[str] = ()
    belongs_to: str | None = None
    has_key: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """One line for a person: a record, a document, or both. *doubt*: why it is no pair."""

    id: str = ""
    key: str = ""
    of_org: Sequence[str] = ()
    of_document: Sequence[str] = ()
    doubt: Doubt | None = None


_SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -65536;
CREATE TABLE org (id TEXT PRIMARY KEY, carried TEXT, near BLOB, exact BLOB, shown TEXT) WITHOUT ROWID;
CREATE TABLE doc (key TEXT, has_key INT, near BLOB, exact BLOB, shown TEXT, belongs_to TEXT, PRIMARY KEY (key, has_key)) WITHOUT ROWID;
CREATE TABLE matched (id TEXT PRIMARY KEY, key TEXT UNIQUE) WITHOUT ROWID;
"""
# A key in Salmon_Id__c comes before an Id that is a key itself.
_MATCHED: Final = """
INSERT OR IGNORE INTO matched SELECT org.id, doc.key FROM org JOIN doc ON doc.key = org.carried AND doc.has_key;
INSERT OR IGNORE INTO matched
    SELECT org.id, doc.key FROM org JOIN doc ON doc.key = org.id AND doc.has_key WHERE org.carried IS NULL;
CREATE TABLE open_org AS SELECT * FROM org WHERE id NOT IN (SELECT id FROM matched);
CREATE TABLE open_doc AS
    SELECT * FROM doc WHERE NOT has_key OR key NOT IN (SELECT key FROM matched);
CREATE INDEX org_near ON org (near);
CREATE INDEX doc_near ON doc (near);
CREATE INDEX open_org_near ON open_org (near);
CREATE INDEX open_doc_near ON open_doc (near);
CREATE TABLE groups AS
    SELECT near,
        (SELECT COUNT(*) FROM org WHERE org.near = o.near) AS records,
        (SELECT COUNT(*) FROM doc WHERE doc.near = o.near) AS documents,
        COUNT(*) AS open_records,
        (SELECT COUNT(*) FROM open_doc WHERE open_doc.near = o.near) AS open_documents
    FROM open_org o WHERE near IN (SELECT near FROM open_doc) GROUP BY near;
CREATE UNIQUE INDEX groups_near ON groups (near);
"""
_SINGLE: Final = """
SELECT o.id, d.key, o.shown, d.shown, o.carried, d.belongs_to, d.has_key, o.exact = d.exact
    FROM groups g JOIN open_org o ON o.near = g.near JOIN open_doc d ON d.near = g.near
    WHERE g.records = 1 AND g.documents = 1 ORDER BY o.id
"""
_SEVERAL: Final = """
SELECT near, open_records, open_documents FROM groups WHERE records > 1 OR documents > 1 ORDER BY near
"""
_LEFT: Final = "(near IS NULL OR near NOT IN (SELECT near FROM groups))"
_BETWEEN: Final = "\x1f"  # of the values in `shown`; no field of Salesforce can hold it


class Pairing(Closing):
    """
    A context manager. First add all of both sides, then settle, then ask.

    Args:
        nearly_is_enough: Whether nearly equal values make a pair.
    """

    def __init__(self, *, nearly_is_enough: bool = False) -> None:
        self._nearly_is_enough = nearly_is_enough
        # Without a name, it is a temporary file that is gone with the process, however that ends.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Give the database up. Idempotent."""
        self._db.close()

    def add_org(self, records: Sequence[OrgRecord]) -> None:
        """Add records of the org. One that was added before is replaced."""
        self._add(
            "INSERT OR REPLACE INTO org VALUES (?, ?, ?, ?, ?)",
            ((each.id, each.carried, *_digests(each.terms), _joined(each.shown)) for each in records),
        )

    def add_documents(self, documents: Sequence[DocumentRecord]) -> None:
        """Add documents. One that was added before is replaced."""
        self._add(
            "INSERT OR REPLACE INTO doc VALUES (?, ?, ?, ?, ?, ?)",
            (
                (each.key, each.has_key, *_digests(each.terms), _joined(each.shown), each.belongs_to)
                for each in documents
            ),
        )

    def settle(self) -> None:
        """Sort them into their kinds. Called once, after all are added."""
        self._db.executescript(_MATCHED)

    def matched(self) -> int:
        """How many have a common key already."""
        return self._count("SELECT COUNT(*) FROM matched")

    def pairs(self) -> Iterator[Line]:
        """The pairs, in the order of their Ids."""
        return (line for line in self._single() if line.doubt is None)

    def doubts(self) -> Iterator[Line]:
        """The doubts. A record that may have several counterparts has several lines."""
        yield from (line for line in self._single() if line.doubt is not None)
        for near, records, documents in self._rows(_SEVERAL):
            of_org = self._open_org("near = ?", near)
            of_mongodb = self._open_documents("near = ?", near)
            if records * documents > _LISTED_MAX:
                lines = itertools.chain(of_org, of_mongodb)
            else:
                found = list(of_mongodb)
                lines = itertools.chain.from_iterable(
                    (Line(a.id, b.key, a.of_org, b.of_document) for b in found) for a in of_org
                )
            for line in lines:
                yield Line(line.id, line.key, line.of_org, line.of_document, Doubt.SEVERAL)

    def in_doubt(self) -> tuple[int, int]:
        """How many records and how many documents are in doubt."""
        single = sum(line.doubt is not None for line in self._single())
        ((records, documents),) = self._rows(
            "SELECT TOTAL(open_records), TOTAL(open_documents) FROM groups WHERE records > 1 OR documents > 1"
        )
        return single + int(records), single + int(documents)

    def left_in_org(self) -> Iterator[Line]:
        """The records without a counterpart, in the order of their Ids."""
        return self._open_org(_LEFT)

    def left_in_mongodb(self) -> Iterator[Line]:
        """The documents without a counterpart, in the order of their keys."""
        return self._open_documents(_LEFT)

    def _add(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(statement, rows)
        self._db.execute("COMMIT")

    def _single(self) -> Iterator[Line]:
        """Those with the same values, of which neither side has others: pairs, and doubts for another reason."""
        for native_id, key, of_org, of_document, carried, belongs_to, has_key, is_equal in self._rows(
            _SINGLE
        ):
            doubt: Doubt | None = None
            if not has_key:
                doubt = Doubt.NO_KEY
            elif carried is not None:
                doubt = Doubt.OTHER_KEY
            elif belongs_to not in (None, native_id):
                doubt = Doubt.OTHER_RECORD
            elif not (is_equal or self._nearly_is_enough):
                doubt = Doubt.NEARLY
            yield Line(native_id, key, _split(of_org), _split(of_document), doubt)

    def _open_org(self, where: str, *parameters: bytes) -> Iterator[Line]:
        query = f"SELECT id, shown FROM open_org WHERE {where} ORDER BY id"
        return (
            Line(id=native_id, of_org=_split(shown)) for native_id, shown in self._rows(query, *parameters)
        )

    def _open_documents(self, where: str, *parameters: bytes) -> Iterator[Line]:
        query = f"SELECT key, shown FROM open_doc WHERE {where} ORDER BY key, has_key"
        return (Line(key=key, of_document=_split(shown)) for key, shown in self._rows(query, *parameters))

    def _count(self, query: str) -> int:
        ((count,),) = self._rows(query)
        return int(count)

    def _rows(self, query: str, *parameters: bytes) -> Iterator[tuple[Any, ...]]:
        with closing(self._db.execute(query, parameters)) as cursor:
            yield from cursor


def _digests(terms: Terms | None) -> tuple[bytes | None, bytes | None]:
    return (None, None) if terms is None else (terms.near, terms.exact)


def _joined(shown: Sequence[str]) -> str:
    return _BETWEEN.join(each.replace(_BETWEEN, " ") for each in shown)


def _split(shown: str) -> Sequence[str]:
    return shown.split(_BETWEEN) if shown else ()
