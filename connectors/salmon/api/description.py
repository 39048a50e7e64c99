"""
The description of the API (OpenAPI 3.1), and a page on which people read it and try it out. The page comes from this process alone: no other
server is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from salmon.api.handle import Api
from salmon.api.problems import Problem, ProblemBody

_FOLDER: Final = Path(__file__).with_name("swagger_ui")
_FILES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Salmon: the API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Swagger UI sets styles on elements; it needs no script within the page.
_POLICY: Final = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def describe(app: FastAPI, api: Api) -> None:
    """Add the description, and its page, to an application that has all its sections."""
    routes = APIRouter(dependencies=[Depends(api.access)], include_in_schema=False)
    made: list[dict[str, Any]] = []

    @routes.get("/openapi.json")
    async def description() -> Response:
        if not made:
            made.append(_description(app, [ProblemBody, *api.models]))
        return JSONResponse(made[0])

    @routes.get("/docs")
    async def page() -> Response:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @routes.get("/docs/{name}")
    async def file(name: str) -> Response:
        if name not in _FILES:
            raise Problem(404, "not-found", "There is no such file.")
        return FileResponse(
            _FOLDER / name, media_type=_FILES[name], headers={"Cache-Control": "max-age=3600"}
        )

    app.include_router(routes)


def _description(app: FastAPI, models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    _, below = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    found.setdefault("components", {}).setdefault("schemas", {}).update(below.get("$defs", {}))
    # Ours are problems: the framework's own answer to what it cannot read is never given.
    for path in found["paths"].values():
        for operation in path.values():
            if _is_frameworks(operation):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)
    return found


def _is_frameworks(operation: dict[str, Any]) -> bool:
    """Whether an operation's 422 is the one that the framework adds by itself."""
    content = operation.get("responses", {}).get("422", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    return bool(str(schema.get("$ref", "")).endswith("/HTTPValidationError"))
