"""
sObject Collections (REST API Developer Guide): up to 200 records per call, each with its own result.

A call is one transaction: with allOrNone=false, of the records that could be saved; with true, of all or none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from salmon.simulator.org.ids import id18
from salmon.simulator.org.objects.object_types import Field, ObjectType
from salmon.simulator.org.presenting import Presenter
from salmon.simulator.org.refusals import BadRequest, Refusal, rolled_back, unknown_field
from salmon.simulator.org.saving.records import Unit
from salmon.simulator.org.saving.values import stored_value
from salmon.simulator.org.table import Table
from salmon.simulator.rest import events
from salmon.simulator.rest.rows import external_id_field
from salmon.simulator.rest.web import Answer, Call

RECORDS_MAX = 200
RETRIEVED_MAX = 2000
CHUNKS_MAX = 10

Work = Callable[[Unit], dict[str, Any]]


def collection(call: Call) -> Answer:
    """POST (create), PATCH (update) and DELETE (?ids=) /composite/sobjects"""
    if call.method == "DELETE":
        ids = [part.strip() for part in call.params.get("ids", "").split(",") if part.strip()]
        _check_size(ids)
        all_or_none = call.params.get("allOrNone", "false").lower() == "true"
        return _run(call, [_delete(call, each) for each in ids], all_or_none)
    records, all_or_none = _records(call)
    repeats = Repeats(call.org.settings.duplicate_updates_max)
    kind = create_work if call.method == "POST" else partial(update_work, repeats=repeats)
    tables = [_event_of(call, record) or _table_of(call, record) for record in records]
    # Records of one type in a row are a chunk; a new one begins with each that differs from the one before.
    if 1 + sum(one is not other for one, other in pairwise(tables)) > CHUNKS_MAX:
        what = f"Cannot have more than {CHUNKS_MAX} chunks in a single operation. Please rearrange the data to reduce chunking."
        raise BadRequest("LIMIT_EXCEEDED", what)
    work = [
        kind(table, record) if isinstance(table, Table) else _publish(call, table, record)
        for table, record in zip(tables, records, strict=True)
    ]
    return _run(call, work, all_or_none)


def upsert(call: Call, object_name: str, field_name: str) -> Answer:
    """PATCH /composite/sobjects/X/Field"""
    table = call.table(object_name)
    field = table.type.field("Id") if field_name.lower() == "id" else external_id_field(table, field_name)
    if field is None:
        raise BadRequest("NOT_FOUND", "The requested resource does not exist", status=404)
    records, all_or_none = _records(call)
    seen: set[Any] = set()
    work = []
    for record in records:
        if _table_of(call, record) is not table:
            raise BadRequest("INVALID_TYPE", f"all records of this call must be of type {object_name}")
        work.append(upsert_work(table, field, record, seen))
    return _run(call, work, all_or_none)


def retrieve(call: Call, object_name: str) -> Answer:
    """GET (?ids=&fields=) and POST ({ids, fields}) /composite/sobjects/X: in the order of the ids, null where missing"""
    table = call.table(object_name)
    if call.method == "POST":
        body = call.json_object()
        ids, fields = body.get("ids"), body.get("fields")
    else:
        ids, fields = (call.params.get(name, "").split(",") for name in ("ids", "fields"))
    if not isinstance(ids, list) or not isinstance(fields, list) or not fields or fields == [""]:
        raise BadRequest("MISSING_ARGUMENT", "ids and fields are required")
    _check_size(ids, RETRIEVED_MAX)
    paths = [("Id",)]
    for name in fields:
        if (field := table.type.field(str(name).strip())) is None:
            raise unknown_field(object_name, str(name))
        if (field.name,) not in paths:
            paths.append((field.name,))
    presenter = Presenter(call.org, table, paths)
    with call.org.lock:
        unseen = call.org.unseen(call.user, table.type.name) or (lambda _: False)
        rows = [None if unseen(id18(each) or "") else table.live.get(id18(each) or "") for each in ids]
    return Answer(200, [None if row is None else presenter.record(row, call.version) for row in rows])


def _run(call: Call, work: Sequence[Work], all_or_none: bool) -> Answer:
    results: list[dict[str, Any]] = []
    # The client's name of Sforce-Call-Options is not documented for collections, so it does not reach the events.
    with call.transaction(with_client=False) as unit:
        for each in work:
            try:
                results.append(each(unit))
            except BadRequest:  # The request as a whole is wrong.
                raise
            except Refusal as refusal:
                results.append({"success": False, "errors": refusal.as_collection_errors()})
        if all_or_none and not all(result["success"] for result in results):
            unit.rollback()
            results = [_undone(call, result) if result["success"] else result for result in results]
    return Answer(200, results)


def _undone(call: Call, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a record that was fine and is undone: one that was there before keeps its id."""
    undone = {"success": False, "errors": rolled_back().as_collection_errors()}
    record_id = str(result["id"])
    if record_id[:3] not in call.org.by_prefix:  # A platform event that was published is out.
        return result
    return {"id": record_id, **undone} if record_id in call.org.by_prefix[record_id[:3]].live else undone


def _publish(call: Call, event: ObjectType, record: dict[str, Any]) -> Work:
    events.must_be_new(call, event)
    return lambda _unit: events.published(call, event, record)


