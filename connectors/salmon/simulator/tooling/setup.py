"""
What an administrator sets up: custom fields, who may see them, and which objects have change events.

Records of the Tooling API, and permissions of the data API, change the org: a new custom field is in the describe, in
SOQL and in the events' schema as soon as a permission set that shows it is assigned to any user (real orgs show each
user his own describe; the box has one for all). Without that nobody sees it, administrators neither.
Sources: Tooling API Developer Guide (CustomField, PlatformEventChannel, PlatformEventChannelMember, EnrichedField);
Change Data Capture Developer Guide, "Select Objects for Change Notifications with Metadata API and Tooling API".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from salmon.simulator.events.cdc_schema import can_be_selected, event_name_of
from salmon.simulator.org.objects.describes import Describe
from salmon.simulator.org.objects.spelling import AUDIT, spelled
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import Refusal, not_writable
from salmon.simulator.org.saving.records import Unit
from salmon.simulator.org.transaction import Row, Transaction
from salmon.simulator.tooling.custom_fields import Json, described, metadata_of, name_of
from salmon.simulator.tooling.streaming import STANDARD_CHANNEL, Streaming

# It begins with a letter; no two underscores are beside each other, and none is last (Tooling API, "PlatformEventChannel").
_DEVELOPER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
ENRICHED_MAX: Final = 10  # "Change Data Capture Allocations"
# Objects of the Tooling API alone; FullName and Metadata are shown of one record at a time.
TOOLING_DESCRIBES: Final[Mapping[str, Describe]] = {
    "CustomField": spelled(
        "CustomField", "00N",
        "Id:id DeveloperName! TableEnumOrId! EntityDefinitionId! Definition!:reference:EntityDefinition:EntityDefinition"
        " NamespacePrefix ManageableState Length!:int"
        f" Precision!:int Scale!:int InlineHelpText!:textarea Description!:textarea FullName!~ Metadata!~:complexvalue {AUDIT}",
        writable=True,
    ),
    "PlatformEventChannel": spelled(
        "PlatformEventChannel", "0YL",
        f"Id:id DeveloperName!^ MasterLabel! Language ChannelType! EventType! NamespacePrefix ManageableState FullName!~ Metadata!~:complexvalue {AUDIT}",
        writable=True,
    ),
    "PlatformEventChannelMember": spelled(
        "PlatformEventChannelMember", "0v8",
        "Id:id DeveloperName!^ EventChannel! SelectedEntity! FilterExpression!:textarea NamespacePrefix ManageableState"
        f" FullName!~ Metadata!~:complexvalue {AUDIT}",
        writable=True,
    ),
    "ManagedEventSubscription": spelled(
        "ManagedEventSubscription", "18x",
        "Id:id DeveloperName!^ MasterLabel! Language TopicName! DefaultReplay! ErrorRecoveryReplay! State! NamespacePrefix"
        f" ManageableState FullName!~ Metadata!~:complexvalue {AUDIT}",
        writable=True,
    ),
    "EnrichedField": spelled(
        "EnrichedField", "0v9", f"Id:id ChannelMemberId!:reference:PlatformEventChannelMember:ChannelMember Field! {AUDIT}",
        writable=True,
    ),
}  # fmt: skip
# Those that are made from a FullName and Metadata.
MADE_OF_METADATA: Final = frozenset(TOOLING_DESCRIBES) - {"EnrichedField"}


class Setup:
    """The setup of one org. Its records are those of `org`, which has the objects of the Tooling API, too."""

    def __init__(self, main: Org) -> None:
        self._main = main
        self.org = main.with_more(TOOLING_DESCRIBES)
        self._streaming = Streaming(main, self.org)
        self._base = {name: main.describe(name) for name in main.objects}
        self._own = {(name, f["name"]) for name, describe in self._base.items() for f in describe["fields"]}
        with self.org.transaction(main.integration_user) as unit:
            for name, describe in self._base.items():
                for field in describe["fields"]:
                    if field.get("custom") and field["name"].endswith("__c"):
                        unit.insert("CustomField", self._field_row(name, field["name"], metadata_of(field)))
                if can_be_selected(name):
                    unit.insert(
                        "PlatformEventChannelMember", self._member_row("", self._standard_member(name))
                    )
        main.add_listener(self._apply)
        self.org.add_listener(self._apply)
        main.faults.on("cdc", self._follow_cdc)
        main.describe_listeners.append(self._follow_describe)
        main.faults.on_clear(self._follow_clear)
        main.checks["FieldPermissions"] = self._check_permission
        main.checks["ObjectPermissions"] = partial(
            self._check_twin, "ObjectPermissions", ("ParentId", "SobjectType")
        )
        main.checks["PermissionSetAssignment"] = partial(
            self._check_twin, "PermissionSetAssignment", ("PermissionSetId", "AssigneeId")
        )

    # Writing what is made of metadata

    def create(self, unit: Unit, object_name: str, body: Mapping[str, Any]) -> str:
        """Make a field, channel or member of {"FullName", "Metadata"}; its id. Raises Refusal."""
        full_name, metadata = body.get("FullName"), body.get("Metadata")
        if not isinstance(metadata, dict):
            raise Refusal("REQUIRED_FIELD_MISSING", "Required fields are missing: [Metadata]", "Metadata")
        if object_name == "CustomField":
            return unit.insert(object_name, self._new_field_row(full_name, metadata))
        if object_name == "PlatformEventChannel":
            return unit.insert(object_name, self._channel_row(str(full_name or ""), metadata))
        if object_name == "ManagedEventSubscription":
            self._check_name(object_name, str(full_name), "")
            return unit.insert(object_name, self._streaming.managed_row(str(full_name or ""), metadata))
        row, most = self._member_row(str(full_name or ""), metadata), self._main.settings.cdc_entities_max
        members = self.org.tables[object_name].live.values()
        selected = {member.get("SelectedEntity") for member in members}
        selected = {each for each in selected if self._streaming.object_of(str(each)) is not None}
        is_change = self._streaming.object_of(row["SelectedEntity"]) is not None
        if is_change and row["SelectedEntity"] not in selected and len(selected) >= most:
            message = (
                f"{len(selected)} entities are selected for Change Data Capture, and the limit is {most}"
            )
            raise Refusal("LIMIT_EXCEEDED", message, "SelectedEntity")
        record_id = unit.insert(object_name, row)
        self._enrich(unit, record_id, metadata)
        return record_id

    def update(self, unit: Unit, object_name: str, record_id: str, body: Mapping[str, Any]) -> None:
        """Change what is made of metadata. Raises Refusal."""
        before = self.org.tables[object_name].live.get(record_id) or {}
        metadata = body.get("Metadata")
        if not isinstance(metadata, dict):
            raise Refusal("REQUIRED_FIELD_MISSING", "Required fields are missing: [Metadata]", "Metadata")
        full_name = str(before.get("FullName") or "")
        if body.get("FullName") not in {None, full_name}:
            raise not_writable("FullName")
        if object_name == "CustomField":
            owner, _, name = full_name.partition(".")
            described(name, metadata)
            unit.update(object_name, record_id, self._field_row(owner, name, metadata))
        elif object_name == "PlatformEventChannel":
            unit.update(object_name, record_id, self._channel_row(full_name, metadata, itself=record_id))
        elif object_name == "ManagedEventSubscription":
            old = json.loads(str(before.get("Metadata") or "{}"))
            unit.update(object_name, record_id, self._streaming.managed_row(full_name, {**old, **metadata}))
        else:
            old = json.loads(str(before.get("Metadata") or "{}"))
            for name, column in (("eventChannel", "EventChannel"), ("selectedEntity", "SelectedEntity")):
                if name in metadata and metadata[name] != old.get(name):
                    raise not_writable(column)
            row = self._member_row(full_name, {**old, **metadata}, itself=record_id)
            unit.update(object_name, record_id, row)
            for enriched in self._enriched(record_id):
                unit.delete("EnrichedField", str(enriched["Id"]))
            self._enrich(unit, record_id, metadata)

    def delete(self, unit: Unit, object_name: str, record_id: str) -> None:
        """Delete a record, with what hangs on it: enriched fields, members of a channel."""
        if object_name == "PlatformEventChannelMember":
            for enriched in self._enriched(record_id):
                unit.delete("EnrichedField", str(enriched["Id"]))
        if object_name == "PlatformEventChannel":
            for member in list(self.org.tables["PlatformEventChannelMember"].live.values()):
                if member.get("EventChannel") == record_id:
                    self.delete(unit, "PlatformEventChannelMember", str(member["Id"]))
        unit.delete(object_name, record_id)

    def _check_permission(self, row: Row, record_id: str | None) -> None:
        """Raises Refusal for field permissions of a field that there is not, that are there, or that cannot be."""
        owner, _, name = str(row.get("Field")).partition(".")
        known = owner in self._base and (
            self._main.types[owner].field(name) is not None or (owner, name) in self._fields()
        )
        if not known or row.get("SobjectType") != owner:
            message = f"Field Name: bad value for restricted picklist field: {row.get('Field')}"
            raise Refusal("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, "Field")
        if row.get("PermissionsEdit") and not row.get("PermissionsRead"):
            raise Refusal(
                "FIELD_INTEGRITY_EXCEPTION", "Edit permission needs read permission", "PermissionsRead"
            )
        self._check_twin("FieldPermissions", ("ParentId", "Field"), row, record_id)

    def _check_twin(self, object_name: str, key: tuple[str, str], row: Row, record_id: str | None) -> None:
        for other in self._main.tables[object_name].live.values():
            if other["Id"] != record_id and all(other.get(name) == row.get(name) for name in key):
                other_id = str(other["Id"])[:15]
                message = (
                    f"duplicate value found: {object_name} duplicates value on record with id: {other_id}"
                )
                raise Refusal("DUPLICATE_VALUE", message)

    def _new_field_row(self, full_name: Any, metadata: Json) -> Json:
        owner, name = name_of(full_name)
        if owner not in self._base:
            message = f"Entity Enumeration Or ID: no CustomObject named {owner} found"
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", message, "FullName")
        field = described(name, metadata)
        taken = {f["name"].lower() for f in self._main.describe(owner)["fields"]}
        taken |= {each.lower() for of, each in self._fields() if of == owner}
        if name.lower() in taken:
            message = f"There is already a field named {field['label']} on {self._main.types[owner].label}."
            raise Refusal("DUPLICATE_DEVELOPER_NAME", message, "DeveloperName")
        for target in field["referenceTo"]:
            if target not in self._main.types:
                message = f"referenceTo value of '{target}' does not resolve to a valid sObject type"
                raise Refusal("FIELD_INTEGRITY_EXCEPTION", message, "Metadata")
        return self._field_row(owner, name, metadata)

    def _field_row(self, owner: str, name: str, metadata: Json) -> Json:
        definitions = self._main.tables["EntityDefinition"].live.values()
        of_owner = next(str(row["Id"]) for row in definitions if row.get("DurableId") == owner)
        return {**_field_row(owner, name, metadata), "Definition": of_owner}

    def _channel_row(self, full_name: str, metadata: Json, itself: str = "") -> Json:
        stem = full_name.removesuffix("__chn")
        if stem == full_name or not _DEVELOPER_NAME.fullmatch(stem):
            raise Refusal(
                "FIELD_INTEGRITY_EXCEPTION", "The name of a channel is like MyChannel__chn", "FullName"
            )
        if metadata.get("channelType") not in {"data", "event"} or not metadata.get("label"):
            message = "A channel needs a label and a channelType, data or event"
            raise Refusal("FIELD_INTEGRITY_EXCEPTION", message, "Metadata")
        self._check_name("PlatformEventChannel", stem, itself)
        return {
            "DeveloperName": stem, "MasterLabel": metadata["label"], "ChannelType": metadata["channelType"],
            "FullName": full_name, "Metadata": json.dumps(metadata),
        }  # fmt: skip

    def _member_row(self, full_name: str, metadata: Json, itself: str = "") -> Json:
        channel, entity = str(metadata.get("eventChannel")), str(metadata.get("selectedEntity"))
        self._streaming.check_member(channel, entity, metadata)
        channel_id = channel if channel == STANDARD_CHANNEL else self._channel_id(channel)
        name = full_name or f"{channel.replace('__', '_')}_{entity.replace('__', '_')}"
        members = self.org.tables["PlatformEventChannelMember"].live.values()
        if any(
            row.get("EventChannel") == channel_id
            and row.get("SelectedEntity") == entity
            and row["Id"] != itself
            for row in members
        ):
            message = f"duplicate value found: {entity} is a member of {channel} already"
            raise Refusal("DUPLICATE_VALUE", message, "SelectedEntity")
        self._check_name("PlatformEventChannelMember", name, itself)
        return {
            "DeveloperName": name, "EventChannel": channel_id, "SelectedEntity": entity, "FullName": name,
            "FilterExpression": metadata.get("filterExpression"), "Metadata": json.dumps(metadata),
        }  # fmt: skip

    def _check_name(self, object_name: str, name: str, itself: str) -> None:
        table = self.org.tables[object_name]
        if any(row.get("DeveloperName") == name and row["Id"] != itself for row in table.live.values()):
            message = f"The developer name {name} is already in use on component of type {object_name}."
            raise Refusal("DUPLICATE_DEVELOPER_NAME", message, "DeveloperName")

    def _channel_id(self, full_name: str) -> str:
        for row in self.org.tables["PlatformEventChannel"].live.values():
            if row.get("FullName") == full_name:
                return str(row["Id"])
        raise Refusal(
            "INVALID_CROSS_REFERENCE_KEY", f"no PlatformEventChannel named {full_name} found", "EventChannel"
        )

    def _enrich(self, unit: Unit, member_id: str, metadata: Json) -> None:
        wanted = metadata.get("enrichedFields") or []
        names = [each.get("name") for each in wanted if isinstance(each, dict)]
        owner = self._streaming.object_of(
            str(self.org.tables["PlatformEventChannelMember"].live[member_id]["SelectedEntity"])
        )
        if len(names) > ENRICHED_MAX:
            raise Refusal(
                "LIMIT_EXCEEDED", f"A channel member can have {ENRICHED_MAX} enriched fields", "Metadata"
            )
        for name in names:
            if owner is None or self._main.types[owner].field(str(name)) is None:
                raise Refusal(
                    "INVALID_CROSS_REFERENCE_KEY", f"no CustomField named {owner}.{name} found", "Metadata"
                )
            unit.insert("EnrichedField", {"ChannelMemberId": member_id, "Field": name})

    def _enriched(self, member_id: str) -> list[Row]:
        rows = self.org.tables["EnrichedField"].live.values()
        return [row for row in rows if row.get("ChannelMemberId") == member_id]

    # What follows from the records

    def _apply(self, transaction: Transaction) -> None:
        touched = {change.entity for change in transaction.changes}
        if touched & {"CustomField", "FieldPermissions", "PermissionSetAssignment", "PermissionSet"}:
            self._redescribe()
        if "PlatformEventChannelMember" in touched:
            self._select()
        if touched & set(TOOLING_DESCRIBES) - {"CustomField"}:
            self._streaming.apply()

    def _follow_describe(self, describe: Describe) -> None:
        """The control API has given an object other fields: they are its own from now on, as records, too."""
        owner = describe["name"]
        own = {f["name"]: f for f in describe["fields"] if f.get("custom") and f["name"].endswith("__c")}
        self._base[owner] = describe
        self._own = {pair for pair in self._own if pair[0] != owner}
        self._own |= {(owner, f["name"]) for f in describe["fields"]}
        with self.org.transaction(self._main.integration_user) as unit:
            for row in list(self.org.tables["CustomField"].live.values()):
                of, _, name = str(row["FullName"]).partition(".")
                if of == owner:
                    unit.delete("CustomField", str(row["Id"]))
            for name, field in own.items():
                unit.insert("CustomField", self._field_row(owner, name, metadata_of(field)))

    def _redescribe(self) -> None:
        """Show the custom fields that exist and that somebody may see; others not."""
        fields, rights = self._fields(), self._rights()
        for owner, base in self._base.items():
            shown = []
            for field in base["fields"]:
                is_custom = bool(field.get("custom")) and field["name"].endswith("__c")
                metadata = fields.get((owner, field["name"]))
                if not is_custom or (metadata is not None and metadata == metadata_of(field)):
                    shown.append(field)
                elif metadata is not None:
                    shown.append({**field, **described(field["name"], metadata)})
            for (of, name), metadata in fields.items():
                if of != owner or (of, name) in self._own:
                    continue
                readable, editable = rights.get(f"{of}.{name}", (False, False))
                field = described(name, metadata)
                if not field["nillable"] and field["type"] != "boolean":  # Such a field is everybody's.
                    readable = editable = True
                if readable:
                    shown.append({**field, "createable": editable, "updateable": editable})
            if shown != self._main.describe(owner)["fields"]:
                self._main.redescribe({**base, "fields": shown})

    def _fields(self) -> dict[tuple[str, str], Json]:
        """The metadata of each custom field, by object and name."""
        rows = self.org.tables["CustomField"].live.values()
        found = {}
        for row in rows:
            # Fields of a package, with its namespace in front, have names that nobody could give.
            owner, _, name = str(row["FullName"]).partition(".")
            found[owner, name] = json.loads(str(row["Metadata"]))
        return found

    def _rights(self) -> dict[str, tuple[bool, bool]]:
        """Object.Field -> whether somebody may read it, and edit it."""
        tables = self._main.tables
        assigned = {row.get("PermissionSetId") for row in tables["PermissionSetAssignment"].live.values()}
        rights: dict[str, tuple[bool, bool]] = {}
        for row in tables["FieldPermissions"].live.values():
            if row.get("ParentId") in assigned:
                name = str(row.get("Field"))
                read, edit = rights.get(name, (False, False))
                rights[name] = (
                    read or bool(row.get("PermissionsRead")),
                    edit or bool(row.get("PermissionsEdit")),
                )
        return rights

    def _select(self) -> None:
        """Let the events follow the members of the standard channel."""
        members = self.org.tables["PlatformEventChannelMember"].live.values()
        selected = {
            row.get("SelectedEntity") for row in members if row.get("EventChannel") == STANDARD_CHANNEL
        }
        for name in self._base:
            if can_be_selected(name) and "cdc" in self._main.faults.known:
                self._main.faults.set(
                    "cdc", {"object": name, "on": event_name_of(name) in selected, "by": "setup"}
                )

    def _follow_clear(self) -> None:
        """All faults have ended, and with them every deselection by the control API."""
        for name in self._base:
            if can_be_selected(name):
                self._follow_cdc({"object": name, "on": True})

    def _follow_cdc(self, params: Mapping[str, Any]) -> None:
        """The control API has switched an object on or off: let the members of the standard channel say so."""
        if params.get("by") == "setup":
            return
        entity = event_name_of(str(params.get("object")))
        with self.org.transaction(self._main.integration_user) as unit:
            members = self.org.tables["PlatformEventChannelMember"].live.values()
            ids = [
                str(row["Id"]) for row in members
                if row.get("SelectedEntity") == entity and row.get("EventChannel") == STANDARD_CHANNEL
            ]  # fmt: skip
            if params.get("on") and not ids:
                unit.insert(
                    "PlatformEventChannelMember",
                    self._member_row("", self._standard_member(str(params["object"]))),
                )
            for member_id in ids if params.get("on") is False else ():
                self.delete(unit, "PlatformEventChannelMember", member_id)

    def _standard_member(self, name: str) -> Json:
        return {"eventChannel": STANDARD_CHANNEL, "selectedEntity": event_name_of(name)}


def _field_row(owner: str, name: str, metadata: Json) -> Json:
    return {
        "DeveloperName": name.removesuffix("__c"), "TableEnumOrId": owner, "EntityDefinitionId": owner,
        "Length": metadata.get("length"), "Precision": metadata.get("precision"), "Scale": metadata.get("scale"),
        "InlineHelpText": metadata.get("inlineHelpText"), "Description": metadata.get("description"),
        "FullName": f"{owner}.{name}", "Metadata": json.dumps(metadata),
    }  # fmt: skip
