"""
A proxy in front of the embedded broker that corrects five of its faults. Apache Kafka does not need it.

`noida-db` 0.2.3 answers every read_committed fetch with all transactions that were ever aborted in the partition,
while Apache Kafka names only those that overlap the records it sends (KIP-98). librdkafka then treats every later record of
the same producer as aborted and skips it silently: after one crash, readers would never see that process again. The broker
leaves aborted records out by itself, so the list is not needed. The proxy changes each entry, in place, to an offset that is
never reached.

The broker also answers a fetch that finds nothing at once, whatever the client says in `max_wait_ms`: ten waiting readers
ask 17,000 times a second, which fills two cores. The proxy delays such an answer if the client has just asked the same, and
asks again when somebody has produced to one of its topics, or ended a transaction with records in one.

If two consumers join a group within the same tenth of a second, the broker may never answer one of them, and the whole group
waits for it until `max.poll.interval.ms` has passed (five minutes). The proxy closes a connection whose JoinGroup was not
answered for ten seconds; its client connects and joins again.

And it keeps a transaction of a dead client open forever, and a dead member in its group: see left_open.py, left_group.py.

The broker listens on 127.0.0.2 and the proxy on 127.0.0.1, on the same port. So the proxy can also replace the broker's
address in answers by its own, in place.

salmon.devstack.broker starts both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from salmon.devstack.left_group import LeftGroup, Spoken, spoken
from salmon.devstack.left_open import ADD_PARTITIONS, END_TRANSACTION, Heard, LeftOpen, heard

BROKER_HOST: Final = "127.0.0.2"
FRONT_HOST: Final = "127.0.0.1"

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# API keys of Kafka's protocol (Kafka Protocol Guide).
_PRODUCE: Final = 0
_FETCH: Final = 1
_JOIN_GROUP: Final = 11
_API_VERSIONS: Final = 18
_TELL_ADDRESSES: Final = frozenset({3, 10, 60})  # Metadata, FindCoordinator, DescribeCluster
_MENDED: Final = _TELL_ADDRESSES | {_FETCH, _API_VERSIONS}
# The last version of Fetch without topic ids and flexible lengths, and the first that tells aborted transactions.
_FETCH_VERSION_MAX: Final = 11
_FETCH_VERSION_MIN: Final = 4

_SIZE: Final = struct.Struct(">i")
_REQUEST: Final = struct.Struct(">hhi")  # API key, API version, correlation id
_SHORT: Final = struct.Struct(">h")
_LONG: Final = struct.Struct(">q")
_NEVER: Final = 2**63 - 1
# The longest that a fetch is held back: a client that wants other partitions, too, asks for them only after the answer.
_HELD_MAX_S: Final = 0.1
# A longer request is not searched for names of topics: all are said to have news, which costs less.
_SEARCHED_MAX_BYTES: Final = 65_536
# A rebalance takes as long as its slowest member needs to hear of it: a heartbeat, 2 s, and a turn of its loop.
_JOIN_MAX_S: Final = 10.0


def mended(api_key: int, api_version: int, answer: bytearray, *, host: str = FRONT_HOST) -> None:
    """
    Correct an answer in place.

    Args:
        answer: The frame without its size: correlation id, then the body.
        host: Where clients are sent; as long as the broker's own, since lengths stand before texts.
    """
    if api_key in _TELL_ADDRESSES:
        answer[:] = answer.replace(BROKER_HOST.encode(), host.encode())
    elif api_key == _API_VERSIONS:
        _fetch_limited(answer, api_version)
    elif api_key == _FETCH and api_version >= _FETCH_VERSION_MIN:
        _nothing_aborted(answer, api_version)


def _fetch_limited(answer: bytearray, api_version: int) -> None:
    """ApiVersions: entries of API key, least and greatest version; flexible from version 3 on."""
    at = 6  # correlation id, error code
    if api_version >= 3 and answer[4:6] == b"\0\0":
        count, at, tags = answer[at] - 1, at + 1, 1  # an unsigned varint; one byte serves below 128 entries
    else:  # also where the broker does not know the version that was asked for
        count, at, tags = _SIZE.unpack_from(answer, at)[0], at + 4, 0
    for _ in range(count):
        if _SHORT.unpack_from(answer, at)[0] == _FETCH:
            _SHORT.pack_into(answer, at + 4, min(_FETCH_VERSION_MAX, _SHORT.unpack_from(answer, at + 4)[0]))
        at += 6 + tags


def _nothing_aborted(answer: bytearray, api_version: int) -> None:
    """Fetch, versions 4 to 11: move each aborted transaction's first offset behind all records."""
    for told in _partitions_of(answer, api_version):
        for number in range(told.aborted):
            _LONG.pack_into(answer, told.aborted_at + 16 * number + 8, _NEVER)


