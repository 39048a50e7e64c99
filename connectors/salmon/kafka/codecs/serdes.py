"""
Converts our types to Avro records and back: changes, writes, records, conflicts, offsets, identities, signals.

The types are defined in the model; kafka.codecs.avro makes bytes of a record. Keys are plain UTF-8 and are not
handled here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import Codec, generation_of, writer_of
from salmon.kafka.codecs.positions import position_in
from salmon.kafka.codecs.registry import Registry
from salmon.model.change import (
    ERROR,
    MONGODB,
    OWNED_BY_MERGE,
    PLACE,
    SALESFORCE,
    SALESFORCE_ID,
    Change,
    Misfit,
    Op,
    Value,
    Write,
    WriteOp,
)
from salmon.model.policies import Conflict, Contest, Edit
from salmon.model.schema import Kind, ObjectSchema
from salmon.plugin.contract import Position, Signal, SignalKind

_OF_RECORDS: Final = frozenset({Op.CREATE, Op.UPDATE, Op.ROW})


class Changes(Codec):
    """The codec of one object's `changes` topic."""

    def __init__(self, schema: ObjectSchema, registry: Registry, topic: str) -> None:
        super().__init__(schemas.envelope("change", schema.to_avro()), registry, topic)
        self._lists = _lists(schema)
        self._rows = frozenset(schema.by_name)
        self._live = frozenset(field.name for field in schema.fields if field.live)
        # Writer's schema id -> see _known_to, for rows and for Salesforce's events.
        self._known: dict[int, tuple[frozenset[str] | None, frozenset[str] | None]] = {}
        # The same for MongoDB's rows and events: an older version does not say in which collection a document is.
        self._known_of_documents: dict[int, frozenset[str] | None] = {}

    def encode(self, change: Change) -> bytes:
        """Encode a change. Raises SchemaMismatch: a value does not match its field, or the object has no such field."""
        fields = change.fields
        datum = {
            "origin": change.origin,
            "op": change.op,
            "committed_at": change.committed_at,
            "commit_time": change.commit_time,
            "order": change.order,
            "as_of": change.as_of,
            "native_id": change.native_id,
            "ack": change.ack,
            "by_us": change.by_us or None,
            # Sorted, so that equal changes are equal bytes.
            "changed": None if change.changed is None else sorted(change.changed),
            "salesforce_id": fields.get(SALESFORCE_ID),
            "error": fields.get(ERROR),
            "collection": fields.get(PLACE),
            "misfits": [
                {"name": name, "code": misfit.code, "reason": misfit.reason}
                for name, misfit in sorted(change.misfits.items())
            ]
            or None,
            "source": change.source,
            "history": change.history,
            "fields": _row(fields),
        }
        return self.encode_datum(datum)

    def decode(self, data: bytes) -> Change:
        """Decode a change. Raises SchemaMismatch: the bytes are not a change of this object."""
        return self.decode_with_row(data)[0]

    def decode_with_row(self, data: bytes) -> tuple[Change, bytes | None]:
        """
        Decode a change, and also return its fields as the body of a `records` value; None if that body would differ.

        Raises:
            SchemaMismatch: the bytes are not a change of this object.
        """
        datum, row = self.decode_parts(data)
        op = Op(datum["op"])
        changed = datum["changed"]
        change = Change(
            origin=datum["origin"],
            op=op,
            committed_at=datum["committed_at"],
            commit_time=datum["commit_time"],
            order=datum["order"],
            as_of=datum["as_of"],
            native_id=datum["native_id"],
            ack=datum["ack"],
            changed=None if changed is None else frozenset(changed),
            fields=_set_fields(datum, self._lists),
            misfits={
                misfit["name"]: Misfit(misfit["code"], misfit["reason"]) for misfit in datum["misfits"] or ()
            },
            source=datum["source"],
            history=datum["history"],
            knows=self._known_to(writer_of(data), datum["origin"], op) if op in _OF_RECORDS else None,
            by_us=bool(datum["by_us"]),
        )
        return change, row

    def _known_to(self, writer: int, origin: str, op: Op) -> frozenset[str] | None:
        """Return the fields that a writer's schema can report in such a change; None if they are all fields of ours."""
        try:
            rows, events = self._known[writer]
        except KeyError:
            rows, events = self._known[writer] = self._learn_known(writer)
        if origin == MONGODB:
            return self._known_of_documents[writer]
        return events if origin == SALESFORCE and op is not Op.ROW else rows

    def _learn_known(self, writer: int) -> tuple[frozenset[str] | None, frozenset[str] | None]:
        schema = self._registry.schema_by_id(writer)
        row = _row_fields(schema)
        rows = {field["name"] for field in row}
        live = {field["name"] for field in row if field.get("salmon", {}).get("live", True)}
        known = None if self._rows <= rows else self._rows & rows | OWNED_BY_MERGE
        names_places = any(field["name"] == "collection" for field in schema["fields"])
        self._known_of_documents[writer] = (
            known if names_places else (OWNED_BY_MERGE | self._rows if known is None else known) - {PLACE}
        )
        return (
            known,
            None if self._live <= live else self._live & live | OWNED_BY_MERGE,
        )


