"""What the configuration makes of each object: direction, fields, filters, masks, policies, and the YAML as Salmon understands it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from fastapi import APIRouter, Request
from starlette.responses import Response

from salmon.api.console.parts import Parts
from salmon.api.handle import ApiObject
from salmon.config.models import ObjectConfig, SyncConfig


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])

    @routes.get("/flows")
    async def flows(request: Request) -> Response:
        config = parts.api.live()
        found = [
            flow_of(config, name, settings, parts.api.objects.get(name))
            for name, settings in config.objects.items()
        ]
        return parts.rendering.page(request, "flows.html", flows=found, events=sorted(config.events))

    return routes


def flow_of(
    config: SyncConfig, name: str, settings: ObjectConfig, known: ApiObject | None
) -> Mapping[str, Any]:
    """One object's flow. What is at its default is only in the YAML if it is set."""
    flow = None if known is None else known.shape.flow
    fields = [] if known is None else known.schema.fields
    return {
        "name": name,
        "collection": ", ".join(settings.places),
        "direction": settings.direction,
        "sides": config.roster.names_of(name),
        "policy": settings.conflicts.model_dump(mode="json", exclude_unset=True),
        "masks": {} if flow is None else {side: sorted(masks) for side, masks in flow.masks.items()},
        "renamed": settings.paths,
        "fields": len(fields),
        "guard": settings.delete_guard,
        "yaml": yaml.safe_dump(
            settings.model_dump(mode="json", exclude_unset=True, by_alias=True),
            sort_keys=False,
            allow_unicode=True,
        ),
    }
