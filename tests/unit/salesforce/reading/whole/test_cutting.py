"""Where an object's Ids are cut, so that its parts hold about as many records."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salmon.salesforce.ids import id18
from salmon.salesforce.reading.whole.cutting import TRIES, cuts, id_of, number_of

FIRST = number_of("001000000000001")
FAR = 62**9  # from one instance of an org to another


class Records:
    """The Ids of an object, and how often they were counted."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.ids = sorted(id_of(FIRST + number) for number in set(numbers))
        self.counts = 0

    def count(self, after: str, to: str) -> int | None:
        self.counts += 1
        return len([each for each in self.ids if after < each <= to])

    def first(self, after: str) -> str:
        return next((each for each in self.ids if each > after), "")

    def last(self, to: str) -> str:
        return next((each for each in reversed(self.ids) if each <= (to or "~")), "")

    def cut(self, parts: int) -> list[int]:
        """How many records each part has."""
        found = cuts(self, parts, after="", records=len(self.ids))
        assert found == sorted(set(found)), "in their order, and none of them twice"
        ranges = zip(["", *found], [*found, "~"], strict=True)
        sizes = [sum(after < each <= to for each in self.ids) for after, to in ranges]
        assert sum(sizes) == len(self.ids), "each record is in one part"
        return sizes


def test_records_that_were_made_one_after_the_other_are_cut_by_one_count_each() -> None:
    """As most are: the first guess is right."""
    records = Records(range(300))
    assert records.cut(3) == [100, 100, 100]
    assert records.counts == 2


@pytest.mark.parametrize("older", [30, 100, 150, 270])
def test_an_org_that_was_moved_is_cut_evenly_too(older: int) -> None:
    """Its newer Ids are far above its older ones, and nothing is between: that is learnt by a look at each side of a guess."""
    records = Records([*range(older), *range(FAR, FAR + 300 - older)])
    assert max(records.cut(3)) <= 120
    assert records.counts <= 2 * TRIES


def test_a_count_that_takes_too_long_is_not_asked_for_again() -> None:
    """The parts are as even as the Ids are, then."""
    asked: list[str] = []

    class Slow(Records):
        def count(self, after: str, to: str) -> int | None:
            asked.append(f"{after} {to}")
            return None

    assert max(Slow(range(0, 3000, 10)).cut(3)) <= 101
    assert len(asked) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, FAR * 3), st.integers(1, 60), st.integers(1, 62**4)), min_size=1, max_size=5
    ),
    st.integers(2, 6),
)
def test_each_record_is_in_one_part_wherever_the_ids_are(
    clusters: list[tuple[int, int, int]], parts: int
) -> None:
    """No part is empty, there are no more parts than asked for, and few counts."""
    records = Records([start + step * n for start, length, step in clusters for n in range(length)])
    sizes = records.cut(parts)
    assert all(sizes)
    assert len(sizes) <= parts
    assert records.counts <= TRIES * (parts - 1)


@given(st.integers(0, 62**15 - 1))
def test_an_id_is_the_number_that_it_was_made_of(number: int) -> None:
    """It is a valid Id, and Ids rise as their numbers do."""
    assert number_of(id_of(number)) == number
    assert id18(id_of(number)) == id_of(number)
    assert number == 0 or id_of(number - 1) < id_of(number)
