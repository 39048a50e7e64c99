"""Versions, resources, and the describes as the REST API serves them."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection
from typing import Any

from salmon.simulator.events.cdc_schema import can_be_selected, event_name_of, event_schema
from salmon.simulator.org.objects.object_types import ObjectType
from salmon.simulator.org.objects.spelling import spelled
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest, not_found
from salmon.simulator.rest import conditional
from salmon.simulator.rest.recent import recent_items
from salmon.simulator.rest.signing.identity import identity_url
from salmon.simulator.rest.web import FIRST_VERSION, LAST_VERSION, Answer, Call, encode

_VERSION = re.compile(r"v(\d{1,3})\.0")
_VERSION_IN_URL = re.compile(r"^/services/data/v[^/]+/")
# The top-level flags that the global describe shows of each object.
_GLOBAL_KEYS = (
    "activateable", "associateEntityType", "associateParentEntity", "createable", "custom", "customSetting",
    "deepCloneable", "deletable", "deprecatedAndHidden", "feedEnabled", "hasSubtypes", "isInterface", "isSubtype",
    "keyPrefix", "label", "labelPlural", "layoutable", "mergeable", "mruEnabled", "name", "queryable", "replicateable",
    "retrieveable", "searchable", "triggerable", "undeletable", "updateable", "urls",
)  # fmt: skip


def versions() -> list[dict[str, str]]:
    """GET /services/data, without a session"""
    found = []
    for number in range(FIRST_VERSION, LAST_VERSION + 1):
        season, year = ("Summer", "Winter", "Spring")[(number - 31) % 3], 14 + (number - 29) // 3
        found.append(
            {"label": f"{season} '{year}", "url": f"/services/data/v{number}.0", "version": f"{number}.0"}
        )
    return found


def version_of(part: str) -> str:
    """The version of a path's part like v64.0. Raises BadRequest: 410 for a retired one, 404 for one that never was."""
    found = _VERSION.fullmatch(part)
    number = int(found[1]) if found else 0
    if 0 < number < FIRST_VERSION:
        raise BadRequest("UNSUPPORTED_API_VERSION", "The requested API version is retired", status=410)
    if found is None or number > LAST_VERSION:
        raise not_found()
    return f"{number}.0"


def resources(call: Call) -> Answer:
    """GET /services/data/vXX.X; clients that know nothing but a token learn there who they are"""
    base = f"/services/data/v{call.version}"
    names = (
        "composite", "event", "jobs", "limits", "parameterizedSearch", "query", "queryAll", "recent", "search", "sobjects",
        "tooling",
    )  # fmt: skip
    found = {name: f"{base}/{name}" for name in names}
    return Answer(200, {**found, "identity": identity_url(call.org, call.user)})


class Describes:
    """The describe answers; each is made once for a version."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], tuple[object, bytes]] = {}  # each with what it was made of

    def describe(self, call: Call, object_name: str) -> Answer:
        """GET /sobjects/X/describe, with Last-Modified and 304"""
        event = self._org.platform_events.find(object_name)
        changing = self._changing(object_name)
        object_type = event or changing or call.table(object_name).type
        if (hidden := self._org.hidden(call.user, object_type.name)) is None:
            raise not_found()
        if changing is not None:
            return self._conditional(call, encode(_described_changes(changing, hidden, call.version)))
        if hidden:
            described = _with_version(object_type.describe, call.version)
            fields = [field for field in described["fields"] if field["name"] not in hidden]
            return Answer(200, {**described, "fields": fields})
        key = (object_type.name, call.version)
        with self._lock:
            made_of, body = self._made.get(key, (None, b""))
            if made_of is not object_type:
                body = encode(_with_version(object_type.describe, call.version))
                self._made[key] = (object_type, body)
        return self._conditional(call, body)

    def all_objects(self, call: Call) -> Answer:
        """GET /sobjects"""
        objects = []
        for object_type in call.org.types.values():
            objects.append(_basic(object_type, call.version))
            # An org lists X ChangeEvent for each object that Change Data Capture can be switched on for.
            if self._can_be_captured(object_type):
                objects.append(_change_event(object_type, call.version))
        events = call.org.platform_events
        objects += [_basic(event, call.version) for name in events.names if (event := events.find(name))]
        body = {
            "encoding": "UTF-8",
            "maxBatchSize": 200,
            "sobjects": sorted(objects, key=lambda each: str(each["name"])),
        }
        return self._conditional(call, encode(body))

    def basic(self, call: Call, object_name: str) -> Answer:
        """GET /sobjects/X"""
        if (changing := self._changing(object_name)) is not None:
            return Answer(200, {"objectDescribe": _change_event(changing, call.version), "recentItems": []})
        object_type = call.table(object_name).type
        shown = {
            "objectDescribe": _basic(object_type, call.version),
            "recentItems": recent_items(call, object_type.name),
        }
        return Answer(200, shown)

    def _can_be_captured(self, object_type: ObjectType) -> bool:
        return object_type.name in self._org.objects and can_be_selected(object_type.name)

    def _changing(self, name: str) -> ObjectType | None:
        """The object whose change events have this name, in any case."""
        captured = filter(self._can_be_captured, self._org.types.values())
        return next((each for each in captured if event_name_of(each.name).lower() == name.lower()), None)

    def _conditional(self, call: Call, body: bytes) -> Answer:
        modified_ms, etag = call.org.described_ms, conditional.etag_of(body)
        sent = conditional.headers(modified_ms, etag)
        return conditional.unchanged(call, modified_ms, etag, sent) or Answer(200, body, sent)


def _basic(object_type: ObjectType, version: str) -> dict[str, Any]:
    describe = {key: object_type.describe[key] for key in _GLOBAL_KEYS if key in object_type.describe}
    return {**_with_version(describe, version), "keyPrefix": object_type.key_prefix}


def _change_event(object_type: ObjectType, version: str) -> dict[str, Any]:
    name = event_name_of(object_type.name)
    base = f"/services/data/v{version}/sobjects/{name}"
    flags = {key: False for key in _GLOBAL_KEYS if key.endswith("able") or key in {"custom", "customSetting"}}
    label = f"{object_type.label} Change Event"
    return {
        **flags, "name": name, "label": label, "labelPlural": label, "keyPrefix": None, "triggerable": True,
        "retrieveable": True, "urls": {"sobject": base, "describe": f"{base}/describe", "eventSchema": f"{base}/eventSchema"},
    }  # fmt: skip


def _described_changes(object_type: ObjectType, hidden: Collection[str], version: str) -> dict[str, Any]:
    """
    The describe of an object's change events: three fields of their own, and those of the object that events carry.

    Source: the fields that jsforce has taken from an org's describe of AccountChangeEvent; flags of a field are our reading.
    """
    shown = _change_event(object_type, version)
    own = spelled(shown["name"], None, "Id:id ReplayId ChangeEventHeader:complexvalue", writable=False)
    slots = event_schema(object_type.describe).slots
    carried = {name for slot in slots for name in (slot.row_field, slot.event_field)} - set(hidden)
    fields = [
        {**field, "createable": False, "updateable": False}
        for field in object_type.describe["fields"]
        if field["name"] in carried
    ]
    return {**own, **shown, "fields": [*own["fields"], *fields]}


def _with_version(describe: dict[str, Any], version: str) -> dict[str, Any]:
    """The describe with the URLs of this API version."""
    urls = describe.get("urls")
    if not isinstance(urls, dict):
        return describe
    return {
        **describe,
        "urls": {key: _VERSION_IN_URL.sub(f"/services/data/v{version}/", url) for key, url in urls.items()},
    }
