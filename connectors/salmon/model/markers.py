"""
The two fields of every synced sObject that are Salmon's own, by the names that they have in the org.

The names are part of an object's registered schema, so that all processes change to other ones together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import astuple, dataclass
from typing import Any, Final

_CUSTOM: Final = "__c"
# An org with person accounts shows the custom fields of Contact on Account, too, with this end.
_OF_PERSONS: Final = "__pc"


@dataclass(frozen=True, slots=True)
class Markers:
    """*seq*: holds the number of the last write. *key*: the record's key, where it is not its Id."""

    seq: str = "Salmon_Seq__c"
    key: str = "Salmon_Id__c"

    @property
    def names(self) -> tuple[str, str]:
        return self.seq, self.key

    def to_avro(self) -> dict[str, Any]:
        """What a schema says of them; nothing of the usual names, so that schemas are as they were before there were others."""
        return {} if self == USUAL else {"markers": list(astuple(self))}

    @classmethod
    def from_avro(cls, salmon: dict[str, Any]) -> Markers:
        """The inverse of to_avro."""
        return cls(*salmon.get("markers", ()))


USUAL: Final = Markers()


def never_synced(markers: Iterable[Markers] = ()) -> Collection[str]:
    """The fields that are no data, whichever object shows them: the usual names, and those of *markers*."""
    names = {name for each in (USUAL, *markers) for name in each.names}
    return names | {f"{name.removesuffix(_CUSTOM)}{_OF_PERSONS}" for name in names}
