"""Requests: what is still to be read survives until it is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from salmon.errors import Unavailable
from salmon.mongodb.reading.events import absent
from salmon.mongodb.reading.requests import Requests
from salmon.mongodb.reading.snapshot import Rows


class _Server:
    """Answers every read at *time*, or not at all."""

    def __init__(self) -> None:
        self.time = 10
        self.is_up = True

    def read(self, name: str, keys: Sequence[str]) -> list[Rows]:
        if not self.is_up:
            raise Unavailable("down")
        return [Rows(name, self.time, [(key, absent(as_of=self.time)) for key in keys])]


def test_what_an_event_asks_for_is_due_until_its_row_is_told() -> None:
    """Before it is read and while its row waits for the stream alike: a crash must not lose it."""
    requests = Requests(_Server().read)
    requests.add("Account", ["a"], due=True)
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
    requests.add("Account", ["a"], due=True)
    with pytest.raises(Unavailable, match="lags"):
        requests.read(not_before=11)
    assert requests.due([]) == {"Account": ["a"]}


def test_a_request_without_keys_is_answered() -> None:
    """There is nothing to read, but whoever asked must not wait for ever."""
    requests = Requests(_Server().read)
    requests.add("Account", [], answers={7})
    assert requests.read(not_before=0)[-1].answered == frozenset({7})
