"""
The simulator's control API: its records, the calls it has received, its clock, triggers, rules and faults (JSON over HTTP).

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
                        {"refuse": True} if trigger.refuses else {"set": {f.name: t for f, t in trigger.sets}}
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

    async def _add_trigger(self, request: Request) -> JSONResponse:
        """{"object", "when": {"field"}, "set": {field: template} or "refuse": true}; see triggers.py for templates."""
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
