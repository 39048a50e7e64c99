"""
The OAuth endpoints of the org: tokens by five flows, the authorization that a browser gives, revocation, introspection.

The flows are JWT bearer, client credentials, username-password, web server (authorization code) and refresh token.
Times in assertions are compared with the machine's clock, so that clients can sign in even if the org's clock is set
off; the setting `jwt_by_org_clock` has them compared with the org's, as a real org does.
Sources: "OAuth Authorization Flows", "Revoke OAuth Tokens" and "OpenID Connect Token Introspection", Salesforce Help.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

from salmon.simulator.org.org import Org
from salmon.simulator.org.sessions import ConnectedApp, User
from salmon.simulator.rest.signing.identity import identity_url
from salmon.simulator.rest.web import Answer

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# "OAuth 2.0 JWT Bearer Flow", Salesforce Help: the expiration must be within three minutes; some pages say five.
ASSERTION_LIFE_MAX_S = 5 * 60
_SCOPE = "api refresh_token"
# "OAuth 2.0 Web Server Flow": an authorization code is good for so long, and once.
CODE_LIFE_MS = 15 * 60 * 1000

_EXPIRED_GRANT = "expired access/refresh token"


@dataclass(frozen=True, slots=True)
class _Code:
    """An authorization code that has been handed out."""

    app: ConnectedApp
    user: User
    redirect_uri: str
    challenge: str  # of PKCE; empty without it
    issued_ms: int


class TokenEndpoint:
    """/services/oauth2/token, authorize, revoke and introspect of one org."""

    def __init__(self, org: Org, apps: Sequence[ConnectedApp]) -> None:
        self._org = org
        self._apps = {app.client_id: app for app in apps}
        self._users = {user.username: user for user in org.users.values()}
        self._codes: dict[str, _Code] = {}

    def token(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Answer a token request; *form* is its body, *headers* have names in lower case."""
        grant = form.get("grant_type")
        if grant == JWT_GRANT:
            return self._jwt_bearer(form)
        if grant == "client_credentials":
            return self._client_credentials(form, headers)
        if grant == "password":
            return self._password(form)
        if grant == "refresh_token":
            return self._refresh(form, headers)
        if grant == "authorization_code":
            return self._code(form, headers)
        return _error("unsupported_grant_type", "grant type not supported")

    def authorize(self, params: Mapping[str, str]) -> Answer:
        """
        GET /services/oauth2/authorize: send the browser on with a code.

        Whoever asks is taken for the user that the app runs as, signed in and with the app approved.
        """
        app, target = self._apps.get(params.get("client_id", "")), params.get("redirect_uri", "")
        if app is None:
            return _error("invalid_client_id", "client identifier invalid")
        if urlsplit(target).scheme not in {"http", "https"}:
            return _error("redirect_uri_mismatch", "redirect_uri must match configuration")
        state = {"state": params["state"]} if "state" in params else {}
        if params.get("response_type") != "code":
            query = {"error": "unsupported_response_type", "error_description": "response type not supported"}
        else:
            code = f"aPrx{secrets.token_urlsafe(48)}"
            challenge = params.get("code_challenge", "")
            self._codes[code] = _Code(app, app.run_as, target, challenge, self._org.clock.now_ms())
            query = {"code": code}
        mark = "&" if urlsplit(target).query else "?"
        return Answer(302, None, {"Location": f"{target}{mark}{urlencode({**query, **state})}"})

    def revoke(self, form: Mapping[str, str]) -> Answer:
        """GET or POST /services/oauth2/revoke: end an access token, or a refresh token and what it has renewed."""
        if form.get("token_type_hint", "access_token") not in {"access_token", "refresh_token"}:
            return _error("unsupported_token_type", "this token type is not supported")
        if not self._org.sessions.revoke(form.get("token", "")):
            return _error("invalid_token", "invalid token")
        return Answer(200)

    def introspect(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """POST /services/oauth2/introspect: what an app's own token is good for. Asking is no use of it."""
        app = self._client(form, headers)
        if isinstance(app, Answer):
            return app
        sessions, token = self._org.sessions, form.get("token", "")
        session, refresh = sessions.session(token), sessions.refresh_token(token)
        found = session or refresh
        if found is None or found.client_id != app.client_id:
            return Answer(200, {"active": False})
        issued_ms = session.opened_ms if session else refresh.issued_ms if refresh else 0
        body = {
            "active": True, "scope": _SCOPE, "client_id": app.client_id, "username": found.user.username,
            "sub": identity_url(self._org, found.user),
            "token_type": "access_token" if session else "refresh_token",
            "iat": issued_ms // 1000, "nbf": issued_ms // 1000,
        }  # fmt: skip
        if session:
            body["exp"] = sessions.expires_ms(session) // 1000
        return Answer(200, body)

    # The flows

    def _jwt_bearer(self, form: Mapping[str, str]) -> Answer:
        assertion = form.get("assertion", "")
        try:
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return _error("invalid_grant", "invalid assertion")
        app = self._apps.get(str(claims.get("iss")))
        if app is None or app.public_key_pem is None:
            return _error("invalid_client_id", "client identifier invalid")
        try:
            # Clients send exp as a number or, as simple-salesforce does, as text; so it is judged below.
            options: Any = {
                "verify_exp": False,
                "verify_aud": False,
                "verify_iat": False,
                "verify_sub": False,
            }
            jwt.decode(assertion, app.public_key_pem.decode(), algorithms=["RS256"], options=options)
            by_org = self._org.settings.jwt_by_org_clock
            now_s = self._org.clock.now_ms() / 1000 if by_org else time.time()
            expires_in_s = float(claims.get("exp", "")) - now_s
        except (jwt.InvalidTokenError, TypeError, ValueError):
            return _error("invalid_grant", "invalid assertion")
        if not self._is_audience(claims.get("aud")):
            return _error("invalid_grant", "audience is invalid")
        if not 0 < expires_in_s <= ASSERTION_LIFE_MAX_S:
            return _error("invalid_grant", "expired authorization code")
        user = self._users.get(str(claims.get("sub")))
        if user is None:
            return _error("invalid_grant", "user hasn't approved this consumer")
        if not self._org.settings.app_approved:
            return _error("invalid_app_access", "user is not admin approved to access this app")
        return Answer(200, self._granted(app, user))

    def _client_credentials(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        if headers.get("host", "").startswith(("login.", "test.")):
            return _error("invalid_grant", "request not supported on this domain")
        app = self._client(form, headers)
        if isinstance(app, Answer):
            return app
        return Answer(200, {**self._granted(app, app.run_as), **self._signed(app, app.run_as)})

    def _password(self, form: Mapping[str, str]) -> Answer:
        app, user = self._apps.get(form.get("client_id", "")), self._users.get(form.get("username", ""))
        if app is None:
            return _error("invalid_client_id", "client identifier invalid")
        if not _same(app.client_secret, form.get("client_secret", "")):
            return _error("invalid_client", "invalid client credentials")
        given = form.get("password", "")
        valid = "" if user is None else self._org.passwords[user.user_id]
        if (
            not self._org.settings.password_flow
            or user is None
            or not (
                _same(valid + user.security_token, given)
                or (self._org.settings.trusted_network and _same(valid, given))
            )
        ):
            return _error("invalid_grant", "authentication failure")
        granted = self._granted(app, user)
        del granted["scope"], granted["api_instance_url"]
        return Answer(200, {**granted, **self._signed(app, user)})

    def _refresh(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        app = self._client(form, headers, secret_needed=False)
        if isinstance(app, Answer):
            return app
        sessions, token = self._org.sessions, form.get("refresh_token", "")
        known = sessions.refresh_token(token)
        if known is None or known.client_id != app.client_id:
            return _error("invalid_grant", _EXPIRED_GRANT)
        rotated = {}
        if self._org.settings.refresh_token_rotation:
            sessions.drop_refresh_token(token)
            token = sessions.issue_refresh_token(known.user, app.client_id)
            rotated = {"refresh_token": token}
        granted = self._granted(app, known.user, token)
        return Answer(200, {**granted, **self._signed(app, known.user), **rotated})

    def _code(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        app = self._client(form, headers, secret_needed="code_verifier" not in form)
        if isinstance(app, Answer):
            return app
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.app is not app:
            return _error("invalid_grant", "invalid authorization code")
        if self._org.clock.now_ms() - code.issued_ms > CODE_LIFE_MS:
            return _error("invalid_grant", "expired authorization code")
        if form.get("redirect_uri") != code.redirect_uri:
            return _error("redirect_uri_mismatch", "redirect_uri must match configuration")
        if code.challenge and not _same(code.challenge, _challenge_of(form.get("code_verifier", ""))):
            return _error("invalid_grant", "invalid code verifier")
        token = self._org.sessions.issue_refresh_token(code.user, app.client_id)
        granted = self._granted(app, code.user, token)
        return Answer(200, {**granted, **self._signed(app, code.user), "refresh_token": token})

    def _client(
        self, form: Mapping[str, str], headers: Mapping[str, str], *, secret_needed: bool = True
    ) -> ConnectedApp | Answer:
        """The app that asks, by Basic or in the form; or the refusal. A secret that is given must be right."""
        client_id, client_secret = form.get("client_id", ""), form.get("client_secret", "")
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                client_id, _, client_secret = base64.b64decode(given).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return _error("invalid_client", "invalid client credentials", status=401)
        app = self._apps.get(client_id)
        if app is None:
            return _error("invalid_client_id", "client identifier invalid")
        if (client_secret or secret_needed) and not _same(app.client_secret, client_secret):
            return _error("invalid_client", "invalid client credentials", status=401)
        return app

    # What is granted

    def _granted(self, app: ConnectedApp, user: User, refresh_token: str | None = None) -> dict[str, Any]:
        return {
            "access_token": self._org.sessions.open(user, app.client_id, refresh_token),
            "scope": _SCOPE,
            "instance_url": self._org.instance.url,
            "id": identity_url(self._org, user),
            "token_type": "Bearer",
            "api_instance_url": self._org.instance.url,
        }

    def _signed(self, app: ConnectedApp, user: User) -> dict[str, str]:
        issued_at = str(time.time_ns() // 1_000_000)
        digest = hmac.digest(
            app.client_secret.encode(), (identity_url(self._org, user) + issued_at).encode(), hashlib.sha256
        )
        return {"issued_at": issued_at, "signature": base64.b64encode(digest).decode()}

    def _is_audience(self, audience: Any) -> bool:
        host = urlsplit(str(audience)).hostname or ""
        return host.endswith(".salesforce.com") or host in {
            urlsplit(self._org.instance.url).hostname,
            "localhost",
            "127.0.0.1",
        }


def new_app(run_as: User, public_key_pem: bytes | None = None) -> ConnectedApp:
    """A connected app of the box, with fresh consumer key and secret."""
    client_id = f"3MVG9{secrets.token_urlsafe(60)}"
    return ConnectedApp(client_id, secrets.token_hex(32).upper(), run_as, public_key_pem)


def _challenge_of(verifier: str) -> str:
    """The PKCE challenge that a verifier answers (RFC 7636, S256)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())


def _error(error: str, description: str, *, status: int = 400) -> Answer:
    return Answer(status, {"error": error, "error_description": description})
