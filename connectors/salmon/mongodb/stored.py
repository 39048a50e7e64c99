"""
Converts MongoDB's own values in the source's positions, which are JSON: resume tokens and `_id`s. And cuts documents into elements.

An `_id` is stored as BSON: the document {_id: ...}, with the bytes that the server sent. It is never made of what PyMongo
decodes, because that loses text that is not UTF-8, a name that a document has twice, and types of earlier versions. The
server would compare such an `_id` with another one, and a reading that continues after it could go back, or on for ever.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bson.json_util import CANONICAL_JSON_OPTIONS
from bson.json_util import dumps as to_extended_json
from bson.json_util import loads as from_extended_json
from bson.raw_bson import RawBSONDocument

from salmon.errors import DataError, Unavailable

_NAME: Final = b"_id\0"
_MAX_KEY: Final = 0x7F
_REGEX: Final = 0x0B  # two texts, each with its final zero
_LENGTH: Final = struct.Struct("<i")
# Type -> (bytes of a value besides its text or its elements, whether a length comes first): BSON 1.1, bsonspec.org. A
# length counts the text with its final zero; of a document, and of code with a scope, it counts itself, too.
_SIZES: Final[Mapping[int, tuple[int, bool]]] = {
    0x01: (8, False),  # double
    0x02: (4, True),  # string
    0x03: (0, True),  # document
    0x04: (0, True),  # array
    0x05: (5, True),  # binary
    0x06: (0, False),  # undefined
    0x07: (12, False),  # ObjectId
    0x08: (1, False),  # boolean
    0x09: (8, False),  # date
    0x0A: (0, False),  # null
    0x0C: (16, True),  # DBPointer
    0x0D: (4, True),  # code
    0x0E: (4, True),  # symbol
    0x0F: (0, True),  # code with a scope
    0x10: (4, False),  # int
    0x11: (8, False),  # timestamp
    0x12: (8, False),  # long
    0x13: (16, False),  # decimal
    0xFF: (0, False),  # MinKey
    _MAX_KEY: (0, False),
}


def token_to_json(token: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a resume token as JSON. A token of a record whose `_id` is a long, a double or a decimal also has binary data
    (`_typeBits`).
    """
    written: dict[str, Any] = json.loads(to_extended_json(token, json_options=CANONICAL_JSON_OPTIONS))
    return written


def token_from_json(written: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of token_to_json."""
    token: dict[str, Any] = from_extended_json(json.dumps(written), json_options=CANONICAL_JSON_OPTIONS)
    return token


def stored_id(document: bytes) -> bytes:
    """
    Return the document {_id: ...} of a document, whatever the `_id` is.

    Raises:
        Unavailable: the document does not begin with its `_id`, as the server sends it.
    """
    end = 5 + len(_NAME)
    if document[5:end] != _NAME or document[4] not in _SIZES:
        raise Unavailable(
            "MongoDB sent a document that does not begin with its _id. Use MongoDB 6.0 or later; a server that only speaks its protocol may differ."
        )
    return document_of(document[4 : _end_of(document, 4, end)])


def document_of(elements: bytes) -> bytes:
    """Return the document with these elements."""
    return _LENGTH.pack(4 + len(elements) + 1) + elements + b"\0"


def elements_of(document: bytes) -> Iterator[tuple[str, bytes]]:
    """
    Cut a document into its elements: the name and the bytes of each.

    Raises:
        DataError: it has a type that BSON 1.1 does not know.
    """
    at = 4
    while at < len(document) - 1:
        name_end = document.index(b"\0", at + 1)
        if document[at] != _REGEX and document[at] not in _SIZES:
            raise DataError(f"A document has a value of a type that we do not know (0x{document[at]:02x}).")
        end = _end_of(document, at, name_end + 1)
        yield document[at + 1 : name_end].decode(errors="surrogateescape"), document[at:end]
        at = end


def _end_of(document: bytes, at: int, value: int) -> int:
    """Where the element ends that begins at *at*, and its value at *value*."""
    if document[at] == _REGEX:
        return document.index(b"\0", document.index(b"\0", value) + 1) + 1
    size, has_length = _SIZES[document[at]]
    return value + size + (_LENGTH.unpack_from(document, value)[0] if has_length else 0)


def id_to_json(stored: bytes) -> str:
    """Convert an `_id`, as stored_id returns it, to text."""
    return b64encode(stored).decode()


def id_from_json(written: str) -> bytes:
    """The inverse of id_to_json."""
    return b64decode(written)


def as_document(stored: bytes, name: str = "_id") -> RawBSONDocument:
    """Return the document {name: ...} with the `_id` in *stored*, for a command."""
    element = stored[4:5] + name.encode() + b"\0" + stored[5 + len(_NAME) :]
    return RawBSONDocument(_LENGTH.pack(4 + len(element)) + element)


def is_greatest(stored: bytes) -> bool:
    """Whether no other `_id` comes after this one, which is a MaxKey."""
    return stored[4] == _MAX_KEY
