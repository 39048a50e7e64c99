"""The routes of the reports: which there are, one as JSON or CSV, and as a stream that shows it again when it changes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field
from pydantic.config import JsonDict

from salmon.api.access import require
from salmon.api.grants import Caller
from salmon.api.handle import Api
from salmon.api.problems import at_fault, described
from salmon.api.reports.computing import Result
from salmon.api.reports.opening import Reports
from salmon.api.reports.showing import CSV, about_dict, as_csv, as_dict, columns_of
from salmon.api.streams import Streamed, lasting
from salmon.api.threads import in_thread

HEARTBEAT_S: Final = 10.0
_LOOK_S: Final = 1.0  # whether the process ends
_EVENTS: Final = "text/event-stream"


class ColumnBody(BaseModel):
    """One column of a report."""

    name: str
    role: str = Field(description="group, label (the Name of the record that a lookup points to) or measure.")
    label: str
    type: str
    every: str | None = Field(default=None, description="Of a group: how long its buckets are.")
    how: str | None = Field(default=None, description="Of a measure: count, sum, avg, min or max.")
    field: str | None = Field(default=None, description="Of a measure: the field.")


class ReportAbout(BaseModel):
    """What a report is."""

    name: str
    title: str
    object: str
    chart: str
    columns: list[ColumnBody]


class ReportBody(ReportAbout):
    """A report as it is now. Each row has a value for each column; null for records in which a group's field is empty."""

    rows: list[dict[str, Any]]
    more: bool = Field(description="Whether there are more rows than the report's limit.")
    as_of: str


def router(api: Api) -> APIRouter:
    """Their routes."""
    routes = APIRouter(prefix="/api/v1/reports", tags=["reports"])
    whoever, reports = api.access.whoever, api.reports
    named = _named(reports)
    api.models.extend((ReportAbout, ReportBody))
    failures = described(401, 403, 404, 409, 429, 503)

    @routes.get(
        "",
        summary="The reports",
        responses={200: _content({"type": "object"}), **described(401, 403, 429)},
    )
    async def all_reports(caller: Caller = whoever) -> Any:
        """The reports of those objects that the caller may read, with their columns and addresses."""
        return {
            "reports": [
                {**about_dict(each, caller), "href": f"/api/v1/reports/{name}"}
                for name, each in reports.usable.items()
                if caller.may("read", each.report.object)
            ]
        }

    @routes.get(
        "/{name}",
        summary="Read a report",
        responses={
            200: {
                "description": "The report.",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/ReportBody"}},
                    "text/csv": {"schema": {"type": "string"}},
                },
            },
            **failures,
            **described(400),
        },
        openapi_extra={"parameters": [_format()]},
    )
    async def report(request: Request, name: str = named, caller: Caller = whoever) -> Response:
        """Counted and summed up by MongoDB at this moment. CSV by `format=csv`, or by the header Accept."""
        wants_csv = _wants_csv(request)
        _require_readable(api, name, caller)
        result = await in_thread(reports.computing.result, name)
        return await in_thread(csv_of if wants_csv else _json_of, result, caller)

    @routes.get(
        "/{name}/live",
        response_class=StreamingResponse,
        summary="Follow a report",
        responses={
            200: {"description": "Server-sent events.", "content": {_EVENTS: {"schema": {"type": "string"}}}},
            **failures,
        },
    )
    async def live(request: Request, name: str = named, caller: Caller = whoever) -> StreamingResponse:
        """
        The report now, and again within a second of each change: events named `report`, whose data is the report as JSON. The stream ends after five
        minutes; come back then.
        """
        _require_readable(api, name, caller)

        def shown(result: Result) -> list[str]:
            return [_json_text(result, caller)]

        return await stream_of(reports, name, caller, shown, is_over=api.closing.is_set)

    return routes


def _require_readable(api: Api, name: str, caller: Caller) -> None:
    """
    Raise Problem if the caller may not read the report. What is wrong with one that does not fit names fields and masks of its object, so it
    is for those who may read the object.
    """
    if (said := api.live().reports.get(name)) is not None:
        require(caller, "read", said.object)
    require(caller, "read", api.reports.computing.bound(name).report.object)


def _json_text(result: Result, caller: Caller) -> str:
    return result.text(
        ("json", *_names(result, caller)),
        lambda: json.dumps(
            as_dict(result, caller), ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ),
    )


def _json_of(result: Result, caller: Caller) -> Response:
    return Response(_json_text(result, caller), media_type="application/json")


def csv_of(result: Result, caller: Caller | None) -> Response:
    """The report as a file."""
    disposition = f'attachment; filename="{result.bound.name}.csv"'
    text = result.text((CSV, *_names(result, caller)), lambda: as_csv(result, caller))
    return Response(text, media_type=CSV, headers={"Content-Disposition": disposition})


def _names(result: Result, caller: Caller | None) -> list[str]:
    """The columns that the caller may see: all that its answer depends on."""
    return [each.name for each in columns_of(result.bound, caller)]


async def stream_of(
    reports: Reports,
    name: str,
    caller: Caller,
    shown: Callable[[Result], list[str]],
    *,
    is_over: Callable[[], bool],
) -> Streamed:
    """
    A stream of a report: as it is now, and again when it is otherwise.

    Args:
        shown: The lines of an event. Runs in a thread.

    Raises:
        Problem: see Streams.begin(). SalmonError: MongoDB does not serve us.
    """
    streams, opened = reports.streams, ExitStack()
    streams.begin(caller.name)
    opened.callback(streams.end, caller.name)
    try:
        # First the viewer: what changes while the first answer is worked out is not missed.
        viewer = opened.enter_context(reports.following.looking(name))
        first = await streams.in_thread(reports.computing.result, name)
    except BaseException:
        opened.close()
        raise

    async def events() -> AsyncIterator[str]:
        may_go_on, last, spoke_at = lasting(), first, time.monotonic()
        yield "retry: 2000\n\n" + _event(await streams.in_thread(shown, last))
        while may_go_on() and not (is_over() or reports.following.is_closed):
            newest = await viewer.next(_LOOK_S)
            if newest is not None and newest.began > last.began and not newest.says_the_same(last):
                last = newest
                yield _event(await streams.in_thread(shown, last))
            elif time.monotonic() - spoke_at < HEARTBEAT_S:
                continue
            else:
                yield ": still here\n\n"
            spoke_at = time.monotonic()

    async def ended() -> None:
        opened.close()

    return Streamed(events(), ended)


def _event(lines: list[str]) -> str:
    return "event: report\n" + "".join(f"data: {line}\n" for line in lines) + "\n"


def _wants_csv(request: Request) -> bool:
    for name in request.query_params:
        if name != "format":
            raise at_fault(ascii(name[:80])[1:-1], "unknown-parameter", "a report takes `format` alone")
    said = request.query_params.get("format")
    if said is None:
        accepted = request.headers.get("accept", "")
        return "text/csv" in accepted and "application/json" not in accepted
    if said not in {"json", "csv"}:
        raise at_fault("format", "unknown-word", "must be json or csv")
    return said == "csv"


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Done.", "content": {"application/json": {"schema": schema}}}


def _named(reports: Reports) -> Any:
    """A dependency: the name in the path, one of those that are there."""
    known: JsonDict = {"enum": list(reports.usable)} if reports.usable else {}
    return Path(json_schema_extra=known)


def _format() -> dict[str, Any]:
    return {
        "name": "format",
        "in": "query",
        "description": "Without it, the header Accept counts.",
        "schema": {"type": "string", "enum": ["json", "csv"]},
    }
