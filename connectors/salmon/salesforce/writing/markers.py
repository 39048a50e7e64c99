"""
Reading markers before a write: the only guard there is where the target has none.

Salesforce carries out whatever it is sent, also an older write again. So wherever a write may have been carried
out already, or must not meet another life of its record, the record's marker is read first. What it means is one
pure function.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from salmon.errors import RequestRejected
from salmon.model.change import Write, WriteOp
from salmon.model.markers import Markers
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Outcome, OutcomeKind
from salmon.salesforce.troubles import ObjectRefused
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.batches import IDS_A_QUERY, batches, key_batches
from salmon.salesforce.wire.rest import PAGE_ROWS, Page
from salmon.salesforce.writing.references import RecordId


@dataclass(frozen=True, slots=True)
class Found:
    """A record as its markers show it. *seq* None: it was never written by Salmon."""

    native_id: str
    seq: int | None


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Carry the creation out as an update: the record is there, and an older creation of ours made it."""

    native_id: str


class Querying(Protocol):
    """What is asked of Rest."""

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]: ...


@runtime_checkable
class Retrieving(Protocol):
    """An org that shows many records by their Ids in one call."""

    def retrieve(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> Page: ...


def read_markers(
    org: Querying, asked: Iterable[tuple[RecordId, str | None]], schemas: Mapping[str, ObjectSchema]
) -> Mapping[RecordId, Found | None]:
    """
    The markers of records, None for one that is not there. Each is looked for by its Id, where that is given,
    else by the key it carries.

    Raises Unavailable, RateLimited, SetupError.
    """
    by_object: dict[str, tuple[dict[str, RecordId], dict[str, RecordId]]] = {}
    found: dict[RecordId, Found | None] = {}
    for record, native_id in asked:
        found[record] = None
        ids, keys = by_object.setdefault(record[0], ({}, {}))
        if native_id is None:
            keys[record[1]] = record
        else:
            ids[native_id] = record
    for name, (ids, keys) in by_object.items():
        markers = schemas[name].markers
        for row in _shown_by_id(org, name, ids, markers):
            found[ids[row["Id"]]] = _found(row, markers)
        for some in key_batches(keys):
            for row in _shown(org, name, soql.one_of(markers.key, some), markers):
                if (of := keys.get(row[markers.key])) is not None:
                    found[of] = _found(row, markers)
    return found


def judged(write: Write, found: Found | None) -> Outcome | Overwrite | None:
    """
    What becomes of a write whose record was looked at: its outcome, another way to carry it out, or None: go on.

    A creation is never carried out over a record that lacks our marker: nobody has read that one. A deletion only
    meets the life that it was meant for: a record whose marker is older than the write expects was restored, or
    made by somebody else.
    """
    if found is None:
        return None if write.op is WriteOp.CREATE else Outcome(OutcomeKind.GONE, reason="it is not there")
    if write.op is WriteOp.CREATE and found.seq is None:
        return Outcome(
            OutcomeKind.EXISTS,
            native_id=found.native_id,
            reason="a record with its key was made by somebody else",
        )
    seq = found.seq or 0
    if seq >= write.seq:
        return Outcome(
            OutcomeKind.SKIPPED, native_id=found.native_id, reason="the record holds it or a newer write"
        )
    if write.op is WriteOp.CREATE:
        return Overwrite(found.native_id)
    if write.op is WriteOp.DELETE and seq < write.expected:
        return Outcome(
            OutcomeKind.EXISTS, native_id=found.native_id, reason="the record was created again since"
        )
    return None


def _shown_by_id(
    org: Querying, name: str, ids: Collection[str], markers: Markers
) -> Iterator[Mapping[str, Any]]:
    """More Ids than the URL of a query takes are in the body of one call: a deletion of each of them costs no second call so."""
    if len(ids) <= IDS_A_QUERY or not isinstance(org, Retrieving):
        for some in batches(ids, IDS_A_QUERY):
            yield from _shown(org, name, soql.one_of("Id", some), markers)
        return
    try:
        for some in batches(ids, PAGE_ROWS):
            yield from org.retrieve(name, some, ("Id", *markers.names)).rows
    except RequestRejected as error:
        raise ObjectRefused(name, error) from error


def _shown(org: Querying, name: str, where: str, markers: Markers) -> Iterator[Mapping[str, Any]]:
    try:
        for page in org.pages(soql.select(("Id", *markers.names), name, where=[where])):
            yield from page.rows
    except RequestRejected as error:
        raise ObjectRefused(name, error) from error


def _found(row: Mapping[str, Any], markers: Markers) -> Found:
    marker = row.get(markers.seq)
    return Found(row["Id"], None if marker is None else int(marker))
