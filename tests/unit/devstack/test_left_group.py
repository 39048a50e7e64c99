"""What the front of the embedded broker does with members whose clients have gone; see left_group.py."""

from __future__ import annotations

import asyncio
import struct

import pytest

from salmon.devstack.left_group import (
    DESCRIBE_GROUPS,
    HEARTBEAT,
    JOIN_GROUP,
    LEAVE_GROUP,
    LeftGroup,
    Spoken,
    spoken,
)
from salmon.devstack.processes import HOST

FETCH, HEADER = 1, struct.Struct(">hhih")
LEFT = ("crm-merge", "member-1")


def text(said: str) -> bytes:
    return struct.pack(">h", len(said)) + said.encode()


def request(
    api_key: int, *, version: int = 1, group: str = LEFT[0], session_ms: int = 1, member: str = LEFT[1]
) -> bytes:
    """Header, group, and what is read of the rest."""
    times = struct.pack(">ii", session_ms, 60_000) if api_key == JOIN_GROUP else struct.pack(">i", 7)
    return HEADER.pack(api_key, version, 7, 6) + b"client" + text(group) + times + text(member)


def test_who_is_in_which_group_and_how_long_it_may_be_silent_is_read() -> None:
    """The session's time-out stands in JoinGroup, the member in each heartbeat."""
    joins, beats = spoken(request(JOIN_GROUP, version=5, session_ms=6_000)), spoken(request(HEARTBEAT))
    assert joins is not None
    assert (joins.group, joins.session_s, joins.member) == (b"crm-merge", 6.0, b"member-1")
    assert joins.client == b"client"
    assert beats is not None
    assert (beats.group, beats.member) == (b"crm-merge", b"member-1")


@pytest.mark.parametrize(("api_key", "version"), [(FETCH, 11), (HEARTBEAT, 4), (JOIN_GROUP, 6)])
def test_what_is_about_no_group_or_has_flexible_lengths_is_not_heard(api_key: int, version: int) -> None:
    """librdkafka speaks older versions; nothing is guessed of others."""
    assert spoken(request(api_key, version=version)) is None


class Played:
    """A broker that notes what it is asked, and clients that speak to it through LeftGroup."""

    def __init__(self) -> None:
        self.left: list[tuple[str, str]] = []
        self.left_group: LeftGroup

    async def serve(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        frame = await source.readexactly(struct.unpack(">i", await source.readexactly(4))[0])
        if struct.unpack_from(">hh", frame) == (DESCRIBE_GROUPS, 0):
            assert _read(frame, 14)[0] == LEFT[0]
            answer = self._described()
            target.write(struct.pack(">i", len(answer)) + answer)
            target.close()
            return
        assert struct.unpack_from(">hh", frame) == (LEAVE_GROUP, 0)
        group, at = _read(frame, 10)  # behind a header without a client's id
        self.left.append((group, _read(frame, at)[0]))
        target.write(struct.pack(">iih", 6, 1, 0))
        target.close()

    def _described(self) -> bytes:
        """One that joined and was not told so, and a spare; each with its client, host, metadata and assignment."""
        told = (
            struct.pack(">iih", 1, 1, 0) + text(LEFT[0]) + text("Stable") + text("consumer") + text("sticky")
        )
        members = [("untold", "client"), ("spare", "another client")]
        told += struct.pack(">i", len(members))
        for member, client in members:
            told += text(member) + text(client) + text("/127.0.0.1") + struct.pack(">i3si", 3, b"any", -1)
        return told

    def says(self, link: object, *api_keys: int) -> None:
        for api_key in api_keys:
            said = spoken(request(api_key))
            assert said is not None
            self.left_group.asks(link, said)

    async def time_passes(self) -> None:
        """Longer than a session, and than the broker needs."""
        came = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.05, came.set_result, None)
        await came
        while self.left_group._leaving:
            await asyncio.wait(self.left_group._leaving)


def _read(frame: bytes, at: int) -> tuple[str, int]:
    length = struct.unpack_from(">h", frame, at)[0]
    return frame[at + 2 : at + 2 + length].decode(), at + 2 + length


async def untold(*steps: str) -> list[tuple[str, str]]:
    """Who has left after a client has gone before it was told its id, and these steps."""
    it, link, another = Played(), object(), object()
    server = await asyncio.start_server(it.serve, HOST, 0)
    it.left_group = LeftGroup((HOST, server.sockets[0].getsockname()[1]))
    it.left_group.asks(
        object(), Spoken(HEARTBEAT, 1, LEFT[0].encode(), member=b"spare", client=b"another client")
    )
    joins = Spoken(JOIN_GROUP, 5, LEFT[0].encode(), 0.001, client=b"client")
    it.left_group.asks(link, joins)
    it.left_group.gone(link)
    for step in steps:
        match step:
            case "it joins again":
                it.left_group.asks(another, joins)
            case "it is told its id":
                answer = struct.pack(">iihi", 6, 0, 0, 1) + text("sticky") + text("spare") + text("untold")
                it.left_group.answered(another, joins, answer)
    await it.time_passes()
    server.close()
    return it.left


