"""
Requests inside a request (Composite, Composite Graph, Composite Batch): how one is read, what it refers to, how it runs.

A subrequest runs the very resource that a request of its own would run, so it is refused for the same reasons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from salmon.foreign_json import json_in
from salmon.simulator.org.refusals import BadRequest, Refusal, not_found
from salmon.simulator.rest.describing.metadata import version_of
from salmon.simulator.rest.web import Answer, Call, Resource

# Finds the resource at a path below the version, for a method.
Routes = Callable[[list[str], str], Resource]

# REST API Developer Guide, "Composite Subrequest": these are those of the request around it, and no others are.
INHERITED_HEADERS = ("accept", "authorization", "content-type")
# Behaviour that changed with this version of the *composite* call ("Composite Subrequest Result").
_STRICT_REFERENCES = 52
_REFERENCE_ID = re.compile(r"[A-Za-z0-9]\w*", re.ASCII)
_REFERENCE = re.compile(r"@\{([^}]*)\}")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")

ROLLED_BACK = "The transaction was rolled back since another operation in the same transaction failed."


class BrokenReference(Exception):
    """A reference has no value; the message says so in the org's words."""


@dataclass(frozen=True, slots=True)
class Subrequest:
    """One request inside another, as it was sent: its references are not filled in."""

    method: str
    url: str
    reference_id: str
    body: Any
    headers: Mapping[str, str]  # names in lower case

    @property
    def path(self) -> list[str]:
        """The parts of its path, /services/data and the version included."""
        return [unquote(part) for part in self.url.partition("?")[0].split("/") if part]

    @property
    def resource(self) -> list[str]:
        """The parts of its path below the version."""
        return self.path[3:]

    def references(self) -> set[str]:
        """The reference ids of the subrequests that it needs."""
        found = _REFERENCE.findall(self.url) + _REFERENCE.findall(json.dumps(self.body, default=str))
        return {re.split(r"[.\[]", text)[0] for text in found}


def read(call: Call, items: Any, what: str) -> list[Subrequest]:
    """
    The subrequests of a composite request or of a graph.

    Raises:
        BadRequest: One of them has not what it needs, or a name that is not allowed.
    """
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise BadRequest("JSON_PARSER_ERROR", f"The property '{what}' must be an array of subrequests.")
    found = [_read(call, item) for item in items]
    names = [each.reference_id for each in found]
    if len(set(names)) < len(names):
        raise BadRequest("INVALID_INPUT", "Duplicate ReferenceId provided in the request.")
    return found


def _read(call: Call, item: Mapping[str, Any]) -> Subrequest:
    method, url, reference_id = (item.get(name) for name in ("method", "url", "referenceId"))
    if not isinstance(method, str) or not isinstance(url, str) or not isinstance(reference_id, str):
        raise BadRequest("INVALID_INPUT", "Each subrequest needs a method, a url and a referenceId.")
    if method not in {"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"}:
        raise BadRequest("INVALID_INPUT", f"The method '{method}' of subrequest '{reference_id}' is unknown.")
    if not _REFERENCE_ID.fullmatch(reference_id) and float(call.version) >= _STRICT_REFERENCES:
        raise BadRequest("INVALID_INPUT", _reference_id_rule(reference_id))
    given = item.get("httpHeaders") or {}
    if not isinstance(given, dict):
        raise BadRequest("JSON_PARSER_ERROR", "The property 'httpHeaders' must be an object.")
    headers = {str(name).lower(): str(value) for name, value in given.items()}
    if forbidden := sorted(set(headers) & set(INHERITED_HEADERS)):
        what = f"The header '{forbidden[0]}' of subrequest '{reference_id}' is inherited and cannot be set."
        raise BadRequest("INVALID_INPUT", what)
    return Subrequest(method, url, reference_id, item.get("body"), headers)


