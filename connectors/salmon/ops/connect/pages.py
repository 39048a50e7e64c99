"""The pages that need no credentials: which process answers, how it is, and its metrics. They only read, and never wait."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from salmon import __version__
from salmon.ops.connect.bodies import HealthBody, Live, Ready, Root, WaitingBody
from salmon.ops.connect.described import Served
from salmon.ops.health import HealthReport


def router(served: Served) -> APIRouter:
    """Their routes."""
    routes = APIRouter(tags=["pages"])
    described, health = served.described, served.health

    @routes.get("/")
    async def root() -> Root:
        """Which process answers."""
        return Root(
            version=__version__,
            commit="unknown",
            kafka_cluster_id=served.cluster_id(),
            sync=described.sync,
            connector=described.name,
            ordinal=described.ordinal,
        )

    @routes.get(
        "/health",
        response_model=HealthBody,
        responses={500: {"model": HealthBody}, 503: {"model": HealthBody}},
    )
    async def well() -> Response:
        """How the process is, what it waits for, and what to do."""
        report = health.report()
        body = HealthBody(
            status=report.status.value,
            message=report.message,
            live=report.live,
            ready=report.ready,
            degraded=report.degraded,
            notes=list(report.notes),
            waiting_for=_waiting_for(report),
        )
        return JSONResponse(body.model_dump(), status_code=report.status.http_status)

    @routes.get("/health/ready", response_model=Ready, responses={503: {"model": Ready}})
    async def ready() -> Response:
        """Whether the process does its work."""
        report = health.report()
        body = Ready(ready=report.ready, message=report.message, waiting_for=_waiting_for(report))
        return JSONResponse(body.model_dump(), status_code=200 if report.ready else 503)

    @routes.get("/health/live", response_model=Live, responses={500: {"model": Live}})
    async def live() -> Response:
        """Whether the process need not be killed."""
        report = health.report()
        body = Live(live=report.live, message=report.message)
        return JSONResponse(body.model_dump(), status_code=200 if report.live else 500)

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def scrape() -> Response:
        """The metrics, in Prometheus' text format."""
        return Response(served.metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    return routes


def _waiting_for(report: HealthReport) -> list[WaitingBody]:
    return [
        WaitingBody(
            what=each.what,
            since=datetime.fromtimestamp(each.since, UTC).isoformat(timespec="seconds"),
            since_s=round(each.since_s, 1),
            sentence=each.sentence,
        )
        for each in report.waiting_for
    ]
