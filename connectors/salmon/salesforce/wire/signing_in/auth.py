"""
Signing in to Salesforce: one token, shared by all that talk to the org, and renewed once for all of them.

What is sent is in grants and soap_login; what a refusal means, and its mend, in login_answers.
Sources: Salesforce Help, "OAuth Authorization Flows", "Identity URLs", "Password Policies", "OpenID Connect Token Introspection".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

import structlog

from salmon.addresses import with_usable_host
from salmon.calls import Calls, Peer
from salmon.errors import (
    ConfigError,
    LoginChanged,
    RateLimited,
    SalmonError,
    SignInRefused,
    UnfitServer,
)
from salmon.salesforce.config import Flow, SalesforceConfig
from salmon.salesforce.wire.http import Https
from salmon.salesforce.wire.pause import Pause
from salmon.salesforce.wire.signing_in import soap_login
from salmon.salesforce.wire.signing_in.grants import ENDINGS, audiences, form_of
from salmon.salesforce.wire.signing_in.login_answers import KEY, LoginAnswer, json_of, refusal_of, time_of

log = structlog.get_logger(__name__)

_SKEW_MIN_S: Final = 30  # a clock that is further off than this may be why an assertion was refused
_TOKEN_PATH: Final = "/services/oauth2/token"
_INTROSPECTION_PATH: Final = "/services/oauth2/introspect"
_PATIENCE_S: Final = 30.0  # all that talk to the org wait for this one answer
# An instance that cannot be reached may be one that the org has left: whoever signs in is told where it is now.
_LOOK_EVERY_S: Final = 60.0
# A wrong password too often locks the user out, as a rule the tenth, for 15 minutes as a rule.
_WRONG_PASSWORD_AGAIN_S: Final = 900.0
_WITH_PASSWORD: Final[frozenset[Flow]] = frozenset({"username_password", "soap_login"})
_WRONG_PASSWORD: Final = frozenset(
    {"invalid_grant", "INVALID_LOGIN", "LOGIN_MUST_USE_SECURITY_TOKEN", "PASSWORD_LOCKOUT"}
)


@dataclass(frozen=True, slots=True)
class Token:
    """What signing in gave: good until Salesforce says otherwise."""

    access_token: str = field(repr=False)
    instance_url: str
    organization_id: str  # 18 characters; the Pub/Sub API's tenantid
    user_id: str  # 18 characters; commitUser of the changes that we make
    lives_s: float | None = None  # how long it is good if nobody uses it, where signing in says so


class SignIn:
    """
    The one place that signs in. Threads share it: whoever finds a token refused asks for another with `renew`,
    and only the first of them makes a call; the others get what it gets, also if that is an error.
    """

    def __init__(
        self,
        config: SalesforceConfig,
        https: Https | None = None,
        now_s: Callable[[], float] = time.time,
        *,
        calls: Calls | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._calls = calls or Calls()
        self._https = https or Https(config.ca_file, proxy=config.proxy, calls=self._calls)
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()  # never held while anybody waits for the org
        self._signing_in: Future[Token] | None = None
        self._token: Token | None = None
        self._looked_s = float("-inf")
        self._pause = Pause()
        self._refused: tuple[float, SignInRefused] | None = None  # our password: until when, and the words
        # What worked last time: the first audience of a JWT, and how far the org's clock is ahead of ours.
        self._audiences: Sequence[str] = audiences(config.login_url)
        self._ahead_s = 0.0
        self._warned = config.auth.flow not in ENDINGS

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
        if token.lives_s is not None or auth.client_secret is None or auth.client_id is None:
            return token.lives_s
        response = self._https.send(
            "POST",
            self._config.login_url + _INTROSPECTION_PATH,
            key=KEY,
            patience_s=_PATIENCE_S,
            data={
                "token": token.access_token,
                "token_type_hint": "access_token",
                "client_id": auth.client_id,
                "client_secret": auth.client_secret.get_secret_value(),
            },
            headers={"Accept": "application/json"},
        )
        body = json_of(response)
        try:
            return float(body["exp"]) - (time_of(response) or self._now_s()) if body["active"] else None
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def flow(self) -> Flow:
        """How we sign in."""
        return self._config.auth.flow

    def look_again(self, unanswered: Token) -> None:
        """
        The instance of the token *unanswered* cannot be reached: see, at most once a minute, whether signing in leads to
        another one by now. What else goes wrong with it is for the next call to find.

        Raises:
            LoginChanged: as `token`.
        """
        with self._lock:
            now = self._monotonic_s()
            if self._token is not unanswered or now - self._looked_s < _LOOK_EVERY_S:
                return
            self._looked_s = now
        try:
            self._signed_in(unanswered)
        except LoginChanged:
            raise
        except SalmonError as error:
            log.info("salesforce_not_found_elsewhere", reason=str(error))

    def _signed_in(self, refused: Token | None) -> Token:
        """A token, other than the one that was *refused*."""
        with self._lock:
            token = self._token
            if token is not None and (refused is None or token.access_token != refused.access_token):
                return token
            is_first = self._signing_in is None
            signing_in = self._signing_in = self._signing_in or Future()
        if is_first:
            self._sign_in_for(signing_in, token)
        waiting = self._calls.begin(Peer.SALESFORCE, "signing in")
        try:
            return signing_in.result()
        finally:
            self._calls.dropped(waiting)

    def _sign_in_for(self, all_who_wait: Future[Token], before: Token | None) -> None:
        try:
            token = self._same_login(before, self._sign_in_again())
        except BaseException as error:  # noqa: BLE001 - raised in each thread that waits, this one too
            with self._lock:
                self._signing_in = None
            all_who_wait.set_exception(error)
            return
        with self._lock:
            self._token, self._signing_in = token, None
            self._looked_s = self._monotonic_s()
        all_who_wait.set_result(token)
        self._tell(before, token)

    def _tell(self, before: Token | None, now: Token) -> None:
        """For the log: what an operator should know of a token."""
        if not self._warned:
            self._warned = True
            ends, mend = ENDINGS[self.flow]
            log.warning("salesforce_flow_ends", flow=self.flow, reason=f"{ends}. {mend}.")
        if before is None:
            return
        log.info("salesforce_token_renewed", user_id=now.user_id)
        if before.instance_url != now.instance_url:
            log.warning("salesforce_moved", from_url=before.instance_url, to_url=now.instance_url)

    @staticmethod
    def _same_login(before: Token | None, now: Token) -> Token:
        """The token *now*. No one gets it if it is another user's or another org's: our own changes are known by their user."""
        if before is None or (before.organization_id, before.user_id) == (now.organization_id, now.user_id):
            return now
        raise LoginChanged(
            f"Salesforce lets us in as user {now.user_id} of the org {now.organization_id}; before, it was user"
            f" {before.user_id} of the org {before.organization_id}. The process restarts."
        )

    def _sign_in_again(self) -> Token:
        self._pause.look()
        if self._refused is not None and (left_s := self._refused[0] - self._monotonic_s()) > 0:
            raise SignInRefused(
                f"{self._refused[1]} Salmon tries again in {ceil(left_s / 60)} min, or when it is started again: wrong passwords in a"
                " row lock the user out."
            )
        try:
            token = self._sign_in()
        except RateLimited as error:
            self._pause.begin(error)
            raise
        self._pause.over()
        self._refused = None
        return token

    def _sign_in(self) -> Token:
        """Ask; a JWT also by the org's clock, and for each audience that it may need, until one is taken."""
        answer = self._ask(self._audiences[0])
        if self.flow == "jwt_bearer":
            theirs_s = time_of(answer.response)
            off_s = 0.0 if theirs_s is None else theirs_s - (self._now_s() + self._ahead_s)
            if answer.error == "invalid_grant" and abs(off_s) > _SKEW_MIN_S:
                self._ahead_s += off_s
                log.warning("clock_is_off", org_is_ahead_s=round(self._ahead_s))
                answer = self._ask(self._audiences[0])
            if answer.error == "invalid_grant" and len(self._audiences) > 1:
                other = tuple(reversed(self._audiences))
                second = self._ask(other[0])
                if second.has_token:
                    self._audiences, answer = other, second
        if not answer.has_token:
            refusal = refusal_of(self._config, answer)
            is_password = self.flow in _WITH_PASSWORD and answer.error in _WRONG_PASSWORD
            if is_password and isinstance(refusal, SignInRefused):
                self._refused = self._monotonic_s() + _WRONG_PASSWORD_AGAIN_S, refusal
            raise refusal
        if self.flow == "refresh_token" and self._is_rotated(answer.body):
            raise SignInRefused(
                "salesforce.auth.refresh_token: the connected app rotates refresh tokens, so each is good for one sign-in, and"
                " Salmon's processes share the one in the configuration. Switch refresh token rotation off in the app, let"
                " the integration user approve it again, and set the new refresh token; or use jwt_bearer."
            )
        return _token_of(answer.body)

    def _is_rotated(self, body: Mapping[str, Any]) -> bool:
        """Whether our refresh token has ended, and another one has taken its place."""
        given = self._config.auth.refresh_token
        return (
            given is not None
            and body.get("refresh_token", given.get_secret_value()) != given.get_secret_value()
        )

    def _ask(self, audience: str) -> LoginAnswer:
        auth, login_url = self._config.auth, self._config.login_url
        if self.flow == "soap_login":
            url = login_url + soap_login.path_of(self._config.api_version)
            response = self._https.send(
                "POST",
                url,
                key=KEY,
                patience_s=_PATIENCE_S,
                data=soap_login.envelope_of(auth),
                headers=soap_login.HEADERS,
            )
            return LoginAnswer(response, soap_login.body_of(response.content))
        response = self._https.send(
            "POST",
            login_url + _TOKEN_PATH,
            key=KEY,
            patience_s=_PATIENCE_S,
            data=form_of(auth, audience, self._now_s() + self._ahead_s),
            headers={"Accept": "application/json"},
        )
        return LoginAnswer(response, json_of(response))


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
        self._warned = True  # this session was opened by another flow
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

    def look_again(self, unanswered: Token) -> None:
        """Only a person can."""

    def _sign_in(self) -> Token:
        raise SignInRefused(
            "the administrator's session is not valid, or has ended. Give a new access token of an administrator."
        )


def _token_of(body: Mapping[str, Any]) -> Token:
    try:
        organization_id, user_id = body["id"].rstrip("/").split("/")[-2:]
        return Token(
            access_token=body["access_token"],
            instance_url=with_usable_host(body["instance_url"].rstrip("/")),
            organization_id=organization_id,
            user_id=user_id,
            lives_s=body.get("lives_s"),
        )
    except ValueError as error:
        raise UnfitServer(
            f"{KEY}: the answer to signing in has an instance_url or an id that is none. Check that the host is Salesforce's"
            " and not a proxy's."
        ) from error
