"""Where a start of MongoDB's source goes on, by what its stored places cover; and a snapshot that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from salmon.errors import FatalError, SalmonError, SetupError, Unavailable
from salmon.mongodb.reading.snapshot import (
    SNAPSHOT,
    WAITS_MIN_S,
    Beginning,
    Chunk,
    Place,
    Rows,
    Snapshots,
    beginning,
)
from salmon.plugin.contract import Position
from support.waiting import until

NAME, PHONE = "accounts.Name", "accounts.Phone"


def stored(*covers: str, done: bool = True) -> dict[str, Position]:
    """The position of an object Account."""
    place = Place(
        after=b"x", read=9, done=done, signals=(4,), covers=frozenset(covers), collections=("accounts",)
    )
    return {f"{SNAPSHOT}Account": place.position()}


def began(
    positions: Mapping[str, Position],
    covers: Mapping[str, frozenset[str]],
    collections: tuple[str, ...] = ("accounts",),
    now: int = 7,
) -> Beginning:
    """Where a start at the cluster time *now* goes on, in which Account has *collections*."""
    return beginning(positions, covers, {"Account": collections}, now=now)


def test_what_is_covered_goes_on_where_it_stopped() -> None:
    """Nothing is read twice, and nothing is told."""
    begin = began(stored(NAME), {"Account": frozenset({NAME})})
    assert (begin.places["Account"].after, begin.unstored, begin.passed_by) == (b"x", set(), [])


def test_what_is_not_covered_is_read_from_the_beginning() -> None:
    """With each record's row before its next event; and what was asked for in the meantime is still answered."""
    begin = began(stored(NAME, done=False), {"Account": frozenset({NAME, PHONE})})
    place = begin.places["Account"]
    assert (place.after, place.again, place.done, place.signals) == (b"", True, False, (4,))
    assert (begin.unstored, begin.passed_by) == ({"Account"}, ["Account"])


def test_what_is_synced_no_more_is_covered_no_more() -> None:
    """Else it would not be read when it is put back."""
    begin = began(stored(NAME, PHONE), {"Account": frozenset({NAME})})
    assert (begin.places["Account"].covers, begin.unstored) == (frozenset({NAME}), {"Account"})
    begin = began(stored(NAME), {})
    assert (begin.places, begin.left["Account"].covers) == ({}, frozenset())
    again = began({f"{SNAPSHOT}Account": begin.left["Account"].position()}, {})
    assert again.left == {}, "that is told once"


def kept(begin: Beginning) -> dict[str, Position]:
    return {f"{SNAPSHOT}Account": begin.places["Account"].position()}


def test_an_object_that_loses_a_collection_knows_since_when() -> None:
    """What was in it is looked for in vain from then on. A further collection takes nothing away."""
    both = began(stored(NAME), {"Account": frozenset({NAME})}, ("accounts", "firms"))
    assert both.places["Account"].since == 0
    other = began(kept(both), {"Account": frozenset({"firms.Name"})}, ("firms", "shops"), now=9)
    place = other.places["Account"]
    assert (place.since, place.others, place.again) == (9, frozenset({"shops"}), True)
    later = began(kept(other), {"Account": frozenset({"firms.Name"})}, ("firms", "shops"), now=12)
    place = later.places["Account"]
    assert (place.since, place.anew(frozenset()).since, place.anew(frozenset()).others) == (
        9,
        9,
        frozenset({"shops"}),
    )


def test_only_a_collection_that_is_new_has_events_of_before() -> None:
    """What the stream still brings of one that the object keeps is news, however late it comes."""
    both = began(stored(NAME), {"Account": frozenset({NAME})}, ("accounts", "firms"))
    place = began(kept(both), {"Account": frozenset({NAME})}, ("accounts", "shops"), now=9).places["Account"]
    assert [place.is_of_before(name, 8) for name in ("accounts", "shops")] == [False, True]
    assert not place.is_of_before("shops", 10)


def test_a_collection_that_is_dropped_while_another_took_its_place_takes_nothing_back() -> None:
    """The stream is behind: its drop is of a time before the configuration named the collection."""
    place = began(stored(NAME), {"Account": frozenset({"firms.Name"})}, ("firms",), now=9).places["Account"]
    assert place.replaced({"firms"}, 5).since == 9
    assert place.replaced({"firms"}, 11).since == 11
    assert place.replaced({"others"}, 11) == place


def test_a_position_of_an_earlier_version_names_its_collections_by_what_it_covers() -> None:
    """An upgrade may come with another collection."""
    earlier = {f"{SNAPSHOT}Account": {**stored(NAME)[f"{SNAPSHOT}Account"], "collections": []}}
    same = began(earlier, {"Account": frozenset({NAME})}, now=9).places["Account"]
    assert (same.since, same.collections) == (0, ("accounts",))
    other = began(earlier, {"Account": frozenset({"firms.Name"})}, ("firms",), now=9).places["Account"]
    assert (other.since, other.others) == (9, frozenset({"firms"}))


class _Server:
    """Refuses each read with *error* while there is one; then there are no documents."""

    def __init__(self, error: SalmonError) -> None:
        self.error: SalmonError | None = error
        self.now_s = 0.0
        self.ended = 0  # reads
        self.snapshots = Snapshots({"Account": Place()}, self._read, self._end, clock=lambda: self.now_s)

    def _read(self, name: str, _: bytes, __: int) -> Chunk:
        if self.error is not None:
            raise self.error
        return Chunk(Rows(name, 1, []), 0, b"")

    def _end(self) -> None:
        self.ended += 1

    def read(self) -> list[Rows]:
        """Let the next read begin and end, and return what is known of it then."""
        ended = self.ended
        self.snapshots.advance()
        until(lambda: self.ended == ended + 1, "the read ends")
        return self.snapshots.advance()


def test_a_snapshot_that_cannot_be_read_is_reported_until_that_read_works() -> None:
    """The polls between two tries work, because the stream does; they do not mean that the documents can be read."""
    server = _Server(Unavailable("MongoDB refused our request."))
    server.read()
    for _ in range(100):
        server.snapshots.advance()
    assert server.ended == 1, "the next try waits"
    assert server.snapshots.waiting() == []
    server.now_s += WAITS_MIN_S
    server.read()
    (waiting,) = server.snapshots.waiting()
    assert (waiting.object, waiting.since_s) == ("Account", WAITS_MIN_S)
    assert "MongoDB refused our request." in waiting.sentence
    server.error = None
    server.now_s += WAITS_MIN_S
    assert [rows.place is not None and rows.place.done for rows in server.read()] == [True]
    assert server.snapshots.waiting() == []
    server.snapshots.close()


def test_a_snapshot_that_only_a_person_can_help_ends_the_source() -> None:
    """It is not tried for ever."""
    server = _Server(SetupError("Grant readWrite."))
    with pytest.raises(FatalError):
        server.read()
    server.snapshots.close()