def create_work(table: Table, record: dict[str, Any]) -> Work:
    return lambda unit: _done(unit.insert(table.type.name, record))


class Repeats:
    """
    The records that one call has updated: of those that it names once more, an org updates so many, all in all.

    Source: SOAP API Developer Guide ("update()") and Salesforce Help ("Maximum Number Of Duplicate Updates In One Batch"). The
    code is that of recorded errors.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._updated: set[str] = set()
        self._repeated = 0

    def count(self, record_id: str) -> None:
        """Raises Refusal for one repetition too many."""
        self._repeated += record_id in self._updated
        if record_id in self._updated and self._repeated > self._most:
            what = f"Maximum number of duplicate updates in one batch ({self._most} allowed)."
            again = f"Attempt to update Id more than once in this Api call: {record_id[:15]}"
            raise Refusal("DUPLICATE_VALUE", f"{what} {again}")
        self._updated.add(record_id)


def update_work(table: Table, record: dict[str, Any], *, repeats: Repeats | None = None) -> Work:
    """*repeats*: of the call, where records that it names twice are counted."""

    def work(unit: Unit) -> dict[str, Any]:
        record_id, body = _id_apart(table, record)
        if record_id is None:
            raise Refusal("MISSING_ARGUMENT", "Id not specified in an update call")
        if repeats is not None:
            repeats.count(record_id)
        unit.update(table.type.name, record_id, body)
        return _done(record_id)

    return work


def _delete(call: Call, record_id: str) -> Work:
    def work(unit: Unit) -> dict[str, Any]:
        full_id = id18(record_id)
        if full_id is None:
            raise Refusal("MALFORMED_ID", f"malformed id {record_id}")
        table = call.org.by_prefix.get(full_id[:3])
        if table is None:
            raise Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        unit.delete(table.type.name, full_id)
        return _done(full_id)

    return work


def upsert_work(table: Table, field: Field, record: dict[str, Any], seen: set[Any]) -> Work:
    def work(unit: Unit) -> dict[str, Any]:
        name = table.type.name
        if field.type == "id":
            record_id, body = _id_apart(table, record)
            if record_id is None:
                return _done(unit.insert(name, body), created=True)
            if record_id in seen:
                raise Refusal("DUPLICATE_VALUE", f"Duplicate id specified: {record_id}", "Id")
            seen.add(record_id)
            unit.update(name, record_id, body)
            return _done(record_id, created=False)
        given = next((value for key, value in record.items() if key.lower() == field.name.lower()), None)
        value = stored_value(field, given)
        if value is None:
            raise Refusal("MISSING_ARGUMENT", f"{field.name} not specified")
        key = field.index_key(value)
        if key in seen:
            raise Refusal("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", field.name)
        seen.add(key)
        found = table.find(field, value)
        if len(found) > 1:
            raise Refusal(
                "DUPLICATE_EXTERNAL_ID",
                f"More than one record found for external id field: {found}",
                field.name,
            )
        if not found:
            return _done(unit.insert(name, record), created=True)
        # The value that named the record is not written again: it may differ in case only.
        body = {key: each for key, each in record.items() if key.lower() != field.name.lower()}
        unit.update(name, found[0], body)
        return _done(found[0], created=False)

    return work


def _done(record_id: str, *, created: bool | None = None) -> dict[str, Any]:
    done: dict[str, Any] = {"id": record_id, "success": True, "errors": []}
    if created is not None:
        done["created"] = created
    return done


def _records(call: Call) -> tuple[list[dict[str, Any]], bool]:
    body = call.json_object()
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise BadRequest("JSON_PARSER_ERROR", "The property 'records' must be an array of objects.")
    _check_size(records)
    return records, body.get("allOrNone") is True


def _check_size(items: Sequence[Any], largest: int = RECORDS_MAX) -> None:
    if not items:
        raise BadRequest("MISSING_ARGUMENT", "The request names no records.")
    if len(items) > largest:
        message = f"record limit reached. cannot submit more than {largest} records into this call"
        raise BadRequest("EXCEEDED_ID_LIMIT", message)


def _event_of(call: Call, record: dict[str, Any]) -> ObjectType | None:
    """The platform event that a record is; None for a record."""
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    return call.org.platform_events.find(name) if isinstance(name, str) else None


def _table_of(call: Call, record: dict[str, Any]) -> Table:
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    if not isinstance(name, str):
        raise BadRequest("INVALID_INPUT", "Each record needs an attributes object with its type.")
    canonical = call.org.object_name(name)
    if canonical is None:
        raise BadRequest("INVALID_TYPE", f"sObject type '{name}' is not supported.")
    return call.org.tables[canonical]


def _id_apart(table: Table, record: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The record's own id, and the rest of it."""
    given = next((value for key, value in record.items() if key.lower() == "id"), None)
    body = {key: value for key, value in record.items() if key.lower() != "id"}
    if given is None:
        return None, body
    full_id = id18(given)
    if full_id is None or not full_id.startswith(table.type.key_prefix):
        raise Refusal("MALFORMED_ID", f"{table.type.label} ID: id value of incorrect type: {given}", "Id")
    return full_id, body
