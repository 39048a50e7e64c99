"""
The simulator's control API: its records, the calls it has received, its clock, settings, triggers, rules and faults (JSON
over HTTP).

It is not part of Salesforce: tests and demos control the org with it. RESOURCES and FAULTS (control_faults.py) describe it; GET /
shows them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from salmon.foreign_json import json_in
from salmon.simulator.control_faults import FAULTS
from salmon.simulator.events.eventbus import EventBus, TopicNotFound
from salmon.simulator.org.clock import datetime_text
from salmon.simulator.org.faults import BadFault, UnknownFault
from salmon.simulator.org.objects.platform_events import BadEvent, parse_event
from salmon.simulator.org.org import APIS, Org
from salmon.simulator.org.refusals import Refusal
from salmon.simulator.org.saving.triggers import BadTrigger, parse_trigger
from salmon.simulator.org.settings import BadSetting
from salmon.simulator.rules import BadRule, parse_rule

_WIDTH: Final = 100


class ControlServer:
    """The application is `app`. *endpoints* are shown by GET /state."""

    def __init__(self, org: Org, bus: EventBus, endpoints: Mapping[str, Any]) -> None:
        self._org, self._bus = org, bus
        self._endpoints = dict(endpoints)
        self.app = Starlette(
            routes=[Route(each.path, partial(each.answer, self), methods=[each.method]) for each in RESOURCES]
        )

    async def _overview(self, _request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "resources": [
                    {"method": each.method, "path": each.path, "body": each.body, "meaning": each.meaning}
                    for each in RESOURCES
                ],
                "faults": [
                    {"fault": name, "parameters": parameters, "meaning": meaning}
                    for name, (parameters, meaning) in FAULTS.items()
                ],
            }
        )

    async def _state(self, _request: Request) -> JSONResponse:
        org = self._org
        with org.lock:
            objects = {
                name: {"records": len(table.live), "deleted": len(table.bin)}
                for name, table in org.tables.items()
                if name in org.objects
            }
            triggers = [
                {
                    "object": trigger.object_name,
                    "when": {"field": trigger.when.name},
                    **(
                        {"refuse": True if trigger.names_field else "record"}
                        if trigger.refuses
                        else {"set": {f.name: t for f, t in trigger.sets}}
                    ),
                }
                for trigger in org.triggers
            ]
        users = {"integration": org.integration_user, "person": org.person}
        return JSONResponse(
            {
                "org_id": org.org_id,
                "users": {
                    role: {"id": user.user_id, "username": user.username} for role, user in users.items()
                },
                "now": datetime_text(org.clock.now_ms()),
                "objects": objects,
                "triggers": triggers,
                "rules": [{"object": rule.object_name, "name": rule.name} for rule in org.rules],
                "faults": org.faults.all(),
                "endpoints": self._endpoints,
            }
        )

    async def _calls(self, _request: Request) -> JSONResponse:
        return JSONResponse(
            {"api": self._org.usage.calls(), "events_delivered": self._org.usage.events_delivered}
        )

    async def _clock(self, request: Request) -> JSONResponse:
        body = await _object(request)
        advance_s = None if body is None else body.get("advance_s")
        if not isinstance(advance_s, int | float) or isinstance(advance_s, bool) or advance_s < 0:
            return _wrong("advance_s must be a number of seconds, not negative")
        self._org.clock.advance(advance_s)
        return JSONResponse({"now": datetime_text(self._org.clock.now_ms())})

    async def _settings(self, _request: Request) -> JSONResponse:
        return JSONResponse(self._org.settings.as_dict())

    async def _change_settings(self, request: Request) -> JSONResponse:
        body = await _object(request)
        try:
            self._org.settings.change(body or {})
        except BadSetting as error:
            return _wrong(str(error))
        return JSONResponse(self._org.settings.as_dict())

    async def _reset_settings(self, _request: Request) -> JSONResponse:
        self._org.settings.reset()
        return JSONResponse(self._org.settings.as_dict())

    async def _move(self, request: Request) -> JSONResponse:
        url = (await _object(request) or {}).get("url")
        if not isinstance(url, str) or not url.startswith("https://"):
            return _wrong("url must be an https:// URL that leads here, by another name or port")
        self._org.instance.move(url.rstrip("/"))
        self._org.sessions.revoke_all()
        return JSONResponse({"instance_url": self._org.instance.url})

    async def _recycle_bin(self, request: Request) -> JSONResponse:
        body, org = await _object(request) or {}, self._org
        name, ids, do = str(body.get("object")), body.get("ids"), body.get("do")
        table = org.tables.get(name) if name in org.objects else None
        if table is None or not isinstance(ids, list) or do not in ("undelete", "empty"):
            return _wrong("object must be an object of the org, ids a list, and do undelete or empty")
        if wrong := [each for each in ids if each not in table.bin]:
            return _wrong(f"not in the recycle bin: {wrong}")
        if do == "empty":
            with org.lock:
                table.purge(ids, org.clock.now_ms())
        else:
            with org.transaction(org.person) as unit:
                for record_id in ids:
                    unit.undelete(table.type.name, record_id)
        return JSONResponse({do: len(ids)})

    async def _refresh_token(self, request: Request) -> JSONResponse:
        body, org = await _object(request) or {}, self._org
        user = {"integration": org.integration_user, "person": org.person}.get(str(body.get("user")))
        client_id = body.get("client_id")
        if user is None or not isinstance(client_id, str):
            return _wrong("user must be integration or person, and client_id that of a connected app")
        return JSONResponse({"refresh_token": org.sessions.issue_refresh_token(user, client_id)}, 201)

    async def _allowances(self, request: Request) -> JSONResponse:
        body, usage = await _object(request) or {}, self._org.usage
        for name, amount in body.items():
            if name not in usage.allowances:
                return _wrong(f"no allowance {name!r}; there are {', '.join(usage.allowances)}")
            if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
                return _wrong(f"{name} must be a whole number, not negative")
        usage.allowances.update(body)
        return JSONResponse(usage.allowances)

    async def _add_trigger(self, request: Request) -> JSONResponse:
        body = await _object(request)
        if body is None:
            return _wrong("the body must be a JSON object")
        try:
            trigger = parse_trigger(self._org.types, body)
        except BadTrigger as error:
            return _wrong(str(error))
        with self._org.lock:
            self._org.triggers = (*self._org.triggers, trigger)
            count = len(self._org.triggers)
        return JSONResponse({"triggers": count}, 201)

    async def _drop_triggers(self, _request: Request) -> JSONResponse:
        with self._org.lock:
            self._org.triggers = ()
        return JSONResponse({"triggers": 0})

    async def _add_rule(self, request: Request) -> JSONResponse:
        body = await _object(request)
        if body is None:
            return _wrong("the body must be a JSON object")
        try:
            rule = parse_rule(self._org, body)
        except BadRule as error:
            return _wrong(str(error))
        with self._org.lock:
            self._org.rules = (*self._org.rules, rule)
            count = len(self._org.rules)
        return JSONResponse({"rules": count}, 201)

    async def _drop_rules(self, _request: Request) -> JSONResponse:
        with self._org.lock:
            self._org.rules = ()
        return JSONResponse({"rules": 0})

    async def _change_fields(self, request: Request) -> JSONResponse:
        body = await _object(request) or {}
        name, without, fields = body.get("object"), body.get("without", []), body.get("fields", [])
        if name not in self._org.objects:
            return _wrong(f"object must be one of {', '.join(self._org.objects)}")
        known = {f["name"] for f in self._org.describe(name)["fields"]} - {"Id"}
        if not isinstance(without, list) or not known.issuperset(map(str, without)):
            return _wrong(f"without must be a list of fields of {name}, and not Id")
        if not isinstance(fields, list) or not all(
            isinstance(f, dict) and isinstance(f.get("name"), str) and isinstance(f.get("type"), str)
            for f in fields
        ):
            return _wrong(
                "fields must be a list of fields as a describe has them, each with name and type at least"
            )
        self._org.change_fields(name, without, fields)
        return JSONResponse({"fields": len(self._org.describe(name)["fields"])})

    async def _add_event(self, request: Request) -> JSONResponse:
        body = await _object(request)
        try:
            describe = parse_event(body or {})
        except BadEvent as error:
            return _wrong(str(error))
        self._org.define_event(describe)
        return JSONResponse({"events": list(self._org.platform_events.names)}, 201)

    async def _publish(self, request: Request) -> JSONResponse:
        body, events = await _object(request), self._org.platform_events
        event = events.find(request.path_params["event"])
        if event is None:
            return self._no_such_event()
        try:
            uuid = events.publish(event.name, body or {}, self._org.person.user_id, by_platform=True)
        except Refusal as refusal:
            return _wrong(str(refusal))
        return JSONResponse({"EventUuid": uuid}, 201)

    async def _published(self, request: Request) -> JSONResponse:
        try:
            return JSONResponse({"published": self._bus.published(request.path_params["event"])})
        except TopicNotFound:
            return self._no_such_event()

    def _no_such_event(self) -> JSONResponse:
        return _wrong(f"event must be one of {', '.join(self._org.platform_events.names)}")

    async def _add_fault(self, request: Request) -> JSONResponse:
        body = await _object(request)
        if body is None or not isinstance(body.get("fault"), str):
            return _wrong(f"fault must be one of {', '.join(sorted(self._org.faults.known))}")
        name = body.pop("fault")
        try:
            self._org.faults.set(name, body)
        except (UnknownFault, BadFault) as error:
            return _wrong(str(error))
        return JSONResponse({"faults": self._org.faults.all()}, 201)

    async def _clear_faults(self, _request: Request) -> JSONResponse:
        self._org.faults.clear()
        return JSONResponse({"faults": []})


Answer = Callable[[ControlServer, Request], Awaitable[JSONResponse]]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the control API. *body*: an example, or empty if it takes none."""

    method: str
    path: str
    body: str
    meaning: str
    answer: Answer


