"""Where a start of MongoDB's source goes on, by what its stored places cover."""

from __future__ import annotations

from salmon.mongodb.reading.snapshot import SNAPSHOT, Place, beginning
from salmon.plugin.contract import Position

NAME, PHONE = "accounts.Name", "accounts.Phone"


def stored(*covers: str, done: bool = True) -> dict[str, Position]:
    """The position of an object Account."""
    place = Place(after=b"x", read=9, done=done, signals=(4,), covers=frozenset(covers))
    return {f"{SNAPSHOT}Account": place.position()}


def test_what_is_covered_goes_on_where_it_stopped() -> None:
    """Nothing is read twice, and nothing is told."""
    begin = beginning(stored(NAME), {"Account": frozenset({NAME})})
    assert (begin.places["Account"].after, begin.unstored, begin.passed_by) == (b"x", set(), [])


def test_what_is_not_covered_is_read_from_the_beginning() -> None:
    """With each record's row before its next event; and what was asked for in the meantime is still answered."""
    begin = beginning(stored(NAME, done=False), {"Account": frozenset({NAME, PHONE})})
    place = begin.places["Account"]
    assert (place.after, place.again, place.done, place.signals) == (b"", True, False, (4,))
    assert (begin.unstored, begin.passed_by) == ({"Account"}, ["Account"])


def test_what_is_synced_no_more_is_covered_no_more() -> None:
    """Else it would not be read when it is put back."""
    begin = beginning(stored(NAME, PHONE), {"Account": frozenset({NAME})})
    assert (begin.places["Account"].covers, begin.unstored) == (frozenset({NAME}), {"Account"})
    begin = beginning(stored(NAME), {})
    assert (begin.places, begin.left["Account"].covers) == ({}, frozenset())
    again = beginning({f"{SNAPSHOT}Account": begin.left["Account"].position()}, {})
    assert again.left == {}, "that is told once"
