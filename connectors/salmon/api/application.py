"""
The application: health and metrics for everybody, and the sections for those who may.

A section is a function that makes a router of a handle. All of them get the same authentication, the same problems and the same
bounds; what a section needs beyond that (a scope, a role) its routes ask of `Api.access`. To add one, add it to `SECTIONS` in
salmon.api.process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from salmon import __version__
from salmon.addresses import host_of
from salmon.api import problems
from salmon.api.access import SCHEMES
from salmon.api.description import describe
from salmon.api.handle import Api
from salmon.api.limits import BodyLimit
from salmon.api.problems import Problem, at_fault
from salmon.ops.api_metrics import ApiMetrics
from salmon.ops.connect import page_routes
from salmon.ops.connect.described import Served

Section = Callable[[Api], APIRouter]
Mounted = Callable[[Api], ASGIApp]
_NOTHING: Final[Mapping[str, Mounted]] = {}

# What a web page of another origin may read of an answer, beside the body.
_EXPOSED: Final = ("ETag", "Link", "Location", "Preference-Applied", "Retry-After", "Content-Range")
_HEADERS: Final = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"x-frame-options": b"DENY",
}


class Switch:
    """Serves the application of now: the one that waits for the schemas, and later the one of the newest schemas."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def waiting(served: Served) -> FastAPI:
    """The application of a process that has not reached what it needs: health, and 503 for all else."""
    app = _bare(served)

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def not_yet(path: str) -> None:
        raise Problem(
            503, "starting", f"The API starts: {served.health.report().message}", headers={"Retry-After": "2"}
        )

    return app


def application(
    api: Api, served: Served, sections: Sequence[Section], mounted: Mapping[str, Mounted] = _NOTHING
) -> FastAPI:
    """The application with all *sections*. *mounted*: path -> what answers below it, with an authentication of its own."""
    app = _bare(served)
    schemes = SCHEMES if api.access.needs_credentials else ()  # what the description says of credentials
    for section in sections:
        app.include_router(section(api), dependencies=[Depends(api.access), *schemes])
    for path, make in mounted.items():
        app.add_route(path, _with_a_slash, include_in_schema=False)
        app.mount(path, make(api))
    describe(app, api)
    if origins := api.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=list(_EXPOSED),
        )
    app.add_middleware(BodyLimit, most=lambda: api.settings.body_bytes_max)
    app.add_middleware(_Outermost, metrics=api.metrics)
    return app


async def _with_a_slash(request: Request) -> Response:
    return RedirectResponse(f"{request.url.path}/", status_code=307)


def _bare(served: Served) -> FastAPI:
    app = FastAPI(
        title="Salmon",
        description=f"The records of the sync {served.described.sync}, for applications. An edit here is an edit in MongoDB: Salmon "
        f"brings it to Salesforce.",
        version=__version__,
        openapi_url=None,  # salmon.api.description
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.include_router(page_routes.router(served))
    return app


def _no_host() -> Response:
    return at_fault("Host", "not-understood", "the header is not a host and a port").response()


class _Outermost:
    """Refuses what has a malformed Host, counts each request by its route, and gives each answer the headers that keep browsers from guessing."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                said = {name for name, _ in message["headers"]}
                more = [(name, text) for name, text in _HEADERS.items() if name not in said]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            if host_of(Headers(scope=scope).get("host", "")) is None:
                await _no_host()(scope, receive, noted)
            else:
                await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.api_request(route, scope["method"], status, time.monotonic() - began)
