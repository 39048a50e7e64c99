"""
The marker fields of an object in the org: how they must be made, whether they are so, and whether they may get other names.

Sources: REST API Developer Guide, "sObject Describe"; Object Reference, "Field Types" (external ids).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Protocol

from salmon.errors import RequestRejected
from salmon.model.markers import Markers, never_synced
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.rest import Page

_SEQ_DIGITS: Final = 18
_KEY_CHARS: Final = 255


class Named(Protocol):
    """`objects.<Object>.markers` of the config."""

    @property
    def names(self) -> Markers: ...


class HasMarkers(Protocol):
    """`objects.<Object>` of the config."""

    @property
    def markers(self) -> Named: ...


class Queries(Protocol):
    """What is asked of Rest."""

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]: ...


def apart_in(objects: Mapping[str, HasMarkers]) -> Collection[str]:
    """The fields that no object of a sync has as data: an object may show another one's markers (Account, those of Contact)."""
    return never_synced(each.markers.names for each in objects.values())


def made_as(markers: Markers) -> Mapping[str, str]:
    """Each of the two fields, in the words of Setup."""
    return {markers.seq: "Number(18, 0)", markers.key: "Text(255), External ID, Unique and case-sensitive"}


def not_as_made(markers: Markers, marker: str, field: Mapping[str, Any]) -> str | None:
    """What would come of it that a marker field is not as Salmon needs it; None if it is. *field*: its describe."""
    if marker == markers.seq:
        digits = (field.get("precision") or 0) - (field.get("scale") or 0)
        if field.get("type") != "double" or digits < _SEQ_DIGITS:
            return f"does not hold whole numbers of {_SEQ_DIGITS} digits"
        return None
    if not (field.get("externalId") and field.get("unique")):
        return "is not a unique external id, so a record could be created twice"
    if not field.get("caseSensitive"):
        return "is not case-sensitive, so the keys abc and ABC would be one record"
    if field.get("type") != "string" or (field.get("length") or 0) < _KEY_CHARS:
        return f"does not hold texts of {_KEY_CHARS} characters, which keys may have"
    return None


def fault_of(name: str, markers: Markers, fields: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why the marker fields of an object cannot be used, in a sentence. *fields*: the describe's."""
    for marker, how in made_as(markers).items():
        field = fields.get(marker)
        if field is None:
            return (
                f"objects.{name}: {name} has no field {marker}, or hides it from the integration user. Create it as {how}, and let"
                f" that user alone edit it; or name another field in objects.{name}.markers."
            )
        if not (field["createable"] and field["updateable"]):
            return (
                f"objects.{name}: {name}.{marker} cannot be edited by the integration user. Give it read and edit access to the"
                " field."
            )
        if consequence := not_as_made(markers, marker, field):
            return f"objects.{name}: {name}.{marker} {consequence}. Make it {how}."
    return None


def fault_of_move(
    name: str, before: Markers, now: Markers, fields: Mapping[str, Any], org: Queries
) -> str | None:
    """
    Why the marker fields cannot have other names yet, in a sentence: a record whose key is left behind in the old field would be
    another record, and be created a second time on the other side.
    """
    for old, new in zip(before.names, now.names, strict=True):
        if old == new:
            continue
        if old not in fields:
            return (
                f"objects.{name}.markers: this sync has used {name}.{old} so far, which is not there, or is hidden from the"
                f" integration user. So nobody can see whether {new} has all of its values. Let the user see the field (a deleted"
                f" field can be undeleted in Setup), or name {old} again."
            )
        left = soql.select(["Id"], name, where=[f"{old} != null", f"{new} = null"], limit=1)
        try:
            is_left = any(page.rows for page in org.pages(left))
        except RequestRejected as error:
            return f"objects.{name}.markers: the org does not say whether {new} has all values of {old} ({error.code}: {error.words})."
        if is_left:
            return (
                f"objects.{name}.markers: this sync has used {name}.{old} so far, and {new} does not have all of its values. Stop"
                f" salesforce-sink, copy the values of {old} into {new} for all records of {name} (Data Loader, as the integration"
                " user), and let it run again. Until then the object waits."
            )
    return None
