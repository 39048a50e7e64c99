"""
What an ingest job does to the records: its columns, each row as a write, and what is said of it.

A chunk of rows is one transaction of the org, in which each row succeeds or is refused by itself.
Source: Bulk API 2.0 Developer Guide ("Prepare CSV Files", "Relationship Fields in a Header Row",
"Get Job Successful Record Results", "Get Job Failed Record Results").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from salmon.simulator.bulk.csv_text import BadCsv
from salmon.simulator.bulk.jobs import Job
from salmon.simulator.org.ids import id18
from salmon.simulator.org.objects.object_types import TEXT_TYPES, Field
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest, Refusal
from salmon.simulator.org.saving.records import Unit
from salmon.simulator.org.saving.values import stored_value
from salmon.simulator.org.table import Table
from salmon.simulator.rest.composing.collections import Work, create_work, update_work, upsert_work

# Batches are processed in chunks of so many records ("Trigger Batch Size", "How Requests Are Processed").
CHUNK_ROWS: Final = 200
NULL: Final = "#N/A"
_YES, _NO = frozenset({"true", "1"}), frozenset({"false", "0"})
_DELETES: Final = frozenset({"delete", "hardDelete"})

# Puts the value of a cell into the body of a write.
Setter = Callable[[dict[str, Any], str], None]


@dataclass(frozen=True, slots=True)
class Upload:
    """The rows of a job, understood: what each is to become."""

    table: Table
    operation: str
    external_id: Field | None
    setters: Sequence[Setter]
    id_column: int | None

    def write(self, org: Org, job: Job, rows: Sequence[Sequence[str]]) -> None:
        """Write a chunk of rows in one transaction, and keep what became of each."""
        seen: set[Any] = set()
        purged: list[str] = []
        with org.transaction(job.user, job.change_origin) as unit:
            for row in rows:
                try:
                    done = self._work(row, seen)(unit)
                except Refusal as refusal:
                    given = "" if self.id_column is None else id18(row[self.id_column]) or ""
                    job.failed_rows.append([given, error_text(refusal), *row])
                    job.failed += 1
                else:
                    created = done.get("created", self.operation == "insert")
                    job.succeeded_rows.append([done["id"], "true" if created else "false", *row])
                    if self.operation == "hardDelete":
                        purged.append(done["id"])
        if purged:
            with org.lock:
                self.table.purge(purged, org.clock.now_ms())
        job.processed += len(rows)

    def _work(self, row: Sequence[str], seen: set[Any]) -> Work:
        """The write that a row asks for. Raises Refusal for a value that its field cannot take."""
        if self.operation in _DELETES:
            return self._delete(row[self.id_column or 0])
        body: dict[str, Any] = {}
        for setter, cell in zip(self.setters, row, strict=True):
            if cell:  # An empty cell says nothing.
                setter(body, cell)
        if self.operation == "insert":
            if self.id_column is not None and row[self.id_column]:
                message = "cannot specify Id in an insert call"
                raise Refusal("INVALID_FIELD_FOR_INSERT_UPDATE", message, "Id")
            return create_work(self.table, body)
        if self.operation == "update":
            return update_work(self.table, body)
        assert self.external_id is not None
        return upsert_work(self.table, self.external_id, body, seen)

    def _delete(self, given: str) -> Work:
        def work(unit: Unit) -> dict[str, Any]:
            full_id = id18(given)
            if full_id is None or not full_id.startswith(self.table.type.key_prefix):
                raise Refusal("MALFORMED_ID", f"malformed id {given}")
            unit.delete(self.table.type.name, full_id)
            return {"id": full_id, "created": False}

        return work


def understand(org: Org, job: Job, header: Sequence[str]) -> Upload:
    """
    Read the header of an upload.

    Raises:
        BadCsv: The job fails as a whole: a column is no field, is there twice, or a needed one is missing.
    """
    table = org.tables[job.object_name]
    object_type = table.type
    external_id = object_type.field(job.external_id_field) if job.external_id_field else None
    names = [name.strip().lower() for name in header]
    if doubled := next((name for name in header if names.count(name.strip().lower()) > 1), None):
        raise BadCsv(f"InvalidBatch : InvalidBatch : Duplicate field name : {doubled}")
    if job.operation in _DELETES and names != ["id"]:
        if "id" not in names:
            raise _no_field("Id")
        raise BadCsv("InvalidBatch : InvalidBatch : Delete batch must only contain ids")
    needed = {"update": "Id", "upsert": external_id.name if external_id else "Id"}.get(job.operation)
    if needed is not None and needed.lower() not in names:
        raise _no_field(needed)
    setters = [_setter(org, table, name.strip()) for name in header]
    id_column = names.index("id") if "id" in names else None
    return Upload(table, job.operation, external_id, setters, id_column)


def error_text(refusal: Refusal) -> str:
    """What sf__Error says: code, message and fields, as in CODE:message:Field --."""
    fields = f"{' '.join(refusal.fields)} " if refusal.fields else ""
    return f"{refusal.code}:{refusal.message}:{fields}--"


def _no_field(name: str) -> BadCsv:
    return BadCsv(f"InvalidBatch : InvalidBatch : Field name not found : {name}")


def _setter(org: Org, table: Table, name: str) -> Setter:
    if "." in name:
        return _parent_setter(org, table, name)
    field = table.type.field(name)
    if field is None:
        raise _no_field(name)

    def set_field(body: dict[str, Any], cell: str) -> None:
        body[field.name] = None if cell == NULL else value_of(field, cell)

    return set_field


def _parent_setter(org: Org, table: Table, name: str) -> Setter:
    """A column like Account.Ext__c, or Lead:Who.Email where the parent may be of several objects."""
    path, _, key = name.partition(".")
    type_name, colon, relationship = path.rpartition(":")
    field = table.type.relationship(relationship)
    if field is None or (len(field.reference_to) > 1 and not colon):
        raise _no_field(name)
    parent = org.tables.get(org.object_name(type_name) or "" if colon else field.reference_to[0])
    parent_field = None if parent is None else parent.type.field(key)
    if (
        parent is None
        or parent_field is None
        or parent.type.name not in field.reference_to
        or not (parent_field.external_id or parent_field.id_lookup)
    ):
        raise _no_field(name)
    parent_name, parent_key = parent.type.name, parent_field.name

    def set_parent(body: dict[str, Any], cell: str) -> None:
        named = {"attributes": {"type": parent_name}, parent_key: cell}
        body[str(field.relationship)] = None if cell == NULL else named

    return set_parent


def value_of(field: Field, cell: str) -> Any:
    """The value that the text of a cell stands for. Raises Refusal if the field cannot take it."""
    if field.type in TEXT_TYPES:
        return cell
    value: Any = cell.strip()
    if field.type == "boolean" and value.lower() in _YES | _NO:
        value = value.lower() in _YES
    try:
        stored_value(field, value)
    except BadRequest:
        message = f"{field.label}: value not of required type: {cell}"
        raise Refusal("INVALID_TYPE_ON_FIELD_IN_RECORD", message, field.name) from None
    return value
