"""
Converts MongoDB's own values in the source's positions, which are JSON: resume tokens and `_id`s.

An `_id` is stored as BSON, because Extended JSON cannot restore a date beyond the year 9999 or a document with a name that
begins with `$`.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import bson
from bson.json_util import CANONICAL_JSON_OPTIONS
from bson.json_util import dumps as to_extended_json
from bson.json_util import loads as from_extended_json
from bson.raw_bson import RawBSONDocument

from salmon.mongodb.wire.client import CODEC

_STRING_TAG: Final = b"\x02"
_NAME: Final = "_id"


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


def id_to_json(document_id: Any) -> str:
    """Convert an `_id` of any type, as PyMongo decodes it with our codec, to text."""
    return b64encode(single(_NAME, document_id).raw).decode()


def id_from_json(written: str) -> Any:
    """The inverse of id_to_json."""
    return bson.decode(b64decode(written), CODEC)[_NAME]


def single(name: str, value: Any) -> RawBSONDocument:
    """
    Return the document {name: value}. It also works for text that is not valid UTF-8: our codec decodes that to lone
    surrogates, which PyMongo cannot encode.
    """
    if isinstance(value, str):
        text = value.encode(errors="surrogateescape") + b"\0"
        body = _STRING_TAG + name.encode() + b"\0" + struct.pack("<i", len(text)) + text
        return RawBSONDocument(struct.pack("<i", 4 + len(body) + 1) + body + b"\0")
    return RawBSONDocument(bson.encode({name: value}, codec_options=CODEC))
