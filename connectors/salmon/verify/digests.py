"""
Digests of records: two digests are equal exactly if `comparing` finds no difference. Pure.

Each side shows a record differently, so a record of `records` has one digest for each side. What cannot be compared by a
digest alone is handled separately:

- fields that may differ *for now* (stamps, refreshed fields) are counted apart, so that they hide no real difference;
- the Salesforce Id in a document is compared with the org's Id, because `records` does not have it;
- a value that could not be read equals nothing, not even itself.

A bucket's sums do not depend on the order in which records came, and one of them can be taken out again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final

from salmon.model.change import SALESFORCE_ID, Value
from salmon.salesforce.ids import id18
from salmon.verify.comparing import UNREADABLE, Seen, Terms

# Ten million records are 2,400 per bucket: little to keep in memory, and little to look through if one record differs.
BUCKETS: Final = 4096

# Long enough to exclude accidental collisions. Nobody has a reason to forge them.
_FIRM_BYTES: Final = 16
_LATER_BYTES: Final = 8
_ID_BYTES: Final = 8
DIGEST_BYTES: Final = _FIRM_BYTES + _LATER_BYTES + _ID_BYTES


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of one record, by one side's terms."""

    firm: bytes  # of all that must be equal
    later: bytes  # of what may differ for now
    native_id: bytes = b"\0" * _ID_BYTES  # of the record's Salesforce Id, if documents must have it

    def encode(self) -> bytes:
        return self.firm + self.later + self.native_id

    @classmethod
    def decode(cls, data: bytes) -> Digest:
        last = _FIRM_BYTES + _LATER_BYTES
        return cls(data[:_FIRM_BYTES], data[_FIRM_BYTES:last], data[last:])


# Of a row that the side is not to have: no record has this digest.
NOWHERE: Final = Digest(b"\0" * _FIRM_BYTES, b"\0" * _LATER_BYTES)


class Form:
    """
    Makes digests of records, by one side's terms.

    Args:
        with_ids: Whether documents must have the Salesforce Ids. If so, they are compared with the org's Ids.
    """

    def __init__(self, terms: Terms, *, with_ids: bool) -> None:
        self._terms = terms
        self._special = terms.ids | terms.doubles  # of which equal values have several forms
        own = terms.compared - {SALESFORCE_ID}
        self._firm = sorted(own - terms.later)
        self._later = sorted(own & terms.later)
        self._with_ids = with_ids

    def agreed(self, key: str, row: Mapping[str, Value]) -> Digest:
        """Return the digest of a row of `records`; NOWHERE if the side's filter does not want the record."""
        expected = self._terms.expected(row)
        if expected is None:
            return NOWHERE
        row = expected
        return Digest(
            self._hashed(_FIRM_BYTES, key, self._firm, row),
            self._hashed(_LATER_BYTES, key, self._later, row),
        )

    def org(self, seen: Seen) -> Digest:
        """Return the digest of a record in Salesforce."""
        return self._seen(seen, seen.native_id or id18(seen.key))

    def document(self, seen: Seen) -> Digest:
        """Return the digest of a document."""
        return self._seen(seen, seen.fields.get(SALESFORCE_ID))

    def _seen(self, seen: Seen, native_id: Value) -> Digest:
        if UNREADABLE in seen.unreadable:
            firm = self._hashed(_FIRM_BYTES, seen.key, [UNREADABLE], {}, seen.unreadable)
        else:
            firm = self._hashed(_FIRM_BYTES, seen.key, self._firm, seen.fields, seen.unreadable)
        later = self._hashed(_LATER_BYTES, seen.key, self._later, seen.fields, seen.unreadable)
        if not self._with_ids:
            return Digest(firm, later)
        unread = SALESFORCE_ID in seen.unreadable
        parts = (seen.key, ... if unread else native_id)
        return Digest(firm, later, blake2b(repr(parts).encode(), digest_size=_ID_BYTES).digest())

    def _hashed(
        self,
        size: int,
        key: str,
        names: Collection[str],
        fields: Mapping[str, Value],
        unreadable: Collection[str] = (),
    ) -> bytes:
        """Return a hash. Null is the same as missing, and numbers are equal if Python says so."""
        parts: list[Any] = [key]
        left_out = self._terms.not_given(fields)
        for name in names:
            if name in left_out:
                continue
            if unreadable and name in unreadable:
                parts += (name, ...)  # no value has this text
            elif (value := fields.get(name)) is not None:
                if name in self._special:
                    value = self._terms.comparable(name, value)
                kind = type(value)
                parts += (name, value if kind is str or kind is int else _normal(value))
        return blake2b(repr(parts).encode(), digest_size=size).digest()


def bucket_of(key: str) -> int:
    """Return the record's bucket, which is the same on every machine and at any time."""
    return int.from_bytes(blake2b(key.encode(), digest_size=2).digest(), "big") % BUCKETS


@dataclass(slots=True)
class Sums:
    """The sums of one place, by one side's terms: the number of records in each bucket, and the sums of their digests."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    firm: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    later: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    native_ids: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def add(self, bucket: int, digest: Digest, *, times: int = 1) -> None:
        """Add a record, or take it out again (*times* = -1). NOWHERE is no record."""
        if digest == NOWHERE:
            return
        self.counts[bucket] += times
        self.firm[bucket] += times * int.from_bytes(digest.firm, "big")
        self.later[bucket] += times * int.from_bytes(digest.later, "big")
        self.native_ids[bucket] += times * int.from_bytes(digest.native_id, "big")

    def same(self, other: Sums, bucket: int) -> bool:
        """Whether both have the same records in the bucket; their Ids are not compared."""
        return (
            self.counts[bucket] == other.counts[bucket]
            and self.firm[bucket] == other.firm[bucket]
            and self.later[bucket] == other.later[bucket]
        )

    @property
    def total(self) -> int:
        """How many records there are."""
        return sum(self.counts)


def _normal(value: Any) -> Any:
    """Return a form that is the same for equal numbers of all types, and *value* itself if it is not a number."""
    match value:
        case bool() | int():
            return int(value)
        case float() if value.is_integer():
            return int(value)
        case Decimal() if value.is_finite():
            if value == (whole := int(value)):
                return whole
            nearest = float(value)
            return nearest if nearest == value else value.as_integer_ratio()
        case _:
            return value
