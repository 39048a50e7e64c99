"""
Who may see what, as records: permission sets, their field and object permissions, and to whom they are assigned.

And what objects and fields there are, as records: EntityDefinition and FieldDefinition, made of the describes. All of
them can be queried in every org; only the first four can be written (Object Reference).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from salmon.simulator.org.ids import make_id
from salmon.simulator.org.objects.describes import Describe
from salmon.simulator.org.objects.spelling import AUDIT, spelled
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Stored

_RIGHTS = " ".join(
    f"Permissions{name}!:boolean"
    for name in (
        "ApiEnabled", "ViewSetup", "CustomizeApplication", "ModifyAllData", "ViewAllData", "ManageUsers",
        "BulkApiHardDelete", "UseAnyApiAuth", "ApiUserOnly", "ManageProfilesPermissionsets", "AssignPermissionSets",
    )
)  # fmt: skip
_OBJECT_RIGHTS = " ".join(
    f"Permissions{name}!:boolean"
    for name in ("Create", "Read", "Edit", "Delete", "ViewAllRecords", "ModifyAllRecords")
)

DEFINITIONS = ("EntityDefinition", "FieldDefinition")
OWN_RIGHTS = "UserPermissionAccess"
_NO_ID = f"{'0' * 15}AAA"
_OF_FAULT = 900_001  # numbers of Ids that no record made by a user has


def access_describes(present: Mapping[str, Any]) -> dict[str, Describe]:
    """The describes of these objects, but for those of *present*."""
    found = {
        "PermissionSet": spelled(
            "PermissionSet", "0PS",
            "Id:id Name!*^ Label!* Description! NamespacePrefix IsOwnedByProfile:boolean IsCustom:boolean Type"
            f" ProfileId:reference:Profile:Profile LicenseId+ HasActivationRequired!:boolean {_RIGHTS} {AUDIT}",
            writable=True,
        ),
        "FieldPermissions": spelled(
            "FieldPermissions", "01k",
            "Id:id ParentId+*:reference:PermissionSet:Parent SobjectType+* Field+* PermissionsRead!:boolean"
            " PermissionsEdit!:boolean SystemModstamp:datetime",
            writable=True,
        ),
        "ObjectPermissions": spelled(
            "ObjectPermissions", "110",
            f"Id:id ParentId+*:reference:PermissionSet:Parent SobjectType+* {_OBJECT_RIGHTS} {AUDIT}",
            writable=True,
        ),
        "PermissionSetAssignment": spelled(
            "PermissionSetAssignment", "0Pa",
            "Id:id PermissionSetId+*:reference:PermissionSet:PermissionSet PermissionSetGroupId AssigneeId+*:reference:User:Assignee"
            " ExpirationDate!:datetime IsActive=:boolean SystemModstamp:datetime",
            writable=True,
        ),
        OWN_RIGHTS: spelled(
            OWN_RIGHTS, None, f"Id:id LastCacheUpdate:datetime {_RIGHTS.replace('!', '')}", writable=False
        ),
        "EntityDefinition": spelled(
            "EntityDefinition", "4ie",
            "Id:id DurableId^ QualifiedApiName DeveloperName Label MasterLabel PluralLabel KeyPrefix NamespacePrefix"
            " PublisherId DeploymentStatus IsCustomizable:boolean IsCustomSetting:boolean IsApexTriggerable:boolean"
            " IsTriggerable:boolean IsQueryable:boolean IsSearchable:boolean IsReplicateable:boolean"
            " IsRetrieveable:boolean IsLayoutable:boolean IsFeedEnabled:boolean IsDeprecatedAndHidden:boolean"
            " IsEverCreatable:boolean IsEverUpdatable:boolean IsEverDeletable:boolean IsFlsEnabled:boolean",
            writable=False,
        ),
        "FieldDefinition": spelled(
            "FieldDefinition", "4fe",
            "Id:id DurableId^ EntityDefinitionId Definition:reference:EntityDefinition:EntityDefinition QualifiedApiName"
            " DeveloperName Label MasterLabel NamespacePrefix PublisherId DataType ValueTypeId ExtraTypeInfo Description"
            " RelationshipName Length:int Precision:int Scale:int IsNillable:boolean IsCalculated:boolean"
            " IsIndexed:boolean IsNameField:boolean IsCompound:boolean IsHtmlFormatted:boolean IsApiFilterable:boolean"
            " IsApiSortable:boolean IsApiGroupable:boolean IsFieldHistoryTracked:boolean",
            writable=False,
        ),
    }  # fmt: skip
    return {name: describe for name, describe in found.items() if name not in present}


def has_right(tables: Mapping[str, Table], user_id: str, right: str) -> bool:
    """Whether a permission set of the user gives the right, e.g. PermissionsBulkApiHardDelete."""
    sets = tables["PermissionSet"].live
    assigned = tables["PermissionSetAssignment"].live.values()
    return any(
        bool(sets.get(str(row.get("PermissionSetId")), {}).get(right))
        for row in assigned
        if row.get("AssigneeId") == user_id
    )


def own_rights(tables: Mapping[str, Table], user_id: str) -> dict[str, Stored]:
    """The one row of UserPermissionAccess that a user sees: his own rights ("UserPermissionAccess", Object Reference)."""
    names = [each.split("!")[0] for each in _RIGHTS.split()]
    return {"Id": _NO_ID, **{name: has_right(tables, user_id, name) for name in names}}


def object_rights(objects: Iterable[str], lost: Collection[str]) -> Iterator[dict[str, Stored]]:
    """View All Records of each object for the administrators' permission set, but of those that are *lost*."""
    for number, name in enumerate(objects, start=_OF_FAULT):
        yield {
            "Id": make_id("110", number), "ParentId": make_id("0PS", 1), "SobjectType": name,
            "PermissionsRead": True, "PermissionsViewAllRecords": name not in lost,
        }  # fmt: skip


