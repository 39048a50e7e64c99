"""Divides what is sent among calls that take only so many, and only so much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def sized_batches(
    items: Iterable[T], most: int, size_max: int, *, size_of: Callable[[T], int]
) -> Iterator[list[T]]:
    """*items* in lists of at most *most*, and together no larger than *size_max*; one that is larger comes alone."""
    some: list[T] = []
    taken = 0
    for item in items:
        size = size_of(item)
        if some and (len(some) == most or taken + size > size_max):
            yield some
            some, taken = [], 0
        some.append(item)
        taken += size
    if some:
        yield some
