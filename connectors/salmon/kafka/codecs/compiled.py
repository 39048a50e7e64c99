# cython: language_level=3, initializedcheck=False, cdivision=True
"""
The same as salmon.kafka.codecs.bodies, compiled: Avro bodies, about eleven times as fast.

This is Python that Cython makes a C extension of (deploy/build_hook.py), where there is a compiler. Without one, bodies.py does the same
in Python. Both give the same bytes and values, and leave the same things to fastavro (tests/contract/kafka/test_bodies.py): read that
file first. There, each type is a pair of functions; here it is an object with the methods `write` and `read`, and so the calls between
them are calls of C.

What is read may be anything: it comes from a log. So each read looks first whether its bytes are there (_In.has). What is counted is
counted in 64 bits. Nothing here keeps a pointer over a call that may run other Python code: values are asked for their exact types, and
no method of theirs is called.
"""

import sys

import cython

if not cython.compiled or sys.byteorder != "little":  # before anything that is there only then
    raise ImportError(
        "compiled.py is of use only as the extension that Cython makes of it, where the lowest byte is the first."
    )

from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.cpython.dict import PyDict_GetItem, PyDict_SetItem
from cython.cimports.cpython.long import PyLong_AsLongLongAndOverflow
from cython.cimports.cpython.unicode import PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from cython.cimports.libc.stdint import int64_t, uint64_t
from cython.cimports.libc.stdlib import free, malloc, realloc
from cython.cimports.libc.string import memcpy

from salmon.kafka.codecs.bodies import NotPlain, python_type

_FIRST_SIZE = cython.declare(cython.Py_ssize_t, 1024)


@cython.final
@cython.cclass
class _Out:
    """Bytes that are being written."""

    data: cython.p_char
    size: cython.Py_ssize_t
    room: cython.Py_ssize_t

    def __cinit__(self):
        self.data = cython.cast(cython.p_char, malloc(_FIRST_SIZE))
        if self.data == cython.NULL:
            raise MemoryError
        self.size, self.room = 0, _FIRST_SIZE

    def __dealloc__(self):
        free(self.data)

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def reserve(self, more: cython.Py_ssize_t) -> cython.int:
        if self.size + more > self.room:
            self.grow(more)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def grow(self, more: cython.Py_ssize_t) -> cython.int:
        room: cython.Py_ssize_t = 2 * self.room + more
        data = cython.cast(cython.p_char, realloc(self.data, room))
        if data == cython.NULL:
            raise MemoryError
        self.data, self.room = data, room
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def byte(self, value: cython.uchar) -> cython.int:
        self.reserve(1)
        self.data[self.size] = cython.cast(cython.char, value)
        self.size += 1
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def raw(self, data: cython.p_const_char, size: cython.Py_ssize_t) -> cython.int:
        self.reserve(size)
        memcpy(self.data + self.size, data, size)
        self.size += size
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def number(self, value: int64_t) -> cython.int:
        """A whole number: zigzag, seven bits to a byte, the lowest first (Avro specification, Binary Encoding)."""
        left: uint64_t = (cython.cast(uint64_t, value) << 1) ^ cython.cast(uint64_t, value >> 63)
        self.reserve(10)
        while left > 127:
            self.data[self.size] = cython.cast(cython.char, left & 127 | 128)
            self.size += 1
            left >>= 7
        self.data[self.size] = cython.cast(cython.char, left)
        self.size += 1
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def text(self, value: object) -> cython.int:
        """Its length, and its UTF-8. Raises NotPlain: it is no text."""
        size: cython.Py_ssize_t = 0
        if not isinstance(value, str):
            raise NotPlain
        if PyUnicode_IS_COMPACT_ASCII(value):
            data: cython.p_const_char = PyUnicode_AsUTF8AndSize(value, cython.address(size))
            self.number(size)
            self.raw(data, size)
        else:  # asked for that, a text would keep its UTF-8 as long as it lives
            encoded: bytes = value.encode()
            self.number(len(encoded))
            self.raw(PyBytes_AS_STRING(encoded), len(encoded))
        return 0

    @cython.cfunc
    def taken(self) -> bytes:
        return PyBytes_FromStringAndSize(self.data, self.size)


