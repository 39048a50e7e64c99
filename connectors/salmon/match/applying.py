"""
Gives pairs a common key: writes the key of each document into the marker field (Salmon_Id__c) of its record in the org.

Before each batch both sides are read, and what is done already is left alone. So it may be killed at any moment and run again, and
an answer that does not come is settled by reading. A pair that cannot be is refused with the reason, and holds up no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final, Protocol

from pymongo.database import Database

from salmon.errors import Unavailable
from salmon.match.calling import Budget, retried
from salmon.match.files import Pair
from salmon.model.schema import MARKER_ID
from salmon.mongodb.keys import ids_of, key_of
from salmon.mongodb.reading.reads import read_documents
from salmon.mongodb.wire.client import Document
from salmon.salesforce.ids import id18, prefix_of
from salmon.salesforce.wire.codes import DUPLICATE, Verdict, verdict_of
from salmon.salesforce.wire.rest import COLLECTION_ROWS, Page, RowResult

_PAIRS_A_READ: Final = 1_000  # Each may need two Ids; a retrieve takes 2,000.
_AGAIN: Final = frozenset({Verdict.RETRY, Verdict.SIGN_IN, Verdict.LIMITED})
_REFUSED_KEPT_MAX: Final = 100_000

_NO_RECORD: Final = "Salesforce has no such record"
_NO_DOCUMENT: Final = "MongoDB has no document with this key"
_TAKEN: Final = "the record carries the key of another document"
_OTHERS_ID: Final = "the key is the Id of another record of Salesforce"
_DUPLICATE: Final = "another record of Salesforce carries this key"


class Org(Protocol):
    """What is asked of Rest."""

    def retrieve(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> Page: ...
    def update(self, records: Sequence[Mapping[str, object]]) -> Sequence[RowResult]: ...


class Documents(Protocol):
    """Which documents of the object there are."""

    def existing(self, keys: Collection[str]) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Collected:
    """The documents of one collection."""

    database: Database[Document]
    collection: str

    def existing(self, keys: Collection[str]) -> frozenset[str]:
        """Return those of *keys* that a document has."""
        ids = ids_of(keys)
        reads = read_documents(self.database, self.collection, ids, projection={"_id": 1}) if ids else ()
        return frozenset(key_of(document["_id"]) for read in reads for document in read.documents)


@dataclass(slots=True)
class Applied:
    """What became of the pairs of an object."""

    written: int = 0
    there: int = 0  # had the key already
    refused: list[tuple[Pair, str]] = field(default_factory=list)

    @property
    def reasons(self) -> Mapping[str, int]:
        """Why pairs were refused, and how many."""
        return Counter(reason for _, reason in self.refused)


class Applying:
    """
    Args:
        name: The object.
        prefix: Of its Ids.
        watch: Called with the number of pairs that are done.
        carrier: The marker field that holds a record's key.
    """

    def __init__(
        self,
        name: str,
        prefix: str | None,
        org: Org,
        documents: Documents,
        *,
        budget: Budget,
        watch: Callable[[int], None] = lambda _: None,
        carrier: str = MARKER_ID,
    ) -> None:
        self._name, self._prefix, self._carrier = name, prefix, carrier
        self._org, self._documents = org, documents
        self._budget, self._watch = budget, watch

    def apply(self, pairs: Iterable[Pair]) -> Applied:
        """
        Write the keys of all *pairs*.

        Raises:
            RetriableError: a side does not answer, or the allowance of API calls is used up. What is written stays, and the same
                call goes on there.
        """
        applied = Applied()
        rest = iter(pairs)
        done = 0
        while some := list(islice(rest, _PAIRS_A_READ)):
            # Again, where an answer did not come: what was written meanwhile is seen by reading.
            retried(partial(self._apply_some, some, applied))
            done += len(some)
            self._watch(done)
            if len(applied.refused) > _REFUSED_KEPT_MAX:
                break
        return applied

    def _apply_some(self, pairs: Sequence[Pair], applied: Applied) -> None:
        due, there, refused = self._looked_at(pairs)
        written, refusals = 0, dict(refused)
        again = ""
        for batch in _batches(due, COLLECTION_ROWS):
            self._budget.check()
            for pair, result in zip(batch, self._update(batch), strict=True):
                code = "" if result.success else next((each.code for each in result.errors), "UNKNOWN")
                message = next((each.message for each in result.errors), "")
                if not code:
                    written += 1
                elif verdict_of(code, message) in _AGAIN:
                    again = code
                else:
                    refusals[pair] = (
                        _DUPLICATE if code == DUPLICATE else f"Salesforce refuses to write its key ({code})"
                    )
        if again:
            raise Unavailable(
                f"Salesforce cannot write some records of {self._name} at the moment ({again}). Run this again: nothing is done twice."
            )
        # Counted at the end: a batch that is tried again has been written in part.
        applied.written += written
        applied.there += there
        applied.refused += [(pair, refusals[pair]) for pair in pairs if pair in refusals]

    def _update(self, pairs: Sequence[Pair]) -> Sequence[RowResult]:
        return self._org.update(
            [{"attributes": {"type": self._name}, "Id": pair.id, self._carrier: pair.key} for pair in pairs]
        )

    def _looked_at(self, pairs: Sequence[Pair]) -> tuple[list[Pair], int, Mapping[Pair, str]]:
        """The pairs that have no common key yet, how many have one, and those that cannot be: why."""
        ids = {pair.id for pair in pairs} | {pair.key for pair in pairs if self._looks_like_id(pair.key)}
        self._budget.check()
        page = self._org.retrieve(self._name, sorted(ids), ["Id", self._carrier])
        carried = {str(row["Id"]): row.get(self._carrier) for row in page.rows}
        keys = {pair.key for pair in pairs} | {key for key in carried.values() if key}
        documents = self._documents.existing(keys)
        due: list[Pair] = []
        refused: dict[Pair, str] = {}
        there = 0
        for pair in pairs:
            has = carried.get(pair.id)
            if pair.id not in carried:
                refused[pair] = _NO_RECORD
            elif pair.key not in documents:
                refused[pair] = _NO_DOCUMENT
            elif (has or pair.id) == pair.key:
                there += 1
            elif has in documents or (not has and pair.id in documents):
                refused[pair] = _TAKEN
            elif pair.key != pair.id and pair.key in carried:
                refused[pair] = _OTHERS_ID
            else:
                due.append(pair)
        return due, there, refused

    def _looks_like_id(self, key: str) -> bool:
        return id18(key) == key and prefix_of(key) == self._prefix


def _batches(pairs: Sequence[Pair], size: int) -> Iterator[Sequence[Pair]]:
    return (pairs[first : first + size] for first in range(0, len(pairs), size))
