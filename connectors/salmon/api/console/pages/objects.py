"""Each object: how many records there are on each side and agreed, what is on its way, and what waits."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response

from salmon.api.console.pages.overview import waiting_of
from salmon.api.console.parts import Parts
from salmon.api.threads import in_thread
from salmon.mongodb.wire.client import border
from salmon.verify.comparing import ObjectVerdict

_COUNT_MAX_MS = 3_000


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])

    @routes.get("/objects")
    async def objects(request: Request) -> Response:
        seen = await in_thread(parts.watching.seen)
        status = {one.name: one for one in seen.overview.objects}
        return parts.rendering.page(
            request,
            "objects.html",
            objects=parts.api.live().objects,
            status=status,
            waiting={name: waiting_of(one) for name, one in status.items()},
            documents=await in_thread(documents_of, parts),
            verified=verified_of(parts),
            trouble=seen.overview.trouble,
        )

    return routes


def documents_of(parts: Parts) -> Mapping[str, int]:
    """How many documents each object has, by MongoDB's own estimate, which costs nothing."""
    with border("counting documents"):
        return {
            name: sum(
                each.estimated_document_count(maxTimeMS=_COUNT_MAX_MS) for each in parts.api.collections(name)
            )
            for name in parts.api.objects
        }


def verified_of(parts: Parts) -> Mapping[str, ObjectVerdict]:
    """What the last comparison of this console has counted."""
    run = parts.operations.comparison
    return run.result.objects if run is not None and run.result is not None else {}
