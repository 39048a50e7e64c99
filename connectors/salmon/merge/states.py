"""
The codec of `state`: what merge knows of a key, as Avro.

The usual case takes little space: the version of most fields is written once, and of a side only the values that differ from
the agreed row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from salmon.kafka.codecs import schemas
from salmon.kafka.codecs.avro import Codec, generation_of, row_of, writer_of
from salmon.kafka.codecs.registry import Registry
from salmon.model.change import Misfit, Value, WriteOp
from salmon.model.convert import choices
from salmon.model.policies import EXISTENCE
from salmon.model.rules import Rules
from salmon.model.schema import Kind
from salmon.model.state import NEVER, Overwritten, Park, Parked, Sent, SideState, State, Turns, Version


class States(Codec):
    """The codec of one object's `state` topic."""

    def __init__(self, rules: Rules, registry: Registry, topic: str) -> None:
        super().__init__(schemas.envelope("state", rules.schema.to_avro()), registry, topic)
        self._rules = rules
        self._writers = registry
        self._lists = tuple(f.name for f in rules.schema.fields if f.kind is Kind.STRINGS)
        self._decimals = frozenset(f.name for f in rules.schema.fields if f.kind is Kind.DECIMAL)
        self._added: dict[int, frozenset[str]] = {}  # writer's schema id -> fields of ours that it lacked

    def encode(self, state: State, row: bytes | None = None) -> bytes:
        """
        Encode a state.

        Args:
            row: The agreed record as the body of a `records` value, if the caller has it.
        """
        version, exceptions = self._versions(state)
        datum = {
            "seq": state.seq,
            "lives": state.lives,
            "life": _version_datum(state.life),
            "version": _version_datum(version),
            "exceptions": exceptions,
            "unpublished": state.unpublished,
            "turns": [
                {"name": name, "times": turns.times, "tripped": turns.tripped}
                for name, turns in state.turns.items()
            ],
            "sides": [self._side_datum(state, name, side) for name, side in state.sides.items()],
        }
        if row is not None and (data := self.encode_with(datum, row)) is not None:
            return data
        return self.encode_datum({**datum, "row": state.canonical})

    def decode(self, data: bytes) -> State:
        """Decode a state. Raises SchemaMismatch if the bytes are not a state of this object."""
        datum = self.decode_datum(data)
        added = self._fields_added_since(data)
        row = {name: value for name, value in datum["row"].items() if value is not None}
        for name in self._lists:
            if name in row:
                row[name] = choices(row[name])
        usual = _version(datum["version"])
        versions = dict.fromkeys(row, usual)
        for exception in datum["exceptions"]:
            versions.update(dict.fromkeys(exception["names"], _version(exception["version"])))
        return State(
            sides=self._sides(datum["sides"], row, added),
            canonical=row,
            versions={
                name: version for name, version in versions.items() if name in self._rules.schema.by_name
            },
            lives=datum["lives"],
            life=_version(datum["life"]),
            seq=datum["seq"],
            unpublished=datum["unpublished"],
            turns={
                each["name"]: Turns(tuple(each["times"]), each["tripped"])
                for each in datum["turns"]
                if each["name"] in self._rules.schema.by_name
            },
        )

    def _versions(self, state: State) -> tuple[Version, list[dict[str, Any]]]:
        """Return the version of most fields of the row, and the fields of every other version, sorted, so that bytes are equal."""
        names: dict[
            int, tuple[Version, list[str]]
        ] = {}  # few versions, each of many fields: by identity first
        for name, version in state.versions.items():
            names.setdefault(id(version), (version, []))[1].append(name)
        named: dict[Version, list[str]] = {}
        for version, some in names.values():
            named.setdefault(version, []).extend(some)
        row = state.canonical.keys()
        in_row = {version: len(row & some) for version, some in named.items()}
        usual = max(in_row, key=lambda version: (in_row[version], *_rank(version)), default=NEVER)
        if not row:
            usual = NEVER
        named[usual] = [name for name in named.get(usual, ()) if name not in row]
        return usual, [
            {"version": _version_datum(version), "names": sorted(named[version])}
            for version in sorted(named, key=_rank)
            if named[version]
        ]

    def _side_datum(self, state: State, name: str, side: SideState) -> dict[str, Any]:
        agreed = self._rules.had_by(name, state.canonical)
        row: Mapping[str, Value] = agreed if side.exists else {}
        differs = [] if side.shadow == row and not side.unknown else _differs(side.shadow, row, side.unknown)
        return {
            "side": name,
            "exists": side.exists,
            "native_id": side.native_id,
            "differs": differs,
            "unknown": None if side.unknown == self._rules.names[name] else sorted(side.unknown),
            "order": side.order,
            "commit_time": side.commit_time,
            "as_of": side.as_of,
            "marker": side.marker,
            "settled": side.settled,
            "sent": [self._sent_datum(seq, sent, agreed) for seq, sent in side.sent.items()],
            "burst": side.burst,
            "row_since_write": side.row_since_write,
            "standing": side.standing,
            "held": side.held,
            "overwritten": [
                {
                    **_field_datum(known.name, known.before),
                    "seq": known.seq,
                    "since": known.since,
                    "edited": known.edited,
                    "edit": _field_datum(known.name, known.edit)["value"],
                    "edited_at": known.edited_at,
                    "later": [_field_datum(known.name, value) for value in known.later],
                }
                for known in side.overwritten
            ],
            "parked": [
                {"name": n, "why": p.why, "group": p.group, "code": p.code, "reason": p.reason}
                for n, p in side.parked.items()
            ],
            "kept": _field_data(side.kept),
            "history": side.history,
            "misfits": [
                {"name": name, "code": misfit.code, "reason": misfit.reason, "since": misfit.since}
                for name, misfit in side.misfits.items()
            ],
            "viewed_by": side.viewed_by,
            "entered": side.entered,
        }

    def _sides(
        self, data: Iterable[Mapping[str, Any]], row: Mapping[str, Value], added: frozenset[str]
    ) -> dict[str, SideState]:
        """The sides of today: one that the sync has got since has told nothing yet, and one that it no longer has is forgotten."""
        written = {side["side"]: side for side in data}
        return {
            name: self._side(written[name], row, added) if name in written else SideState(unknown=names)
            for name, names in self._rules.names.items()
        }

    def _side(self, datum: Mapping[str, Any], row: Mapping[str, Value], added: frozenset[str]) -> SideState:
        names = self._rules.names[datum["side"]]
        untold = frozenset(datum["unknown"] or ())
        if datum["exists"] is not False:  # of a record that is not there, nothing is left to tell
            untold |= added
        unknown = names if datum["unknown"] is None else untold & names
        differs = self._fields(datum["differs"])
        shadow = {n: v for n, v in row.items() if n not in unknown} if datum["exists"] else {}
        shadow |= differs
        kept = self._fields(datum["kept"])
        return SideState(
            exists=datum["exists"],
            native_id=datum["native_id"],
            shadow={n: v for n, v in shadow.items() if v is not None and n in names},
            unknown=unknown,
            order=datum["order"],
            commit_time=datum["commit_time"],
            as_of=datum["as_of"],
            marker=datum["marker"],
            settled=datum["settled"],
            sent={
                w["seq"]: Sent(
                    WriteOp(w["op"]),
                    self._sent_fields(w, row, names),
                    w["committed_at"],
                    (added | frozenset(w["lacks"])) & names,
                    w["expected"],
                    None if w["differs"] is None else frozenset(w["differs"]) & names,
                )
                for w in datum["sent"]
            },
            burst=datum["burst"],
            row_since_write=datum["row_since_write"],
            standing=datum["standing"],
            held=datum["held"],
            history=datum["history"],
            overwritten=tuple(
                Overwritten(
                    known["name"],
                    known["seq"],
                    self._value(known["name"], known["value"]),
                    known["since"],
                    known["edited"],
                    self._value(known["name"], known["edit"]),
                    known["edited_at"],
                    tuple(self._value(each["name"], each["value"]) for each in known["later"]),
                )
                for known in datum["overwritten"]
                if known["name"] in names
            ),
            parked={
                p["name"]: Parked(
                    Park(p["why"]),
                    p["group"],
                    p["code"],
                    p["reason"],
                    # A state from before this was kept: it is what the side shows.
                    kept.get(p["name"], shadow.get(p["name"])) if p["why"] == Park.HELD else None,
                )
                for p in datum["parked"]
                if p["name"] in names
                or p["name"] == EXISTENCE  # a field that is no longer synced does not wait
            },
            misfits={
                misfit["name"]: Misfit(misfit["code"], misfit["reason"], misfit["since"])
                for misfit in datum["misfits"]
                if misfit["name"] in names
            },
            viewed_by=datum["viewed_by"],
            entered=datum["entered"],
        )

    @staticmethod
    def _sent_datum(seq: int, sent: Sent, row: Mapping[str, Value]) -> dict[str, Any]:
        # A creation sets what the row has, and little else; but it names no nulls, which say here that it lacks a field.
        like_row = sent.op is WriteOp.CREATE and None not in sent.fields.values()
        return {
            "seq": seq,
            "op": str(sent.op),
            "committed_at": sent.committed_at,
            "fields": _differs(sent.fields, row) if like_row else _field_data(sent.fields),
            "like_row": like_row,
            "lacks": sorted(sent.lacks),
            "expected": sent.expected,
            "differs": None if sent.differs is None else sorted(sent.differs),
        }

    def _sent_fields(
        self, datum: Mapping[str, Any], row: Mapping[str, Value], names: frozenset[str]
    ) -> dict[str, Value]:
        fields = {name: value for name, value in self._fields(datum["fields"]).items() if name in names}
        if not datum["like_row"]:
            return fields
        return {n: value for n, value in {**row, **fields}.items() if value is not None and n in names}

    def _fields(self, data: Iterable[Mapping[str, Any]]) -> dict[str, Value]:
        return {each["name"]: self._value(each["name"], each["value"]) for each in data}

    def _value(self, name: str, value: Any) -> Value:
        if isinstance(value, list):
            return choices(value)
        return Decimal(value) if name in self._decimals and value is not None else value

    def _fields_added_since(self, data: bytes) -> frozenset[str]:
        """
        Return the fields that the writer of the state did not know, or that were removed and returned since. No side has
        reported them yet, which is different from null.
        """
        schema_id = writer_of(data)
        if schema_id == self.schema_id:
            return frozenset()
        if schema_id not in self._added:
            schema = self._writers.schema_by_id(schema_id)
            known, generation = {f["name"] for f in row_of(schema)["fields"]}, generation_of(schema)
            self._added[schema_id] = frozenset(
                name
                for name, field in self._rules.schema.by_name.items()
                if name not in known or field.since > generation
            )
        return self._added[schema_id]


def _differs(
    values: Mapping[str, Value], row: Mapping[str, Value], ignored: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Return the fields in which *values* differ from *row*; null for a field that only *row* has. *ignored*: field names."""
    return _field_data(
        {
            name: values.get(name)
            for name in row.keys() | values.keys()
            if name not in ignored and values.get(name) != row.get(name)
        }
    )


def _field_data(fields: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [_field_datum(name, value) for name, value in sorted(fields.items())]


def _field_datum(name: str, value: Value) -> dict[str, Any]:
    return {"name": name, "value": str(value) if isinstance(value, Decimal) else value}


def _rank(version: Version) -> tuple[int, int, str, bool]:
    return version.seq, version.committed_at, version.origin, version.baseline


def _version_datum(version: Version) -> dict[str, Any]:
    return {
        "committed_at": version.committed_at,
        "origin": version.origin,
        "seq": version.seq,
        "baseline": version.baseline,
    }


def _version(datum: Mapping[str, Any]) -> Version:
    version = Version(datum["committed_at"], datum["origin"], datum["seq"], datum["baseline"])
    return NEVER if version == NEVER else version
