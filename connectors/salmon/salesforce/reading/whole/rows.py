"""
Reading records: queries in, rows and absences out, each with the time up to which it is surely complete.

Which records are read when, and what of it is reported, is for snapshot and feed.
Sources: REST API Developer Guide, "Query", "Get Records by Ids with sObject Collections"; SOQL and SOSL Reference,
"Relationship Queries" (a parent's field by its relationship's name; not through polymorphic relationships).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from salmon.errors import RequestRejected, SchemaMismatch
from salmon.model.change import NOT_OF_TYPE, SALESFORCE, Change, Misfit, Op, Value
from salmon.model.convert import from_rest
from salmon.model.references import target_in
from salmon.model.schema import FieldSchema, Kind
from salmon.salesforce.catalog import STAMP, SyncedObject
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.whole.windows import Window
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.batches import IDS_A_QUERY, batches, key_batches
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.rest import PAGE_ROWS, URI_BYTES, Page

_STAMPS: Final = ("LastModifiedDate", STAMP)
_WHO: Final = "LastModifiedById"
_STAMP: Final = FieldSchema(name=STAMP, type="datetime", kind=Kind.DATETIME)


class Reading(Protocol):
    """What is asked of Rest."""

    clock: OrgClock

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]: ...
    def retrieve(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> Page: ...
    def query_bytes(self, soql: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it was read: ROW, or ABSENT for one that is not there."""

    native_id: str
    key: str
    change: Change
    faults: tuple[BadRow, ...] = ()  # one for each of the change's misfits


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record with a value that does not fit its field's type, as its JSON, for a dead letter."""

    native_id: str
    key: str
    original: bytes
    error: SchemaMismatch


@dataclass(frozen=True, slots=True)
class ReadRows:
    """The answer to one reading."""

    rows: tuple[Row | BadRow, ...]
    window: Window
    # The last Id that the query showed, where it showed as many as it might: there may be more behind it. The rows do not
    # tell: who was deleted between the query and the reading of its fields has none.
    go_on_after: str = ""


