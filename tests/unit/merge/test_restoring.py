"""What a working copy lacks when its partition is assigned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salmon.kafka.extents import Extent
from salmon.merge.cache import Mark, Origin
from salmon.merge.restoring import Start, start_of

DAY_MS = 24 * 3600 * 1000
NOW_MS = 1_700_000_000_000
ORIGIN = Origin("cluster", "crm.state.Account", "id", 3)
MARK = Mark(ORIGIN, offset=500, at_ms=NOW_MS - DAY_MS)


def start(mark: Mark | None, extent: Extent = Extent(0, 1000), origin: Origin = ORIGIN) -> Start:  # noqa: B008
    return start_of(mark, origin, extent, now_ms=NOW_MS, tombstones_ms=7 * DAY_MS)


def test_a_copy_with_a_mark_lacks_only_what_came_after() -> None:
    """From its own offset to the end."""
    assert start(MARK) == Start(500)


def test_a_copy_without_one_lacks_everything() -> None:
    """From the beginning of what the topic still has."""
    assert start(None, Extent(20, 1000)) == Start(20, "it is new")


@pytest.mark.parametrize(
    "other",
    [
        replace(ORIGIN, cluster="another"),
        replace(ORIGIN, topic="other.state.Account"),
        replace(ORIGIN, topic_id="created again"),
        replace(ORIGIN, partition=4),
    ],
)
def test_a_copy_of_something_else_is_of_no_use(other: Origin) -> None:
    """Another cluster or sync under the same folder; a topic that was deleted and created again."""
    assert start(MARK, origin=other) == Start(0, "it is of another topic")


@pytest.mark.parametrize("extent", [Extent(0, 499), Extent(501, 1000)])
def test_a_copy_that_the_topic_does_not_reach_is_of_no_use(extent: Extent) -> None:
    """The topic was cut at its end, or at its beginning: what lies between is not known."""
    assert start(MARK, extent) == Start(extent.start, "its topic no longer has the offset of its mark")


@pytest.mark.parametrize("age_days", [6.5, 30, -1])
def test_a_copy_that_may_have_missed_a_tombstone_is_of_no_use(age_days: float) -> None:
    """Tombstones are kept for seven days, and reading takes its time; a copy from the future has no age at all."""
    old = replace(MARK, at_ms=NOW_MS - int(age_days * DAY_MS))
    assert start(old) == Start(0, "it is too old")
