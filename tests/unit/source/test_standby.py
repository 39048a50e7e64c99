"""Standing by for the lead; what becomes of it with a whole worker is in test_worker.py."""

from __future__ import annotations

import pytest

from salmon.errors import ClientLost
from salmon.source.standby import Standby
from support.at_hand.memory_sync import MemorySync, retrying

CONNECTOR = "mongodb-source"


def test_who_is_given_the_lead_while_it_leaves_to_join_again_restarts() -> None:
    """To fence the former leader may have begun: a second try of the same client would fence the first."""
    elections: list[int] = []
    sync = MemorySync(partitions=1)
    standby = Standby(
        sync.instance(CONNECTOR), retrying(), elected=lambda: elections.append(1), deposed=lambda: None
    )
    standby.leadership.start()
    assert standby.leadership.wait(10)
    with pytest.raises(ClientLost, match="restarts"):
        standby._join_again()
    assert elections == [1]
    standby.close()
