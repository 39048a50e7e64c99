"""Values of documents that are what they are in Salmon, too. Most are: a reader of thousands of documents need not convert them one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from salmon.model.schema import Kind

# An int of BSON that needs more than 32 bits is an Int64.
PLAIN_TYPES: Final[Mapping[Kind, type]] = {
    Kind.STRING: str,
    Kind.BOOLEAN: bool,
    Kind.INT: int,
    Kind.LONG: int,
    Kind.DOUBLE: float,
}


def as_it_is(shown: Any, kind: type) -> bool:
    """Whether what a document shows for a plain field is its value: it is of this type, and nothing must be looked into more closely."""
    is_kind: bool = type(shown) is kind
    if kind is str:
        return is_kind and shown != "" and shown.isascii()
    return is_kind and (kind is not float or math.isfinite(shown))
