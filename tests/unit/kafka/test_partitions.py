"""Which partition a key is in."""

from __future__ import annotations

import pytest

from salmon.kafka.partitions import murmur2, partition_of


@pytest.mark.parametrize(
    ("text", "signed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_hash_is_that_of_kafkas_own_clients(text: str, signed: int) -> None:
    """The examples of Kafka's UtilsTest, which are signed."""
    assert murmur2(text.encode()) == signed % 2**32


def test_a_partition_is_taken_from_the_hash_without_its_sign() -> None:
    """-973932308 without its sign bit is 1173551340."""
    assert partition_of("21", 7) == 1173551340 % 7
    assert partition_of("anything", 1) == 0