def access_rows(user_ids: Iterable[str], profile_id: str) -> Iterator[tuple[str, dict[str, Stored]]]:
    """(object, row without stamps) of the administrators' own permission set, which every user of the box has."""
    permission_set = make_id("0PS", 1)
    rights: dict[str, Stored] = {each.split("!")[0]: True for each in _RIGHTS.split()}
    yield "PermissionSet", {
        "Id": permission_set, "Name": "X00eAdministrator", "Label": "System Administrator", "IsOwnedByProfile": True,
        "Type": "Profile", "ProfileId": profile_id, **rights, "PermissionsApiUserOnly": False,
    }  # fmt: skip
    for number, user_id in enumerate(user_ids, start=1):
        row = {"Id": make_id("0Pa", number), "PermissionSetId": permission_set, "AssigneeId": user_id}
        yield "PermissionSetAssignment", {**row, "IsActive": True}


def definition_rows(
    name: str, describe: Describe, key_prefix: str
) -> Iterator[tuple[str, dict[str, Stored]]]:
    """(object, row without Id) for an object and each of its fields; the object itself comes first."""
    custom = name.endswith("__c")
    flag = {key: bool(describe.get(key)) for key in describe}
    yield "EntityDefinition", {
        "DurableId": name, "QualifiedApiName": name, "DeveloperName": name.removesuffix("__c"),
        "Label": describe.get("label"), "MasterLabel": describe.get("label"), "PluralLabel": describe.get("labelPlural"),
        "KeyPrefix": key_prefix, "PublisherId": "<local>" if custom else "System",
        "DeploymentStatus": "Deployed" if custom else None,
        "IsCustomizable": flag.get("layoutable", True), "IsCustomSetting": flag.get("customSetting", False),
        "IsApexTriggerable": flag.get("triggerable", False), "IsTriggerable": flag.get("triggerable", False),
        "IsQueryable": flag.get("queryable", True), "IsSearchable": flag.get("searchable", False),
        "IsReplicateable": flag.get("replicateable", False), "IsRetrieveable": flag.get("retrieveable", True),
        "IsLayoutable": flag.get("layoutable", False), "IsFeedEnabled": flag.get("feedEnabled", False),
        "IsDeprecatedAndHidden": flag.get("deprecatedAndHidden", False),
        "IsEverCreatable": flag.get("createable", True), "IsEverUpdatable": flag.get("updateable", True),
        "IsEverDeletable": flag.get("deletable", True), "IsFlsEnabled": True,
    }  # fmt: skip
    for field in describe["fields"]:
        own = field["name"]
        yield "FieldDefinition", {
            "DurableId": f"{name}.{own}", "EntityDefinitionId": name, "QualifiedApiName": own,
            "DeveloperName": own.removesuffix("__c"), "Label": field.get("label"), "MasterLabel": field.get("label"),
            "PublisherId": "<local>" if own.endswith("__c") else "System", "DataType": data_type(field),
            "ValueTypeId": field["type"], "ExtraTypeInfo": field.get("extraTypeInfo"),
            "Description": field.get("inlineHelpText"), "RelationshipName": field.get("relationshipName"),
            "Length": field.get("length") or 0, "Precision": field.get("precision") or 0, "Scale": field.get("scale") or 0,
            "IsNillable": field.get("nillable", True), "IsCalculated": bool(field.get("calculated")),
            "IsIndexed": bool(field.get("unique") or field.get("externalId") or field.get("idLookup")),
            "IsNameField": bool(field.get("nameField")), "IsCompound": field["type"] in {"address", "location"},
            "IsHtmlFormatted": bool(field.get("htmlFormatted")), "IsApiFilterable": bool(field.get("filterable", True)),
            "IsApiSortable": bool(field.get("sortable", True)), "IsApiGroupable": bool(field.get("groupable")),
            "IsFieldHistoryTracked": False,
        }  # fmt: skip


def data_type(field: Mapping[str, Any]) -> str:
    """The type of a field in Setup's words: Text(255) (External ID) (Unique Case Sensitive), Number(18, 0)."""
    kind, length, scale = field["type"], field.get("length") or 0, field.get("scale") or 0
    numbers = {"double": "Number", "currency": "Currency", "percent": "Percent"}
    plain = {
        "id": "Lookup()", "boolean": "Checkbox", "date": "Date", "datetime": "Date/Time", "time": "Time",
        "email": "Email", "phone": "Phone", "picklist": "Picklist", "multipicklist": "Picklist (Multi-Select)",
        "combobox": "Picklist", "address": "Address", "location": "Geolocation",
    }  # fmt: skip
    if field.get("autoNumber"):
        shown = "Auto Number"
    elif kind in numbers:
        shown = f"{numbers[kind]}({(field.get('precision') or 0) - scale}, {scale})"
    elif kind == "int":
        shown = f"Number({field.get('digits') or 0}, 0)"
    elif kind == "reference":
        shown = f"Lookup({','.join(field.get('referenceTo') or ())})"
    elif kind == "textarea":
        shown = f"Long Text Area({length})" if length > 255 else f"Text Area({length})"
    elif kind == "url":
        shown = f"URL({length})"
    elif field.get("nameField") and kind == "string":
        shown = f"Name({length})" if field.get("compoundFieldName") is None else "Name"
    else:
        shown = plain.get(kind, f"Text({length})")
    if field.get("externalId"):
        shown += " (External ID)"
    if field.get("unique"):
        shown += f" (Unique Case {'Sensitive' if field.get('caseSensitive') else 'Insensitive'})"
    return shown
