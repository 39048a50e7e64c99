"""
The org's refusals, with the codes and texts of the REST API Developer Guide ("Status Codes and Error Responses").

They are a server's answers to its clients, not our own errors, so they are not a SalmonError.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any


class Refusal(Exception):
    """One record, or one request, is refused."""

    def __init__(self, code: str, message: str, *fields: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fields = list(fields)
        self.status = status
        self.also: Sequence[Refusal] = ()  # further reasons, which are told along with it

    def as_row_error(self) -> list[dict[str, Any]]:
        """The body of a refused single-row call; there the code is called errorCode."""
        error: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.status != 404 or self.code == "ENTITY_IS_DELETED":
            error["fields"] = self.fields
        return [error, *(each for other in self.also for each in other.as_row_error())]

    def as_collection_error(self) -> dict[str, Any]:
        """One error of a record in a collection; there the code is called statusCode."""
        return {"statusCode": self.code, "message": self.message, "fields": self.fields}

    def as_collection_errors(self) -> list[dict[str, Any]]:
        """All of them."""
        return [each.as_collection_error() for each in (self, *self.also)]


class BadRequest(Refusal):
    """The request as a whole cannot be read or served: nothing of it is done, in collections neither."""

    def as_row_error(self) -> list[dict[str, Any]]:
        """Without `fields`: it is about no field."""
        return [{"message": self.message, "errorCode": self.code}]


def not_found() -> BadRequest:
    """There is no such resource."""
    return BadRequest("NOT_FOUND", "The requested resource does not exist", status=404)


def no_such_row() -> BadRequest:
    """There is no row with this id, or none with this external id."""
    return BadRequest("NOT_FOUND", "The requested resource does not exist", status=404)


def entity_is_deleted() -> Refusal:
    """The record is in the Recycle Bin."""
    return Refusal("ENTITY_IS_DELETED", "entity is deleted", status=404)


def invalid_cross_reference(status: int = 400) -> Refusal:
    """An id is well formed, but no record has it. A row that is written to by such an id is answered with 404."""
    return Refusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=status)


def locked(record_id: str) -> Refusal:
    """Another transaction holds the row. Single rows answer it with HTTP 500, as recorded."""
    message = f"unable to obtain exclusive access to this record or 1 records: {record_id}"
    return Refusal("UNABLE_TO_LOCK_ROW", message, status=500)


def in_approval() -> Refusal:
    """An approval process has locked the record, for as long as it lasts."""
    message = (
        "The record you are attempting to edit, or one of its related records, is currently locked: it is in an "
        "approval process."
    )
    return Refusal("ENTITY_IS_LOCKED", message)


def rolled_back() -> Refusal:
    """A neighbour in an all-or-none call was refused."""
    return Refusal(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using AllOrNone header",
    )


def unknown_field(object_name: str, field: str) -> Refusal:
    """A body names a field that the object does not have."""
    return Refusal("INVALID_FIELD", f"No such column '{field}' on sobject of type {object_name}")


def not_writable(field: str) -> Refusal:
    """A body sets a field that this call may not set."""
    return Refusal(
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        f"Unable to create/update fields: {field}. Please check the security settings of this field and verify "
        f"that it is read/write for your profile or permission set.",
        field,
    )


def cannot_deserialize(kind: str, value: Any) -> BadRequest:
    """A JSON value has the wrong type for its field: the whole request cannot be parsed."""
    token = {
        bool: f"VALUE_{str(value).upper()}",
        int: "VALUE_NUMBER_INT",
        float: "VALUE_NUMBER_FLOAT",
        Decimal: "VALUE_NUMBER_FLOAT",
    }.get(type(value))
    if isinstance(value, list | dict):
        token = "START_ARRAY" if isinstance(value, list) else "START_OBJECT"
        return BadRequest(
            "JSON_PARSER_ERROR",
            f"Cannot deserialize instance of {kind} from {token} value [line:1, column:2]",
        )
    shown = str(value).lower() if isinstance(value, bool) else value
    return BadRequest(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {kind} from {token or 'VALUE_STRING'} value {shown} "
        f"or request may be missing a required field at [line:1, column:2]",
    )
