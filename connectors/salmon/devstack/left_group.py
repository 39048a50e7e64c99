"""
Takes members that are dead out of their groups at the embedded broker.

Apache Kafka gives the partitions of a member to the others when it has heard nothing of it within its session time-out.
`noida-db` 0.2.3 waits for it for ever, so no spare instance would ever take over. So the proxy tells the broker that the
member has left, if its client has disconnected and has not come back within that time, and another is there to take over, or waits to join (the
broker lets it wait for the dead one): where the last member leaves, the broker forgets the group's offsets.

A client may also go before it has learnt its member id. The broker has made it a member by then, perhaps even the group's leader, for
whose assignment all others wait. So the proxy asks the broker for the id.

A client that is silent on an open connection, e.g. because it is suspended, is left alone. So is everybody while members join: a static
member that has been started again names no member id then, and may be given the one that it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final

from salmon.devstack.left_open import answer_to

# API keys of Kafka's protocol (Kafka Protocol Guide), each with its first version of flexible lengths.
JOIN_GROUP: Final = 11
HEARTBEAT: Final = 12
LEAVE_GROUP: Final = 13
DESCRIBE_GROUPS: Final = 15
HEARD: Final = {JOIN_GROUP: 6, HEARTBEAT: 4, LEAVE_GROUP: 4}

_REQUEST: Final = struct.Struct(">hhi")  # API key, API version, correlation id
_SHORT: Final = struct.Struct(">h")
_INT: Final = struct.Struct(">i")
_SESSION_S: Final = 45.0  # Apache Kafka's default, for a member that joined before this front did
# For how many sessions a client that comes back again and again is given the time to be told its id.
_COMES_BACK_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Spoken:
    """
    What a request says of a group.

    Args:
        session_s: Of JoinGroup alone: how long the member may be silent.
        member: Its id; empty in LeaveGroup, and in the JoinGroup of one that has none yet.
        client: The client's id, which the broker also knows of each member.
    """

    api_key: int
    api_version: int
    group: bytes
    session_s: float = 0.0
    member: bytes = b""
    client: bytes = b""


def spoken(request: bytes) -> Spoken | None:
    """*request*: the frame without its size. None where it is about no group, or in a version with flexible lengths."""
    api_key, version, _ = _REQUEST.unpack_from(request)
    if version >= HEARD.get(api_key, 0):
        return None
    client, at = _text(request, _REQUEST.size)
    group, at = _text(request, at)
    if api_key == JOIN_GROUP:
        session_s = _INT.unpack_from(request, at)[0] / 1000
        behind = at + _INT.size * (
            1 if version == 0 else 2
        )  # from version 1 on, the rebalance has a time-out, too
        return Spoken(api_key, version, group, session_s, _text(request, behind)[0], client)
    member = _text(request, at + _INT.size)[0] if api_key == HEARTBEAT else b""  # behind the generation
    return Spoken(api_key, version, group, member=member, client=client)


class LeftGroup:
    """Knows which members are in groups, and takes out those of dead clients. *broker*: its host and port."""

    def __init__(self, broker: tuple[str, int]) -> None:
        self._broker = broker
        self._members: dict[
            tuple[bytes, bytes], object
        ] = {}  # group and member -> the link that spoke of it last
        self._away: set[tuple[bytes, bytes]] = set()  # those of them whose connection has ended
        self._sessions_s: dict[bytes, float] = {}
        self._joined_at_s: dict[bytes, float] = {}  # by the loop's clock: when somebody last joined the group
        self._joining: dict[object, Spoken] = {}  # link -> its JoinGroup that is not answered yet
        self._leaving: set[asyncio.Task[None]] = set()

    def asks(self, link: object, said: Spoken) -> None:
        """A client asks on *link*."""
        if said.api_key == JOIN_GROUP:
            self._sessions_s[said.group] = said.session_s
            self._joined_at_s[said.group] = asyncio.get_running_loop().time()
            self._joining[link] = said
        if said.member:
            self._speaks(link, (said.group, said.member))
        elif said.api_key == LEAVE_GROUP:
            for each in [
                each for each, last in self._members.items() if last is link and each[0] == said.group
            ]:
                del self._members[each]

    def answered(self, link: object, said: Spoken, answer: bytes | bytearray) -> None:
        """The broker has answered; *answer*: the frame without its size. Who joins is told its id, also if it has named none."""
        if said.api_key != JOIN_GROUP:
            return
        self._joining.pop(link, None)
        if member := _joined(answer, said.api_version):
            self._speaks(link, (said.group, member))

    def gone(self, link: object) -> None:
        """A client's connection has ended. It may come back with another within its session."""
        joins = self._joining.pop(link, None)
        for member, last in self._members.items():
            if last is link:
                self._goes_away(member, link)
        if joins is not None and not joins.member:
            self._start(self._find(joins, link))

    def _speaks(self, link: object, member: tuple[bytes, bytes]) -> None:
        self._members[member] = link
        self._away.discard(member)

    def _goes_away(self, member: tuple[bytes, bytes], link: object) -> None:
        self._away.add(member)
        self._look_after(member, link, self._sessions_s.get(member[0], _SESSION_S))

    async def _find(self, joins: Spoken, link: object) -> None:
        """Find the members that a client has become without being told so."""
        for _ in range(_COMES_BACK_MAX):
            await asyncio.sleep(joins.session_s)
            if not any(
                (each.group, each.client, each.member) == (joins.group, joins.client, b"")
                for each in self._joining.values()
            ):
                break  # else the client has come back, and one of the members that the broker knows may be the one that joins
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            answer = await answer_to(_describes(joins.group), self._broker)
            for member, client in _described(answer):
                if client == joins.client and (joins.group, member) not in self._members:
                    self._members[joins.group, member] = link
                    self._goes_away((joins.group, member), link)

    def _look_after(self, member: tuple[bytes, bytes], link: object, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s, self._look, member, link)

    def _look(self, member: tuple[bytes, bytes], link: object) -> None:
        if self._members.get(member) is not link:
            return
        group, session_s = member[0], self._sessions_s.get(member[0], _SESSION_S)
        since_s = asyncio.get_running_loop().time() - self._joined_at_s.get(group, -_SESSION_S)
        others = [each for each, _ in self._members.keys() - self._away]
        others += [each.group for each in self._joining.values()]
        is_alone = group not in others
        if is_alone or since_s < session_s:
            self._look_after(member, link, session_s if is_alone else session_s - since_s)
        else:
            del self._members[member]
            self._away.discard(member)
            self._start(self._leave(*member))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, group: bytes, member: bytes) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await answer_to(_leaves(group, member), self._broker)


