"""
Avro in the Confluent wire format: a magic byte, the writer's schema id, the body.

The codec works for any schema; kafka.codecs.serdes converts our types with it. Values stay Avro's primitives: dates and
times are read without their logical types, from the same bytes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from decimal import DecimalException
from functools import cached_property
from typing import Any, Final

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException

from salmon.errors import SchemaMismatch, SchemaOutdated
from salmon.kafka.codecs.bodies import NotPlain
from salmon.kafka.codecs.quick import bodies
from salmon.kafka.codecs.registry import Registry, subject

MAGIC: Final = 0
_HEAD: Final = struct.Struct(">bI")
# Everything that fastavro raises for bytes or values that do not fit their schema.
_UNFIT: Final = (
    SchemaResolutionError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OverflowError,
    StopIteration,
    MemoryError,  # a length that is garbage
    struct.error,
    DecimalException,
    SchemaParseException,
)
# A body that is not plain, or does not fit: fastavro says what is wrong with it, or takes it.
_LEFT_TO_FASTAVRO: Final = (NotPlain, *_UNFIT)


class Codec:
    """
    Encodes and decodes the values of one subject.

    Our schema is used to write, and all records are converted to it. From a record with an older schema, fields that
    we do not have are dropped, and fields that it does not have get their defaults. A record with a newer schema of our
    object, or with an envelope of a newer version of Salmon, is not read, because the fields that we would drop would never be
    reported again.
    """

    def __init__(self, schema: Mapping[str, Any], registry: Registry, topic: str) -> None:
        self.schema = schema
        self.topic = topic
        self.subject = subject(topic)
        self._registry = registry
        layout = bare(schema)
        self._ours = fastavro.parse_schema(layout)
        self._bodies = bodies(layout)
        self._same: dict[int, Any] = {}  # writer's schema id -> the parsed schema; None if it is ours
        self._schema_id: int | None = None

    @property
    def schema_id(self) -> int:
        """The id of our schema. The first use registers it."""
        return self.register() if self._schema_id is None else self._schema_id

    def register(self) -> int:
        """
        Register our schema, if it is new, and return its id.

        Raises:
            SetupError: it is not compatible with the schemas of existing records.
            Unavailable: the registry does not answer.
        """
        self._schema_id = self._registry.register(self.subject, self.schema)
        return self._schema_id

    def encode_datum(self, datum: Mapping[str, Any]) -> bytes:
        """
        Write a record.

        Raises:
            SchemaMismatch: a value does not fit its field, or there is no such field.
        """
        if self._bodies is not None:
            with suppress(*_LEFT_TO_FASTAVRO):
                return self._head + self._bodies.write(datum)
        out = io.BytesIO()
        out.write(self._head)
        try:
            fastavro.schemaless_writer(
                out, self._ours, datum, strict_allow_default=True, disable_tuple_notation=True
            )
        except _UNFIT:
            raise self._misfit(datum) from None
        return out.getvalue()

    def body(self, datum: Mapping[str, Any]) -> bytes:
        """Encode a record without the header that contains the schema id. Raises the errors of encode_datum()."""
        return self.encode_datum(datum)[_HEAD.size :]

    def with_head(self, body: bytes) -> bytes:
        """Put the header in front of *body*, which was encoded with our schema."""
        return self._head + body

    def encode_with(self, datum: Mapping[str, Any], last: bytes) -> bytes | None:
        """
        Encode a record whose last field is encoded already.

        Args:
            datum: All fields except the last.
            last: The last field, from decode_parts() with the same schema of that field.

        Returns:
            The same bytes as encode_datum() of the whole record; None if that has to be called instead.
        """
        if self._bodies is not None:
            with suppress(*_LEFT_TO_FASTAVRO):
                return self._head + self._bodies.write_front(datum) + last
        return None

    def decode_datum(self, data: bytes) -> dict[str, Any]:
        """
        Read a record.

        Raises:
            SchemaMismatch: the bytes do not match their schema, or that schema cannot be converted to ours.
            SchemaOutdated: the record's schema is newer than ours: of its object, or of Salmon.
            Unavailable: the registry, asked for a schema it was not asked for before, does not answer.
        """
        return self.decode_parts(data)[0]

    def decode_parts(self, data: bytes) -> tuple[dict[str, Any], bytes | None]:
        """
        Decode a record, and also return its last field as bytes.

        The bytes are None if we would encode the field differently, for example because the record has another schema.

        Raises:
            SchemaMismatch, SchemaOutdated, Unavailable: see decode_datum().
        """
        writer = self._writer(data)
        if writer is None and self._bodies is not None:
            with suppress(*_LEFT_TO_FASTAVRO):
                datum, last_at = self._bodies.read(data, _HEAD.size)
                return datum, data[last_at:]
        return self._decode_slowly(data, writer), None

    def check_writer(self, data: bytes) -> bytes:
        """
        Return *data* if it was written with a schema of ours. The body is not decoded, so this is fast.

        Raises:
            SchemaMismatch, SchemaOutdated, Unavailable: see decode_datum(). A body that does not match is not noticed.
        """
        self._writer(data)
        return data

    def _writer(self, data: bytes) -> Any:
        """Return the parsed schema of a record; None if it is ours. Raises the errors of decode_datum()."""
        if len(data) < _HEAD.size or data[0] != MAGIC:
            raise SchemaMismatch(
                f"{self.topic}: a record is not Avro in the Confluent wire format. Find out who wrote it."
            )
        schema_id = writer_of(data)
        try:
            return self._same[schema_id]
        except KeyError:
            return self._learn(schema_id)

    def _decode_slowly(self, data: bytes, writer: Any) -> dict[str, Any]:
        source = io.BytesIO(data)
        source.seek(_HEAD.size)
        try:
            if writer is None:
                datum: Any = fastavro.schemaless_reader(source, self._ours, None)
            else:
                datum = fastavro.schemaless_reader(source, writer, self._ours)
        except _UNFIT as error:
            raise SchemaMismatch(
                f"{self.topic}: a record cannot be read by its schema {writer_of(data)} ({type(error).__name__}). Find out "
                f"who wrote it."
            ) from None
        assert isinstance(datum, dict)
        return datum

    @cached_property
    def _head(self) -> bytes:
        return _HEAD.pack(MAGIC, self.schema_id)

    def _learn(self, schema_id: int) -> Any:
        schema = self._registry.schema_by_id(schema_id)
        newer, known = format_of(schema), format_of(self.schema)
        if newer > known and _full_name(schema) == _full_name(self.schema):
            raise SchemaOutdated(
                f"{self.topic}: a record was written by a newer version of Salmon (format {newer}; this process knows {known}). "
                f"Upgrade this process to that version. Until then it waits, and nothing is lost."
            )
        if supersedes(schema, self.schema):
            raise SchemaOutdated(
                f"{self.topic}: a record was written by a newer schema of its object ({schema_id}) than ours. The process restarts to use it."
            )
        writer = bare(schema)
        if not isinstance(writer, dict) or _full_name(writer) != _full_name(self.schema):
            # In a record of another kind all our fields would be missing, and would be read as null.
            raise SchemaMismatch(
                f"{self.topic}: a record was written by schema {schema_id}, which is of something else. Find out who wrote it."
            )
        # Reading without resolution is twice as fast, so a schema that differs only in its documentation counts as ours.
        try:
            parsed = None if writer == bare(self.schema) else fastavro.parse_schema(writer)
        except _UNFIT:
            raise SchemaMismatch(
                f"{self.topic}: schema {schema_id} is not an Avro schema that Salmon can read."
            ) from None
        self._same[schema_id] = parsed
        return parsed

    def _misfit(self, datum: Mapping[str, Any]) -> SchemaMismatch:
        """Make the error that names the wrong field and its type, never its value."""
        name, value, wanted = _at_fault(datum, self._ours)
        return SchemaMismatch(
            f"{self.topic}: {name} holds a {type(value).__name__}, where its schema says {wanted}. Correct the value, or "
            f"exclude the field from the sync."
        )


def _full_name(schema: Mapping[str, Any]) -> tuple[Any, Any]:
    return schema.get("namespace"), schema.get("name")


def writer_of(data: bytes) -> int:
    """Return the id of the schema with which a record was written."""
    schema_id: int = _HEAD.unpack_from(data)[1]
    return schema_id


def format_of(schema: Any) -> int:
    """
    Return the format of an envelope; 0 if its schema has none, as those of rows. It rises with every change of a fixed schema.

    A version of Salmon reads all formats up to its own. It must not read newer ones: what it does not know, it would drop, and
    write the rest back as if that were all.
    """
    number = schema.get("format", 0) if isinstance(schema, dict) else 0
    return number if isinstance(number, int) else 0


def supersedes(schema: Any, ours: Any) -> bool:
    """Whether the row in *schema* has a higher generation than the row in *ours*, and differs from it."""
    is_newer = generation_of(schema) > generation_of(ours)
    return is_newer and _without_generation(schema) != _without_generation(ours)


def generation_of(schema: Any) -> int:
    """Return the generation of the row in a schema; 0 if it has none."""
    generation: int = row_of(schema).get("salmon", {}).get("generation", 0)
    return generation


def _without_generation(schema: Any) -> Mapping[str, Any]:
    row = row_of(schema)
    return {**row, "salmon": {**row.get("salmon", {}), "generation": 0}}


def row_of(schema: Any) -> Mapping[str, Any]:
    """Return the row in a schema: the record of an object that the schema is or contains; empty if there is none."""
    match schema:
        case {"salmon": dict(), "fields": list()}:
            found: Mapping[str, Any] = schema
            return found
        case {"fields": [*fields]}:
            held = [row_of(field["type"]) for field in fields]
        case [*branches]:
            held = [row_of(branch) for branch in branches]
        case {"type": dict() | list() as inner}:
            return row_of(inner)
        case _:
            return {}
    return next(filter(None, held), {})


def bare(schema: Any) -> Any:
    """
    Return *schema* without documentation, our own properties, and the logical types of dates and times.

    The rest determines the layout of the bytes, and the Python values that reading gives.
    """
    match schema:
        case list():
            return [bare(branch) for branch in schema]
        case {"type": dict() | list() as inner, **rest} if "name" not in rest:
            return bare(inner)
        case dict():
            is_decimal = schema.get("logicalType") == "decimal"
            kept = {
                key: bare(value) if key in _NESTED else value
                for key, value in schema.items()
                if key in _LAYOUT or (is_decimal and key in _DECIMAL)
            }
            if "fields" in schema:
                kept["fields"] = [
                    {key: field[key] for key in ("name", "default", "aliases") if key in field}
                    | {"type": bare(field["type"])}
                    for field in schema["fields"]
                ]
            return kept["type"] if kept.keys() == {"type"} else kept
        case _:
            return schema


_LAYOUT: Final = frozenset(
    {"type", "name", "namespace", "aliases", "symbols", "default", "items", "values", "size", "fields"}
)
_NESTED: Final = frozenset({"items", "values"})
_DECIMAL: Final = frozenset({"logicalType", "precision", "scale"})


def _at_fault(datum: Mapping[str, Any], schema: Any) -> tuple[str, Any, str]:
    fields = {field["name"]: field for field in schema["fields"]}
    for name, value in datum.items():
        if name not in fields:
            return name, value, "that there is no such field"
        kind = fields[name]["type"]
        if isinstance(kind, dict) and kind.get("type") == "record" and isinstance(value, Mapping):
            inner = _at_fault(value, kind)
            if inner[0]:
                return f"{name}.{inner[0]}", inner[1], inner[2]
        elif not _fits(value, kind):
            return name, value, _type_name(kind)
    for name, field in fields.items():
        if name not in datum and "default" not in field:
            return name, None, _type_name(field["type"])
    return "", datum, "something else"


def _fits(value: Any, kind: Any) -> bool:
    try:
        fastavro.schemaless_writer(io.BytesIO(), kind, value, disable_tuple_notation=True)
    except _UNFIT:
        return False
    return True


def _type_name(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(_type_name(branch) for branch in kind)
    if isinstance(kind, dict):
        return str(kind.get("logicalType") or kind["type"])
    return str(kind)
