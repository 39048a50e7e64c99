"""One record: what each side has and what is agreed, why it waits, and everything that happened to it (`salmon why`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from salmon.api.console.parts import REASON_MAX, Parts, Question, note
from salmon.api.console.visitors import Visitor
from salmon.api.handle import Api
from salmon.api.threads import in_thread
from salmon.model.policies import EXISTENCE
from salmon.model.state import Park
from salmon.mongodb.keys import ids_of, key_of, keys_of_untyped
from salmon.mongodb.wire.client import border
from salmon.salesforce.ids import id18
from salmon.story.formatting import MASKED, side_named
from salmon.story.reading import Story

_FOUND_MAX: Final = 20
_SEARCH_MAX_MS: Final = 3_000
_ENTRIES_MAX: Final = 200
# What names a record in a list: the first of these that its object has.
_NAMES: Final = ("Name", "LastName", "CaseNumber", "Subject", "Title", "DeveloperName")


@dataclass(frozen=True, slots=True)
class Hit:
    """A record that a search has found."""

    object: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Row:
    """One field: the agreed value, and what each side has. *differs*: the sides with another one."""

    field: str
    agreed: Any
    on: Mapping[str, Any]
    differs: frozenset[str]


def routes(parts: Parts) -> APIRouter:
    routes = APIRouter(dependencies=[parts.visitors.views])
    operates = parts.visitors.operates

    @routes.get("/records")
    async def search(
        request: Request,
        q: Annotated[str, Query(max_length=300)] = "",
        object_name: Annotated[str, Query(alias="object")] = "",
    ) -> Response:
        text = q.strip()
        hits = await in_thread(lambda: list(found(parts, text, object_name))) if text else []
        if len(hits) == 1 and hits[0].key == text:
            return RedirectResponse(_page_of(parts, hits[0].object, hits[0].key), status_code=303)
        names = sorted(parts.api.objects)
        return parts.rendering.page(
            request, "records.html", q=text, object=object_name, hits=hits, names=names, most=_FOUND_MAX
        )

    @routes.get("/records/{name}/{key:path}")
    async def record(request: Request, name: str, key: str) -> Response:
        hidden = parts.hidden_of(name)
        story = await in_thread(lambda: parts.operations.story(name, key, hidden=hidden))
        sides = list(story.now.sides)
        return parts.rendering.page(
            request,
            "record.html",
            story=story,
            sides=sides,
            rows=list(rows_of(story)),
            entries=story.entries[-_ENTRIES_MAX:][::-1],
            earlier=max(0, len(story.entries) - _ENTRIES_MAX),
            on_hold=[json.dumps([name, story.key, field]) for field in on_hold(story)],
            can_retry=can_retry(story),
        )

    @routes.get("/read-again")
    async def ask(request: Request, key: str, object_name: Annotated[str, Query(alias="object")]) -> Response:
        return parts.ask(
            request,
            Question(
                title="Read this record again?",
                action="/read-again",
                lines=(
                    f"{object_name} {key} is read again on each side that is read.",
                    "What was missed goes to the other side. An edit that the sync knows is not undone.",
                ),
                fields={"object": object_name, "key": key},
                button="Read again",
                back=_page_of(parts, object_name, key),
            ),
        )

    @routes.post("/read-again")
    async def act(
        request: Request,
        key: Annotated[str, Form()],
        object_name: Annotated[str, Form(alias="object")],
        reason: Annotated[str, Form(max_length=REASON_MAX)] = "",
        visitor: Visitor = operates,
    ) -> Response:
        by = visitor.caller.name
        note(visitor, "read_again", reason, object=object_name, key=key)
        asked = await in_thread(lambda: parts.operations.read_again(object_name, key, by=by, reason=reason))
        lines = [
            f"{', '.join(map(side_named, asked))}: the source was asked. It reads the record at once, if it runs."
        ]
        return parts.done(request, "Asked to read it again", lines, back=_page_of(parts, object_name, key))

    return routes


def _page_of(parts: Parts, name: str, key: str) -> str:
    return f"{parts.path}/records/{quote(name)}/{quote(key, safe='')}"


def found(parts: Parts, text: str, name: str) -> Iterator[Hit]:
    """Search MongoDB: by key, by Salesforce Id, and by what the record is called."""
    left = _FOUND_MAX
    for each in [name] if name in parts.api.objects else sorted(parts.api.objects):
        for hit in _found_in(parts.api, each, text, parts.hidden_of(each), left):
            left -= 1
            yield hit
        if left <= 0:
            return


def _found_in(api: Api, name: str, text: str, hidden: frozenset[str], most: int) -> Iterator[Hit]:
    paths = api.objects[name].shape.path
    called = next((each for each in _NAMES if each in paths and each not in hidden), None)
    ids = ids_of([text, *keys_of_untyped(text), *filter(None, [id18(text)])])
    wanted: list[dict[str, Any]] = [{"_id": {"$in": ids}}]
    if called is not None:
        wanted.append({paths[called]: {"$regex": re.escape(text), "$options": "i"}})
    shown = {} if called is None else {paths[called]: 1}
    with border("searching for records"):
        documents = [
            document
            for collection in api.collections(name)
            for document in collection.find({"$or": wanted}, {"_id": 1, **shown})
            .limit(most)
            .max_time_ms(_SEARCH_MAX_MS)
        ]
    for document in documents[:most]:
        yield Hit(name, key_of(document["_id"]), _at(document, paths[called]) if called else "")


def _at(document: Mapping[str, Any], path: str) -> str:
    value: Any = document
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)


def rows_of(story: Story) -> Iterator[Row]:
    """Each field with a value anywhere; those that differ first."""
    now = story.now
    apart = {side: shown["differs"] for side, shown in now.sides.items()}
    agreed = dict(now.row or {})
    for values in apart.values():
        for name, both in values.items():
            agreed.setdefault(name, both["agreed"])
    rows = []
    for name in sorted(agreed):
        on = {side: _on(shown, apart[side], name, agreed[name]) for side, shown in now.sides.items()}
        rows.append(Row(name, agreed[name], on, frozenset(side for side in apart if name in apart[side])))
    yield from sorted(rows, key=lambda row: not row.differs)


def _on(shown: Mapping[str, Any], apart: Mapping[str, Any], name: str, agreed: Any) -> Any:
    if not shown["has_it"]:
        return None
    if name in apart:
        return apart[name]["holds"]
    if name in shown["not_told_yet"]:
        return "(not read yet)"
    return MASKED if name in shown.get("masked", ()) else agreed


def on_hold(story: Story) -> list[str]:
    """The fields about which a person has to decide; whether the record exists comes first, and alone."""
    held = {
        each["field"]
        for shown in story.now.sides.values()
        for each in shown["parked"]
        if each["why"] == Park.HELD.value
    }
    return [EXISTENCE] if EXISTENCE in held else sorted(held)


def can_retry(story: Story) -> bool:
    """Whether something of the record was refused, or could not be synced."""
    return any(
        shown["misfits"] or any(each["why"] == Park.REFUSED.value for each in shown["parked"])
        for shown in story.now.sides.values()
    )
