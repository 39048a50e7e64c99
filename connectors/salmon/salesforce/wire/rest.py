"""
Salesforce's REST API: one method for each resource we use, with its errors translated and its calls counted.

Every call has a deadline, signs in again once if the token was refused, and shows the org's clock. Nothing is
repeated here otherwise: who calls knows whether a repetition is safe. Calls go through simple-salesforce's client, whose session
is ours (see client), and come back to _send.
Sources: REST API Developer Guide, "sObject Collections", "Query", "Status Codes and Error Responses", "Headers".
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlencode

import requests

from salmon.calls import Calls
from salmon.errors import RateLimited, RequestRejected, SalmonError, SignInRefused, Unavailable, UnfitServer
from salmon.salesforce.config import SalesforceConfig
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.budget import Budget, of_api_calls
from salmon.salesforce.wire.client import Client, NotJson
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.codes import NOT_FOUND, Verdict, verdict_of, verdict_of_request
from salmon.salesforce.wire.http import Https, Unreachable, retry_after_s_of
from salmon.salesforce.wire.pause import Pause
from salmon.salesforce.wire.signing_in.auth import SignIn

PAGE_ROWS: Final = 2000  # rows of a query's page, ids of a retrieve
COLLECTION_ROWS: Final = 200  # records of one Collections call
COLLECTION_RUNS: Final = 10  # runs of one type each in a Collections call
# 16,384 bytes of URI and headers together; the token and the other headers take about 1,500.
URI_BYTES: Final = 14_000
# Of the org's setup, and jobs that others can do without: to be refused there by a code that we do not know says that the user
# may not, and no record waits for it.
_OF_SETUP: Final = frozenset({"limits", "tooling", "permissions", "bulk", "bulk jobs"})
# What the org says of these tells of fields and objects, and quotes no record.
_QUOTING_NO_RECORD: Final = _OF_SETUP | {"query", "queryAll", "retrieve", "describe"}
_UNCOUNTED: Final = "versions"  # costs nothing of the org's allowance, and says nothing about it
# Their path names an object, or a bulk job.
_OF_ONE_OBJECT: Final = frozenset({"retrieve", "describe", "deleted", "bulk job", "bulk jobs"})
_WHO_ANSWERED: Final = (
    "It is tried again. If it lasts, see Salesforce's status page, and ask whoever runs a proxy in between."
)
_NOT_NOW: Final = 503
_WORDS_MAX: Final = 200
# Our name in changeOrigin; no assignment rules for what a sync creates; nothing in anybody's recent items.
_HEADERS: Final = {
    "Accept": "application/json",
    "Sforce-Call-Options": "client=Salmon",
    "Sforce-Auto-Assign": "FALSE",
    "Sforce-Mru": "updateMru=false",
    "Sforce-Query-Options": f"batchSize={PAGE_ROWS}",
}
_PROBE_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one record of a Collections call was refused."""

    code: str
    fields: tuple[str, ...] = ()
    message: str = field(default="", repr=False)  # may quote the record: never for a log


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one record of a Collections call."""

    success: bool
    id: str | None = None
    errors: tuple[RowError, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a query's answer."""

    rows: Sequence[Mapping[str, Any]]
    read_until: int  # ms by the org's clock: the page was surely made before


@dataclass(frozen=True, slots=True)
class Deleted:
    """Ids of deleted records, and the time, in ms by the org's clock, that the list is complete of."""

    ids: Sequence[str]
    complete_since: int  # what was deleted for good before may be missing
    covers_until: int  # where the next window is to begin: transactions may have been open since


