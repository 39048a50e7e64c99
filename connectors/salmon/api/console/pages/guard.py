"""The delete guard: deletes that wait for a decision, to be approved or discarded (`salmon guard`)."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from salmon.api.console.parts import REASON_MAX, Parts, Question, note
from salmon.api.console.visitors import Visitor
from salmon.api.problems import Problem
from salmon.api.threads import in_thread
from salmon.story.formatting import side_named

KEYS_SHOWN: Final = 50


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])
    operates = parts.visitors.operates

    @routes.get("/guard")
    async def guard(request: Request) -> Response:
        waiting = await in_thread(parts.operations.waiting_deletes)
        return parts.rendering.page(request, "guard.html", waiting=waiting, most=KEYS_SHOWN)

    @routes.get("/guard/decide")
    async def ask(
        request: Request, action: str, side: str, object_name: Annotated[str, Query(alias="object")]
    ) -> Response:
        approves, there = _approves(action), side_named(side)
        waiting = await in_thread(parts.operations.waiting_deletes)
        keys = [
            key for each in waiting if (each.object, each.side) == (object_name, side) for key in each.keys
        ]
        shown = ", ".join(keys[:KEYS_SHOWN]) + (", ..." if len(keys) > KEYS_SHOWN else "")
        what = f"{len(keys):,} {object_name} {'record' if len(keys) == 1 else 'records'}"
        line = (
            f"{what} will be deleted in {there}. This cannot be undone here."
            if approves
            else f"{what} will stay in {there}, and the side that deleted them gets them back."
        )
        return parts.ask(
            request,
            Question(
                title="Approve these deletes?" if approves else "Discard these deletes?",
                action="/guard/decide",
                lines=[line, *([shown] if shown else [])],
                fields={"action": action, "side": side, "object": object_name},
                button=f"Delete in {there}" if approves else "Keep the records",
                back=f"{parts.path}/guard",
                dangerous=approves,
            ),
        )

    @routes.post("/guard/decide")
    async def act(
        request: Request,
        *,
        action: Annotated[str, Form()],
        side: Annotated[str, Form()],
        object_name: Annotated[str, Form(alias="object")],
        reason: Annotated[str, Form(max_length=REASON_MAX)] = "",
        visitor: Visitor = operates,
    ) -> Response:
        approves = _approves(action)
        note(visitor, f"guard_{action}", reason, object=object_name, side=side)
        by = f"{visitor.caller.name} ({reason})" if reason else visitor.caller.name
        decided = await in_thread(
            lambda: parts.operations.decide_deletes(object_name, side, approve=approves, by=by)
        )
        done = "approved" if approves else "discarded"
        lines = [
            f"{each.object}: {len(each.keys):,} deletes on {side_named(each.side)} {done}."
            for each in decided
        ]
        return parts.done(
            request, "Decided", lines or ["No deletes wait any more."], back=f"{parts.path}/guard"
        )

    return routes


def _approves(action: str) -> bool:
    if action not in {"approve", "discard"}:
        raise Problem(400, "not-understood", "action: must be approve or discard.")
    return action == "approve"
