"""
Describes of objects that the simulator itself knows, from one line for each field.

A field is NAME:TYPE or NAME:TYPE:TARGETS:RELATIONSHIP, with marks behind the name: ! may be set and changed, + may be
set at the creation only, * must be set, ^ is unique, = is true by default, ~ can be neither filtered nor sorted. No type is
a text.
"""

from __future__ import annotations

import re
from typing import Any

from salmon.simulator.org.objects.describes import FIELD_DEFAULTS, Describe

AUDIT = (
    "CreatedDate:datetime CreatedById:reference:User:CreatedBy LastModifiedDate:datetime "
    "LastModifiedById:reference:User:LastModifiedBy SystemModstamp:datetime"
)
_SOAP_TYPES = {
    "boolean": "xsd:boolean", "datetime": "xsd:dateTime", "double": "xsd:double", "int": "xsd:int",
    "id": "tns:ID", "reference": "tns:ID",
}  # fmt: skip
_LENGTHS = {"id": 18, "reference": 18, "string": 255, "textarea": 32_000, "complexvalue": 0}
_NAME = re.compile(r"(\w+)([!+*^=~]*)")


def spelled(name: str, key_prefix: str | None, fields: str, *, writable: bool) -> Describe:
    """The describe of an object with these *fields*."""
    base = f"/services/data/v64.0/sobjects/{name}"
    flags = dict.fromkeys(
        ("activateable", "compactLayoutable", "custom", "customSetting", "deepCloneable", "deprecatedAndHidden",
         "feedEnabled", "hasSubtypes", "isInterface", "isSubtype", "layoutable", "listviewable", "mergeable",
         "mruEnabled", "replicateable", "searchLayoutable", "searchable", "triggerable", "undeletable"),
        False,
    )  # fmt: skip
    return {
        **flags, "createable": writable, "deletable": writable, "updateable": writable, "queryable": True,
        "retrieveable": True, "name": name, "label": name, "labelPlural": f"{name}s", "keyPrefix": key_prefix,
        "actionOverrides": [], "childRelationships": [], "namedLayoutInfos": [], "recordTypeInfos": [],
        "supportedScopes": [], "associateEntityType": None, "associateParentEntity": None,
        "urls": {"sobject": base, "describe": f"{base}/describe", "rowTemplate": f"{base}/{{ID}}"},
        "fields": [_field(*spec.split(":")) for spec in fields.split()],
    }  # fmt: skip


def _field(
    marked: str, kind: str = "string", targets: str = "", relationship: str | None = None
) -> dict[str, Any]:
    found = _NAME.fullmatch(marked)
    assert found is not None, marked
    name, marks = found.groups()
    length = _LENGTHS.get(kind, 0)
    settable = bool(set(marks) & set("!+"))
    return {
        **FIELD_DEFAULTS, "name": name, "label": name, "type": kind, "custom": False, "permissionable": False,
        "createable": settable, "updateable": "!" in marks,
        "nillable": "*" not in marks and kind not in {"id", "boolean"},
        "defaultedOnCreate": kind in {"id", "boolean"} or not settable, "unique": "^" in marks, "idLookup": kind == "id",
        "defaultValue": "=" in marks if kind == "boolean" else None,
        "length": length, "byteLength": length if length == 18 else 3 * length,
        "referenceTo": targets.split(",") if targets else [], "relationshipName": relationship,
        "nameField": name == "Name", "soapType": _SOAP_TYPES.get(kind, "xsd:string"),
        "filterable": "~" not in marks, "sortable": "~" not in marks,
    }  # fmt: skip
