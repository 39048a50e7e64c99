"""Do both sides and the agreed records match: starting a comparison, its progress and its differences (`salmon verify`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from salmon.api.console.parts import REASON_MAX, Parts, Question, note
from salmon.api.console.visitors import Visitor
from salmon.story.formatting import side_named
from salmon.verify.comparing import UNWANTED, ObjectVerdict

SHOWN_MAX: Final = 100


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])
    operates = parts.visitors.operates

    @routes.get("/verify")
    async def verify(request: Request) -> Response:
        run = parts.operations.comparison
        result = None if run is None else run.result
        found = (
            {} if result is None else {name: list(differences(each)) for name, each in result.objects.items()}
        )
        return parts.rendering.page(
            request,
            "verify.html",
            run=run,
            result=result,
            differences=found,
            names=sorted(parts.api.objects),
            most=SHOWN_MAX,
        )

    @routes.get("/verify/progress")
    async def progress(request: Request) -> Response:
        run = parts.operations.comparison
        headers = {} if run is not None and run.runs else {"HX-Refresh": "true"}
        answer = parts.rendering.page(request, "verify_progress.html", run=run)
        answer.headers.update(headers)
        return answer

    @routes.get("/verify/start")
    async def ask(
        request: Request,
        object_name: Annotated[str, Query(alias="object")] = "",
        repair: Annotated[str, Query(pattern="^(yes)?$")] = "",
    ) -> Response:
        lines = [
            f"{object_name or 'All objects'}: all records of all sides are read, and compared field by field. It may run while the sync runs.",
            "It takes API calls of the org: one for each 2,000 records or so.",
        ]
        if repair:
            lines.append(
                "What differs is read again by the sources, and a missed edit or deletion then goes to the other side."
            )
        return parts.ask(
            request,
            Question(
                title="Compare and repair?" if repair else "Start a comparison?",
                action="/verify/start",
                lines=lines,
                fields={"object": object_name, "repair": repair},
                button="Compare and repair" if repair else "Compare",
                back=f"{parts.path}/verify",
            ),
        )

    @routes.post("/verify/start")
    async def act(
        request: Request,
        object_name: Annotated[str, Form(alias="object")] = "",
        repair: Annotated[str, Form(pattern="^(yes)?$")] = "",
        reason: Annotated[str, Form(max_length=REASON_MAX)] = "",
        visitor: Visitor = operates,
    ) -> Response:
        note(visitor, "verify", reason, object=object_name or None, repair=bool(repair))
        objects = [object_name] if object_name else []
        began = parts.operations.compare(objects, repair=bool(repair), by=visitor.caller.name)
        title = "The comparison has begun" if began else "A comparison runs already"
        return parts.done(
            request, title, ["Its progress is on the page Verify."], back=f"{parts.path}/verify"
        )

    return routes


def differences(verdict: ObjectVerdict) -> Iterator[tuple[str, str]]:
    """Key, and what differs: fields by name, and never a value."""
    for key, sides in verdict.different.items():
        yield (
            key,
            "; ".join(
                f"differs in {side_named(side)}: {', '.join(fields)}" for side, fields in sides.items()
            ),
        )
    for where, keys in verdict.missing_in.items():
        for key in keys:
            yield key, f"is missing in {side_named(where)}"
    for waiting in verdict.parked:
        what = ", ".join(waiting.fields) or "the whole record"
        code = f" ({waiting.code})" if waiting.code else ""
        if waiting.why == UNWANTED:
            yield waiting.key, f"stays in {side_named(waiting.side)}, whose filter does not want it"
        else:
            yield waiting.key, f"waits in {side_named(waiting.side)}: {what}, {waiting.why.lower()}{code}"
    for key, why in verdict.remains.items():
        yield key, f"still differs after the repair ({why.lower().replace('_', ' ')})"
