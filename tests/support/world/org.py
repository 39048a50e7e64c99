"""A Salesforce org as far as the World needs one: records, triggers, a recycle bin, a change event bus, REST."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from salmon.model.change import SALESFORCE, Change, Op, Value
from salmon.model.schema import MARKER_ID, MARKER_SEQ
from salmon.salesforce.identity import Identity
from salmon.salesforce.ids import id18
from salmon.salesforce.reading.whole.rows import ReadRows, Row
from salmon.salesforce.reading.whole.windows import Window
from salmon.salesforce.wire.clock import SECOND_MS, OrgClock
from salmon.salesforce.wire.rest import Page, RowError, RowResult
from support.world.nature import LINK, OBJECT, RANK, Nature

FOLLOWS = "follows"  # in a change's source: the org did it by itself as it carried out a write of ours
_IN = re.compile(r"(\w+) IN \(([^)]*)\)")


@dataclass
class OrgRecord:
    """A record as the org stores it. *carried*: its Salmon_Id__c; *seq*: its Salmon_Seq__c."""

    native_id: str
    fields: dict[str, Value]
    carried: str | None = None
    seq: int | None = None
    by_us: bool = False  # whether the sink was the last who modified it

    @property
    def key(self) -> str:
        return self.carried or self.native_id


@dataclass(frozen=True)
class OrgEvent:
    """What the bus tells of one record. *change* speaks of every field of the org; the source knows which are synced."""

    native_id: str
    change: Change
    carried: str | None


@dataclass
class Org:
    """One org; *skew_ms* is how far its clock is off."""

    nature: Nature
    skew_ms: int
    records: dict[str, OrgRecord] = field(default_factory=dict)
    bin: dict[str, OrgRecord] = field(default_factory=dict)
    log: list[OrgEvent] = field(default_factory=list)
    lost: int = 0  # events up to this one are no longer on the bus
    ids: int = 0
    number: int = 1  # which org it is
    behind: int = 0  # how far its replay ids are behind the World's count

    def __post_init__(self) -> None:
        self.clock = OrgClock(lambda: self.nature.time.ms / 1000)
        self.look_at_clock()

    @property
    def now_ms(self) -> int:
        return self.nature.time.ms + self.skew_ms

    def by_key(self, key: str) -> OrgRecord | None:
        return next((record for record in self.records.values() if record.key == key), None)

    # Users and triggers.

    def create(
        self, fields: Mapping[str, Value], *, carried: str | None = None, seq: int | None = None
    ) -> OrgRecord:
        self.ids += 1
        native_id = id18(f"001{self.ids:012d}")
        assert native_id is not None
        record = self.records[native_id] = OrgRecord(native_id, dict(fields), carried, seq)
        if self.nature.knobs.fills and seq is not None and record.fields.get("Phone") is None:
            record.fields["Phone"] = f"D{self.ids}"
            self.nature.history.filled.add(f"D{self.ids}")
        if self.nature.knobs.ranks and record.fields.get(RANK) is None:
            record.fields[RANK] = f"G{self.ids}"
            self.nature.history.filled |= {f"G{self.ids}"} if seq is not None else set()
        self._triggers(record, {}, fields)
        self._event(record, Op.CREATE, None, seq, by_us=seq is not None)
        return record

    def edit(self, record: OrgRecord, fields: Mapping[str, Value], *, seq: int | None = None) -> None:
        """Store *fields*; with *seq*, it is the sink who does."""
        before = dict(record.fields)
        if seq is not None:
            for name, value in fields.items():
                if before.get(name) != value:
                    self.nature.history.beaten.setdefault(before.get(name), set()).add((record.key, seq))
        record.fields.update(fields)
        self._triggers(record, before, fields)
        changed = frozenset(n for n, v in record.fields.items() if v != before.get(n))
        # An unchanged marker is not among the changed fields, and so acknowledges nothing.
        ack = seq if seq != record.seq else None
        record.seq = record.seq if seq is None else seq
        if changed or ack is not None:
            self._event(record, Op.UPDATE, changed, ack, by_us=seq is not None)

    def delete(self, record: OrgRecord, *, by_us: bool = False, follows: bool = False) -> None:
        del self.records[record.native_id]
        self.bin[record.native_id] = record
        self._event(record, Op.DELETE, None, None, by_us=by_us, follows=follows)

    def _follow(self) -> None:
        """What an org does by itself as it deletes a record: it clears a lookup, or deletes another record with it."""
        nature, records = self.nature, list(self.records.values())
        if not nature.knobs.follows or not records or not nature.chance(nature.knobs.follows):
            return
        record = nature.random.choice(records)
        if nature.chance(0.3):
            nature.history.ended.add((SALESFORCE, record.key))
            self.delete(record, by_us=True, follows=True)
        elif (link := record.fields.pop(LINK, None)) is not None:
            nature.history.cleared.add(link)
            record.fields["LastModifiedDate"] = self.now_ms // SECOND_MS * SECOND_MS
            changed = frozenset({LINK, "LastModifiedDate"})
            self._event(record, Op.UPDATE, changed, None, by_us=True, follows=True)

    def undelete(self, record: OrgRecord) -> None:
        """
        Bring a record back from the recycle bin, marker and all, unless its unique key is taken. That a record comes
        back whose very Id another one carries as its key is left out: merge reports these twins and leaves them alone.
        """
        if self.by_key(record.key) is not None:
            return
        del self.bin[record.native_id]
        self.records[record.native_id] = record
        self.nature.history.touched.add((SALESFORCE, record.key))
        self._event(record, Op.CREATE, None, None)

    def _triggers(self, record: OrgRecord, before: Mapping[str, Value], fields: Mapping[str, Value]) -> None:
        knobs, history = self.nature.knobs, self.nature.history
        phone, city = record.fields.get("Phone"), record.fields.get("City")
        if knobs.normalise and isinstance(phone, str) and phone != phone.upper():
            record.fields["Phone"] = history.wrote(phone.upper(), "Phone", phone)
            history.derived.add(phone.upper())
            history.touched.add((SALESFORCE, record.key))
        kept = "City" in fields and isinstance(city, str) and city.startswith("k")
        if knobs.keep_city and kept and city != before.get("City"):
            record.fields["City"] = before.get("City")
            history.touched.add((SALESFORCE, record.key))
        name = record.fields.get("Name")
        record.fields["Shout"] = f"{name}!" if name else None
        record.fields["Rollup"] = f"{name}?" if name else None
        record.fields["LastModifiedDate"] = self.now_ms // SECOND_MS * SECOND_MS

    def _event(
        self,
        record: OrgRecord,
        op: Op,
        changed: frozenset[str] | None,
        ack: int | None,
        *,
        by_us: bool = False,
        follows: bool = False,
    ) -> None:
        record.by_us = by_us
        committed_at = self.now_ms // SECOND_MS * SECOND_MS
        change = Change(
            SALESFORCE,
            op,
            committed_at=committed_at,
            commit_time=committed_at,
            order=(self.nature.time.next() - self.behind).to_bytes(8, "big"),
            native_id=record.native_id,
            ack=ack,
            changed=changed,
            fields={} if op is Op.DELETE else dict(record.fields),
            source={FOLLOWS: ""} if follows else {},
            by_us=by_us,
        )
        self.log.append(OrgEvent(record.native_id, change, record.carried))

    # A sandbox that is refreshed.

    def backup(self) -> dict[str, OrgRecord]:
        return copy.deepcopy(self.records)

    def go_back(self, backup: dict[str, OrgRecord]) -> None:
        """Another org with the records of then; the recycle bin is not copied."""
        self.records, self.bin = backup, {}
        self.lost = len(self.log)
        self.number += 1
        if self.nature.chance(0.5):
            self.behind = self.nature.time.count

    # REST, as the source's readers and the sink ask for it.

    def look_at_clock(self) -> None:
        self.clock.saw(_date_header(self.now_ms // 1000))

    def count(self, _name: str) -> int:
        return len(self.records)

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]:
        """The markers of records, by Id or by key."""
        asked = _IN.search(soql)
        assert asked is not None, soql
        column, values = asked[1], {text.strip("'") for text in asked[2].split(",")}
        shown = [
            {"Id": r.native_id, MARKER_SEQ: r.seq, MARKER_ID: r.carried}
            for r in (self.bin if deleted else self.records).values()
        ]
        yield Page([row for row in shown if row[column] in values], 0)

    def insert(self, bodies: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        return [self._insert(body) for body in bodies]

    def update(self, bodies: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        return [self._update(body) for body in bodies]

    def delete_ids(self, ids: Sequence[str]) -> Sequence[RowResult]:
        return [self._delete(native_id) for native_id in ids]

    def _insert(self, body: Mapping[str, Any]) -> RowResult:
        fields = _fields_of(body)
        if self.by_key(body[MARKER_ID]) is not None and any(
            r.carried == body[MARKER_ID] for r in self.records.values()
        ):
            return RowResult(False, None, (RowError("DUPLICATE_VALUE", (MARKER_ID,)),))
        if (refused := self._locks() or self._refuses(fields)) is not None:
            return refused
        record = self.create(fields, carried=body[MARKER_ID], seq=int(body[MARKER_SEQ]))
        return RowResult(True, record.native_id)

    def _update(self, body: Mapping[str, Any]) -> RowResult:
        fields = _fields_of(body)
        record = self.records.get(body["Id"])
        if record is None:
            return RowResult(False, None, (RowError("ENTITY_IS_DELETED"),))
        if (refused := self._locks() or self._refuses(fields)) is not None:
            return refused
        if MARKER_SEQ in body:  # else it only asks whether the record can be saved
            self.edit(record, fields, seq=int(body[MARKER_SEQ]))
        return RowResult(True, record.native_id)

    def _delete(self, native_id: str) -> RowResult:
        record = self.records.get(native_id)
        if record is None:
            return RowResult(False, None, (RowError("ENTITY_IS_DELETED"),))
        if (locked := self._locks()) is not None:
            return locked
        if self.nature.knobs.refuse_deletes and str(record.fields.get("Name")).startswith("r"):
            return RowResult(False, None, (RowError("FIELD_CUSTOM_VALIDATION_EXCEPTION"),))
        self.delete(record, by_us=True)
        self._follow()
        return RowResult(True, native_id)

    def _locks(self) -> RowResult | None:
        """The record, or one that it belongs to, is in an approval, or somebody is at work on it."""
        if self.nature.knobs.locks and self.nature.chance(self.nature.knobs.locks):
            return RowResult(False, None, (RowError("ENTITY_IS_LOCKED"),))
        return None

    def _refuses(self, fields: Mapping[str, Value]) -> RowResult | None:
        knobs = self.nature.knobs
        if knobs.ranks and RANK in fields and fields[RANK] is None:
            return RowResult(False, None, (RowError("REQUIRED_FIELD_MISSING", (RANK,)),))
        if knobs.refuse_city and str(fields.get("City")).startswith("r"):
            at_fault = ("City",) if knobs.names_fault else ()
            return RowResult(False, None, (RowError("FIELD_CUSTOM_VALIDATION_EXCEPTION", at_fault),))
        return None


@dataclass
class OrgCalls:
    """The org as the sink's task knows it: what `Rest` offers."""

    org: Org

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]:
        return self.org.pages(soql, deleted=deleted)

    def insert(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        return self.org.insert(records)

    def update(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        return self.org.update(records)

    def delete(self, ids: Sequence[str]) -> Sequence[RowResult]:
        return self.org.delete_ids(ids)


@dataclass
class OrgReader:
    """Reads records and absences as the source's RowReader does, windows included."""

    org: Org
    names: frozenset[str]  # the synced fields
    identity: Identity

    def after(
        self, native_id: str, limit: int = 2000, floor: int = 0, since: int | None = None, to: str = ""
    ) -> ReadRows:
        """*since*: a schedule is shorter than the time that polls overlap, so all records are in it."""
        found = [r for i, r in sorted(self.org.records.items()) if i > native_id and (not to or i <= to)]
        read = self._rows(found[:limit], floor)
        return replace(read, go_on_after=read.rows[-1].native_id if len(found) >= limit else "")

    def by_id(self, native_ids: Sequence[str], floor: int = 0) -> ReadRows:
        return self._rows([self.org.records[i] for i in native_ids if i in self.org.records], floor)

    def by_key(self, keys: Sequence[str], floor: int = 0) -> ReadRows:
        return self._rows([r for r in self.org.records.values() if r.carried in keys], floor)

    def learn_parents(self, _changes: Iterable[Change]) -> frozenset[str]:
        """The lookup's targets are not synced, so they have no keys."""
        return frozenset()

    def deleted(
        self,
        after: str = "",
        *,
        native_ids: Sequence[str] | None = None,
        since: int | None = None,
        limit: int | None = 2000,
        floor: int = 0,
    ) -> ReadRows:
        window = self._window(floor)
        found = [
            r
            for i, r in sorted(self.org.bin.items())
            if i > after and (native_ids is None or i in native_ids)
        ]
        dead = {r.key for r in found[:limit]}
        # Whom a key is given to goes before the record whose Id it is.
        for r in sorted(self.org.records.values(), key=lambda r: r.carried is not None):
            if r.key in dead:
                self.identity.learn(OBJECT, r.native_id, r.key)
        rows = tuple(self.absent(r.native_id, r.key, window, 1) for r in found[:limit])
        more = limit is not None and len(found) >= limit
        return ReadRows(rows, window, rows[-1].native_id if more else "")

    def absent(self, native_id: str | None, key: str, window: Window, deleted_at: int = 0) -> Row:
        change = Change(
            SALESFORCE, Op.ABSENT, committed_at=deleted_at, as_of=window.as_of, native_id=native_id
        )
        return Row(native_id or "", key, change)

    def _window(self, floor: int) -> Window:
        as_of = max(floor, self.org.clock.covered or 0)
        self.org.look_at_clock()
        return Window(as_of, OrgClock.read_until(self.org.now_ms // SECOND_MS * SECOND_MS, 0))

    def _rows(self, records: Sequence[OrgRecord], floor: int) -> ReadRows:
        window = self._window(floor)
        return ReadRows(tuple(self._row(record, window.as_of) for record in records), window)

    def _row(self, record: OrgRecord, as_of: int) -> Row:
        stamp = record.fields["LastModifiedDate"]
        assert isinstance(stamp, int)
        change = Change(
            SALESFORCE,
            Op.ROW,
            committed_at=stamp,
            as_of=as_of,
            native_id=record.native_id,
            ack=record.seq,
            fields={n: v for n, v in record.fields.items() if n in self.names and v is not None},
            by_us=record.by_us,
        )
        return Row(record.native_id, record.key, change)


def told_of(event: OrgEvent, live: frozenset[str]) -> Change:
    """The event as the sync hears it: of the fields that it knows and that events carry."""
    change = event.change
    changed = None if change.changed is None else change.changed & live
    spoken = live if changed is None else changed
    fields = {n: v for n, v in change.fields.items() if n in spoken and v is not None}
    return replace(change, changed=changed, fields=fields)


@lru_cache(maxsize=1024)
def _date_header(second: int) -> str:
    return formatdate(second, usegmt=True)


def _fields_of(body: Mapping[str, Any]) -> dict[str, Value]:
    return {n: v for n, v in body.items() if n not in {"attributes", "Id", MARKER_SEQ, MARKER_ID}}