RESOURCES: Final = (
    Resource("GET", "/", "", "This list.", ControlServer._overview),
    Resource(
        "GET",
        "/state",
        "",
        "The org: its id, users, clock, objects with their counts, triggers, rules, faults and addresses.",
        ControlServer._state,
    ),
    Resource(
        "GET", "/calls", "", "API calls so far, by resource, and events delivered.", ControlServer._calls
    ),
    Resource(
        "POST",
        "/clock",
        '{"advance_s": 3600}',
        "Move the org's clock on. Sessions and query cursors age with it.",
        ControlServer._clock,
    ),
    Resource(
        "GET", "/settings", "", "What an administrator of the org has decided.", ControlServer._settings
    ),
    Resource(
        "POST",
        "/settings",
        '{"soap_login": false, "bulk_processing_s": 5}',
        "Change some of these settings; GET /settings shows their names.",
        ControlServer._change_settings,
    ),
    Resource(
        "DELETE",
        "/settings",
        "",
        "All settings as they were at the start.",
        ControlServer._reset_settings,
    ),
    Resource(
        "POST",
        "/instance",
        '{"url": "https://localhost:8443"}',
        "Move the org to another instance. All sessions end, and the old host no longer serves the org.",
        ControlServer._move,
    ),
    Resource(
        "POST",
        "/recycle_bin",
        '{"object": "Account", "ids": [], "do": "undelete"}',
        "What a person does in the Recycle Bin: undelete records, or empty it of them, so that they are gone for good.",
        ControlServer._recycle_bin,
    ),
    Resource(
        "POST",
        "/refresh_tokens",
        '{"user": "person", "client_id": "..."}',
        "Get a refresh token, as if that user (integration or person) had approved the app in a browser.",
        ControlServer._refresh_token,
    ),
    Resource(
        "POST",
        "/allowances",
        '{"DailyApiRequests": 1000}',
        "How much the org may use within 24 hours, by the names of the limits resource. {} shows all.",
        ControlServer._allowances,
    ),
    Resource(
        "POST",
        "/triggers",
        '{"object": "Account", "when": {"field": "Phone"}, "set": {"Phone": "{Phone|e164}"}}',
        "Add a trigger: a call that sets the field `when` makes it set fields from templates. The filters of a template are "
        'trim, upper, lower, title, digits and e164. Instead of "set", "refuse": true refuses the field, and "refuse": '
        '"record" the record.',
        ControlServer._add_trigger,
    ),
    Resource("DELETE", "/triggers", "", "Remove all triggers.", ControlServer._drop_triggers),
    Resource(
        "POST",
        "/rules",
        '{"rule": "validation", "object": "Account", "when": "Phone = null", "message": "Enter a phone"}',
        "Add a validation rule: `when` is a SOQL condition that is true for a wrong record; `field` and `name` are optional. "
        'Or a duplicate rule: {"rule": "duplicate", "object", "fields": [...], "action": "allow" or "block"}; `name`, '
        "`matching_rule` and `message` are optional. Or an assignment rule, which chooses the owner of new records: "
        '{"rule": "assignment", "object", "owner": Id of a user}.',
        ControlServer._add_rule,
    ),
    Resource("DELETE", "/rules", "", "Remove all rules.", ControlServer._drop_rules),
    Resource(
        "POST",
        "/fields",
        '{"object": "Account", "without": ["Fax"], "fields": [{"name": "Late__c", "type": "string", "length": 20}]}',
        "Let an object lose fields and get others, at once and for everybody: describes, SOQL, records and the schema of events. "
        "A field is as a describe has it; what it does not say is that of a text field that may be empty.",
        ControlServer._change_fields,
    ),
    Resource(
        "POST",
        "/events",
        '{"event": "Order_Event__e", "fields": {"Number__c": "Text", "Amount__c": "Number"}}',
        "Make a platform event, or give one other fields. Types are Text, LongTextArea, Number, Checkbox, Date and DateTime. "
        'Or {"describe": ...}, the answer of /sobjects/X__e/describe of an org. Describe files can have events, too.',
        ControlServer._add_event,
    ),
    Resource(
        "POST",
        "/events/{event}",
        "{}",
        "Publish an event with these fields as the platform itself does, also one that the APIs may not publish: standard events "
        "like BatchApexErrorEvent, whose describe is among the describe files or was given by POST /events.",
        ControlServer._publish,
    ),
    Resource(
        "GET",
        "/events/{event}",
        "",
        "What anybody has published of a platform event, the last 10,000, also what subscribers can no longer have.",
        ControlServer._published,
    ),
    Resource(
        "POST",
        "/faults",
        '{"fault": "http", "api": "rest", "status": 503, "times": 3}',
        'Let something fail; the faults are listed below. "s": N ends a fault after so many seconds, unless it says otherwise.',
        ControlServer._add_fault,
    ),
    Resource("DELETE", "/faults", "", "End all faults.", ControlServer._clear_faults),
)


def in_words() -> str:
    """The control API for `salmon simulator --help`."""
    lines = ["control API (JSON over HTTP, at control_url; not part of Salesforce):"]
    for each in RESOURCES:
        lines += [f"  {each.method} {each.path} {each.body}".rstrip(), *_indented(each.meaning)]
    lines += ["", f"faults (api: {', '.join(APIS)}; without object: any; count: how many, 1 if left out):"]
    for name, (parameters, meaning) in FAULTS.items():
        lines += [f"  {name} {{{parameters}}}" if parameters else f"  {name}", *_indented(meaning)]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


async def _object(request: Request) -> dict[str, Any] | None:
    try:
        body = json_in(await request.body() or b"{}")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _wrong(message: str) -> JSONResponse:
    return JSONResponse({"error": message}, 400)
