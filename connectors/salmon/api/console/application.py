"""The console as an application of its own: its pages, its files, signing in, and errors as pages."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlencode

import structlog
from fastapi import FastAPI, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from salmon.api.console.operations import Operations
from salmon.api.console.pages import PAGES
from salmon.api.console.parts import Parts
from salmon.api.console.rendering import CONTENT_SECURITY_POLICY, STATIC, Rendering
from salmon.api.console.visitors import Visitors
from salmon.api.console.watching import Watching
from salmon.api.handle import Api
from salmon.api.oidc import NotGood
from salmon.api.problems import Problem
from salmon.config.models import SyncConfig
from salmon.errors import ConfigError, DataError, RetriableError, SalmonError

log = structlog.get_logger(__name__)

PATH: Final = "/console"
_LOGIN: Final = "/login"
_HEADERS: Final = {
    b"content-security-policy": CONTENT_SECURITY_POLICY.encode(),
    # With no-referrer, a browser would not say that a form comes from this origin.
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


class Console:
    """What the console keeps while schemas come and go, e.g. a comparison that runs. One for a process."""

    def __init__(
        self,
        live: Callable[[], SyncConfig],
        config_path: Path,
        *,
        operations: Operations | None = None,
        watching: Watching | None = None,
    ) -> None:
        self._live, self._secret = live, secrets.token_urlsafe(32)
        self._operations = operations or Operations(live)
        self._watching = watching or Watching(live, config_path)

    def application(self, api: Api) -> ASGIApp:
        """The application for this state of the schemas."""
        visitors = Visitors(api.access, lambda: api.settings, secret=self._secret, path=PATH)
        rendering = Rendering(self._live().name, PATH)
        parts = Parts(api, self._operations, self._watching, visitors, rendering)
        return _Headers(_application(parts))

    def close(self) -> None:
        """End what runs beside requests. Idempotent."""
        self._watching.close()


def _application(parts: Parts) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for page in PAGES:
        app.include_router(page(parts))
    _signing(app, parts)
    _errors(app, parts)
    return app


def _signing(app: FastAPI, parts: Parts) -> None:
    visitors = parts.visitors

    def form(request: Request, to: str, trouble: str = "", code: int = 200) -> Response:
        elsewhere = visitors.elsewhere
        return parts.rendering.page(
            request,
            "login.html",
            code=code,
            to=to,
            trouble=trouble,
            provider=None if elsewhere is None else elsewhere.name,
        )

    @app.get(_LOGIN)
    async def login(request: Request, to: str = "") -> Response:
        return form(request, to)

    @app.post(_LOGIN)
    async def sign_in(
        request: Request, key: Annotated[str, Form()] = "", to: Annotated[str, Form()] = ""
    ) -> Response:
        answer = RedirectResponse(PATH + _own(to), status_code=303)
        try:
            caller = await visitors.sign_in(request, key.strip(), answer)
        except Problem as problem:
            trouble = "This key is not known." if problem.status == 401 else problem.detail
            return form(request, to, trouble, problem.status)
        log.info("console_signed_in", by=caller.name)
        return answer

    @app.get("/oidc/begin")
    async def begin(request: Request, to: str = "") -> Response:
        if (elsewhere := visitors.elsewhere) is None:
            raise HTTPException(404)
        return await run_in_threadpool(visitors.begin, request, elsewhere, to)

    @app.get("/oidc/back")
    async def come_back(request: Request) -> Response:
        if (elsewhere := visitors.elsewhere) is None:
            raise HTTPException(404)
        # A page that leads on, and no redirection: a browser that comes from another site sends no session with that.
        cookies = Response()
        try:
            caller, to = await run_in_threadpool(visitors.come_back, request, elsewhere, cookies)
        except NotGood as error:
            return form(request, "", f"You are not signed in: {error}.", 401)
        except Problem as problem:
            return form(request, "", problem.detail, problem.status)
        log.info("console_signed_in", by=caller.name)
        answer = parts.rendering.page(request, "signed_in.html", on=PATH + _own(to))
        answer.raw_headers += [each for each in cookies.raw_headers if each[0] == b"set-cookie"]
        return answer

    @app.post("/logout")
    async def sign_out(request: Request) -> Response:
        answer = RedirectResponse(PATH + _LOGIN, status_code=303)
        visitors.sign_out(request, answer)
        return answer


def _own(to: str) -> str:
    """A path of the console, or its first page: a link must not lead a person elsewhere after signing in."""
    return to if to.startswith("/") and not to.startswith("//") and "\\" not in to else ""


def _errors(app: FastAPI, parts: Parts) -> None:
    """Have *app* answer every error with a page that says what to do."""

    def page(request: Request, status: int, title: str, text: str) -> Response:
        return parts.rendering.page(request, "error.html", code=status, title=title, text=text)

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        if error.status == 401 and request.method == "GET":
            here = request.url.path.removeprefix(PATH)
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{PATH}{_LOGIN}?{urlencode({'to': here + query})}", status_code=303)
        return page(request, error.status, "This is not possible", error.detail)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = "There is no such page" if error.status_code == 404 else "This is not possible"
        return page(request, error.status_code, title, "Go back, or choose a page from the menu.")

    async def not_understood(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        names = ", ".join(str(each["loc"][-1]) for each in error.errors())
        return page(
            request, 400, "This is not possible", f"The request is not complete, or not right: {names}."
        )

    async def failed(request: Request, error: Exception) -> Response:
        if isinstance(error, ConfigError | DataError):
            return page(request, 400, "This is not possible", str(error))
        away = isinstance(error, RetriableError)
        return page(
            request, 503, "A server does not answer" if away else "This is not possible now", str(error)
        )

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("console_failed_unexpectedly", path=request.url.path, exc_info=error)
        return page(
            request, 500, "This is a fault in Salmon", "See the log of the process, and please report it."
        )

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, not_understood)
    app.add_exception_handler(SalmonError, failed)
    app.add_exception_handler(Exception, unexpected)


class _Headers:
    """Gives each answer the headers that bound what a page may do. Only files of ours are kept by browsers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def more(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *_HEADERS.items()]
                if "/static/" not in scope["path"]:
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, more)
