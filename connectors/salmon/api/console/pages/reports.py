"""The reports: which there are, and each as a chart with a table, which follow the records (server-sent events)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from salmon.api.console.charts import chart_of, named
from salmon.api.console.parts import Parts
from salmon.api.reports.computing import Result
from salmon.api.reports.routes import csv_of, stream_of
from salmon.api.reports.showing import cells_of, columns_of
from salmon.api.threads import in_thread


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])
    reports = parts.api.reports

    @routes.get("/reports")
    async def all_reports(request: Request) -> Response:
        return parts.rendering.page(request, "reports.html", reports=reports.usable, faults=reports.faults)

    @routes.get("/reports/{name}")
    async def report(request: Request, name: str) -> Response:
        result = await in_thread(reports.computing.result, name)

        def work() -> Response:
            shown = Markup(live_of(result))  # a template has escaped the values
            return parts.rendering.page(request, "report.html", report=result.bound.report, shown=shown)

        return await in_thread(work)

    @routes.get("/reports/{name}/live")
    async def live(request: Request, name: str) -> Response:
        def shown(result: Result) -> list[str]:
            return live_of(result).splitlines()

        reports.computing.bound(name)
        caller = request.state.visitor.caller
        return await stream_of(reports, name, caller, shown, is_over=parts.watching.closing.is_set)

    @routes.get("/reports/{name}/csv")
    async def csv(name: str) -> Response:
        return await in_thread(csv_of, await in_thread(reports.computing.result, name), None)

    def live_of(result: Result) -> str:
        """The part of the page that follows the records: the same for all who look."""
        return result.text(
            "console", lambda: parts.rendering.text("report_live.html", **facts_of(parts, result))
        )

    return routes


def facts_of(parts: Parts, result: Result) -> dict[str, Any]:
    """What the page shows of a report."""
    labels = _labels(parts, result.bound.report.object)
    columns = columns_of(result.bound)
    rows = []
    for row in result.rows:
        cells = list(cells_of(result, row, columns))
        for n, each in enumerate(columns):
            if each.role == "group" and result.bound.groups[each.place].label is None:
                cells[n] = named(result.bound.groups[each.place], row, each.place, result, labels)
        rows.append(cells)
    return {
        "result": result,
        "report": result.bound.report,
        "columns": columns,
        "rows": rows,
        "chart": chart_of(result, labels),
    }


def _labels(parts: Parts, name: str) -> Mapping[str, Mapping[Any, str]]:
    """Picklist -> value -> what the org shows for it."""
    of = parts.api.objects.get(name)
    fields = {} if of is None else of.described.fields
    return {
        field: {choice.value: choice.label for choice in each.choices}
        for field, each in fields.items()
        if each.choices
    }
