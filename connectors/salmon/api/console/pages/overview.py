"""Is every process healthy, how much is on its way, and how fast: the first page, which renews itself (server-sent events)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from salmon.api.console.pages.ring import ring_of
from salmon.api.console.parts import Parts
from salmon.api.console.watching import Seen
from salmon.api.streams import Streamed, lasting
from salmon.api.threads import in_thread
from salmon.status.overview import ObjectStatus, budgets_of

_EVERY_S: Final = 2.0
_CHART: Final = (160.0, 36.0)


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])

    @routes.get("/")
    async def overview(request: Request) -> Response:
        seen = await in_thread(parts.watching.seen)
        return parts.rendering.page(request, "overview.html", **_facts(parts, seen))

    @routes.get("/live")
    async def live(request: Request) -> Response:
        name, streams = request.state.visitor.caller.name, parts.watching.streams
        streams.begin(name)

        async def ended() -> None:
            streams.end(name)

        return Streamed(_events(parts, request), ended)

    return routes


async def _events(parts: Parts, request: Request) -> AsyncIterator[str]:
    """The overview again and again, until the person leaves, or has to be checked again: the page comes back by itself."""
    may_go_on = lasting()
    while may_go_on() and not (parts.watching.closing.is_set() or await request.is_disconnected()):
        seen = await parts.watching.streams.in_thread(parts.watching.seen)
        text = parts.rendering.text("overview_live.html", **_facts(parts, seen))
        yield "event: overview\n" + "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
        await asyncio.sleep(_EVERY_S)


def _facts(parts: Parts, seen: Seen) -> dict[str, Any]:
    overview = seen.overview
    return {
        "seen": seen,
        "overview": overview,
        "ring": ring_of(parts.api.live().roster.sides, overview.processes),
        "budgets": {
            (each.connector, name.replace("_", " ")): budget
            for each in overview.processes
            for name, budget in budgets_of(each).items()
        },
        "changes": line_of(seen.changes_per_s),
        "writes": line_of(seen.writes_per_s),
        "slowest": {direction: line_of(each) for direction, each in seen.slowest_s.items()},
        "waiting": {one.name: waiting_of(one) for one in overview.objects},
        "loading": [one for one in overview.objects if one.snapshot_total],
    }


def waiting_of(one: ObjectStatus) -> Mapping[str, int] | None:
    """How many fields of an object wait since merge started, by why; None if merge does not report."""
    if one.parked is None or one.freed is None:
        return None
    return {
        why: left
        for why, number in one.parked.items()
        if (left := max(0, number - one.freed.get(why, 0))) > 0
    }


def line_of(values: Sequence[float | None]) -> str:
    """The points of a small chart: the newest on the right, the highest at the top. What is not known has no point."""
    if len(values) < 2:
        return ""
    width, height = _CHART
    most = max([1.0, *(each for each in values if each is not None)])
    step = width / (len(values) - 1)
    return " ".join(
        f"{number * step:.1f},{height - 2 - (height - 4) * value / most:.1f}"
        for number, value in enumerate(values)
        if value is not None
    )
