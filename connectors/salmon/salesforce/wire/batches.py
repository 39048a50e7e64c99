"""Divides what is sent among calls that take only so many, and only so much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar
from urllib.parse import quote

IDS_A_QUERY: Final = 200
_KEYS_BYTES: Final = 5_400  # what 200 Ids take up

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


def key_batches(keys: Iterable[str]) -> Iterator[list[str]]:
    """*keys* in lists that fit a query's URL, in which a key of 255 bytes takes up three times as many."""
    return sized_batches(
        keys, IDS_A_QUERY, _KEYS_BYTES, size_of=lambda key: len(quote(key)) + len(quote("'',"))
    )


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """*items* in lists of at most *size*."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
