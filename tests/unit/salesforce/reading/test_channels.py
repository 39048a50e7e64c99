"""The channel of change events: whose position it is, and what another one means."""

from __future__ import annotations

from typing import Any

from salmon.salesforce.reading.channels import STANDARD, of_channel, with_channel

OURS = "/data/Sync__chn"
POSITIONS: dict[str, Any] = {
    "stream": {"replay_id": "07", "commit_time": 9},
    "snapshot/Account": {"done": True},
}


def test_a_position_of_the_standard_channel_is_as_it_was_before_there_were_others() -> None:
    """What an earlier version has stored goes on, and what is stored is read by an earlier version."""
    assert with_channel(POSITIONS, STANDARD) == POSITIONS
    assert of_channel(POSITIONS, STANDARD) == POSITIONS


def test_a_position_of_another_channel_is_none_and_that_something_was_read_stays_known() -> None:
    """So it is a hole, after which all is read again; a restart on the same channel goes on."""
    stored = with_channel(POSITIONS, OURS)
    assert of_channel(stored, OURS)["stream"]["replay_id"] == "07"  # type: ignore[arg-type]
    for positions, channel in ((POSITIONS, OURS), (stored, STANDARD), (stored, "/data/Other__chn")):
        assert of_channel(positions, channel) == {"snapshot/Account": {"done": True}}  # type: ignore[arg-type]


def test_a_batch_without_a_position_of_the_stream_stays_without_one() -> None:
    """Platform events and snapshots move by themselves."""
    assert with_channel({"snapshot/Account": None}, OURS) == {"snapshot/Account": None}