def finds_nothing(api_version: int, answer: bytes | bytearray) -> bool:
    """Whether a Fetch answer of the versions 4 to 11 tells neither a record nor an error."""
    if api_version >= 7 and _SHORT.unpack_from(answer, 8)[0]:  # behind correlation id and throttle time
        return False
    return not any(told.error or told.records for told in _partitions_of(answer, api_version))


@dataclass(frozen=True, slots=True)
class _Partition:
    """What a Fetch answer tells of one partition."""

    error: int  # its code
    aborted_at: int  # where the list of aborted transactions stands: producer and first offset, 8 bytes each
    aborted: int  # how many there are
    records: int  # their size in bytes


def _partitions_of(answer: bytes | bytearray, api_version: int) -> Iterator[_Partition]:
    """Fetch, versions 4 to 11."""
    at = 8  # correlation id, throttle time
    at += 6 if api_version >= 7 else 0  # error code, session id
    topics, at = _SIZE.unpack_from(answer, at)[0], at + 4
    for _ in range(topics):
        at += 2 + _SHORT.unpack_from(answer, at)[0]
        partitions, at = _SIZE.unpack_from(answer, at)[0], at + 4
        for _ in range(partitions):
            error: int = _SHORT.unpack_from(answer, at + 4)[0]
            at += 4 + 2 + 8 + 8  # partition, error code, high watermark, last stable offset
            at += 8 if api_version >= 5 else 0  # log start offset
            aborted, aborted_at = max(0, _SIZE.unpack_from(answer, at)[0]), at + 4
            at = aborted_at + 16 * aborted
            at += 4 if api_version >= 11 else 0  # preferred replica
            records = max(0, _SIZE.unpack_from(answer, at)[0])
            at += 4 + records
            yield _Partition(error, aborted_at, aborted, records)


def max_wait_s(request: bytes) -> float:
    """How long a client lets a fetch wait for something. *request*: the frame without its size, versions 4 to 11."""
    return float(_SIZE.unpack_from(request, _body_of(request) + 4)[0]) / 1000  # behind the replica's id


def places(api_version: int, request: bytes) -> frozenset[bytes]:
    """
    What a Fetch request of the versions 4 to 11 asks for: topic, partition and offset of each. librdkafka asks for
    them in another order each time.
    """
    at = _body_of(request) + 4 + 4 + 4 + 4 + 1  # replica's id, longest wait, least and most bytes, isolation
    at += 8 if api_version >= 7 else 0  # session
    size = 4 + 8 + 4 + (8 if api_version >= 5 else 0) + (4 if api_version >= 9 else 0)
    found: set[bytes] = set()
    topics, at = _SIZE.unpack_from(request, at)[0], at + 4
    for _ in range(topics):
        name = request[at : (at := at + 2 + _SHORT.unpack_from(request, at)[0])]
        partitions, at = _SIZE.unpack_from(request, at)[0], at + 4
        found |= {name + request[each : each + size] for each in range(at, at + partitions * size, size)}
        at += partitions * size
    return frozenset(found)


def topics(asked_for: frozenset[bytes]) -> frozenset[bytes]:
    """The names of the topics in what `places` returns."""
    return frozenset(place[2 : 2 + _SHORT.unpack_from(place)[0]] for place in asked_for)


