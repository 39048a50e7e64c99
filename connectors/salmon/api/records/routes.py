"""The routes of the objects, made from their schemas, with all that a description of them says."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse, Response

from salmon.api.grants import Caller
from salmon.api.handle import Api, ApiObject
from salmon.api.problems import Problem, at_fault, described
from salmon.api.records import writing
from salmon.api.records.answering import Objects
from salmon.api.records.bodies import Models, models_of
from salmon.api.records.showing import key_shown
from salmon.api.threads import in_thread
from salmon.model.change import MONGODB
from salmon.model.schema import Kind
from salmon.story.reading import Story, story_of

HISTORY_MAX: Final = 1_000
HISTORY_DEFAULT: Final = 50
RecordKey = Annotated[
    str,
    Path(
        description="The record's key, or its Salesforce Id of 15 or 18 characters.",
        json_schema_extra={"minLength": 1},
    ),
]
_JSON: Final = "application/json"
_ETAG: Final = {"ETag": {"description": "Of the record, for If-Match.", "schema": {"type": "string"}}}


def router(api: Api) -> APIRouter:
    """Their routes."""
    routes = APIRouter(prefix="/api/v1")
    whoever = api.access.whoever

    @routes.get("", tags=["objects"], summary="The objects", responses=described(401, 403, 429))
    async def objects(caller: Caller = whoever) -> Any:
        """The objects that the caller may read, with their labels and addresses."""
        return {
            "objects": [
                {
                    "name": each.name,
                    "label": each.described.label or each.name,
                    "href": f"/api/v1/{each.name}",
                    "writable": each.is_writable,
                    "fields": len(each.schema.fields),
                }
                for each in api.objects.values()
                if caller.may("read", each.name)
            ]
        }

    for of in api.objects.values():
        models = models_of(of)
        api.models.extend((models.record, models.creation, models.edit))
        routes.include_router(_routes_of(api, of, models))
    return routes


def _routes_of(api: Api, of: ApiObject, models: Models) -> APIRouter:
    routes = APIRouter(tags=[of.name])
    requests = Objects(api, of, models)
    one, many = f"/{of.name}/{{key}}", f"/{of.name}"
    reads, creates = api.access.may("read", of.name), api.access.may("create", of.name)
    updates, deletes = api.access.may("update", of.name), api.access.may("delete", of.name)
    whoever = api.access.whoever
    label = of.described.label or of.name
    plural = of.described.plural or f"{label} records"
    failures = described(400, 401, 403, 413, 429, 503)

    @routes.get(
        many,
        summary=f"List {plural}",
        responses={200: _records(models), **failures},
        openapi_extra={"parameters": [*_listing(api, of), _prefer("count=exact, count=estimated")]},
    )
    async def read_all(request: Request, caller: Caller = reads) -> Response:
        """A page of records. The header Link has the address of the next page; there is none after the last one."""
        return await requests.read_all(request, caller)

    @routes.get(
        one,
        summary=f"Read one {label}",
        responses={
            200: {**_record(models), "headers": _ETAG},
            304: {"description": "As If-None-Match says."},
            **failures,
            **described(404),
        },
        openapi_extra={"parameters": [_select(of), _header("If-None-Match")]},
    )
    async def read(request: Request, key: RecordKey, caller: Caller = reads) -> Response:
        """One record, by its key or its Salesforce Id (15 or 18 characters)."""
        return await requests.read(request, key, caller)

    @routes.get(
        f"{one}/history",
        summary=f"Why is this {label} as it is",
        responses={
            200: {"description": "Its story.", "content": {_JSON: {"schema": {"type": "object"}}}},
            **failures,
            **described(404),
        },
        openapi_extra={
            "parameters": [
                _query(
                    "limit",
                    {"type": "integer", "minimum": 1, "maximum": HISTORY_MAX},
                    "The last so many entries.",
                ),
            ]
        },
    )
    async def history(request: Request, key: RecordKey, caller: Caller = reads) -> Response:
        """What happened to a record, and what it waits for: the same as `salmon why`. It needs Kafka."""
        return await _history(api, of, request, key, caller)

    if not of.is_writable:
        return routes

    written: dict[int | str, dict[str, Any]] = {
        200: {**_record(models), "headers": _ETAG},
        202: _record(models),
        204: {"description": "Done."},
    }
    refusals: dict[int | str, dict[str, Any]] = {**failures, **described(404, 409, 412, 415, 422)}

    @routes.post(
        many,
        status_code=201,
        summary=f"Create one {label}, or several",
        responses={
            201: {**_record(models), "headers": _ETAG},
            202: _record(models),
            207: _results(),
            **failures,
            **described(409, 415, 422),
        },
        openapi_extra={
            "requestBody": _body(models.creation, several=True),
            "parameters": [_prefer("wait=synced, return=minimal"), _header("Idempotency-Key")],
        },
    )
    async def post(request: Request, caller: Caller = creates) -> Response:
        """
        Create a record, or a list of them with a result for each.

        With `Prefer: wait=synced` the answer comes when Salesforce has confirmed the record (201), or has refused it (422, with the org's own code
        and words); 202 if neither has happened after a while.
        """
        return await requests.post(request, caller)

    @routes.patch(
        many,
        summary=f"Change several {plural}",
        responses={207: _results(), **failures, **described(409, 415, 422)},
        openapi_extra={"requestBody": _list_body(models.edit)},
    )
    async def patch_all(request: Request, caller: Caller = updates) -> Response:
        """Change records, each named by its `_key` or `Id`; a result for each."""
        return await requests.patch_all(request, caller)

    @routes.patch(
        one,
        summary=f"Change one {label}",
        responses={**written, **refusals},
        openapi_extra={
            "requestBody": _body(models.edit),
            "parameters": [_prefer("wait=synced, return=minimal"), _header("If-Match")],
        },
    )
    async def patch(request: Request, key: RecordKey, caller: Caller = updates) -> Response:
        """Set the fields that are given; null clears."""
        return await requests.patch(request, key, caller)

    @routes.put(
        one,
        summary=f"Replace one {label}",
        responses={**written, 201: {**_record(models), "headers": _ETAG}, **refusals},
        openapi_extra={
            "requestBody": _body(models.creation),
            "parameters": [
                _prefer("wait=synced, return=minimal"),
                _header("If-Match"),
                _header("If-None-Match"),
            ],
        },
    )
    async def put(request: Request, key: RecordKey, caller: Caller = whoever) -> Response:
        """Set the fields that are given, and clear the others. A record that does not exist is created with this key."""
        return await requests.put(request, key, caller)

    @routes.delete(
        one,
        status_code=204,
        summary=f"Delete one {label}",
        responses={202: {"description": "Deleted here; Salesforce has not confirmed it yet."}, **refusals},
        openapi_extra={"parameters": [_prefer("wait=synced"), _header("If-Match")]},
    )
    async def delete(request: Request, key: RecordKey, caller: Caller = deletes) -> Response:
        """Delete a record."""
        return await requests.delete(request, key, caller)

    return routes


async def _history(api: Api, of: ApiObject, request: Request, key: str, caller: Caller) -> Response:
    if of.masked and not caller.operates:
        raise Problem(
            403,
            "not-allowed",
            f"{of.name} has masked fields, and a history shows what both sides hold: this needs the scope operator.",
        )
    text = request.query_params.get("limit", str(HISTORY_DEFAULT))
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= HISTORY_MAX:
        raise at_fault("limit", "out-of-range", f"must be a whole number from 1 to {HISTORY_MAX}")

    def work() -> dict[str, Any] | None:
        document = writing.found(api, of, key)
        meant = key if document is None else key_shown(document["_id"])
        with api.lookup() as lookup:
            story = story_of(lookup, of.name, meant, now_ms=int(time.time() * 1000), hidden=of.hidden)
            view = lookup.rules(of.name).views.get(MONGODB)
        if not caller.operates and view is not None and (view.wants or view.places) and not _is_wanted(story):
            return None
        return None if not story.entries and document is None else story.as_dict(int(text))

    if (found := await in_thread(work)) is None:
        raise Problem(404, "not-found", "There is no record with this key, and nothing is known of it.")
    return JSONResponse(found)


def _is_wanted(story: Story) -> bool:
    """Whether MongoDB is to have the record. What its filter excludes is nothing that the API serves."""
    return bool(story.now.sides.get(MONGODB, {}).get("filter", {}).get("wants_it"))


# What the description says.


def _ref(model: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _record(models: Models) -> dict[str, Any]:
    return {"description": "The record.", "content": {_JSON: {"schema": _ref(models.record)}}}


def _records(models: Models) -> dict[str, Any]:
    schema = {"type": "array", "items": _ref(models.record)}
    headers = {
        "Link": {"description": 'The next page: <...>; rel="next".', "schema": {"type": "string"}},
        "Content-Range": {"description": "With Prefer: count=...: items */N.", "schema": {"type": "string"}},
    }
    return {"description": "Records.", "content": {_JSON: {"schema": schema}}, "headers": headers}


def _results() -> dict[str, Any]:
    entry = {
        "type": "object",
        "properties": {
            "status": {"type": "integer"},
            "key": {"type": "string"},
            "etag": {"type": "string"},
            "record": {"type": "object"},
            "problem": {"$ref": "#/components/schemas/ProblemBody"},
        },
        "required": ["status"],
    }
    content = {_JSON: {"schema": {"type": "array", "items": entry}}}
    return {"description": "A result for each record, in their order.", "content": content}


def _body(model: Any, *, several: bool = False) -> dict[str, Any]:
    schema: dict[str, Any] = _ref(model)
    if several:
        schema = {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}
    return {"required": True, "content": {_JSON: {"schema": schema}}}


def _list_body(model: Any) -> dict[str, Any]:
    names = {"_key": {"type": "string"}, "Id": {"type": "string"}}
    entry = {
        "type": "object",
        "properties": names,
        "description": f"_key or Id, and what {model.__name__} has.",
    }
    return {
        "required": True,
        "content": {_JSON: {"schema": {"type": "array", "items": entry, "minItems": 1}}},
    }


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


def _header(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}


def _prefer(words: str) -> dict[str, Any]:
    return {**_header("Prefer"), "description": f"One or more of {words}."}


def _select(of: ApiObject) -> dict[str, Any]:
    known = [field.name for field in of.schema.fields]
    text = "Fields, separated by commas; and in brackets those of embedded records, e.g. Name,Owner(Name)."
    return _query("select", {"type": "string", "examples": [",".join(known[:3])]}, text)


def _listing(api: Api, of: ApiObject) -> list[dict[str, Any]]:
    settings = api.settings
    found = [
        _select(of),
        _query(
            "order",
            {"type": "string"},
            "Fields, separated by commas, each with .asc or .desc: CloseDate.desc,Name",
        ),
        _query(
            "limit",
            {
                "type": "integer",
                "minimum": 1,
                "maximum": settings.limit_max,
                "default": settings.limit_default,
            },
            "Records on a page.",
        ),
        _query("cursor", {"type": "string"}, "Where the page begins; from a Link header."),
        _query("or", {"type": "string"}, "Any of these: (StageName.eq.Won,Amount.gte.1000)"),
        _query("and", {"type": "string"}, "All of these."),
    ]
    for field in of.schema.fields:
        operators = (
            "cs, is.null"
            if field.kind is Kind.STRINGS
            else "eq, neq, gt, gte, lt, lte, in, like, ilike, is; not. before it"
        )
        found.append(
            _query(
                field.name,
                {"type": "string"},
                f"{field.label or field.name}: OPERATOR.VALUE, with {operators}.",
            )
        )
    return found
