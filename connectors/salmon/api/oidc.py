"""
Bearer tokens of an identity provider (OpenID Connect): JWTs whose signature, issuer, audience and times are checked.

The provider's keys are fetched when they are first needed and kept for a while. A token with an unknown key id makes us fetch them again, but
not more often than every few seconds (salmon.api.keeping).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import jwt
import requests
import structlog

from salmon.api.grants import Caller, caller
from salmon.api.keeping import Kept
from salmon.config.sections.api import OidcConfig, is_safe, is_scope
from salmon.errors import Unavailable

log = structlog.get_logger(__name__)

# Only what is signed by a key of its own: a shared secret (HS...) or none at all would let in who knows the public key.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_ANSWER_MAX_S: Final = 5.0
_LEEWAY_S: Final = 30.0
_NAME_MAX: Final = 200

Fetch = Callable[[str], Any]


class NotGood(Exception):
    """The token is not accepted; the message says why, and never quotes it."""


class Provider:
    """
    Args:
        fetch: Returns the JSON at an address. Raises Unavailable.
    """

    def __init__(
        self, settings: OidcConfig, fetch: Fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings, self._fetch = settings, fetch
        self._kept = Kept("api.oidc", self._fetched, kept_s=settings.keys_kept_s, clock=clock)
        self._description = Kept("api.oidc.issuer", self._described, kept_s=settings.keys_kept_s, clock=clock)

    def caller_of(self, token: str, grants: Mapping[str, Iterable[str]]) -> Caller:
        """Check a token, and return who it is of. Errors: see claims_of."""
        claims = self.claims_of(token, self.settings.audience)
        return named(str(claims["sub"]), self.words_of(claims), grants)

    def address(self, name: str) -> str:
        """Return an address that the provider's description names. Raises Unavailable: it cannot be read, or names none."""
        found = self._description.get().get(name)
        if not isinstance(found, str) or not is_safe(found):
            raise Unavailable(f"The identity provider of api.oidc names no {name} that can be used.")
        return found

    def claims_of(self, token: str, audience: str) -> Mapping[str, Any]:
        """
        Check a token for *audience*, and return what it says.

        Raises:
            NotGood: it is not accepted.
            Unavailable: the provider's keys cannot be fetched.
        """
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS:
                raise NotGood("it is signed by a method that is not accepted")
            key = self._key(header.get("kid"))
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=audience,
                issuer=self.settings.issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise NotGood(_WHY.get(type(error), "it is not a valid token of the provider")) from None
        return claims

    def words_of(self, claims: Mapping[str, Any]) -> list[str]:
        """The words of the claim that says what a token allows."""
        said = claims.get(self.settings.scopes_claim, ())
        words = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
        return [word for word in words if isinstance(word, str)]

    def _key(self, kid: Any) -> jwt.PyJWK:
        keys = self._kept.get(lambda kept: _named(kept, kid) is not None)
        if (key := _named(keys, kid)) is None:
            raise NotGood("it is signed by a key that the provider does not have")
        return key

    def _fetched(self) -> Mapping[str | None, jwt.PyJWK]:
        try:
            address = self.settings.jwks_url or self._found()
            return {each.key_id: each for each in jwt.PyJWKSet.from_dict(self._fetch(address)).keys}
        except (Unavailable, jwt.PyJWTError, AttributeError, KeyError, TypeError) as error:
            log.warning("oidc_keys_not_fetched", error=type(error).__name__)
            raise Unavailable(
                "The keys of api.oidc.issuer cannot be fetched. Check that it can be reached."
            ) from None

    def _described(self) -> Mapping[str, Any]:
        try:
            found = self._fetch(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found["issuer"] != self.settings.issuer:
                raise KeyError("issuer")  # the description of another provider
        except (Unavailable, AttributeError, KeyError, TypeError):
            raise Unavailable(
                "The description of api.oidc.issuer cannot be read. Check that it can be reached."
            ) from None
        described: Mapping[str, Any] = found
        return described

    def _found(self) -> str:
        keys = str(self._described()["jwks_uri"])
        if not is_safe(keys):
            raise KeyError("jwks_uri")
        return keys


def named(subject: str, words: Iterable[str], grants: Mapping[str, Iterable[str]]) -> Caller:
    """Who a token is of, and what its words allow."""
    return caller(
        f"oidc:{subject[:_NAME_MAX]}", (scope for word in words for scope in scopes_of(word, grants))
    )


def scopes_of(word: str, grants: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """What a word of the provider's allows; mostly nothing."""
    # A provider's group may be called `operator`: a word of ours that names no object counts only if it is granted.
    return grants.get(word, (word,) if ":" in word and is_scope(word) else ())


def _named(keys: Mapping[str | None, jwt.PyJWK], kid: Any) -> jwt.PyJWK | None:
    """The key that a token names; without a name, the only one."""
    if kid is None and len(keys) == 1:
        return next(iter(keys.values()))
    return keys.get(kid) if isinstance(kid, str) else None


_WHY: Final[Mapping[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is for another audience (api.oidc.audience)",
    jwt.InvalidIssuerError: "it is of another issuer (api.oidc.issuer)",
    jwt.InvalidSignatureError: "its signature is wrong",
    jwt.MissingRequiredClaimError: "it lacks one of the claims exp, iss, aud and sub",
}


def exchanged(
    address: str, form: Mapping[str, str], auth: tuple[str, str] | None, *, ca_file: str | None = None
) -> Any:
    """
    Return the JSON with which the provider answers a form.

    Args:
        auth: The client's name and secret, for Basic authentication (RFC 6749, 2.3.1).

    Raises:
        NotGood: it refuses what the form says.
        Unavailable: it does not answer as it should.
    """
    return _asked("POST", address, ca_file, refuses=frozenset({400, 401}), data=form, auth=auth)


def fetched(address: str, *, ca_file: str | None = None) -> Any:
    """Return the JSON at an address. Raises Unavailable."""
    return _asked("GET", address, ca_file)


def _asked(
    method: str, address: str, ca_file: str | None, *, refuses: Collection[int] = (), **more: Any
) -> Any:
    """*refuses*: status codes that say no."""
    try:
        answer = requests.request(
            method,
            address,
            timeout=_ANSWER_MAX_S,
            verify=ca_file or True,
            allow_redirects=False,
            **more,
        )
        if answer.status_code in refuses:
            raise NotGood("the identity provider does not accept it")
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ssl.SSLError, ValueError, OSError) as error:
        raise Unavailable(
            f"The identity provider of api.oidc does not answer as it should ({type(error).__name__})."
        ) from None
