"""Search and Parameterized Search (REST API Developer Guide)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.rest.web import Answer, Call
from salmon.simulator.soql.parsing import parse
from salmon.simulator.soql.searching import GROUPS, RECORDS_MAX, Search, everything, parse_search, run_search

_OBJECT_VERSION = 37  # since then the answer is an object, before it was the list alone


def search(call: Call) -> Answer:
    """GET /search?q=FIND {...}"""
    text = call.params.get("q")
    if not text:
        raise BadRequest(
            "MALFORMED_SEARCH", "No search term found. The search term must be enclosed in braces."
        )
    return _answer(call, parse_search(call.org, text))


def parameterized(call: Call) -> Answer:
    """GET /parameterizedSearch?q=&sobject=&Account.fields= and POST {q, sobjects, in, fields, overallLimit}"""
    asked: Mapping[str, Any] = call.json_object() if call.method == "POST" else _from_params(call.params)
    term, group = asked.get("q"), str(asked.get("in") or "ALL").upper()
    if not isinstance(term, str) or not term:
        raise BadRequest("MISSING_ARGUMENT", "The parameter q is required.")
    if group not in GROUPS:
        raise BadRequest("INVALID_SEARCH", f"in must be one of {', '.join(GROUPS)}")
    objects = asked.get("sobjects") or []
    if not isinstance(objects, list) or not all(
        isinstance(each, dict) and each.get("name") for each in objects
    ):
        raise BadRequest(
            "JSON_PARSER_ERROR", "The property 'sobjects' must be an array of objects with a name."
        )
    queries = tuple(parse(_soql(each, asked)) for each in objects) or everything(call.org)
    limit = _number(asked.get("overallLimit")) or RECORDS_MAX
    return _answer(call, Search(term, group, queries, min(limit, RECORDS_MAX)))


def _answer(call: Call, asked: Search) -> Answer:
    found = [
        record
        for result in run_search(call.org, asked)
        for record in result.records(0, result.total, call.version)
    ]
    return Answer(200, {"searchRecords": found} if float(call.version) >= _OBJECT_VERSION else found)


def _from_params(params: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a GET as the body of a POST would have them."""
    names = _split(params.get("sobject", ""))
    objects = [
        {
            "name": name,
            "fields": _split(params.get(f"{name}.fields", "")),
            "where": params.get(f"{name}.where"),
            "limit": params.get(f"{name}.limit"),
            "orderBy": params.get(f"{name}.orderBy"),
        }
        for name in names
    ]
    asked = {name: params.get(name) for name in ("q", "in", "overallLimit", "defaultLimit")}
    return {**asked, "fields": _split(params.get("fields", "")), "sobjects": objects}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _soql(asked: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """What is asked for of one object, as a query; so it is read and refused like one."""
    fields = asked.get("fields") or defaults.get("fields") or ["Id"]
    if not isinstance(fields, list):
        raise BadRequest("JSON_PARSER_ERROR", "The property 'fields' must be an array of names.")
    text = f"SELECT {', '.join(str(field) for field in fields)} FROM {asked['name']}"
    if asked.get("where"):
        text += f" WHERE {asked['where']}"
    if asked.get("orderBy"):
        text += f" ORDER BY {asked['orderBy']}"
    limit = _number(asked.get("limit")) or _number(defaults.get("defaultLimit"))
    return f"{text} LIMIT {limit}" if limit else text


def _number(value: Any) -> int | None:
    if value is None:
        return None
    if not str(value).isdigit():
        raise BadRequest("INVALID_SEARCH", f"a limit must be a whole number: {value}")
    return int(value)
