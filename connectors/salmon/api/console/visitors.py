"""
Who looks at the console: by a session of a browser, by a key or token in the request, or, without credentials configured, whoever is
on this machine.

A session is a signed cookie that only a browser holds, and only for the console. It names the key that was shown, so that a key that is
withdrawn ends its sessions. Who has signed in at an identity provider has to be named by it again after an hour; what the words of
the provider allow is looked up for each request. What acts needs a token of the page that it was sent from (CSRF).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Form, Request
from fastapi.concurrency import run_in_threadpool
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.responses import RedirectResponse, Response

from salmon.api.access import Access
from salmon.api.console.signing_in import ATTEMPT_COOKIE, ATTEMPT_MAX_S, SignIn
from salmon.api.grants import Caller, caller
from salmon.api.keys import hash_of
from salmon.api.oidc import named, scopes_of
from salmon.api.problems import Problem
from salmon.config.sections.api import ApiConfig

COOKIE: Final = "salmon_console"
SESSION_MAX_S: Final = 12 * 3600
OIDC_SESSION_MAX_S: Final = 3600
TOKEN: Final = "token"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks. *token*: what a form must send back; of this session alone. *session*: whether they signed in."""

    caller: Caller
    token: str
    session: bool


class Visitors:
    """
    Args:
        access: Who may do what.
        settings: Returns the settings that count now.
        secret: What sessions are signed with, unless the settings have a secret.
        path: Where the console is.
    """

    def __init__(self, access: Access, settings: Callable[[], ApiConfig], *, secret: str, path: str) -> None:
        self._access, self._settings, self._own_secret, self._path = access, settings, secret, path

    # Dependencies.

    @property
    def views(self) -> Any:
        """A dependency: the visitor, who may look."""

        async def check(request: Request) -> Visitor:
            visitor = await self._visitor(request)
            if not visitor.caller.views:
                raise Problem(
                    403,
                    "not-allowed",
                    f"The key of {visitor.caller.name} has no role for the console. Give it the scope viewer or operator.",
                )
            return visitor

        return Depends(check)

    @property
    def sends(self) -> Any:
        """A dependency: the visitor, who may look, and whose request comes from a page of ours."""
        views = self.views

        async def check(token: Annotated[str, Form()] = "", visitor: Visitor = views) -> Visitor:
            _check_token(token, visitor)
            return visitor

        return Depends(check)

    @property
    def operates(self) -> Any:
        """A dependency: the visitor, who may act, and whose request comes from a page of ours."""
        views = self.views

        async def check(token: Annotated[str, Form()] = "", visitor: Visitor = views) -> Visitor:
            if not visitor.caller.operates:
                raise Problem(
                    403,
                    "not-allowed",
                    f"{visitor.caller.name} may look, and not act. It needs the scope operator.",
                )
            _check_token(token, visitor)
            return visitor

        return Depends(check)

    # Signing in and out.

    async def sign_in(self, request: Request, key: str, answer: Response) -> Caller:
        """
        Give *answer* the cookie of a session.

        Raises:
            Problem: 401 the key is not known, 403 it has no role, 429 too many attempts.
        """
        self._access.check_place(request)
        found = await self._access.known(request, key)
        if not found.views:
            raise Problem(
                403,
                "not-allowed",
                "This key has no role for the console: it lacks the scope viewer or operator.",
            )
        mark = self._mark(hash_of(key))
        if not await run_in_threadpool(self._named, mark):
            raise Problem(
                403,
                "not-allowed",
                "Only an API key can begin a session. Send a token in the header of each request.",
            )
        self._give(request, answer, {"key": mark}, SESSION_MAX_S)
        return found

    # At an identity provider.

    @property
    def elsewhere(self) -> SignIn | None:
        """How to sign in at the identity provider, if that is configured."""
        oidc, provider = self._settings().oidc, self._access.provider
        if oidc is None or oidc.sign_in is None or provider is None:
            return None
        return SignIn(provider, oidc.sign_in, self._secret)

    def begin(self, request: Request, elsewhere: SignIn, to: str) -> Response:
        """Send the browser to the identity provider. Raises Unavailable, and Problem: the request may not come from there."""
        self._access.check_place(request)
        address, attempt = elsewhere.begin(to)
        answer = RedirectResponse(address, status_code=303)
        # Lax: the browser comes back from another site.
        self._set(request, answer, ATTEMPT_COOKIE, attempt, ATTEMPT_MAX_S, samesite="lax")
        return answer

    def come_back(self, request: Request, elsewhere: SignIn, answer: Response) -> tuple[Caller, str]:
        """
        Give *answer* the cookie of a session for who comes back from the identity provider.

        Returns:
            Who it is, and where they wanted to go.

        Raises:
            NotGood: see SignIn.finish. Unavailable: the provider does not answer.
            Problem: 403 they have no role, 429 too many attempts.
        """
        self._access.check_place(request)
        self._access.count_failure(request)  # an attempt makes us ask the provider, whatever comes of it
        signed = elsewhere.finish(dict(request.query_params), request.cookies.get(ATTEMPT_COOKIE, ""))
        found = self._of_provider(signed.subject, signed.words)
        if found is None or not found.views:
            raise Problem(
                403,
                "not-allowed",
                "Your account has no role for the console. api.oidc.grants has to give one of its groups viewer or operator.",
            )
        # Of hundreds of groups, which no cookie can hold, only those that count for something.
        words = [word for word in signed.words if scopes_of(word, self._grants or {})]
        self._give(request, answer, {"sub": signed.subject, "words": words}, OIDC_SESSION_MAX_S)
        answer.delete_cookie(ATTEMPT_COOKIE, path=self._path, httponly=True, samesite="lax")
        return found, signed.to

    @property
    def _grants(self) -> Mapping[str, Iterable[str]] | None:
        """What the provider's words allow; None: nobody signs in there."""
        oidc = self._settings().oidc
        return None if oidc is None or oidc.sign_in is None else oidc.grants

    def _of_provider(self, subject: str, words: Iterable[str]) -> Caller | None:
        grants = self._grants
        return None if grants is None else named(subject, words, grants)

    def _give(self, request: Request, answer: Response, said: Mapping[str, Any], max_age_s: int) -> None:
        session = {**said, "nonce": secrets.token_urlsafe(16), "until": int(time.time()) + max_age_s}
        self._set(request, answer, COOKIE, self._signer().dumps(session), max_age_s, samesite="strict")

    def _set(
        self,
        request: Request,
        answer: Response,
        name: str,
        value: str,
        max_age_s: int,
        *,
        samesite: Literal["lax", "strict"],
    ) -> None:
        """Give the browser a cookie, for the console alone."""
        answer.set_cookie(
            name,
            value,
            max_age=max_age_s,
            path=self._path,
            httponly=True,
            samesite=samesite,
            secure=self._settings().session_secure or request.scope["scheme"] == "https",
        )

    def sign_out(self, request: Request, answer: Response) -> None:
        """Have the browser forget its session. Raises Problem: the request comes from where it may not come."""
        self._access.check_place(request)
        answer.delete_cookie(COOKIE, path=self._path, httponly=True, samesite="strict")

    async def _visitor(self, request: Request) -> Visitor:
        said = self._session(request)
        if said is None or not self._access.needs_credentials:
            local = await self._access(request)
            return self._noted(request, Visitor(local, self._token(local.name, ""), session=False))
        self._access.check_place(request)
        if "key" in said:
            found = await run_in_threadpool(self._named, said["key"])
        else:
            found = self._of_provider(said["sub"], said["words"])
        if found is None:
            raise Problem(401, "not-signed-in", "This session is not known any more. Sign in again.")
        self._access.count(found)
        return self._noted(request, Visitor(found, self._token(found.name, said["nonce"]), session=True))

    def _noted(self, request: Request, visitor: Visitor) -> Visitor:
        request.state.visitor = visitor
        return visitor

    def _session(self, request: Request) -> dict[str, Any] | None:
        try:
            said: dict[str, Any] = self._signer().loads(
                request.cookies.get(COOKIE, ""), max_age=SESSION_MAX_S
            )
        except BadSignature:
            return None
        return said if said.get("until", 0) > time.time() else None

    def _named(self, mark: str) -> Caller | None:
        """The caller whose key has this mark."""
        for name, key in self._access.keys().items():
            if hmac.compare_digest(self._mark(key.hash), mark):
                return caller(name, key.scopes)
        return None

    # Secrets.

    @property
    def _secret(self) -> str:
        own = self._settings().session_secret
        return self._own_secret if own is None else own.get_secret_value()

    def _signer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._secret, salt="session")

    def _mark(self, key_hash: str) -> str:
        """What a session says of a key: nobody can turn it back, or compare it with a hash."""
        return self._keyed(f"key\0{key_hash}")

    def _token(self, name: str, nonce: str) -> str:
        return self._keyed(f"token\0{name}\0{nonce}")

    def _keyed(self, text: str) -> str:
        return hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _check_token(token: str, visitor: Visitor) -> None:
    if not hmac.compare_digest(token.encode(), visitor.token.encode()):
        raise Problem(
            403,
            "not-from-here",
            "The form is not of this session. Open the page again, and repeat it there.",
        )
