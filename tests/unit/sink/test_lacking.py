"""A part with a group of its own that is given no partition: whether that is in order, and what is said if not."""

from __future__ import annotations

from collections.abc import Sequence

from salmon.errors import Unavailable
from salmon.sink.lacking import Lacking
from support.clock import Clock


class Group:
    """A consumer group, as it is when somebody asks; None: no broker answers."""

    def __init__(self, *held: Sequence[int] | None) -> None:
        self.answers, self.asked = list(held), 0

    def held(self) -> Sequence[int]:
        self.asked += 1
        if (found := self.answers.pop(0)) is None:
            raise Unavailable("no broker answers")
        return found


def test_a_part_whose_partitions_a_stranger_has_says_so(clock: Clock) -> None:
    """Events wait, and nobody carries them (case S11). It is over with the first partition."""
    lacking = Lacking("crm-mongodb-sink-Order__e", Group((), ()).held, clock)
    assert lacking.seen(has_some=False) is None
    began = clock.now_s
    clock.now_s += 29
    assert lacking.seen(has_some=False) is None, "a rebalance takes some seconds"
    clock.now_s += 1
    told = lacking.seen(has_some=False)
    assert told is not None
    assert told[0] == began
    assert "consumer group crm-mongodb-sink-Order__e" in told[1]
    assert lacking.seen(has_some=True) is None
    assert lacking.seen(has_some=False) is None, "and it begins anew"


def test_a_spare_lacks_nothing(clock: Clock) -> None:
    """More replicas than partitions; and Kafka, which is asked twice a minute, blames nobody while it is away (case S11)."""
    group = Group(None, (1, 1, 0), (2, 0))
    lacking = Lacking("crm-mongodb-sink-Order__e", group.held, clock)
    lacking.seen(has_some=False)
    for asked in (1, 2):
        clock.now_s += 30
        for _ in range(3):
            assert lacking.seen(has_some=False) is None
        assert group.asked == asked
    clock.now_s += 30
    assert lacking.seen(has_some=False) is not None, "another one has two"
