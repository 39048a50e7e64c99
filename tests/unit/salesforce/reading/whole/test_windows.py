"""Of which events it is not sure whether a row holds them already."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from salmon.salesforce.reading.whole.windows import END, RANGES_MAX, RECORDS_MAX, Reads, Window

A, B, C = (f"00100000000000{letter}AAA" for letter in "ABC")


def test_an_event_inside_the_read_of_its_chunk_is_unsure() -> None:
    """Before the read began it is in the row; after its end it is not; between, nobody knows."""
    reads = Reads()
    reads.read_range("", B, Window(1000, 3000))
    assert [reads.unsure(A, at) for at in (1000, 1001, 3000, 3001)] == [False, True, True, False]
    assert not reads.unsure(C, 2000), "that record was not in the chunk"


def test_the_last_chunk_also_speaks_of_records_that_come_later() -> None:
    """A record with an Id beyond the last one read may have been there, or not."""
    reads = Reads()
    reads.read_range("", A, Window(1000, 3000))
    reads.read_range(A, END, Window(2000, 4000))
    assert reads.unsure(C, 3500)


def test_a_later_read_of_the_record_makes_sure() -> None:
    """Its newer row holds what the chunk's row may have missed; only the new read's own time is unsure."""
    reads = Reads()
    reads.read_range("", END, Window(1000, 3000))
    reads.read_records([A], Window(5000, 7000))
    assert not reads.unsure(A, 2000)
    assert reads.unsure(A, 6000)
    assert reads.unsure(B, 2000)


def test_what_the_stream_has_passed_is_forgotten() -> None:
    """No event of that time comes any more, and the stored position stays small."""
    reads = Reads()
    reads.read_range("", END, Window(1000, 3000))
    reads.read_records([A], Window(2000, 4000))
    reads.passed(3000)
    assert reads.unsure(A, 3500)
    reads.passed(4001)
    assert reads.to_position() is None


def test_an_event_of_the_same_moment_as_the_latest_may_still_come() -> None:
    """Transactions share a commit time, which is cut to its second: windows that end with it are kept."""
    reads = Reads()
    reads.read_range("", A, Window(1000, 3000))
    reads.read_records([B], Window(1000, 3000))
    reads.whole = Window(1000, 3000)
    before = reads.to_position()
    reads.passed(3000)
    assert reads.to_position() == before
    reads.passed(3001)
    assert reads.to_position() is None


def test_a_position_holds_all_of_it() -> None:
    """A restart in the middle knows the same windows."""
    reads = Reads()
    reads.read_range("", A, Window(1000, 3000))
    reads.read_range(A, END, Window(2000, 4000))
    reads.read_records([B, C], Window(5000, 6000))
    stored = json.loads(json.dumps(reads.to_position()))
    again = Reads.from_position(stored)
    assert (again.ranges, again.records, again.whole) == (reads.ranges, reads.records, reads.whole)
    assert Reads.from_position(None).to_position() is None


def test_slices_of_one_chunk_are_one_window() -> None:
    """A chunk that is told in slices takes no more room than one that is told at once."""
    reads = Reads()
    reads.read_range("", A, Window(1, 2))
    reads.read_range(A, B, Window(1, 2))
    assert len(reads.ranges) == 1


@given(
    chunks=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=RANGES_MAX * 2),
    at=st.integers(0, 70),
    place=st.integers(0, RANGES_MAX * 2),
)
def test_windows_that_were_joined_miss_nothing(chunks: list[tuple[int, int]], at: int, place: int) -> None:
    """However many chunks there are, an event that its chunk's own window holds is never told as sure."""
    reads = Reads()
    for number, (as_of, took) in enumerate(chunks):
        reads.read_range(f"{number:04}", f"{number + 1:04}", Window(as_of, as_of + took))
    assert len(reads.ranges) <= RANGES_MAX
    if place < len(chunks):
        as_of, took = chunks[place]
        if as_of < at <= as_of + took:
            assert reads.unsure(f"{place:04}x", at)


def test_too_many_single_reads_become_one_window_for_all() -> None:
    """The stored position stays far below a message's size; more is read again, and nothing is missed."""
    reads = Reads()
    reads.read_records((f"{number:018}" for number in range(RECORDS_MAX + 1)), Window(1000, 3000))
    assert reads.records == {}
    assert reads.unsure(A, 2000)
    assert not reads.unsure(A, 3001)


def test_parts_that_are_read_in_turns_keep_a_window_for_each_of_their_chunks() -> None:
    """Where there are too many, neighbours are joined: what lies between two parts and was not read stays without a window."""
    reads = Reads()
    ids = [f"0010000000{number:05}AAA" for number in range(3 * RANGES_MAX)]
    begins = [0, RANGES_MAX, 2 * RANGES_MAX]
    for step in range(RANGES_MAX // 2):
        for begin in begins:
            reads.read_range(ids[begin + step], ids[begin + step + 1], Window(1000 + step, 3000 + step))
    assert len(reads.ranges) <= RANGES_MAX
    for number in range(len(ids)):
        was_read = 0 < number % RANGES_MAX <= RANGES_MAX // 2
        assert reads.unsure(ids[number], 2000) == was_read, number


def test_chunks_of_one_bulk_job_share_a_window_whatever_is_read_between() -> None:
    """Another part's chunks come between them."""
    reads = Reads()
    for step in range(10):
        reads.read_range(f"A{step}", f"A{step + 1}", Window(1, 2))
        reads.read_range(f"B{step}", f"B{step + 1}", Window(3, 4))
    assert len(reads.ranges) == 2
