"""Commits of offsets while the broker stands still, on real brokers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from salmon.devstack.broker import Kafka
from salmon.sink.partitions import COMMIT_MAX_S
from support.at_hand.memory_broker import MemoryBroker
from support.at_hand.sink_replica import Replica
from support.runtime import Sync
from support.waiting import until

MARGIN_S = 5.0  # other tests may need the machine


@contextmanager
def paused(broker: Kafka) -> Iterator[None]:
    """SIGSTOP for all processes of the broker, and SIGCONT at the end."""
    pids = [each.pid for each in broker.processes]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_paused_broker_keeps_a_commit_and_not_the_loop(sync: Sync, broker: Kafka | MemoryBroker) -> None:
    """librdkafka's call lasts as long as the pause: it is waited for a second, then not at all, and it counts in the end."""
    assert not isinstance(broker, MemoryBroker)
    sync.write("a", 1)
    it, found = Replica(sync), list[tuple[str, int]]()

    def is_read() -> bool:
        found.extend(it.read())
        return bool(found)

    until(is_read, "the write is read")
    it.put()
    with paused(broker):
        began = time.monotonic()
        assert not it.commit()
        assert time.monotonic() - began < COMMIT_MAX_S + MARGIN_S
        for _ in range(100):
            assert not it.commit()
            it.read()
        assert time.monotonic() - began < COMMIT_MAX_S + MARGIN_S, "a turn of the loop is as short as ever"
    until(lambda: (it.read(), it.commit())[1], "Kafka has accepted it", within_s=60)
    until(lambda: it.buffer.positions() == {} or it.commit(), "nothing is left to commit", within_s=60)
    ends = sync.committed(it.instance.group, it.topic)
    assert max(ends) == found[0][1] + 1
    it.partitions.close()
