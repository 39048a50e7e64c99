"""Dead letters: records that could not be processed; showing, replaying and discarding them (`salmon dlq`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import Response

from salmon.api.console.parts import REASON_MAX, Parts, Question, note
from salmon.api.console.visitors import Visitor
from salmon.api.problems import Problem
from salmon.api.threads import in_thread
from salmon.dlq.letters import LetterFilter, StoredLetter
from salmon.dlq.replaying import DealtWith, Mend
from salmon.errors import ConfigError, DataError
from salmon.story.formatting import MASKED


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])
    operates = parts.visitors.operates

    @routes.get("/letters/{letter_id:path}")
    async def letter(request: Request, letter_id: str) -> Response:
        letter, done, plan, fields = await in_thread(parts.operations.letter, letter_id)
        hidden = parts.hidden_in(letter)
        shown = {name: MASKED if name in hidden else value for name, value in (fields or {}).items()}
        return parts.rendering.page(
            request,
            "letter.html",
            letter=letter,
            reason=parts.reason_of(letter),
            done=done,
            plan=plan,
            fields=shown,
        )

    @routes.get("/edit")
    async def correct(request: Request, letter: str) -> Response:
        found, text = await in_thread(lambda: parts.operations.draft(letter, hidden_in=parts.hidden_in))
        return _form(request, found.id, text)

    def _form(
        request: Request, letter_id: str, text: str, *, trouble: str = "", reason: str = ""
    ) -> Response:
        return parts.rendering.page(
            request,
            "edit.html",
            code=400 if trouble else 200,
            letter_id=letter_id,
            text=text,
            trouble=trouble,
            reason=reason,
        )

    @routes.post("/edit")
    async def send(
        request: Request,
        *,
        letter: Annotated[str, Form()],
        text: Annotated[str, Form()] = "",
        reason: Annotated[str, Form(max_length=REASON_MAX)] = "",
        visitor: Visitor = operates,
    ) -> Response:
        note(visitor, "edit", reason, letters=[letter])
        by = visitor.caller.name
        try:
            plan = await in_thread(lambda: parts.operations.edit(letter, text, by=by, reason=reason))
        except (ConfigError, DataError) as error:  # what the person has written is not lost
            return _form(request, letter, text, trouble=str(error), reason=reason)
        return parts.done(request, "Sent", [plan.says], back=f"{parts.path}/refused")

    @routes.get("/deal")
    async def ask(
        request: Request,
        action: str,
        letter: Annotated[list[str] | None, Query()] = None,
        object_name: Annotated[str, Query(alias="object")] = "",
        code: str = "",
    ) -> Response:
        replays = _replays(action)
        asked = filter_of(letter or [], object_name, code)
        dealt = await in_thread(lambda: _dealt(parts, asked, replays=replays, by="", reason="", dry_run=True))
        return parts.ask(
            request,
            Question(
                title=f"{'Replay' if replays else 'Discard'} {_counted(len(dealt.letters))}?",
                action="/deal",
                lines=_lines(dealt)
                if replays
                else [
                    "They are no longer listed. Nothing else happens: a value that a side refused stays where it was entered."
                ],
                fields={"action": action, "letter": letter or [], "object": object_name, "code": code},
                button="Replay" if replays else "Discard",
                back=f"{parts.path}/refused",
                dangerous=not replays,
            ),
        )

    @routes.post("/deal")
    async def act(
        request: Request,
        *,
        action: Annotated[str, Form()],
        letter: Annotated[list[str] | None, Form()] = None,
        object_name: Annotated[str, Form(alias="object")] = "",
        code: Annotated[str, Form()] = "",
        reason: Annotated[str, Form(max_length=REASON_MAX)] = "",
        visitor: Visitor = operates,
    ) -> Response:
        replays, by = _replays(action), visitor.caller.name
        asked = filter_of(letter or [], object_name, code)
        note(visitor, action, reason, letters=letter or None, object=object_name or None, code=code or None)
        dealt = await in_thread(lambda: _dealt(parts, asked, replays=replays, by=by, reason=reason))
        left = sum(each.plan.mend is Mend.NONE for each in dealt.letters)
        lines = [
            f"{_counted(len(dealt.letters) - left)} {'replayed' if replays else 'discarded'}.",
            *_lines(dealt),
        ]
        return parts.done(request, "Done", lines, back=f"{parts.path}/refused")

    return routes


def _replays(action: str) -> bool:
    if action not in {"replay", "discard"}:
        raise Problem(400, "not-understood", "action: must be replay or discard.")
    return action == "replay"


def filter_of(ids: Sequence[str], name: str, code: str) -> LetterFilter:
    """Which letters a form is about. Raises Problem: it names none."""
    if not (ids or name or code):
        raise Problem(400, "not-chosen", "Mark at least one dead letter, or choose a group.")
    return LetterFilter(tuple(ids), subject=name or None, code=code or None)


def _dealt(parts: Parts, asked: LetterFilter, *, replays: bool, **how: Any) -> DealtWith:
    return (parts.operations.replay if replays else parts.operations.discard)(asked, **how)


def _counted(number: int) -> str:
    return f"{number:,} dead {'letter' if number == 1 else 'letters'}"


def _lines(dealt: DealtWith) -> list[str]:
    counts = Counter(each.plan.says for each in dealt.letters)
    lines = [f"{count:,}: {sentence}" for sentence, count in counts.items()]
    if dealt.before:
        lines.append(f"{dealt.before:,} had been dealt with before.")
    if dealt.more:
        lines.append("There are more: do the same again.")
    return lines


def groups_of(letters: Sequence[StoredLetter]) -> list[tuple[str, str, int]]:
    """Object, code and how many; the largest group first."""
    counts = Counter((letter.subject, letter.code) for letter in letters)
    return [(name, code, count) for (name, code), count in counts.most_common()]
