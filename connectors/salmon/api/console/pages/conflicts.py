"""Conflicts: which there were, which wait for a person, and deciding one or many of them (`salmon conflicts`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from salmon.api.console.parts import REASON_MAX, Parts, Question, note
from salmon.api.console.visitors import Visitor
from salmon.api.problems import Problem
from salmon.api.threads import in_thread
from salmon.foreign_json import json_in
from salmon.model.policies import EXISTENCE
from salmon.story.conflicts import ConflictFilter
from salmon.story.formatting import MASKED, side_named
from salmon.story.resolving import Resolved, Take

_OWN: Final = "$own"  # no name of a side
_AT_ONCE_MAX: Final = 200
Pick = tuple[str, str, str]  # object, key, field


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])
    operates = parts.visitors.operates

    @routes.get("/conflicts")
    async def conflicts(
        request: Request,
        object_name: Annotated[str, Query(alias="object")] = "",
        key: str = "",
        field: str = "",
        show: str = "waiting",
    ) -> Response:
        asked = ConflictFilter(
            object_name or None, field=field or None, held=show == "waiting", text=key or None
        )
        page, facts = await in_thread(parts.operations.conflicts, asked)
        rows = [masked(parts, facts[each.id]) for each in page.conflicts]
        return parts.rendering.page(
            request,
            "conflicts.html",
            rows=[(json.dumps([row["object"], row["key"], row["field"]]), row) for row in rows],
            more=page.more,
            names=sorted(parts.api.live().objects),
            asked={"object": object_name, "key": key, "field": field, "show": show},
        )

    @routes.get("/conflicts/resolve")
    async def ask(request: Request, pick: Annotated[list[str] | None, Query()] = None) -> Response:
        picks = picks_of(pick or [])
        page, facts = await in_thread(parts.operations.conflicts, ConflictFilter(held=True))
        about = {
            (row["object"], row["key"], row["field"]): row
            for row in (masked(parts, facts[each.id]) for each in page.conflicts)
        }
        names = parts.api.live().roster.names
        exists = any(each[2] == EXISTENCE for each in picks)
        return parts.ask(
            request,
            Question(
                title="Decide this conflict" if len(picks) == 1 else f"Decide {len(picks)} conflicts",
                action="/conflicts/resolve",
                lines=[
                    *_lines(picks, about),
                    "The value that you choose becomes the agreed value, on all sides.",
                ],
                fields={"pick": [json.dumps(each) for each in picks]},
                button="Decide",
                back=f"{parts.path}/conflicts",
                choices={
                    **{name: f"{side_named(name)} is right" for name in names},
                    **({} if exists else {_OWN: "This value:"}),
                },
                own_value=not exists,
            ),
        )

    @routes.post("/conflicts/resolve")
    async def act(
        request: Request,
        *,
        pick: Annotated[list[str] | None, Form()] = None,
        take: Annotated[str, Form()] = "",
        value: Annotated[str, Form()] = "",
        reason: Annotated[str, Form(max_length=REASON_MAX)] = "",
        visitor: Visitor = operates,
    ) -> Response:
        picks = picks_of(pick or [])
        sides = parts.api.live().roster.names
        if take not in (*sides, _OWN):
            raise Problem(400, "not-chosen", "Choose the side that is right, or give the value.")
        taken = Take.of(None, value) if take == _OWN else Take.of(take, None, sides)
        for name, key, field in picks:
            note(visitor, "resolve", reason, object=name, key=key, field=field)
        by = visitor.caller.name
        resolved = await in_thread(lambda: parts.operations.resolve(picks, taken, by=by, reason=reason))
        back = f"{parts.path}/conflicts"
        return parts.done(request, "Decided", [said_of(each) for each in resolved], back=back)

    return routes


def picks_of(texts: Sequence[str]) -> list[Pick]:
    """The fields of records that a form names. Raises Problem: there are none, or too many, or it is no form of ours."""
    try:
        picks = [(str(name), str(key), str(field)) for name, key, field in map(json_in, texts)]
    except (ValueError, TypeError):
        raise Problem(400, "not-understood", "The conflicts are not named as this page names them.") from None
    if not picks:
        raise Problem(400, "not-chosen", "Mark at least one conflict, and then decide.")
    if len(picks) > _AT_ONCE_MAX:
        raise Problem(400, "too-many", f"At most {_AT_ONCE_MAX} conflicts are decided at once.")
    return list(dict.fromkeys(picks))


def masked(parts: Parts, row: Mapping[str, Any]) -> dict[str, Any]:
    """A conflict without values that are not shown."""
    if row["field"] not in parts.hidden_of(row["object"]):
        return dict(row)
    return {**row, **{edit: {**row[edit], "value": MASKED} for edit in ("standing", "challenger")}}


def _lines(picks: Sequence[Pick], about: Mapping[Pick, Mapping[str, Any]]) -> Iterator[str]:
    for pick in picks:
        name, key, field = pick
        row = about.get(pick)
        what = "whether it exists" if field == EXISTENCE else field
        values = (
            "; ".join(
                f"{side_named(row[edit]['side'])}: {'(empty)' if row[edit]['value'] is None else row[edit]['value']}"
                for edit in ("standing", "challenger")
            )
            if row
            else "the edits are not recorded any more"
        )
        yield f"{name} {key}, {what}: {values}"


def said_of(resolved: Resolved) -> str:
    """What became of a decision, without values."""
    decision = resolved.decision
    record = f"{decision.object} {decision.key}"
    if resolved.after is None:
        return f"{record}: recorded. Merge has not applied it yet: check on the overview that merge runs."
    if not resolved.done:
        return f"{record}: recorded, but edited again since."
    if decision.lives is not None:
        return f"{record}: {'is kept, and created again where it is missing' if decision.lives else 'is deleted on every side'}."
    return f"{record}: {', '.join(decision.fields)} is agreed. All sides get it."
