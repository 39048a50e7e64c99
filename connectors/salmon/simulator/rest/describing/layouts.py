"""
sObject Layouts (REST API Developer Guide): one layout for each object, with all its fields in one section.

How an administrator has arranged the pages is in no describe; clients that read layouts want to know which fields
there are, which are required and which can be edited, and that is here.
"""

from __future__ import annotations

from typing import Any

from salmon.simulator.org.ids import id18, make_id
from salmon.simulator.org.objects.object_types import Field, ObjectType
from salmon.simulator.org.refusals import not_found
from salmon.simulator.rest.web import Answer, Call

MASTER_RECORD_TYPE = "012000000000000AAA"


def layouts(call: Call, object_name: str, rest: list[str]) -> Answer:
    """GET /sobjects/X/describe/layouts and .../layouts/recordTypeId. Raises BadRequest: 404 for another record type."""
    object_type = call.table(object_name).type
    layout = _layout(object_type)
    infos = object_type.describe.get("recordTypeInfos") or [_master()]
    if not rest:
        mappings = [
            {
                "active": info.get("active", True), "available": info.get("available", True),
                "defaultRecordTypeMapping": info.get("defaultRecordTypeMapping", False),
                "developerName": info.get("developerName"), "layoutId": layout["id"], "master": info.get("master", False),
                "name": info.get("name"), "picklistsForRecordType": [], "recordTypeId": info.get("recordTypeId"),
            }
            for info in infos
        ]  # fmt: skip
        shown = {"layouts": [layout], "recordTypeMappings": mappings, "recordTypeSelectorRequired": [False]}
        return Answer(200, shown)
    if len(rest) > 1 or id18(rest[0]) not in {id18(info.get("recordTypeId")) for info in [*infos, _master()]}:
        raise not_found()
    return Answer(200, layout)


def _master() -> dict[str, Any]:
    return {"recordTypeId": MASTER_RECORD_TYPE, "name": "Master", "developerName": "Master", "master": True}


def _layout(object_type: ObjectType) -> dict[str, Any]:
    shown = [field for field in object_type.stored_fields if field.compound is None and field.type != "id"]
    rows = [
        {"layoutItems": [_item(field) for field in shown[at : at + 2]], "numItems": len(shown[at : at + 2])}
        for at in range(0, len(shown), 2)
    ]
    section = {
        "collapsed": False, "columns": 2, "heading": f"{object_type.label} Information", "layoutRows": rows,
        "layoutSectionId": None, "parentLayoutId": None, "rows": len(rows), "tabOrder": "LeftToRight",
        "useCollapsibleSection": False, "useHeading": True,
    }  # fmt: skip
    # The id is the same at each start: it is made of the object's key prefix.
    number = int.from_bytes(object_type.key_prefix.encode(), "big")
    return {
        "buttonLayoutSection": {"detailButtons": []}, "detailLayoutSections": [section],
        "editLayoutSections": [section], "feedView": None, "highlightsPanelLayoutSection": None,
        "id": make_id("00h", number), "multirowEditLayoutSections": [], "offlineLinks": [],
        "quickActionList": {"quickActionListItems": []}, "relatedContent": None, "relatedLists": [], "saveOptions": [],
    }  # fmt: skip


def _item(field: Field) -> dict[str, Any]:
    component = {"details": {"name": field.name, "label": field.label, "type": field.type}, "displayLines": 1, "tabOrder": 0, "type": "Field", "value": field.name}  # fmt: skip
    return {
        "editableForNew": field.createable, "editableForUpdate": field.updateable, "label": field.label,
        "layoutComponents": [component], "placeholder": False,
        "required": field.createable and not field.nillable and not field.defaulted_on_create and field.type != "boolean",
    }  # fmt: skip
