"""
Salesforce record Ids: 15 case-sensitive characters, or 18 with a checksum of their case.

Sources: Object Reference, "ID Field Type"; Salesforce Help, "How to convert 15-character IDs to 18".
"""

from __future__ import annotations

import re
from typing import Final

ID_CHARS_SHORT: Final = 15  # of an Id without its checksum, as people copy them
_CHECKSUM: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHAPE: Final = re.compile(r"[0-9A-Za-z]{15}(?:[A-Z0-5]{3})?")

# What a GAP_OVERFLOW event names instead of records (Change Data Capture Developer Guide, Overflow Events).
NO_ID: Final = "000000000000000AAA"
WILDCARD: Final = "*"  # ends an "Id" that stands for every record of its prefix, e.g. 001*


def id18(text: str) -> str | None:
    """The 18-character form of an Id in either form; None if *text* is no Id, its checksum included."""
    if not _SHAPE.fullmatch(text):
        return None
    whole = text[:ID_CHARS_SHORT] + "".join(_checksum(text[start : start + 5]) for start in (0, 5, 10))
    return whole if len(text) == ID_CHARS_SHORT or text == whole else None


def prefix_of(native_id: str) -> str:
    """The key prefix: the three characters that name the object."""
    return native_id[:3]


def names_no_record(native_id: str) -> bool:
    """Whether a change event's "Id" stands for a whole object instead of one record."""
    return native_id == NO_ID or native_id.endswith(WILDCARD)


def _checksum(five: str) -> str:
    return _CHECKSUM[sum(1 << place for place, char in enumerate(five) if "A" <= char <= "Z")]
