"""
How the org is to save the records of an object: what a call says to its duplicate rules and its assignment rules.

Both are headers, so they hold for a whole call: records of objects that say something else are in other calls. Assignment rules
are for creations alone; on an update they would take a record away from whoever has it.
Source: REST API Developer Guide, "Headers" (Sforce-Duplicate-Rule-Header, Sforce-Auto-Assign).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from salmon.salesforce.catalog import ObjectConfig
from salmon.salesforce.wire.rest import RowResult

_ALLOW: Final = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
_ASSIGN: Final = {"Sforce-Auto-Assign": "TRUE"}

Records = Sequence[Mapping[str, Any]]


class Saves(Protocol):
    """Saves the records of one call."""

    def insert(self, records: Records) -> Sequence[RowResult]: ...
    def update(self, records: Records) -> Sequence[RowResult]: ...


class SavesWith(Protocol):
    """What is asked of Rest."""

    def collection(
        self, method: str, records: Records, headers: Mapping[str, str] | None = None
    ) -> Sequence[RowResult]: ...


class Saving:
    """Calls with headers of their own."""

    def __init__(self, org: SavesWith, *, allow_duplicates: bool, assignment_rules: bool) -> None:
        self._org = org
        self._headers = _ALLOW if allow_duplicates else {}
        self._headers_of_new = self._headers | (_ASSIGN if assignment_rules else {})

    def insert(self, records: Records) -> Sequence[RowResult]:
        return self._org.collection("POST", records, self._headers_of_new)

    def update(self, records: Records) -> Sequence[RowResult]:
        return self._org.collection("PATCH", records, self._headers)


def savers(objects: Mapping[str, ObjectConfig], org: SavesWith) -> Mapping[str, Saves]:
    """Object -> who saves its records, of those that are not saved as by default. Objects with the same settings share one."""
    made: dict[tuple[bool, bool], Saves] = {}
    found: dict[str, Saves] = {}
    for name, each in objects.items():
        settings = each.allow_duplicates, each.assignment_rules
        if any(settings):
            allow, assign = settings
            if settings not in made:
                made[settings] = Saving(org, allow_duplicates=allow, assignment_rules=assign)
            found[name] = made[settings]
    return found
