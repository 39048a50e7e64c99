"""
The REST server of a worker: Kafka Connect's API for one connector, read-only, and /metrics.

Paths, fields and error bodies are Kafka Connect's (Kafka Connect REST Interface; KIP-1017 for /health). The server
only reads health and metrics; it never waits for the loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from salmon import __version__, ports
from salmon.errors import ConfigError
from salmon.ops.health import Health, HealthReport
from salmon.ops.metrics import TASK, Metrics


@dataclass(frozen=True, slots=True)
class Described:
    """What the server reports about its connector, besides its health."""

    name: str
    type: str  # "source" or "sink"; for merge "unknown", Connect's third type
    config: Mapping[str, str]  # without secrets
    worker_id: str  # host:port
    sync: str
    ordinal: int


class RestServer:
    """
    A part (see lifecycle): HTTP on one socket, which is bound before the thread starts, so that its port is known.

    Args:
        host: The address to listen on; 127.0.0.1 unless the configuration has another.
        port: 0: any free port; the attribute *port* has the real one.
        cluster_id: Returns the id of the Kafka cluster, if it is known yet.
        sync, ordinal: The sync's name and the number of this replica, so that a caller knows who answers.

    Raises:
        ConfigError: the address is in use, or does not belong to this machine.
    """

    name = "rest"

    def __init__(
        self,
        *,
        host: str,
        port: int,
        connector: str,
        kind: str,
        config: Mapping[str, str],
        health: Health,
        metrics: Metrics,
        cluster_id: Callable[[], str | None],
        sync: str = "",
        ordinal: int = 0,
    ) -> None:
        self._socket = _bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        described = Described(
            connector, kind, config, worker_id=f"{host}:{self.port}", sync=sync, ordinal=ordinal
        )
        app = application(described, health, metrics, cluster_id)
        # No lifespan and no access log; signals are handled in lifecycle.
        settings = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(settings)

    def run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._socket]))

    def stop(self) -> None:
        self._server.should_exit = True

    def cut(self) -> None:
        self._server.force_exit = True


def application(
    described: Described, health: Health, metrics: Metrics, cluster_id: Callable[[], str | None]
) -> Starlette:
    """The routes, for the server and for tests."""

    async def root(_: Request) -> Response:
        body = {
            "version": __version__,
            "commit": "unknown",
            "kafka_cluster_id": cluster_id(),
            # Not in Connect's answer: which process this is.
            "sync": described.sync,
            "connector": described.name,
            "ordinal": described.ordinal,
        }
        return JSONResponse(body)

    async def well(_: Request) -> Response:
        report = health.report()
        body = {
            "status": report.status,
            "message": report.message,
            "live": report.live,
            "ready": report.ready,
            "degraded": report.degraded,
            "waiting_for": _waiting_for(report),
        }
        return JSONResponse(body, status_code=report.status.http_status)

    async def ready(_: Request) -> Response:
        report = health.report()
        body = {"ready": report.ready, "message": report.message, "waiting_for": _waiting_for(report)}
        return JSONResponse(body, status_code=200 if report.ready else 503)

    async def live(_: Request) -> Response:
        report = health.report()
        body = {"live": report.live, "message": report.message}
        return JSONResponse(body, status_code=200 if report.live else 500)

    async def scrape(_: Request) -> Response:
        return Response(metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def connectors(_: Request) -> Response:
        return JSONResponse([described.name])

    async def connector(request: Request) -> Response:
        _check(request)
        tasks = [{"connector": described.name, "task": int(TASK)}]
        body = {"name": described.name, "config": described.config, "tasks": tasks, "type": described.type}
        return JSONResponse(body)

    async def status(request: Request) -> Response:
        _check(request)
        report = health.report()
        state: dict[str, Any] = {"state": report.state, "worker_id": described.worker_id}
        if report.trace is not None:
            state["trace"] = report.trace
        body = {
            "name": described.name,
            "connector": state,
            "tasks": [{"id": int(TASK), **state}],
            "type": described.type,
        }
        return JSONResponse(body)

    def _check(request: Request) -> None:
        if (asked := request.path_params["connector"]) != described.name:
            raise HTTPException(
                404, f"No status or connector found for {asked}. This worker runs {described.name}."
            )

    routes = [
        Route("/", root),
        Route("/health", well),
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/metrics", scrape),
        Route("/connectors", connectors),
        Route("/connectors/{connector}", connector),
        Route("/connectors/{connector}/status", status),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _refused})


def _waiting_for(report: HealthReport) -> list[dict[str, Any]]:
    return [
        {
            "what": each.what,
            "since": datetime.fromtimestamp(each.since, UTC).isoformat(timespec="seconds"),
            "since_s": round(each.since_s, 1),
            "sentence": each.sentence,
        }
        for each in report.waiting_for
    ]


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {"error_code": error.status_code, "message": error.detail}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


def _bound(host: str, port: int) -> socket.socket:
    try:
        return ports.listening(host, port)
    except OSError as error:
        raise ConfigError(
            f"rest: {host}:{port} cannot be used ({error.strerror or error}). Choose another rest.port, or --port 0 "
            f"for any free port."
        ) from None
