"""
Encodes and decodes Avro bodies with functions that are made once from a schema.

fastavro, which looks at the schema for each value, is the reference. These functions give the same bytes and values in a
third of the time (fields that are null take almost none), for the types that our schemas have. Whatever does not
match exactly is left to fastavro, by NotPlain. Bytes that are accepted here are canonical: encoded again, they are
the same. So an unchanged part can be copied.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

Write = Callable[[Any], bytes]
Read = Callable[[bytes, int], tuple[Any, int]]  # (bytes, index) -> (value, index after it)

_DOUBLE: Final = struct.Struct("<d")
_INT: Final = range(-(2**31), 2**31)
_LONG: Final = range(-(2**63), 2**63)
_MISSING: Final = object()


class NotPlain(Exception):
    """These functions do not support a schema, a value or bytes; fastavro has to be used."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """Encodes and decodes a record type in two parts: all fields except the last, and the last (our flat row)."""

    names: frozenset[str]
    last: str
    write_front: Write
    _write_last: Write
    _read_front: Read
    _read_last: Read
    _write_row: Write | None  # if the whole record is a flat row

    def write(self, datum: Mapping[str, Any]) -> bytes:
        """Encode *datum*. Raises NotPlain, or any Python error that a value of a wrong type causes."""
        if self._write_row is not None:
            return self._write_row(datum)
        if not datum.keys() <= self.names:
            raise NotPlain
        return self.write_front(datum) + self._write_last(datum)

    def read(self, data: bytes, at: int) -> tuple[dict[str, Any], int]:
        """Decode the record from *at* to the end of *data*. Returns it and the index of its last field. Raises as write()."""
        datum, behind = self._read_front(data, at)
        datum[self.last], end = self._read_last(data, behind)
        if end != len(data):
            raise NotPlain
        return datum, behind


def bodies(schema: Mapping[str, Any]) -> Bodies | None:
    """Make the functions for a record's schema, which avro.bare() has returned; None if they do not support it."""
    if not schema["fields"]:
        return None  # there is no last one
    try:
        *front, last = fields = _fields(schema, {})
    except (NotPlain, ValueError):
        return None
    row = _row(fields)
    return Bodies(
        frozenset(each.name for each in fields),
        last.name,
        _writer_of(front),
        _writer_of([last]),
        _reader_of(front),
        last.read,
        row[0] if row else None,
    )


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    write: Write
    read: Read
    default: Any  # its bytes; None where there is none
    kind: Any


def _fields(schema: Mapping[str, Any], named: dict[str, tuple[Write, Read]]) -> list[_Field]:
    fields = []
    for each in schema["fields"]:
        write, read = _pair(each["type"], named)
        # That of bytes is a text (Avro specification, Complex Types), which fastavro does not write.
        has_default = "default" in each and each["type"] != "bytes"
        written = write(each["default"]) if has_default else None
        fields.append(_Field(each["name"], write, read, written, each["type"]))
    return fields


def _pair(schema: Any, named: dict[str, tuple[Write, Read]]) -> tuple[Write, Read]:
    """Make the functions for values of *schema*. *named*: the types defined so far."""
    match schema:
        case str() if schema in _PRIMITIVES:
            return _PRIMITIVES[schema]
        case str() if schema in named:
            return named[schema]
        case list():
            return _union([(python_type(branch), *_pair(branch, named)) for branch in schema])
        case {"type": "array", "items": items}:
            return _array(*_pair(items, named))
        case {"type": "map", "values": "string"}:
            return _write_map, _read_map
        case {"type": "enum", "symbols": symbols, "name": name}:
            pair = _enum(symbols)
        case {"type": "record", "name": name}:
            fields = _fields(schema, named)
            pair = _row(fields) or (_writer_of(fields, whole=True), _reader_of(fields))
        case _:
            raise NotPlain
    named[name] = pair
    if "namespace" in schema:
        named[f"{schema['namespace']}.{name}"] = pair
    return pair


# Numbers and text. If a value has a wrong type, Python raises an error.


