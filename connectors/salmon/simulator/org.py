"""
The org in a box: its objects, users, clock, sessions, faults, and what is told of each commit.

What the records are and how they change is for the other modules of this package; this one holds them
together, and is what the REST, Pub/Sub and control servers are given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from salmon.simulator.clock import OrgClock
from salmon.simulator.describes import Describe
from salmon.simulator.faults import FaultRegistry
from salmon.simulator.ids import make_id
from salmon.simulator.sessions import Sessions, User
from salmon.simulator.transaction import Transaction

Listener = Callable[[Transaction], None]


class Org:
    """
    One Salesforce org, in memory.

    A listener is called at each commit, in commit order, under the org's lock: it must be quick and must not
    write. The rows it gets never change afterwards; a field that a row lacks is null.
    """

    def __init__(self, describes: Mapping[str, Describe]) -> None:
        self.org_id = make_id("00D", 1)
        self.clock = OrgClock()
        self.faults = FaultRegistry()
        self.integration_user = User(
            make_id("005", 1),
            "sync@salmon.example",
            "Salmon",
            "Integration",
            "sync@salmon.example",
            "river-run-1",
            "tok1",
        )
        self.person = User(
            make_id("005", 2),
            "someone@salmon.example",
            "Someone",
            "Else",
            "someone@salmon.example",
            "river-run-2",
            "tok2",
        )
        self.users = {user.user_id: user for user in (self.integration_user, self.person)}
        self.sessions = Sessions(self.org_id, self.clock, self.integration_user)
        self.lock = threading.RLock()
        self._describes = dict(describes)
        self._listeners: list[Listener] = []

        self.faults.register("latency", "http", "lock_rows", "exhaust_api")
        self.faults.on("revoke_sessions", lambda _params: self.sessions.revoke_all())
        self.faults.on("clock_skew", lambda params: self.clock.skew(params["s"]))
        self.faults.on_clear(lambda: self.clock.skew(0))

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of the org's objects."""
        return tuple(self._describes)

    def describe(self, name: str) -> Describe:
        """The describe of the object *name* (exact case). Raises KeyError if the org has none such."""
        return self._describes[name]

    def add_listener(self, listener: Listener) -> None:
        """Call *listener* at each commit from now on."""
        with self.lock:
            self._listeners.append(listener)
