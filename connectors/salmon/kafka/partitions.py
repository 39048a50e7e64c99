"""
Computes the partition of a key by `murmur2_random`, as Java's clients and librdkafka do.

So a command that looks for one record reads only one partition.
"""

from __future__ import annotations

from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF


def partition_of(key: str, count: int) -> int:
    """Return the partition of *key* in a topic of *count* partitions."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % count


def murmur2(data: bytes) -> int:
    """Return the unsigned 32-bit hash (Kafka, Utils.murmur2; the algorithm is Austin Appleby's MurmurHash2)."""
    length = len(data)
    whole = length - length % 4
    h = _SEED ^ length
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _WORD
        k = (k ^ k >> 24) * _M & _WORD
        h = h * _M & _WORD ^ k
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _WORD
    h = (h ^ h >> 13) * _M & _WORD
    return h ^ h >> 15
