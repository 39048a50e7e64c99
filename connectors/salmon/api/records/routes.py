"""The routes of the objects, made from their schemas."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.encoders import jsonable_encoder

from salmon.api.handle import Api


def router(api: Api) -> APIRouter:
    """Their routes."""
    routes = APIRouter(prefix="/api/v1")

    @routes.get("")
    async def objects() -> Any:
        """Which objects there are."""
        return jsonable_encoder({"objects": sorted(api.objects)})

    return routes