def _varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    if value < 128:
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_ONE_BYTE: Final = [bytes((n,)) for n in range(128)]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at
    value, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    if byte == 0 or value >> 64:  # longer than necessary, or more than 64 bits
        raise NotPlain
    return (value >> 1) ^ -(value & 1), at


def _write_null(value: Any) -> bytes:
    if value is not None:
        raise NotPlain
    return b""


def _read_null(_data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _write_boolean(value: Any) -> bytes:
    if value is True:
        return b"\x01"
    if value is False:
        return b"\x00"
    raise NotPlain


def _read_boolean(data: bytes, at: int) -> tuple[bool, int]:
    if (byte := data[at]) > 1:
        raise NotPlain
    return byte == 1, at + 1


def _whole_number(bounds: range) -> tuple[Write, Read]:
    def write(value: Any) -> bytes:
        if type(value) is not int or value not in bounds:
            raise NotPlain
        return _varint(value)

    def read(data: bytes, at: int) -> tuple[int, int]:
        value, at = _read_varint(data, at)
        if value not in bounds:
            raise NotPlain
        return value, at

    return write, read


def _write_double(value: Any) -> bytes:
    if type(value) is not float:
        raise NotPlain
    return _DOUBLE.pack(value)


def _read_double(data: bytes, at: int) -> tuple[float, int]:
    value: float = _DOUBLE.unpack_from(data, at)[0]
    if value != value:  # noqa: PLR0124 - NaN, which has many representations
        raise NotPlain
    return value, at + 8


def _write_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise NotPlain
    return _varint(len(value)) + value


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_varint(data, at)
    if size < 0 or at + size > len(data):
        raise NotPlain
    return data[at : at + size], at + size


def _write_string(value: Any) -> bytes:
    encoded: bytes = value.encode()
    return _varint(len(encoded)) + encoded


def _read_string(data: bytes, at: int) -> tuple[str, int]:
    size, at = _read_varint(data, at)
    if size < 0 or at + size > len(data):
        raise NotPlain
    return data[at : at + size].decode(), at + size


def _write_text_or_null(value: Any) -> bytes:
    """Encode a text or null in one step, because most fields have this type."""
    if value is None:
        return b"\x00"
    encoded: bytes = value.encode()
    size = len(encoded)
    return b"\x02" + (_ONE_BYTE[2 * size] if size < 64 else _varint(size)) + encoded


_PRIMITIVES: Final[Mapping[str, tuple[Write, Read]]] = {
    "null": (_write_null, _read_null),
    "boolean": (_write_boolean, _read_boolean),
    "int": _whole_number(_INT),
    "long": _whole_number(_LONG),
    "double": (_write_double, _read_double),
    "bytes": (_write_bytes, _read_bytes),
    "string": (_write_string, _read_string),
}


# Types that are made of other types.


def python_type(schema: Any) -> type:
    """Return the only Python type that a branch of a union accepts. Raises NotPlain: it is left to fastavro."""
    name = schema["type"] if isinstance(schema, dict) else schema
    try:
        return _TYPES[name]
    except (KeyError, TypeError):
        raise NotPlain from None


_TYPES: Final[Mapping[str, type]] = {
    "null": NoneType,
    "boolean": bool,
    "int": int,
    "long": int,
    "double": float,
    "bytes": bytes,
    "string": str,
    "array": list,
    "record": dict,
}


def _union(branches: Sequence[tuple[type, Write, Read]]) -> tuple[Write, Read]:
    writers = {kind: (_ONE_BYTE[2 * n], write) for n, (kind, write, _) in enumerate(branches)}
    if len(writers) < len(branches):
        raise NotPlain  # two branches accept one type, and choosing needs rules
    if list in writers:
        writers[tuple] = writers[list]
    readers = {2 * n: read for n, (_, _, read) in enumerate(branches)}

    def write(value: Any) -> bytes:
        mark, write_value = writers[type(value)]
        return mark + write_value(value)

    if list(writers) == [NoneType, str]:
        write = _write_text_or_null

    def read(data: bytes, at: int) -> tuple[Any, int]:
        return readers[data[at]](data, at + 1)

    return write, read


def _array(write_item: Write, read_item: Read) -> tuple[Write, Read]:
    def write(value: Any) -> bytes:
        if type(value) is not list and type(value) is not tuple:
            raise NotPlain
        if not value:
            return b"\x00"
        return b"".join((_varint(len(value)), *map(write_item, value), b"\x00"))

    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        count, at = _read_varint(data, at)
        if count == 0:
            return [], at
        if not 0 < count <= len(data):
            raise NotPlain
        items = []
        for _ in range(count):
            item, at = read_item(data, at)
            items.append(item)
        if data[at]:
            raise NotPlain  # in several blocks
        return items, at + 1

    return write, read


def _write_map(value: Any) -> bytes:
    if type(value) is not dict:
        raise NotPlain
    if not value:
        return b"\x00"
    parts = [_write_string(each) for pair in value.items() for each in pair]
    return b"".join((_varint(len(value)), *parts, b"\x00"))


def _read_map(data: bytes, at: int) -> tuple[dict[str, str], int]:
    count, at = _read_varint(data, at)
    if count == 0:
        return {}, at
    if not 0 < count <= len(data):
        raise NotPlain
    values = {}
    for _ in range(count):
        name, at = _read_string(data, at)
        values[name], at = _read_string(data, at)
    if data[at] or len(values) < count:
        raise NotPlain
    return values, at + 1


def _enum(symbols: Sequence[str]) -> tuple[Write, Read]:
    numbers = {symbol: _varint(n) for n, symbol in enumerate(symbols)}

    def read(data: bytes, at: int) -> tuple[str, int]:
        number, at = _read_varint(data, at)
        if number < 0:
            raise NotPlain
        return symbols[number], at

    return numbers.__getitem__, read


def _writer_of(fields: Sequence[_Field], *, whole: bool = False) -> Write:
    """*whole*: these are all fields of a record, and it must have no others."""
    plan = [(each.name, each.write, each.default) for each in fields]
    names = {each.name for each in fields}

    def write(datum: Any) -> bytes:
        if whole and not datum.keys() <= names:
            raise NotPlain
        get, parts = datum.get, []
        for name, write_value, default in plan:
            value = get(name, _MISSING)
            if value is _MISSING:
                if default is None:
                    raise NotPlain
                parts.append(default)
            else:
                parts.append(write_value(value))
        return b"".join(parts)

    return write


def _reader_of(fields: Sequence[_Field]) -> Read:
    plan = [(each.name, each.read) for each in fields]

    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        datum = {}
        for name, read_value in plan:
            datum[name], at = read_value(data, at)
        return datum, at

    return read


def _row(fields: Sequence[_Field]) -> tuple[Write, Read] | None:
    """Make fast functions for records like our flat rows, in which every field may be null and many are."""
    if not all(_may_be_null(each) for each in fields):
        return None
    nothing = dict.fromkeys([each.name for each in fields])
    plan = [(each.name, each.kind[1] == "string", each.read) for each in fields]
    places = {each.name: (place, each.write) for place, each in enumerate(fields)}
    nulls = [b"\x00"] * len(fields)

    def write(datum: Any) -> bytes:
        parts = nulls.copy()
        for name, value in datum.items():
            place, write_value = places[name]
            parts[place] = write_value(value)
        return b"".join(parts)

    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        datum = nothing.copy()
        for name, is_text, read_value in plan:
            if data[at] == 0:
                at += 1
            elif is_text and data[at] == 2 and (size := data[at + 1]) < 128 and not size & 1:
                # Most of all: a short text.
                begin = at + 2
                at = begin + (size >> 1)
                datum[name] = data[begin:at].decode()
            else:
                datum[name], at = read_value(data, at)
        return datum, at

    return write, read


def _may_be_null(field: _Field) -> bool:
    kind = field.kind
    return isinstance(kind, list) and len(kind) == 2 and kind[0] == "null" and field.default == b"\x00"
