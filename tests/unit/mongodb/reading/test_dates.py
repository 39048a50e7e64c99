"""How far MongoDB's oplog goes back: looked at now and then, and never a reason to stop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pymongo.errors import OperationFailure
from structlog.testing import capture_logs

from salmon.mongodb.reading.dates import LOOK_EVERY_S, Dates


class Server:
    """A client whose oplog begins at *oldest_s*; None: the user may not read it."""

    def __init__(self, oldest_s: int | None) -> None:
        self.oldest_s, self.asked = oldest_s, 0

    def __getitem__(self, name: str) -> dict[str, Any]:
        assert name == "local"
        return {"oplog.rs": self}

    def find_one(self, *_: object, **__: object) -> dict[str, Any]:
        self.asked += 1
        if self.oldest_s is None:
            raise OperationFailure("not authorized on local", code=13)
        return {"ts": SimpleNamespace(time=self.oldest_s)}


def look(dates: Dates, server: Server, at_s: float) -> None:
    dates.look(cast("Any", server), at_s)


def test_what_follows_a_position_is_kept_as_long_as_the_oplog_has_it() -> None:
    """The window is from the first entry to now; before the first look it is not known."""
    dates, server = Dates(), Server(1_000)
    assert dates.kept_s(5_000) is None
    look(dates, server, 10.0)
    assert dates.kept_s(5_000) == 4_000
    assert dates.kept_s(5_060) == 4_060


def test_the_oplog_is_looked_at_once_a_minute() -> None:
    """The window moves slowly, and the loop must not be held up."""
    dates, server = Dates(), Server(1_000)
    for at_s in (0.0, 10.0, 50.0):
        look(dates, server, at_s)
    assert server.asked == 1
    server.oldest_s = 3_000
    look(dates, server, LOOK_EVERY_S)
    assert dates.kept_s(5_000) == 2_000


def test_a_user_that_may_not_read_the_oplog_is_told_once_and_syncs() -> None:
    """The window is not known then, which is no error."""
    dates, server = Dates(), Server(None)
    with capture_logs() as lines:
        look(dates, server, 0.0)
        look(dates, server, LOOK_EVERY_S)
    assert dates.kept_s(5_000) is None
    assert [(each["event"], each["code"]) for each in lines] == [("oplog_not_visible", 13)]
