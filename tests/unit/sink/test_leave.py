"""Whether a put of many calls may still send: what it waits for, and when it gives up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from salmon.sink.buffer import SinkBuffer
from salmon.sink.leave import Leave

PLACE = ("crm.writes.salesforce.Account", 0)
_MAX_S = 30.0


class Rig:
    """A buffer with one command in hand, and a clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.buffer = SinkBuffer(lease_s=3.0, clock=lambda: self.now_s)
        self.buffer.open(PLACE, 0)
        self.buffer.renew(0.0)
        self.buffer.add(PLACE, 0, ("Account", "a"), b"x")
        self.leave = Leave(self.buffer)
        commands = self.buffer.take(10)
        assert commands
        self.commands = commands

    def may_send(self) -> bool:
        with self.leave.holding(self.commands):
            return self.leave.may_send()


def test_a_put_goes_on_while_the_lease_is_good_also_during_a_hand_over() -> None:
    """What is in flight is finished, if that is quick."""
    rig = Rig()
    assert rig.may_send()
    rig.buffer.close([PLACE])
    assert rig.may_send()


def test_after_a_suspension_the_next_call_waits_until_the_partitions_are_known_to_be_ours() -> None:
    """The loop asks Kafka; then the put goes on where it was."""
    rig = Rig()
    rig.now_s = 60.0
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(rig.may_send)
        with pytest.raises(TimeoutError):
            asked.result(timeout=0.2)
        rig.buffer.renew(60.0)
        assert asked.result(timeout=_MAX_S)


def test_what_another_instance_has_by_now_is_not_sent() -> None:
    """The loop was told so when it asked; the lease that it has of other partitions makes no difference."""
    rig = Rig()
    rig.now_s = 60.0
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(rig.may_send)
        rig.buffer.forget([PLACE])
        rig.buffer.renew(60.0)
        assert not asked.result(timeout=_MAX_S)


@pytest.mark.parametrize("ends", ["handed over", "stopped"])
def test_a_put_that_nobody_can_give_leave_any_more_ends(ends: str) -> None:
    """The loop waits for it meanwhile, and does not ask."""
    rig = Rig()
    if ends == "stopped":
        rig.buffer.stop()
    else:
        rig.buffer.close([PLACE])
    assert rig.may_send()
    rig.now_s = 4.0
    assert not rig.may_send()


def test_what_other_threads_put_counts_only_while_they_do() -> None:
    """A lost partition is no reason for what is put later."""
    rig = Rig()
    rig.buffer.forget([PLACE])
    assert not rig.may_send()
    assert rig.leave.may_send()
