"""
The faults that are switched on in the simulator: the control API sets them, and the servers ask for them.

A fault is either a state (`register`: REST and gRPC ask `active` or `take` where it would take effect) or an action (`on`: cut
the streams, expire the replay ids). An action is passed on once, and not kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Params = Mapping[str, Any]
FaultHandler = Callable[[Params], None]


class UnknownFault(ValueError):
    """No such fault; the message names those there are."""


class BadFault(ValueError):
    """The fault exists, but not with these parameters; the message says what it needs."""


@dataclass(slots=True)
class _Fault:
    params: dict[str, Any]
    times_left: int | None  # None: until cleared
    until_s: float | None = None  # time.monotonic()


class FaultRegistry:
    """Faults by name, several of one name side by side (one for each api, say). Safe for any thread."""

    def __init__(self, known: frozenset[str] = frozenset()) -> None:
        self._lock = threading.Lock()
        self._known = set(known)
        self._faults: dict[str, list[_Fault]] = {}
        self._handlers: dict[str, list[FaultHandler]] = {}
        self._checks: dict[str, FaultHandler] = {}
        self._on_clear: list[Callable[[], None]] = []

    @property
    def known(self) -> frozenset[str]:
        """The names that `set` takes."""
        return frozenset(self._known)

    def register(self, name: str, check: FaultHandler | None = None) -> None:
        """Make *name* known as a state, which stays until cleared, spent or over; *check* may raise BadFault."""
        with self._lock:
            self._known.add(name)
            if check is not None:
                self._checks[name] = check

    def on(self, name: str, handler: FaultHandler) -> None:
        """
        Make *name* known as a deed: *handler* is called with the parameters at each `set(name, ...)`.

        The handler may raise BadFault. What lasts of the deed is the handler's own to keep (see `on_clear`).
        """
        with self._lock:
            self._known.add(name)
            self._handlers.setdefault(name, []).append(handler)

    def on_clear(self, handler: Callable[[], None]) -> None:
        """Call *handler* at each `clear()`."""
        with self._lock:
            self._on_clear.append(handler)

    def set(self, name: str, params: Params) -> None:
        """
        Switch a fault on.

        Args:
            name: One of `known`.
            params: What the fault is about. `times` (int): how often `take` hands it out before it is spent.
                `s` (number): seconds of wall clock after which it ends, except for `clock_skew`, where it is
                the skew itself.

        Raises:
            UnknownFault: No such fault.
            BadFault: A handler refused the parameters, or `times` or `s` is no number.
        """
        with self._lock:
            if name not in self._known:
                raise UnknownFault(f"no fault {name!r}; there are {', '.join(sorted(self._known))}")
            handlers, check = tuple(self._handlers.get(name, ())), self._checks.get(name)
        times, lasts_s = params.get("times"), params.get("s") if name != "clock_skew" else None
        if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
            raise BadFault(f"{name}: times must be a whole number of at least 1")
        if lasts_s is not None and (not isinstance(lasts_s, int | float) or isinstance(lasts_s, bool)):
            raise BadFault(f"{name}: s must be a number of seconds")
        if handlers:
            for handler in handlers:
                handler(params)
            return
        if check is not None:
            check(params)
        fault = _Fault(dict(params), times, None if lasts_s is None else time.monotonic() + lasts_s)
        with self._lock:
            self._faults.setdefault(name, []).append(fault)

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._faults.clear()
            handlers = tuple(self._on_clear)
        for handler in handlers:
            handler()

    def active(self, name: str, **match: Any) -> Params | None:
        """
        The parameters of a fault that is on, or None.

        A fault matches if each of its own parameters that *match* speaks of is equal to it, is "all", or is
        a list that holds it; a parameter that the fault does not have matches everything.
        """
        if name not in self._faults:  # The usual case, asked at every request: no lock for it.
            return None
        with self._lock:
            found = self._find(name, match)
            return None if found is None else dict(found.params)

    def take(self, name: str, **match: Any) -> Params | None:
        """Like `active`, and use up one of the fault's `times`."""
        if name not in self._faults:
            return None
        with self._lock:
            found = self._find(name, match)
            if found is None:
                return None
            if found.times_left is not None:
                found.times_left -= 1
                self._drop_spent(name)
            return dict(found.params)

    def all(self) -> list[dict[str, Any]]:
        """Every fault that is on, as the control API shows it."""
        with self._lock:
            for name in tuple(self._faults):
                self._drop_spent(name)
            return [
                {"fault": name, **fault.params} for name, faults in self._faults.items() for fault in faults
            ]

    def _find(self, name: str, match: Mapping[str, Any]) -> _Fault | None:
        self._drop_spent(name)
        for fault in self._faults.get(name, ()):
            if all(_fits(fault.params.get(key), value) for key, value in match.items()):
                return fault
        return None

    def _drop_spent(self, name: str) -> None:
        now = time.monotonic()
        left = [
            fault
            for fault in self._faults.get(name, ())
            if fault.times_left != 0 and (fault.until_s is None or now < fault.until_s)
        ]
        if left:
            self._faults[name] = left
        else:
            self._faults.pop(name, None)


def _fits(wanted: Any, value: Any) -> bool:
    if wanted is None or wanted == "all":
        return True
    return value in wanted if isinstance(wanted, list | tuple | set) else bool(wanted == value)
