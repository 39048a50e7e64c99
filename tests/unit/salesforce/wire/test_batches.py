"""What is sent is divided among calls by number and by size."""

from __future__ import annotations

import pytest

from salmon.salesforce.wire.batches import key_batches, sized_batches


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([], []),
        ([1, 1, 1, 1], [[1, 1, 1], [1]]),
        ([6, 4, 1], [[6, 4], [1]]),
        ([1, 11, 1], [[1], [11], [1]]),
    ],
)
def test_a_list_is_neither_too_long_nor_too_large_and_nothing_is_left_out(
    sizes: list[int], batches: list[list[int]]
) -> None:
    """What is too large by itself comes alone, so that whoever gets it can say so."""
    assert list(sized_batches(sizes, 3, 10, size_of=lambda size: size)) == batches


def test_keys_are_asked_for_in_urls_of_bounded_length() -> None:
    """A key of 255 bytes takes up three times as many."""
    keys = [f"{'é' * 120}{number}" for number in range(50)]
    asked = list(key_batches(keys))
    assert [key for some in asked for key in some] == keys
    assert len(asked) > 5
    assert len(list(key_batches(f"$oid:{number:024}" for number in range(200)))) <= 2
