"""
Recently viewed items (REST API Developer Guide).

An org counts what people look at. Here it is what the user has written row by row, which clients with no page to look at
can bring about; `Sforce-Mru: updateMru=false` leaves a write out.
"""

from __future__ import annotations

from typing import Any

from salmon.simulator.org.presenting import Presenter
from salmon.simulator.org.recent import RECENT_MAX
from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.rest.web import Answer, Call


def recent(call: Call) -> Answer:
    """GET /recent?limit="""
    limit = call.params.get("limit", str(RECENT_MAX))
    if not limit.isdigit():
        raise BadRequest("INVALID_LIMIT", f"limit must be a whole number: {limit}")
    return Answer(200, recent_items(call)[: int(limit)])


def recent_items(call: Call, object_name: str | None = None) -> list[dict[str, Any]]:
    """Id and Name of the user's live recent records, of one object or of all."""
    items = []
    with call.org.lock:
        for record_id in call.org.recent.of(call.user.user_id):
            table = call.org.by_prefix[record_id[:3]]
            row = table.live.get(record_id)
            if row is None or object_name not in {None, table.type.name}:
                continue
            paths = [("Id",), ("Name",)] if table.type.field("Name") else [("Id",)]
            items.append(Presenter(call.org, table, paths).record(row, call.version))
    return items
