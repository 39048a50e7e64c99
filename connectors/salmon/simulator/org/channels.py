"""
What subscribers can listen to besides the standard channel: custom channels, and subscriptions whose position the org keeps.

An administrator makes them (salmon.simulator.tooling); the event bus and the Pub/Sub API read them here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from salmon.simulator.org.transaction import Row

MANAGED_MAX = 200  # of an org ("Pub/Sub API Allocations")


@dataclass(frozen=True, slots=True)
class Member:
    """One kind of event on a custom channel. *enriched* are fields that its updates and deletions carry besides."""

    entity: str  # the object whose changes they are, or the platform event
    enriched: tuple[str, ...] = ()
    passes: Callable[[Row], bool] | None = None  # the filter; None lets all events through


@dataclass(slots=True)
class ManagedSubscription:
    """A ManagedEventSubscription. Its committed position and its one client are kept while it is reconfigured."""

    subscription_id: str  # 18 characters
    developer_name: str
    topic: str
    default_replay: str  # LATEST or EARLIEST, where nothing was committed yet
    error_replay: str  # LATEST or EARLIEST, where the committed position is gone
    running: bool
    committed: bytes | None = None
    in_use: bool = False


@dataclass(slots=True)
class Channels:
    """The custom channels and managed subscriptions of one org."""

    # Topic of a channel ("/data/My__chn") -> topic of its member ("/data/AccountChangeEvent") -> how it is delivered.
    custom: Mapping[str, Mapping[str, Member]] = field(default_factory=dict)
    managed: dict[str, ManagedSubscription] = field(default_factory=dict)  # by id
    lock: threading.Lock = field(default_factory=threading.Lock)  # of who holds which subscription
    listeners: list[Callable[[], None]] = field(
        default_factory=list
    )  # called when an administrator changed something

    def carries(self, topic: str) -> bool:
        """Whether events of this topic are on any custom channel."""
        return any(topic in members for members in self.custom.values())

    def changed(self) -> None:
        """Tell the listeners."""
        for listener in self.listeners:
            listener()

    def named(self, developer_name: str) -> ManagedSubscription | None:
        """The managed subscription of this developer name, or None."""
        return next((each for each in self.managed.values() if each.developer_name == developer_name), None)
