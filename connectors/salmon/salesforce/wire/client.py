"""
simple-salesforce's client, on a session of ours: the one object that calls of the REST API and of bulk jobs go through.

The session hands each request to Rest, so deadlines, compression, the connections, the token and its one renewal, the budget and our
errors are Rest's. Whatever is not a success is raised there, so the client's own way of judging answers (by their status, not by their
code), of signing in again (it loses the caller's headers, and may try for ever) and its exceptions are never reached.
Three things of it stand in the way, and are wrapped here. It gives the JSON of an answer alone: here the response comes with it, since
rows and events are ordered by its Date header. It would send a token and headers of its own. It takes `[]` and `{}` for no answer.
simple-salesforce is imported for the first call: it brings a SOAP client and a second HTTP client, and commands that ask no org need none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import requests

if TYPE_CHECKING:
    from simple_salesforce import bulk2
    from simple_salesforce.api import Salesforce

OF_JOBS: Final = "bulk"  # the resource of calls that make a job
OF_A_JOB: Final = "bulk job"  # of a call about one job, which may be gone
_JOBS: Final = "/jobs/"
_TAKEN: Final = frozenset({"accept", "content-type"})  # of bulk2's headers; the others are ours
_NOWHERE: Final = "org.invalid"  # where the client is told the org is; Rest knows better


class NotJson(Exception):
    """What came is not JSON, or neither a list nor an object."""


class Sends(Protocol):
    """How Rest sends a request to a path of the instance. Raises its errors for all that is not a success."""

    def __call__(
        self,
        method: str,
        path: str,
        *,
        resource: str,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> requests.Response: ...


class Client:
    """The client of one org. Threads may share it."""

    def __init__(self, send: Sends, base: str) -> None:
        """*base*: the path of the API's version."""
        from simple_salesforce.api import Salesforce

        self._salesforce: Salesforce = Salesforce(
            session_id="",
            instance=_NOWHERE,
            session=_OurSession(send),
            parse_float=Decimal,  # with the digits that the org shows
            object_pairs_hook=None,
        )
        self._salesforce.headers = {}
        self._salesforce.base_url, self._salesforce.bulk2_url = "", f"{base}{_JOBS}"

    def json(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any
    ) -> tuple[Any, requests.Response]:
        """
        The answer of a call, None if it has none; and its response.

        Args:
            method, path, headers, request: As Sends takes them.

        Raises:
            NotJson: of the answer. Others as Sends.
        """
        seen: list[requests.Response] = []
        try:
            answer = self._salesforce.restful(
                path, method=method, headers=headers or {}, seen=seen.append, **request
            )
        except (ValueError, TypeError, RecursionError) as error:
            if not seen:  # it is about the request, and a mistake of ours
                raise
            if seen[0].content:
                raise NotJson from error
            answer = None
        if answer is None and seen[0].content:
            answer = seen[0].json()  # an empty list or object
        return answer, seen[0]

    def bulk(self) -> bulk2.SFBulk2Handler:
        """Its calls of Bulk API 2.0."""
        return cast("bulk2.SFBulk2Handler", self._salesforce.bulk2)


class _OurSession(requests.Session):
    """What the client sends its requests by. It is told paths, of which Rest knows the instance."""

    def __init__(self, send: Sends) -> None:
        super().__init__()
        self._send = send

    def request(  # type: ignore[override]
        self,
        method: Any,
        url: Any,
        *,
        headers: Any = None,
        resource: str = "",
        seen: Callable[[requests.Response], object] | None = None,
        **request: Any,
    ) -> requests.Response:
        if not resource:  # from bulk2, which asks for CSV where it reads JSON
            resource = OF_A_JOB if "/" in str(url).partition(_JOBS)[2] else OF_JOBS
            headers = {name.title(): text for name, text in headers.items() if name.lower() in _TAKEN}
            headers["Accept"] = "application/json"
        request.pop("params", None)  # always None: they are part of the path
        response = self._send(method, url, resource=resource, headers=headers, **request)
        if seen is not None:
            seen(response)
        return response