@cython.final
@cython.cclass
class _In:
    """Bytes that are being read. *held* keeps them alive."""

    held: bytes
    data: cython.p_const_uchar
    at: cython.Py_ssize_t
    size: cython.Py_ssize_t

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def has(self, count: int64_t) -> cython.int:
        """Raises NotPlain: there are not so many bytes more."""
        if count < 0 or count > self.size - self.at:
            raise NotPlain
        return 0

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def byte(self) -> cython.int:
        self.has(1)
        value: cython.int = self.data[self.at]
        self.at += 1
        return value

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def number(self) -> int64_t:
        """Raises NotPlain: it is longer than necessary, or of more than 64 bits."""
        byte: cython.int = self.byte()
        value: uint64_t = byte & 127
        shift: cython.int = 7
        while byte > 127:
            byte = self.byte()
            if shift == 63 and byte > 1:
                raise NotPlain
            value |= cython.cast(uint64_t, byte & 127) << shift
            if byte == 0:
                raise NotPlain
            shift += 7
        return cython.cast(int64_t, (value >> 1) ^ (~(value & 1) + 1))

    @cython.cfunc
    def text(self) -> object:
        size: int64_t = self.number()
        self.has(size)
        begin: cython.Py_ssize_t = self.at
        self.at += size
        return PyUnicode_DecodeUTF8(cython.cast(cython.p_char, self.data + begin), size, cython.NULL)


@cython.cclass
class _Type:
    """A type of values. This one is null."""

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        if value is not None:
            raise NotPlain
        return 0

    @cython.cfunc
    def read(self, data: _In) -> object:
        return None


@cython.final
@cython.cclass
class _Boolean(_Type):
    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        if value is True:
            return out.byte(1)
        if value is False:
            return out.byte(0)
        raise NotPlain

    @cython.cfunc
    def read(self, data: _In) -> object:
        byte: cython.int = data.byte()
        if byte > 1:
            raise NotPlain
        return byte == 1


@cython.final
@cython.cclass
class _Whole(_Type):
    """A whole number within bounds."""

    least: int64_t
    most: int64_t

    def __init__(self, bits: int):
        self.least = -(2 ** (bits - 1))
        self.most = 2 ** (bits - 1) - 1

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        overflow: cython.int = 0
        if type(value) is not int:
            raise NotPlain
        number: int64_t = PyLong_AsLongLongAndOverflow(value, cython.address(overflow))
        if overflow or number < self.least or number > self.most:
            raise NotPlain
        return out.number(number)

    @cython.cfunc
    def read(self, data: _In) -> object:
        number: int64_t = data.number()
        if number < self.least or number > self.most:
            raise NotPlain
        return number


@cython.final
@cython.cclass
class _Double(_Type):
    """Eight bytes, the lowest first, as this machine has them: elsewhere, this module is not used."""

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        if type(value) is not float:
            raise NotPlain
        number: cython.double = value
        return out.raw(cython.cast(cython.p_const_char, cython.address(number)), 8)

    @cython.cfunc
    def read(self, data: _In) -> object:
        number: cython.double = 0
        data.has(8)
        memcpy(cython.address(number), data.data + data.at, 8)
        data.at += 8
        if number != number:  # noqa: PLR0124 - NaN, which has many representations
            raise NotPlain
        return number


@cython.final
@cython.cclass
class _Bytes(_Type):
    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        if type(value) is not bytes:
            raise NotPlain
        out.number(len(value))
        return out.raw(PyBytes_AS_STRING(value), len(value))

    @cython.cfunc
    def read(self, data: _In) -> object:
        size: int64_t = data.number()
        data.has(size)
        begin: cython.Py_ssize_t = data.at
        data.at += size
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, data.data + begin), size)


@cython.final
@cython.cclass
class _String(_Type):
    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        return out.text(value)

    @cython.cfunc
    def read(self, data: _In) -> object:
        return data.text()


@cython.final
@cython.cclass
class _Enum(_Type):
    symbols: list
    numbers: dict

    def __init__(self, symbols: object):
        self.symbols = list(symbols)
        self.numbers = {symbol: number for number, symbol in enumerate(symbols)}

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        number = self.numbers.get(value)
        if number is None:
            raise NotPlain
        return out.number(number)

    @cython.cfunc
    def read(self, data: _In) -> object:
        number: int64_t = data.number()
        if number < 0 or number >= len(self.symbols):
            raise NotPlain
        return self.symbols[number]


