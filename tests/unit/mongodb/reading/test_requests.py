"""Requests: what is still to be read survives until it is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from salmon.errors import Unavailable
from salmon.mongodb.reading.events import absent
from salmon.mongodb.reading.requests import DUE_MAX, Requests
from salmon.mongodb.reading.snapshot import Place, Rows


class _Server:
    """Answers every read at *time*, or not at all."""

    def __init__(self) -> None:
        self.time = 10
        self.is_up = True
        self.reads: list[int] = []  # how many keys each had

    def read(self, name: str, keys: Sequence[str]) -> list[Rows]:
        if not self.is_up:
            raise Unavailable("down")
        self.reads.append(len(keys))
        return [Rows(name, self.time, [(key, absent(as_of=self.time)) for key in keys])]


def test_what_an_event_asks_for_is_due_until_its_row_is_told() -> None:
    """Before it is read and while its row waits for the stream alike: a crash must not lose it."""
    requests = Requests(_Server().read)
    requests.add_due("Account", ["a"])
    requests.add("Account", ["b"], answers={7})
    assert requests.due([]) == {"Account": ["a"]}
    rows = requests.read(not_before=0)
    assert not requests
    assert requests.due(rows) == {"Account": ["a"]}
    assert requests.due([]) == {}
    assert [told.answered for told in rows] == [frozenset(), frozenset({7})]


def test_a_read_that_fails_stays_wanted() -> None:
    """The worker polls again, and so do we."""
    server = _Server()
    requests = Requests(server.read)
    requests.add("Account", ["a"], answers={7})
    server.is_up = False
    with pytest.raises(Unavailable):
        requests.read(not_before=0)
    server.is_up = True
    assert [told.answered for told in requests.read(not_before=0)] == [frozenset({7})]


def test_a_member_that_lags_behind_the_stream_does_not_answer() -> None:
    """Its row would miss the very change that asked for it."""
    requests = Requests(_Server().read)
    requests.add_due("Account", ["a"])
    with pytest.raises(Unavailable, match="lags"):
        requests.read(not_before=11)
    assert requests.due([]) == {"Account": ["a"]}


def test_a_request_without_keys_is_answered() -> None:
    """There is nothing to read, but whoever asked must not wait for ever."""
    requests = Requests(_Server().read)
    requests.add("Account", [], answers={7})
    assert requests.read(not_before=0)[-1].answered == frozenset({7})


def test_each_turn_reads_more_than_it_can_be_asked_for() -> None:
    """A `$push` to all documents asks for a thousand records a turn, one by one: they are read 500 at a time."""
    server = _Server()
    requests = Requests(server.read)
    requests.add_incomplete([("Contact", str(n), 5) for n in range(1_000)], [])
    requests.read(not_before=5)
    assert server.reads == [500, 500]
    assert not requests


def test_a_record_is_read_once_however_many_events_ask_for_it() -> None:
    """Also if the read fails again and again while the stream goes on, or if the row that shows them all still waits."""
    server = _Server()
    requests = Requests(server.read)
    server.is_up = False
    for at in (5, 6, 7):
        requests.add_incomplete([("Contact", "a", at)], [])
        with pytest.raises(Unavailable):
            requests.read(not_before=at)
    server.is_up = True
    rows = requests.read(not_before=7)
    assert server.reads == [1]
    waiting = requests.add_incomplete([("Contact", "a", server.time)], rows)
    assert not requests
    assert requests.due(waiting) == {"Contact": ["a"]}
    requests.add_incomplete([("Contact", "a", server.time + 1)], rows)
    assert requests


def test_the_position_stays_small_however_long_the_stream_is_behind() -> None:
    """Rows that wait for the stream count, too. Beyond a bound the object is read as a whole, after what is being read of it."""
    requests = Requests(_Server().read)
    waiting: list[Rows] = []
    for turn in range(60):
        events = [("Contact", f"$oid:{turn:012x}{n:012x}", 5) for n in range(1_000)]
        waiting = requests.add_incomplete([*events, ("Account", "a", 5)], waiting)
        if requests:
            waiting += requests.read(not_before=5)
        assert sum(len(keys or ()) for keys in requests.due(waiting).values()) <= DUE_MAX + 1
    assert requests.due(waiting) == {"Account": ["a"], "Contact": None}
    assert requests.take_whole({"Contact": Place()}) == []
    assert requests.take_whole({"Contact": Place(done=True)}) == ["Contact"]
    assert requests.due(waiting) == {"Account": ["a"]}


def test_that_an_object_is_to_be_read_as_a_whole_survives_a_restart() -> None:
    """And no record of it is asked for until then."""
    requests = Requests(_Server().read)
    requests.add_due("Contact", None)
    requests.add_due("Contact", ["a"])
    assert requests.due([]) == {"Contact": None}
    assert not requests
