"""
Signing in to the console at an identity provider: OpenID Connect's authorization code flow with PKCE.

The browser is sent to the provider and comes back with a code, which this process exchanges for an ID token. What belongs to one attempt
(state, nonce, verifier) is in a signed cookie of that browser alone, so that any replica may finish what another one began.

Sources: OpenID Connect Core 1.0, 3.1; RFC 7636 (PKCE); RFC 9700, 4.7 (a state that is bound to the browser).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from itsdangerous import BadSignature, URLSafeTimedSerializer

from salmon.api.oidc import NotGood, Provider, exchanged
from salmon.config.sections.api import SignInConfig

ATTEMPT_COOKIE: Final = "salmon_sign_in"
ATTEMPT_MAX_S: Final = 600
# What a provider says of a refusal is a word (RFC 6749, 4.1.2.1); anything else is not repeated on a page.
_WORD: Final = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who has signed in, what the provider says that they may do, and where they wanted to go."""

    subject: str
    words: tuple[str, ...]
    to: str


class SignIn:
    """
    Args:
        secret: What attempts are signed with.
    """

    def __init__(self, provider: Provider, settings: SignInConfig, secret: str) -> None:
        self._provider, self._settings = provider, settings
        self._signer = URLSafeTimedSerializer(secret, salt="sign-in")

    @property
    def name(self) -> str:
        """The provider, for people."""
        return self._provider.settings.issuer.partition("://")[2].rstrip("/")

    def begin(self, to: str) -> tuple[str, str]:
        """
        Begin an attempt.

        Args:
            to: Where the person wants to go.

        Returns:
            The provider's address to send the browser to, and the value of the attempt's cookie.

        Raises:
            Unavailable: the provider's description cannot be read.
        """
        said = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect_uri,
            "scope": self._settings.scope,
            "state": said["state"],
            "nonce": said["nonce"],
            "code_challenge": _challenge(said["verifier"]),
            "code_challenge_method": "S256",
        }
        address = self._provider.address("authorization_endpoint")
        joint = "&" if "?" in address else "?"
        return f"{address}{joint}{urlencode(asked)}", self._signer.dumps({**said, "to": to})

    def finish(self, query: Mapping[str, str], cookie: str) -> SignedIn:
        """
        Finish the attempt with which the browser comes back.

        Raises:
            NotGood: it is of no attempt of this browser, or the provider refuses it; the message says what to do.
            Unavailable: the provider does not answer as it should.
        """
        said = self._attempt(cookie)
        if not hmac.compare_digest(said["state"].encode(), query.get("state", "").encode()):
            raise NotGood("it was begun in another window, or is too old. Begin again")
        if (refusal := query.get("error")) is not None:
            word = refusal if _WORD.fullmatch(refusal) else "an error"
            raise NotGood(f"the identity provider has answered with {word}")
        form = {
            "grant_type": "authorization_code",
            "code": query.get("code", ""),
            "redirect_uri": self._settings.redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": said["verifier"],
        }
        address, ca_file = self._provider.address("token_endpoint"), self._provider.settings.ca_file
        answer = exchanged(address, form, self._authentication(), ca_file=ca_file)
        token = answer.get("id_token") if isinstance(answer, Mapping) else None
        if not isinstance(token, str):
            raise NotGood("the identity provider has sent no ID token. Ask for the scope openid")
        claims = self._provider.claims_of(token, self._settings.client_id)
        if claims.get("nonce") != said["nonce"]:
            raise NotGood("the ID token is of another attempt. Begin again")
        return SignedIn(str(claims["sub"]), tuple(self._provider.words_of(claims)), said["to"])

    def _attempt(self, cookie: str) -> dict[str, str]:
        try:
            said: dict[str, str] = self._signer.loads(cookie, max_age=ATTEMPT_MAX_S)
        except BadSignature:
            raise NotGood("it was begun in another browser, or is too old. Begin again") from None
        return said

    def _authentication(self) -> tuple[str, str] | None:
        secret = self._settings.client_secret
        if secret is None:
            return None
        return quote(self._settings.client_id, safe=""), quote(secret.get_secret_value(), safe="")


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