class RowReader:
    """Reads the records of one object, and learns the keys that they and their parents show."""

    def __init__(
        self,
        rest: Reading,
        synced: SyncedObject,
        identity: Identity,
        objects: Mapping[str, SyncedObject],
        our_user: str = "",
    ) -> None:
        """
        Args:
            objects: Every synced object, for the keys of the parents that rows refer to.
            our_user: The Id of the user that Salmon writes as, where rows shall say whether that user was the last to write the record.
        """
        self._rest = rest
        self._our_user = our_user[:15]
        self._synced = synced
        self._identity = identity
        self.name = synced.name
        self.schema = synced.schema
        self._markers = synced.schema.markers
        # The parent's own key, where one query can show it: exactly one target, and that is synced.
        self._parents = {
            f"{field.relationship}.{objects[field.reference_to[0]].schema.markers.key}": field
            for field in synced.schema.references
            if field.relationship and len(field.reference_to) == 1 and field.reference_to[0] in objects
        }
        shown_by_parent = {field.name for field in self._parents.values()}
        self._to_resolve = tuple(
            field
            for field in synced.schema.references
            if field.name not in shown_by_parent and any(name in objects for name in field.reference_to)
        )
        stamps = [stamp for stamp in _STAMPS if stamp in synced.names]
        fields = [field.name for field in synced.schema.fields]
        who = [_WHO] if our_user and _WHO in synced.names else []
        self._own = list(dict.fromkeys(["Id", *self._markers.names, *stamps, *who, *fields]))
        # A query is sent in the URL. Where all of its fields do not fit, it asks for the parents' keys only, and
        # the records' own fields are retrieved by Id, with the list of fields in the body.
        longest = soql.select(
            [*self._own, *self._parents],
            self.name,
            where=[soql.one_of("Id", ["0" * 18] * IDS_A_QUERY)],
            limit=PAGE_ROWS,
        )
        self.has_bin = "IsDeleted" in synced.names  # of some objects (User) nothing is ever deleted
        self.wide = rest.query_bytes(longest) > URI_BYTES

    def after(
        self,
        native_id: str,
        limit: int = PAGE_ROWS,
        floor: int = 0,
        since: int | None = None,
        to: str = "",
    ) -> ReadRows:
        """
        The first *limit* records whose Id is above *native_id* ("" for the first), in the order of their Ids, up to the Id *to* ("":
        to the end); only those with a SystemModstamp of *since* or later, where it is given.

        *floor* is a time by the org's clock that had passed before: rows hold all that was committed up to it.
        """
        where = soql.between(native_id, to)
        if since is not None:
            where.append(soql.since(STAMP, since))
        return self._read(where, limit, floor)

    def query(self, after: str, limit: int, to: str = "") -> str:
        """The query of the first *limit* records above the Id *after*, up to *to*, for what takes a query of any length."""
        return soql.select(self.columns, self.name, where=soql.between(after, to), limit=limit)

    def count(self, after: str, to: str, since: int | None = None) -> int:
        """How many records there are above the Id *after*, and up to *to*; with a stamp of *since* or later, where it is given."""
        where = soql.between(after, to)
        if since is not None:
            where.append(soql.since(STAMP, since))
        text = soql.select(["COUNT(Id)"], self.name, where=where)
        return int(self._shown(text, 0)[0][0]["expr0"])

    def first(self, after: str) -> str:
        """The first Id above that one; "" if there is none."""
        return self._end(soql.between(after, ""), backwards=False)

    def last(self, to: str) -> str:
        """The last Id up to that one ("": of all); "" if there is none."""
        return self._end(soql.between("", to), backwards=True)

    @property
    def columns(self) -> Sequence[str]:
        """What `query` selects."""
        return [*self._own, *self._parents]

    def of_results(
        self, shown: Sequence[Mapping[str, Any]], doubtful: Collection[str], window: Window
    ) -> ReadRows:
        """
        The rows of what `query` has shown, as REST would have shown it. *doubtful*: Ids of records that it has not shown with all
        digits: their values are read by REST.
        """
        for ids in batches(sorted(doubtful), IDS_A_QUERY):
            exact, read, _ = self._shown_of([soql.one_of("Id", ids)], None, window.as_of)
            by_id = {row["Id"]: row for row in exact}
            # Who has none was deleted meanwhile.
            shown = [by_id.get(row["Id"], row) for row in shown if row["Id"] not in ids or row["Id"] in by_id]
            window = Window(window.as_of, max(window.until, read.until))
        self._resolve(shown)
        return ReadRows(tuple(self._row(row, window.as_of) for row in shown), window)

    def by_id(self, native_ids: Sequence[str], floor: int = 0) -> ReadRows:
        """The records with these Ids (at most IDS_A_QUERY), without those that are not there."""
        return self._read([soql.one_of("Id", native_ids)], None, floor)

    def by_key(self, keys: Sequence[str], floor: int = 0) -> ReadRows:
        """The records that carry these keys (as many as `key_batches` puts together)."""
        return self._read([soql.one_of(self._markers.key, keys)], None, floor)

    def deleted(
        self,
        after: str = "",
        *,
        native_ids: Sequence[str] | None = None,
        since: int | None = None,
        limit: int | None = PAGE_ROWS,
        floor: int = 0,
    ) -> ReadRows:
        """
        Records in the recycle bin, as ABSENT: among *native_ids*, or the first *limit* above the Id *after*;
        only those deleted since a time, where it is given.

        What has left the recycle bin is not there any more to be asked for.
        """
        if not self.has_bin:
            covered = self._covered(floor)
            return ReadRows((), Window(covered, covered))
        where = ["IsDeleted = true", *soql.after(after)]
        if native_ids is not None:
            where.append(soql.one_of("Id", native_ids))
        if since is not None:
            where.append(soql.since(STAMP, since))
        text = soql.select(["Id", self._markers.key, STAMP], self.name, where=where, limit=limit)
        shown, window = self._shown(text, floor, deleted=True)
        if native_ids is None:
            self._learn_who_lives({row["Id"]: row.get(self._markers.key) or row["Id"] for row in shown})
        rows = tuple(self._absent(row, window) for row in shown)
        return ReadRows(rows, window, _go_on_after(shown, limit))

    def absent(self, native_id: str | None, key: str, window: Window, deleted_at: int = 0) -> Row:
        """The report that a record was looked for and not found."""
        change = Change(
            origin=SALESFORCE,
            op=Op.ABSENT,
            committed_at=deleted_at,
            as_of=window.as_of,
            native_id=native_id,
        )
        return Row(native_id or "", key, change)

    def _read(self, where: Sequence[str], limit: int | None, floor: int) -> ReadRows:
        shown, window, go_on_after = self._shown_of(where, limit, floor)
        self._resolve(shown)
        return ReadRows(tuple(self._row(row, window.as_of) for row in shown), window, go_on_after)

    def _end(self, where: Sequence[str], *, backwards: bool) -> str:
        text = soql.select(["Id"], self.name, where=where, limit=1, backwards=backwards)
        return "".join(row["Id"] for row in self._shown(text, 0)[0])

    def _shown_of(
        self, where: Sequence[str], limit: int | None, floor: int
    ) -> tuple[list[Mapping[str, Any]], Window, str]:
        """The records, the window of their reading, and after which Id there may be more."""
        own = ["Id"] if self.wide else self._own
        text = soql.select([*own, *self._parents], self.name, where=where, limit=limit)
        shown, window = self._shown(text, floor)
        go_on_after = _go_on_after(shown, limit)
        if self.wide:
            shown, until = self._widened(shown)
            window = Window(window.as_of, max(window.until, until))
        return shown, window, go_on_after

    def _shown(
        self, text: str, floor: int, *, deleted: bool = False
    ) -> tuple[list[Mapping[str, Any]], Window]:
        as_of = self._covered(floor)
        shown: list[Mapping[str, Any]] = []
        until = as_of
        for page in self._rest.pages(text, deleted=deleted):
            shown.extend(page.rows)
            until = max(until, page.read_until)
        return shown, Window(as_of, until)

    def _covered(self, floor: int) -> int:
        """Up to when a query that is sent now surely sees everything."""
        return max(floor, self._rest.clock.covered or 0)

    def _widened(self, shown: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
        """The records' own fields, beside what the query showed of their parents."""
        parents = {row["Id"]: row for row in shown}
        rows: list[Mapping[str, Any]] = []
        until = 0
        for ids in batches(parents, PAGE_ROWS):
            page = self._rest.retrieve(self.name, ids, self._own)
            until = max(until, page.read_until)
            rows.extend({**parents[row["Id"]], **row} for row in page.rows)
        return rows, until

    def _resolve(self, shown: Sequence[Mapping[str, Any]]) -> None:
        """Learn the keys of parents that the query cannot show: of polymorphic or nameless relationships."""
        for target, ids in self._strangers(self._to_resolve, shown).items():
            self.learn_keys_of(target, ids)

    def learn_parents(self, changes: Iterable[Change]) -> frozenset[str]:
        """
        Learn the keys of the parents that events of the object refer to; a row perhaps shows another one by now. Return the
        objects whose keys the org refuses to show.
        """
        refused = set()
        references = self._synced.schema.references
        named = [
            {
                f.name: target_in(f, value).key
                for f in references
                if isinstance(value := change.fields.get(f.name), str)
            }
            for change in changes
        ]
        for target, ids in self._strangers(references, named).items():
            try:
                self.learn_keys_of(target, ids)
            except RequestRejected:
                refused.add(target)
        return frozenset(refused)

    def _strangers(
        self, fields: Iterable[FieldSchema], shown: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, set[str]]:
        """The parents that these fields refer to, and that are not known to carry a key, as object -> Ids."""
        found: dict[str, set[str]] = {}
        for field in fields:
            for row in shown:
                native_id = row.get(field.name)
                target = self._identity.target_of(field, native_id) if native_id else None
                if native_id and target and not self._identity.known(target, native_id):
                    found.setdefault(target, set()).add(native_id)
        return found

    def learn_keys_of(self, target: str, ids: Collection[str]) -> None:
        """Learn the keys that records of any synced object carry; who carries none is met, too."""
        for some in batches(sorted(ids), PAGE_ROWS):
            if len(some) <= IDS_A_QUERY:
                learn_keys(self._rest, self._identity, target, soql.one_of("Id", some))
            else:  # one call, too; but it also shows those that carry none
                field = self._identity.markers(target).key
                for row in self._rest.retrieve(target, some, ["Id", field]).rows:
                    if row.get(field):
                        self._identity.learn(target, row["Id"], row[field])
            self._identity.meet(some)

    def _row(self, shown: Mapping[str, Any], as_of: int) -> Row | BadRow:
        native_id = shown["Id"]
        key = self._learn(shown)
        fields: dict[str, Value] = {}
        misfits: dict[str, SchemaMismatch] = {}
        for field in self._synced.schema.fields:
            if shown.get(field.name) not in (None, ""):
                try:
                    fields[field.name] = self._value(field, shown)
                except SchemaMismatch as error:
                    misfits[field.name] = error
        try:
            marker = shown.get(self._markers.seq)
            change = Change(
                origin=SALESFORCE,
                op=Op.ROW,
                committed_at=_stamp_of(shown),
                as_of=as_of,
                native_id=native_id,
                ack=None if marker is None else int(marker),
                changed=frozenset(self._synced.schema.by_name) - misfits.keys() if misfits else None,
                fields=fields,
                misfits={name: Misfit(NOT_OF_TYPE, error.reason) for name, error in misfits.items()},
                by_us=bool(self._our_user) and (shown.get(_WHO) or "")[:15] == self._our_user,
            )
        except SchemaMismatch as error:  # of a stamp
            return BadRow(native_id, key, json.dumps(shown, default=float).encode(), error)
        faults = tuple(
            BadRow(native_id, key, json.dumps(shown, default=float).encode(), error)
            for error in misfits.values()
        )
        return Row(native_id, key, change, faults)

    def _learn_who_lives(self, dead: Mapping[str, str]) -> None:
        """
        A key of a deleted record may have been given to another one, whose creation has not been reported yet. Or it is the Id
        of one that was restored; if both exist, the key belongs to the record that carries it. *dead*: Id -> key. Where the deleted
        record is the one whose Id the key is, and nobody carries that any more, the key dies with it.
        """
        own = {key for i, key in dead.items() if key != i and self._identity.looks_like_id(self.name, key)}
        for some in batches(sorted(own), IDS_A_QUERY):
            where = [soql.one_of("Id", some), f"{self._markers.key} = null"]
            for row in self._shown(soql.select(["Id"], self.name, where=where), 0)[0]:
                self._identity.learn(self.name, row["Id"], row["Id"])
        carried = set[str]()
        for some in key_batches(dead.values()):
            carried |= learn_keys(self._rest, self._identity, self.name, soql.one_of(self._markers.key, some))
        for native_id, key in dead.items():
            if key == native_id and key not in carried and self._identity.native_id(self.name, key):
                self._identity.learn(self.name, native_id, key)

    def _learn(self, shown: Mapping[str, Any]) -> str:
        """Learn the keys that the record and its parents carry; the record's key."""
        native_id: str = shown["Id"]
        met = [native_id]
        for path, field in self._parents.items():
            relationship, _, carrier = path.partition(".")
            parent = shown.get(relationship)
            if parent and shown.get(field.name):
                met.append(shown[field.name])
                if parent.get(carrier):
                    self._identity.learn(field.reference_to[0], shown[field.name], parent[carrier])
        self._identity.meet(met)
        key: str = shown.get(self._markers.key) or native_id
        if key != native_id:
            self._identity.learn(self.name, native_id, key)
        return key

    def _value(self, field: FieldSchema, shown: Mapping[str, Any]) -> Value:
        value = from_rest(field, shown[field.name])
        if field.reference_to and isinstance(value, str):
            return self._identity.reference_key(field, value)
        return value

    def _absent(self, shown: Mapping[str, Any], window: Window) -> Row:
        key = shown.get(self._markers.key) or self._identity.key(self.name, shown["Id"])
        return self.absent(shown["Id"], key, window, _stamp_of(shown, (STAMP,)))


def learn_keys(rest: Reading, identity: Identity, name: str, *where: str) -> set[str]:
    """Learn the keys that records of an object carry, and return them: of all, or of those that *where* chooses."""
    field, carried = identity.markers(name).key, set[str]()
    for page in rest.pages(soql.select(["Id", field], name, where=[*where, f"{field} != null"])):
        for row in page.rows:
            identity.learn(name, row["Id"], row[field])
            carried.add(row[field])
    return carried


def _go_on_after(shown: Sequence[Mapping[str, Any]], limit: int | None) -> str:
    return str(shown[-1]["Id"]) if limit is not None and len(shown) >= limit else ""


def _stamp_of(shown: Mapping[str, Any], stamps: Sequence[str] = _STAMPS) -> int:
    """When the record was last changed, in ms, by the first of *stamps* that it shows; 0 for none."""
    for stamp in stamps:
        if shown.get(stamp):
            return int(str(from_rest(_STAMP, shown[stamp])))
    return 0
