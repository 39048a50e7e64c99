"""The pages as routes of an application, with their description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from salmon.ops.connect.bodies import HealthBody, Live, Ready, Root
from salmon.ops.connect.described import Served
from salmon.ops.connect.pages import PAGES, Page

_TEXT: Final = {"content": {"text/plain": {"schema": {"type": "string"}}}}
_DESCRIBED: Final[Mapping[str, Mapping[str, Any]]] = {
    "/": {"response_model": Root},
    "/health": {
        "response_model": HealthBody,
        "responses": {500: {"model": HealthBody}, 503: {"model": HealthBody}},
    },
    "/health/ready": {"response_model": Ready, "responses": {503: {"model": Ready}}},
    "/health/live": {"response_model": Live, "responses": {500: {"model": Live}}},
    "/metrics": {"response_model": None, "response_class": Response, "responses": {200: _TEXT}},
}


def router(served: Served) -> APIRouter:
    """Their routes."""
    routes = APIRouter(tags=["pages"])
    for path, page in PAGES.items():
        routes.add_api_route(
            path,
            _endpoint(page, served),
            name=page.__name__,
            description=page.__doc__,
            **_DESCRIBED[path],
        )
    return routes


def _endpoint(page: Page, served: Served) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return page(served)

    return answer
