"""
The document as it will be in another collection: as it was, but for what a write sets and clears.

What the write does not name is the application's own, and is copied as the server has it. PyMongo cannot write everything that it
can read: undefined becomes null, a symbol becomes a text, a name that is there twice is there once, text that is not UTF-8 is
refused. So a document with such a thing is put together from the server's own bytes.
"""

from __future__ import annotations

import copy
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from salmon.mongodb.paths import put
from salmon.mongodb.stored import document_of, elements_of
from salmon.mongodb.wire.client import CODEC, Document, whole


def copied(stored: bytes, update: Document) -> Document | RawBSONDocument:
    """Return what to insert: the document in *stored*, after *update*."""
    document = whole(bson.decode(stored, CODEC))
    after = updated(document, update)
    try:
        if bson.encode(document, codec_options=CODEC) == stored:
            return after
    except UnicodeEncodeError:
        pass  # of text that is not UTF-8
    return _put_together(stored, after, {path.partition(".")[0] for each in update.values() for path in each})


def updated(document: Document, update: Document) -> Document:
    """The document after *update*, as the server would make it: what the update does not name stays."""
    document = copy.deepcopy(dict(document))
    for path in update.get("$unset", ()):
        *parents, name = path.split(".")
        holder: Any = document
        for parent in parents:
            holder = holder.get(parent) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            holder.pop(name, None)
    for path, value in update["$set"].items():
        put(document, path, value)
    return document


def _put_together(stored: bytes, after: Document, named: set[str]) -> RawBSONDocument:
    """The properties that are *named* as in *after*, the others as they are stored."""
    ours = {
        name: bson.encode({name: after[name]}, codec_options=CODEC)[4:-1] for name in named if name in after
    }
    elements = [
        element if name not in named else ours.pop(name, b"") for name, element in elements_of(stored)
    ]
    return RawBSONDocument(document_of(b"".join([*elements, *ours.values()])))
