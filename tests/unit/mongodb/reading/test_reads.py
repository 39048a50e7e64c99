"""Reading a collection chunk by chunk, where the server does not do as it should."""

from __future__ import annotations

from typing import Any, cast

import bson
import pytest
from bson.code import Code
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp

from salmon.errors import FatalError
from salmon.mongodb.reading.reads import read_chunk


class _Repeats:
    """A database whose server sends the same document, whatever it is asked for."""

    name = "crm"

    def __init__(self, document: dict[str, Any]) -> None:
        self._batch = [RawBSONDocument(bson.encode(document))]

    def command(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"cursor": {"firstBatch": self._batch, "atClusterTime": Timestamp(1, 1)}}


def test_a_chunk_that_ends_where_it_began_ends_the_reading() -> None:
    """Otherwise it would go on for ever. The error says which type the `_id` has, and not its value."""
    database = cast(Any, _Repeats({"_id": Code("secret")}))
    first = read_chunk(database, "accounts", after=b"", limit=1, projection={})
    with pytest.raises(FatalError, match=r"crm\.accounts: .* BSON type 13") as raised:
        read_chunk(database, "accounts", after=first.last, limit=1, projection={})
    assert "secret" not in str(raised.value)
