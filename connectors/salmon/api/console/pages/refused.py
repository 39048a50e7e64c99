"""What the sides have refused, grouped by why, and sending it again after the reason is removed (`salmon retry`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from salmon.api.console.pages.letters import groups_of as letter_groups
from salmon.api.console.parts import REASON_MAX, Parts, Question, note
from salmon.api.console.visitors import Visitor
from salmon.api.threads import in_thread
from salmon.dlq.letters import LetterFilter
from salmon.story.formatting import side_named
from salmon.story.retrying import RefusalFilter, RefusedWrite

_KEYS_SHOWN: Final = 20


@dataclass(slots=True)
class Group:
    """What was refused for the same reason. *keys*: of its records, in order."""

    object: str
    side: str
    code: str
    fields: tuple[str, ...]
    misfit: bool
    keys: dict[str, None] = field(default_factory=dict)

    @property
    def shown(self) -> list[str]:
        return list(self.keys)[:_KEYS_SHOWN]


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])
    operates = parts.visitors.operates

    @routes.get("/refused")
    async def refused(request: Request) -> Response:
        found = await in_thread(parts.operations.refused, RefusalFilter())
        letters = await in_thread(parts.operations.letters, LetterFilter())
        return parts.rendering.page(
            request,
            "refused.html",
            groups=groups_of(found),
            letters=letters.letters,
            letter_groups=letter_groups([letter for letter, _ in letters.letters]),
            more=letters.more,
            reason_of=parts.reason_of,
        )

    @routes.get("/retry")
    async def ask(
        request: Request,
        object_name: Annotated[str, Query(alias="object")],
        key: str = "",
        code: str = "",
        field_name: Annotated[str, Query(alias="field")] = "",
    ) -> Response:
        asked = _filter(object_name, key, code, field_name)
        found = await in_thread(parts.operations.refused, asked)
        records = len({(each.object, each.key) for each in found})
        lines = [
            f"{each.object}: {len(each.keys):,} refused by {side_named(each.side)}, {each.code}: {', '.join(each.shown)}"
            for each in groups_of(found)
        ] or ["Nothing that was refused matches any more."]
        return parts.ask(
            request,
            Question(
                title=f"Send {records:,} {'record' if records == 1 else 'records'} again?",
                action="/retry",
                lines=[*lines, "What is refused again waits again. It is safe to do this twice."],
                fields={"object": object_name, "key": key, "code": code, "field": field_name},
                button="Send again",
                back=f"{parts.path}/refused",
            ),
        )

    @routes.post("/retry")
    async def act(
        request: Request,
        *,
        object_name: Annotated[str, Form(alias="object")],
        key: Annotated[str, Form()] = "",
        code: Annotated[str, Form()] = "",
        field_name: Annotated[str, Form(alias="field")] = "",
        reason: Annotated[str, Form(max_length=REASON_MAX)] = "",
        visitor: Visitor = operates,
    ) -> Response:
        note(
            visitor,
            "retry",
            reason,
            object=object_name,
            key=key or None,
            code=code or None,
            field=field_name or None,
        )
        asked, by = _filter(object_name, key, code, field_name), visitor.caller.name
        sent = await in_thread(lambda: parts.operations.retry(asked, by=by, reason=reason))
        records = len({(each.object, each.key) for each in sent})
        lines = [
            f"{records:,} {'record is' if records == 1 else 'records are'} sent again, at once if merge runs. What is refused again is listed again."
        ]
        return parts.done(request, "Sent again", lines, back=f"{parts.path}/refused")

    return routes


def _filter(name: str, key: str, code: str, field_name: str) -> RefusalFilter:
    return RefusalFilter(name, key or None, code or None, field_name or None)


def groups_of(found: Sequence[RefusedWrite]) -> list[Group]:
    """Group by object, side, code and fields; the largest first."""
    groups: dict[tuple[object, ...], Group] = {}
    for each in found:
        code = next(iter(each.codes), "")
        fields = each.fields or (("the whole record",) if each.whole else ())
        of = groups.setdefault(
            (each.object, each.side, code, fields, each.misfit),
            Group(each.object, each.side, code, fields, each.misfit),
        )
        of.keys[each.key] = None
    return sorted(groups.values(), key=lambda group: -len(group.keys))
