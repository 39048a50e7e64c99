"""
Watches whether an instance gets its share of its consumer group, and says when it has to join again.

An instance without partitions is a spare if other instances have them all. If nobody has them, something is wrong: a dead member
that has not timed out yet, or a group coordinator that has forgotten somebody. The first ends by itself. For the second, this
instance joins again, with a new consumer; that also makes the group share out its partitions again.

Nobody gets a lead or a partition from here: the group gives them, and the transactional id fences. A thread asks Kafka,
because the answer may take long and the loop must turn.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import Consumer

from salmon.backoff import Backoff
from salmon.closing import Closing
from salmon.errors import SalmonError
from salmon.kafka import cluster
from salmon.kafka.clients import SESSION_MS, Clients
from salmon.kafka.cluster import Shares
from salmon.kafka.kept import KeptAdmin
from salmon.ops.metrics import Metrics

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 5.0
# The first time at the earliest, and between later times at the most. A rebalance is over within two sessions, unless a
# member of it takes longer to load what it needs; it then waits for us too, so we do not ask for one again and again.
JOIN_AGAIN_S: Final = 30.0
_JOIN_AGAIN_MAX_S: Final = 300.0
_SESSIONS: Final = 2.0
_JITTER: Final = (
    1.5  # up to so many times as long: two that wait for each other do not join at the same moment
)


@dataclass(frozen=True, slots=True)
class Seat:
    """
    The place of an instance in a consumer group.

    Args:
        client_id: Also its group instance id.
        topics: What it reads, like all members of the group.
        properties: More properties of its consumer; see Clients.consumer.
    """

    clients: Clients
    group: str
    client_id: str
    topics: Collection[str]
    properties: Mapping[str, Any] = field(default_factory=dict)

    def consumer(self, *, again: bool = False) -> Consumer:
        """
        Make its consumer.

        Args:
            again: As a new member, for whom the group shares out its partitions once more. A static member that comes back only takes
                up what it had, which is nothing.
        """
        instance_id = None if again else self.client_id
        return self.clients.consumer(
            group_id=self.group, client_id=self.client_id, instance_id=instance_id, **self.properties
        )

    def watched(self, holder: Holder, metrics: Metrics, rng: random.Random) -> Membership:
        """Watch whether *holder* gets its share. Kafka is first asked when it has no partitions."""
        admin = KeptAdmin(None, lambda: self.clients.admin(client_id=self.client_id))
        session_s = int(self.clients.properties.get("session.timeout.ms", SESSION_MS)) / 1000
        return Membership(
            self.group,
            holder,
            lambda: admin.ask(lambda admin: cluster.shares(admin, self.group, self.topics)),
            metrics=metrics,
            rng=rng,
            every_s=LOOK_EVERY_S,
            patience_s=max(JOIN_AGAIN_S, _SESSIONS * session_s),
        )


class Holder(Protocol):
    """Who needs partitions; see ops.health."""

    @property
    def without_partitions(self) -> bool:
        """Whether it needs partitions and has none."""

    def spare(self, is_spare: bool) -> None:
        """Take note of whether it is normal to have none."""


class Membership(Closing):
    """
    Looks at the group whenever the instance has no partitions, from its creation until it is closed.

    Args:
        shares: Asks Kafka how the group has shared out its partitions.
        patience_s: For how long nobody may have a partition until the instance joins again for the first time.
    """

    def __init__(
        self,
        group: str,
        holder: Holder,
        shares: Callable[[], Shares],
        *,
        metrics: Metrics,
        rng: random.Random,
        every_s: float = LOOK_EVERY_S,
        patience_s: float = JOIN_AGAIN_S,
    ) -> None:
        self._group, self._holder, self._shares, self._every_s = group, holder, shares, every_s
        self._metrics, self._rng = metrics, rng
        self._backoff = Backoff(first_s=patience_s, max_s=max(patience_s, _JOIN_AGAIN_MAX_S))
        self._times = 0  # that it has joined again
        # Looks in a row, and not seconds: a machine that was suspended has not looked meanwhile.
        self._looks, self._looks_max = 0, self._drawn()
        self._due = threading.Event()
        self._closing = threading.Event()
        threading.Thread(target=self._run, name="membership", daemon=True).start()

    def must_join_again(self) -> bool:
        """Whether the instance has to join its group again now. It has to do so if this says yes; then it is asked no more for a while."""
        if not self._due.is_set():
            return False
        log.warning(
            "group_joined_again",
            group=self._group,
            times=self._times + 1,
            reason="Kafka has given its partitions to nobody for too long",
        )
        self._metrics.rejoins.inc()
        self._times += 1
        self._looks, self._looks_max = 0, self._drawn()
        self._due.clear()
        return True

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closing.set()

    def _drawn(self) -> float:
        wait_s = self._backoff.bound_s(self._times + 1)
        return self._rng.uniform(wait_s, wait_s * _JITTER) / self._every_s

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            if self._holder.without_partitions:
                self._look()
            else:
                self._is_well()

    def _look(self) -> None:
        try:
            shares = self._shares()
        except SalmonError as trouble:
            log.debug("group_not_looked_at", reason=str(trouble))  # the calls to Kafka are watched elsewhere
            return
        spare = is_spare(shares)
        self._holder.spare(spare)
        if spare:
            self._is_well()
            return
        self._looks += 1
        if self._looks >= self._looks_max:
            self._due.set()

    def _is_well(self) -> None:
        self._due.clear()
        self._looks = self._times = 0


def is_spare(shares: Shares) -> bool:
    """
    Whether it is normal that a member has no partition. Kafka shares them out evenly, so if a member has two, it must give
    one away; and if nobody has one, this member should have it.
    """
    return max(shares.held, default=0) == 1 and not shares.nobodys
