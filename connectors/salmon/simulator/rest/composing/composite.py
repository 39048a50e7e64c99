"""Composite and Composite Graph (REST API Developer Guide): many requests in one, which may use each other's results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.rest.composing import subrequests
from salmon.simulator.rest.composing.subrequests import Routes, Subrequest
from salmon.simulator.rest.web import Answer, Call

SUBREQUESTS_MAX = 25
QUERIES_MAX = 5  # of the 25, those that are a query or a collection
# "Composite Graph Limits".
GRAPHS_MAX, NODES_MAX, DEPTH_MAX, KINDS_MAX, FAILED_GRAPHS_MAX = 75, 500, 15, 15, 14
_GRAPH_ID = re.compile(r"[A-Za-z0-9][^.]{0,39}")


def resources(call: Call) -> Answer:
    """GET /composite"""
    base = f"/services/data/v{call.version}/composite"
    return Answer(200, {name: f"{base}/{name}" for name in ("tree", "batch", "sobjects", "graph")})


def composite(call: Call, routes: Routes) -> Answer:
    """
    POST /composite

    Too many subrequests are answered as one that failed and has no name, as an org was seen to do; in which words it
    refuses the sixth query is not known, these are ours.
    """
    body = call.json_object()
    requests = subrequests.read(call, body.get("compositeRequest"), "compositeRequest")
    if len(requests) > SUBREQUESTS_MAX:
        return _too_many(f"The request can’t contain more than {SUBREQUESTS_MAX} operations.")
    if sum(1 for request in requests if _is_query_or_collection(request)) > QUERIES_MAX:
        return _too_many(
            f"The request can’t contain more than {QUERIES_MAX} query or sObject Collections operations."
        )
    for request in requests:
        if not _is_for_composite(request):
            what = (
                f"The resource of subrequest '{request.reference_id}' isn't supported in a composite request."
            )
            raise BadRequest("INVALID_INPUT", what)
    if body.get("allOrNone") is True:
        return Answer(200, {"compositeResponse": _all_or_none(call, routes, requests)[0]})
    answers, results = [], dict[str, Any]()
    for request in requests:
        answered = subrequests.run(call, routes, request, results)
        results[request.reference_id] = subrequests.body_of(answered)
        answers.append(subrequests.shown(request, answered))
    return Answer(200, {"compositeResponse": answers})


def graph(call: Call, routes: Routes) -> Answer:
    """POST /composite/graph: each graph is all or nothing; after the fifteenth that failed the rest is not tried"""
    graphs = call.json_object().get("graphs")
    if not isinstance(graphs, list) or not graphs or not all(isinstance(each, dict) for each in graphs):
        raise BadRequest("JSON_PARSER_ERROR", "The property 'graphs' must be an array of graphs.")
    if len(graphs) > GRAPHS_MAX:
        raise BadRequest("LIMIT_EXCEEDED", f"The request can’t contain more than {GRAPHS_MAX} graphs.")
    ids = [each.get("graphId") for each in graphs]
    if not all(isinstance(each, str) and _GRAPH_ID.fullmatch(each) for each in ids) or len(set(ids)) < len(
        ids
    ):
        what = "Each graph needs a graphId of its own: at most 40 characters, no period, a letter or number first."
        raise BadRequest("INVALID_INPUT", what)
    requests = [subrequests.read(call, each.get("compositeRequest"), "compositeRequest") for each in graphs]
    _check_graphs(requests)
    shown, failures = [], 0
    for graph_id, nodes in zip(ids, requests, strict=True):
        if failures > FAILED_GRAPHS_MAX:
            answers, done = [subrequests.shown(node, subrequests.halted()) for node in nodes], False
        else:
            answers, done = _all_or_none(call, routes, nodes)
        failures += not done
        shown.append(
            {"graphId": graph_id, "graphResponse": {"compositeResponse": answers}, "isSuccessful": done}
        )
    return Answer(200, {"graphs": shown})


def _all_or_none(
    call: Call, routes: Routes, requests: Sequence[Subrequest]
) -> tuple[list[dict[str, Any]], bool]:
    """The answers, and whether all is done; the first that fails undoes what was done before it."""
    answers, results = [], dict[str, Any]()
    with call.transaction(with_client=False) as unit:
        for request in requests:
            answered = subrequests.run(call, routes, request, results)
            if subrequests.failed(answered) or _is_spoilt_collection(request, answered):
                unit.rollback()
                return [
                    subrequests.shown(each, answered if each is request else subrequests.halted())
                    for each in requests
                ], False
            results[request.reference_id] = subrequests.body_of(answered)
            answers.append(subrequests.shown(request, answered))
    return answers, True


def _is_spoilt_collection(request: Subrequest, answered: Answer) -> bool:
    """
    Whether it is a collection with a record that failed: the all or none of the whole goes before its own.

    Its answer is shown as it is, even if its own allOrNone is false and it says that some are done ("allOrNone
    Parameters in Composite and Collections Requests", case 4).
    """
    if request.resource[:2] != ["composite", "sobjects"] or not isinstance(answered.body, list):
        return False
    return not all(result is None or result.get("success", True) for result in answered.body)


def _is_query_or_collection(request: Subrequest) -> bool:
    return request.resource[:1] in (["query"], ["queryAll"]) or request.resource[:2] == [
        "composite",
        "sobjects",
    ]


def _is_for_composite(request: Subrequest) -> bool:
    return _is_query_or_collection(request) or request.resource[:1] == ["sobjects"]


def _too_many(what: str) -> Answer:
    error = {"errorCode": "LIMIT_EXCEEDED", "message": what}
    item = {"body": [error], "httpHeaders": {}, "httpStatusCode": 400, "referenceId": None}
    return Answer(200, {"compositeResponse": [item]})


def _check_graphs(graphs: Sequence[Sequence[Subrequest]]) -> None:
    """Raises BadRequest where a limit on nodes is exceeded, or a node is no record; the words are ours."""
    nodes = [node for each in graphs for node in each]
    if len(nodes) > NODES_MAX:
        raise BadRequest("LIMIT_EXCEEDED", f"The request can’t contain more than {NODES_MAX} nodes.")
    for node in nodes:
        if not _is_for_graph(node):
            what = f"'{node.method} {node.url}' of node '{node.reference_id}' isn't supported in a composite graph."
            raise BadRequest("INVALID_INPUT", what)
    kinds = {(node.method, *(part.lower() for part in node.path[2:5])) for node in nodes}
    if len(kinds) > KINDS_MAX:
        raise BadRequest(
            "LIMIT_EXCEEDED", f"The request can’t contain more than {KINDS_MAX} different nodes."
        )
    for each in graphs:
        depths: dict[str, int] = {}
        for node in each:
            depths[node.reference_id] = 1 + max(
                (depths.get(name, 0) for name in node.references()), default=0
            )
        if max(depths.values()) > DEPTH_MAX:
            raise BadRequest("LIMIT_EXCEEDED", f"A graph can’t be deeper than {DEPTH_MAX} nodes.")


def _is_for_graph(node: Subrequest) -> bool:
    """Whether it is one record ("Composite Graph", the table of supported URLs)."""
    match node.resource:
        case ["sobjects", _]:
            return node.method == "POST"
        case ["sobjects", _, _]:
            return node.method in {"DELETE", "GET", "PATCH"}
        case ["sobjects", _, _, _]:
            return node.method in {"DELETE", "GET", "PATCH", "POST"}
    return False
