"""
The OAuth token endpoint and userinfo: JWT bearer, client credentials and username-password.

Times in assertions are compared with the wall clock, not with the org's: clients must be able to sign in even if the org's
clock is wrong.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import jwt

from salmon.simulator.org.org import Org
from salmon.simulator.org.sessions import ConnectedApp, User
from salmon.simulator.rest.web import Answer

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# "OAuth 2.0 JWT Bearer Flow", Salesforce Help: the expiration must be within three minutes; some pages say five.
ASSERTION_LIFE_MAX_S = 5 * 60
_SCOPE = "api refresh_token"


class TokenEndpoint:
    """POST /services/oauth2/token and GET /services/oauth2/userinfo of one org."""

    def __init__(self, org: Org, apps: Sequence[ConnectedApp], instance_url: str) -> None:
        self._org = org
        self._apps = {app.client_id: app for app in apps}
        self._users = {user.username: user for user in org.users.values()}
        self._instance_url = instance_url

    def token(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Answer a token request; *form* is its body, *headers* have names in lower case."""
        grant = form.get("grant_type")
        if grant == JWT_GRANT:
            return self._jwt_bearer(form)
        if grant == "client_credentials":
            return self._client_credentials(form, headers)
        if grant == "password":
            return self._password(form)
        return _error("unsupported_grant_type", "grant type not supported")

    def userinfo(self, user: User) -> Answer:
        """Who the session is of, with the keys that the real answer has and an org in a box can fill."""
        services = f"{self._instance_url}/services"
        data = f"{services}/data/v{{version}}/"
        body = {
            "sub": self._identity_url(user), "user_id": user.user_id, "organization_id": self._org.org_id,
            "preferred_username": user.username, "nickname": user.username.split("@")[0], "name": user.name,
            "email": user.email, "email_verified": True, "given_name": user.first_name, "family_name": user.last_name,
            "zoneinfo": "GMT", "is_salesforce_integration_user": user is self._org.integration_user,
            "urls": {"rest": data, "sobjects": f"{data}sobjects/", "query": f"{data}query/", "custom_domain": self._instance_url},
            "active": True, "user_type": "STANDARD", "language": "en_US", "locale": "en_US", "utcOffset": 0,
            "is_app_installed": True,
        }  # fmt: skip
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
            expires_in_s = float(claims.get("exp", "")) - time.time()
        except (jwt.InvalidTokenError, TypeError, ValueError):
            return _error("invalid_grant", "invalid assertion")
        if not self._is_audience(claims.get("aud")):
            return _error("invalid_grant", "audience is invalid")
        if not 0 < expires_in_s <= ASSERTION_LIFE_MAX_S:
            return _error("invalid_grant", "expired authorization code")
        user = self._users.get(str(claims.get("sub")))
        if user is None:
            return _error("invalid_grant", "user hasn't approved this consumer")
        return Answer(200, self._granted(user))

    def _client_credentials(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        if headers.get("host", "").startswith(("login.", "test.")):
            return _error("invalid_grant", "request not supported on this domain")
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
        if not _same(app.client_secret, client_secret):
            return _error("invalid_client", "invalid client credentials", status=401)
        return Answer(200, {**self._granted(app.run_as), **self._signed(app, app.run_as)})

    def _password(self, form: Mapping[str, str]) -> Answer:
        app, user = self._apps.get(form.get("client_id", "")), self._users.get(form.get("username", ""))
        if app is None:
            return _error("invalid_client_id", "client identifier invalid")
        if not _same(app.client_secret, form.get("client_secret", "")):
            return _error("invalid_client", "invalid client credentials")
        if user is None or not _same(user.password + user.security_token, form.get("password", "")):
            return _error("invalid_grant", "authentication failure")
        granted = self._granted(user)
        del granted["scope"], granted["api_instance_url"]
        return Answer(200, {**granted, **self._signed(app, user)})

    # What is granted

    def _granted(self, user: User) -> dict[str, Any]:
        return {
            "access_token": self._org.sessions.open(user),
            "scope": _SCOPE,
            "instance_url": self._instance_url,
            "id": self._identity_url(user),
            "token_type": "Bearer",
            "api_instance_url": self._instance_url,
        }

    def _signed(self, app: ConnectedApp, user: User) -> dict[str, str]:
        issued_at = str(time.time_ns() // 1_000_000)
        digest = hmac.digest(
            app.client_secret.encode(), (self._identity_url(user) + issued_at).encode(), hashlib.sha256
        )
        return {"issued_at": issued_at, "signature": base64.b64encode(digest).decode()}

    def _identity_url(self, user: User) -> str:
        # Not of the real login host: a client that follows the URL must not take its token there.
        return f"{self._instance_url}/id/{self._org.org_id}/{user.user_id}"

    def _is_audience(self, audience: Any) -> bool:
        host = urlsplit(str(audience)).hostname or ""
        return (
            host.endswith(".salesforce.com")
            or host == urlsplit(self._instance_url).hostname
            or host == "localhost"
        )


def new_app(run_as: User, public_key_pem: bytes | None = None) -> ConnectedApp:
    """A connected app of the box, with fresh consumer key and secret."""
    client_id = f"3MVG9{secrets.token_urlsafe(60)}"
    return ConnectedApp(client_id, secrets.token_hex(32).upper(), run_as, public_key_pem)


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())


def _error(error: str, description: str, *, status: int = 400) -> Answer:
    return Answer(status, {"error": error, "error_description": description})
