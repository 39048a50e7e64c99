"""Is everything as the sync needs it, and if not, what to do (`salmon doctor`)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from salmon.api.console.parts import Parts
from salmon.api.threads import in_thread
from salmon.doctor.checks import Outcome


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])

    @routes.get("/doctor")
    async def doctor(request: Request) -> Response:
        return parts.rendering.page(request, "doctor.html", lines=None, counts={})

    @routes.post("/doctor/checks", dependencies=[parts.visitors.sends])
    async def checks(request: Request) -> Response:
        lines = await in_thread(parts.operations.diagnose)
        counts = {each.value: sum(line.outcome is each for line in lines) for each in Outcome}
        return parts.rendering.page(request, "doctor.html", lines=lines, counts=counts)

    return routes
