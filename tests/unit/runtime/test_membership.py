"""An instance without partitions: a spare, one that waits for its share, and one that has to join its group again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from salmon.errors import Unavailable
from salmon.kafka.cluster import Shares
from salmon.ops.health import Health
from salmon.ops.metrics import Metrics
from salmon.runtime.membership import Membership, is_spare
from support.at_hand.memory_sync import Impatient, reading
from support.waiting import until

SPARE, NOBODYS = Shares((1, 1, 0), 0), Shares((0, 0), 1)


@pytest.mark.parametrize(
    ("shares", "spare"),
    [
        (SPARE, True),
        (Shares((1, 1, 0), 1), False),
        (Shares((2, 1, 0), 0), False),
        (Shares((6, 0), 0), False),
        (NOBODYS, False),
        (Shares((), 1), False),
    ],
)
def test_a_spare_is_told_from_one_whose_share_another_member_or_nobody_has(
    shares: Shares, spare: bool
) -> None:
    """Kafka shares evenly: who has two would give one away, were it alive (case S11)."""
    assert is_spare(shares) is spare


class Group:
    """What Kafka says of the group, and how often it was asked."""

    def __init__(self, shares: Shares) -> None:
        self.shares, self.asked, self.is_away = shares, 0, False

    def look(self) -> Shares:
        self.asked += 1
        if self.is_away:
            raise Unavailable("no broker answers")
        return self.shares

    def looked_at(self, times: int = 3) -> None:
        """Wait for so many more looks."""
        wanted = self.asked + times
        until(lambda: self.asked >= wanted, "the group is looked at")


class Rebalanced:
    """A member of a group, in the hands of the test."""

    def __init__(self, group: Group, patience_s: float, rng: random.Random) -> None:
        self.group, self.health, self.metrics = group, Health(), Metrics("mongodb-source")
        self.health.running()
        self.health.holds(0)
        self.it = Membership(
            "crm-mongodb-source",
            self.health,
            group.look,
            metrics=self.metrics,
            rng=rng,
            every_s=0.001,
            patience_s=patience_s,
        )


Joined = Callable[..., Rebalanced]


@contextmanager
def member(
    shares: Shares, *, patience_s: float = 0.002, rng: random.Random | None = None, is_away: bool = False
) -> Iterator[Rebalanced]:
    """One without partitions in a group that is shared out so. It is looked at each millisecond."""
    found = Rebalanced(Group(shares), patience_s, rng or Impatient())
    found.group.is_away = is_away
    with found.it:
        yield found


def test_the_group_is_looked_at_while_there_are_no_partitions() -> None:
    """A broker that does not answer is asked again."""
    with member(SPARE, is_away=True) as it:
        it.group.looked_at()
        assert not it.health.report().ready
        it.group.is_away = False
        until(lambda: it.health.report().ready, "it stands by")
        assert not it.it.must_join_again()


def test_who_has_nothing_while_nobody_has_it_joins_again_and_is_counted() -> None:
    """Once: then it is given time to get its share. Each time is in the metrics."""
    with member(NOBODYS) as it:
        until(it.it.must_join_again, "nobody has had the partition for long enough")
        assert not it.it.must_join_again()
        assert reading(it.metrics.rejoins) == 1
        until(it.it.must_join_again, "it did not help")
        assert reading(it.metrics.rejoins) == 2


def test_each_time_that_did_not_help_makes_the_next_one_later() -> None:
    """A rebalance that takes long, because another member loads what it needs, must not be begun again and again."""
    with member(NOBODYS) as it:
        looks = []
        for _ in range(4):
            before = it.group.asked
            until(it.it.must_join_again, "it joins again")
            looks.append(it.group.asked - before)
        assert looks[-1] >= 2 * 2**3, "two looks at first, and twice as many each time"


def test_two_that_wait_for_each_other_do_not_join_at_the_same_moment() -> None:
    """How long they wait is drawn."""
    waits = set()
    for seed in range(5):
        with member(NOBODYS, patience_s=60, rng=random.Random(seed)) as it:
            waits.add(it.it._looks_max)
    assert len(waits) == 5
    assert all(60 <= looks * 0.001 <= 90 for looks in waits)


@pytest.mark.parametrize("becomes", ["a spare", "an owner"])
def test_who_is_well_again_meanwhile_does_not_join_again(becomes: str) -> None:
    """Nor does it later, for what was then."""
    with member(NOBODYS) as it:
        until(it.it._due.is_set, "it would join again")
        if becomes == "a spare":
            it.group.shares = SPARE
        else:
            it.health.holds(1)
        until(lambda: not it.it._due.is_set(), "that is seen")
        assert not it.it.must_join_again()
        assert reading(it.metrics.rejoins) == 0


def test_a_broker_that_does_not_answer_is_no_reason_to_join_again() -> None:
    """Nobody knows what the group looks like, and nobody could join."""
    with member(NOBODYS, patience_s=0.02, is_away=True) as it:
        it.group.looked_at(60)
        assert not it.it.must_join_again()