class Rest:
    """
    REST calls to one org. Threads may share it.

    Every method raises Unavailable (no answer, or "not now"), RateLimited (an allowance is used up),
    RequestRejected (this request never works; `code` says why), or UnfitServer (the org lets us in no more).
    """

    def __init__(
        self,
        config: SalesforceConfig,
        sign_in: SignIn | None = None,
        *,
        https: Https | None = None,
        clock: OrgClock | None = None,
        calls: Calls | None = None,
        pause: Pause | None = None,
        budget: Budget | None = None,
    ) -> None:
        """*budget*: asked before each call that counts. Without one, calls are noted alone."""
        self._pause = pause or Pause()
        self.budget = budget or of_api_calls(None)
        self._https = https or Https(config.ca_file, proxy=config.proxy, calls=calls)
        self.sign_in = sign_in or SignIn(config, self._https, calls=calls)
        self.clock = clock or OrgClock()
        self.base = f"/services/data/v{config.api_version}"
        self._count = threading.Lock()
        self._calls: Counter[str] = Counter()

    @cached_property
    def client(self) -> Client:
        """What calls go through, those of other modules, too."""
        return Client(self._send, self.base)

    @property
    def calls(self) -> Mapping[str, int]:
        """API calls made so far, by resource."""
        with self._count:
            return dict(self._calls)

    @property
    def usage(self) -> tuple[int, int] | None:
        """The org's API calls in the last 24 hours and its allowance, as the last response said."""
        return self.budget.usage

    def look_at_clock(self) -> None:
        """See what the org's clock shows now. (Versions: a resource without a session, which costs no API call.)"""
        self._send("GET", "/services/data", resource=_UNCOUNTED)

    def probe(self) -> bool:
        """See whether the org answers at all; it costs no API call. Raises where it does not."""
        self._https.ask(f"{self.sign_in.host}/services/data", timeout_s=_PROBE_TIMEOUT_S)
        return True

    def paused(self) -> tuple[float, str] | None:
        """For how many seconds the org has refused our requests for their number, and its words; None while it does not."""
        return self._pause.waiting()

    def versions(self) -> Sequence[str]:
        """The versions of the API that the org has, oldest first. It costs no API call."""
        return [str(each["version"]) for each in self._json("GET", "/services/data", resource=_UNCOUNTED)]

    def ask(self, method: str, below: str, *, resource: str, body: Any = None) -> Any:
        """
        Call any other resource, at *below* the API version's root; return its answer, None if it has no body.

        *resource*: what the call is counted as, and what an error is told of.
        """
        return self._answer(method, f"{self.base}/{below}", resource=resource, body=body)[0]

    def exchange(
        self, method: str, below: str, *, resource: str, headers: Mapping[str, str], **request: Any
    ) -> requests.Response:
        """As `ask`, with more *headers*, and a request and its response as requests has them; for answers that are no JSON."""
        return self._send(method, f"{self.base}/{below}", resource=resource, headers=headers, **request)

    def describe(self, name: str) -> Mapping[str, Any]:
        """The describe of the object *name*."""
        answer: Mapping[str, Any] = self._json(
            "GET", f"{self.base}/sobjects/{quote(name)}/describe", resource="describe"
        )
        return answer

    def key_prefixes(self) -> Mapping[str, str]:
        """Object -> the first characters of its Ids, of all objects that the user may see."""
        answer = self._json("GET", f"{self.base}/sobjects", resource="describe")
        return {each["name"]: each["keyPrefix"] for each in answer["sobjects"] if each.get("keyPrefix")}

    def count(self, name: str) -> int:
        """How many records the object has."""
        answer = self._json("GET", self._query_path(f"SELECT COUNT() FROM {name}"), resource="query")
        return int(answer["totalSize"])

    def count_roughly(self, name: str) -> int:
        """About how many records the object has; quick, however many there are ("Record Count")."""
        answer = self._json(
            "GET", f"{self.base}/limits/recordCount?{urlencode({'sObjects': name})}", resource="limits"
        )
        return sum(int(each["count"]) for each in answer["sObjects"])

    def deleted(self, name: str, start_ms: int, end_ms: int) -> Deleted:
        """
        What the org's log of deletions says of a window ("sObject Get Deleted"), to whole minutes. RequestRejected: the log does
        not reach back so far, or would list too much, or the org keeps none for this object.
        """
        span = {"start": soql.moment(start_ms), "end": soql.moment(end_ms)}
        path = f"{self.base}/sobjects/{quote(name)}/deleted/?{urlencode(span)}"
        answer = self._json("GET", path, resource="deleted")
        since, until = (
            datetime.fromisoformat(answer[limit]) for limit in ("earliestDateAvailable", "latestDateCovered")
        )
        return Deleted(
            [str(each["id"]) for each in answer["deletedRecords"]],
            complete_since=int(since.timestamp() * 1000),
            covers_until=int(until.timestamp() * 1000),
        )

    def pages(self, text: str, *, deleted: bool = False) -> Iterator[Page]:
        """
        The pages of a query's answer, each read when it is asked for.

        Args:
            text: The query; its URL must not be longer than URI_BYTES.
            deleted: Also look among deleted records (queryAll).
        """
        path: str | None = self._query_path(text, deleted=deleted)
        while path is not None:
            answer, read_until = self._read("GET", path, resource="queryAll" if deleted else "query")
            yield Page(answer["records"], read_until)
            path = answer.get("nextRecordsUrl")

    def retrieve(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> Page:
        """
        Records by Id, in the order of *ids*, without those that are not there. At most PAGE_ROWS ids; the list of
        fields may be as long as it likes.
        """
        assert len(ids) <= PAGE_ROWS
        answer, read_until = self._read(
            "POST",
            f"{self.base}/composite/sobjects/{quote(name)}",
            resource="retrieve",
            body={"ids": list(ids), "fields": list(fields)},
        )
        return Page([row for row in answer if row is not None], read_until)

    def insert(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        """Insert *records* (each with `attributes.type`), all that can be: one result for each, in order."""
        return self.collection("POST", records)

    def update(self, records: Sequence[Mapping[str, Any]]) -> Sequence[RowResult]:
        """Update *records* (each with `attributes.type` and `Id`), as `insert`."""
        return self.collection("PATCH", records)

    def delete(self, ids: Sequence[str]) -> Sequence[RowResult]:
        """Delete the records with these Ids, as `insert`."""
        path = f"{self.base}/composite/sobjects?{urlencode({'ids': ','.join(ids), 'allOrNone': 'false'})}"
        return _results(self._json("DELETE", path, resource="collections"), len(ids))

    def close(self) -> None:
        """Give up the connections."""
        self._https.close()

    def query_bytes(self, text: str) -> int:
        """How long the URL of a query would be."""
        return len(self._query_path(text, deleted=True))

    def _query_path(self, text: str, *, deleted: bool = False) -> str:
        return f"{self.base}/{'queryAll' if deleted else 'query'}?{urlencode({'q': text})}"

    def collection(
        self, method: str, records: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None
    ) -> Sequence[RowResult]:
        """As `insert` (POST) or `update` (PATCH), with more *headers*."""
        assert 0 < len(records) <= COLLECTION_ROWS
        body, path = {"allOrNone": False, "records": list(records)}, f"{self.base}/composite/sobjects"
        answer = self._json(method, path, resource="collections", body=body, headers=headers)
        return _results(answer, len(records))

    def _json(self, method: str, path: str, *, resource: str, **request: Any) -> Any:
        return self._read(method, path, resource=resource, **request)[0]

    def _read(self, method: str, path: str, *, resource: str, **request: Any) -> tuple[Any, int]:
        began_s = time.monotonic()
        answer, response = self._answer(method, path, resource=resource, **request)
        date_ms = self.clock.saw(response.headers.get("Date"))
        if date_ms is None:
            raise UnfitServer(
                f"salesforce.login_url: an answer of the {resource} resource has no Date header, which rows are"
                " ordered by. Check that no proxy removes it."
            )
        return answer, self.clock.read_until(date_ms, time.monotonic() - began_s)

    def _answer(
        self, method: str, path: str, *, resource: str, **request: Any
    ) -> tuple[Any, requests.Response]:
        """The JSON of an answer, None if it has none; and its response."""
        try:
            return self.client.json(method, path, resource=resource, **request)
        except NotJson as error:
            raise Unavailable(f"the answer of Salesforce's {resource} resource is not JSON") from error

    def _send(
        self,
        method: str,
        path: str,
        *,
        resource: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> requests.Response:
        is_counted = resource != _UNCOUNTED
        self._pause.look(is_counted=is_counted)
        if is_counted:
            self.budget.ask()
        token = self.sign_in.token()
        for last in (False, True):
            try:
                response = self._https.send(
                    method,
                    token.instance_url + path,
                    key="the instance that salesforce.login_url gave",
                    json=body,
                    headers={
                        **_HEADERS,
                        **(headers or {}),
                        "Authorization": f"Bearer {token.access_token}",
                    },
                    **request,
                )
            except (Unreachable, SignInRefused):
                # The org may be at another instance by now. This request may have been carried out: who sent it sends it again.
                self.sign_in.look_again(token)
                raise
            self._note(response, resource)
            if response.status_code < 300:
                if is_counted:
                    self._pause.over()
                return response
            error = _error_of(response, resource)
            if isinstance(error, RateLimited):
                self._pause.begin(error, of_all=response.status_code == _NOT_NOW)
            if last or not isinstance(error, _TokenRefused):
                raise error
            token = self.sign_in.renew(token)
        raise AssertionError("unreachable")

    def _note(self, response: requests.Response, resource: str) -> None:
        with self._count:
            self._calls[resource] += 1
        if resource != _UNCOUNTED:
            self.budget.use()
        self.clock.saw(response.headers.get("Date"))
        used, _, allowed = (
            response.headers.get("Sforce-Limit-Info", "")
            .partition("api-usage=")[2]
            .partition(";")[0]
            .partition("/")
        )
        if used.isdecimal() and allowed.isdecimal():
            self.budget.saw(int(used), int(allowed))


class _TokenRefused(Unavailable):
    """
    The token, or the instance that came with it, is not good any more; a second time in a row, it is as if the org
    were not there.
    """


def _error_of(response: requests.Response, resource: str) -> SalmonError:
    """What an unhappy response means, by its error code where it has one."""
    first = next(iter(_error_rows(response)), RowError(""))
    status = response.status_code
    what = f"Salesforce's {resource} resource answered {first.code or 'without a code'} (HTTP {status})"
    verdict = verdict_of_request(status, first.code, first.message)
    if first.code == NOT_FOUND and resource not in _OF_ONE_OBJECT:
        verdict = Verdict.MOVED  # what is not there is the resource, and not a record
    if status == 403 and first.code and resource in _OF_SETUP:
        verdict = verdict_of(first.code, first.message)
    match verdict:
        case Verdict.SIGN_IN:
            return _TokenRefused(f"{what}, for a token that it had just given.")
        case Verdict.MOVED:
            return _TokenRefused(
                f"{what}, twice: it is not where signing in says it is. Check that the org is there, and"
                " salesforce.api_version."
            )
        case Verdict.RETRY:
            wish_s = retry_after_s_of(response)
            if status == _NOT_NOW and wish_s is not None:
                return RateLimited(
                    f"{what}, and asks not to be called for {wish_s:.0f} s.", retry_after_s=wish_s
                )
            return Unavailable(f"{what}. {_WHO_ANSWERED}")
        case Verdict.LIMITED:
            return RateLimited(
                f"{what}: an allowance of the org is used up. See API requests under Setup, Company Information, and what"
                " else uses the API.",
                retry_after_s=retry_after_s_of(response),
            )
        case Verdict.FATAL:
            return UnfitServer(f"{what}. Check that the integration user may use the API.")
        case _:
            words = _words_of(first) if resource in _QUOTING_NO_RECORD else ""
            return RequestRejected(
                f"{what}.", code=first.code or f"HTTP_{status}", fields=first.fields, words=words
            )


def _words_of(error: RowError) -> str:
    """What the org says of a query: the last line, since those before repeat the query, in printable characters."""
    last = next((line for line in reversed(error.message.splitlines()) if line.strip()), "")
    plain = "".join(char for char in last.strip() if char.isprintable())
    return plain[:_WORDS_MAX].rstrip(".")


def _error_rows(response: requests.Response) -> tuple[RowError, ...]:
    try:
        body = response.json()
    except ValueError:
        return ()
    return _row_errors(body if isinstance(body, list) else [body])


def _results(answer: Any, expected: int) -> Sequence[RowResult]:
    if not isinstance(answer, list) or len(answer) != expected:
        raise Unavailable(f"Salesforce's collections resource did not answer for each of {expected} records")
    return [
        RowResult(bool(row.get("success")), row.get("id"), _row_errors(row.get("errors") or ()))
        for row in answer
    ]


def _row_errors(rows: Sequence[Any]) -> tuple[RowError, ...]:
    """Errors in either spelling: statusCode in Collections, errorCode everywhere else."""
    return tuple(
        RowError(
            code=str(row.get("statusCode") or row.get("errorCode") or ""),
            fields=tuple(row.get("fields") or ()),
            message=str(row.get("message", "")),
        )
        for row in rows
        if isinstance(row, dict)
    )
