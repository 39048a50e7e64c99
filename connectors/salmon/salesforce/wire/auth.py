"""
Signing in to Salesforce: one token, shared by all that talk to the org, and renewed once for all of them.

Sources: Salesforce Help, "OAuth 2.0 JWT Bearer Flow for Server-to-Server Integration", "OAuth 2.0 Client
Credentials Flow", "Identity URLs".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import requests
import structlog
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from salmon.addresses import with_usable_host
from salmon.calls import Calls, Peer
from salmon.errors import (
    ConfigError,
    FatalError,
    LoginChanged,
    RateLimited,
    SignInRefused,
    Unavailable,
    UnfitServer,
)
from salmon.salesforce.config import Auth, SalesforceConfig
from salmon.salesforce.wire.http import Https
from salmon.salesforce.wire.pause import Pause

log = structlog.get_logger(__name__)

_ASSERTION_LIFE_S: Final = 180  # Salesforce takes none that is good for longer than three minutes
_SKEW_MIN_S: Final = 30  # a clock that is further off than this may be why an assertion was refused
_TOKEN_PATH: Final = "/services/oauth2/token"
_INTROSPECTION_PATH: Final = "/services/oauth2/introspect"
_PUBLIC_LOGINS: Final = ("https://login.salesforce.com", "https://test.salesforce.com")
_WRONG_CLIENT: Final = frozenset({"invalid_client_id", "invalid_client", "invalid_client_credentials"})


@dataclass(frozen=True, slots=True)
class Token:
    """What signing in gave: good until Salesforce says otherwise."""

    access_token: str = field(repr=False)
    instance_url: str
    organization_id: str  # 18 characters; the Pub/Sub API's tenantid
    user_id: str  # 18 characters; commitUser of the changes that we make


class SignIn:
    """
    The one place that signs in. Threads share it: whoever finds a token refused asks for another with `renew`,
    and only the first of them makes a call.
    """

    def __init__(
        self,
        config: SalesforceConfig,
        https: Https | None = None,
        now_s: Callable[[], float] = time.time,
        *,
        calls: Calls | None = None,
    ) -> None:
        self._config = config
        self._calls = calls or Calls()
        self._https = https or Https(config.ca_file, calls=self._calls)
        self._now_s = now_s
        # Held while we sign in, against those alone who wait for that very token. To wait for it is to wait for the org.
        self._signing_in = threading.Lock()
        self._token: Token | None = None
        self._pause = Pause()

    def token(self) -> Token:
        """
        The token in use; signs in if there is none.

        Raises:
            ConfigError, UnfitServer: Salesforce refuses us; the sentence names the key and the mend.
            Unavailable, RateLimited: it cannot be asked now.
            LoginChanged: it lets us in as somebody else than before.
        """
        return self._token or self._signed_in(None)

    @property
    def known(self) -> Token | None:
        """The token in use, if there is one; signs in nowhere."""
        return self._token

    @property
    def host(self) -> str:
        """Where the org is: its instance once we have signed in, else the login host."""
        token = self._token
        return self._config.login_url if token is None else token.instance_url

    def renew(self, refused: Token) -> Token:
        """A token other than the one that was *refused*. Raises as `token` does."""
        return self._signed_in(refused)

    def lifetime_s(self) -> float | None:
        """
        For how many seconds the token in use is good, if nobody uses it; None where Salesforce does not say. It says so only
        to an app that gives its secret ("OpenID Connect Token Introspection", Salesforce Help).
        """
        auth, token = self._config.auth, self.token()
        if auth.client_secret is None:
            return None
        response = self._https.send(
            "POST",
            self._config.login_url + _INTROSPECTION_PATH,
            key="salesforce.login_url",
            data={
                "token": token.access_token,
                "token_type_hint": "access_token",
                "client_id": auth.client_id,
                "client_secret": auth.client_secret.get_secret_value(),
            },
            headers={"Accept": "application/json"},
        )
        body = _body(response)
        try:
            return float(body["exp"]) - (self._now_by(response) or self._now_s()) if body["active"] else None
        except (KeyError, TypeError, ValueError):
            return None

    def _signed_in(self, refused: Token | None) -> Token:
        """A token, other than the one that was *refused*."""
        waiting = self._calls.begin(Peer.SALESFORCE, "signing in")
        try:
            with self._signing_in:
                token = self._token
                if token is None or (refused is not None and token.access_token == refused.access_token):
                    token = self._token = self._same_login(token, self._sign_in_again())
                    if refused is not None:
                        log.info("salesforce_token_renewed", user_id=token.user_id)
                return token
        finally:
            self._calls.dropped(waiting)

    @staticmethod
    def _same_login(before: Token | None, now: Token) -> Token:
        """The token *now*. No one gets it if it is another user's or another org's: our own changes are known by their user."""
        if before is None or (before.organization_id, before.user_id) == (now.organization_id, now.user_id):
            return now
        raise LoginChanged(
            f"Salesforce lets us in as user {now.user_id} of the org {now.organization_id}; before, it was user"
            f" {before.user_id} of the org {before.organization_id}. The process begins again."
        )

    def _sign_in_again(self) -> Token:
        self._pause.look()
        try:
            token = self._sign_in()
        except RateLimited as error:
            self._pause.begin(error)
            raise
        self._pause.over()
        return token

    def _sign_in(self) -> Token:
        response = self._ask(self._now_s())
        if (now_s := self._now_by(response)) is not None and _error_of(response) == "invalid_grant":
            response = self._ask(now_s)  # our clock is off: by the org's, the assertion may be good
        if response.status_code == 200:
            return _token_of(_body(response))
        raise self._refusal(response)

    def _ask(self, now_s: float) -> requests.Response:
        return self._https.send(
            "POST",
            self._config.login_url + _TOKEN_PATH,
            key="salesforce.login_url",
            data=_grant(self._config.auth, self._config.login_url, now_s),
            headers={"Accept": "application/json"},
        )

    def _now_by(self, response: requests.Response) -> float | None:
        """Salesforce's time, where ours is too far from it."""
        try:
            theirs_s = parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
        except ValueError:
            return None
        return theirs_s if abs(theirs_s - self._now_s()) > _SKEW_MIN_S else None

    def _refusal(self, response: requests.Response) -> FatalError | Unavailable | RateLimited:
        error, status = _error_of(response), response.status_code
        where = f"{self._config.login_url} refused to sign in"
        if status == 429:
            return RateLimited(f"{where}: too many sign-ins.")
        if status >= 500:
            return Unavailable(f"{where} (HTTP {status}).")
        if error in _WRONG_CLIENT:
            return SignInRefused(
                f"salesforce.auth.client_id: {where}: {error}. Set it to the consumer key of the connected app"
                f"{'' if self._config.auth.client_secret is None else ', and client_secret to its secret'}."
            )
        if error == "invalid_grant" and self._config.auth.flow == "jwt_bearer":
            return SignInRefused(
                f"salesforce.auth: {where}: {error} ({_said(response)}). Check username, that private_key belongs"
                " to the certificate of the connected app, that the app is pre-authorised for the user, and"
                " salesforce.login_url (test.salesforce.com for a sandbox)."
            )
        if error:
            return SignInRefused(
                f"salesforce.auth: {where}: {error} ({_said(response)}). Check that the connected app allows the"
                f" {self._config.auth.flow} flow for the integration user, and salesforce.login_url"
                f"{' (it must be the My Domain)' if self._config.login_url in _PUBLIC_LOGINS else ''}."
            )
        return SignInRefused(
            f"salesforce.login_url: {self._config.login_url} is not a Salesforce login host (HTTP {status} for"
            f" {_TOKEN_PATH}). Set it to https://login.salesforce.com, or to the org's My Domain."
        )


