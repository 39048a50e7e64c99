"""What librdkafka tells of a group, without a broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from salmon.kafka.cluster import Member, Shares, members, shares

# ConsumerProtocolAssignment of version 0: a topic "t" with partitions 0 and 2, and one "uv" with partition 1.
TWO_TOPICS = (
    bytes.fromhex("000000000002000174000000020000000000000002000275760000000100000001") + b"\xff\xff\xff\xff"
)
NOTHING = bytes.fromhex("000000000000ffffffff")


class Admin:
    def __init__(self, *assignments: bytes, group: str = "m") -> None:
        self._assignments, self._group = assignments, group

    def list_groups(self, _group: str, *, timeout: float) -> list[Any]:
        assert timeout > 0
        found = [
            SimpleNamespace(client_id=f"{self._group}-{n}", assignment=each)
            for n, each in enumerate(self._assignments)
        ]
        return [SimpleNamespace(error=None, members=found)]

    def list_topics(self, timeout: float) -> Any:
        assert timeout > 0
        counts = {"t": 3, "uv": 2, "of another group": 7}
        return SimpleNamespace(
            topics={name: SimpleNamespace(partitions=range(n)) for name, n in counts.items()}
        )


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        ((TWO_TOPICS, NOTHING), Shares([3, 0], 2)),
        ((TWO_TOPICS, TWO_TOPICS), Shares([3, 3], 0)),
        ((b"", b""), Shares([0, 0], 5)),
        ((), Shares([], 5)),
    ],
)
def test_how_many_partitions_each_member_has_is_read_from_its_assignment(
    assignments: tuple[bytes, ...], expected: Shares
) -> None:
    """Of all topics together. During a rebalance nobody has any; a topic that does not exist has none to give."""
    assert shares(Admin(*assignments), "m", ["t", "uv", "gone"]) == expected  # type: ignore[arg-type]


def test_what_a_stranger_has_is_in_nobodys_hands() -> None:
    """Another program has joined our group, and works at nothing: it makes no spare of us (case S11)."""
    for group in ("rdkafka", "m-too", "m"):
        told = shares(Admin(TWO_TOPICS, NOTHING, group=group), "m", ["t", "uv"])  # type: ignore[arg-type]
        assert told == (Shares([3, 0], 2) if group == "m" else Shares([], 5))


def test_members_are_told_by_the_name_of_their_client() -> None:
    """So a process knows its own place in the group (case S2)."""
    assert members(Admin(TWO_TOPICS), "g") == [Member("m-0", 3)]  # type: ignore[arg-type]
