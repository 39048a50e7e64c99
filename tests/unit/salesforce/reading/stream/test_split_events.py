"""Where a stream goes on of which several events share a replay id."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salmon.salesforce.reading.stream.split_events import SplitEvents

CUSTOM, STANDARD = "/data/Sync__chn", "/data/ChangeEvents"
ONE, TWO, THREE = b"1", b"2", b"3"


def test_on_a_custom_channel_an_event_has_come_as_a_whole_when_another_one_comes() -> None:
    """The rest of it may be in the next response, whatever this one says."""
    split = SplitEvents(CUSTOM, b"0")
    assert split.place([ONE], b"", owed=99) == b"0"
    assert split.place([ONE, ONE], b"", owed=97) == b"0"
    assert split.place([TWO], b"", owed=96) == ONE
    assert split.place([TWO, THREE, THREE], b"", owed=93) == TWO


@pytest.mark.parametrize("topic", [CUSTOM, STANDARD])
def test_a_keepalive_says_that_all_has_come(topic: str) -> None:
    """Nothing was left that the server could have sent; one that tells no position says nothing."""
    split = SplitEvents(topic)
    split.place([ONE, ONE], b"", owed=98)
    assert split.place([], b"", owed=98) == b""
    assert split.place([], TWO, owed=98) == TWO


def test_on_the_standard_channel_an_event_counts_where_nothing_speaks_against_it() -> None:
    """In an org where little happens, its place is stored at once; a server that was asked for no more may have more of it."""
    split = SplitEvents(STANDARD, b"0")
    assert split.place([ONE], b"", owed=99) == ONE
    assert split.place([TWO, TWO], b"", owed=97) == ONE
    assert split.place([THREE], b"", owed=0) == TWO


def test_platform_events_are_never_split() -> None:
    """Each has a replay id of its own."""
    assert SplitEvents("/event/Shipped__e", b"0").place([ONE], b"", owed=0) == ONE


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.lists(st.integers(1, 5), min_size=1),
    st.sampled_from([CUSTOM, STANDARD]),
)
def test_whoever_goes_on_from_a_place_misses_nothing(sizes: list[int], asked: list[int], topic: str) -> None:
    """However the events are cut into responses: what is behind the place, and what was taken, are all of them."""
    ids = [bytes([number]) for number, size in enumerate(sizes, start=1) for _ in range(size)]
    split, place, taken = SplitEvents(topic, b"\0"), b"\0", 0
    for count in asked:
        if response := ids[taken : taken + count]:
            place = split.place(response, b"", owed=0)
            taken += len(response)
            assert all(each > place for each in ids[taken:]), "the rest comes again"