async def played(*steps: str) -> list[tuple[str, str]]:
    """Who has left after a member's joining and first heartbeat, and these steps."""
    it, link, another, spare = Played(), object(), object(), object()
    server = await asyncio.start_server(it.serve, HOST, 0)
    it.left_group = LeftGroup((HOST, server.sockets[0].getsockname()[1]))
    it.says(link, JOIN_GROUP, HEARTBEAT)
    if "nobody else is there" not in steps:
        it.left_group.asks(spare, Spoken(HEARTBEAT, 1, LEFT[0].encode(), member=b"spare"))
    for step in steps:
        match step:
            case "its connection ends":
                it.left_group.gone(link)
            case "it beats on another":
                it.says(another, HEARTBEAT)
            case "a spare joins":
                it.left_group.asks(spare, Spoken(JOIN_GROUP, 5, LEFT[0].encode(), 0.001))
            case "it joins again":
                it.says(another, JOIN_GROUP)
            case "it is told its id":
                joins = Spoken(JOIN_GROUP, 5, LEFT[0].encode())
                # Correlation id, throttle time, no error, generation, protocol, leader, the member.
                answer = struct.pack(">iihi", 6, 0, 0, 1) + text("sticky") + text("spare") + text(LEFT[1])
                it.left_group.answered(another, joins, answer)
            case "it leaves":
                it.says(link, LEAVE_GROUP)
    await it.time_passes()
    server.close()
    return it.left


def test_a_member_whose_client_has_gone_leaves_after_its_session() -> None:
    """As Apache Kafka sees to by itself."""
    assert asyncio.run(played("its connection ends")) == [LEFT]


def test_a_client_that_goes_before_it_is_told_its_id_leaves_too() -> None:
    """The broker has made it a member, and would wait for it for ever; nobody else of the group is touched."""
    assert asyncio.run(untold()) == [(LEFT[0], "untold")]


def test_a_client_that_comes_back_and_is_told_its_id_stays() -> None:
    """A static member may be given the id that it had."""
    assert asyncio.run(untold("it joins again", "it is told its id")) == []


def test_a_client_that_comes_back_again_and_again_does_not_hide_that_it_once_joined() -> None:
    """Its new requests wait for the member that it has left behind."""
    assert asyncio.run(untold("it joins again")) == [(LEFT[0], "untold")]


@pytest.mark.parametrize("step", ["it beats on another", "it joins again", "it is told its id", "it leaves"])
def test_who_comes_back_or_has_left_is_not_taken_out(step: str) -> None:
    """A connection may end and another begin; and to leave twice could hit a member with the same id."""
    steps = (step, "its connection ends") if step == "it leaves" else ("its connection ends", step)
    assert asyncio.run(played(*steps)) == []


def test_the_last_member_of_a_group_stays_in_it() -> None:
    """Nobody waits for its partitions, and the broker would forget the group's offsets."""
    assert asyncio.run(played("nobody else is there", "its connection ends")) == []


def test_for_a_spare_that_waits_to_join_the_dead_member_is_taken_out() -> None:
    """The broker answers it only when all members have joined again, and the dead one never will."""
    assert asyncio.run(played("nobody else is there", "its connection ends", "a spare joins")) == [LEFT]


def test_who_is_silent_on_an_open_connection_stays() -> None:
    """A suspended process wakes up again."""
    assert asyncio.run(played()) == []


def test_nobody_is_taken_out_while_members_join() -> None:
    """A static member that was started again names no member, and may be given the id that it had: it would be itself."""

    async def joined() -> bool:
        left_group, link = LeftGroup((HOST, 1)), object()
        for api_key in (HEARTBEAT, JOIN_GROUP):
            said = spoken(
                request(api_key, session_ms=60_000, member="" if api_key == JOIN_GROUP else LEFT[1])
            )
            assert said is not None
            left_group.asks(link if api_key == HEARTBEAT else object(), said)
        left_group.asks(object(), Spoken(HEARTBEAT, 1, LEFT[0].encode(), member=b"spare"))
        member = (LEFT[0].encode(), LEFT[1].encode())
        left_group._look(member, link)
        return member in left_group._members

    assert asyncio.run(joined())
