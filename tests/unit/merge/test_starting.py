"""Where merge continues in a partition of `changes`, and whether it lost changes there."""

from __future__ import annotations

import pytest

from salmon.kafka.extents import Extent
from salmon.merge.starting import Start, start_of


def test_a_partition_without_a_position_is_read_from_its_beginning() -> None:
    """Nothing is lost: the first change is still there."""
    assert start_of({}, Extent(0, 9), "t1") == Start(0)


@pytest.mark.parametrize("offset", [3, 7, 9])
def test_a_stored_offset_that_the_partition_has_is_where_it_continues(offset: int) -> None:
    """Its first offset, one in the middle, and its end."""
    assert start_of({"offset": offset, "topic_id": "t1"}, Extent(3, 9), "t1") == Start(offset)


@pytest.mark.parametrize("offset", [2, 10])
def test_an_offset_outside_the_partition_means_that_changes_are_lost(offset: int) -> None:
    """They expired before merge read them, or the topic has lost its end: it is read from its beginning."""
    assert start_of({"offset": offset}, Extent(3, 9), "t1") == Start(3, lost_after=offset)


def test_a_topic_that_was_created_again_is_read_from_its_beginning() -> None:
    """It may be long enough to have the offset; only its id shows that it is another topic."""
    assert start_of({"offset": 5, "topic_id": "t1"}, Extent(0, 9), "t2") == Start(0, lost_after=5)
    assert start_of({"offset": 5, "topic_id": "t1"}, Extent(0, 9), "") == Start(5), "a broker without ids"
    assert start_of({"offset": 5}, Extent(0, 9), "t2") == Start(5), "stored by a broker without ids"