class Writes(Codec):
    """The codec of the `writes` topic of one side and object."""

    def __init__(self, schema: ObjectSchema, registry: Registry, topic: str) -> None:
        super().__init__(schemas.envelope("write", schema.to_avro()), registry, topic)
        self._lists = _lists(schema)
        self._fields = schema.by_name
        self._known: dict[
            int, frozenset[str] | None
        ] = {}  # writer's schema id -> what it knew, if not all of ours

    def encode(self, write: Write, row: bytes | None = None) -> bytes:
        """
        Encode a command.

        Args:
            row: Its fields, except for merge's own, as the body of a `records` value, if the caller has it.

        Raises:
            SchemaMismatch: a value does not match its field, or the object has no such field.
        """
        fields = write.fields
        datum = {
            "seq": write.seq,
            "op": write.op,
            "expected": write.expected,
            "native_id": write.native_id,
            "names": sorted(fields) if None in fields.values() else None,
            "committed_at": write.committed_at,
            "correlation": write.correlation,
            "salesforce_id": fields.get(SALESFORCE_ID),
            "error": fields.get(ERROR),
            "collection": fields.get(PLACE),
            "lacks": [] if write.knows is None else sorted(self._fields.keys() - write.knows),
            "differs": None if write.differs is None else sorted(write.differs),
        }
        if row is not None and (data := self.encode_with(datum, row)) is not None:
            return data
        return self.encode_datum({**datum, "fields": _row(fields)})

    def decode(self, data: bytes) -> Write:
        """Decode a command. Raises SchemaMismatch: the bytes are not a write of this object."""
        datum = self.decode_datum(data)
        fields = _set_fields(datum, self._lists)
        if datum["names"] is not None:
            # A name we lack belongs to a field that has left the object's schema since.
            known = datum["fields"].keys() | OWNED_BY_MERGE
            fields = {name: fields.get(name) for name in datum["names"] if name in known}
        return Write(
            seq=datum["seq"],
            op=WriteOp(datum["op"]),
            expected=datum["expected"],
            native_id=datum["native_id"],
            fields=fields,
            committed_at=datum["committed_at"],
            correlation=datum["correlation"],
            knows=self._spoken_of(writer_of(data), datum["lacks"]),
            differs=None if datum["differs"] is None else frozenset(datum["differs"]),
        )

    def _spoken_of(self, writer: int, lacks: list[str]) -> frozenset[str] | None:
        """Return the fields that a write speaks of, if not of all of ours."""
        known = self._known_to(writer)
        if not lacks:
            return known
        return (OWNED_BY_MERGE.union(self._fields) if known is None else known) - frozenset(lacks)

    def _known_to(self, writer: int) -> frozenset[str] | None:
        if writer not in self._known:
            schema = self._registry.schema_by_id(writer)
            row, generation = {field["name"] for field in _row_fields(schema)}, generation_of(schema)
            # A field that was taken out of the sync and put back is new to it, too.
            known = frozenset(
                n for n, field in self._fields.items() if n in row and field.since <= generation
            )
            self._known[writer] = None if self._fields.keys() <= known else known | OWNED_BY_MERGE
        return self._known[writer]


