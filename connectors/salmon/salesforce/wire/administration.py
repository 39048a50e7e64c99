"""
What an administrator asks an org and makes in it: its rights, fields, permission sets, selections and allowances.

Only calls; what they are for is said by those who use them (salmon.doctor, salmon.setup). Nothing here is repeated.
Sources: Tooling API Developer Guide, "REST Resources", "CustomField", "PlatformEventChannel", "PlatformEventChannelMember"; Object Reference,
"UserPermissionAccess", "PermissionSet", "FieldPermissions", "PermissionSetAssignment"; REST API Developer Guide, "Limits".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from salmon.errors import UnfitServer
from salmon.salesforce.wire.pubsub_api.layout import channel_of
from salmon.salesforce.wire.rest import Rest
from salmon.salesforce.wire.soql import one_of, quoted, select

CHANNEL: Final = "ChangeEvents"  # the standard channel
_CUSTOM_CHANNEL: Final = "__chn"
# How many objects an org may select for change events without the add-on ("Change Data Capture Allocations").
SELECTED_DEFAULT_MAX: Final = 5

# Rights of a user, as fields of UserPermissionAccess -> how Setup calls them.
RIGHTS: Final[Mapping[str, str]] = {
    "PermissionsApiEnabled": "API Enabled",
    "PermissionsViewAllData": "View All Data",
    "PermissionsModifyAllData": "Modify All Data",
    "PermissionsViewSetup": "View Setup and Configuration",
    "PermissionsCustomizeApplication": "Customize Application",
    "PermissionsManageProfilesPermissionsets": "Manage Profiles and Permission Sets",
    "PermissionsAssignPermissionSets": "Assign Permission Sets",
}

Row = Mapping[str, Any]


class Administration:
    """
    The setup of one org. Threads may share it, as they may share *rest*, whose errors every method raises.

    A RequestRejected says by its `code` what the org does not let this user see or do.
    """

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    # Looking.

    def rows(self, fields: Collection[str], name: str, *where: str) -> Sequence[Row]:
        """Records of the data API."""
        return [row for page in self.rest.pages(select(fields, name, where=where)) for row in page.rows]

    def tooling_rows(self, fields: Collection[str], name: str, *where: str) -> Sequence[Row]:
        """Records of the Tooling API; more than one page of them is nothing that we ask for."""
        query = urlencode({"q": select(fields, name, where=where)})
        return _list(self.rest.ask("GET", f"tooling/query?{query}", resource="tooling"), "records")

    def rights(self) -> Mapping[str, bool]:
        """Which of RIGHTS the user has who is signed in."""
        found = self.rows(RIGHTS, "UserPermissionAccess")
        return {name: bool(found and found[0].get(name)) for name in RIGHTS}

    def with_right(self, right: str, objects: Iterable[str]) -> frozenset[str]:
        """Those of the objects for which a permission set of the user gives a right, e.g. PermissionsViewAllRecords."""
        rows = self.rows(
            ("SobjectType",),
            "ObjectPermissions",
            "ParentId IN (SELECT PermissionSetId FROM PermissionSetAssignment"
            f" WHERE AssigneeId = {quoted(self.rest.sign_in.token().user_id)})",
            one_of("SobjectType", objects),
            f"{right} = true",
        )
        return frozenset(str(row["SobjectType"]) for row in rows)

    def sees_all(self, name: str) -> bool:
        """Whether the user sees all records of an object, whoever owns them."""
        rights = self.rights()
        return (
            rights["PermissionsViewAllData"]
            or rights["PermissionsModifyAllData"]
            or bool(self.with_right("PermissionsViewAllRecords", (name,)))
        )

    def channel_key(self, channel: str) -> str | None:
        """What the members of a channel name it by: the standard one by its name, a custom one by its Id. None: there is no such channel."""
        if channel == CHANNEL:
            return channel
        namespace, _, name = channel.removesuffix(_CUSTOM_CHANNEL).rpartition("__")
        rows = self.tooling_rows(
            ("Id",),
            "PlatformEventChannel",
            f"DeveloperName = {quoted(name)}",
            f"NamespacePrefix = {quoted(namespace) if namespace else 'null'}",
        )
        return str(rows[0]["Id"]) if rows else None

    def selected(self) -> Mapping[str, frozenset[str]]:
        """The change events that are selected -> the channels that they are selected for, as `channel_key` has them."""
        found: dict[str, set[str]] = {}
        for row in self.tooling_rows(("EventChannel", "SelectedEntity"), "PlatformEventChannelMember"):
            if str(row["SelectedEntity"]).endswith(
                "ChangeEvent"
            ):  # custom channels have platform events, too
                found.setdefault(str(row["SelectedEntity"]), set()).add(str(row["EventChannel"]))
        return {entity: frozenset(channels) for entity, channels in found.items()}

    def members(self, channel: str) -> Mapping[str, Row]:
        """What a channel carries, by name (AccountChangeEvent): each one's Id and FilterExpression."""
        key = self.channel_key(channel)
        rows = self.tooling_rows(
            ("Id", "EventChannel", "SelectedEntity", "FilterExpression"), "PlatformEventChannelMember"
        )
        return {str(row["SelectedEntity"]): row for row in rows if row["EventChannel"] == key}

    def selections(self, channel: str) -> Mapping[str, str]:
        """The Ids of what is selected for a channel, by name."""
        return {name: str(row["Id"]) for name, row in self.members(channel).items()}

    def custom_fields(self, names: Collection[str]) -> Mapping[tuple[str, str], str]:
        """(object, field) -> Id, of the custom fields with these names, also of those that are hidden from everybody."""
        stems = [name.removesuffix("__c") for name in names]
        rows = self.tooling_rows(
            ("Id", "DeveloperName", "EntityDefinition.QualifiedApiName"),
            "CustomField",
            one_of("DeveloperName", stems),
            "NamespacePrefix = null",
        )
        return {
            (str(row["EntityDefinition"]["QualifiedApiName"]), f"{row['DeveloperName']}__c"): str(row["Id"])
            for row in rows
            if row.get("EntityDefinition")
        }

    def field_metadata(self, field_id: str) -> Mapping[str, Any]:
        """How a custom field was made, in the words of the Metadata API."""
        answer = self.rest.ask("GET", f"tooling/sobjects/CustomField/{quote(field_id)}", resource="tooling")
        metadata = answer.get("Metadata") if isinstance(answer, dict) else None
        return metadata if isinstance(metadata, dict) else {}

    def editors(self, name: str, field: str, *, other_than: str) -> int:
        """How many active users other than one may edit a field, by their profile or a permission set."""
        of_field = select(
            ("ParentId",),
            "FieldPermissions",
            where=(
                f"Field = {quoted(f'{name}.{field}')}",
                f"SobjectType = {quoted(name)}",
                "PermissionsEdit = true",
            ),
        )
        rows = self.rows(
            ("AssigneeId",),
            "PermissionSetAssignment",
            f"PermissionSetId IN ({of_field})",
            f"AssigneeId != {quoted(other_than)}",
            "Assignee.IsActive = true",
        )
        return len({row["AssigneeId"] for row in rows})

    # Making.

    def make(self, name: str, fields: Mapping[str, Any]) -> str:
        """Create a record of a permission object; its Id."""
        return _id(self.rest.ask("POST", f"sobjects/{quote(name)}", resource="permissions", body=fields))

    def change(self, name: str, record_id: str, fields: Mapping[str, Any]) -> None:
        """Change a record of a permission object."""
        self.rest.ask(
            "PATCH", f"sobjects/{quote(name)}/{quote(record_id)}", resource="permissions", body=fields
        )

    def make_of_metadata(self, name: str, full_name: str, metadata: Mapping[str, Any]) -> str:
        """Create a record of the Tooling API from metadata; its Id."""
        body = {"FullName": full_name, "Metadata": metadata}
        return _id(self.rest.ask("POST", f"tooling/sobjects/{quote(name)}", resource="tooling", body=body))


def event_of(name: str) -> str:
    """The change event of an object, as a channel's member names it: Account -> AccountChangeEvent."""
    return channel_of(name).rpartition("/")[2]


def channel_of_changes(channel: str) -> tuple[str, Mapping[str, Any]]:
    """Full name and metadata of a custom channel of change events."""
    return channel, {"channelType": "data", "label": channel.removesuffix(_CUSTOM_CHANNEL)}


def member_of(name: str, channel: str = CHANNEL) -> tuple[str, Mapping[str, Any]]:
    """Full name and metadata of the member by which an object is selected for a channel."""
    event = event_of(name)
    return f"{channel}_{event}".replace("__", "_"), {"eventChannel": channel, "selectedEntity": event}


def _list(answer: Any, key: str) -> Sequence[Row]:
    found = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise UnfitServer("Salesforce's Tooling API does not answer as documented. Check for a proxy.")
    return found


def _id(answer: Any) -> str:
    if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
        raise UnfitServer("Salesforce does not answer to a creation as documented. Check for a proxy.")
    return str(answer["id"])
