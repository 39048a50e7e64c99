"""
What an answer to signing in means: a token, a mistake of ours with its mend, or "not now".

Sources: Salesforce Help, "OAuth 2.0 Authorization Errors"; SOAP API Developer Guide, "login()", "ExceptionCode".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from salmon.addresses import is_host
from salmon.errors import FatalError, RateLimited, SignInRefused, Unavailable, UnfitServer
from salmon.harmless import harmless
from salmon.salesforce.config import Flow, SalesforceConfig
from salmon.salesforce.wire.codes import Verdict, verdict_of
from salmon.salesforce.wire.http import retry_after_s_of
from salmon.salesforce.wire.signing_in.grants import PUBLIC_LOGINS

KEY: Final = "salesforce.login_url"
_WORDS_MAX: Final = 200
_WRONG_CLIENT: Final = frozenset({"invalid_client_id", "invalid_client", "invalid_client_credentials"})
_TOO_MANY: Final = frozenset({"rate_limit_exceeded", "LOGIN_RATE_EXCEEDED"})
_NOT_NOW: Final = frozenset({"unknown_error", "server_error", "temporarily_unavailable"})
_MENDS: Final[Mapping[Flow, str]] = {
    "jwt_bearer": "Check username, that private_key belongs to the certificate of the connected app, that the app is"
    " pre-authorised for the user, and salesforce.login_url (test.salesforce.com for a sandbox)",
    "client_credentials": "Check that the connected app has the client credentials flow switched on and a run-as user, and"
    " salesforce.login_url",
    "refresh_token": "The refresh token was revoked, has expired, or is another app's: let the integration user approve the"
    " app again, and set salesforce.auth.refresh_token to the new one",
    "username_password": "Check username, password and security_token (a new password has a new one), that the org allows"
    " OAuth Username-Password Flows (new orgs block them), the user's login hours and IP ranges, and salesforce.login_url",
    "soap_login": "Check username, password and security_token (a new password has a new one), that the org allows SOAP"
    " login() and the user has the permission Use Any API Auth, and salesforce.login_url",
}


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """What signing in was answered, with its body in the words of the token endpoint."""

    response: requests.Response
    body: Mapping[str, Any] = field(repr=False)

    @property
    def has_token(self) -> bool:
        """Whether it lets us in."""
        names = ("access_token", "instance_url", "id")
        return self.response.status_code == 200 and all(
            isinstance(self.body.get(name), str) for name in names
        )

    @property
    def error(self) -> str:
        """Salesforce's code for why not."""
        return harmless(str(self.body.get("error", "")))[:_WORDS_MAX]

    @property
    def said(self) -> str:
        """Its own words; they speak of apps and users, never of records."""
        words = str(self.body.get("error_description", "")) or "no description"
        return harmless(words)[:_WORDS_MAX].rstrip(".")


def refusal_of(config: SalesforceConfig, answer: LoginAnswer) -> FatalError | Unavailable | RateLimited:
    """The error that an answer without a token is. Decided by its code; by its status where there is none."""
    error, status, flow = answer.error, answer.response.status_code, config.auth.flow
    where = f"{config.login_url} refused to sign in"
    verdict = verdict_of(error) if error else None
    if error in _TOO_MANY or verdict is Verdict.LIMITED or status in (420, 429):
        return RateLimited(f"{where}: too many sign-ins.", retry_after_s=retry_after_s_of(answer.response))
    # SOAP answers every fault with 500.
    is_outage = status >= 500 and not (flow == "soap_login" and error)
    if is_outage or error in _NOT_NOW or verdict is Verdict.RETRY:
        return Unavailable(f"{where} ({error or f'HTTP {status}'}).")
    if not error:
        return _no_answer(config.login_url, answer.response)
    if error in _WRONG_CLIENT:
        secret = "" if config.auth.client_secret is None else ", and client_secret to its secret"
        return SignInRefused(
            f"salesforce.auth.client_id: {where}: {error}. Set it to the consumer key of the connected app{secret}."
        )
    is_public = flow == "client_credentials" and config.login_url in PUBLIC_LOGINS
    return SignInRefused(
        f"salesforce.auth: {where}: {error} ({answer.said}). {_MENDS[flow]}"
        f"{' (it must be the My Domain)' if is_public else ''}."
    )


def json_of(response: requests.Response) -> Mapping[str, Any]:
    """The JSON object that an answer is; an empty one if it is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def time_of(response: requests.Response) -> float | None:
    """Salesforce's time, in seconds, where an answer shows it."""
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except ValueError:
        return None


def _no_answer(login_url: str, response: requests.Response) -> FatalError:
    """Somebody else answers there."""
    status = response.status_code
    if status == 200:
        return UnfitServer(
            f"{KEY}: the answer to signing in lacks the token, the instance or the identity. Check that {login_url} is"
            " Salesforce's host and not a proxy's."
        )
    elsewhere = urlsplit(response.headers.get("Location", "")).hostname or ""
    if 300 <= status < 400 and is_host(elsewhere):
        return SignInRefused(
            f"{KEY}: {login_url} sends us on to {elsewhere}, and Salmon sends no secret to a host that is not in its"
            f" configuration. If that is the org's new My Domain, set it to https://{elsewhere}."
        )
    return SignInRefused(
        f"{KEY}: {login_url} is not a Salesforce login host (HTTP {status} for signing in). Set it to"
        " https://login.salesforce.com, or to the org's My Domain."
    )