def _text(frame: bytes | bytearray, at: int) -> tuple[bytes, int]:
    """A text with a length of two bytes, and where the next begins."""
    length = max(0, _SHORT.unpack_from(frame, at)[0])
    begins = at + _SHORT.size
    return bytes(frame[begins : begins + length]), begins + length


def _joined(answer: bytes | bytearray, api_version: int) -> bytes:
    """JoinGroup: the member's id; empty where the broker has refused."""
    at = 4 + (4 if api_version >= 2 else 0)  # correlation id, throttle time
    if _SHORT.unpack_from(answer, at)[0]:
        return b""
    at += _SHORT.size + _INT.size  # error code, generation
    for _ in ("protocol", "leader"):
        _, at = _text(answer, at)
    return _text(answer, at)[0]


def _leaves(group: bytes, member: bytes) -> bytes:
    """LeaveGroup, version 0."""
    texts = (_SHORT.pack(len(each)) + each for each in (group, member))
    return _REQUEST.pack(LEAVE_GROUP, 0, 1) + _SHORT.pack(-1) + b"".join(texts)


def _describes(group: bytes) -> bytes:
    """DescribeGroups, version 0, of one group."""
    return (
        _REQUEST.pack(DESCRIBE_GROUPS, 0, 1)
        + _SHORT.pack(-1)
        + _INT.pack(1)
        + _SHORT.pack(len(group))
        + group
    )


def _described(answer: bytes) -> Iterator[tuple[bytes, bytes]]:
    """DescribeGroups, version 0: each member's id, and its client's."""
    at = 4 + _INT.size + _SHORT.size  # correlation id, one group, error code
    for _ in ("group", "state", "protocol type", "protocol"):
        _, at = _text(answer, at)
    count, at = _INT.unpack_from(answer, at)[0], at + _INT.size
    for _ in range(count):
        member, at = _text(answer, at)
        client, at = _text(answer, at)
        _, at = _text(answer, at)  # the host
        for _ in ("metadata", "assignment"):
            at += _INT.size + max(0, _INT.unpack_from(answer, at)[0])
        yield member, client
