"""Users, connected apps, sessions and refresh tokens of the simulated org: who may sign in, and which tokens are valid."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from salmon.simulator.org.clock import OrgClock
from salmon.simulator.org.settings import Settings


@dataclass(frozen=True, slots=True)
class User:
    """A user of the org. Records show who made and changed them by *user_id*."""

    user_id: str  # 18 characters
    username: str
    first_name: str
    last_name: str
    email: str
    password: str
    security_token: str

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"


@dataclass(frozen=True, slots=True)
class ConnectedApp:
    """A connected app with its consumer key and secret, and the user that client credentials run as."""

    client_id: str
    client_secret: str
    run_as: User
    public_key_pem: bytes | None = None  # for JWT bearer; None: the app has no certificate


@dataclass(frozen=True, slots=True)
class Session:
    """What an access token stands for."""

    user: User
    client_id: str | None  # the connected app that it was given to; None: logged in without one
    refresh_token: str | None  # the one that renewed it
    opened_ms: int
    used_ms: int


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a refresh token stands for."""

    user: User
    client_id: str
    issued_ms: int


Listener = Callable[[frozenset[str]], None]


@dataclass(slots=True)
class Instance:
    """Where the org is. It may move to another host; calls to the hosts that it has left are refused."""

    url: str = ""
    left: frozenset[str] = field(default_factory=frozenset)  # host:port, as clients name them

    def move(self, url: str) -> None:
        """Be at *url* from now on."""
        gone = {self.authority} if self.url else set()
        self.url = url
        self.left = (self.left | gone) - {self.authority}

    @property
    def authority(self) -> str:
        """host:port of the URL."""
        return self.url.partition("://")[2].rstrip("/")

    def has_left(self, authority: str) -> bool:
        """Whether the org was at this host:port before, and is not any more."""
        return authority in self.left


class Sessions:
    """The tokens of one org. REST and gRPC ask it for every call. Safe for any thread."""

    def __init__(self, org_id: str, clock: OrgClock, user: User, settings: Settings) -> None:
        self.org_id = org_id  # 18 characters
        self.user_id = user.user_id  # of the integration user, 18 characters
        self._clock = clock
        self._settings = settings
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._refresh_tokens: dict[str, RefreshToken] = {}
        self._listeners: list[Listener] = []

    def open(self, user: User, client_id: str | None = None, refresh_token: str | None = None) -> str:
        """A new access token for *user*: the 15-character org id, "!", and something nobody can guess."""
        token = f"{self.org_id[:15]}!{secrets.token_urlsafe(66)}"
        now_ms = self._clock.now_ms()
        with self._lock:
            self._sessions[token] = Session(user, client_id, refresh_token, now_ms, now_ms)
        return token

    def valid(self, token: str) -> bool:
        """Whether the token is good; asking counts as use of the session."""
        return self.user_of(token) is not None

    def user_of(self, token: str) -> User | None:
        """Whose session it is; None if there is none or it has timed out. Asking counts as use."""
        now_ms = self._clock.now_ms()
        with self._lock:
            session = self._alive(token, now_ms)
            if session is None:
                return None
            self._sessions[token] = replace(session, used_ms=now_ms)
            return session.user

    def session(self, token: str) -> Session | None:
        """What the token stands for; None if there is no such session or it has timed out. It is no use of it."""
        with self._lock:
            return self._alive(token, self._clock.now_ms())

    def expires_ms(self, session: Session) -> int:
        """When a session ends if nobody uses it."""
        return session.used_ms + round(self._settings.session_timeout_s * 1000)

    # Refresh tokens

    def issue_refresh_token(self, user: User, client_id: str) -> str:
        """A refresh token of the app for *user*, as approving the app gives one. It has no end of its own."""
        token = f"5Aep861{secrets.token_urlsafe(60)}"
        with self._lock:
            self._refresh_tokens[token] = RefreshToken(user, client_id, self._clock.now_ms())
        return token

    def refresh_token(self, token: str) -> RefreshToken | None:
        """What the refresh token stands for, or None."""
        return self._refresh_tokens.get(token)

    def drop_refresh_token(self, token: str) -> None:
        """End a refresh token, and leave the sessions that it has renewed: rotation does so."""
        with self._lock:
            self._refresh_tokens.pop(token, None)

    # Revoking

    def add_listener(self, listener: Listener) -> None:
        """Call *listener* with the access tokens at each revocation."""
        with self._lock:
            self._listeners.append(listener)

    def revoke(self, token: str) -> bool:
        """
        End an access token; or a refresh token, with all sessions that it has renewed. False if there is none such.

        Source: "Revoke OAuth Tokens", Salesforce Help.
        """
        with self._lock:
            known = token in self._sessions or token in self._refresh_tokens
            self._refresh_tokens.pop(token, None)
            ended = [
                each for each, session in self._sessions.items() if token in {each, session.refresh_token}
            ]
            for each in ended:
                del self._sessions[each]
        self._tell(ended)
        return known

    def revoke_all(self) -> None:
        """End every session, as an administrator does: each client has to log in again."""
        with self._lock:
            ended = list(self._sessions)
            self._sessions.clear()
        self._tell(ended)

    def _alive(self, token: str, now_ms: int) -> Session | None:
        session = self._sessions.get(token)
        if session is not None and now_ms > self.expires_ms(session):
            del self._sessions[token]
            return None
        return session

    def _tell(self, ended: list[str]) -> None:
        for listener in tuple(self._listeners) if ended else ():
            listener(frozenset(ended))
