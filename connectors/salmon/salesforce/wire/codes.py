"""
Salesforce's error codes: for each, whether the same request may work later, waits for another, or never will.

Decided by code, never by the message (messages are in the user's language); by HTTP status only for a whole request
without a code that we know. Sources: SOAP API Developer Guide, Core Data Types (StatusCode, ExceptionCode);
REST API Developer Guide, Status Codes and Error Responses.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

SESSION: Final = "INVALID_SESSION_ID"
DUPLICATE: Final = "DUPLICATE_VALUE"
LOCKED: Final = "UNABLE_TO_LOCK_ROW"
BLOCKED: Final = "DELETE_FAILED"  # by other records, that refer to this one
LIMIT: Final = "REQUEST_LIMIT_EXCEEDED"
# The call was rolled back, and it may be the fault of another record of it.
ROLLED_BACK: Final = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
HALTED: Final = "PROCESSING_HALTED"  # given up before anything was decided


class Verdict(Enum):
    """What an error code asks of us."""

    SIGN_IN = "the token is not good any more"
    RETRY = "may work in a moment"
    LOCKED = "the record is locked, perhaps for days: tried again late"
    LIMITED = "an allowance is used up: much later"
    GONE = "the record is not there"
    MOVED = "nothing is where signing in said it is"
    FATAL = "the org does not let us in: until somebody changes that"
    NEVER = "this request, never"


# Another transaction has the row: usually for less than a second, and for as long as a batch job lasts.
ROW_LOCKS: Final = frozenset({LOCKED, "UNABLE_TO_LOCK_RECORD"})
_RETRY: Final = frozenset(
    {
        *ROW_LOCKS,
        "SERVER_UNAVAILABLE",
        "SERVICE_UNAVAILABLE",
        "API_CURRENTLY_DISABLED",  # "because of a system problem": not API_DISABLED_FOR_ORG, which an admin decides
        "TEMPORARY_QUERY_MORE_FAILURE",
        "FUNCTIONALITY_TEMPORARILY_UNAVAILABLE",
        "QUERY_TIMEOUT",
        "REQUEST_RUNNING_TOO_LONG",
        "TOO_MANY_APEX_REQUESTS",
        "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE",
        "UNKNOWN_EXCEPTION",
        ROLLED_BACK,
        HALTED,
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
NOT_FOUND: Final = "NOT_FOUND"
NOT_THERE: Final = "URL_NOT_RESET"  # "The URL returned from login must be set" (SOAP API, ExceptionCode)
_GONE: Final = frozenset({"ENTITY_IS_DELETED", NOT_FOUND, "INVALID_CROSS_REFERENCE_KEY"})
_FATAL: Final = frozenset({"API_DISABLED_FOR_ORG", "INVALID_LOGIN"})
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


# Each is about what the request or the record says, or about what its user may see of it, whatever the status beside it.
_NEVER: Final = frozenset(
    {
        *UNREADABLE,
        *WRAPPERS,
        DUPLICATE,
        BLOCKED,
        "DUPLICATES_DETECTED",
        "DUPLICATE_EXTERNAL_ID",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "FIELD_FILTER_VALIDATION_EXCEPTION",
        "FIELD_INTEGRITY_EXCEPTION",
        "INACTIVE_OWNER_OR_USER",
        "INSUFFICIENT_ACCESS",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INVALID_EMAIL_ADDRESS",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "INVALID_TYPE",
        "MALFORMED_ID",
        "MALFORMED_QUERY",
        "NUMBER_OUTSIDE_VALID_RANGE",
        "QUERY_TOO_COMPLICATED",
        "REQUIRED_FIELD_MISSING",
        "STRING_TOO_LONG",
    }
)
# Statuses that are about the request itself: bad, too large, its URI or its headers too long.
_FAULTS_OF_THE_REQUEST: Final = frozenset({400, 413, 414, 431})
_TOO_MANY: Final = frozenset({420, 429})


def verdict_of(code: str, message: str = "") -> Verdict:
    """
    Say what the error code of one record asks of us. A code that we do not know is one that never works: a write that
    is set aside is seen by somebody, one that is repeated for ever holds up all behind it.
    """
    return _listed(code, message) or Verdict.NEVER


def verdict_of_request(status: int, code: str = "", message: str = "") -> Verdict:
    """
    Say what the error of a whole request asks of us, *code* being "" where there is none.

    A code that we know decides, whatever the status. Without one, a proxy, a gateway or another host may have answered,
    or an org in trouble: only four statuses are about the request itself. To take all else for a refusal would set every
    write of an outage aside.

        listed code          its class, as for a record (a locked row has been seen with 500)
        400, 413, 414, 431   NEVER: the request is bad or too large; who sent it looks for the record at fault
        401                  SIGN_IN
        3xx, 404, 410        MOVED: the org, its instance or its API version is elsewhere
        URL_NOT_RESET        MOVED, with status 400: the org is at another instance than this one
        420, 429             LIMITED
        403, other 4xx       RETRY: a proxy, or a rate limit (403 EXCEEDED_RATE_LIMIT); about no record
        5xx                  RETRY: the org or what stands before it (500 INTERNAL_SERVER_ERROR, 502, 503, 504)
    """
    if listed := _listed(code, message):
        return listed
    if code == NOT_THERE:
        return Verdict.MOVED
    if status in _FAULTS_OF_THE_REQUEST:
        return Verdict.NEVER
    if status == 401:
        return Verdict.SIGN_IN
    if status in _TOO_MANY:
        return Verdict.LIMITED
    return Verdict.MOVED if status < 400 or status in (404, 410) else Verdict.RETRY


def _listed(code: str, message: str) -> Verdict | None:
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
    if code in _FATAL:
        return Verdict.FATAL
    return Verdict.NEVER if code in _NEVER else None
