"""
Who looks at the console: by a session of a browser, by a key or token in the request, or, without credentials configured, whoever is
on this machine.

A session is a signed cookie that only a browser holds, and only for the console. It names the key that was shown, so that a key that is
withdrawn ends its sessions. What acts needs a token of the page that it was sent from (CSRF).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Form, Request
from fastapi.concurrency import run_in_threadpool
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.responses import Response

from salmon.api.access import Access
from salmon.api.grants import Caller, caller
from salmon.api.keys import hash_of
from salmon.api.problems import Problem
from salmon.config.api import ApiConfig

COOKIE: Final = "salmon_console"
SESSION_MAX_S: Final = 12 * 3600
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
        said = {"key": self._mark(hash_of(key)), "nonce": secrets.token_urlsafe(16)}
        if not await run_in_threadpool(self._named, said["key"]):
            raise Problem(
                403,
                "not-allowed",
                "Only an API key can begin a session. Send a token in the header of each request.",
            )
        answer.set_cookie(
            COOKIE,
            self._signer().dumps(said),
            max_age=SESSION_MAX_S,
            path=self._path,
            httponly=True,
            samesite="strict",
            secure=self._settings().session_secure or request.scope["scheme"] == "https",
        )
        return found

    def sign_out(self, request: Request, answer: Response) -> None:
        """Have the browser forget its session. Raises Problem: the request comes from where it may not come."""
        self._access.check_place(request)
        answer.delete_cookie(COOKIE, path=self._path, httponly=True, samesite="strict")

    async def _visitor(self, request: Request) -> Visitor:
        said = self._session(request)
        if said is None or not self._access.needs_credentials:
            found = await self._access(request)
            return self._noted(request, Visitor(found, self._token(found.name, ""), session=False))
        self._access.check_place(request)
        of_key = await run_in_threadpool(self._named, said["key"])
        if of_key is None:
            raise Problem(
                401, "not-signed-in", "The key of this session is not known any more. Sign in again."
            )
        self._access.count(of_key)
        return self._noted(request, Visitor(of_key, self._token(of_key.name, said["nonce"]), session=True))

    def _noted(self, request: Request, visitor: Visitor) -> Visitor:
        request.state.visitor = visitor
        return visitor

    def _session(self, request: Request) -> dict[str, str] | None:
        try:
            said: dict[str, str] = self._signer().loads(
                request.cookies.get(COOKIE, ""), max_age=SESSION_MAX_S
            )
        except BadSignature:
            return None
        return said

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
