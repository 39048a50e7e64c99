"""
Salesforce's error codes: for each, whether the same request may work later, waits for another, or never will.

Decided by code, never by the message (messages are in the user's language) nor by HTTP status alone (a locked
row has been seen with 500). Sources: SOAP API Developer Guide, Core Data Types (StatusCode, ExceptionCode);
REST API Developer Guide, Status Codes and Error Responses.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

SESSION: Final = "INVALID_SESSION_ID"
DUPLICATE: Final = "DUPLICATE_VALUE"
LOCKED: Final = "UNABLE_TO_LOCK_ROW"
LIMIT: Final = "REQUEST_LIMIT_EXCEEDED"


class Verdict(Enum):
    """What an error code asks of us."""

    SIGN_IN = "the token is not good any more"
    RETRY = "may work in a moment"
    LOCKED = "the record is locked, perhaps for days: tried again late"
    LIMITED = "an allowance is used up: much later"
    GONE = "the record is not there"
    FATAL = "the org does not let us in at all"
    NEVER = "this request, never"


# Another transaction has the row: usually for less than a second, and for as long as a batch job lasts.
ROW_LOCKS: Final = frozenset({LOCKED, "UNABLE_TO_LOCK_RECORD"})
_RETRY: Final = frozenset(
    {
        *ROW_LOCKS,
        "SERVER_UNAVAILABLE",
        "SERVICE_UNAVAILABLE",
        "FUNCTIONALITY_TEMPORARILY_UNAVAILABLE",
        "QUERY_TIMEOUT",
        "REQUEST_RUNNING_TOO_LONG",
        "TOO_MANY_APEX_REQUESTS",
        "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE",
        "UNKNOWN_EXCEPTION",
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "PROCESSING_HALTED",
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
        "ORG_IN_MAINTENANCE",
    }
)
# An approval process, a flow's interview or a person has the record, or one that it belongs to. Who else edits it meanwhile
# is told so at once; nobody tells when it ends.
_LOCKED: Final = frozenset(
    {
        "ENTITY_IS_LOCKED",
        "RECORD_IN_USE_BY_WORKFLOW",
        "RECORD_LOCKED",
        "CHECKOUT_LOCKED",
        "ALREADY_IN_PROCESS",
    }
)
# The org's storage is full for all records alike, until somebody makes room.
_LIMITED: Final = frozenset({LIMIT, "EXCEEDED_QUOTA", "STORAGE_LIMIT_EXCEEDED"})
_GONE: Final = frozenset({"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY"})
_FATAL: Final = frozenset({"API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED", "INVALID_LOGIN"})
UNKNOWN_FIELD: Final = "INVALID_FIELD"
# The org cannot make out what a record or a whole request says, and need not say of which field.
UNREADABLE: Final = frozenset(
    {"JSON_PARSER_ERROR", UNKNOWN_FIELD, "INVALID_TYPE_ON_FIELD_IN_RECORD", "HTTP_400", "HTTP_413"}
)
# About the record as a whole, whatever is written to it; or about another record.
ABOUT_THE_RECORD: Final = frozenset(
    {*_GONE, DUPLICATE, "INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "MALFORMED_ID"}
)
# A trigger's error wraps what made it fail; the code inside is not translated like the rest of the message.
WRAPPERS: Final = frozenset({"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER"})


def verdict_of(code: str, message: str = "") -> Verdict:
    """
    Say what an error code asks of us. A code that we do not know is one that never works: a write that is set
    aside is seen by somebody, one that is repeated for ever holds up all behind it.
    """
    if code == SESSION:
        return Verdict.SIGN_IN
    if code in _LOCKED or (code in WRAPPERS and any(inner in message for inner in _LOCKED)):
        return Verdict.LOCKED
    if code in _RETRY or (code in WRAPPERS and LOCKED in message):
        return Verdict.RETRY
    if code in _LIMITED:
        return Verdict.LIMITED
    if code in _GONE:
        return Verdict.GONE
    return Verdict.FATAL if code in _FATAL else Verdict.NEVER