@cython.final
@cython.cclass
class _Array(_Type):
    items: _Type

    def __init__(self, items: _Type):
        self.items = items

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        if type(value) is not list and type(value) is not tuple:
            raise NotPlain
        if len(value):
            out.number(len(value))
            for item in value:
                self.items.write(out, item)
        return out.byte(0)

    @cython.cfunc
    def read(self, data: _In) -> object:
        count: int64_t = data.number()
        found: list = []
        if count == 0:
            return found
        if not 0 < count <= data.size:
            raise NotPlain
        for _ in range(count):
            found.append(self.items.read(data))
        if data.byte():
            raise NotPlain  # in several blocks
        return found


@cython.final
@cython.cclass
class _Map(_Type):
    """Text -> text."""

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        if type(value) is not dict:
            raise NotPlain
        if len(value):
            out.number(len(value))
            for name, text in cython.cast(dict, value).items():
                out.text(name)
                out.text(text)
        return out.byte(0)

    @cython.cfunc
    def read(self, data: _In) -> object:
        count: int64_t = data.number()
        found: dict = {}
        if count == 0:
            return found
        if not 0 < count <= data.size:
            raise NotPlain
        for _ in range(count):
            name = data.text()
            found[name] = data.text()
        if data.byte() or len(found) < count:
            raise NotPlain
        return found


@cython.final
@cython.cclass
class _Union(_Type):
    """One of several types; which one, the Python type of a value says alone."""

    kinds: dict  # Python type -> number of the branch
    branches: list

    def __init__(self, kinds: dict, branches: list):
        self.kinds, self.branches = kinds, branches

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        number = self.kinds.get(type(value))
        if number is None:
            raise NotPlain
        place: cython.Py_ssize_t = number
        out.byte(2 * place)
        return cython.cast(_Type, self.branches[place]).write(out, value)

    @cython.cfunc
    def read(self, data: _In) -> object:
        byte: cython.int = data.byte()
        if byte & 1 or byte >> 1 >= len(self.branches):
            raise NotPlain
        return cython.cast(_Type, self.branches[byte >> 1]).read(data)


@cython.final
@cython.cclass
class _OrNull(_Type):
    """Null or a value: what most fields are."""

    inner: _Type
    kind: object  # the Python type of its values
    is_text: cython.bint

    def __init__(self, inner: _Type, kind: object):
        self.inner, self.kind, self.is_text = inner, kind, kind is str

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        if value is None:
            return out.byte(0)
        out.byte(2)
        if self.is_text:
            return out.text(value)
        if type(value) is not self.kind and not (self.kind is list and type(value) is tuple):
            raise NotPlain
        return self.inner.write(out, value)

    @cython.cfunc
    def read(self, data: _In) -> object:
        byte: cython.int = data.byte()
        if byte == 0:
            return None
        if byte != 2:
            raise NotPlain
        return data.text() if self.is_text else self.inner.read(data)


@cython.final
@cython.cclass
class _Record(_Type):
    """
    Fields in their order.

    Args:
        names, types: Theirs.
        defaults: The bytes of each field's default; None where there is none.
        is_row: Whether it is like our flat rows: each field may be null, and is where the value does not name it.
    """

    names: tuple
    types: tuple
    defaults: tuple
    nothing: dict  # of a row: all nulls
    is_row: cython.bint

    def __init__(self, names: tuple, types: tuple, defaults: tuple, is_row: bool):
        self.names, self.types, self.defaults, self.is_row = names, types, defaults, is_row
        self.nothing = dict.fromkeys(names)

    @cython.cfunc
    @cython.exceptval(-1)
    def write(self, out: _Out, value: object) -> cython.int:
        """Raises NotPlain: among others, there are fields that it does not have."""
        if self.put(out, value) < len(value):
            raise NotPlain
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def put(self, out: _Out, value: object) -> cython.Py_ssize_t:
        """Write the fields that there are, and return how many of them *value* names."""
        if type(value) is not dict:
            raise NotPlain
        found: cython.Py_ssize_t = 0
        for n in range(len(self.names)):
            item = PyDict_GetItem(value, self.names[n])
            if item != cython.NULL:
                found += 1
                cython.cast(_Type, self.types[n]).write(out, cython.cast(object, item))
            elif self.defaults[n] is None:
                raise NotPlain
            else:
                default: bytes = self.defaults[n]
                out.raw(PyBytes_AS_STRING(default), len(default))
        return found

    @cython.cfunc
    def read(self, data: _In) -> object:
        datum: dict = self.nothing.copy() if self.is_row else {}
        for n in range(len(self.names)):
            if self.is_row and data.at < data.size and data.data[data.at] == 0:
                data.at += 1
            else:
                PyDict_SetItem(datum, self.names[n], cython.cast(_Type, self.types[n]).read(data))
        return datum


