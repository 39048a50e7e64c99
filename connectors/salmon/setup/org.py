"""
What a sync needs of an org, made by the documented APIs: marker fields, the permission to edit them, change events.

It makes what is missing, and changes nothing that it did not make: a field of our name that is of another type is an error,
and a permission that the user has in another way is enough. Its own permission set is known by its name.
Sources: Metadata API Developer Guide, "CustomField" (of the Tooling API's Metadata, too); Object Reference, "PermissionSet",
"FieldPermissions", "PermissionSetAssignment" (a field that an API makes is seen by nobody until a permission says so);
Change Data Capture Developer Guide, "Select Objects for Change Notifications with Metadata API and Tooling API".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from salmon.errors import RequestRejected
from salmon.model.markers import USUAL, Markers
from salmon.salesforce.marker_fields import made_as, not_as_made
from salmon.salesforce.wire.administration import (
    CHANNEL,
    RIGHTS,
    SELECTED_DEFAULT_MAX,
    Administration,
    channel_of_changes,
    event_of,
    member_of,
)
from salmon.salesforce.wire.soql import quoted
from salmon.setup.steps import Became, Step

PERMISSION_SET: Final = "Salmon_Sync"
_SET: Final[Mapping[str, Any]] = {
    "Name": PERMISSION_SET,
    "Label": "Salmon sync",
    "Description": "Made by `salmon setup`: lets the integration user edit the marker fields. Assign it to nobody else.",
}
_SEQ: Final[Mapping[str, Any]] = {
    "type": "Number",
    "label": "Salmon Seq",
    "precision": 18,
    "scale": 0,
    "description": "Number of the last write of the Salmon sync. Only the sync may edit it.",
}
_KEY: Final[Mapping[str, Any]] = {
    "type": "Text",
    "label": "Salmon Id",
    "length": 255,
    "externalId": True,
    "unique": True,
    "caseSensitive": True,
    "description": "Key of a record that came from MongoDB. Only the Salmon sync may edit it.",
}
# To make fields and select objects; permission sets; and to assign them.
_NEEDED: Final = (
    "PermissionsCustomizeApplication",
    "PermissionsManageProfilesPermissionsets",
    "PermissionsAssignPermissionSets",
)
# Their custom fields are made on Activity, which is no object of the data API; how the Tooling API names these is not known here.
_OF_ACTIVITY: Final = frozenset({"Task", "Event"})
_CUSTOM: Final = "__c"
_NAMESPACE: Final = "__"  # what ends it: Acme__Sync_Key__c
# A type of the Metadata API -> of a describe.
_TYPES: Final[Mapping[str, str]] = {"Text": "string", "Number": "double"}
# The org has as many objects selected as it may ("Change Data Capture Allocations").
_SELECTION_FULL: Final = "LIMIT_EXCEEDED"


class OrgSetup:
    """
    Sets up one org for a sync.

    Args:
        objects: The synced objects.
        administration: Of the user who makes things.
        user: Of the integration user; it may be the same. What it may do is what counts.
        dry: Say what would be made, and make nothing.
        polled: Those of the objects that need no change events.
        markers: The names of their marker fields; where none are given, the usual ones.
        channel: The channel that change events come on.
    """

    def __init__(
        self,
        objects: Sequence[str],
        administration: Administration,
        user: Administration,
        *,
        dry: bool,
        polled: Collection[str] = (),
        markers: Mapping[str, Markers] | None = None,
        channel: str = CHANNEL,
    ) -> None:
        self._channel = channel
        self._objects = objects
        self._markers = {name: (markers or {}).get(name, USUAL) for name in objects}
        self._heard = [name for name in objects if name not in polled]
        self._admin = administration
        self._user = user
        self._dry = dry

    def steps(self) -> Iterator[Step]:
        """
        Take all steps, and return each when it is done. Whoever stops in between may begin again.

        Raises:
            Unavailable, RateLimited, UnfitServer: of Rest: the org cannot be asked now, or lets the user in no more.
        """
        unseen: list[tuple[str, str]] = []  # (object, marker) that the user may not edit yet
        would_make = False
        for step in self._all(unseen):
            would_make = would_make or step.became is Became.WOULD_MAKE
            yield step
        if would_make and (lacking := self._lacking()):
            yield Step(
                "rights",
                Became.BY_HAND,
                f"The user who is to make this lacks {', '.join(lacking)}.",
                "Give the user these rights for as long as the setup takes; or run it with an administrator's session"
                " (--admin-token-file).",
            )

    def _all(self, unseen: list[tuple[str, str]]) -> Iterator[Step]:
        is_whole = True
        for name in self._objects:
            for step in self._fields(name, unseen):
                is_whole = is_whole and not step.needs_a_person
                yield step
        if unseen or is_whole:
            yield from self._permissions(unseen)
        yield from self._selections()

    def _lacking(self) -> Sequence[str]:
        """The rights to make things that the user lacks, as far as the org tells."""
        try:
            rights = self._admin.rights()
        except RequestRejected:
            return ()
        return [RIGHTS[right] for right in _NEEDED if not rights[right]]

    # Fields.

    def _fields(self, name: str, unseen: list[tuple[str, str]]) -> Iterator[Step]:
        try:
            describe = self._user.rest.describe(name)
        except RequestRejected as error:
            yield Step(
                f"objects.{name}",
                Became.FAILED,
                f"The org has no object {name}, or hides it from the integration user ({error.said}).",
                f"Correct the name under `objects`, or give the user Read of {name} in a permission set; then run this again.",
            )
            return
        fields = {field["name"]: field for field in describe["fields"]}
        markers = self._markers[name]
        for marker in markers.names:
            if marker not in fields:
                step = self._hidden_or_missing(name, marker)
                if step.became in (Became.MADE, Became.WOULD_MAKE, Became.THERE):
                    unseen.append((name, marker))
                yield step
            elif consequence := not_as_made(markers, marker, fields[marker]):
                yield _wrong(name, marker, consequence, made_as(markers)[marker])
            else:
                if not (fields[marker]["createable"] and fields[marker]["updateable"]):
                    unseen.append((name, marker))
                yield _there(name, marker)

    def _hidden_or_missing(self, name: str, marker: str) -> Step:
        """A field that the integration user does not see: make it, unless it is only hidden."""
        full_name, markers = f"{name}.{marker}", self._markers[name]
        how = made_as(markers)[marker]
        if name in _OF_ACTIVITY:
            return Step(
                f"objects.{full_name}",
                Became.BY_HAND,
                f"{name} has no field {marker} that the integration user could see. Custom fields of {name} belong to Activity,"
                " for which the API is not used.",
                f"Under Setup, Object Manager, Activity, make the field {marker} as {how}, and give the integration"
                f" user Read and Edit of it. If that cannot be made there, {name} cannot be synced yet: remove it from `objects`.",
            )
        try:
            field_id = self._admin.custom_fields(markers.names).get((name, marker))
            if field_id is not None:
                described = _as_described(self._admin.field_metadata(field_id))
                consequence = not_as_made(markers, marker, described)
                return _wrong(name, marker, consequence, how) if consequence else _there(name, marker)
            if _NAMESPACE in marker.removesuffix(_CUSTOM):
                return _of_a_package(name, marker, how)
            if not self._dry:
                metadata = _SEQ if marker == markers.seq else _KEY
                self._admin.make_of_metadata("CustomField", full_name, metadata)
        except RequestRejected as error:
            return Step(
                f"objects.{full_name}",
                Became.BY_HAND,
                f"The org does not let this user make the field {full_name} ({_why(error)}).",
                f"Under Setup, Object Manager, {name}, make the field {marker} as {how}; or run this with an"
                " administrator's session (--admin-token-file).",
            )
        return self._made(f"objects.{full_name}", f"the field {full_name}: {how}")

    # Permissions.

    def _permissions(self, unseen: Sequence[tuple[str, str]]) -> Iterator[Step]:
        """Let the integration user edit the fields, by a permission set of our own."""
        name = "permissions"
        if not unseen:
            yield Step(name, Became.THERE, "The integration user may edit the marker fields.")
            return
        user_id = self._user.rest.sign_in.token().user_id
        try:
            sets = self._admin.rows(
                ("Id",), "PermissionSet", f"Name = {quoted(PERMISSION_SET)}", "NamespacePrefix = null"
            )
            set_id = str(sets[0]["Id"]) if sets else ""
            if set_id:
                yield Step(name, Became.THERE, f"The permission set {PERMISSION_SET}.")
            else:
                set_id = "" if self._dry else self._admin.make("PermissionSet", _SET)
                yield self._made(name, f"the permission set {PERMISSION_SET}")
            yield from self._field_permissions(set_id, unseen)
            yield self._assignment(set_id, user_id)
        except RequestRejected as error:
            fields = ", ".join(f"{owner}.{marker}" for owner, marker in unseen)
            yield Step(
                f"{name}.fields",
                Became.BY_HAND,
                f"The org does not let this user give permissions ({_why(error)}).",
                f"Give the integration user Read and Edit of {fields} in a permission set, and nobody else; or run this with an"
                " administrator's session (--admin-token-file).",
            )

    def _field_permissions(self, set_id: str, unseen: Sequence[tuple[str, str]]) -> Iterator[Step]:
        rows = (
            self._admin.rows(
                ("Id", "Field", "PermissionsEdit"), "FieldPermissions", f"ParentId = {quoted(set_id)}"
            )
            if set_id
            else ()
        )
        there = {str(row["Field"]): row for row in rows}
        rights = {"PermissionsRead": True, "PermissionsEdit": True}
        for owner, marker in unseen:
            field, step = f"{owner}.{marker}", f"permissions.{owner}.{marker}"
            row = there.get(field)
            if row is not None and row["PermissionsEdit"]:
                yield Step(step, Became.THERE, f"{PERMISSION_SET} gives Edit of {field}.")
                continue
            if not self._dry:
                if row is None:
                    self._admin.make(
                        "FieldPermissions",
                        {"ParentId": set_id, "SobjectType": owner, "Field": field, **rights},
                    )
                else:
                    self._admin.change("FieldPermissions", str(row["Id"]), rights)
            yield self._made(step, f"Read and Edit of {field}, in {PERMISSION_SET}")

    def _assignment(self, set_id: str, user_id: str) -> Step:
        name = "permissions.assignment"
        rows = (
            self._admin.rows(
                ("Id",),
                "PermissionSetAssignment",
                f"PermissionSetId = {quoted(set_id)}",
                f"AssigneeId = {quoted(user_id)}",
            )
            if set_id
            else ()
        )
        if rows:
            return Step(name, Became.THERE, f"{PERMISSION_SET} is assigned to the integration user.")
        if not self._dry:
            self._admin.make("PermissionSetAssignment", {"PermissionSetId": set_id, "AssigneeId": user_id})
        return self._made(name, f"the assignment of {PERMISSION_SET} to the integration user")

    # Change events.

    def _selections(self) -> Iterator[Step]:
        if not self._heard:
            return
        try:
            is_there = self._admin.channel_key(self._channel) is not None
            selected = self._admin.members(self._channel).keys() if is_there else frozenset()
        except RequestRejected as error:
            yield Step(
                "selection",
                Became.BY_HAND,
                f"The org does not show this user which objects are selected for change events ({_why(error)}).",
                f"{self._by_hand(', '.join(self._heard))}; or run this with an administrator's session (--admin-token-file).",
            )
            return
        if self._channel != CHANNEL:
            step = self._custom_channel(is_there=is_there)
            yield step
            if step.needs_a_person:
                return
        for name in self._heard:
            if event_of(name) in selected:
                yield Step(f"selection.{name}", Became.THERE, f"{name} is selected for change events.")
            else:
                yield self._select(name)

    def _custom_channel(self, *, is_there: bool) -> Step:
        step = "selection.channel"
        if is_there:
            return Step(step, Became.THERE, f"The channel {self._channel}.")
        try:
            if not self._dry:
                self._admin.make_of_metadata("PlatformEventChannel", *channel_of_changes(self._channel))
        except RequestRejected as error:
            return Step(
                step,
                Became.BY_HAND,
                f"The org does not let this user make the channel {self._channel} ({_why(error)}).",
                f"{self._by_hand(', '.join(self._heard))}; or run this with an administrator's session (--admin-token-file);"
                " or remove salesforce.pubsub.channel.",
            )
        return self._made(step, f"the channel {self._channel} of change events")

    def _select(self, name: str) -> Step:
        step = f"selection.{name}"
        try:
            if not self._dry:
                self._admin.make_of_metadata("PlatformEventChannelMember", *member_of(name, self._channel))
        except RequestRejected as error:
            if error.code == _SELECTION_FULL:
                return Step(
                    step,
                    Became.BY_HAND,
                    f"The org has as many objects selected for change events as it may; {name} is not among them.",
                    f"Without the add-on for Change Data Capture, {SELECTED_DEFAULT_MAX} can be. Under Setup, Change Data"
                    f" Capture, deselect one that nobody needs, order the add-on from Salesforce, or set objects.{name}.capture to"
                    " poll; then run this again.",
                )
            return Step(
                step,
                Became.BY_HAND,
                f"The org does not let this user select {name} for change events ({_why(error)}).",
                f"{self._by_hand(name)}. If it is not offered there, set objects.{name}.capture to poll.",
            )
        return self._made(step, f"the selection of {name} for change events")

    def _by_hand(self, name: str) -> str:
        if self._channel == CHANNEL:
            return f"Under Setup, Change Data Capture, select {name}"
        return f"Make the channel {self._channel} if it is not there (Tooling API, PlatformEventChannel), and add {name} to it"

    def _made(self, name: str, what: str) -> Step:
        if self._dry:
            return Step(name, Became.WOULD_MAKE, f"Would make {what}.")
        return Step(name, Became.MADE, f"Made {what}.")


def _there(name: str, marker: str) -> Step:
    return Step(f"objects.{name}.{marker}", Became.THERE, f"The field {name}.{marker}.")


def _of_a_package(name: str, marker: str, how: str) -> Step:
    return Step(
        f"objects.{name}.{marker}",
        Became.BY_HAND,
        f"{name} has no field {marker} that the integration user could see, and a field with a namespace is made by its package only.",
        f"Install the package that has it (as {how}), give the integration user Read and Edit of the field, or name another field in"
        f" objects.{name}.markers.",
    )


def _wrong(name: str, marker: str, consequence: str, how: str) -> Step:
    return Step(
        f"objects.{name}.{marker}",
        Became.FAILED,
        f"{name}.{marker} {consequence}. It is left as it is, because others may use it.",
        f"It must be {how}. If nobody else uses the field, delete it under Setup, Object Manager, {name} (erase it"
        " there, too, so that its name is free), and run this again.",
    )


def _as_described(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Metadata of a custom field, in the words of a describe."""
    return {**metadata, "type": _TYPES.get(str(metadata.get("type")), metadata.get("type"))}


def _why(error: RequestRejected) -> str:
    return f"{error.code}: {error.words}" if error.words else error.code