def _body_of(request: bytes) -> int:
    """Where the body of a request begins: behind the client's id."""
    length: int = _SHORT.unpack_from(request, _REQUEST.size)[0]
    return _REQUEST.size + 2 + max(0, length)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that is on its way. *until*: up to when a fetch may be held back, by the loop's clock."""

    api_key: int
    api_version: int
    frame: bytes = b""  # of a fetch, and of what is produced
    until: float = 0.0
    news: int = 0  # how often the link had been stirred then
    heard: Heard | None = None  # of a request about a transaction
    spoken: Spoken | None = None  # of one about a group


class _Link:
    """A connection of a client, and the one to the broker that stands behind it."""

    def __init__(self, front: Front, client: Streams, broker: Streams) -> None:
        self._front = front
        self._client_in, self._client_out = client
        self._broker_in, self._broker_out = broker
        self._asked: dict[int, _Asked] = {}  # by correlation id, in the order of the requests
        self.stirred = asyncio.Event()  # of a fetch that is held back: it is looked at again
        self._news = 0  # how often something has happened that its fetch may wait for
        self._last_fetch: frozenset[bytes] = frozenset()
        self.topics: frozenset[bytes] = frozenset()  # that it fetches from
        self._let_go = (
            False  # the client wants something else meanwhile: answers come in the order of the requests
        )

    def stir(self) -> None:
        """Something has happened that its fetch may wait for."""
        self._news += 1
        self.stirred.set()

    async def run(self) -> None:
        """Pass everything on, until one of the two ends it."""
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._front.left_open.gone(self)
            self._front.left_group.gone(self)
            for out in (self._client_out, self._broker_out):
                out.close()  # which also ends a way that its cancellation does not reach
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self) -> None:
        """Pass requests on unchanged."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame = await _frame_of(self._client_in)
                self._let_go = True
                self.stirred.set()
                await self._ask(frame)

    async def _ask(self, frame: bytes, *, until: float | None = None) -> None:
        """*until*: of a fetch that is asked again (see _Asked)."""
        api_key, api_version, correlation = _REQUEST.unpack_from(frame)
        if api_key == _FETCH:
            if until is None:
                until = asyncio.get_running_loop().time() + self._may_be_held_s(api_version, frame)
            self._asked[correlation] = _Asked(api_key, api_version, frame, until, self._news)
        else:
            if (said := heard(frame)) is not None:
                await self._front.left_open.asks(self, said)
                self._front.takes_part(said, frame)
            if (of_group := spoken(frame)) is not None:
                self._front.left_group.asks(self, of_group)
            produced = frame if api_key == _PRODUCE else b""
            self._asked[correlation] = _Asked(api_key, api_version, produced, heard=said, spoken=of_group)
            if api_key == _JOIN_GROUP:
                asyncio.get_running_loop().call_later(_JOIN_MAX_S, self._end_if_unanswered, correlation)
        await _send(self._broker_out, frame)

    def _end_if_unanswered(self, correlation: int) -> None:
        if correlation in self._asked:
            self._broker_out.close()
            self._client_out.close()

    def _may_be_held_s(self, api_version: int, fetch: bytes) -> float:
        """Not at all where the client asks for something new: that there is nothing is news to it."""
        if api_version < _FETCH_VERSION_MIN:
            return 0.0
        last, self._last_fetch = self._last_fetch, places(api_version, fetch)
        if last != self._last_fetch:
            self.topics = topics(self._last_fetch)
        return min(max_wait_s(fetch), _HELD_MAX_S) if last == self._last_fetch else 0.0

    async def _answers(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame: bytes | bytearray = await _frame_of(self._broker_in)
                asked = self._asked_for(_SIZE.unpack_from(frame)[0])
                if asked.api_key == _FETCH and await self._is_held_back(asked, frame):
                    await self._ask(asked.frame, until=asked.until)
                    continue
                if asked.api_key in _MENDED:
                    frame = bytearray(frame)
                    mended(asked.api_key, asked.api_version, frame, host=self._front.advertised_host)
                if asked.heard is not None:
                    self._front.left_open.answered(self, asked.heard, frame)
                if asked.spoken is not None:
                    self._front.left_group.answered(self, asked.spoken, frame)
                await _send(self._client_out, frame)
                if asked.api_key == _PRODUCE:
                    self._front.stir(asked.frame)
                elif asked.heard is not None and asked.api_key == END_TRANSACTION:
                    self._front.ended(asked.heard)

    def _asked_for(self, correlation: int) -> _Asked:
        """What is answered. Answers come in the order of the requests, and to some (Produce with acks=0) none comes."""
        while (oldest := next(iter(self._asked))) != correlation:
            del self._asked[oldest]
        return self._asked.pop(correlation)

    async def _is_held_back(self, asked: _Asked, answer: bytes | bytearray) -> bool:
        """Wait until there may be something for a fetch that has found nothing; whether it is to be asked again."""
        left_s = asked.until - asyncio.get_running_loop().time()
        if self._asked or left_s <= 0 or not finds_nothing(asked.api_version, answer):
            return False
        if self._news != asked.news:
            return True  # it was told while the answer was on its way
        self._let_go = False
        self.stirred.clear()
        self._front.waiting.add(self)
        try:
            # Not wait_for: before Python 3.12, a cancellation in the moment of the event was lost, and the connection stood for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self.stirred.wait()
        finally:
            self._front.waiting.discard(self)
        return self.stirred.is_set() and not self._let_go


class Front:
    """Every connection of a client, and one to the broker for each."""

    def __init__(self, port: int, *, broker_port: int, advertised_host: str = FRONT_HOST) -> None:
        self._port = port
        self.advertised_host = advertised_host
        self._broker_port = broker_port
        self._links: set[_Link] = set()
        self.waiting: set[_Link] = set()  # whose fetch is held back
        self._parts: dict[bytes, bytes] = {}  # transactional id -> the requests that name its topics
        self.left_open = LeftOpen((BROKER_HOST, broker_port), ended=self.stir)
        self.left_group = LeftGroup((BROKER_HOST, broker_port))

    async def listen(self) -> asyncio.Server:
        """Serve from now on, until what is returned is closed."""
        return await asyncio.start_server(self._connected, FRONT_HOST, self._port)

    def takes_part(self, said: Heard, request: bytes) -> None:
        """A transaction is to have records in the topics that *request* names."""
        if said.api_key == ADD_PARTITIONS:
            self._parts[said.transactional_id] = self._parts.get(said.transactional_id, b"") + request

    def ended(self, said: Heard) -> None:
        """A transaction has ended. One that began before this front did may have records in any topic."""
        self.stir(self._parts.pop(said.transactional_id, None))

    def stir(self, named: bytes | None = None) -> None:
        """Something has happened that a fetch may wait for: in the topics that are named in *named*, or in any."""
        if named is None or len(named) > _SEARCHED_MAX_BYTES:
            touched = None
        else:
            fetched = frozenset[bytes]().union(*(link.topics for link in self._links))
            touched = {name for name in fetched if name in named}  # a name within another word does no harm
        for link in self._links:
            if touched is None or not touched.isdisjoint(link.topics):
                link.stir()

    async def _connected(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        try:
            broker = await asyncio.open_connection(BROKER_HOST, self._broker_port)
        except OSError:
            client_out.close()  # As the broker itself would: nobody is there.
            return
        link = _Link(self, (client_in, client_out), broker)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


async def _frame_of(source: asyncio.StreamReader) -> bytes:
    """The next frame, without its size."""
    size: int = _SIZE.unpack(await source.readexactly(4))[0]
    return await source.readexactly(size)


async def _send(target: asyncio.StreamWriter, frame: bytes | bytearray) -> None:
    target.write(_SIZE.pack(len(frame)) + frame)
    await target.drain()


async def _main(port: int, advertised_host: str) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await Front(port, broker_port=port, advertised_host=advertised_host).listen()
    await ended.wait()
    server.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Front before the embedded Kafka broker.")
    arguments.add_argument(
        "--port", type=int, required=True, help="on 127.0.0.1, and the broker's on 127.0.0.2"
    )
    arguments.add_argument(
        "--advertised-host", default=FRONT_HOST, help="where clients are sent, if something stands before us"
    )
    chosen = arguments.parse_args()
    if len(chosen.advertised_host) != len(BROKER_HOST):
        arguments.error(f"--advertised-host must be as long as {BROKER_HOST}, e.g. 127.0.0.3")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(chosen.port, chosen.advertised_host))
