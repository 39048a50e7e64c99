"""
The routes of the REST server, for the server and for tests: health, metrics, and Kafka Connect's API for one connector.

Paths, codes and bodies are Kafka Connect's (Kafka Connect REST Interface; KIP-1017 for /health; KIP-875 for offsets; KIP-495 and
KIP-976 for loggers). A connector is made by `salmon run` from a file, so it can neither be created nor deleted nor configured here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBasic, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from salmon import __version__
from salmon.errors import FatalError, RetriableError
from salmon.ops.connect import administration, connectors, page_routes
from salmon.ops.connect.access import CERTIFIED, Refused
from salmon.ops.connect.bodies import ErrorBody
from salmon.ops.connect.described import Served

_READS: Final = {"GET", "HEAD", "OPTIONS"}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": ErrorBody, "description": "The request cannot be understood, or asks for what cannot be."},
    401: {"model": ErrorBody, "description": "Credentials are missing or wrong."},
    403: {"model": ErrorBody, "description": "Not allowed here."},
    404: {"model": ErrorBody, "description": "Not found."},
    409: {
        "model": ErrorBody,
        "description": "The connector is not in the state that this needs; try again later.",
    },
    503: {"model": ErrorBody, "description": "Kafka cannot be reached; try again later."},
}


def application(served: Served) -> FastAPI:
    """The application that serves *served*."""
    app = FastAPI(
        title="Salmon",
        description="Kafka Connect's REST API for one connector of a sync.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    basic, bearer = HTTPBasic(auto_error=False), HTTPBearer(auto_error=False)

    def admitted(changes: Callable[[Request], bool]) -> Any:
        async def check(request: Request) -> None:
            certified = bool(request.scope.get("state", {}).get(CERTIFIED))
            served.access.check(request.headers, changes=changes(request), certified=certified)

        return [Depends(check), Depends(basic), Depends(bearer)]

    app.include_router(page_routes.router(served))
    connect = {"responses": _ERRORS, "dependencies": admitted(lambda request: request.method not in _READS)}
    app.include_router(connectors.router(served), **connect)
    app.include_router(administration.router(served), **connect)
    app.add_middleware(_WithoutLastSlash)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(RetriableError, _unavailable)
    app.add_exception_handler(FatalError, _unavailable)
    return app


class _WithoutLastSlash:
    """Takes /connectors/ for /connectors, as Kafka Connect does; some tools write it so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (path := scope["path"].rstrip("/")) != scope["path"]:
            scope = {**scope, "path": path or "/"}
        await self._app(scope, receive, send)


def _answer(status: int, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error_code": status, "message": message}, status_code=status, headers=headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _answer(error.status, str(error), error.headers)


async def _not_found(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(error.status_code, str(error.detail), error.headers)


async def _not_understood(_: Request, error: Exception) -> Response:
    """Say which part of the request is wrong, and never quote it."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return _answer(400, "; ".join(faults))


async def _unavailable(_: Request, error: Exception) -> Response:
    return _answer(503, str(error))
