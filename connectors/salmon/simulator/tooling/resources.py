"""
The Tooling API over REST: /tooling/sobjects and /tooling/query, for the objects that setting up a sync needs.

Source: Tooling API Developer Guide, "REST Resources". Objects with data are not served here, as in a real org.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from salmon.simulator.org.ids import id18
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest, not_found
from salmon.simulator.rest import rows
from salmon.simulator.rest.describing.metadata import Describes
from salmon.simulator.rest.web import Answer, Call
from salmon.simulator.soql.answering import run_parsed
from salmon.simulator.soql.parsing import parse
from salmon.simulator.soql.syntax import AllOf, Comparison, Condition, Path, Query, Selected, invalid_type
from salmon.simulator.tooling.setup import MADE_OF_METADATA, Setup

# Without one of these in its WHERE, a query of FieldDefinition is refused.
_REIFIED: Final = (
    "entitydefinitionid",
    "durableid",
    "entitydefinition.qualifiedapiname",
    "entitydefinition.durableid",
)

Resources = Mapping[str, Callable[[Call], Answer]]


class ToolingApi:
    """The Tooling API of one org."""

    def __init__(self, org: Org) -> None:
        self._main = org
        self._setup = Setup(org)
        self._describes = Describes(self._setup.org)

    def resources(self, path: Sequence[str]) -> Resources:
        """The resources at *path* below /tooling, by method. Raises BadRequest (404) where there is none."""
        match path:
            case ["query"]:
                return {"GET": self._query}
            case ["sobjects"]:
                return {"GET": self._here(self._describes.all_objects)}
            case ["sobjects", name, *_] if name in self._main.objects or name not in self._setup.org.types:
                raise not_found()
            case ["sobjects", name]:
                create = self._create if name in MADE_OF_METADATA else rows.create
                return {
                    "GET": self._here(lambda call: self._describes.basic(call, name)),
                    "POST": self._here(lambda call: _with_notices(create(call, name))),
                }
            case ["sobjects", name, "describe"]:
                return {"GET": self._here(lambda call: self._describes.describe(call, name))}
            case ["sobjects", name, record_id] if name in MADE_OF_METADATA:
                return {
                    "GET": self._here(lambda call: _shown(rows.row(call, name, record_id))),
                    "PATCH": self._here(lambda call: self._change(call, name, record_id)),
                    "DELETE": self._here(lambda call: self._change(call, name, record_id)),
                }
            case ["sobjects", name, record_id]:
                one = self._here(lambda call: _shown(rows.row(call, name, record_id)))
                return dict.fromkeys(["GET", "PATCH", "DELETE"], one)
        raise not_found()

    def _here(self, resource: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        """The resource, asked in the org that has the objects of the Tooling API."""
        return lambda call: resource(replace(call, org=self._setup.org))

    def _create(self, call: Call, name: str) -> Answer:
        body = call.json_object()
        with call.org.transaction(call.user) as unit:
            record_id = self._setup.create(unit, name, body)
        return Answer(201, {"id": record_id, "success": True, "errors": []})

    def _change(self, call: Call, name: str, record_id: str) -> Answer:
        full_id = id18(record_id) or ""
        if full_id not in call.org.tables[name].live:
            raise not_found()
        body = {} if call.method == "DELETE" else call.json_object()
        with call.org.transaction(call.user) as unit:
            if call.method == "DELETE":
                self._setup.delete(unit, name, full_id)
            else:
                self._setup.update(unit, name, full_id, body)
        return Answer(204)

    def _query(self, call: Call) -> Answer:
        text = call.params.get("q")
        if not text:
            raise BadRequest("MALFORMED_QUERY", "SOQL query is required: give it as the parameter q")
        query, org = parse(text), self._setup.org
        name = org.object_name(query.source)
        if name is None or name in self._main.objects:
            raise invalid_type(query.text, query.source_at, query.source)
        if name == "FieldDefinition" and not any(path in _REIFIED for path in _filtered(query.where)):
            message = f"{name}: a filter on a reified column is required [EntityDefinitionId,DurableId]"
            raise BadRequest("MALFORMED_QUERY", message)
        found = run_parsed(org, query)
        if found.total > 1 and _selects_metadata(query):
            raise BadRequest(
                "MALFORMED_QUERY",
                "When retrieving results with Metadata or FullName fields, the query qualifications must specify no "
                f"more than one row for retrieval. Result size: {found.total}",
            )
        records = found.records(0, found.total, call.version)
        body = {
            "size": len(records), "totalSize": found.total, "done": True, "queryLocator": None,
            "entityTypeName": name, "records": [_as_tooling(record) for record in records],
        }  # fmt: skip
        return Answer(200, body)


def _with_notices(answer: Answer) -> Answer:
    return replace(answer, body={**answer.body, "warnings": [], "infos": []}, headers={})


def _shown(answer: Answer) -> Answer:
    return replace(answer, body=_as_tooling(answer.body)) if isinstance(answer.body, dict) else answer


def _as_tooling(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its own URLs, and its metadata as an object."""
    shown = {key: _as_tooling(value) if isinstance(value, dict) else value for key, value in record.items()}
    if isinstance(metadata := shown.get("Metadata"), str):
        shown["Metadata"] = json.loads(metadata)
    if isinstance(url := shown.get("url"), str) and "/tooling/" not in url:
        shown["url"] = url.replace("/sobjects/", "/tooling/sobjects/", 1)
    return shown


def _selects_metadata(query: Query) -> bool:
    paths = [item.what for item in query.select if isinstance(item, Selected) and isinstance(item.what, Path)]
    return any(path.parts[-1].lower() in {"metadata", "fullname"} for path in paths)


def _filtered(condition: Condition | None) -> Iterator[str]:
    """The paths that every match is compared by, in lower case."""
    if isinstance(condition, AllOf):
        for part in condition.conditions:
            yield from _filtered(part)
    elif (
        isinstance(condition, Comparison)
        and condition.operator in {"=", "IN"}
        and isinstance(condition.left, Path)
    ):
        yield ".".join(condition.left.parts).lower()