class GivenSession(SignIn):
    """
    A session that a person opened elsewhere (an administrator, with a browser or the Salesforce CLI), and that we cannot renew.

    Args:
        config: Of the org that the session is of.
        access_token: The session.
        where: What we know of the org from our own sign-in.

    Raises:
        ConfigError: it is no access token, or one of another org.
    """

    def __init__(
        self, config: SalesforceConfig, access_token: str, where: Token, https: Https | None = None
    ) -> None:
        super().__init__(config, https)
        org, _, secret = access_token.partition("!")
        if not secret or not access_token.isascii() or not access_token.isprintable() or " " in access_token:
            raise ConfigError(
                "the administrator's session is not an access token, which looks like 00D...!... . Give one of"
                " the org, e.g. what `sf org display` of the Salesforce CLI shows."
            )
        if org[:15] != where.organization_id[:15]:
            raise ConfigError(
                f"the administrator's session is one of the org {ascii(org[:18])[1:-1]}, and the sync's org is"
                f" {where.organization_id}. Give one of this org."
            )
        self._token = Token(access_token, where.instance_url, where.organization_id, user_id="")

    def _sign_in(self) -> Token:
        raise SignInRefused(
            "the administrator's session is not valid, or has ended. Give a new access token of an administrator."
        )


def _grant(auth: Auth, login_url: str, now_s: float) -> dict[str, str]:
    """The form that asks for a token."""
    if auth.flow == "client_credentials":
        assert auth.client_secret is not None, "the config checks it"
        return {
            "grant_type": "client_credentials",
            "client_id": auth.client_id,
            "client_secret": auth.client_secret.get_secret_value(),
        }
    claims = {
        "iss": auth.client_id,
        "sub": auth.username,
        "aud": _audience(login_url),
        "exp": int(now_s) + _ASSERTION_LIFE_S,
    }
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": jwt.encode(claims, _private_key(auth), algorithm="RS256"),
    }


def _private_key(auth: Auth) -> Any:
    assert auth.private_key is not None, "the config checks it"
    try:
        return load_pem_private_key(auth.private_key.get_secret_value().encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "salesforce.auth.private_key: this is not a PEM private key without a passphrase. Give the text of the"
            ' key file, e.g. "${file:/run/secrets/salesforce.key}".'
        ) from error


def _audience(login_url: str) -> str:
    """Who the assertion is for: the login host, also where a My Domain is asked."""
    host = urlsplit(login_url).netloc
    if host.endswith(".sandbox.my.salesforce.com"):
        return "https://test.salesforce.com"
    return "https://login.salesforce.com" if host.endswith(".my.salesforce.com") else login_url


def _token_of(body: Mapping[str, Any]) -> Token:
    try:
        organization_id, user_id = body["id"].rstrip("/").split("/")[-2:]
        return Token(
            access_token=body["access_token"],
            instance_url=with_usable_host(body["instance_url"].rstrip("/")),
            organization_id=organization_id,
            user_id=user_id,
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise UnfitServer(
            "salesforce.login_url: the token response lacks access_token, instance_url or id. Check that the host"
            " is Salesforce's and not a proxy's."
        ) from error


def _body(response: requests.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _error_of(response: requests.Response) -> str:
    return "" if response.status_code == 200 else str(_body(response).get("error", ""))


def _said(response: requests.Response) -> str:
    """Salesforce's own words on why it refused; they speak of apps and users, never of records."""
    return str(_body(response).get("error_description", "no description"))
