"""
Cutting an object's Ids into ranges that hold about as many records each, so that they can be read at the same time.

An Id is a number of 62 digits that rises as records are made, but not evenly: an org that was moved has Ids far from those before.
So each cut is guessed on a straight line between Ids up to which the records are counted, and the guess is counted in turn. Any
cut is right: every record is in one range, whatever the counts say. They decide only how even the ranges are.
Source: Object Reference, "ID Field Type" (the first 15 characters; 0-9, A-Z, a-z). Bulk API's PK chunking cuts by such Ids, too.
"""

from __future__ import annotations

from bisect import insort
from typing import Final, Protocol

from salmon.salesforce.ids import ID_CHARS_SHORT, id18

TRIES: Final = 3  # guesses for one cut; one that is close costs an API call, another one three
UNEVEN_MAX: Final = 0.2  # of a fair share: closer than that is good enough
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE: Final = len(_DIGITS)


class Ids(Protocol):
    """What is asked of an object's Ids. Each costs an API call."""

    def count(self, after: str, to: str) -> int | None:
        """How many records there are with after < Id <= to; None if that cannot be counted."""
        ...

    def first(self, after: str) -> str:
        """The first Id above that one; "" if there is none."""
        ...

    def last(self, to: str) -> str:
        """The last Id up to that one ("": of all); "" if there is none."""
        ...


def cuts(ids: Ids, parts: int, *, after: str, records: int) -> list[str]:
    """
    The Ids after which the next range begins, in their order: parts - 1 of them, or fewer where no more can be told apart.

    Args:
        after: What is cut is above this Id.
        records: About how many there are.
    """
    first, last = ids.first(after), ids.last("")
    if not first < last:
        return []
    line = _Line(ids, (number_of(first) - 1, 0), (number_of(last), records))
    found: list[str] = []
    for number in range(1, parts):
        target = records * number // parts
        line.aim(target, close_enough=int(records / parts * UNEVEN_MAX))
        at, before = line.nearest(target)
        if 0 < before < records and (not found or id_of(at) > found[-1]):
            found.append(id_of(at))
    return found


class _Line:
    """How many records there are up to which Id, as far as it is known: points that rise, and straight lines between."""

    def __init__(self, ids: Ids, *ends: tuple[int, int]) -> None:
        self._ids, self._points = ids, list(ends)
        self._can_be_counted = True

    def nearest(self, target: int) -> tuple[int, int]:
        """The known point with the most similar count."""
        return min(self._points, key=lambda point: abs(point[1] - target))

    def aim(self, target: int, close_enough: int) -> None:
        """Know a point whose count is *close_enough* to *target*, or as close as a few guesses come."""
        for _ in range(TRIES):
            if abs(self.nearest(target)[1] - target) <= close_enough:
                return
            # Points of the same count are the two ends of a gap: the last of the lower ones, the first of the higher.
            low, fewer = max(point for point in self._points if point[1] <= target)
            high, more = min(point for point in self._points if point[1] > target)
            guess = low + (high - low) * (target - fewer) // (more - fewer)
            if not low < guess < high:
                return
            counted = self._counted(low, guess)
            if counted is None:
                insort(self._points, (guess, target))  # believed as it is
                return
            counted += fewer
            insort(self._points, (guess, counted))
            if abs(counted - target) > close_enough:
                self._know_gap(guess, counted)

    def _counted(self, low: int, to: int) -> int | None:
        found = self._ids.count(id_of(low), id_of(to)) if self._can_be_counted else None
        self._can_be_counted = found is not None  # it takes minutes to learn that it cannot
        return found

    def _know_gap(self, guess: int, counted: int) -> None:
        """Around the guess there is nothing, from the last record below it to the first one above."""
        if below := self._ids.last(id_of(guess)):
            insort(self._points, (number_of(below), counted))
        if above := self._ids.first(id_of(guess)):
            insort(self._points, (number_of(above) - 1, counted))


def number_of(native_id: str) -> int:
    """The number that an Id's first 15 characters are. Ids rise as these do."""
    number = 0
    for digit in native_id[:ID_CHARS_SHORT]:
        number = number * _BASE + _DIGITS.index(digit)
    return number


def id_of(number: int) -> str:
    """The Id, of 18 characters, that is this number; it need not be any record's."""
    digits = ""
    for _ in range(ID_CHARS_SHORT):
        number, digit = divmod(number, _BASE)
        digits = _DIGITS[digit] + digits
    whole = id18(digits)
    assert whole is not None
    return whole