class Records(Codec):
    """The codec of one object's `records` topic: the flat row."""

    def __init__(
        self,
        schema: ObjectSchema,
        registry: Registry,
        topic: str,
        *,
        avro: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(avro or schema.to_avro(), registry, topic)
        self._lists = _lists(schema)

    def encode(self, row: Mapping[str, Value]) -> bytes:
        """
        Encode a row; a field that is not in it is null.

        Raises:
            SchemaMismatch: a value does not match its field, or the object has no such field.
        """
        return self.encode_datum(row)

    def decode(self, data: bytes) -> dict[str, Value]:
        """
        Decode a row. It has every field of the object, null or not.

        Raises:
            SchemaMismatch: the bytes are not a row of this object.
        """
        return _with_tuples(self.decode_datum(data), self._lists)


class Offsets(Codec):
    """The codec of the `offsets` topic: positions."""

    def __init__(self, registry: Registry, topic: str) -> None:
        super().__init__(schemas.fixed("offset"), registry, topic)

    def encode(self, position: Position) -> bytes:
        """Encode a position. Raises TypeError if it cannot be written as JSON, which is a mistake of ours."""
        return self.encode_datum({"position": json.dumps(position, separators=(",", ":"))})

    def decode(self, data: bytes) -> Position:
        """Decode a position. Raises SchemaMismatch: the bytes are not a position."""
        return position_in(self.decode_datum(data)["position"], self.topic)


class Identities(Codec):
    """The codec of an `identity` topic: the record key of a Salesforce Id."""

    def __init__(self, registry: Registry, topic: str) -> None:
        super().__init__(schemas.fixed("identity"), registry, topic)

    def encode(self, key: str) -> bytes:
        return self.encode_datum({"key": key})

    def decode(self, data: bytes) -> str:
        """Decode a record key. Raises SchemaMismatch: the bytes are not an identity."""
        key: str = self.decode_datum(data)["key"]
        return key


class Signals(Codec):
    """The codec of one connector's `signals` topic."""

    def __init__(self, registry: Registry, topic: str) -> None:
        super().__init__(schemas.fixed("signal"), registry, topic)

    def encode(self, signal: Signal) -> bytes:
        """Encode a signal. Its id is not written, because the offset of the record is the id."""
        return self.encode_datum(
            {
                "kind": signal.kind,
                "object": signal.object,
                "keys": signal.keys,
                "native_ids": signal.native_ids,
                "reason": signal.reason,
                "until": signal.until,
            }
        )

    def decode(self, data: bytes, *, offset: int) -> Signal:
        """Decode a signal; *offset* becomes its id. Raises SchemaMismatch: the bytes are not a signal."""
        datum = self.decode_datum(data)
        return Signal(
            id=offset,
            kind=SignalKind(datum["kind"]),
            object=datum["object"],
            keys=tuple(datum["keys"]),
            native_ids=tuple(datum["native_ids"]),
            reason=datum["reason"],
            until=tuple(datum["until"]),
        )


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """A conflict as it is written to the conflicts topic. *seq*: of the change that contained the challenger."""

    conflict: Conflict
    seq: int
    correlation: str = ""


class Conflicts(Codec):
    """The codec of the `conflicts` topic, for all objects."""

    def __init__(self, registry: Registry, topic: str) -> None:
        super().__init__(schemas.fixed("conflict"), registry, topic)

    def encode(self, record: ConflictRecord) -> bytes:
        conflict, contest = record.conflict, record.conflict.contest
        won = "STANDING" if conflict.winner == contest.standing else "CHALLENGER"
        return self.encode_datum(
            {
                "object": contest.object,
                "key": contest.key,
                "field": contest.field,
                "seq": record.seq,
                "policy": conflict.policy,
                "ties": contest.ties,
                "winner": None if conflict.winner is None else won,
                "standing": _edit_datum(contest.standing),
                "challenger": _edit_datum(contest.challenger),
                "correlation": record.correlation,
                "fault": conflict.fault,
            }
        )

    def decode(self, data: bytes) -> ConflictRecord:
        """Decode a conflict; a decimal becomes text. Raises SchemaMismatch: the bytes are not a conflict."""
        datum = self.decode_datum(data)
        contest = Contest(
            object=datum["object"],
            key=datum["key"],
            field=datum["field"],
            standing=_edit(datum["standing"]),
            challenger=_edit(datum["challenger"]),
            ties=datum["ties"],
        )
        winner = {None: None, "STANDING": contest.standing, "CHALLENGER": contest.challenger}[datum["winner"]]
        conflict = Conflict(contest, datum["policy"], winner, fault=datum["fault"])
        return ConflictRecord(conflict, seq=datum["seq"], correlation=datum["correlation"])


# The row inside the envelopes.


def _row_fields(envelope: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the fields of the row in an envelope's schema."""
    row: Mapping[str, Any] = next(field["type"] for field in envelope["fields"] if field["name"] == "fields")
    fields: Sequence[Mapping[str, Any]] = row["fields"]
    return fields


def _row(fields: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the fields of the row: all except merge's own, which are separate fields of the envelope."""
    if not OWNED_BY_MERGE.isdisjoint(fields):
        return {name: value for name, value in fields.items() if name not in OWNED_BY_MERGE}
    return fields


def _set_fields(datum: Mapping[str, Any], lists: Iterable[str]) -> dict[str, Value]:
    """Return all fields that are not null: those of the row and merge's own."""
    fields = {name: value for name, value in datum["fields"].items() if value is not None}
    if datum["salesforce_id"] is not None:
        fields[SALESFORCE_ID] = datum["salesforce_id"]
    if datum["error"] is not None:
        fields[ERROR] = datum["error"]
    if datum["collection"] is not None:
        fields[PLACE] = datum["collection"]
    return _with_tuples(fields, lists)


def _lists(schema: ObjectSchema) -> tuple[str, ...]:
    return tuple(field.name for field in schema.fields if field.kind is Kind.STRINGS)


def _with_tuples(fields: dict[str, Any], lists: Iterable[str]) -> dict[str, Any]:
    for name in lists:
        if (value := fields.get(name)) is not None:
            fields[name] = tuple(value)
    return fields


# The values of a conflict, which may be of any field, as JSON.


def _edit_datum(edit: Edit) -> dict[str, Any]:
    value = str(edit.value) if isinstance(edit.value, Decimal) else edit.value
    return {
        "side": edit.side,
        "value": None if value is None else json.dumps(value, ensure_ascii=False),
        "committed_at": edit.committed_at,
    }


def _edit(datum: Mapping[str, Any]) -> Edit:
    value = None if datum["value"] is None else json.loads(datum["value"])
    return Edit(
        side=datum["side"],
        value=tuple(value) if isinstance(value, list) else value,
        committed_at=datum["committed_at"],
    )
