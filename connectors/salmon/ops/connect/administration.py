"""The routes of plugins and loggers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from salmon.ops.connect import loggers
from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import Checked, ConfigKey, LevelBody, NewLevel, Plugin
from salmon.ops.connect.described import Plugins, Served


def router(served: Served) -> APIRouter:
    """Their routes."""
    routes = APIRouter()

    def plugins() -> Plugins:
        if served.plugins is None:
            raise Refused(503, "This process does not know its plugins.")
        return served.plugins

    @routes.get("/connector-plugins", tags=["plugins"])
    def all_plugins(
        connectors_only: Annotated[
            bool, Query(alias="connectorsOnly", description="false: transforms and predicates, too.")
        ] = True,
    ) -> list[Plugin]:
        """The kinds of connectors, and of transforms and predicates."""
        return plugins().all(connectors_only=connectors_only)

    @routes.get("/connector-plugins/{plugin}/config", tags=["plugins"])
    def keys(plugin: str) -> list[ConfigKey]:
        """The settings of a plugin."""
        return plugins().keys(plugin)

    @routes.put("/connector-plugins/{plugin}/config/validate", tags=["plugins"])
    def validate(plugin: str, config: dict[str, str | None]) -> Checked:
        """Check a configuration: settings by the path of their keys, e.g. `objects.Account.collection`. Nothing is changed."""
        return plugins().check(plugin, config)

    @routes.get("/admin/loggers", tags=["loggers"])
    def all_loggers() -> dict[str, LevelBody]:
        """The loggers of Salmon that are in use, and their levels."""
        return {name: _body(level) for name, level in loggers.all_levels().items()}

    @routes.get("/admin/loggers/{logger}", tags=["loggers"])
    def one_logger(logger: str) -> LevelBody:
        """The level of a logger."""
        _check(logger)
        return _body(loggers.level_of(logger))

    @routes.put(
        "/admin/loggers/{logger}",
        tags=["loggers"],
        response_model=list[str],
        responses={204: {"description": "It is being set in all processes of the sync."}},
    )
    def set_level(
        logger: str, body: NewLevel, scope: Annotated[Literal["worker", "cluster"], Query()] = "worker"
    ) -> Any:
        """Set the level of a logger and of all below it, until the process ends; with scope=cluster in all processes."""
        _check(logger)
        if scope == "worker":
            return JSONResponse(loggers.set_level(logger, body.level))
        if served.asks is None:
            raise Refused(503, "This process cannot ask the others.")
        served.asks.ask_for_level(logger, body.level)
        return Response(status_code=204)

    return routes


def _check(logger: str) -> None:
    if not loggers.is_ours(logger):
        raise Refused(
            404,
            f"Logger {ascii(logger)[1:-1]} not found: only {loggers.ROOT} and loggers below it can be shown and set, because the debug "
            f"lines of other libraries show records.",
        )


def _body(level: loggers.Level) -> LevelBody:
    return LevelBody(level=level.level, last_modified=level.last_modified)
