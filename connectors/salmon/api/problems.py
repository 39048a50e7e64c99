"""
What the API answers when it does not do what was asked: problem details (RFC 9457), which name the field and the reason.

No problem quotes a value of the request or of a record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from salmon.errors import ConfigError, FatalError, RetriableError, SalmonError

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_AFTER_S: Final = "1"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field, or one part of the request. *code*: ours, or the org's own."""

    field: str
    code: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "reason": self.reason}


class Problem(Exception):
    """
    A request is not carried out.

    Args:
        code: A word for programs; it ends the `type` of the problem.
        detail: What is wrong, and what to do.
        faults: The fields, or parts of the request, at fault.
        more: Further members of the problem.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.faults, self.headers, self.more = tuple(faults), dict(headers or {}), dict(more or {})

    def body(self) -> dict[str, Any]:
        return {
            "type": f"urn:salmon:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **({"errors": [fault.as_dict() for fault in self.faults]} if self.faults else {}),
            **self.more,
        }

    def response(self) -> Response:
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers, media_type=MEDIA_TYPE)


def at_fault(name: str, code: str, reason: str, *, status: int = 400) -> Problem:
    """A problem of one field, or one part of the request."""
    return Problem(status, code, f"{name}: {reason}", faults=[Fault(name, code, reason)])


class FaultBody(BaseModel):
    """One field, or one part of the request, and why it is refused."""

    field: str
    code: str
    reason: str


class ProblemBody(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    code: str = Field(description="A word for programs.")
    detail: str = Field(description="What is wrong, and what to do.")
    errors: list[FaultBody] = Field(default_factory=list)


_MEANINGS: Final[Mapping[int, str]] = {
    400: "The request cannot be understood, or asks for what cannot be.",
    401: "A key or a token is missing, or is not good.",
    403: "The key or token does not allow this.",
    404: "There is no such record, or no such object.",
    405: "The method is not for this address.",
    409: "The record is there already, or was changed at the same moment.",
    412: "The record is not as If-Match says.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The values do not fit, or Salesforce has refused them.",
    428: "If-Match is needed.",
    429: "Too many requests; see Retry-After.",
    503: "A server that is needed does not answer; see Retry-After.",
}


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These answers, for the description of an operation."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Have *app* answer every error with a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(SalmonError, _failed)
    app.add_exception_handler(Exception, _unexpected)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = _MEANINGS.get(error.status_code, str(error.detail))
    return Problem(error.status_code, phrase, detail, headers=error.headers).response()


async def _not_understood(_: Request, error: Exception) -> Response:
    """Say which part of the request is wrong, and never quote it."""
    assert isinstance(error, RequestValidationError)
    faults = [Fault(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in error.errors()]
    detail = "; ".join(f"{fault.field}: {fault.reason}" for fault in faults)
    return Problem(400, "not-understood", detail, faults=faults).response()


async def _failed(_: Request, error: Exception) -> Response:
    """Kafka, the registry or MongoDB does not serve us; or the sync is not set up as this needs."""
    if isinstance(error, RetriableError | FatalError) and not isinstance(error, ConfigError):
        return Problem(503, "unavailable", str(error), headers={"Retry-After": _RETRY_AFTER_S}).response()
    return Problem(400, "not-possible", str(error)).response()


async def _unexpected(request: Request, error: Exception) -> Response:
    """The text of an error that is not ours may quote a value, so nobody is shown it."""
    log.error("request_failed_unexpectedly", path=request.scope.get("route_path", ""), exc_info=error)
    return Problem(500, "unexpected", "This is a fault in Salmon. See the log of the process.").response()
