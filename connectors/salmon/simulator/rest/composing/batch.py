"""Composite Batch (REST API Developer Guide): up to 25 requests in one that know nothing of each other."""

from __future__ import annotations

from typing import Any

from salmon.simulator.org.refusals import BadRequest, Refusal
from salmon.simulator.rest.composing import subrequests
from salmon.simulator.rest.composing.subrequests import Routes, Subrequest
from salmon.simulator.rest.describing.metadata import version_of
from salmon.simulator.rest.web import Answer, Call

SUBREQUESTS_MAX = 25
# "Batch": of what the simulator has, these may be in one.
_SUPPORTED = frozenset({"limits", "sobjects", "query", "queryAll", "search", "parameterizedSearch"})


def batch(call: Call, routes: Routes) -> Answer:
    """POST /composite/batch: each is a transaction of its own and, unlike in Composite, counts as an API call"""
    body = call.json_object()
    items = body.get("batchRequests")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise BadRequest("JSON_PARSER_ERROR", "The property 'batchRequests' must be an array of subrequests.")
    if len(items) > SUBREQUESTS_MAX:
        what = f"The request can’t contain more than {SUBREQUESTS_MAX} operations."
        raise BadRequest("LIMIT_EXCEEDED", what)
    requests = [_read(item, call.version) for item in items]
    results: list[dict[str, Any]] = []
    has_errors = False
    for number, request in enumerate(requests):
        if has_errors and body.get("haltOnError") is True:
            error = {
                "errorCode": "BATCH_PROCESSING_HALTED",
                "message": "Batch processing halted per request",
            }
            results.append({"statusCode": 412, "result": [error]})
            continue
        if number:  # The first is the call itself.
            call.org.usage.count_call("composite")
        answered = subrequests.answer(call, routes, request)
        has_errors |= answered.status >= 400
        results.append({"statusCode": answered.status, "result": subrequests.body_of(answered)})
    return Answer(200, {"hasErrors": has_errors, "results": results})


def _read(item: dict[str, Any], version: str) -> Subrequest:
    method, url = item.get("method"), item.get("url")
    if not isinstance(method, str) or not isinstance(url, str):
        raise BadRequest("INVALID_INPUT", "Each subrequest needs a method and a url.")
    # The path begins with the version, and some clients send all of it.
    path = url if url.startswith("/services/data/") else f"/services/data/{url.lstrip('/')}"
    request = Subrequest(method.upper(), path, "", item.get("richInput"), {})
    if not request.resource or request.resource[0] not in _SUPPORTED:
        raise BadRequest("INVALID_INPUT", f"'{url}' isn't supported in a batch.")
    try:
        newer = float(version_of(request.path[2])) > float(version)
    except Refusal:
        newer = False  # the subrequest itself is refused for it
    if newer:
        raise BadRequest("INVALID_INPUT", f"'{url}' is of a newer API version than the batch.")
    return request
