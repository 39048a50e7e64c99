"""sObject Rows and Rows by External ID (REST API Developer Guide): one record per call, one transaction per write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from salmon.simulator.org.ids import id18
from salmon.simulator.org.objects.object_types import Field
from salmon.simulator.org.presenting import Presenter, all_fields
from salmon.simulator.org.refusals import (
    BadRequest,
    Refusal,
    entity_is_deleted,
    invalid_cross_reference,
    no_such_row,
    unknown_field,
)
from salmon.simulator.org.saving.records import Unit
from salmon.simulator.org.saving.values import stored_value
from salmon.simulator.org.table import Table
from salmon.simulator.org.transaction import Row
from salmon.simulator.rest import conditional
from salmon.simulator.rest.web import Answer, Call

Result = TypeVar("Result")


def create(call: Call, object_name: str) -> Answer:
    """POST /sobjects/X"""
    table, body = call.table(object_name), call.json_object()
    record_id = _write(call, lambda unit: unit.insert(table.type.name, body))
    call.touch(record_id)
    return Answer(201, {"id": record_id, "success": True, "errors": []}, _location(call, table, record_id))


def row(call: Call, object_name: str, record_id: str) -> Answer:
    """GET, PATCH and DELETE /sobjects/X/id"""
    table = call.table(object_name)
    found = existing(table, record_id, reading=call.method == "GET")
    full_id = str(found["Id"])
    if call.method == "GET":
        return _show(call, table, found)
    if call.method == "DELETE":
        _write(call, lambda unit: unit.delete(table.type.name, full_id))
        return Answer(204)
    body = call.json_object()
    _refuse_in_body(body, "Id")

    def update(unit: Unit) -> None:
        if (now := table.live.get(full_id)) is not None:
            conditional.check_unmodified(call, _modified_ms(now), _etag(table, now))
        unit.update(table.type.name, full_id, body)

    _write(call, update)
    call.touch(full_id)
    return Answer(204)


def row_by_external_id(call: Call, object_name: str, field_name: str, value: str) -> Answer:
    """GET, PATCH (upsert) and DELETE /sobjects/X/Field/value"""
    table = call.table(object_name)
    if field_name.lower() == "id":
        return row(call, object_name, value)
    field = external_id_field(table, field_name)
    if call.method == "PATCH":
        return _upsert(call, table, field, value)
    with call.org.lock:
        found = _by_external_id(table, field, value, call.version)
    if isinstance(found, Answer):
        return found
    if found is None:
        raise no_such_row()
    if call.method == "GET":
        return _show(call, table, found)
    _write(call, lambda unit: unit.delete(table.type.name, str(found["Id"])))
    return Answer(204)


def external_id_field(table: Table, name: str) -> Field:
    """Return the external id field by that name. Raises BadRequest (404) if it does not exist."""
    field = table.type.field(name)
    if field is None or not (field.external_id or field.id_lookup):
        message = f"Provided external ID field does not exist or is not accessible: {name}"
        raise BadRequest("NOT_FOUND", message, status=404)
    return field


def _upsert(call: Call, table: Table, field: Field, value: str) -> Answer:
    name, body = table.type.name, call.json_object()
    _refuse_in_body(body, field.name)
    _refuse_in_body(body, "Id")
    update_only = call.params.get("updateOnly", "").lower() == "true"

    def write(unit: Unit) -> Answer:
        found = _by_external_id(table, field, value, call.version)
        if isinstance(found, Answer):
            return found
        if found is None:
            if update_only:
                raise no_such_row()
            record_id = unit.insert(name, {**body, field.name: value})
            made = {"id": record_id, "success": True, "errors": [], "created": True}
            return Answer(201, made, _location(call, table, record_id))
        record_id = str(found["Id"])
        unit.update(name, record_id, body)
        if float(call.version) < 46:
            return Answer(204)
        return Answer(200, {"id": record_id, "success": True, "errors": [], "created": False})

    answered = _write(call, write)
    if isinstance(answered.body, dict):
        call.touch(answered.body["id"])
    return answered


def _location(call: Call, table: Table, record_id: str) -> dict[str, str]:
    return {"Location": f"/services/data/v{call.version}/sobjects/{table.type.name}/{record_id}"}


def _write(call: Call, work: Callable[[Unit], Result]) -> Result:
    with call.transaction(with_client=True) as unit:
        return work(unit)


def existing(table: Table, record_id: str, *, reading: bool) -> Row:
    """The live row of an id in a path. Raises Refusal or BadRequest (404), which differ for reading and for writing."""
    full_id = id18(record_id)
    if full_id is None:
        message = f"Provided external ID field does not exist or is not accessible: {record_id}"
        raise BadRequest("NOT_FOUND", message, status=404)
    found = table.live.get(full_id)
    if found is None and full_id in table.bin:
        raise entity_is_deleted()
    if found is None:
        raise no_such_row() if reading else invalid_cross_reference(404)
    return found


def _by_external_id(table: Table, field: Field, value: str, version: str) -> Row | Answer | None:
    """Return the one live row, None, or the answer 300 that lists several rows."""
    ids = table.find(field, stored_value(field, value))
    if len(ids) > 1:
        return Answer(300, [f"/services/data/v{version}/sobjects/{table.type.name}/{each}" for each in ids])
    return table.live[ids[0]] if ids else None


def _show(call: Call, table: Table, found: Row) -> Answer:
    modified_ms, etag = _modified_ms(found), _etag(table, found)
    headers = {} if etag is None else conditional.headers(modified_ms, etag)
    conditional.check_unmodified(call, modified_ms, etag)
    if (unchanged := conditional.unchanged(call, modified_ms, etag, headers)) is not None:
        return unchanged
    return Answer(
        200, Presenter(call.org, table, shown_fields(call, table)).record(found, call.version), headers
    )


def shown_fields(call: Call, table: Table) -> list[tuple[str, ...]]:
    """The fields that the parameter `fields` asks for, and Id; all of them without it."""
    wanted = call.params.get("fields")
    if not wanted:
        return all_fields(table)
    paths: list[tuple[str, ...]] = []
    for name in wanted.split(","):
        if (field := table.type.field(name.strip())) is None:
            raise unknown_field(table.type.name, name.strip())
        paths.append((field.name,))
    return paths if ("Id",) in paths else [*paths, ("Id",)]


def _etag(table: Table, found: Row) -> str | None:
    """Of an account, whatever fields of it are asked for; other objects have none."""
    return conditional.etag_of(dict(found)) if table.type.name == "Account" else None


def _modified_ms(found: Row) -> int:
    stamp = found.get("LastModifiedDate") or found.get("SystemModstamp")
    return round(datetime.fromisoformat(str(stamp)).timestamp() * 1000) if stamp else 0


def _refuse_in_body(body: dict[str, Any], name: str) -> None:
    if any(key.lower() == name.lower() for key in body):
        raise Refusal("INVALID_FIELD", f"The {name} field should not be specified in the sobject data.")
