"""The front of the embedded broker: which bytes it changes, and which it does not."""

from __future__ import annotations

import struct

import pytest

from salmon.devstack.kafka_front import mended

FETCH, METADATA, API_VERSIONS, PRODUCE = 1, 3, 18, 0
NEVER = 2**63 - 1


def fetch_answer(version: int, aborted: list[tuple[int, int]], records: bytes) -> bytes:
    """One topic with two partitions, as versions 4 to 11 of the Kafka Protocol Guide lay it out."""
    head = struct.pack(">ii", 7, 0) + (struct.pack(">hi", 0, 0) if version >= 7 else b"")
    partitions = b""
    for number in (0, 1):
        partitions += struct.pack(">ihqq", number, 0, 50, 50)
        partitions += struct.pack(">q", 0) if version >= 5 else b""
        partitions += struct.pack(">i", len(aborted)) + b"".join(
            struct.pack(">qq", *each) for each in aborted
        )
        partitions += struct.pack(">i", -1) if version >= 11 else b""
        partitions += struct.pack(">i", len(records)) + records
    return head + struct.pack(">ih", 1, 3) + b"crm" + struct.pack(">i", 2) + partitions


@pytest.mark.parametrize("version", range(4, 12))
def test_nothing_counts_as_aborted(version: int) -> None:
    """Each aborted transaction begins behind all records, in every partition; all else is as it was."""
    answer = bytearray(fetch_answer(version, [(1000, 2), (1001, 6)], b"records"))
    mended(FETCH, version, answer)
    assert answer == fetch_answer(version, [(1000, NEVER), (1001, NEVER)], b"records")


@pytest.mark.parametrize("version", range(4, 12))
def test_an_answer_without_aborted_transactions_is_left_alone(version: int) -> None:
    """Also one without records."""
    for records in (b"", b"records 127.0.0.2"):
        answer = bytearray(fetch_answer(version, [], records))
        mended(FETCH, version, answer)
        assert answer == fetch_answer(version, [], records)


def test_clients_are_told_the_fronts_address() -> None:
    """Or they would go past it to the broker."""
    answer = bytearray(b"\0\0\0\7\0\x09127.0.0.2\0\0\x48\x9c")
    mended(METADATA, 12, answer)
    assert answer == b"\0\0\0\7\0\x09127.0.0.1\0\0\x48\x9c"


def test_records_that_hold_the_address_are_left_alone() -> None:
    """Only answers about addresses are corrected."""
    answer = bytearray(b"\0\0\0\7 127.0.0.2")
    mended(PRODUCE, 9, answer)
    assert answer == b"\0\0\0\7 127.0.0.2"


@pytest.mark.parametrize(
    ("version", "count", "tags"),
    [(0, struct.pack(">i", 3), b""), (3, b"\x04", b"\0"), (2, struct.pack(">i", 3), b"")],
)
def test_clients_fetch_by_a_version_that_the_front_can_read(version: int, count: bytes, tags: bytes) -> None:
    """In both layouts of the answer that tells the versions."""

    def answer(greatest: int) -> bytes:
        entries = [(0, 0, 9), (1, 0, greatest), (3, 0, 12)]
        return (
            struct.pack(">ih", 7, 0) + count + b"".join(struct.pack(">hhh", *each) + tags for each in entries)
        )

    told = bytearray(answer(13))
    mended(API_VERSIONS, version, told)
    assert told == answer(11)


def test_a_broker_that_does_not_know_the_asked_version_answers_in_the_oldest() -> None:
    """KIP-511: with its error code, and version 0's layout."""
    entries = struct.pack(">ihihhh", 7, 35, 1, 1, 0, 13)
    told = bytearray(entries)
    mended(API_VERSIONS, 4, told)
    assert told == struct.pack(">ihihhh", 7, 35, 1, 1, 0, 11)
