"""Users, connected apps and sessions of the simulated org: who may sign in, and which access tokens are valid."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass

from salmon.simulator.org.clock import OrgClock

# "Session timeout", Salesforce Help: two hours of inactivity unless the org says otherwise.
SESSION_TIMEOUT_S = 2 * 3600


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


@dataclass(slots=True)
class _Session:
    user: User
    used_ms: int


class Sessions:
    """The access tokens of one org. REST and gRPC ask it for every call. Safe for any thread."""

    def __init__(
        self, org_id: str, clock: OrgClock, user: User, timeout_s: float = SESSION_TIMEOUT_S
    ) -> None:
        self.org_id = org_id  # 18 characters
        self.user_id = user.user_id  # of the integration user, 18 characters
        self._clock = clock
        self._timeout_ms = round(timeout_s * 1000)
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}

    def open(self, user: User) -> str:
        """A new access token for *user*: the 15-character org id, "!", and something nobody can guess."""
        token = f"{self.org_id[:15]}!{secrets.token_urlsafe(66)}"
        with self._lock:
            self._sessions[token] = _Session(user, self._clock.now_ms())
        return token

    def valid(self, token: str) -> bool:
        """Whether the token is good; asking counts as use of the session."""
        return self.user_of(token) is not None

    def user_of(self, token: str) -> User | None:
        """Whose session it is; None if there is none or it has timed out. Asking counts as use."""
        now_ms = self._clock.now_ms()
        with self._lock:
            session = self._sessions.get(token)
            if session is None:
                return None
            if now_ms - session.used_ms > self._timeout_ms:
                del self._sessions[token]
                return None
            session.used_ms = now_ms
            return session.user

    def revoke_all(self) -> None:
        """End every session, as an administrator does: each client has to log in again."""
        with self._lock:
            self._sessions.clear()