@cython.final
@cython.cclass
class Bodies:
    """See salmon.kafka.codecs.bodies.Bodies."""

    last: object
    _front: _Record
    _last: _Record
    _whole: _Record

    def __init__(self, front: _Record, last: _Record, whole: _Record):
        self._front, self._last, self._whole, self.last = front, last, whole, last.names[0]

    def write(self, datum: object) -> bytes:
        """See there. Raises NotPlain, or TypeError."""
        out = _Out()
        self._whole.write(out, datum if type(datum) is dict else dict(datum))
        return out.taken()

    def write_front(self, datum: object) -> bytes:
        out = _Out()
        self._front.put(out, datum if type(datum) is dict else dict(datum))
        return out.taken()

    def read(self, data: bytes, at: cython.Py_ssize_t) -> tuple:
        if at < 0 or at > len(data):
            raise NotPlain
        source = _In()
        source.held, source.data = data, cython.cast(cython.p_const_uchar, PyBytes_AS_STRING(data))
        source.at, source.size = at, len(data)
        datum: dict = self._front.read(source)
        behind: cython.Py_ssize_t = source.at
        datum[self.last] = cython.cast(_Type, self._last.types[0]).read(source)
        if source.at != source.size:
            raise NotPlain
        return datum, behind


def bodies(schema):
    """See salmon.kafka.codecs.bodies.bodies."""
    if not schema["fields"]:
        return None
    try:
        names, types, defaults, is_row = _fields(schema, {})
    except (NotPlain, ValueError):
        return None
    at = len(names) - 1
    front = _Record(names[:at], types[:at], defaults[:at], False)
    last = _Record(names[at:], types[at:], defaults[at:], False)
    return Bodies(front, last, _Record(names, types, defaults, is_row))


def _fields(schema, named):
    """Names, types and defaults of a record's fields, and whether it is a row."""
    names, types, defaults = [], [], []
    for each in schema["fields"]:
        kind = _type(each["type"], named)
        # The default of bytes is a text (Avro specification, Complex Types), which fastavro does not write.
        has_default = "default" in each and each["type"] != "bytes"
        names.append(each["name"])
        types.append(kind)
        defaults.append(_bytes_of(kind, each["default"]) if has_default else None)
    is_row = all(type(kind) is _OrNull for kind in types) and all(each == b"\x00" for each in defaults)
    return tuple(names), tuple(types), tuple(defaults), is_row


def _bytes_of(kind: _Type, value):
    out = _Out()
    kind.write(out, value)
    return out.taken()


def _type(schema, named):
    """The type that a schema describes. *named*: the types defined so far. Raises NotPlain: it is left to fastavro."""
    if isinstance(schema, str):
        if (known := _PRIMITIVES.get(schema) or named.get(schema)) is None:
            raise NotPlain
        return known
    if isinstance(schema, list):
        return _union([(python_type(branch), _type(branch, named)) for branch in schema])
    match schema["type"]:
        case "array":
            return _Array(_type(schema["items"], named))
        case "map" if schema["values"] == "string":
            return _Map()
        case "enum":
            made = _Enum(schema["symbols"])
        case "record":
            made = _Record(*_fields(schema, named))
        case _:
            raise NotPlain
    name = schema["name"]
    named[name] = made
    if "namespace" in schema:
        named[f"{schema['namespace']}.{name}"] = made
    return made


def _union(branches):
    kinds = {kind: number for number, (kind, _) in enumerate(branches)}
    if len(kinds) < len(branches) or len(branches) > 64:
        raise NotPlain  # two branches accept one Python type, and choosing needs rules
    if list in kinds:
        kinds[tuple] = kinds[list]
    types = [kind for _, kind in branches]
    if len(branches) == 2 and branches[0][0] is type(None):
        return _OrNull(types[1], branches[1][0])
    return _Union(kinds, types)


_PRIMITIVES = {
    "null": _Type(),
    "boolean": _Boolean(),
    "int": _Whole(32),
    "long": _Whole(64),
    "double": _Double(),
    "bytes": _Bytes(),
    "string": _String(),
}
