"""
sObject Relationships and sObject Blob Get (REST API Developer Guide): what is below a record.

By the name of a relationship that is its parent or its children, by the name of a base64 field the file in it.
"""

from __future__ import annotations

import base64

from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.presenting import Presenter
from salmon.simulator.org.refusals import no_such_row
from salmon.simulator.org.transaction import Row
from salmon.simulator.rest.rows import existing, shown_fields
from salmon.simulator.rest.web import Answer, Call


def below_a_row(call: Call, object_name: str, record_id: str, name: str) -> Answer:
    """GET /sobjects/X/id/BlobField: the bytes; /sobjects/X/id/Relationship: the parent as a row, or the children"""
    table = call.table(object_name)
    found = existing(table, record_id, reading=True)
    if name in table.type.base64_fields:
        content = base64.b64decode(str(found.get(name) or ""))
        return Answer(200, content, {"Content-Type": "application/octet-stream"})
    parent = table.type.relationship(name)
    if parent is not None:
        return _parent(call, parent, found)
    child = table.type.child(name)
    children = None if child is None else call.org.tables.get(child[0])
    field = None if child is None or children is None else children.type.field(child[1])
    if children is None or field is None:
        raise no_such_row()
    with call.org.lock:
        rows = children.rows_of(children.find(field, str(found["Id"])))
    records = Presenter(call.org, children, shown_fields(call, children)).records(rows, call.version)
    return Answer(200, {"done": True, "totalSize": len(records), "records": records})


def _parent(call: Call, field: Field, found: Row) -> Answer:
    parent_id = str(found.get(field.name) or "")
    table = call.org.by_prefix.get(parent_id[:3])
    row = None if table is None else table.live.get(parent_id)
    if table is None or row is None:
        raise no_such_row()
    return Answer(200, Presenter(call.org, table, shown_fields(call, table)).record(row, call.version))
