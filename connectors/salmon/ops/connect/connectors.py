"""
The routes under /connectors: what a connector is, how it is, and what a person asks of it.

As any worker of Kafka Connect, a process answers for each connector of its sync: a request goes through the status topic, so it
does not matter which process stores it. Only offsets and topics are asked of the connector's own process.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from salmon.ops.connect.access import Refused
from salmon.ops.connect.bodies import (
    Expanded,
    Info,
    Message,
    Offsets,
    Status,
    TaskInfo,
    TaskState,
    TopicNames,
)
from salmon.ops.connect.described import Served
from salmon.ops.connect.own import Own
from salmon.ops.connect.status_topic import Target
from salmon.ops.health import State

Expand = Annotated[list[Literal["status", "info"]], Query()]
InCluster = Annotated[
    bool, Query(alias="cluster", description="Of all connectors of the sync, and all their replicas.")
]
_FROM_A_FILE: Final = "The connectors of a sync are made by `salmon run`, from its configuration file. Change the file, and start the processes again."
_NO_TRACKING: Final = (
    "The topics of a connector follow from its configuration, so there is no tracking to reset."
)


def router(served: Served) -> APIRouter:
    """Their routes."""
    routes = APIRouter(prefix="/connectors", tags=["connectors"])
    own = Own(served)
    _add_reads(routes, own)
    _add_requests(routes, own)
    _add_offsets(routes, own)
    _add_refusals(routes, own)
    return routes


def _add_reads(routes: APIRouter, own: Own) -> None:
    """What it is, and how it is."""

    @routes.get("", response_model=list[str] | dict[str, Expanded], response_model_exclude_none=True)
    def all_connectors(expand: Expand = [], everywhere: InCluster = False) -> Any:  # noqa: B006 - FastAPI copies it
        """The names of the connectors; with `expand`, a map of them."""
        found = own.all(everywhere=everywhere)
        if not expand:
            return list(found)
        left_out = {"info", "status"}.difference(expand)
        return {name: each.model_copy(update=dict.fromkeys(left_out)) for name, each in found.items()}

    @routes.get("/{connector}")
    def one(connector: str, everywhere: InCluster = False) -> Info:
        """A connector and its configuration."""
        return own.one(connector, everywhere=everywhere).info or own.info

    @routes.get("/{connector}/config")
    def config(connector: str) -> dict[str, str]:
        """The configuration. References are not resolved, and secrets are hidden."""
        return (own.one(connector, everywhere=False).info or own.info).config

    @routes.get("/{connector}/status", response_model_exclude_none=True)
    def its_status(connector: str, everywhere: InCluster = False) -> Status:
        """The state of a connector and its tasks."""
        return own.one(connector, everywhere=everywhere).status or own.status()

    @routes.get("/{connector}/tasks")
    def tasks(connector: str) -> list[TaskInfo]:
        """The tasks of a connector."""
        info = own.one(connector, everywhere=False).info or own.info
        return [TaskInfo(id=each, config=info.config) for each in info.tasks]

    @routes.get("/{connector}/tasks/{number}/status", response_model_exclude_none=True)
    def task_status(connector: str, number: int) -> TaskState:
        """The state of a task."""
        return own.task_state(connector, number)

    @routes.get("/{connector}/topics")
    def topics(connector: str) -> dict[str, TopicNames]:
        """The topics that the connector uses."""
        own.named(connector)
        return {own.described.name: TopicNames(topics=sorted(own.described.topics))}


def _add_requests(routes: APIRouter, own: Own) -> None:
    """What a person asks of it."""

    @routes.put("/{connector}/pause", status_code=202, response_class=Response)
    def pause(connector: str) -> Response:
        """Let all replicas finish what is in flight, and do nothing more until they are resumed."""
        own.in_sync(connector)
        own.asks().ask_for(Target.PAUSED, connector)
        return Response(status_code=202)

    @routes.put("/{connector}/resume", status_code=202, response_class=Response)
    def resume(connector: str) -> Response:
        """Continue after a pause or a stop."""
        own.in_sync(connector)
        own.asks().ask_for(Target.STARTED, connector)
        return Response(status_code=202)

    @routes.put("/{connector}/stop", status_code=204, response_class=Response)
    def stop(connector: str) -> Response:
        """As a pause; and the offsets can be changed afterwards."""
        own.in_sync(connector)
        own.asks().ask_for(Target.STOPPED, connector)
        return Response(status_code=204)

    @routes.post(
        "/{connector}/restart",
        status_code=204,
        response_class=Response,
        responses={202: {"model": Status, "description": "What is restarted."}},
    )
    def restart(
        connector: str,
        include_tasks: Annotated[bool, Query(alias="includeTasks")] = False,
        only_failed: Annotated[bool, Query(alias="onlyFailed")] = False,
    ) -> Response:
        """Restart all replicas; with `onlyFailed`, only if the one that is shown has failed. A replica is one process, with its task."""
        plan = own.one(connector, everywhere=False).status or own.status()
        if not only_failed or plan.connector.state == State.FAILED:
            own.asks().ask_for_restart(None, connector)
            for each in (plan.connector, *plan.tasks):
                each.state = State.RESTARTING
        if not include_tasks and not only_failed:
            return Response(status_code=204)
        return JSONResponse(plan.model_dump(exclude_none=True), status_code=202)

    @routes.post("/{connector}/tasks/{number}/restart", status_code=204, response_class=Response)
    def restart_task(connector: str, number: int) -> Response:
        """Restart one replica."""
        own.in_sync(connector)
        if not own.has_task(connector, number):
            raise Refused(404, f"{connector} has no task {number}.")
        own.asks().ask_for_restart(number, connector)
        return Response(status_code=204)


def _add_offsets(routes: APIRouter, own: Own) -> None:
    """Where it continues."""

    @routes.get("/{connector}/offsets")
    def offsets(connector: str) -> Offsets:
        """Where the connector continues."""
        own.named(connector)
        return Offsets(offsets=own.places().read())

    @routes.patch("/{connector}/offsets")
    def alter(connector: str, body: Offsets) -> Message:
        """Let a stopped connector continue elsewhere. What would lose changes is refused."""
        own.named(connector)
        if not body.offsets:
            raise Refused(400, "offsets: name at least one partition.")
        return Message(message=own.places_to_change().alter(body.offsets))

    @routes.delete("/{connector}/offsets")
    def reset(connector: str) -> Message:
        """Let a stopped connector begin again everywhere."""
        own.named(connector)
        return Message(message=own.places_to_change().reset())


def _add_refusals(routes: APIRouter, own: Own) -> None:
    """What Kafka Connect offers, and we do not."""

    @routes.put("/{connector}/topics/reset", include_in_schema=False)
    def forget_topics(connector: str) -> Response:
        own.named(connector)
        raise Refused(403, _NO_TRACKING)

    @routes.api_route("", methods=["POST"], include_in_schema=False)
    def create() -> Response:
        raise Refused(405, _FROM_A_FILE, {"Allow": "GET"})

    @routes.api_route("/{connector}", methods=["DELETE"], include_in_schema=False)
    def delete(connector: str) -> Response:
        own.named(connector)
        raise Refused(405, _FROM_A_FILE, {"Allow": "GET"})

    @routes.api_route("/{connector}/config", methods=["PUT", "PATCH"], include_in_schema=False)
    def configure(connector: str) -> Response:
        own.named(connector)
        raise Refused(405, _FROM_A_FILE, {"Allow": "GET"})
