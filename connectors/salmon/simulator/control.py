"""
The simulator's control API: its records, the calls it has received, its clock, settings, triggers, rules and faults (JSON
over HTTP).

It is not part of Salesforce: tests and demos control the org with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from salmon.simulator.org.clock import datetime_text
from salmon.simulator.org.faults import BadFault, UnknownFault
from salmon.simulator.org.org import Org
from salmon.simulator.org.settings import BadSetting
from salmon.simulator.org.triggers import BadTrigger, parse_trigger
from salmon.simulator.rules import BadRule, parse_rule


class ControlServer:
    """The application is `app`. *endpoints* are shown by GET /state."""

    def __init__(self, org: Org, endpoints: Mapping[str, Any]) -> None:
        self._org = org
        self._endpoints = dict(endpoints)
        self.app = Starlette(
            routes=[
                Route("/state", self._state, methods=["GET"]),
                Route("/calls", self._calls, methods=["GET"]),
                Route("/clock", self._clock, methods=["POST"]),
                Route("/settings", self._settings, methods=["GET"]),
                Route("/settings", self._change_settings, methods=["POST"]),
                Route("/settings", self._reset_settings, methods=["DELETE"]),
                Route("/instance", self._move, methods=["POST"]),
                Route("/refresh_tokens", self._refresh_token, methods=["POST"]),
                Route("/allowances", self._allowances, methods=["POST"]),
                Route("/triggers", self._add_trigger, methods=["POST"]),
                Route("/triggers", self._drop_triggers, methods=["DELETE"]),
                Route("/rules", self._add_rule, methods=["POST"]),
                Route("/rules", self._drop_rules, methods=["DELETE"]),
                Route("/faults", self._add_fault, methods=["POST"]),
                Route("/faults", self._clear_faults, methods=["DELETE"]),
            ]
        )

    async def _state(self, _request: Request) -> JSONResponse:
        """The org: its ids, users, clock, objects with their counts, triggers and faults."""
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
        """API calls and events delivered so far, by resource."""
        return JSONResponse(
            {"api": self._org.usage.calls(), "events_delivered": self._org.usage.events_delivered}
        )

    async def _clock(self, request: Request) -> JSONResponse:
        """{"advance_s": n} moves the org's clock on; sessions and cursors age with it."""
        body = await _object(request)
        advance_s = None if body is None else body.get("advance_s")
        if not isinstance(advance_s, int | float) or isinstance(advance_s, bool) or advance_s < 0:
            return _wrong("advance_s must be a number of seconds, not negative")
        self._org.clock.advance(advance_s)
        return JSONResponse({"now": datetime_text(self._org.clock.now_ms())})

    async def _settings(self, _request: Request) -> JSONResponse:
        """What an administrator has decided: see org/settings.py for each."""
        return JSONResponse(self._org.settings.as_dict())

    async def _change_settings(self, request: Request) -> JSONResponse:
        """{"bulk_processing_s": 5, ...}: any of the settings; all of them are answered."""
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
        """{"url": "https://..."}: the org moves to another instance. All sessions end; its old host serves it no more."""
        url = (await _object(request) or {}).get("url")
        if not isinstance(url, str) or not url.startswith("https://"):
            return _wrong("url must be an https:// URL that leads here, by another name or port")
        self._org.instance.move(url.rstrip("/"))
        self._org.sessions.revoke_all()
        return JSONResponse({"instance_url": self._org.instance.url})

    async def _refresh_token(self, request: Request) -> JSONResponse:
        """{"user": "integration" or "person", "client_id"}: as if that user had approved the app in a browser."""
        body, org = await _object(request) or {}, self._org
        user = {"integration": org.integration_user, "person": org.person}.get(str(body.get("user")))
        client_id = body.get("client_id")
        if user is None or not isinstance(client_id, str):
            return _wrong("user must be integration or person, and client_id that of a connected app")
        return JSONResponse({"refresh_token": org.sessions.issue_refresh_token(user, client_id)}, 201)

    async def _allowances(self, request: Request) -> JSONResponse:
        """{"DailyBulkV2QueryJobs": 5, ...}: how much of each the org may use within 24 hours."""
        body, usage = await _object(request) or {}, self._org.usage
        for name, amount in body.items():
            if name not in usage.allowances:
                return _wrong(f"no allowance {name!r}; there are {', '.join(usage.allowances)}")
            if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
                return _wrong(f"{name} must be a whole number, not negative")
        usage.allowances.update(body)
        return JSONResponse(usage.allowances)

    async def _add_trigger(self, request: Request) -> JSONResponse:
        """{"object", "when": {"field"}, "set": {field: template} or "refuse": true or "record"}; see triggers.py."""
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
        """
        {"rule": "validation", "object", "when": SOQL condition, "message", "name"?, "field"?}, or {"rule": "duplicate",
        "object", "fields": [...], "action": "allow" or "block", "name"?, "matching_rule"?, "message"?}.
        """
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

    async def _add_fault(self, request: Request) -> JSONResponse:
        """{"fault": NAME, ...}"""
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


async def _object(request: Request) -> dict[str, Any] | None:
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _wrong(message: str) -> JSONResponse:
    return JSONResponse({"error": message}, 400)
