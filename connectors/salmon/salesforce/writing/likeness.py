"""
Records that a duplicate rule refuses: which record each is like, and what that means for its write.

A collection does not say which; one record alone is answered with it. So the refused records are sent once more by Composite, 25 a
call, each alone. Whoever is saved by that is saved. The others wait while a write is owed to the record that they are like; if none
is, they are refused, and put again when that record is written to: it may be the one that a person corrects.
Sources: REST API Developer Guide, "Composite", "Error Responses" (duplicateResult; orgs spell it duplicateResut).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, runtime_checkable

import structlog

from salmon.errors import RequestRejected, Unavailable
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Outcome, OutcomeKind, OwedTo
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.rest import Page

log = structlog.get_logger(__name__)

LIKE: Final = "DUPLICATES_DETECTED"
SUBREQUESTS_MAX: Final = 25
ASKED_MAX: Final = (
    4 * SUBREQUESTS_MAX
)  # of a batch; a rule that refuses thousands need not cost a call for each few of them
_ERRORS: Final = 300  # HTTP status codes from here on
_AGAIN_S: Final = 5.0  # while a write is owed to the other record
_RESULTS: Final = ("duplicateResut", "duplicateResult")

Body = Mapping[str, Any]


@runtime_checkable
class Composing(Protocol):
    """An org that takes several calls in one."""

    base: str

    def ask(self, method: str, below: str, *, resource: str, body: Any = None) -> Any: ...
    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[Page]: ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a record that was sent alone: saved, or like another one (object, Id); or neither is known."""

    saved: str | None = None
    like: tuple[str, str] | None = None


class Likeness:
    """
    Args:
        owed: What is owed to other records.
    """

    def __init__(self, org: object, schemas: Mapping[str, ObjectSchema], owed: OwedTo) -> None:
        self._org, self._schemas, self._owed = org, schemas, owed

    def judged(self, refused: Sequence[tuple[Body, Outcome]]) -> Sequence[Outcome]:
        """
        The outcomes of records that a duplicate rule has refused, given with what was sent and how that was answered.

        Raises RetriableError: nothing is known of any of them.
        """
        if not isinstance(self._org, Composing):
            return [outcome for _, outcome in refused]
        answers: list[Answered] = []
        for first in range(0, min(len(refused), ASKED_MAX), SUBREQUESTS_MAX):
            bodies = [body for body, _ in refused[first : first + SUBREQUESTS_MAX]]
            answers += self._sent_alone(self._org, bodies)
        keys = self._keys(self._org, answers)
        rest = [outcome for _, outcome in refused[len(answers) :]]
        return [
            *(self._outcome(each[1], answer, keys) for each, answer in zip(refused, answers, strict=False)),
            *rest,
        ]

    def _sent_alone(self, org: Composing, bodies: Sequence[Body]) -> list[Answered]:
        requests = [_request(org.base, number, body) for number, body in enumerate(bodies)]
        body = {"allOrNone": False, "compositeRequest": requests}
        try:
            answer = org.ask("POST", "composite", resource="composite", body=body)
        except RequestRejected as error:
            log.info("likeness_not_shown", code=error.code)
            return [Answered()] * len(bodies)
        answers = answer.get("compositeResponse") if isinstance(answer, Mapping) else None
        if not isinstance(answers, list) or len(answers) != len(bodies):
            raise Unavailable("Salesforce's composite resource did not answer for each of its requests")
        return [_answered(each, of) for each, of in zip(answers, bodies, strict=True)]

    def _keys(self, org: Composing, answers: Sequence[Answered]) -> Mapping[tuple[str, str], str]:
        """(object, Id) -> record key, of the records that others are like, as far as they are synced."""
        ids: dict[str, set[str]] = {}
        for answer in answers:
            if answer.like is not None and answer.like[0] in self._schemas:
                ids.setdefault(answer.like[0], set()).add(answer.like[1])
        found: dict[tuple[str, str], str] = {}
        for name, some in ids.items():
            field = self._schemas[name].markers.key
            text = soql.select(["Id", field], name, where=[soql.one_of("Id", sorted(some))])
            try:
                for page in org.pages(text):
                    found.update({(name, row["Id"]): row.get(field) or row["Id"] for row in page.rows})
            except RequestRejected as error:
                log.info("likeness_not_shown", object=name, code=error.code)
        return found

    def _outcome(self, refused: Outcome, answer: Answered, keys: Mapping[tuple[str, str], str]) -> Outcome:
        if answer.saved is not None:
            return Outcome(OutcomeKind.APPLIED, native_id=answer.saved)
        if answer.like is None:
            return refused
        name, key = answer.like[0], keys.get(answer.like)
        if key is None:
            return replace(refused, reason=f"{refused.reason}. It is like {name} {answer.like[1]}")
        if self._owed(name, key) is not None:
            reason = f"a duplicate rule finds {name} {key} like it, for which another write waits to be sent"
            return Outcome(OutcomeKind.RETRY_LATER, refused.fields, LIKE, reason, again_s=_AGAIN_S)
        reason = f"{refused.reason}. It is like {name} {key}: if that one is corrected, this is written again by itself"
        return replace(refused, reason=reason, waits_for=((name, key),))


def _request(base: str, number: int, body: Body) -> dict[str, Any]:
    name, fields = (
        body["attributes"]["type"],
        {n: v for n, v in body.items() if n not in ("attributes", "Id")},
    )
    url = f"{base}/sobjects/{name}"
    method, url = ("PATCH", f"{url}/{body['Id']}") if "Id" in body else ("POST", url)
    return {"method": method, "url": url, "referenceId": f"r{number}", "body": fields}


def _answered(answer: Mapping[str, Any], body: Body) -> Answered:
    own_id = body.get("Id")
    try:
        if answer["httpStatusCode"] < _ERRORS:
            return Answered(saved=own_id or answer["body"]["id"])
        found = (each for each in _matches(answer["body"]) if each[1] != own_id)
        return Answered(like=next(found, None))
    except (KeyError, TypeError, AttributeError) as error:
        log.warning("likeness_not_understood", error=type(error).__name__)
        return Answered()


def _matches(errors: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The records, as (object, Id), that a refusal names."""
    for error in errors:
        for spelt in _RESULTS:
            for result in (error.get(spelt) or {}).get("matchResults") or ():
                for match in result.get("matchRecords") or ():
                    yield match["record"]["attributes"]["type"], match["record"]["Id"]
