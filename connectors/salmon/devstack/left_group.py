"""
Takes members that are dead out of their groups at the embedded broker.

Apache Kafka gives the partitions of a member to the others when it has heard nothing of it within its session time-out.
`noida-db` 0.2.3 waits for it for ever, so no spare instance would ever take over. So the proxy tells the broker that the
member has left, if its client has disconnected and has not come back within that time, and another member is there to take over: where the
last member leaves, the broker forgets the group's offsets.

A client that is silent on an open connection, e.g. because it is suspended, is left alone. So is everybody while members join: a static
member that has been started again names no member id then, and may be given the one that it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass
from typing import Final

# API keys of Kafka's protocol (Kafka Protocol Guide), each with its first version of flexible lengths.
JOIN_GROUP: Final = 11
HEARTBEAT: Final = 12
LEAVE_GROUP: Final = 13
HEARD: Final = {JOIN_GROUP: 6, HEARTBEAT: 4, LEAVE_GROUP: 4}

_REQUEST: Final = struct.Struct(">hhi")  # API key, API version, correlation id
_SHORT: Final = struct.Struct(">h")
_INT: Final = struct.Struct(">i")
_SESSION_S: Final = 45.0  # Apache Kafka's default, for a member that joined before this front did
_ANSWER_MAX_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """
    What a request says of a group.

    Args:
        session_s: Of JoinGroup alone: how long the member may be silent.
        member: Its id; empty in LeaveGroup, and in the JoinGroup of one that has none yet.
    """

    api_key: int
    group: bytes
    session_s: float = 0.0
    member: bytes = b""


def spoken(request: bytes) -> Spoken | None:
    """*request*: the frame without its size. None where it is about no group, or in a version with flexible lengths."""
    api_key, version, _ = _REQUEST.unpack_from(request)
    if version >= HEARD.get(api_key, 0):
        return None
    _, at = _text(request, _REQUEST.size)  # the client's id
    group, at = _text(request, at)
    if api_key == JOIN_GROUP:
        session_s = _INT.unpack_from(request, at)[0] / 1000
        behind = at + _INT.size * (
            1 if version == 0 else 2
        )  # from version 1 on, the rebalance has a time-out, too
        return Spoken(api_key, group, session_s, member=_text(request, behind)[0])
    member = _text(request, at + _INT.size)[0] if api_key == HEARTBEAT else b""  # behind the generation
    return Spoken(api_key, group, member=member)


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
        self._leaving: set[asyncio.Task[None]] = set()

    def asks(self, link: object, said: Spoken) -> None:
        """A client asks on *link*."""
        if said.api_key == JOIN_GROUP:
            self._sessions_s[said.group] = said.session_s
            self._joined_at_s[said.group] = asyncio.get_running_loop().time()
        if said.member:
            self._members[said.group, said.member] = link
            self._away.discard((said.group, said.member))
        elif said.api_key == LEAVE_GROUP:
            for each in [
                each for each, last in self._members.items() if last is link and each[0] == said.group
            ]:
                del self._members[each]

    def gone(self, link: object) -> None:
        """A client's connection has ended. It may come back with another within its session."""
        for member, last in self._members.items():
            if last is link:
                self._away.add(member)
                self._look_after(member, link, self._sessions_s.get(member[0], _SESSION_S))

    def _look_after(self, member: tuple[bytes, bytes], link: object, after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s, self._look, member, link)

    def _look(self, member: tuple[bytes, bytes], link: object) -> None:
        if self._members.get(member) is not link:
            return
        group, session_s = member[0], self._sessions_s.get(member[0], _SESSION_S)
        since_s = asyncio.get_running_loop().time() - self._joined_at_s.get(group, -_SESSION_S)
        is_alone = all(other[0] != group or other in self._away for other in self._members)
        if is_alone or since_s < session_s:
            self._look_after(member, link, session_s if is_alone else session_s - since_s)
        else:
            del self._members[member]
            self._away.discard(member)
            task = asyncio.create_task(self._leave(*member))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _leave(self, group: bytes, member: bytes) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_ANSWER_MAX_S):
                source, target = await asyncio.open_connection(*self._broker)
                try:
                    request = _leaves(group, member)
                    target.write(_INT.pack(len(request)) + request)
                    await source.readexactly(_INT.unpack(await source.readexactly(4))[0])
                finally:
                    target.close()


def _text(frame: bytes, at: int) -> tuple[bytes, int]:
    """A text with a length of two bytes, and where the next begins."""
    length = max(0, _SHORT.unpack_from(frame, at)[0])
    begins = at + _SHORT.size
    return frame[begins : begins + length], begins + length


def _leaves(group: bytes, member: bytes) -> bytes:
    """LeaveGroup, version 0."""
    texts = (_SHORT.pack(len(each)) + each for each in (group, member))
    return _REQUEST.pack(LEAVE_GROUP, 0, 1) + _SHORT.pack(-1) + b"".join(texts)