def run(call: Call, routes: Routes, request: Subrequest, results: Mapping[str, Any]) -> Answer:
    """Answer *request*, its references filled in from *results*, which holds the bodies of earlier answers by name."""
    try:
        strict = float(call.version) >= _STRICT_REFERENCES
        filled = Subrequest(
            request.method,
            str(_filled(request.url, results, strict=strict, whole=False)),
            request.reference_id,
            _filled(request.body, results, strict=strict),
            request.headers,
        )
    except BrokenReference as broken:
        return halted(str(broken))
    return answer(call, routes, filled)


def answer(call: Call, routes: Routes, request: Subrequest) -> Answer:
    """Answer a subrequest that refers to nothing; a refusal is an answer too."""
    try:
        path = request.path
        if path[:2] != ["services", "data"] or len(path) < 3:
            raise not_found()
        inherited = {name: call.headers[name] for name in INHERITED_HEADERS if name in call.headers}
        inner = Call(
            call.org,
            call.user,
            version_of(path[2]),
            request.method,
            dict(parse_qsl(request.url.partition("?")[2], keep_blank_values=True)),
            {**request.headers, **inherited},
            b"",
            request.body,
        )
        return routes(path[3:], request.method)(inner)
    except Refusal as refusal:
        return Answer(refusal.status, refusal.as_row_error())


def halted(message: str = ROLLED_BACK) -> Answer:
    """A subrequest that was not carried out, or was undone."""
    return Answer(400, [{"errorCode": "PROCESSING_HALTED", "message": message}])


def failed(answered: Answer) -> bool:
    """Whether the status is one of an error; "not modified" is none."""
    return answered.status >= 300 and answered.status != 304


def body_of(answered: Answer) -> Any:
    """The answer's body as JSON."""
    body = answered.body
    if not isinstance(body, bytes):
        return body
    try:
        return json_in(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def shown(request: Subrequest, answered: Answer) -> dict[str, Any]:
    """The answer as an item of compositeResponse."""
    return {
        "body": body_of(answered),
        "httpHeaders": dict(answered.headers),
        "httpStatusCode": answered.status,
        "referenceId": request.reference_id,
    }


def _reference_id_rule(reference_id: str) -> str:
    return (
        f"Provided referenceId ('{reference_id}') must start with a letter or a number, and it can contain only "
        f"letters, numbers and underscores ('_')."
    )


def _filled(value: Any, results: Mapping[str, Any], *, strict: bool, whole: bool = True) -> Any:
    """*value* with its references replaced; one that is all of a text keeps the type of what it stands for."""
    if isinstance(value, Mapping):
        return {key: _filled(each, results, strict=strict) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_filled(each, results, strict=strict) for each in value]
    if not isinstance(value, str) or "@{" not in value:
        return value
    if whole and (only := _REFERENCE.fullmatch(value)):
        return _looked_up(only[1], results, strict=strict)

    def text(match: re.Match[str]) -> str:
        found = _looked_up(match[1], results, strict=strict)
        return str(found).lower() if isinstance(found, bool) else "" if found is None else str(found)

    return _REFERENCE.sub(text, value)


def _looked_up(reference: str, results: Mapping[str, Any], *, strict: bool) -> Any:
    name = re.split(r"[.\[]", reference)[0]
    missing = BrokenReference(f"Invalid reference specified. No value for {reference} found in {name}")
    if name not in results:
        raise missing
    found, at = results[name], len(name)
    while at < len(reference):
        step = _STEP.match(reference, at)
        if step is None:
            raise missing
        key, index = step.groups()
        if key is not None and isinstance(found, Mapping) and key in found:
            found = found[key]
        elif index is not None and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        else:
            raise missing
        at = step.end()
    if found is None and not strict:
        # Until version 51.0 a field that is null has no value.
        raise BrokenReference(f"{missing}. {_reference_id_rule(reference)}")
    if isinstance(found, Mapping | list):
        raise missing
    return found
