"""
The simulator's REST server: one ASGI application for /services/data, /services/oauth2, /services/Soap and /id.

It knows the paths, who may sign in, what is counted, which faults are active, and the headers of every answer. The
resources are in the other modules of this package. It ignores the host name, so clients that insist on
<domain>.salesforce.com may be redirected here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from salmon.simulator.bulk.resources import UPLOAD_BYTES_MAX, BulkApi
from salmon.simulator.org.ids import id18
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest, Refusal, not_found
from salmon.simulator.rest import events, recent, relationships, rows, search
from salmon.simulator.rest import query as rest_query
from salmon.simulator.rest.composing import batch, composite, tree
from salmon.simulator.rest.composing import collections as rest_collections
from salmon.simulator.rest.describing import appearance, layouts
from salmon.simulator.rest.describing import limits as rest_limits
from salmon.simulator.rest.describing.event_schemas import EventSchemas, Schemas
from salmon.simulator.rest.describing.metadata import Describes, resources, version_of, versions
from salmon.simulator.rest.signing import passwords
from salmon.simulator.rest.signing.oauth import TokenEndpoint
from salmon.simulator.rest.signing.signing_in import SigningIn
from salmon.simulator.rest.web import (
    BODY_BYTES_MAX,
    GZIP_FROM_BYTES,
    Answer,
    Asked,
    Call,
    Resource,
    encode,
    packed,
    unpacked,
)
from salmon.simulator.tooling.resources import ToolingApi

HEAD_BYTES_MAX = 16_384  # of URI and headers together: SOQL Reference, "SOQL Limits"

_METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"]
# Resources whose work is worth a thread of its own; the others take less time than the way to a thread.
_HEAVY = frozenset({"query", "collections", "composite", "search", "bulk"})


class RestServer:
    """The application is `app`; everything it changes, it changes in the org."""

    def __init__(self, org: Org, tokens: TokenEndpoint, schemas: Schemas) -> None:
        self._org = org
        self._event_schemas = EventSchemas(schemas)
        self._signing_in = SigningIn(org, tokens)
        self._cursors = rest_query.Cursors()
        self._describes = Describes(org)
        self._bulk = BulkApi(org)
        self._tooling = ToolingApi(org)
        self.app = Starlette(routes=[Route("/{path:path}", self._serve, methods=_METHODS)])

    def stop(self) -> None:
        """End what goes on behind the requests: bulk jobs. Idempotent."""
        self._bulk.stop()

    async def _serve(self, request: Request) -> Response:
        raw_path: bytes = request.scope.get("raw_path") or request.url.path.encode()
        asked = Asked(
            path=[
                unquote(part) for part in raw_path.decode("ascii", "replace").split("?")[0].split("/") if part
            ],
            method=request.query_params.get("_HttpMethod", request.method).upper(),
            params=request.query_params,
            headers={name.lower(): value for name, value in request.headers.items()},
            head_bytes=len(raw_path)
            + len(request.scope["query_string"])
            + sum(len(name) + len(value) for name, value in request.scope["headers"]),
            body=await request.body(),
        )
        api, resource = _api_of(asked.path)
        if (latency := self._org.faults.active("latency", api=api)) is not None:
            await asyncio.sleep(float(latency.get("ms", 0)) / 1000)

        def answer() -> Response:
            return self._response(self._answer(api, resource, asked), asked.headers)

        return await run_in_threadpool(answer) if resource in _HEAVY else answer()

    def _answer(self, api: str, resource: str, asked: Asked) -> Answer:
        """The answer to one request, refusals and injected faults included."""
        path, headers = asked.path, asked.headers
        try:
            if (struck := self._fault(api, asked)) is not None:
                return struck
            if asked.head_bytes > HEAD_BYTES_MAX:
                return Answer(414, b"<html><body>URI Too Long</body></html>", {"Content-Type": "text/html"})
            if (signing_in := self._signing_in.answer(asked)) is not None:
                return signing_in
            if path == ["services", "data"]:
                return Answer(200, versions())
            if path[:2] != ["services", "data"]:
                raise not_found()
            version = version_of(path[2])
            user = self._org.sessions.user_of(asked.token)
            if user is None:
                raise BadRequest("INVALID_SESSION_ID", "Session expired or invalid", status=401)
            if self._org.instance.has_left(headers.get("host", "")):
                message = "Destination URL not reset. The URL returned from login must be set"
                raise BadRequest("URL_NOT_RESET", message)
            if not self._org.settings.api_enabled:
                message = "The REST API is not enabled for this Organization."
                raise BadRequest("API_DISABLED_FOR_ORG", message, status=403)
            self._count(resource)
            most = UPLOAD_BYTES_MAX if resource == "bulk" else BODY_BYTES_MAX
            content = _content_of(asked, most)
            call = Call(self._org, user, version, asked.method, asked.params, headers, content)
            return self._resource(path[3:], asked.method)(call)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.as_row_error())

    def _resource(self, path: list[str], method: str) -> Resource:  # noqa: C901 - a table of paths, a line each
        """The resource at *path*, below the version. Raises BadRequest: 404, or 405 for another method."""
        allowed: Mapping[str, Resource]
        match path:
            case []:
                allowed = {"GET": resources}
            case ["sobjects"]:
                allowed = {"GET": self._describes.all_objects}
            case ["event", "eventSchema", schema_id]:
                allowed = {"GET": lambda call: self._event_schemas.by_id(call, schema_id)}
            case ["sobjects", name, "eventSchema"]:
                allowed = {"GET": lambda call: self._event_schemas.by_name(call, name)}
            case ["sobjects", name, *below] if (event := self._org.platform_events.find(name)) is not None:
                allowed = events.resources(event, below, lambda call: self._describes.describe(call, name))
            case ["sobjects", name]:
                allowed = {
                    "GET": lambda call: self._describes.basic(call, name),
                    "POST": lambda call: rows.create(call, name),
                }
            case ["sobjects", name, "describe"]:
                allowed = {"GET": lambda call: self._describes.describe(call, name)}
            case ["sobjects", name, "describe", "layouts", *rest]:
                allowed = {"GET": lambda call: layouts.layouts(call, name, rest)}
            case ["sobjects", name, "describe", "compactLayouts"]:
                allowed = {"GET": lambda call: appearance.compact_layouts(call, name)}
            case ["sobjects", name, "describe", "approvalLayouts"]:
                allowed = {"GET": lambda call: appearance.approval_layouts(call, name)}
            case ["sobjects", name, "listviews"]:
                allowed = {"GET": lambda call: appearance.list_views(call, name)}
            case ["sobjects", name, "quickActions"]:
                allowed = {"GET": lambda call: appearance.quick_actions(call, name)}
            case ["quickActions"]:
                allowed = {"GET": appearance.quick_actions}
            case ["tabs"]:
                allowed = {"GET": appearance.tabs}
            case ["theme"]:
                allowed = {"GET": appearance.theme}
            case ["sobjects", name, "updated"]:
                allowed = {"GET": lambda call: rest_query.updated(call, name)}
            case ["sobjects", name, "deleted"]:
                allowed = {"GET": lambda call: rest_query.deleted(call, name)}
            case ["sobjects", name, field] if field.lower() == "id" and method == "POST":
                allowed = {"POST": lambda call: rows.create(call, name)}
            case ["sobjects", name, record_id]:
                allowed = dict.fromkeys(
                    ["GET", "PATCH", "DELETE"], lambda call: rows.row(call, name, record_id)
                )
            case ["sobjects", name, user_id, "password"] if name.lower() == "user":
                allowed = dict.fromkeys(
                    ["GET", "POST", "DELETE"], lambda call: passwords.password(call, user_id)
                )
            case ["sobjects", name, record_id, relationship] if id18(record_id) is not None:
                allowed = {
                    "GET": lambda call: relationships.below_a_row(call, name, record_id, relationship),
                }
            case ["sobjects", name, field, value]:
                allowed = dict.fromkeys(
                    ["GET", "PATCH", "DELETE"],
                    lambda call: rows.row_by_external_id(call, name, field, value),
                )
            case ["query"]:
                allowed = {"GET": lambda call: self._cursors.first_page(call, with_deleted=False)}
            case ["queryAll"]:
                allowed = {"GET": lambda call: self._cursors.first_page(call, with_deleted=True)}
            case ["query" | "queryAll", locator]:
                allowed = {"GET": lambda call: self._cursors.next_page(call, locator)}
            case ["composite"]:
                allowed = {
                    "GET": composite.resources,
                    "POST": lambda call: composite.composite(call, self._resource),
                }
            case ["composite", "graph"]:
                allowed = {"POST": lambda call: composite.graph(call, self._resource)}
            case ["composite", "batch"]:
                allowed = {"POST": lambda call: batch.batch(call, self._resource)}
            case ["composite", "tree", name]:
                allowed = {"POST": lambda call: tree.tree(call, name)}
            case ["composite", "sobjects"]:
                allowed = dict.fromkeys(["POST", "PATCH", "DELETE"], rest_collections.collection)
            case ["composite", "sobjects", name]:
                allowed = dict.fromkeys(["GET", "POST"], lambda call: rest_collections.retrieve(call, name))
            case ["composite", "sobjects", name, field]:
                allowed = {"PATCH": lambda call: rest_collections.upsert(call, name, field)}
            case ["tooling", *below]:
                allowed = self._tooling.resources(below)
            case ["jobs", *below]:
                allowed = self._bulk.resources(below)
            case ["search"]:
                allowed = {"GET": search.search}
            case ["parameterizedSearch"]:
                allowed = dict.fromkeys(["GET", "POST"], search.parameterized)
            case ["recent"]:
                allowed = {"GET": recent.recent}
            case ["limits"]:
                allowed = {"GET": rest_limits.limits}
            case ["limits", "recordCount"]:
                allowed = {"GET": rest_limits.record_count}
            case _:
                raise not_found()
        if (resource := allowed.get("GET" if method == "HEAD" else method)) is None:
            message = f"HTTP Method '{method}' not allowed. Allowed are {','.join(allowed)}"
            raise BadRequest("METHOD_NOT_ALLOWED", message, status=405)
        return resource

    def _count(self, resource: str) -> None:
        """Count the call against the daily allowance. Raises BadRequest when it is used up."""
        if not self._org.may_call():
            raise BadRequest("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403)
        self._org.usage.count_call(resource)

    def _fault(self, api: str, asked: Asked) -> Answer | None:
        struck = self._org.faults.active("http", api=api)
        if struck is None:
            return None
        if (text := struck.get("containing", "").encode()) and text not in _content_of(asked):
            return None
        self._org.faults.take("http", api=api)
        status, code = int(struck.get("status", 503)), struck.get("error_code")
        wish = {} if (wish_s := struck.get("retry_after_s")) is None else {"Retry-After": str(int(wish_s))}
        if code is None:  # What stands in front of the org answers in HTML.
            html = {"Content-Type": "text/html", **wish}
            return Answer(status, b"<html><body>Service Unavailable</body></html>", html)
        message = "injected by the control API"
        if api == "oauth":
            return Answer(status, {"error": code, "error_description": message})
        return Answer(status, [{"message": message, "errorCode": code}], wish)

    def _response(self, answer: Answer, headers: Mapping[str, str]) -> Response:
        usage = self._org.usage
        sent = {
            "Date": self._org.clock.http_date(),
            "Sforce-Limit-Info": f"api-usage={usage.calls_today()}/{usage.daily_api_requests}",
        }
        content = b""
        if answer.body is not None:
            content = answer.body if isinstance(answer.body, bytes) else encode(answer.body)
            sent["Content-Type"] = "application/json;charset=UTF-8"
        sent.update(answer.headers)
        if len(content) >= GZIP_FROM_BYTES and "gzip" in headers.get("accept-encoding", ""):
            content = packed(content)
            sent["Content-Encoding"] = "gzip"
        return Response(content, answer.status, sent)


def _api_of(path: list[str]) -> tuple[str, str]:
    """The api that faults know the path by, and the resource that it is counted as."""
    if path[:2] in (["services", "oauth2"], ["services", "Soap"]) or path[:1] == ["id"]:
        return "oauth", "oauth"
    match path[3:]:
        case ["tooling", *_]:
            return "rest", "tooling"
        case ["composite", "sobjects", *_]:
            return "collections", "collections"
        case ["composite", *_]:
            return "rest", "composite"
        case ["query" | "queryAll", *_]:
            return "rest", "query"
        case ["search" | "parameterizedSearch", *_]:
            return "rest", "search"
        case ["sobjects", _, "updated" | "deleted" as name]:
            return "rest", name
        case ["sobjects"] | ["sobjects", _, "describe", *_]:
            return "rest", "describe"
        case ["sobjects", *_]:
            return "rest", "rows"
        case ["limits", *_]:
            return "rest", "limits"
        case ["jobs", *_]:
            return "bulk", "bulk"
    return "rest", "other"


def _content_of(asked: Asked, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The body of a request, unpacked. Raises BadRequest where it does not unpack."""
    return unpacked(asked.body, asked.headers.get("content-encoding", "").lower(), bytes_max)
