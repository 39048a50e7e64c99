"""
The pages that need no credentials: which process answers, how it is, and its metrics. They only read, and never wait.

They know nothing of FastAPI, so that a process that is asked for no more need not import it (see ops.rest). Their routes and
their description: page_routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from salmon import __version__
from salmon.ops.connect.bodies import HealthBody, Live, Ready, Root, WaitingBody
from salmon.ops.connect.described import Served
from salmon.ops.health import HealthReport


class Page(Protocol):
    """Answers a request for a page."""

    __name__: str

    def __call__(self, served: Served, /) -> Response: ...


def root(served: Served) -> Response:
    """Which process answers."""
    described = served.described
    body = Root(
        version=__version__,
        commit="unknown",
        kafka_cluster_id=served.cluster_id(),
        sync=described.sync,
        connector=described.name,
        ordinal=described.ordinal,
    )
    return JSONResponse(body.model_dump())


def well(served: Served) -> Response:
    """How the process is, what it waits for, and what to do."""
    report = served.health.report()
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


def ready(served: Served) -> Response:
    """Whether the process does its work."""
    report = served.health.report()
    body = Ready(ready=report.ready, message=report.message, waiting_for=_waiting_for(report))
    return JSONResponse(body.model_dump(), status_code=200 if report.ready else 503)


def live(served: Served) -> Response:
    """Whether the process need not be killed."""
    report = served.health.report()
    body = Live(live=report.live, message=report.message)
    return JSONResponse(body.model_dump(), status_code=200 if report.live else 500)


def scrape(served: Served) -> Response:
    """The metrics, in Prometheus' text format."""
    return Response(served.metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})


PAGES: Final[Mapping[str, Page]] = {
    "/": root,
    "/health": well,
    "/health/ready": ready,
    "/health/live": live,
    "/metrics": scrape,
}


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
