"""Where the parts of a sync are in its drawing."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest

from salmon.api.console.pages.ring import Box, ring_of
from salmon.model.sides import OWN, Side
from salmon.status.scraping import ProcessReport


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes lie on each other."""
    beside = abs(one.x - other.x) * 2 >= one.width + other.width
    below = abs(one.y - other.y) * 2 >= one.height + other.height
    return not (beside or below)


@pytest.mark.parametrize("further", [0, 1, 3])
def test_each_part_has_a_place_of_its_own(further: int) -> None:
    """With any number of sides: a box for each side and process, within the drawing, and none on another."""
    sides = (*OWN, *(Side(f"side{number}") for number in range(further)))
    ring = ring_of(sides, [])
    assert len(ring.boxes) == 3 * len(sides) + 1
    assert len({box.label for box in ring.boxes}) == len(ring.boxes)
    assert not [pair for pair in combinations(ring.boxes, 2) if overlap(*pair)]
    for box in ring.boxes:
        assert box.width / 2 <= box.x <= ring.width - box.width / 2
        assert box.height / 2 <= box.y <= ring.height - box.height / 2


def test_changes_go_round() -> None:
    """From the side to its source, to merge, to the other sink, to the other side; and the same way back."""
    ring = ring_of(OWN, [])
    at = {box.label: box for box in ring.boxes}

    def goes(begin: str, end: str) -> bool:
        a, b = at[begin], at[end]
        return any(
            abs(arrow.x1 - a.x) * 2 <= a.width
            and abs(arrow.y1 - a.y) * 2 <= a.height
            and abs(arrow.x2 - b.x) * 2 <= b.width
            and abs(arrow.y2 - b.y) * 2 <= b.height
            for arrow in ring.arrows
        )

    there = ["Salesforce", "salesforce-source", "merge", "mongodb-sink", "MongoDB"]
    back = ["MongoDB", "mongodb-source", "merge", "salesforce-sink", "Salesforce"]
    for way in (there, back):
        for begin, end in pairwise(way):
            assert goes(begin, end), f"{begin} to {end}"
            assert not goes(end, begin), f"{end} to {begin}"


def test_a_process_shows_its_status_and_one_that_is_not_known_says_so() -> None:
    """In the box, and in the words for those who cannot see it."""
    ring = ring_of(OWN, [ProcessReport("merge", "", "down", "No answer.")])
    assert {box.label: box.status for box in ring.boxes}["merge"] == "down"
    assert {box.label: box.status for box in ring.boxes}["mongodb-sink"] == "unknown"
    assert ring.says == "Changes flow between Salesforce and MongoDB: merge is down."
