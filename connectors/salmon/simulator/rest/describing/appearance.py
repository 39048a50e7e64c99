"""
What an org shows to people: compact layouts, approval layouts, quick actions, list views, tabs, themes (REST API Developer Guide).

The simulated org has the system's own compact layout of each object, and nothing that an administrator would have made:
the other answers are those of an org without any, so that clients that ask for all there is get through.
"""

from __future__ import annotations

from typing import Any

from salmon.simulator.rest.web import Answer, Call


def compact_layouts(call: Call, object_name: str) -> Answer:
    """GET /sobjects/X/describe/compactLayouts: that of the system, which has the name only"""
    object_type = call.table(object_name).type
    field = object_type.name_field or object_type.fields[0]
    component = {"details": {"name": field.name, "label": field.label, "type": field.type}, "displayLines": 1, "tabOrder": 0, "type": "Field", "value": field.name}  # fmt: skip
    item = {"editableForNew": field.createable, "editableForUpdate": field.updateable, "label": field.label, "layoutComponents": [component], "placeholder": False, "required": False}  # fmt: skip
    layout = {
        "actions": [], "fieldItems": [item], "id": None, "imageItems": None, "label": "System Default",
        "name": "SYSTEM", "objectType": object_type.name,
    }  # fmt: skip
    mappings = [
        {"available": info.get("available", True), "compactLayoutId": None, "compactLayoutName": "SYSTEM",
         "recordTypeId": info.get("recordTypeId"), "recordTypeName": info.get("name")}
        for info in object_type.describe.get("recordTypeInfos") or ()
    ]  # fmt: skip
    base = f"/services/data/v{call.version}/sobjects/{object_type.name}/describe/compactLayouts"
    shown = {
        "compactLayouts": [layout], "defaultCompactLayoutId": None, "recordTypeCompactLayoutMappings": mappings,
        "urls": {"primary": f"{base}/primary"},
    }  # fmt: skip
    return Answer(200, shown)


def approval_layouts(call: Call, object_name: str) -> Answer:
    """GET /sobjects/X/describe/approvalLayouts"""
    call.table(object_name)
    return Answer(200, {"approvalLayouts": []})


def list_views(call: Call, object_name: str) -> Answer:
    """GET /sobjects/X/listviews"""
    name = call.table(object_name).type.name
    return Answer(
        200, {"done": True, "listviews": [], "nextRecordsUrl": None, "size": 0, "sobjectType": name}
    )


def quick_actions(call: Call, object_name: str | None = None) -> Answer:
    """GET /quickActions and /sobjects/X/quickActions"""
    if object_name is not None:
        call.table(object_name)
    return Answer(200, [])


def tabs(_call: Call) -> Answer:
    """GET /tabs"""
    return Answer(200, [])


def theme(call: Call) -> Answer:
    """GET /theme: the objects, without colours or icons of their own"""
    items: list[dict[str, Any]] = [{"colors": [], "icons": [], "name": name} for name in call.org.objects]
    return Answer(200, {"themeItems": items})
