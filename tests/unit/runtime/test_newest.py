"""Which of two instances goes on: the one that signed in last, if it lives."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from salmon.errors import Stopping, Superseded
from salmon.kafka import clients
from salmon.kafka.kept import KeptAdmin
from salmon.ops.health import Health
from salmon.plugin.contract import Position
from salmon.runtime.newest import ENTRIES, Newest


class Room:
    """`offsets` and the group, as the brokers would have them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.topic = "crm.offsets"
        self.rows: dict[str, Any] = {}
        self.members: set[str] = set()
        self.looks = 0
        monkeypatch.setattr(clients, "write", self._write)

    # As an OffsetStore.

    def load(self, connector: str) -> Mapping[str, Position]:
        assert connector == ENTRIES
        return {key.removeprefix(f"{ENTRIES}/"): value for key, value in self.rows.items()}

    def record(self, connector: str, partition: str, position: Position) -> tuple[str, Position]:
        return f"{connector}/{partition}", position

    def _write(self, _kafka: object, _client_id: str, topic: str, key: str, value: Any) -> None:
        assert topic == self.topic
        self.rows[key] = value

    # As an AdminClient.

    def list_groups(self, _group: str, **_: object) -> list[Any]:
        self.looks += 1
        members = [SimpleNamespace(client_id=each, assignment=b"") for each in self.members]
        return [SimpleNamespace(error=None, members=members)]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr("salmon.runtime.newest._LOOK_S", 0.001)
    monkeypatch.setattr("salmon.runtime.newest._MARGIN_S", 0.0)
    return Room(monkeypatch)


def instance(room: Room, name: str, *, join_max_s: float = 0.05, stop: Event | None = None) -> Newest:
    return Newest(
        {},
        KeptAdmin(room, lambda: pytest.fail("it had not failed")),  # type: ignore[arg-type]
        room,  # type: ignore[arg-type]
        "merge",
        0,
        group="crm-merge",
        instance_id="crm-merge-0",
        name=name,
        health=Health(),
        stop=stop or Event(),
        session_s=0.01,
        join_max_s=join_max_s,
    )


def test_who_was_suspended_and_finds_its_own_name_goes_on(room: Room) -> None:
    """Kafka said that it was fenced; by its own time-out, since nobody has started since (cases S1, S2)."""
    room.members.add("crm-merge-0")  # ourselves, from before
    ours = instance(room, "ours")
    ours.sign_in()
    ours.check()
    assert room.looks == 0, "and nobody is waited for"


def test_the_older_of_two_ends_where_the_newer_is_in_the_group(room: Room) -> None:
    """It says which process on which host has its place."""
    older, newer = instance(room, "older"), instance(room, "newer")
    older.sign_in()
    newer.sign_in()
    room.members.add("crm-merge-0")
    with pytest.raises(Superseded, match=r"crm-merge-0: a newer instance .*process \d+ on .*This one ends"):
        older.check()
    newer.check()


def test_they_do_not_fence_each_other_in_turns(room: Room) -> None:
    """However often each of them begins again, it is the same one that goes on."""
    older, newer = instance(room, "older"), instance(room, "newer")
    older.sign_in()
    newer.sign_in()
    room.members.add("crm-merge-0")
    for _ in range(3):
        with pytest.raises(Superseded):
            older.check()
        newer.check()


def test_a_newer_one_that_has_gone_again_is_no_reason_to_end(room: Room) -> None:
    """It was started while this one was suspended, and killed: the older takes its place back."""
    older, newer = instance(room, "older"), instance(room, "newer")
    older.sign_in()
    newer.sign_in()
    older.check()
    assert room.rows[f"{ENTRIES}/merge/0"]["name"] == "older"


def test_who_looks_for_the_newer_one_can_be_told_to_stop(room: Room) -> None:
    """SIGTERM meanwhile."""
    stop = Event()
    older = instance(room, "older", join_max_s=60, stop=stop)
    instance(room, "newer").sign_in()
    stop.set()
    with pytest.raises(Stopping):
        older.check()


def test_other_ordinals_are_other_places(room: Room) -> None:
    """A replica that starts supersedes nobody."""
    ours = instance(room, "ours")
    ours.sign_in()
    room.rows[f"{ENTRIES}/merge/1"] = {"name": "another", "host": "h", "pid": 1}
    ours.check()
